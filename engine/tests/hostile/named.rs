//! Edits that somebody would make who wants to do harm.

use super::files::{
    Files, HotList, Log, blocks_of, edit_manifest, edit_segment, manifest, meta_of, names, seal_manifest,
};
use super::scene::{Scene, options};
use super::workload::{Model, Subject, contents_of, engine};
use alluvium::checksum::{checksum, place};
use alluvium::ids::KeyGroupRange;
use alluvium::manifest::{Parent, format};
use alluvium::platform::storage::Fault;
use alluvium::{Class, Error, StorageChoice, Store, inspect};
use std::fs;
use std::os::unix::fs::symlink;

// Where the fields of a manifest are.
const CREATED_AT: usize = 40;
const EPOCH_AT: usize = 48;
const PURGE_CLOCK_AT: usize = 88;
const POSITION_AT: usize = 96;

fn newest(files: &Files) -> String {
    names(files, ".manifest").pop().unwrap()
}

/// Gives a manifest, and its file, another number.
fn renumber(files: &mut Files, name: &str, number: u64) {
    let mut bytes = files.remove(name).unwrap();
    bytes[24..32].copy_from_slice(&number.to_le_bytes());
    seal_manifest(&mut bytes);
    files.insert(format!("{number:016x}.manifest"), bytes);
}

/// The next manifest would have to have number 0, which comes before all others: what it says would never be found again.
#[test]
fn the_last_number_that_there_is() {
    for number in [u64::MAX, u64::MAX - 1, u64::MAX - 2] {
        let scene = Scene::new();
        let mut edited = scene.files.clone();
        let name = newest(&edited);
        renumber(&mut edited, &name, number);
        scene.drive(&edited, &format!("manifest {number}"));
    }
    // What is said to be complete is what is found.
    let scene = Scene::new();
    let mut edited = scene.files.clone();
    let name = newest(&edited);
    renumber(&mut edited, &name, u64::MAX);
    scene.lay_out(&edited);
    let engine = engine(StorageChoice::Posix, 4 << 20);
    if let Ok(store) = Store::open(&engine, &scene.path(), options()) {
        let subject = Subject::over(store).unwrap();
        let complete = subject.store.barrier(Subject::barrier(999)).and_then(|pending| pending.wait());
        drop(subject.writer);
        let _ = subject.store.close();
        if complete.is_ok() {
            let store = Store::open(&engine, &scene.path(), options()).unwrap();
            assert_eq!(store.restored().unwrap().label, 999);
        }
    }
}

#[test]
fn clocks_and_epochs_and_positions_at_their_ends() {
    let scene = Scene::new();
    for (what, value) in
        [("epoch", u64::from(u32::MAX)), ("purge clock", u64::MAX), ("position", u64::MAX), ("time", u64::MAX)]
    {
        let mut edited = scene.files.clone();
        let name = newest(&edited);
        // Not through the encoder, which writes nothing that it would not read.
        let (at, len) = match what {
            "epoch" => (EPOCH_AT, 4),
            "purge clock" => (PURGE_CLOCK_AT, 8),
            "position" => (POSITION_AT, 8),
            _ => (CREATED_AT, 8),
        };
        let bytes = edited.get_mut(&name).unwrap();
        bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        seal_manifest(bytes);
        scene.drive(&edited, what);
        // Without a changelog, whose positions would contradict it.
        edited.retain(|name, _| !name.ends_with(".changelog"));
        scene.drive(&edited, &format!("{what}, no changelog"));
    }
}

#[test]
fn parents_that_are_themselves_or_each_other() {
    let scene = Scene::new();
    let all = names(&scene.files, ".manifest");
    assert!(all.len() >= 2);
    let (older, newer) = (&all[all.len() - 2], &all[all.len() - 1]);
    let number_of = |name: &str| manifest(&scene.files[name]).number;
    let digest_of = |name: &str| format::digest_of(&scene.files[name]);
    let cases = [(newer, newer), (older, newer), (older, older)];
    for (child, parent) in cases {
        let mut edited = scene.files.clone();
        let parent = Parent { number: number_of(parent), digest: digest_of(parent) };
        assert!(edit_manifest(&mut edited, child, |manifest| manifest.parent = Some(parent)));
        scene.drive(&edited, &format!("{child} is a child of {parent:?}"));
    }
}

