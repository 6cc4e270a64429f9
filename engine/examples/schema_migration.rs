//! A state whose values become wider: read at once as if all of them were, rewritten behind.

use alluvium::{Barrier, Convert, Engine, EngineOptions, Error, StateOptions, Store, StoreOptions};
use std::path::Path;
use std::sync::Arc;

/// Counters of 4 bytes become counters of 8.
struct Widen;

impl Convert for Widen {
    fn name(&self) -> &str {
        "u32 to u64"
    }

    fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let old: [u8; 4] = old.try_into().map_err(|_| format!("a counter of {} bytes", old.len()))?;
        out.extend_from_slice(&u64::from(u32::from_le_bytes(old)).to_le_bytes());
        Ok(())
    }
}

/// What a host does when a task starts: it looks at the schema that is there, and migrates where it is an old one.
fn start(engine: &Engine, path: &Path) -> Result<(Store, alluvium::State), Error> {
    let store = Store::open(engine, path, StoreOptions::default())?;
    // Should a migration be under way, it goes on with this.
    let state = store.state(StateOptions::value("counts").conversion(Arc::new(Widen)))?;
    let def = store.states().into_iter().find(|def| def.id == state.id());
    if def.is_some_and(|def| def.user == b"u32") {
        store.migrate(state, b"u64", Arc::new(Widen))?;
        println!("migrated");
    }
    Ok((store, state))
}

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions::default())?;
    let keys: Vec<[u8; 4]> = (0..10_000_u32).map(u32::to_be_bytes).collect();
    {
        let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
        let state = store.state(StateOptions::value("counts").user(b"u32"))?;
        let mut writer = store.writer(store.range())?;
        for (key, count) in keys.iter().zip(0_u32..) {
            writer.put(state, store.key(key), &count.to_le_bytes())?;
        }
        store.barrier(Barrier::new(1))?.wait()?;
        drop(writer);
        store.close()?;
    }
    // The next version of the job.
    let (store, state) = start(&engine, directory.path())?;
    let mut writer = store.writer(store.range())?;
    for (key, count) in keys.iter().zip(0_u64..) {
        assert_eq!(writer.get(state, store.key(key))?, Some(count.to_le_bytes().to_vec()));
        writer.put(state, store.key(key), &(count << 32).to_le_bytes())?;
    }
    store.barrier(Barrier::new(2))?.wait()?;
    drop(writer);
    store.close()?;
    // It starts again; whether all was rewritten by then is nothing that it has to know.
    let (store, state) = start(&engine, directory.path())?;
    store.compact()?;
    assert!(store.migration(state)?.is_none());
    let reader = store.reader();
    for (key, count) in keys.iter().zip(0_u64..) {
        assert_eq!(reader.get(state, store.key(key))?, Some((count << 32).to_le_bytes().to_vec()));
    }
    println!("all of it is of the new schema");
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
