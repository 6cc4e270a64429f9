//! Lists are read back as they were written, and nothing of a damaged one is taken for good.

use super::format::{self, CHUNK_BYTES_MAX, Trailer};
use super::{Chunk, Entry, List, ListWriter, Stack};
use crate::checksum::checksum;
use crate::platform::storage::{self, PageCache, Storage, StorageChoice, names};
use std::path::Path;
use std::sync::Arc;

const STORE: u128 = 7 << 64 | 9;

fn directory() -> (tempfile::TempDir, Arc<dyn Storage>) {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage::open(directory.path(), StorageChoice::Posix, PageCache::Everything, false).unwrap();
    (directory, storage)
}

type Owned = (usize, Stack, u16, Vec<u8>, Option<Vec<u8>>, Option<u64>);

/// Records of all tiers and of two stacks, as long as several chunks.
fn records() -> Vec<Owned> {
    let record = |i: u32| {
        let stack = Stack { layers: 1 + i / 20_000, digest: u128::from(i / 20_000) };
        let key = [&(i / 300).to_be_bytes()[2..], &i.to_be_bytes()].concat();
        let value = (!i.is_multiple_of(3)).then(|| vec![i as u8; i as usize % 90]);
        let expiry_ms = (value.is_some() && i.is_multiple_of(5)).then_some(u64::from(i));
        (i as usize % 4, stack, (i / 300) as u16, key, value, expiry_ms)
    };
    (0..40_000).map(record).collect()
}

fn write(storage: &dyn Storage, number: u64) -> u64 {
    let mut writer = ListWriter::create(storage, number, STORE).unwrap();
    for (tier, stack, group, key, value, expiry_ms) in &records() {
        let epoch = if value.is_some() { 5 } else { 0 };
        let entry = Entry { sort_key: key, value: value.as_deref(), expiry_ms: *expiry_ms, epoch };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        writer.add(*tier, *stack, *group, &bytes).unwrap();
    }
    let bytes = writer.bytes();
    assert!(writer.finish(storage, true).unwrap() >= bytes, "a chunk in the table is what was not counted yet");
    std::fs::metadata(path(storage, number)).unwrap().len()
}

fn path(storage: &dyn Storage, number: u64) -> std::path::PathBuf {
    storage.root().join(names::hot_list_name(number))
}

fn read(list: &List) -> Vec<Owned> {
    let mut found = Vec::new();
    for chunk in list.chunks() {
        let bytes = list.read(chunk).unwrap();
        for entry in format::entries(chunk, &bytes).unwrap() {
            let group = u16::from_be_bytes(*entry.sort_key.first_chunk().unwrap());
            assert!((chunk.first..=chunk.last).contains(&group));
            let value = entry.value.map(<[u8]>::to_vec);
            assert_eq!(entry.epoch, if value.is_some() { 5 } else { 0 });
            let tier = usize::from(chunk.tier);
            found.push((tier, chunk.stack, group, entry.sort_key.to_vec(), value, entry.expiry_ms));
        }
    }
    found
}

#[test]
fn a_list_is_read_back_tier_by_tier() {
    let (_directory, storage) = directory();
    write(&*storage, 3);
    let list = List::open(&*storage, 3, STORE).unwrap();
    assert!(list.chunks().len() >= 8, "{} chunks", list.chunks().len());
    assert!(list.chunks().iter().all(|chunk| chunk.bytes < CHUNK_BYTES_MAX / 2));
    let (mut found, mut wanted) = (read(&list), records());
    found.sort_unstable_by(|a, b| a.3.cmp(&b.3));
    wanted.sort_unstable_by(|a, b| a.3.cmp(&b.3));
    assert_eq!(found, wanted);
    assert!(List::open(&*storage, 3, STORE + 1).is_err(), "another store's");
    assert!(List::open(&*storage, 4, STORE).is_err(), "there is none");
}

#[test]
fn one_that_was_not_finished_leaves_nothing() {
    let (directory, storage) = directory();
    let mut writer = ListWriter::create(&*storage, 1, STORE).unwrap();
    writer.add(0, Stack::default(), 0, &[0, 0]).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// What can be read of a damaged list; its records have to be among those that were written.
fn read_what_is_left(directory: &Path, bytes: &[u8]) -> usize {
    let storage = storage::open(directory, StorageChoice::Posix, PageCache::Everything, false).unwrap();
    std::fs::write(path(&*storage, 1), bytes).unwrap();
    let Ok(list) = List::open(&*storage, 1, STORE) else { return 0 };
    let chunks = list.chunks().iter();
    let whole = chunks.filter(|chunk| list.read(chunk).is_ok_and(|bytes| format::entries(chunk, &bytes).is_ok()));
    whole.map(|chunk| chunk.records as usize).sum()
}

#[test]
fn damage_costs_the_chunk_that_it_is_in_or_the_whole_list() {
    let (directory, storage) = directory();
    let len = write(&*storage, 1) as usize;
    let whole = std::fs::read(path(&*storage, 1)).unwrap();
    let table_at = Trailer::decode(&whole[len - 64..], len as u64).unwrap().table_at as usize;
    for at in (0..len).step_by(len / 40).chain(table_at..table_at + 60).chain(len - 64..len) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let left = read_what_is_left(directory.path(), &bytes);
        let most = if at < table_at { records().len() - 1 } else { 0 };
        assert!(left <= most, "a bit at {at} is turned, and {left} records are left");
        assert!(at >= table_at || left > 0, "what other chunks have is left; a bit at {at} is turned");
    }
    for len in [0, 1, 63, 64, 65, table_at, whole.len() - 1] {
        assert_eq!(read_what_is_left(directory.path(), &whole[..len]), 0, "cut to {len} bytes");
    }
}

#[test]
fn a_chunk_is_what_the_table_says() {
    let chunk = |bytes: &[u8], records| Chunk {
        offset: 0,
        bytes: bytes.len() as u32,
        records,
        first: 0,
        last: 0,
        tier: 0,
        stack: Stack::default(),
        checksum: checksum(bytes),
    };
    let mut bytes = Vec::new();
    Entry { sort_key: b"ab", value: Some(b"cd"), expiry_ms: Some(9), epoch: 300 }.encode(&mut bytes);
    assert!(format::entries(&chunk(&bytes, 1), &bytes).is_ok());
    assert!(format::entries(&chunk(&bytes, 2), &bytes).is_err(), "there are fewer records");
    assert!(format::entries(&chunk(&bytes, 0), &bytes).is_err(), "there are more records");
    for wrong in [&[4, 0][..], &[2, 0], &[0], &[1, 0, 0], &[0, 0xFF], &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0]] {
        assert!(format::entries(&chunk(wrong, 1), wrong).is_err(), "{wrong:?}");
    }
}