#[test]
fn names_of_states_that_look_like_paths_are_names() {
    let scene = Scene::new();
    let long = "x".repeat(65_535);
    for name in ["../../outside", "/etc/passwd", "..", "", "a\0b", "LOCK", &long] {
        let mut edited = scene.files.clone();
        for manifest in names(&scene.files, ".manifest") {
            assert!(edit_manifest(&mut edited, &manifest, |manifest| {
                manifest.states[0].name = name.to_owned();
                manifest.states[1].merge = name.to_owned();
            }));
        }
        scene.drive(&edited, name);
    }
}

/// A link in the place of a file may lead anywhere.
#[test]
fn links_are_no_files_of_a_store() {
    for suffix in [".manifest", ".segment", ".changelog", ".hotlist"] {
        let scene = Scene::new();
        let elsewhere = tempfile::tempdir().unwrap();
        for name in names(&scene.files, suffix) {
            fs::write(elsewhere.path().join(&name), &scene.files[&name]).unwrap();
        }
        scene.lay_out(&scene.files);
        for name in names(&scene.files, suffix) {
            fs::remove_file(scene.path().join(&name)).unwrap();
            symlink(elsewhere.path().join(&name), scene.path().join(&name)).unwrap();
        }
        let _ = inspect::verify(&scene.path());
        let engine = engine(StorageChoice::Posix, 4 << 20);
        match Store::open(&engine, &scene.path(), options()) {
            // Lost hot lists cost time alone; a link is no manifest, and no file of a changelog, of the directory.
            Err(error) => assert!(suffix != ".hotlist", "{suffix}: {error}"),
            Ok(store) => {
                let label = store.restored().map(|info| info.label);
                let found = label.map(|label| contents_of(&store, label));
                if suffix == ".segment" {
                    let Some(Err(Error::Storage(error))) = found else { panic!("what a link leads to was read") };
                    assert!(error.path.starts_with(scene.path().canonicalize().unwrap()), "{error}");
                }
                store.close().unwrap();
            }
        }
        for name in names(&scene.files, suffix) {
            assert!(fs::read(elsewhere.path().join(&name)).unwrap() == scene.files[&name], "{name} was changed");
        }
    }
}

/// A few bytes that say that they are a lot.
#[test]
fn blocks_that_unpack_to_more_than_there_is() {
    let scene = Scene::new();
    for name in names(&scene.files, ".segment") {
        for raw_bytes in [u32::MAX, i32::MAX as u32, (1 << 30) + 1, (1 << 20) + 1, 1 << 20, 0] {
            for codec in [0_u16, 1, 2, 15] {
                let mut edited = scene.files.clone();
                let meta = meta_of(&edited, &name).unwrap();
                let blocks = blocks_of(&edited[&name], &meta);
                edit_segment(&mut edited, &name, |bytes, _| {
                    for (at, len) in &blocks {
                        let trailer = &mut bytes[at + len - 16..at + len];
                        let pad = u16::from_le_bytes([trailer[2], trailer[3]]) & 0x0fff;
                        trailer[2..4].copy_from_slice(&(pad | codec << 12).to_le_bytes());
                        trailer[4..8].copy_from_slice(&raw_bytes.to_le_bytes());
                    }
                });
                scene.drive(&edited, &format!("{name}: {raw_bytes} bytes by codec {codec}"));
            }
        }
    }
}

