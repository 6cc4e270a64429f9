//! Random edits of every kind of file.

use super::files::{self, Files, HotList, Log, blocks_of, edit_manifest, edit_segment, meta_of, names, seal_manifest};
use super::scene::Scene;
use super::workload::Rng;
use alluvium::ids::{Epoch, KeyGroupRange, SegmentId, StateId};
use alluvium::manifest::{Manifest, Marks, Parent, StateMap};
use alluvium::segment::SegmentMeta;
use std::sync::Arc;

/// A number that is at some border, near what was there, or any.
fn odd(rng: &mut Rng, old: u64) -> u64 {
    const BORDERS: [u64; 14] = [
        0,
        1,
        2,
        63,
        64,
        4095,
        4096,
        65_535,
        65_536,
        i32::MAX as u64,
        u32::MAX as u64,
        1 << 40,
        i64::MAX as u64,
        u64::MAX,
    ];
    match rng.below(4) {
        0 => BORDERS[rng.below(BORDERS.len() as u64) as usize],
        1 => old.wrapping_add(1 + rng.below(4)),
        2 => old.wrapping_sub(1 + rng.below(4)),
        _ => rng.next() >> rng.below(64),
    }
}

fn one<'a, T>(rng: &mut Rng, of: &'a mut [T]) -> Option<&'a mut T> {
    let count = of.len() as u64;
    if count == 0 { None } else { of.get_mut(rng.below(count) as usize) }
}

fn one_name(rng: &mut Rng, files: &Files, suffix: &str) -> String {
    let mut names = names(files, suffix);
    one(rng, &mut names).unwrap().clone()
}

fn range(rng: &mut Rng) -> KeyGroupRange {
    let (a, b) = (rng.below(24) as u16, odd(rng, 15) as u16);
    KeyGroupRange::new(a.min(b), a.max(b))
}

const NAMES: [&str; 7] = ["", "values", "../../outside", "/etc/passwd", "a\0b", "maps", "sums"];

/// Changes a field of a manifest, or several that belong together.
fn change_manifest(rng: &mut Rng, manifest: &mut Manifest) {
    match rng.below(22) {
        0 => manifest.number = odd(rng, manifest.number),
        1 => manifest.store.uuid ^= 1 << rng.below(128),
        2 => manifest.store.hash_seed = odd(rng, manifest.store.hash_seed),
        3 => manifest.store.key_groups = odd(rng, 16) as u32,
        4 => manifest.store.range = range(rng),
        5 => manifest.label = (rng.below(3) > 0).then(|| odd(rng, 100)),
        6 => manifest.epoch = Epoch(odd(rng, u64::from(manifest.epoch.0)) as u32),
        7 => manifest.purge_clock_ms = odd(rng, manifest.purge_clock_ms),
        8 => manifest.log_position = odd(rng, manifest.log_position),
        9 => manifest.parent = Some(Parent { number: odd(rng, manifest.number), digest: rng.next() }),
        10 => manifest.states.iter_mut().for_each(|state| state.kind = odd(rng, u64::from(state.kind)) as u8),
        11 => manifest.states.iter_mut().for_each(|state| state.ttl = Some(rng.next().to_le_bytes().to_vec())),
        12 => {
            let name = NAMES[rng.below(7) as usize];
            one(rng, &mut manifest.states).into_iter().for_each(|state| state.name = name.to_owned());
        }
        13 => {
            let name = NAMES[rng.below(7) as usize];
            one(rng, &mut manifest.states).into_iter().for_each(|state| state.merge = name.to_owned());
        }
        14 => drop(manifest.states.pop()),
        15 => manifest.offsets.push((range(rng), vec![1; rng.below(100) as usize])),
        16 => manifest.slices.iter_mut().for_each(|slice| slice.stack.reverse()),
        17 => {
            let halves = manifest.slices.iter().flat_map(|slice| {
                let (first, last) = (slice.range.first(), slice.range.last());
                let middle = first + (last - first) / 2;
                let ranges = [(first, middle), (middle + 1, last)];
                let slices = ranges.into_iter().filter(|(first, last)| first <= last);
                slices.map(|(first, last)| alluvium::manifest::Slice {
                    range: KeyGroupRange::new(first, last),
                    ..slice.clone()
                })
            });
            manifest.slices = halves.collect();
        }
        18 => {
            // States of a segment that are others, or hidden.
            let count = manifest.states.len() as u64;
            let pairs = (0..count).filter(|_| rng.below(3) > 0).collect::<Vec<_>>();
            let shift = rng.below(count.max(1));
            let to = |from: &u64| StateId(((from + shift) % count) as u16);
            manifest.maps.push(StateMap::Pairs(pairs.iter().map(|from| (StateId(*from as u16), to(from))).collect()));
            let map = manifest.maps.len() as u32 - 1;
            manifest.slices.iter_mut().flat_map(|slice| &mut slice.stack).for_each(|entry| entry.map = map);
        }
        19 => {
            manifest.states.iter_mut().for_each(|state| state.conversions = vec!["migration 1".to_owned(); 3]);
            manifest.marks = vec![Marks::default(); 2];
        }
        20 => {
            if let Some(segment) = one(rng, &mut manifest.segments) {
                Arc::make_mut(segment).id = SegmentId(u128::from(rng.next()));
            }
        }
        _ => {
            if let Some(segment) = one(rng, &mut manifest.segments) {
                change_meta(rng, Arc::make_mut(segment));
            }
        }
    }
}

