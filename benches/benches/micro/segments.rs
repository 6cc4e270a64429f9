//! A segment of its own to look into, without a store.

use alluvium::key::push_sort_key;
use alluvium::platform::storage::{PageCache, StorageChoice, open};
use alluvium::segment::{Entry, Kind, Segment, SegmentOptions, SegmentWriter};
use alluvium::{Key, KeyGroup, SegmentId, StateId};

pub struct Sample {
    pub segment: Segment,
    _directory: tempfile::TempDir,
}

impl Sample {
    /// A segment of these records, whose keys ascend.
    pub fn new<V: AsRef<[u8]>>(options: SegmentOptions, records: impl Iterator<Item = (Vec<u8>, V)>) -> Self {
        let directory = tempfile::tempdir_in(".").unwrap();
        let storage = open(directory.path(), StorageChoice::Posix, PageCache::Everything, true).unwrap();
        let mut writer = SegmentWriter::create(&*storage, SegmentId(1), options).unwrap();
        for (sort_key, value) in records {
            let entry = Entry { sort_key: &sort_key, kind: Kind::Put, expiry_ms: None, value: value.as_ref() };
            writer.add(entry).unwrap();
        }
        let (meta, _) = writer.finish(false).unwrap().unwrap();
        Self { segment: Segment::open(&*storage, meta).unwrap(), _directory: directory }
    }
}

/// The sort key of a cell.
pub fn sort_key(name: &[u8]) -> Vec<u8> {
    let mut sort_key = Vec::with_capacity(24);
    push_sort_key(&mut sort_key, StateId(0), Key::new(KeyGroup(0), name));
    sort_key
}
