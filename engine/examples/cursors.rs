//! Going through all keys of a state in batches, and removing some on the way.

use alluvium::{Cursor, Engine, EngineOptions, Error, MapRange, Packed, StateOptions, Store, StoreOptions};

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions::default())?;
    let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    let sessions = store.state(StateOptions::value("sessions"))?;
    let clicks = store.state(StateOptions::map("clicks"))?;
    let mut writer = store.writer(store.range())?;
    for user in 0..100_000_u32 {
        writer.put(sessions, store.key(&user.to_be_bytes()), &(user % 60).to_le_bytes())?;
    }
    for at in 0..1_000_u64 {
        writer.map_put(clicks, store.key(b"user 7"), &at.to_be_bytes(), b"/index.html")?;
    }

    // A cursor borrows nothing: what was just found may be deleted.
    let (mut cursor, mut batch) = (Cursor::keys(sessions, store.range()), Packed::default());
    let (mut found, mut removed) = (0, 0);
    while writer.fetch(&mut cursor, &mut batch)? {
        for record in batch.iter() {
            found += 1;
            let key = alluvium::Key::new(record.group, record.key);
            if writer.get(sessions, key)?.is_some_and(|minutes| minutes[0] >= 30) {
                writer.delete(sessions, key)?;
                removed += 1;
            }
        }
    }
    println!("{found} sessions, {removed} of them idle for half an hour and removed");
    assert_eq!((found, removed), (100_000, 49_990));

    // The entries of a map, the last ones first, by a reader beside the writer.
    let reader = store.reader();
    let mut cursor = Cursor::entries(clicks, store.key(b"user 7"), &MapRange::all().reversed());
    let mut newest = Packed::new(3, 1 << 20);
    reader.fetch(&mut cursor, &mut newest)?;
    let times: Vec<&[u8]> = newest.iter().map(|click| click.user_key).collect();
    println!("the last clicks: {times:?}");
    assert_eq!(times[0], 999_u64.to_be_bytes());
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
