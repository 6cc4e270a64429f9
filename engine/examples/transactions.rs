//! A stream task that stages what a batch of events does, and commits it with its offsets, or takes it back.

use alluvium::{
    Barrier, Commit, Cursor, Engine, EngineOptions, Error, KeyGroup, KeyGroupRange, MapRange, Packed, StateOptions,
    Store, StoreOptions,
};

fn offset(of: u64) -> Vec<(KeyGroupRange, Vec<u8>)> {
    vec![(StoreOptions::default().range, of.to_be_bytes().to_vec())]
}

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions::default())?;
    // More than 64 MiB are not staged: the host has to commit, or to abort.
    let options = StoreOptions { transactional: true, staged_bytes_max: 64 << 20, ..Default::default() };
    let store = Store::create(&engine, directory.path(), options.clone())?;
    let orders = store.state(StateOptions::map("orders, by number"))?;
    let mut writer = store.writer(store.range())?;
    let all = alluvium::Key::new(KeyGroup(0), b"");

    // The first batch of events, and where the source stands behind it.
    for number in 0..3_u32 {
        writer.map_put(orders, all, &number.to_be_bytes(), b"open")?;
    }
    writer.commit(Commit { offsets: offset(3), metadata: b"batch 1".to_vec(), ..Commit::default() })?;

    // The second: its writer sees it, a committed read doesn't, not even in a scan.
    writer.map_put(orders, all, &3_u32.to_be_bytes(), b"open")?;
    writer.map_delete(orders, all, &0_u32.to_be_bytes())?;
    let committed = store.reader().committed();
    let numbers = |reader: &alluvium::Reader| -> Result<Vec<u8>, Error> {
        let (mut cursor, mut out) = (Cursor::entries(orders, all, &MapRange::all()), Packed::default());
        reader.fetch(&mut cursor, &mut out)?;
        Ok(out.iter().map(|order| order.user_key[3]).collect())
    };
    assert_eq!(numbers(&store.reader())?, [1, 2, 3]);
    assert_eq!(numbers(&committed)?, [0, 1, 2]);

    // A checkpoint has what was committed, whenever it is cut.
    let info = writer.barrier(Barrier::new(1))?.wait()?;
    assert_eq!((info.offsets, info.metadata), (offset(3), b"batch 1".to_vec()));

    // The batch can't be done: everything is as it was.
    writer.abort_transaction()?;
    assert_eq!(numbers(&store.reader())?, [0, 1, 2]);

    // What is staged when the process ends is gone with it.
    writer.map_clear(orders, all)?;
    drop(writer);
    store.close()?;
    let store = Store::open(&engine, directory.path(), options)?;
    let orders_again = store.state(StateOptions::map("orders, by number"))?;
    assert_eq!(orders_again, orders);
    assert_eq!(numbers(&store.reader())?, [0, 1, 2]);
    assert_eq!(store.last_commit().offsets, offset(3));
    println!("back at the last commit, and its offset");
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