/// Changes a field of a segment's description.
fn change_meta(rng: &mut Rng, meta: &mut SegmentMeta) {
    match rng.below(20) {
        0 => meta.file_bytes = odd(rng, meta.file_bytes),
        1 => meta.epoch_low = Epoch(odd(rng, u64::from(meta.epoch_low.0)) as u32),
        2 => meta.epoch_high = Epoch(odd(rng, u64::from(meta.epoch_high.0)) as u32),
        3 => meta.hash_seed = rng.next(),
        4 => meta.level = odd(rng, u64::from(meta.level)) as u8,
        5 => meta.groups = range(rng),
        6 => meta.entries = odd(rng, meta.entries),
        7 => meta.tombstones = odd(rng, meta.tombstones),
        8 => meta.clears = odd(rng, meta.clears),
        9 => meta.expiring = odd(rng, meta.expiring),
        10 => meta.logical_bytes = odd(rng, meta.logical_bytes),
        11 => {
            meta.expiry_min_ms = Some(odd(rng, 0));
            meta.expiring = meta.expiring.max(1);
        }
        12 => meta.blocks = odd(rng, u64::from(meta.blocks)) as u32,
        13 => meta.directory_entries = odd(rng, u64::from(meta.directory_entries)) as u32,
        14 => meta.filter_blocks = odd(rng, u64::from(meta.filter_blocks)) as u32,
        15 => meta.filter_keys = odd(rng, meta.filter_keys),
        16 => meta.index_root = odd(rng, meta.index_root),
        17 => meta.metadata.offset = odd(rng, meta.metadata.offset / 64).wrapping_mul(64),
        18 => {
            let key = meta.first_key.clone();
            meta.last_key.extend_from_slice(&key);
        }
        _ => {
            if let Some(byte) = one(rng, &mut meta.first_key) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}

/// Puts an odd number somewhere, as 1, 2, 4 or 8 bytes.
fn put_odd(rng: &mut Rng, bytes: &mut [u8]) {
    let len = 1_usize << rng.below(4);
    if bytes.len() < len {
        return;
    }
    let at = rng.below((bytes.len() - len + 1) as u64) as usize;
    let mut word = [0; 8];
    word[..len].copy_from_slice(&bytes[at..at + len]);
    let new = odd(rng, u64::from_le_bytes(word)).to_le_bytes();
    bytes[at..at + len].copy_from_slice(&new[..len]);
}

fn change_segment(rng: &mut Rng, files: &mut Files) {
    let name = one_name(rng, files, ".segment");
    let Some(old) = meta_of(files, &name) else { return };
    let blocks = blocks_of(&files[&name], &old);
    let way = rng.below(3);
    edit_segment(files, &name, |bytes, meta| {
        let metadata = meta.metadata.offset as usize;
        for _ in 0..=rng.below(3) {
            match way {
                0 => change_meta(rng, meta),
                1 => put_odd(rng, &mut bytes[metadata..]),
                _ => {
                    let (at, len) = blocks[rng.below(blocks.len() as u64) as usize];
                    let block = &mut bytes[at..at + len - 8];
                    // Every other time its trailer.
                    let from = if rng.below(2) == 0 { block.len() - 8 } else { 0 };
                    put_odd(rng, &mut block[from..]);
                }
            }
        }
    });
}

fn change_log(rng: &mut Rng, files: &mut Files) {
    let name = one_name(rng, files, ".changelog");
    let mut log = Log::of(&files[&name]);
    match rng.below(12) {
        0 => log.header.store ^= 1 << rng.below(128),
        1 => log.header.number = odd(rng, log.header.number),
        2 => log.header.first = odd(rng, log.header.first),
        3 => log.header.nonce = odd(rng, log.header.nonce),
        way => {
            let count = log.blocks.len() as u64;
            if let Some((block, payload)) = one(rng, &mut log.blocks) {
                match way {
                    4 => block.len = odd(rng, u64::from(block.len)) as u32,
                    5 => block.position = odd(rng, block.position),
                    6 => block.durable = odd(rng, block.durable),
                    7 => block.commit_end = odd(rng, u64::from(block.commit_end)) as u32,
                    8 => block.has_states = !block.has_states,
                    9 => block.has_aborts = !block.has_aborts,
                    _ => (0..=rng.below(3)).for_each(|_| put_odd(rng, payload)),
                }
            }
            if rng.below(8) == 0 && count > 1 {
                let at = rng.below(count) as usize;
                log.blocks.swap(0, at);
            }
        }
    }
    files.insert(name, log.to_bytes());
}

fn change_hot_list(rng: &mut Rng, files: &mut Files) {
    let name = one_name(rng, files, ".hotlist");
    let mut list = HotList::of(&files[&name]);
    match rng.below(10) {
        0 => list.trailer.chunks = odd(rng, u64::from(list.trailer.chunks)) as u32,
        1 => list.trailer.table_at = odd(rng, list.trailer.table_at),
        2 => list.trailer.store ^= 1,
        way => {
            if let Some((chunk, bytes)) = one(rng, &mut list.chunks) {
                match way {
                    3 => chunk.offset = odd(rng, chunk.offset),
                    4 => chunk.bytes = odd(rng, u64::from(chunk.bytes)) as u32,
                    5 => chunk.records = odd(rng, u64::from(chunk.records)) as u32,
                    6 => (chunk.first, chunk.last) = (odd(rng, 0) as u16, odd(rng, 15) as u16),
                    7 => chunk.stack.layers = odd(rng, u64::from(chunk.stack.layers)) as u32,
                    _ => (0..=rng.below(4)).for_each(|_| put_odd(rng, bytes)),
                }
            }
        }
    }
    files.insert(name, list.to_bytes());
}

/// Edits files in one way or another.
fn edit(rng: &mut Rng, files: &mut Files) -> &'static str {
    match rng.below(6) {
        0 => {
            let name = one_name(rng, files, ".manifest");
            let mut changes = rng.clone();
            let count = 1 + rng.below(3);
            let edited = edit_manifest(files, &name, |manifest| {
                (0..count).for_each(|_| change_manifest(&mut changes, manifest));
            });
            rng.next();
            if edited { "fields of a manifest" } else { "nothing" }
        }
        1 => {
            let name = one_name(rng, files, ".manifest");
            let bytes = files.get_mut(&name).unwrap();
            (0..=rng.below(3)).for_each(|_| put_odd(rng, &mut bytes[12..]));
            seal_manifest(bytes);
            "bytes of a manifest"
        }
        2 | 3 => {
            change_segment(rng, files);
            "a segment"
        }
        4 => {
            change_log(rng, files);
            "a changelog"
        }
        _ => {
            change_hot_list(rng, files);
            "a hot list"
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

#[test]
fn whatever_files_say_it_ends() {
    let seed = number("ALLUVIUM_HOSTILE_SEED", 1);
    println!("ALLUVIUM_HOSTILE_SEED={seed}");
    let scene = Scene::new();
    let (rounds, mut found) = (number("ALLUVIUM_HOSTILE", 400), [0; 4]);
    for round in 0..rounds {
        let mut rng = Rng(seed.wrapping_add(round).wrapping_mul(0x9E37_79B9));
        let mut edited = scene.files.clone();
        let what = edit(&mut rng, &mut edited);
        let what = format!("ALLUVIUM_HOSTILE_SEED={}, the first edit, of {what}", seed.wrapping_add(round));
        found[scene.drive(&edited, &what)] += 1;
    }
    println!("of {rounds} edited stores were found in none of the ways, in one, two, three: {found:?}");
    // Edits that are all refused at once would show nothing of what lies behind.
    assert!(found[3] > 0 || rounds < 100, "{found:?}");
}

#[test]
fn files_that_are_only_put_right_again_are_as_they_were() {
    let scene = Scene::new();
    let mut same = scene.files.clone();
    for name in names(&scene.files, ".segment") {
        edit_segment(&mut same, &name, |_, _| {});
    }
    for name in names(&scene.files, ".manifest") {
        assert!(edit_manifest(&mut same, &name, |_| {}));
        seal_manifest(same.get_mut(&name).unwrap());
    }
    for name in names(&scene.files, ".changelog") {
        same.insert(name.clone(), Log::of(&scene.files[&name]).to_bytes());
    }
    for name in names(&scene.files, ".hotlist") {
        same.insert(name.clone(), HotList::of(&scene.files[&name]).to_bytes());
    }
    for (name, bytes) in &scene.files {
        assert!(same[name] == *bytes, "{name}");
    }
    assert_eq!(scene.drive(&same, "nothing edited"), 3);
    assert!(files::meta_of(&same, &names(&same, ".segment")[0]).is_some());
}
