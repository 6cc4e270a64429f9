//! What going through all calls, or thinking of it, has found: each a story by itself.

use super::place;
use super::workload::{Model, Plan, Subject, contents_of, engine, store_options};
use alluvium::faults::{Call, Injection, Injector, Kind, Outcome, Site};
use alluvium::{Barrier, BulkLoad, Class, Error, Key, KeyGroup, StateOptions, StorageChoice, Store, StoreOptions};
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

/// A load went on without the segment that had found no room, and ended as if all of it were there.
#[test]
fn a_load_that_found_no_room_has_failed_as_a_whole() {
    let place = place();
    let root = place.path().canonicalize().unwrap();
    let engine = engine(StorageChoice::Posix, 4 << 20);
    let options = StoreOptions { compress: false, ..StoreOptions::default() };
    let store = Store::create(&engine, &root.join("store"), options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let value = vec![7; 4 << 20];
    // More than a segment's worth in one key group; with the next one another segment begins.
    let numbers: Vec<[u8; 1]> = (0..20).map(|number| [number]).collect();
    let key = |number| Key::new(KeyGroup(0), number);
    let behind = Key::new(KeyGroup(1), b"k");
    let fill = |load: &mut BulkLoad<'_>| -> Result<(), Error> {
        numbers.iter().try_for_each(|number| load.put(state, key(number), &value))?;
        load.put(state, behind, b"v")
    };
    for (call, nth) in [(Call::Sync, 0), (Call::Write, 9)] {
        let mut load = store.bulk_load(30).unwrap();
        let injector = wrong(&root, call, Kind::Segment, nth, libc::ENOSPC, false);
        let error = fill(&mut load).unwrap_err();
        assert_eq!((error.class(), injector.struck()), (Class::Retry, 1), "{call:?}: {error}");
        drop(injector);
        for again in [load.put(state, behind, b"v"), load.put(state, behind, b"v"), load.finish()] {
            let error = again.unwrap_err();
            assert!(
                error.class() == Class::Usage && error.to_string().contains("begin a new one"),
                "{call:?}: {error}"
            );
        }
        assert_eq!(store.reader().get(state, behind).unwrap(), None);
        let files = std::fs::read_dir(root.join("store")).unwrap().map(|file| file.unwrap().file_name());
        assert_eq!(files.filter(|name| name.to_string_lossy().ends_with(".segment")).count(), 0, "{call:?}");
    }
    let mut load = store.bulk_load(30).unwrap();
    fill(&mut load).unwrap();
    load.finish().unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    let reader = store.reader();
    assert_eq!(reader.get(state, behind).unwrap().unwrap(), b"v");
    assert!(numbers.iter().all(|number| reader.get(state, key(number)).unwrap().as_ref() == Some(&value)));
}

/// An iterator of a checkpoint said after a failure that passes that it was at the end: what had come until then was taken for all.
#[test]
fn an_iterator_that_failed_goes_on_failing() {
    let place = place();
    let root = place.path().canonicalize().unwrap();
    let path = root.join("store");
    let engine = three_checkpoints(&path);
    let store = Store::open(&engine, &path, store_options()).unwrap();
    let injector = wrong(&root, Call::Read, Kind::Segment, 0, libc::ENOMEM, false);
    let mut items = store.iterate(60).unwrap();
    let error = items.find_map(Result::err).unwrap();
    assert_eq!((error.class(), injector.struck()), (Class::Retry, 1), "{error}");
    for _ in 0..3 {
        assert_eq!(items.next().unwrap().unwrap_err().to_string(), error.to_string());
    }
    assert_eq!(&contents_of(&store, 60).unwrap(), Model::new(PLAN).at(60));
    store.close().unwrap();
}
