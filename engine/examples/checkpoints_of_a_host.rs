//! A host that copies checkpoints to a file system of its own, completes them, and restores from there on another machine,
//! which serves before anything was copied back.

use alluvium::{
    Barrier, Durability, Engine, EngineOptions, Error, Retention, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::HashMap;
use std::time::Duration;

/// The host's file system: names to bytes.
type Remote = HashMap<String, Vec<u8>>;

fn options() -> StoreOptions {
    StoreOptions {
        durability: Durability::Host,
        retention: Retention::Host { unconfirmed_max: 10 },
        fetch: true,
        ..Default::default()
    }
}

/// Copies what the host doesn't have yet; the manifest's bytes go where the host keeps its own metadata.
fn copy(store: &Store, label: u64, remote: &mut Remote) -> Result<Vec<u8>, Error> {
    let files = store.files(label)?;
    let (mut copied, segments) = (0, files.list().len() - 1);
    for (index, file) in files.list()[..segments].iter().enumerate().filter(|(_, file)| !file.shared) {
        remote.insert(file.name.clone(), files.read(index, 0, file.bytes as usize)?);
        copied += 1;
    }
    println!("checkpoint {label}: {copied} of {segments} segments are new to the host");
    Ok(files.manifest().to_vec())
}

fn count(writer: &mut Writer, store: &Store, numbers: std::ops::Range<u32>) -> Result<(), Error> {
    let state = store.state(StateOptions::value("counts"))?;
    for number in numbers {
        writer.put(state, store.key(&(number % 50_000).to_be_bytes()), &number.to_le_bytes())?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    let engine = Engine::open(EngineOptions::default())?;
    let store = Store::create(&engine, &directory.path().join("one machine"), options())?;
    let mut writer = store.writer(store.range())?;
    let mut remote = Remote::new();

    count(&mut writer, &store, 0..50_000)?;
    let first = store.barrier(Barrier::new(100))?;
    count(&mut writer, &store, 50_000..60_000)?;
    // A second one before anything is known of the first; the host's labels have gaps.
    let second = store.barrier(Barrier::new(107))?;
    first.wait()?;
    copy(&store, 100, &mut remote)?;
    store.confirm(100)?;
    second.wait()?;
    let manifest = copy(&store, 107, &mut remote)?;
    // The word of its completion is lost. What comes later says enough.
    count(&mut writer, &store, 60_000..61_000)?;
    store.barrier(Barrier::new(110))?.wait()?;
    store.abort(110)?;
    drop(writer);
    store.close()?;

    let store = Store::restore_absent(&engine, &directory.path().join("another"), &[&manifest], options())?;
    let fetches = store.fetches().ok_or_else(|| Error::Background("it was asked for".into()))?;
    println!("{} segments are elsewhere", fetches.files_absent());
    std::thread::scope(|scope| {
        let brought = scope.spawn(|| {
            let mut brought = 0;
            while fetches.files_absent() > 0 {
                for request in fetches.wait(4, Duration::from_millis(10)) {
                    let from = request.offset as usize;
                    fetches.complete(request.id, &remote[&request.file][from..from + request.len])?;
                    brought += request.len;
                }
            }
            Ok::<_, Error>(brought)
        });
        let state = store.state(StateOptions::value("counts"))?;
        let value = store.reader().get(state, store.key(&7_u32.to_be_bytes()))?;
        assert_eq!(value, Some(50_007_u32.to_le_bytes().to_vec()));
        println!("read while the rest is on its way: {value:?}");
        let brought = brought.join().map_err(|_| Error::Background("the carrier died".into()))??;
        println!("{brought} bytes were brought");
        Ok(())
    })
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
