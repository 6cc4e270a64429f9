//! Reads that don't wait: a batch is submitted, other work is done, and the answers are taken as they come.

use alluvium::{Barrier, Batch, Engine, EngineOptions, Error, Operation, StateOptions, Store, StoreOptions, Ticket};
use std::collections::VecDeque;

fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir().map_err(|error| Error::Background(error.to_string()))?;
    // State 10 times the memory: nearly every read needs the disk.
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() })?;
    let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    let profiles = store.state(StateOptions::value("profiles"))?;
    let mut writer = store.writer(store.range())?;
    for user in 0..100_000_u32 {
        writer.put(profiles, store.key(&user.to_be_bytes()), &[user as u8; 400])?;
    }
    store.barrier(Barrier::new(1))?.wait()?;

    let users: Vec<[u8; 4]> = (0..20_000_u32).map(|n| (n * 7 % 100_000).to_be_bytes()).collect();
    let mut in_flight: VecDeque<(Ticket, &[[u8; 4]])> = VecDeque::new();
    let (mut answered, mut at_once) = (0, 0);
    for events in users.chunks(500) {
        let mut batch = Batch::new();
        events.iter().for_each(|user| batch.push(profiles, store.key(user), Operation::Get));
        // Back-pressure: too much in flight is an error of its own class, so look before.
        while writer.is_full() || in_flight.len() >= 8 {
            let Some((mut ticket, events)) = in_flight.pop_front() else { break };
            ticket.wait();
            for answer in writer.poll(&mut ticket)? {
                let user = u32::from_be_bytes(events[answer.index()]);
                assert_eq!(answer.value()?, Some(&[user as u8; 400][..]));
                answered += 1;
            }
        }
        let ticket = writer.submit(&batch)?;
        at_once += u32::from(ticket.is_complete());
        in_flight.push_back((ticket, events));
    }
    for (mut ticket, _) in in_flight {
        ticket.wait();
        answered += writer.poll(&mut ticket)?.len();
    }
    println!("{answered} answers; {at_once} of 40 batches needed nothing from the disk");
    assert_eq!(answered, users.len());
    Ok(())
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
