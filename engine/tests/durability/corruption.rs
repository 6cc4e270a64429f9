//! Damage: every byte of a small checkpoint flipped, every length cut, files swapped, missing, foreign or too new.
//!
//! Whatever happened to the files, what is read is right or a typed error that names the file; `verify` finds all of
//! it; and a checkpoint that is not damaged can still be opened.

use crate::support::workload::{Contents, Model, Plan, Subject, contents_of, store_options};
use alluvium::checksum::checksum;
use alluvium::inspect::{self, Severity};
use alluvium::platform::storage::Fault;
use alluvium::{Class, Engine, EngineOptions, Error, Key, MapRange, PageCache, StorageChoice, Store};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PLAN: Plan = Plan { seed: 3, steps: 160, every: 80, keys: 12, value_bytes_max: 300, waits: true, migrates: 0 };

/// Whether all bits and all lengths are gone through, not one bit of each byte and some lengths.
fn thorough() -> bool {
    std::env::var("ALLUVIUM_CORRUPTION").as_deref() == Ok("all")
}

/// A store with two checkpoints, labelled by their steps, and its files as they were.
struct Scene {
    directory: tempfile::TempDir,
    engine: Engine,
    files: BTreeMap<String, Vec<u8>>,
    older: Contents,
    newer: Contents,
}

impl Scene {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        // Past the page cache each flipped byte would have to reach the disk before it is read.
        let options = EngineOptions {
            memory_budget_bytes: 4 << 20,
            threads: 1,
            storage: StorageChoice::Posix,
            page_cache: PageCache::Everything,
            ..Default::default()
        };
        let engine = Engine::open(options).unwrap();
        let store = Store::create(&engine, directory.path(), store_options()).unwrap();
        let mut subject = Subject::over(store).unwrap();
        for n in 0..PLAN.steps {
            subject.step(PLAN, n).unwrap();
            if (n + 1) % PLAN.every == 0 {
                subject.store.barrier(Subject::barrier(n + 1)).unwrap().wait().unwrap();
            }
        }
        let Subject { store, writer, .. } = subject;
        drop(writer);
        store.close().unwrap();
        let files = read_files(directory.path());
        let mut model = Model::new(PLAN);
        let older = model.at(PLAN.every).clone();
        let newer = model.at(PLAN.steps).clone();
        assert_eq!(files.keys().filter(|name| name.ends_with(".manifest")).count(), 2);
        assert!(files.keys().filter(|name| name.ends_with(".segment")).count() >= 2);
        Self { directory, engine, files, older, newer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn names(&self, suffix: &str) -> Vec<String> {
        self.files.keys().filter(|name| name.ends_with(suffix)).cloned().collect()
    }

    fn is_newest_manifest(&self, name: &str) -> bool {
        self.names(".manifest").last().is_some_and(|last| last == name)
    }

    /// Puts the files back as they were.
    fn restore(&self, names: &[&str]) {
        for name in names {
            fs::write(self.path(name), &self.files[*name]).unwrap();
        }
    }

    /// Opens, reads and verifies the damaged store. `damaged` are the files that an error may name.
    fn check(&self, damaged: &[&str], what: &str) {
        self.check_older(damaged, what);
        self.check_newest(damaged, what);
    }

    /// The same without the older checkpoint.
    fn check_newest(&self, damaged: &[&str], what: &str) {
        let allowed = |error: &Error| self.assert_allowed(error, damaged, what);
        match Store::open(&self.engine, self.directory.path(), store_options()) {
            Ok(store) => read_all(store, PLAN.steps, &self.newer, &allowed, what),
            Err(error) => allowed(&error),
        }
        self.check_verify(damaged, what);
    }

    /// The older checkpoint opens as if nothing had happened, unless it is what was damaged.
    fn check_older(&self, damaged: &[&str], what: &str) {
        let opened = Store::open_checkpoint(&self.engine, self.directory.path(), PLAN.every, store_options());
        let intact = damaged.iter().all(|name| self.is_newest_manifest(name));
        let allowed = |error: &Error| {
            assert!(!intact, "{what}: the checkpoint before: {error}");
            self.assert_allowed(error, damaged, what);
        };
        match opened {
            Ok(store) => read_all(store, PLAN.every, &self.older, &allowed, what),
            Err(error) => allowed(&error),
        }
    }

    fn check_verify(&self, damaged: &[&str], what: &str) {
        let findings = inspect::verify(self.directory.path()).unwrap();
        let faults: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
        assert!(!faults.is_empty(), "{what}: verify found nothing");
        for fault in faults {
            let name = fault.path.file_name().unwrap().to_str().unwrap();
            assert!(damaged.contains(&name), "{what}: {fault:?}");
            assert!(fault.offset <= self.files[name].len() as u64, "{what}: {fault:?}");
        }
    }

    fn assert_allowed(&self, error: &Error, damaged: &[&str], what: &str) {
        assert_eq!(error.class(), Class::Corrupt, "{what}: {error}");
        let Error::Storage(error) = error else { panic!("{what}: names no file: {error}") };
        let name = error.path.file_name().unwrap().to_str().unwrap();
        assert!(damaged.contains(&name), "{what}: {error}");
        assert!(error.offset <= self.files[name].len() as u64, "{what}: {error}");
    }
}

fn read_files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()));
    named.filter(|(name, _)| name != "LOCK").collect()
}

