//! Faults of the machine: no room, no descriptors, no memory, failed syncs, denied system calls, a held directory.

use crate::support::child::Place;
use crate::support::limits;
use crate::support::runs::{Report, run_plan};
use crate::support::workload::{Contents, Model, Plan, Subject, check_store, engine, store_options};
use alluvium::inspect::{self, Severity};
use alluvium::platform::storage::Fault;
use alluvium::{
    Barrier, CheckpointSource, Class, Commit, Engine, EngineOptions, Error, StateOptions, StorageChoice, Store,
    StoreOptions,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PLAN: Plan =
    Plan { seed: 23, steps: 4_000, every: 400, keys: 300, value_bytes_max: 2_000, waits: true, migrates: 0 };
/// More than the memory budget holds.
const LARGE: Plan =
    Plan { seed: 29, steps: 30_000, every: 1_000, keys: 900, value_bytes_max: 9_000, waits: true, migrates: 0 };
/// Nothing that is refused may take longer to be refused.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the processes of this file's tests do.
pub fn role(role: &str, store: &Path, report: &mut dyn Report, plan: Plan, storage: StorageChoice) {
    match role {
        "hold" => {
            let engine = engine(storage, 4 << 20);
            let _store = Store::create(&engine, store, store_options()).unwrap();
            report.say("held", 0);
            std::thread::sleep(Duration::from_secs(600));
        }
        "file-size" => {
            limits::survive_file_size_limit();
            fill_and_go_on(store, plan, &|full| {
                limits::limit(libc::RLIMIT_FSIZE, if full { 200 << 10 } else { u64::MAX });
            });
        }
        "fail" => fail_for_good(store, report, plan, storage),
        "tight" => {
            limits::limit(libc::RLIMIT_AS, (4 << 20) + (300 << 20));
            run_plan(store, report, plan, storage);
        }
        "files" => run_out_of_files(store),
        _ => panic!("no such role: {role}"),
    }
}

fn storage_error(error: &Error) -> &alluvium::platform::storage::StorageError {
    match error {
        Error::Storage(error) => error,
        _ => panic!("not an error of a file: {error}"),
    }
}

/// Does steps until one is refused for want of room; returns how many were done.
fn fill(subject: &mut Subject, plan: Plan, from: u64) -> u64 {
    for n in from..plan.steps {
        let started = Instant::now();
        if let Err(error) = subject.step(plan, n) {
            assert_eq!((error.class(), storage_error(&error).fault), (Class::Retry, Fault::Full), "{error}");
            assert!(started.elapsed() < PATIENCE, "refused after {:?}", started.elapsed());
            return n;
        }
    }
    panic!("the disk never got full");
}

/// Fills the disk, sees writes and barriers refused and reads go on; makes room, and sees everything go on.
fn fill_and_go_on(path: &Path, plan: Plan, set_full: &dyn Fn(bool)) {
    let engine = engine(StorageChoice::Auto, 4 << 20);
    let mut model = Model::new(plan);
    let mut subject = Subject::over(Store::create(&engine, path, store_options()).unwrap()).unwrap();
    let mut n = 0;
    while n < 1_000 {
        subject.step(plan, n).unwrap();
        n += 1;
    }
    subject.store.barrier(Subject::barrier(n)).unwrap().wait().unwrap();
    for round in 0..2 {
        set_full(true);
        n = fill(&mut subject, plan, n);
        // Nothing is lost, and what is there is read.
        subject.check_reads(&model.at(n).clone(), "while the disk is full");
        for _ in 0..4 {
            let started = Instant::now();
            let refused = subject.store.barrier(Subject::barrier(n)).and_then(|pending| pending.wait());
            let error = refused.expect_err("no room for a checkpoint");
            assert_eq!(error.class(), Class::Retry, "{error}");
            assert!(started.elapsed() < PATIENCE, "refused after {:?}", started.elapsed());
        }
        subject.check_reads(&model.at(n).clone(), "after refused barriers");
        set_full(false);
        let started = Instant::now();
        let until = n + 500;
        while n < until {
            match subject.step(plan, n) {
                Ok(()) => n += 1,
                Err(error) => {
                    assert_eq!(error.class(), Class::Retry, "round {round}: {error}");
                    assert!(started.elapsed() < PATIENCE, "there is room, but: {error}");
                }
            }
        }
        let info = subject.store.barrier(Subject::barrier(n)).unwrap().wait().unwrap();
        assert_eq!(info.label, n);
    }
    subject.check_reads(&model.at(n).clone(), "with room again");
    close(subject);
    let store = Store::open(&engine, path, store_options()).unwrap();
    assert_no_faults(path);
    let mut subject = Subject::over(store).unwrap();
    let restored = check_store(plan, &mut model, &mut subject, "reopened");
    assert_eq!(restored.label, n);
    close(subject);
}

fn close(subject: Subject) {
    let Subject { store, writer, .. } = subject;
    drop(writer);
    store.close().unwrap();
}

fn assert_no_faults(path: &Path) {
    let findings = inspect::verify(path).unwrap();
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:?}");
}

