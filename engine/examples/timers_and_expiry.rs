//! Timers in the order of their times, and values that expire by the caller's clock.

use alluvium::{Engine, EngineOptions, Error, Key, KeyGroup, StateOptions, Store, StoreOptions, Ttl};

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions::default())?;
    let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    let timers = store.state(StateOptions::map("timers, by time"))?;
    let sessions =
        store.state(StateOptions::value("sessions").ttl(Ttl { duration_ms: 60_000, refresh_on_read: true }))?;
    let mut writer = store.writer(store.range())?;

    // A timer is an entry whose user key begins with its time, big-endian; one map for each key group.
    let queue = Key::new(KeyGroup(0), b"");
    for (at_ms, what) in [(3_000_u64, "close"), (1_000, "remind"), (2_000, "escalate")] {
        writer.map_put(timers, queue, &[&at_ms.to_be_bytes(), what.as_bytes()].concat(), b"")?;
    }
    let now_ms = 2_500_u64;
    let mut fired = Vec::new();
    writer.map_pop_below(timers, queue, &(now_ms + 1).to_be_bytes(), |timer, _| {
        fired.push(String::from_utf8_lossy(&timer[8..]).into_owned());
    })?;
    assert_eq!(fired, ["remind", "escalate"]);

    // A session that is looked at stays; one that is not is gone after a minute.
    let [seen, forgotten] = [b"ada", b"bob"].map(|user| store.key(user));
    writer.set_time_ms(0);
    writer.put(sessions, seen, b"cart: 1 book")?;
    writer.put(sessions, forgotten, b"cart: empty")?;
    writer.set_time_ms(45_000);
    assert!(writer.get(sessions, seen)?.is_some());
    writer.set_time_ms(70_000);
    assert!(writer.get(sessions, seen)?.is_some());
    assert_eq!(writer.get(sessions, forgotten)?, None);
    println!("fired {fired:?}; one session of two is left");
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
