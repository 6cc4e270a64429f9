//! Two slots of one process, each with its part of the memory; the second takes over sorted data from elsewhere.

use alluvium::key::push_sort_key;
use alluvium::{Barrier, Engine, EngineOptions, Error, StateOptions, Store, StoreOptions};
use std::collections::BTreeMap;

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..Default::default() })?;
    let slots = [engine.memory_share(8 << 20, 16 << 20)?, engine.memory_share(8 << 20, 48 << 20)?];

    // Much more than its slot takes: it spills, and the other slot doesn't notice.
    let options = StoreOptions { memory_share: Some(slots[0].clone()), ..Default::default() };
    let busy = Store::create(&engine, &directory.path().join("busy"), options)?;
    let state = busy.state(StateOptions::value("clicks"))?;
    let mut writer = busy.writer(busy.range())?;
    for user in 0..60_000_u32 {
        writer.put(state, busy.key(&user.to_be_bytes()), &[user as u8; 1_000])?;
    }
    println!("first slot: {} bytes in memory, {} spills", slots[0].used_bytes(), busy.metrics().spills);
    assert!(slots[0].used_bytes() <= 16 << 20);

    // Records in the order of their sort keys are written once, past memory.
    let options = StoreOptions { memory_share: Some(slots[1].clone()), ..Default::default() };
    let loaded = Store::create(&engine, &directory.path().join("loaded"), options)?;
    let names = loaded.state(StateOptions::value("names"))?;
    let mut sorted = BTreeMap::new();
    for user in 0..50_000_u32 {
        let bytes = user.to_be_bytes();
        let mut sort_key = Vec::new();
        push_sort_key(&mut sort_key, names.id(), loaded.key(&bytes));
        sorted.insert(sort_key, user);
    }
    let mut load = loaded.bulk_load(sorted.len() as u64)?;
    for user in sorted.values() {
        load.put(names, loaded.key(&user.to_be_bytes()), format!("user {user}").as_bytes())?;
    }
    load.finish()?;
    loaded.barrier(Barrier::new(1))?.wait()?;
    let found = loaded.reader().get(names, loaded.key(&7_u32.to_be_bytes()))?;
    println!(
        "second slot: {} bytes in memory; {:?}",
        slots[1].used_bytes(),
        found.as_deref().map(String::from_utf8_lossy)
    );
    assert_eq!(found.as_deref(), Some(&b"user 7"[..]));
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
