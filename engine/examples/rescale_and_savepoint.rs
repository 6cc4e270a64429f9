//! A job that is stopped with a savepoint, and goes on as two tasks: nothing is rewritten, and what a checkpoint holds can
//! be gone through in the order of key groups.

use alluvium::{
    Barrier, CheckpointSource, Engine, EngineOptions, Error, KeyGroupRange, SegmentSink, StateOptions, Store,
    StoreOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a host would upload while it is written.
#[derive(Debug, Default)]
struct Upload {
    bytes: AtomicUsize,
}

impl SegmentSink for Upload {
    fn write(&self, _name: &str, _offset: u64, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
    }

    fn complete(&self, name: &str, len: u64) {
        println!("{name} is there, {len} bytes");
    }

    fn abandon(&self, name: &str) {
        println!("{name} is not to be");
    }
}

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let path = |name: &str| directory.path().join(name);
    let engine = Engine::open(EngineOptions::default())?;
    let upload = Arc::new(Upload::default());
    let options = StoreOptions { sink: Some(upload.clone()), ..Default::default() };
    let store = Store::create(&engine, &path("whole"), options)?;
    let visits = store.state(StateOptions::value("visits"))?;
    let mut writer = store.writer(store.range())?;
    for user in 0..1_000_u32 {
        writer.put(visits, store.key(&user.to_be_bytes()), &1_u64.to_le_bytes())?;
    }

    // A savepoint: it stands alone, its files are shared with no checkpoint's, and it stays until it is released.
    let savepoint = Barrier { standalone: true, ..Barrier::new(1) };
    let info = store.barrier(savepoint)?.wait()?;
    let exported = path("savepoint");
    std::fs::create_dir(&exported).map_err(|error| Error::Background(error.to_string()))?;
    store.export(info.label, &exported)?;
    let records = store.iterate(info.label)?.collect::<Result<Vec<_>, _>>()?;
    assert!(records.len() == 1_000 && records.is_sorted_by_key(|record| record.group));
    assert!(upload.bytes.load(Ordering::Relaxed) > 0);
    store.release(info.label)?;
    drop(writer);
    store.close()?;

    // Two tasks, each with half of the key groups: the segments are linked, not rewritten.
    let mut found = 0;
    for (name, range) in [("first", KeyGroupRange::new(0, 63)), ("second", KeyGroupRange::new(64, 127))] {
        let source = CheckpointSource { directory: exported.clone(), label: None };
        let half = Store::restore(&engine, &path(name), &[source], StoreOptions { range, ..Default::default() })?;
        let visits = half.state(StateOptions::value("visits"))?;
        let mut writer = half.writer(range)?;
        for user in 0..1_000_u32 {
            let key = user.to_be_bytes();
            if range.contains(half.key(&key).group) {
                found += usize::from(writer.get(visits, half.key(&key))?.is_some());
            }
        }
    }
    assert_eq!(found, 1_000);
    println!("{found} users in two tasks");
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
