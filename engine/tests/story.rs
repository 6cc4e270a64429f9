//! Whole-store stories: what a host does in a day.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

use alluvium::{
    Barrier, CheckpointSource, Engine, EngineOptions, KeyGroupRange, MapRange, MergeOperator, StateOptions, Store,
    StoreOptions,
};
use std::ops::ControlFlow;

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..Default::default() }).expect("an engine")
}

#[test]
fn what_was_checkpointed_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = engine();
    {
        let store = Store::create(&engine, dir.path(), StoreOptions::default()).unwrap();
        let counts = store.state(StateOptions::value("counts")).unwrap();
        let lists = store.state(StateOptions::list("lists")).unwrap();
        let maps = store.state(StateOptions::map("maps")).unwrap();
        let sums = store.state(StateOptions::merging("sums", MergeOperator::U64Add)).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        for n in 0..10_000_u64 {
            let name = n.to_be_bytes();
            let key = store.key(&name);
            writer.put(counts, key, &n.to_le_bytes()).unwrap();
            writer.append(lists, store.key(&(n % 100).to_be_bytes()), &n.to_le_bytes()).unwrap();
            writer.map_put(maps, store.key(b"map"), &n.to_be_bytes(), b"x").unwrap();
            writer.merge(sums, store.key(b"sum"), &n.to_le_bytes()).unwrap();
        }
        let info = store
            .barrier(Barrier {
                offsets: vec![(store.range(), b"at 10000".to_vec())],
                metadata: b"meta".to_vec(),
                ..Barrier::new(1)
            })
            .unwrap()
            .wait()
            .unwrap();
        assert_eq!(info.label, 1);
        writer.put(counts, store.key(b"lost"), b"lost").unwrap();
        store.close().unwrap();
    }
    let store = Store::open(&engine, dir.path(), StoreOptions::default()).unwrap();
    let info = store.restored().unwrap();
    assert_eq!((info.label, &info.metadata[..], &info.offsets[0].1[..]), (1, &b"meta"[..], &b"at 10000"[..]));
    let counts = store.state(StateOptions::value("counts")).unwrap();
    let lists = store.state(StateOptions::list("lists")).unwrap();
    let maps = store.state(StateOptions::map("maps")).unwrap();
    let sums = store.state(StateOptions::merging("sums", MergeOperator::U64Add)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..10_000_u64 {
        assert_eq!(writer.get(counts, store.key(&n.to_be_bytes())).unwrap(), Some(n.to_le_bytes().to_vec()), "{n}");
    }
    assert_eq!(writer.get(counts, store.key(b"lost")).unwrap(), None);
    for n in 0..100_u64 {
        let list = writer.list(lists, store.key(&n.to_be_bytes())).unwrap();
        let wanted: Vec<Vec<u8>> = (0..100).map(|i| (n + i * 100).to_le_bytes().to_vec()).collect();
        assert_eq!(list, wanted);
    }
    assert_eq!(writer.get(sums, store.key(b"sum")).unwrap(), Some((0..10_000_u64).sum::<u64>().to_le_bytes().to_vec()));
    let mut seen = 0_u64;
    writer
        .map_scan(maps, store.key(b"map"), &MapRange::all(), |user_key, _| {
            assert_eq!(user_key, seen.to_be_bytes());
            seen += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, 10_000);
    for n in 0..300_u64 {
        assert_eq!(writer.map_pop_first(maps, store.key(b"map")).unwrap().unwrap().0, n.to_be_bytes());
    }
}

#[test]
fn state_outgrows_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, dir.path(), StoreOptions::default()).unwrap();
    let counts = store.state(StateOptions::value("counts")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let value = [7_u8; 100];
    for n in 0..200_000_u64 {
        writer.put(counts, store.key(&n.to_be_bytes()), &value).unwrap();
        if n % 50_000 == 49_999 {
            store.barrier(Barrier::new(n)).unwrap().wait().unwrap();
        }
    }
    for n in (0..200_000_u64).step_by(7) {
        assert_eq!(writer.get(counts, store.key(&n.to_be_bytes())).unwrap().as_deref(), Some(&value[..]), "{n}");
    }
    let keys: Vec<[u8; 8]> = (0..200_000_u64).step_by(11).map(u64::to_be_bytes).collect();
    let keys: Vec<_> = keys.iter().map(|key| store.key(key)).collect();
    let mut seen = 0;
    writer.get_many(counts, &keys, |_, found| seen += usize::from(found == Some(&value))).unwrap();
    assert_eq!(seen, keys.len());
    writer
        .update_many(counts, &keys, |_, old| {
            assert_eq!(old, Some(&value[..]));
            Some(*b"new")
        })
        .unwrap();
    writer.get_many(counts, &keys, |_, found| assert_eq!(found, Some(&b"new"[..]))).unwrap();
    store.compact().unwrap();
    writer.get_many(counts, &keys, |_, found| assert_eq!(found, Some(&b"new"[..]))).unwrap();
    println!("{:#?}", store.metrics());
    assert!(engine.used_bytes() <= engine.budget_bytes());
}

#[test]
fn stores_split_and_join() {
    let engine = engine();
    let whole = tempfile::tempdir().unwrap();
    let store = Store::create(&engine, whole.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..5_000_u64 {
        writer.put(state, store.key(&n.to_be_bytes()), &n.to_le_bytes()).unwrap();
    }
    store.barrier(Barrier::new(3)).unwrap().wait().unwrap();
    let halves: Vec<_> = [KeyGroupRange::new(0, 63), KeyGroupRange::new(64, 127)]
        .into_iter()
        .map(|range| {
            let dir = tempfile::tempdir().unwrap();
            let source = CheckpointSource { directory: whole.path().to_owned(), label: Some(3) };
            let options = StoreOptions { range, ..Default::default() };
            let half = Store::restore(&engine, dir.path(), &[source], options).unwrap();
            let other = half.state(StateOptions::value("other")).unwrap();
            let state = half.state(StateOptions::value("v")).unwrap();
            let mut writer = half.writer(range).unwrap();
            let mut found = 0;
            for n in 0..5_000_u64 {
                let name = n.to_be_bytes();
                let key = half.key(&name);
                if range.contains(key.group) {
                    assert_eq!(writer.get(state, key).unwrap(), Some(n.to_le_bytes().to_vec()));
                    writer.put(other, key, b"o").unwrap();
                    found += 1;
                }
            }
            assert!(found > 2_000);
            half.barrier(Barrier::new(4)).unwrap().wait().unwrap();
            drop(writer);
            half.close().unwrap();
            dir
        })
        .collect();
    let joined = tempfile::tempdir().unwrap();
    let sources: Vec<_> =
        halves.iter().map(|dir| CheckpointSource { directory: dir.path().to_owned(), label: None }).collect();
    let store = Store::restore(&engine, joined.path(), &sources, StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let other = store.state(StateOptions::value("other")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..5_000_u64 {
        assert_eq!(writer.get(state, store.key(&n.to_be_bytes())).unwrap(), Some(n.to_le_bytes().to_vec()));
        assert_eq!(writer.get(other, store.key(&n.to_be_bytes())).unwrap(), Some(b"o".to_vec()));
    }
}
