//! A small segment file with bytes changed anywhere: reading it gives the right answer or an error that names the
//! file. With the checksums of the metadata put right again it may give other answers, but ends all the same.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use alluvium::checksum::checksum;
use alluvium::ids::{KeyGroup, SegmentId, StateId};
use alluvium::key::{Key, push_entry_key, push_sort_key};
use alluvium::platform::storage::names::segment_name;
use alluvium::platform::storage::{PageCache, Storage, StorageChoice, StorageError, open};
use alluvium::segment::{Entry, Kind, Segment, SegmentMeta, SegmentOptions, SegmentWriter};
use libfuzzer_sys::fuzz_target;

const ID: SegmentId = SegmentId(1);
const METADATA_PAGE_BYTES: usize = 16 << 10;

struct Sample {
    storage: Arc<dyn Storage>,
    meta: SegmentMeta,
    bytes: Vec<u8>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A segment of a few blocks, compressed and not, in a directory of this process.
static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let directory: PathBuf = std::env::temp_dir().join(format!("alluvium-fuzz-{}", std::process::id()));
    let storage = open(&directory, StorageChoice::Posix, PageCache::Everything, true).expect("a temporary directory");
    let mut records = BTreeMap::<Vec<u8>, Vec<u8>>::new();
    for number in 0..300_u32 {
        let key = number.to_be_bytes();
        let mut sort_key = Vec::new();
        match number % 3 {
            0 => push_sort_key(&mut sort_key, StateId(0), Key::new(KeyGroup(number as u16 / 100), &key)),
            _ => push_entry_key(&mut sort_key, StateId(1), Key::new(KeyGroup(number as u16 / 100), b"map"), &key),
        }
        let mut noise = checksum(&key);
        let value = (0..number as usize % 90).map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if number < 150 { (noise >> 56) as u8 } else { b'a' }
        });
        records.insert(sort_key, value.collect());
    }
    let mut writer = SegmentWriter::create(&*storage, ID, SegmentOptions::default()).expect("created");
    for (sort_key, value) in &records {
        let expiry_ms = (value.len() > 80).then_some(1_400_000_000_000);
        writer.add(Entry { sort_key, kind: Kind::Put, expiry_ms, value }).expect("added");
    }
    let (meta, len) = writer.finish(false).expect("written").expect("not empty");
    let bytes = storage.read_all(&segment_name(ID.0), len).expect("read");
    Sample { storage, meta, bytes, records }
});

fn replace(bytes: &[u8]) {
    let name = segment_name(ID.0);
    SAMPLE.storage.remove(&name).expect("removed");
    let mut file = SAMPLE.storage.create(&name).expect("created");
    file.append(bytes).expect("written");
    file.finish(false).expect("finished");
}

/// Puts the checksums of the metadata right, and says so in the description.
fn seal(bytes: &mut [u8], meta: &SegmentMeta) -> SegmentMeta {
    let start = meta.metadata.offset as usize;
    let (metadata, rest) = bytes[start..].split_at_mut(meta.metadata.len as usize);
    let sums: Vec<u8> = metadata.chunks(METADATA_PAGE_BYTES).flat_map(|page| checksum(page).to_le_bytes()).collect();
    rest[..sums.len()].copy_from_slice(&sums);
    let mut sealed = meta.clone();
    sealed.metadata.checksum = checksum(&sums);
    sealed
}

/// Reads the segment in every way; `check` sees what comes back for each key.
fn read(meta: &SegmentMeta, check: impl Fn(&[u8], Option<&[u8]>)) -> Result<(), StorageError> {
    let segment = Arc::new(Segment::open(&*SAMPLE.storage, meta.clone())?);
    let mut failed = segment.verify(&mut |_| {});
    for sort_key in SAMPLE.records.keys().step_by(37) {
        let block = match segment.locate(sort_key) {
            Ok(place) => place.map(|place| segment.read_block(place)).transpose(),
            Err(error) => Err(error),
        };
        match block {
            Ok(block) => {
                let found = block.as_ref().and_then(|block| block.get(sort_key)).map(|entry| entry.value);
                let passed = segment.may_contain(segment.hash(sort_key));
                check(sort_key, found.filter(|_| passed));
            }
            Err(error) => failed = Err(error),
        }
    }
    let mut cursor = segment.cursor();
    let mut walked = cursor.seek(&[]);
    while let (Ok(()), Some(entry)) = (&walked, cursor.entry()) {
        check(entry.sort_key, Some(entry.value));
        walked = cursor.next();
    }
    for pair in 0..segment.directory_len() {
        failed = segment.directory_entry(pair).map(|_| ()).and(failed);
    }
    walked.and(failed)
}

fuzz_target!(|edits: Vec<(u16, u8)>| {
    let sample = &*SAMPLE;
    let mut bytes = sample.bytes.clone();
    let len = bytes.len();
    // Every third edit goes to the metadata, which is small.
    let metadata = sample.meta.metadata.offset as usize;
    for (index, (at, byte)) in edits.iter().enumerate() {
        let at = usize::from(*at);
        let at = if index % 3 == 0 { metadata + at % (len - metadata) } else { at % len };
        bytes[at] ^= byte;
    }
    replace(&bytes);
    let outcome = read(&sample.meta, |sort_key, found| {
        assert_eq!(found, sample.records.get(sort_key).map(Vec::as_slice), "a wrong value came back");
    });
    if let Err(error) = outcome {
        assert!(error.path.ends_with(segment_name(ID.0)));
    } else {
        assert_eq!(bytes, sample.bytes, "a change that verify doesn't find");
    }
    if let Ok(found) = Segment::read_meta(&*sample.storage, ID) {
        assert_eq!(found, sample.meta);
    }
    let sealed = seal(&mut bytes, &sample.meta);
    replace(&bytes);
    let _ = read(&sealed, |_, _| {});
});