/// A block of literals and matches that unpacks to as much as it may, and no record in it.
#[test]
fn a_block_of_nothing_but_repetitions() {
    let scene = Scene::new();
    let name = names(&scene.files, ".segment").pop().unwrap();
    let mut edited = scene.files.clone();
    let meta = meta_of(&edited, &name).unwrap();
    let (at, len) = blocks_of(&edited[&name], &meta)[0];
    edit_segment(&mut edited, &name, |bytes, _| {
        let block = &mut bytes[at..at + len];
        // One literal, a match with the byte before, and its length in as many bytes of 255 as there is room for.
        let end = len - 16;
        block[0] = 0x1f;
        block[1..4].copy_from_slice(&[0, 1, 0]);
        block[4..end].fill(255);
        let raw_bytes = (1 + 4 + 15 + 255 * (end - 4)).min(1 << 20) as u32;
        block[end..end + 4].copy_from_slice(&[1, 0, 0, 0x10]);
        block[end + 4..end + 8].copy_from_slice(&raw_bytes.to_le_bytes());
    });
    scene.drive(&edited, "repetitions");
}

/// What a merge makes its filter for is what its segments say that they have.
#[test]
fn segments_with_more_keys_than_bits() {
    let scene = Scene::new();
    for keys in [1 << 33, u64::MAX / 2] {
        let mut edited = scene.files.clone();
        for name in names(&scene.files, ".segment") {
            edit_segment(&mut edited, &name, |_, meta| meta.filter_keys = keys);
        }
        assert!(scene.drive(&edited, "as many keys as can be said") > 0);
    }
}

/// Every entry of the table of blocks leads to the same block, and every child of an index node to the same child.
#[test]
fn indexes_that_lead_in_circles() {
    let scene = Scene::new();
    for name in names(&scene.files, ".segment") {
        let meta = meta_of(&scene.files, &name).unwrap();
        let table = meta.metadata.offset as usize + 64 * meta.filter_blocks as usize;
        let index = (table + 8 * meta.blocks as usize).next_multiple_of(64);
        let mut edited = scene.files.clone();
        edit_segment(&mut edited, &name, |bytes, meta| {
            let first = bytes[table..table + 8].to_vec();
            (0..meta.blocks as usize).for_each(|block| bytes[table + 8 * block..][..8].copy_from_slice(&first));
        });
        scene.drive(&edited, &format!("{name}: one block for all"));
        for at in (0..meta.index_bytes as usize).step_by(4) {
            for word in [0_u32, 1, meta.index_root as u32, u32::MAX] {
                let mut edited = scene.files.clone();
                edit_segment(&mut edited, &name, |bytes, meta| {
                    if at + 4 <= meta.index_bytes as usize {
                        bytes[index + at..index + at + 4].copy_from_slice(&word.to_le_bytes());
                    }
                });
                // Looking it up is what goes through the index.
                if at < 96 {
                    scene.drive(&edited, &format!("{name}: {word} at {at} of the index"));
                }
            }
        }
    }
}

/// The range of a whole job, a slice for each key group, the same segment in each.
#[test]
fn as_many_slices_as_there_can_be() {
    let scene = Scene::new();
    let mut edited = scene.files.clone();
    let name = newest(&edited);
    assert!(edit_manifest(&mut edited, &name, |manifest| {
        manifest.store.key_groups = 65_536;
        manifest.store.range = KeyGroupRange::new(0, u16::MAX);
        let slice = manifest.slices[0].clone();
        let slices = (0..=u16::MAX)
            .map(|group| alluvium::manifest::Slice { range: KeyGroupRange::new(group, group), ..slice.clone() });
        manifest.slices = slices.collect();
    }));
    scene.lay_out(&edited);
    let _ = inspect::verify(&scene.path());
    let engine = engine(StorageChoice::Posix, 4 << 20);
    // It isn't the store that the host asks for.
    let error = Store::open(&engine, &scene.path(), options()).unwrap_err();
    assert_eq!(error.class(), Class::Usage, "{error}");
}

