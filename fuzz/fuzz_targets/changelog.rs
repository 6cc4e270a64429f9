//! Any bytes as a changelog: as headers, as the records of a block, and as a whole file whose checksums were put right. What is read
//! is written and read again.
#![no_main]

use alluvium::changelog::History;
use alluvium::changelog::files::FileAt;
use alluvium::changelog::format::{BLOCK_HEADER_BYTES, BlockHeader, FileHeader, PAGE_BYTES, payload_sum};
use alluvium::changelog::record::{self, Record};
use alluvium::changelog::tail;
use alluvium::codec::Reader;
use alluvium::platform::storage::{self, PageCache, StorageChoice, names};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

const STORE: u128 = 5;
const NONCE: u64 = 9;

static DIRECTORY: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("alluvium-fuzz-changelog-{}", std::process::id())));

fn records(bytes: &[u8]) {
    let reader = &mut Reader::new(bytes);
    while reader.remaining() > 0 {
        let from = reader.at();
        let Ok(taken) = record::take(reader) else { return };
        let mut again = Vec::new();
        match taken {
            Record::Change { state, key, change, expiry_ms } => {
                record::push_change(&mut again, state, key, change, expiry_ms);
            }
            Record::State(described) => record::push_state(&mut again, described),
            Record::Commit(parts) => {
                let Ok((offsets, metadata)) = record::commit_parts(parts) else { continue };
                record::push_commit(&mut again, &offsets, &metadata);
            }
            Record::Abort => record::push_abort(&mut again),
            Record::Nothing => record::push_nothing(&mut again),
            Record::Handler { number, version, name } => record::push_handler(&mut again, number, version, name),
            Record::Event(event) => record::push_event(&mut again, event),
            Record::Traced(id, event, accesses) => record::push_traced(&mut again, id, event, accesses),
            Record::Rollback(rollback) => record::push_rollback(&mut again, &rollback),
        }
        assert_eq!(&bytes[from..reader.at()], again);
    }
}

/// A file with a block for each part of the bytes.
fn file(parts: &[&[u8]], (durable, commit_end, flags): (u64, u32, u8)) -> Vec<u8> {
    let mut out = FileHeader { store: STORE, number: 1, first: 0, before: 0, nonce: NONCE }.encode().to_vec();
    out.resize(PAGE_BYTES, 0);
    let mut position = 0;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let at = out.len() as u64;
        let header = BlockHeader {
            len: part.len() as u32,
            position,
            durable: durable.min(position),
            commit_end: commit_end.min(part.len() as u32),
            has_states: flags & 1 != 0,
            has_aborts: flags & 2 != 0,
            has_events: flags & 4 != 0,
            payload_sum: payload_sum(part, NONCE, at),
        };
        out.extend_from_slice(&header.encode(NONCE, at));
        out.extend_from_slice(part);
        out.resize(out.len().next_multiple_of(PAGE_BYTES), 0);
        position += part.len() as u64;
    }
    out
}

fn whole(bytes: &[u8], from: u64) {
    let storage = storage::open(&DIRECTORY, StorageChoice::Posix, PageCache::Everything, true).expect("a directory");
    std::fs::write(DIRECTORY.join(names::changelog_name(1)), bytes).expect("a file");
    let files = storage.names().expect("names");
    // With all of it checked at once, and with what was durable checked when it is read.
    let [whole, later] = [u64::MAX, 0].map(|unchecked| {
        let tail = tail::find(&*storage, &files, STORE, from, unchecked).ok()??;
        assert!(tail.from <= tail.to);
        let mut records = 0_u64;
        let ended = tail.replay(|_, _| {
            records += 1;
            Ok(())
        });
        ended.is_ok().then_some((tail.to, records))
    });
    // What lies before the position is not looked at the second time.
    if let Some((to, records)) = whole {
        assert!(later.is_some_and(|later| to <= later.0 && records <= later.1));
    }
    let there = [FileAt { number: 1, first: 0, before: 0 }];
    for to in [from + 1, u64::MAX] {
        if let Ok(history) = History::open(&*storage, STORE, (&there, &[]), from, to) {
            let mut at = from;
            let _ = history.records(from, to, |_, begin, end| {
                assert!(at <= begin && begin < end && end <= to);
                at = end;
                Ok(true)
            });
            let _ = history.last_commit(to);
        }
    }
}

fuzz_target!(|input: (&[u8], &[u8], u64, u32, u8, u8)| {
    let (first, second, durable, commit_end, flags, from) = input;
    let _ = FileHeader::decode(first);
    if let Some(block) = BlockHeader::decode(first, NONCE, 0) {
        assert_eq!(block.encode(NONCE, 0)[..], first[..BLOCK_HEADER_BYTES]);
    }
    records(first);
    whole(first, 0);
    whole(&file(&[first, second], (durable, commit_end, flags)), u64::from(from));
});
