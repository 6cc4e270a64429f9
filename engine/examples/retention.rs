//! A window store that keeps an hour: windows in the order of their start, and one call for each step of retention.

use alluvium::{Barrier, Cursor, Engine, EngineOptions, Error, MapRange, Packed, StateOptions, Store, StoreOptions};
use std::ops::{Bound, ControlFlow};

const MINUTE_MS: u64 = 60_000;
const RETENTION_MS: u64 = 60 * MINUTE_MS;
/// Carriers that have a window each minute.
const CARRIERS: [&[u8]; 4] = [b"AA", b"B6", b"DL", b"UA"];

/// The start of a window, big-endian, and then whose it is: so all windows lie in the order of their time.
fn window(start_ms: u64, carrier: &[u8]) -> Vec<u8> {
    [&start_ms.to_be_bytes()[..], carrier].concat()
}

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions::default())?;
    let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    let windows = store.state(StateOptions::map("departures"))?;
    let mut writer = store.writer(store.range())?;

    // A day of windows. With each minute those that are older than an hour go, in one call, whether they are in memory or
    // on disk, and however many there are.
    let all = store.key(b"");
    let day_ms = 24 * 60 * MINUTE_MS;
    for (minute, now_ms) in (0..day_ms).step_by(MINUTE_MS as usize).enumerate() {
        for carrier in CARRIERS {
            writer.map_put(windows, all, &window(now_ms, carrier), &[minute as u8])?;
        }
        writer.map_expire(windows, all, now_ms.saturating_sub(RETENTION_MS))?;
        if minute % 120 == 0 {
            store.barrier(Barrier::new(minute as u64 / 120))?;
        }
    }
    let first = writer.map_first(windows, all)?.map(|(user_key, _)| user_key);
    assert_eq!(first, Some(window(day_ms - RETENTION_MS - MINUTE_MS, CARRIERS[0])));
    let mut kept = 0;
    writer.map_scan(windows, all, &MapRange::all(), |_, _| {
        kept += 1;
        ControlFlow::Continue(())
    })?;
    assert_eq!(kept, 61 * CARRIERS.len());
    println!("{kept} windows of the last hour are left of a day");

    // Any range goes the same way: five minutes that were wrong, which are then written anew.
    let (from, to) = ((day_ms - 20 * MINUTE_MS).to_be_bytes(), (day_ms - 15 * MINUTE_MS).to_be_bytes());
    writer.map_delete_range(windows, all, &MapRange::between(Bound::Included(&from), Bound::Excluded(&to)))?;
    writer.map_put(windows, all, &window(day_ms - 18 * MINUTE_MS, b"UA"), b"corrected")?;
    store.barrier(Barrier::new(100))?.wait()?;
    drop(writer);
    store.close()?;

    // It is so after a restart, too.
    let store = Store::open(&engine, directory.path(), StoreOptions::default())?;
    let (mut cursor, mut batch) = (Cursor::entries(windows, all, &MapRange::all()), Packed::default());
    let (reader, mut found) = (store.reader(), 0);
    while reader.fetch(&mut cursor, &mut batch)? {
        found += batch.len();
    }
    assert_eq!(found, kept - 5 * CARRIERS.len() + 1);
    println!("{found} windows after five minutes were deleted, one was written anew, and the store was opened again");
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
