//! A checkpoint's directory in which files were edited, or are something else altogether; with checksums that are right again, and as
//! they come. Opening it, restoring from it, verifying it and reading all there is ends, and asks for no memory without bounds.
#![no_main]

#[path = "../../engine/tests/hostile/files.rs"]
mod files;

use alluvium::inspect;
use alluvium::{
    Barrier, ChangelogOptions, CheckpointSource, Commit, Durability, Engine, EngineOptions, MergeOperator,
    StateOptions, StorageChoice, Store, StoreOptions, WarmUp,
};
use files::{Files, HotList, Log, edit_segment, names, seal_manifest};
use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

struct Sample {
    engine: Engine,
    root: PathBuf,
    files: Files,
}

fn options() -> StoreOptions {
    let changelog = ChangelogOptions { file_bytes: 1 << 20, bytes: 64 << 10, ..ChangelogOptions::default() };
    StoreOptions {
        durability: Durability::Changelog,
        changelog,
        hot_list_bytes: 16 << 10,
        warm_up: WarmUp::Hottest,
        hash_seed: Some(3),
        ..StoreOptions::default()
    }
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let options_ =
        EngineOptions { memory_budget_bytes: 4 << 20, threads: 1, storage: StorageChoice::Posix, ..Default::default() };
    let engine = Engine::open(options_).expect("an engine");
    let root = std::env::temp_dir().join(format!("alluvium-fuzz-restore-{}", std::process::id()));
    let path = root.join("made");
    let store = Store::create(&engine, &path, options()).expect("a store");
    let value = store.state(StateOptions::value("v")).expect("a state");
    let list = store.state(StateOptions::list("l")).expect("a state");
    let map = store.state(StateOptions::map("m")).expect("a state");
    let sum = store.state(StateOptions::merging("s", MergeOperator::U64Add)).expect("a state");
    let mut writer = store.writer(store.range()).expect("a writer");
    for round in 1..4_u64 {
        for number in 0..40_u64 {
            let name = (number % 10).to_be_bytes();
            let key = store.key(&name);
            let bytes = vec![round as u8; number as usize * 3];
            writer.put(value, key, &bytes).expect("put");
            writer.append(list, key, &bytes[..number as usize]).expect("appended");
            writer.map_put(map, key, &number.to_be_bytes(), &bytes).expect("put");
            writer.merge(sum, key, &number.to_le_bytes()).expect("merged");
        }
        writer.commit(Commit::default()).expect("a commit").wait().expect("it lasts");
        if round < 3 {
            store.barrier(Barrier::new(round)).expect("a barrier").wait().expect("a checkpoint");
        }
    }
    drop(writer);
    store.close().expect("closed");
    let entries = std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path());
    let named = entries.map(|path| (path.file_name().expect("a name").to_str().expect("UTF-8").to_owned(), path));
    let files = named
        .filter(|(name, _)| name != "LOCK")
        .map(|(name, path)| (name, std::fs::read(path).expect("a file")))
        .collect();
    std::fs::remove_dir_all(&path).expect("removed");
    Sample { engine, root, files }
});

fn change(bytes: &mut [u8], edits: &[(u16, u8)]) {
    for (at, byte) in edits {
        if let Some(place) = usize::from(*at).checked_rem(bytes.len()) {
            bytes[place] ^= byte;
        }
    }
}

/// The files as the input says.
fn edited((way, which, edits, raw): &(u8, u8, Vec<(u16, u8)>, Vec<u8>)) -> Files {
    let mut files = SAMPLE.files.clone();
    let pick = |files: &Files, suffix: &str| {
        let names = names(files, suffix);
        names.get(usize::from(*which) % names.len().max(1)).cloned()
    };
    match way % 7 {
        0 => {
            // Something else under a name of ours.
            if let Some(name) = pick(&files, "") {
                files.insert(name, raw.clone());
            }
        }
        1 => {
            if let Some(bytes) = pick(&files, ".manifest").and_then(|name| files.get_mut(&name)) {
                change(&mut bytes[12..], edits);
                seal_manifest(bytes);
            }
        }
        2 | 3 => {
            if let Some(name) = pick(&files, ".segment") {
                edit_segment(&mut files, &name, |bytes, meta| {
                    let metadata = meta.metadata.offset as usize;
                    let (data, metadata) = bytes.split_at_mut(metadata);
                    if way % 7 == 2 { change(metadata, edits) } else { change(&mut data[4096..], edits) }
                });
            }
        }
        4 => {
            if let Some(name) = pick(&files, ".changelog") {
                let mut log = Log::of(&files[&name]);
                if let Some((_, payload)) = log.blocks.get_mut(usize::from(*which) % 2) {
                    change(payload, edits);
                }
                files.insert(name, log.to_bytes());
            }
        }
        5 => {
            if let Some(name) = pick(&files, ".hotlist") {
                let mut list = HotList::of(&files[&name]);
                list.chunks.iter_mut().for_each(|(_, bytes)| change(bytes, edits));
                files.insert(name, list.to_bytes());
            }
        }
        _ => {
            if let Some(bytes) = pick(&files, "").and_then(|name| files.get_mut(&name)) {
                change(bytes, edits);
            }
        }
    }
    files
}

fn use_up(store: Store) {
    for info in store.checkpoints() {
        if let Ok(items) = store.iterate(info.label) {
            // One that failed goes on failing.
            items.take_while(Result::is_ok).for_each(drop);
        }
    }
    if let Ok(value) = store.state(StateOptions::value("v"))
        && let Ok(map) = store.state(StateOptions::map("m"))
        && let Ok(mut writer) = store.writer(store.range())
    {
        for number in 0..10_u64 {
            let name = number.to_be_bytes();
            let key = store.key(&name);
            let _ = writer.get(value, key);
            let _ = writer.map_first(map, key);
            let _ = writer.put(value, key, b"new");
        }
        let _ = store.compact();
        let _ = store.barrier(Barrier::new(9)).and_then(|pending| pending.wait());
    }
    let _ = store.close();
}

fn lay_out(path: &Path, files: &Files) {
    std::fs::create_dir_all(path).expect("a directory");
    for (name, bytes) in files {
        std::fs::write(path.join(name), bytes).expect("a file");
    }
}

fuzz_target!(|input: (u8, u8, Vec<(u16, u8)>, Vec<u8>)| {
    let (path, restored) = (SAMPLE.root.join("edited"), SAMPLE.root.join("restored"));
    lay_out(&path, &edited(&input));
    let _ = inspect::verify(&path);
    let source = CheckpointSource { directory: path.clone(), label: None };
    if let Ok(store) = Store::restore(&SAMPLE.engine, &restored, &[source], options()) {
        use_up(store);
    }
    if let Ok(store) = Store::open(&SAMPLE.engine, &path, options()) {
        use_up(store);
    }
    let _ = std::fs::remove_dir_all(&path);
    let _ = std::fs::remove_dir_all(&restored);
});