#[test]
fn a_changelog_at_the_end_of_all_positions() {
    let scene = Scene::new();
    for first in [u64::MAX, u64::MAX - 1, u64::MAX - 5_000, i64::MAX as u64] {
        let mut edited = scene.files.clone();
        let shift = |position: u64, from: u64| position.wrapping_sub(from).wrapping_add(first);
        let all = names(&scene.files, ".changelog");
        let from = Log::of(&scene.files[&all[0]]).header.first;
        for name in all {
            let mut log = Log::of(&scene.files[&name]);
            log.header.first = shift(log.header.first, from);
            for (block, _) in &mut log.blocks {
                block.position = shift(block.position, from);
                block.durable = shift(block.durable.max(from), from);
            }
            edited.insert(name, log.to_bytes());
        }
        for name in names(&scene.files, ".manifest") {
            edit_manifest(&mut edited, &name, |manifest| {
                manifest.log_position = shift(manifest.log_position.max(from), from)
            });
        }
        scene.drive(&edited, &format!("a changelog from {first} on"));
    }
}

#[test]
fn payloads_of_a_changelog_that_are_no_records() {
    let scene = Scene::new();
    for name in names(&scene.files, ".changelog") {
        for filling in [0_u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 127, 128, 255] {
            let mut edited = scene.files.clone();
            let mut log = Log::of(&scene.files[&name]);
            log.blocks.iter_mut().for_each(|(_, payload)| payload.fill(filling));
            edited.insert(name.clone(), log.to_bytes());
            scene.drive(&edited, &format!("{name} full of {filling}"));
        }
    }
}

#[test]
fn hot_lists_that_promise_too_much() {
    let scene = Scene::new();
    let name = names(&scene.files, ".hotlist").pop().unwrap();
    for what in ["records", "overlap", "groups", "chunks"] {
        let mut edited = scene.files.clone();
        let mut list = HotList::of(&edited[&name]);
        match what {
            "records" => list.chunks.iter_mut().for_each(|(chunk, _)| chunk.records = u32::MAX),
            "overlap" => list.chunks.iter_mut().for_each(|(chunk, _)| chunk.offset = 0),
            "groups" => list.chunks.iter_mut().for_each(|(chunk, _)| (chunk.first, chunk.last) = (0, u16::MAX)),
            _ => list.trailer.chunks = 1 << 20,
        }
        edited.insert(name.clone(), list.to_bytes());
        assert_eq!(scene.drive(&edited, what), 3, "a hot list is a hint");
    }
    // And it answers nothing: what is read is what the store has.
    let mut edited = scene.files.clone();
    let mut list = HotList::of(&edited[&name]);
    for (_, bytes) in &mut list.chunks {
        let len = bytes.len();
        bytes[len / 2..].iter_mut().for_each(|byte| *byte ^= 0x10);
    }
    edited.insert(name, list.to_bytes());
    scene.lay_out(&edited);
    let engine = engine(StorageChoice::Posix, 4 << 20);
    let store = Store::open(&engine, &scene.path(), options()).unwrap();
    let found = contents_of(&store, super::scene::PLAN.every * 2).unwrap();
    assert!(found == *Model::new(super::scene::PLAN).at(super::scene::PLAN.every * 2));
    store.close().unwrap();
}

/// The helpers of these tests put checksums where the engine looks for them: an edit that isn't put right is found out at once.
#[test]
fn an_edit_that_is_not_put_right_is_damage() {
    let scene = Scene::new();
    let name = newest(&scene.files);
    let mut edited = scene.files.clone();
    edited.get_mut(&name).unwrap()[200] ^= 1;
    scene.lay_out(&edited);
    let engine = engine(StorageChoice::Posix, 4 << 20);
    let Err(Error::Storage(error)) = Store::open(&engine, &scene.path(), options()) else { panic!("it opened") };
    assert_eq!(error.fault, Fault::Corrupt);
    // And the place is bound in.
    assert_ne!(checksum(b"x") ^ place(1, 0), checksum(b"x") ^ place(1, 64));
}
