//! What going through all calls, or thinking of it, has found: each a story by itself.

use super::place;
use super::workload::{Plan, Subject, engine, store_options};
use alluvium::faults::{Call, Injection, Injector, Kind, Outcome, Site};
use alluvium::{Class, Error, StorageChoice, Store};
use std::path::Path;

const PLAN: Plan = Plan { seed: 8, steps: 60, every: 20, keys: 10, value_bytes_max: 300, waits: true, migrates: 0 };

/// A store with checkpoints 20, 40 and 60, the last two of which are kept.
fn three_checkpoints(path: &Path) -> alluvium::Engine {
    let engine = engine(StorageChoice::Posix, 4 << 20);
    let mut subject = Subject::over(Store::create(&engine, path, store_options()).unwrap()).unwrap();
    for n in 1..=PLAN.steps {
        subject.step(PLAN, n - 1).unwrap();
        if n % PLAN.every == 0 {
            subject.store.barrier(Subject::barrier(n)).unwrap().wait().unwrap();
        }
    }
    drop(subject.writer);
    subject.store.close().unwrap();
    engine
}

fn wrong(root: &Path, call: Call, kind: Kind, nth: u64, code: i32, lasts: bool) -> Injector {
    let injection = Injection { site: Site { call, kind }, nth, outcome: Outcome::Error(code), lasts };
    Injector::start(root, Some(injection))
}

/// An older checkpoint whose manifest couldn't be read while the store was opened was taken for damaged: it wasn't listed any more, and
/// what it needed was deleted as soon as a merge had no use for it.
#[test]
fn a_checkpoint_that_can_not_be_read_just_now_is_not_given_up() {
    let place = place();
    let root = place.path().canonicalize().unwrap();
    let path = root.join("store");
    let engine = three_checkpoints(&path);
    for (call, code) in
        [(Call::Open, libc::EIO), (Call::Open, libc::EMFILE), (Call::Stat, libc::EIO), (Call::Read, libc::EIO)]
    {
        for nth in 0..8 {
            let injector = wrong(&root, call, Kind::Manifest, nth, code, false);
            let opened = Store::open(&engine, &path, store_options());
            drop(injector);
            match opened {
                Err(error) => {
                    let class = if code == libc::EMFILE { Class::Retry } else { Class::Fail };
                    assert_eq!(error.class(), class, "{call:?} {nth}: {error}");
                }
                Ok(store) => {
                    let labels: Vec<u64> = store.checkpoints().iter().map(|info| info.label).collect();
                    assert_eq!(labels, [40, 60], "{call:?} {nth}");
                    store.close().unwrap();
                }
            }
        }
    }
}

/// File systems that don't say in a directory what its entries are have to be asked; where that failed, the entry was left out, and a
/// store was said to have no checkpoint.
#[test]
fn what_can_not_be_told_is_not_left_out() {
    let place = place();
    let root = place.path().canonicalize().unwrap();
    let path = root.join("store");
    let engine = three_checkpoints(&path);
    let injector = wrong(&root, Call::Stat, Kind::Manifest, 0, libc::EIO, true);
    let error = Store::open(&engine, &path, store_options()).unwrap_err();
    assert!(matches!(error, Error::Storage(_)) && error.class() == Class::Fail, "{error}");
    drop(injector);
    Store::open(&engine, &path, store_options()).unwrap().close().unwrap();
}

/// A sync that finds no room may have lost what was to be synced: to repeat the export would be to take the second one's word for it.
#[test]
fn an_export_whose_sync_found_no_room_has_failed() {
    let place = place();
    let root = place.path().canonicalize().unwrap();
    let path = root.join("store");
    let engine = three_checkpoints(&path);
    let store = Store::open(&engine, &path, store_options()).unwrap();
    for nth in 0..2 {
        let exported = root.join(format!("exported {nth}"));
        std::fs::create_dir(&exported).unwrap();
        let injector = wrong(&exported, Call::Sync, Kind::Directory, nth, libc::ENOSPC, false);
        let error = store.export(60, &exported).unwrap_err();
        assert_eq!((error.class(), injector.struck()), (Class::Fail, 1), "{error}");
    }
    store.close().unwrap();
}
