//! Session windows that grow together, values that carry their time themselves, and a snapshot for whoever asks meanwhile.

use alluvium::{Barrier, Engine, EngineOptions, Error, MergeOperator, Purge, StateOptions, Store, StoreOptions};

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions::default())?;
    let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    let events = store.state(StateOptions::list("events"))?;
    let totals = store.state(StateOptions::merging("totals", MergeOperator::U64Add))?;
    let mut writer = store.writer(store.range())?;

    // Two sessions of one user, and an event between them that makes one of both.
    let user = store.key(b"user 7");
    let (morning, noon) = (user.in_namespace(b"08:00-08:20"), user.in_namespace(b"08:40-09:00"));
    for (window, event) in [(morning, b"login"), (noon, b"order")] {
        writer.append(events, window, event)?;
        writer.merge(totals, window, &10_u64.to_le_bytes())?;
    }
    let before = store.snapshot()?;
    let whole = user.in_namespace(b"08:00-09:00");
    writer.merge_namespaces(events, whole, &[morning.namespace, noon.namespace])?;
    writer.merge_namespaces(totals, whole, &[morning.namespace, noon.namespace])?;
    assert_eq!(writer.list(events, whole)?, [b"login", b"order"]);
    assert_eq!(writer.get(totals, whole)?, Some(20_u64.to_le_bytes().to_vec()));
    assert_eq!(before.list(events, morning)?, [b"login"]);
    println!("one session of two; a snapshot still shows both");

    // Values with their own time in their first 8 bytes: read as long as they are there, dropped when they are merged.
    let visits = StateOptions::value("visits").purge(Purge { duration_ms: 1_000, time_at: 0 });
    let visits = store.state(visits)?;
    for (key, at_ms) in [(b"old", 500_i64), (b"new", 9_500)] {
        writer.put(visits, store.key(key), &at_ms.to_be_bytes())?;
    }
    writer.set_time_ms(10_000);
    store.barrier(Barrier::new(1))?.wait()?;
    store.compact()?;
    store.barrier(Barrier::new(2))?.wait()?;
    drop(writer);
    store.close()?;
    let store = Store::open(&engine, directory.path(), StoreOptions::default())?;
    let reader = store.reader();
    let there = [b"old", b"new"].map(|key| reader.get(visits, store.key(key)).map(|value| value.is_some()));
    let [old, new] = there;
    assert!(!old? && new?);
    println!("what was too old is gone from the disk");
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