#[test]
fn files_may_grow_no_more() {
    let place = Place::new();
    let ended = place.process("file-size", LARGE, StorageChoice::Auto).status().unwrap();
    assert!(ended.success(), "{}", place.log());
}

/// A file system of its own, where the process may mount one.
struct Mount {
    directory: tempfile::TempDir,
}

impl Mount {
    fn new(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(self.directory.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
    }
}

/// The spill that finds no room is the transaction's, and so is what the disk is full of: an abort waited for room.
#[test]
fn a_transaction_that_filled_the_disk_is_undone() {
    let Some(mount) = Mount::new(48 << 20) else { return };
    let options = StoreOptions { transactional: true, compress: false, ..store_options() };
    let engine = engine(StorageChoice::Auto, 4 << 20);
    let store = Store::create(&engine, &mount.path("store"), options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for number in 0..1_000_u32 {
        writer.put(state, store.key(&number.to_be_bytes()), &[1; 1_000]).unwrap();
    }
    writer.commit(Commit::default()).unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    for round in 2..4_u64 {
        let mut put = |number: u32| writer.put(state, store.key(&number.to_be_bytes()), &[round as u8; 1_000]);
        let refused = (0..100_000).find_map(|number| put(number).err()).expect("the disk never got full");
        assert_eq!((refused.class(), storage_error(&refused).fault), (Class::Retry, Fault::Full), "{refused}");
        writer.abort_transaction().unwrap();
        for number in 0..3_000_u32 {
            let value = writer.get(state, store.key(&number.to_be_bytes())).unwrap();
            assert_eq!(value, (number < 1_000).then(|| vec![1; 1_000]), "{number} in round {round}");
        }
        // What filled the disk is gone: the store goes on.
        writer.put(state, store.key(b"new"), b"1").unwrap();
        writer.commit(Commit::default()).unwrap();
        store.barrier(Barrier::new(round)).unwrap().wait().unwrap();
        assert_eq!(store.iterate(round).unwrap().map(Result::unwrap).count(), 1_001);
    }
}

#[test]
fn the_disk_is_full() {
    // Without the right to mount, `files_may_grow_no_more` alone sees to it.
    let Some(mount) = Mount::new(64 << 20) else { return };
    let ballast = mount.path("ballast");
    fill_and_go_on(&mount.path("store"), LARGE, &|full| {
        if full {
            // All but a little of what is left.
            let mut bytes = 64 << 20;
            while bytes >= 4096 {
                let mut grown = fs::OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
                if std::io::Write::write_all(&mut grown, &vec![1; bytes]).is_err() {
                    bytes /= 2;
                }
            }
        } else {
            fs::remove_file(&ballast).unwrap();
        }
    });
}

/// Goes through the plan; reads after it.
fn contents_after(path: &Path, plan: Plan) -> Contents {
    let engine = engine(StorageChoice::Auto, 4 << 20);
    let mut model = Model::new(plan);
    let mut subject = Subject::over(Store::open(&engine, path, store_options()).unwrap()).unwrap();
    let info = check_store(plan, &mut model, &mut subject, "reopened");
    assert_eq!(info.label, plan.steps);
    close(subject);
    model.contents
}

#[test]
fn a_read_only_directory() {
    let Some(mount) = Mount::new(64 << 20) else { return };
    let place = Place::new();
    let path = mount.path("store");
    let mut command = place.process("work", PLAN, StorageChoice::Posix);
    assert!(command.status().unwrap().success(), "{}", place.log());
    fs::create_dir(&path).unwrap();
    for entry in fs::read_dir(place.store()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    mount.read_only();
    let engine = engine(StorageChoice::Auto, 4 << 20);
    let error = Store::open(&engine, &path, store_options()).unwrap_err();
    assert!(storage_error(&error).path.starts_with(&path), "{error}");
    let error = Store::create(&engine, &mount.path("new"), store_options()).unwrap_err();
    assert!(storage_error(&error).path.starts_with(mount.directory.path()), "{error}");
    // It can be looked at, and restored from.
    assert_no_faults(&path);
    let restored = Place::new();
    let source = CheckpointSource { directory: path, label: None };
    let store = Store::restore(&engine, &restored.store(), &[source], store_options()).unwrap();
    let mut subject = Subject::over(store).unwrap();
    check_store(PLAN, &mut Model::new(PLAN), &mut subject, "restored from a read-only directory");
    close(subject);
}

#[test]
fn a_directory_is_held_once() {
    let place = Place::new();
    let mut holder = place.process("hold", PLAN, StorageChoice::Posix).spawn().unwrap();
    let started = Instant::now();
    while place.reported("held").is_empty() {
        assert!(started.elapsed() < PATIENCE, "{}", place.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let engine = engine(StorageChoice::Posix, 4 << 20);
    let refused = |opened: alluvium::Result<Store>| {
        let error = opened.unwrap_err();
        assert_eq!((error.class(), storage_error(&error).fault), (Class::Retry, Fault::Locked), "{error}");
        assert_eq!(storage_error(&error).path, place.store().canonicalize().unwrap().join("LOCK"));
    };
    refused(Store::create(&engine, &place.store(), store_options()));
    refused(Store::open(&engine, &place.store(), store_options()));
    holder.kill().unwrap();
    holder.wait().unwrap();
    // Held by nobody now, then by a store of this process.
    let store = Store::create(&engine, &place.store(), store_options()).unwrap();
    refused(Store::open(&engine, &place.store(), store_options()));
    store.barrier(Subject::barrier(1)).unwrap().wait().unwrap();
    store.close().unwrap();
    Store::open(&engine, &place.store(), store_options()).unwrap().close().unwrap();
}

/// Works until a call fails for good; sees later barriers refused, though the calls work again, and reads go on.
fn fail_for_good(path: &Path, report: &mut dyn Report, plan: Plan, storage: StorageChoice) {
    let engine = engine(storage, 4 << 20);
    let mut model = Model::new(plan);
    let mut subject = Subject::over(Store::create(&engine, path, store_options()).unwrap()).unwrap();
    let mut failed = None;
    for n in 0..plan.steps {
        match subject.step(plan, n) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.class(), Class::Fail, "{error}");
                failed = Some(n);
                break;
            }
        }
        if (n + 1) % plan.every != 0 {
            continue;
        }
        report.say("started", n + 1);
        let outcome = subject.store.barrier(Subject::barrier(n + 1)).and_then(|pending| pending.wait());
        match outcome {
            Ok(_) => report.say("complete", n + 1),
            Err(error) => {
                assert_eq!(error.class(), Class::Fail, "{error}");
                failed = Some(n + 1);
                break;
            }
        }
    }
    let failed = failed.expect("a call failed");
    for label in 0..3 {
        let later = subject.store.barrier(Subject::barrier(failed + label)).and_then(|pending| pending.wait());
        let error = later.expect_err("the instance is poisoned");
        assert_eq!(error.class(), Class::Fail, "{error}");
    }
    subject.check_reads(&model.at(failed).clone(), "after the failure");
    report.say("failed", failed);
    // A store that failed says so when it is closed.
    let Subject { store, writer, .. } = subject;
    drop(writer);
    assert_eq!(store.close().expect_err("it failed").class(), Class::Fail);
}

#[test]
fn a_failed_sync_or_write_poisons() {
    for (calls, when) in [("fdatasync", 7), ("fsync", 9), ("pwrite64", 12), ("/^rename", 4), ("fdatasync", 1)] {
        let place = Place::new();
        // The count is each thread's own: the one that flushes comes to it first.
        let inject = format!("inject={calls}:error=EIO:when={when}");
        let trace = format!("trace={calls}");
        let options = ["-e", &trace, "-e", &inject];
        let ended = place.under_strace(&options, "fail", PLAN, StorageChoice::Posix).status().expect("strace");
        let what = format!("{calls} failing the {when}th time");
        assert!(ended.success(), "{what}: {}", place.log());
        let engine = engine(StorageChoice::Posix, 4 << 20);
        let complete = place.reported("complete").into_iter().max();
        let store = match (Store::open(&engine, &place.store(), store_options()), complete) {
            (Ok(store), _) => store,
            (Err(Error::NoCheckpoint { .. }), None) => continue,
            (Err(error), _) => panic!("{what}: {error}"),
        };
        assert_no_faults(&place.store());
        let mut subject = Subject::over(store).unwrap();
        let info = check_store(PLAN, &mut Model::new(PLAN), &mut subject, &what);
        assert!(info.label >= complete.unwrap_or(0) && place.reported("started").contains(&info.label), "{what}");
        close(subject);
    }
}

#[test]
fn a_manifest_that_stays_names_no_missing_segment() {
    let place = Place::new();
    fs::create_dir(place.store()).unwrap();
    let manifest = place.store().canonicalize().unwrap().join("0000000000000002.manifest");
    let options = ["-P", manifest.to_str().unwrap(), "-e", "trace=/^unlink", "-e", "inject=/^unlink:error=EBUSY"];
    let ended = place.under_strace(&options, "work", PLAN, StorageChoice::Posix).status().expect("strace");
    assert!(ended.success(), "{}", place.log());
    assert!(manifest.exists(), "its removal failed");
    assert_no_faults(&place.store());
    contents_after(&place.store(), PLAN);
}

#[test]
fn without_io_uring_all_is_the_same() {
    let place = Place::new();
    let options = ["-e", "trace=io_uring_setup", "-e", "inject=io_uring_setup:error=EPERM"];
    let ended = place.under_strace(&options, "work", PLAN, StorageChoice::Auto).status().expect("strace");
    assert!(ended.success(), "{}", place.log());
    assert_eq!(place.reported("fallbacks"), [1]);
    let allowed = Place::new();
    assert!(allowed.process("work", PLAN, StorageChoice::Auto).status().unwrap().success(), "{}", allowed.log());
    assert_eq!(contents_after(&place.store(), PLAN), contents_after(&allowed.store(), PLAN));
}

#[test]
fn little_address_space() {
    let place = Place::new();
    let ended = place.process("tight", LARGE, StorageChoice::Auto).status().unwrap();
    assert!(ended.success(), "{}", place.log());
    contents_after(&place.store(), LARGE);
}

/// Opens stores until the process has no descriptors left.
fn run_out_of_files(path: &Path) {
    let options = EngineOptions { memory_budget_bytes: 64 << 20, threads: 1, ..Default::default() };
    let engine = Engine::open(options).unwrap();
    limits::limit(libc::RLIMIT_NOFILE, 48);
    let mut open = Vec::new();
    let refused = loop {
        let step = || {
            let store = Store::create(&engine, &path.join(format!("{}", open.len())), store_options())?;
            let mut subject = Subject::over(store)?;
            for n in 0..100 {
                subject.step(PLAN, n)?;
            }
            subject.store.barrier(Subject::barrier(100))?.wait()?;
            let wanted = Model::new(PLAN).at(100).clone();
            let found = crate::support::workload::contents_of(&subject.store, 100)?;
            assert_eq!(found, wanted);
            Ok::<_, Error>(subject)
        };
        match step() {
            Ok(subject) => open.push(subject),
            Err(error) => break error,
        }
        assert!(open.len() < 48, "48 stores in 48 descriptors");
    };
    assert_eq!((refused.class(), storage_error(&refused).fault), (Class::Retry, Fault::TooManyFiles), "{refused}");
    // What is open goes on once there are descriptors again; nothing was lost meanwhile.
    let wanted = Model::new(PLAN).at(100).clone();
    close(open.pop().unwrap());
    close(open.pop().unwrap());
    for subject in &mut open {
        subject.check_reads(&wanted, "with descriptors again");
    }
    for (index, subject) in open.iter_mut().enumerate().take(2) {
        for n in 100..200 {
            subject.step(PLAN, n).unwrap();
        }
        subject.store.barrier(Subject::barrier(200)).unwrap().wait().unwrap_or_else(|error| panic!("{index}: {error}"));
    }
}

#[test]
fn few_descriptors() {
    let place = Place::new();
    let ended = place.process("files", PLAN, StorageChoice::Auto).status().unwrap();
    assert!(ended.success(), "{}", place.log());
}