/// Reads everything in every way; each outcome is right or an error that is `allowed`.
fn read_all(store: Store, label: u64, wanted: &Contents, allowed: &dyn Fn(&Error), what: &str) {
    assert_eq!(store.restored().map(|info| info.label), Some(label), "{what}");
    match contents_of(&store, label) {
        Ok(found) => assert!(found == *wanted, "{what}: wrong contents"),
        Err(error) => allowed(&error),
    }
    let mut subject = Subject::over(store).unwrap();
    for ((state, name, namespace, user_key), value) in wanted {
        let key = Key::new(subject.store.key(name).group, name).in_namespace(namespace);
        let found = subject.read(state, key, user_key.as_deref());
        match found {
            Ok(found) => assert_eq!(found.as_ref(), Some(value), "{what}: {state} of {key:?}"),
            Err(error) => allowed(&error),
        }
    }
    for id in 0..PLAN.keys {
        let name = format!("key-{id}").into_bytes();
        let key = Key::new(subject.store.key(&name).group, &name);
        let mut found = Vec::new();
        let scanned = subject.writer.map_scan(subject.maps(), key, &MapRange::all(), |user_key, value| {
            found.push((user_key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        let from = ("maps".to_owned(), name.clone(), Vec::new(), Some(Vec::new()));
        let entries = wanted
            .range(from..)
            .take_while(|(place, _)| (&place.0[..], &place.1, &place.2) == ("maps", &name, &Vec::new()));
        let entries: Vec<_> = entries.map(|(place, value)| (place.3.clone().unwrap(), value.clone())).collect();
        match scanned {
            Ok(()) => assert!(found == entries, "{what}: map of {key:?}"),
            Err(error) => {
                assert!(entries.starts_with(&found), "{what}: map of {key:?}");
                allowed(&error);
            }
        }
    }
    let absent = Key::new(subject.store.key(b"absent").group, b"absent");
    match subject.read("values", absent, None) {
        Ok(found) => assert_eq!(found, None, "{what}"),
        Err(error) => allowed(&error),
    }
    let Subject { store, writer, .. } = subject;
    drop(writer);
    // Background work may have come upon the damage too.
    let _ = store.close();
}

fn flip_each_byte(scene: &Scene, names: &[String]) {
    for name in names {
        let whole = &scene.files[name];
        let file = fs::OpenOptions::new().write(true).open(scene.path(name)).unwrap();
        for offset in 0..whole.len() {
            let bits = if thorough() { 0..8 } else { offset % 8..offset % 8 + 1 };
            for bit in bits {
                file.write_all_at(&[whole[offset] ^ 1 << bit], offset as u64).unwrap();
                let what = format!("bit {bit} of byte {offset} of {name} flipped");
                // Both checkpoints read a segment alike, so the older one is asked now and then.
                if name.ends_with(".manifest") || offset % 16 == 0 || thorough() {
                    scene.check(&[name], &what);
                } else {
                    scene.check_newest(&[name], &what);
                }
            }
            file.write_all_at(&whole[offset..=offset], offset as u64).unwrap();
        }
    }
}

#[test]
fn every_byte_of_a_manifest_flipped() {
    let scene = Scene::new();
    flip_each_byte(&scene, &scene.names(".manifest"));
}

#[test]
fn every_byte_of_a_segment_flipped() {
    let scene = Scene::new();
    flip_each_byte(&scene, &scene.names(".segment"));
}

#[test]
fn cut_at_every_length() {
    let scene = Scene::new();
    let names: Vec<String> = scene.files.keys().cloned().collect();
    for name in &names {
        let whole = &scene.files[name];
        // All lengths of a manifest; of a segment, whose length is checked first, those around its parts' borders too.
        let step = if thorough() || name.ends_with(".manifest") { 1 } else { 61 };
        for len in (0..whole.len()).filter(|len| len % step == 0 || len % 64 == 63 || len % 4096 <= 1) {
            fs::write(scene.path(name), &whole[..len]).unwrap();
            scene.check(&[name], &format!("{name} cut at {len}"));
        }
        let longer = [&whole[..], b"\0"].concat();
        fs::write(scene.path(name), longer).unwrap();
        scene.check(&[name], &format!("{name} with a byte more"));
        scene.restore(&[name]);
    }
}

#[test]
fn files_swapped_missing_foreign() {
    let scene = Scene::new();
    let names: Vec<&str> = scene.files.keys().map(String::as_str).collect();
    for a in &names {
        for b in names.iter().filter(|b| b > &a) {
            fs::write(scene.path(a), &scene.files[*b]).unwrap();
            fs::write(scene.path(b), &scene.files[*a]).unwrap();
            scene.check(&[a, b], &format!("{a} and {b} swapped"));
            scene.restore(&[a, b]);
        }
        for foreign in [&b""[..], b"text\n", &[0; 20_000], &[0xFF; 20_000]] {
            fs::write(scene.path(a), foreign).unwrap();
            scene.check(&[a], &format!("{} foreign bytes in place of {a}", foreign.len()));
        }
        scene.restore(&[a]);
        fs::remove_file(scene.path(a)).unwrap();
        if a.ends_with(".segment") {
            scene.check(&[a], &format!("{a} missing"));
        }
        scene.restore(&[a]);
    }
}

#[test]
fn a_directory_in_place_of_a_file() {
    let scene = Scene::new();
    for name in scene.names(".segment") {
        fs::remove_file(scene.path(&name)).unwrap();
        fs::create_dir(scene.path(&name)).unwrap();
        scene.check(&[&name], &format!("{name} is a directory"));
        fs::remove_dir(scene.path(&name)).unwrap();
        scene.restore(&[&name]);
    }
}

#[test]
fn newer_versions_are_refused_by_name() {
    let scene = Scene::new();
    let names: Vec<String> = scene.files.keys().cloned().collect();
    for name in &names {
        let mut newer = scene.files[name].clone();
        // Magic, version and checksum keep their places in every version, in manifests and segments alike.
        newer[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let sum = checksum(&newer[..120]);
        newer[120..128].copy_from_slice(&sum.to_le_bytes());
        fs::write(scene.path(name), &newer).unwrap();
        scene.check(&[name], &format!("{name} of version 2"));
        let findings = inspect::verify(scene.directory.path()).unwrap();
        assert!(findings.iter().any(|finding| finding.problem.starts_with("NewerVersion")), "{findings:?}");
        if scene.is_newest_manifest(name) {
            let error = Store::open(&scene.engine, scene.directory.path(), store_options()).unwrap_err();
            let Error::Storage(error) = error else { panic!("{error}") };
            assert_eq!(
                (error.fault, error.path.file_name().unwrap().to_str().unwrap()),
                (Fault::NewerVersion, &name[..])
            );
        }
        scene.restore(&[name]);
    }
}

#[test]
fn a_checkpoint_before_the_damaged_one_goes_on() {
    let scene = Scene::new();
    let newest = scene.names(".manifest").pop().unwrap();
    let mut damaged = scene.files[&newest].clone();
    damaged[200] ^= 4;
    fs::write(scene.path(&newest), &damaged).unwrap();
    let open = |label| Store::open_checkpoint(&scene.engine, scene.directory.path(), label, store_options());
    let mut subject = Subject::over(open(PLAN.every).unwrap()).unwrap();
    for n in PLAN.every..PLAN.steps {
        subject.step(PLAN, n).unwrap();
    }
    subject.store.barrier(Subject::barrier(PLAN.steps + 1)).unwrap().wait().unwrap();
    drop(subject.writer);
    subject.store.close().unwrap();
    // The new checkpoint is the newest, and the damaged manifest is no obstacle.
    let store = Store::open(&scene.engine, scene.directory.path(), store_options()).unwrap();
    assert_eq!(contents_of(&store, PLAN.steps + 1).unwrap(), scene.newer);
    store.close().unwrap();
}

#[test]
fn notes_are_no_faults() {
    let scene = Scene::new();
    let orphan = format!("{:032x}.segment", 77);
    for name in ["notes.txt", &orphan, "00000000000000ff.manifest.tmp"] {
        fs::write(scene.path(name), b"x").unwrap();
    }
    let findings = inspect::verify(scene.directory.path()).unwrap();
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:?}");
    assert_eq!(findings.len(), 3);
    let report = inspect::describe(scene.directory.path()).unwrap();
    assert_eq!(report.manifests.len(), 2);
    assert_eq!(report.newest_checkpoint().and_then(|manifest| manifest.label), Some(PLAN.steps));
    assert_eq!(report.bytes_of(inspect::FileRole::Orphan), 1);
    assert!(report.bytes_of(inspect::FileRole::Segment) > 0);
    // While it is open it can be looked at as well.
    let store = Store::open(&scene.engine, scene.directory.path(), store_options()).unwrap();
    assert!(inspect::describe(scene.directory.path()).unwrap().files.iter().any(|file| file.name == "LOCK"));
    store.close().unwrap();
}
