//! Going through what is in memory: keys by cursor, and maps of 100 entries by scan and by cursor.

use crate::harness::generate::{Draw, Op};
use crate::harness::table::{Table, engine, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{Cursor, Key, MapRange, Packed, State, StateOptions};
use std::ops::{Bound, ControlFlow};
use std::time::Instant;

/// Entries of each map.
const ENTRIES: u64 = 100;

pub fn run(run: &mut Run) -> Outcome {
    if run.wants("keys") {
        keys(run)?;
    }
    if run.wants("maps") {
        maps(run)?;
    }
    Ok(())
}

/// All keys of a value state, some times over.
fn keys(run: &mut Run) -> Outcome {
    let n = run.pick(1_000_000, 10_000_000);
    let directory = run.directory()?;
    let mut table = Table::create(&engine(2 << 30)?, directory.path(), store_options())?;
    run.note(&format!("{n} keys: loading"));
    table.load_counters(n)?;
    let case = format!("{} M keys", n / 1_000_000);
    let mut rates = Vec::new();
    for _ in 0..run.pick(3, 5) {
        let (mut cursor, mut out) = (Cursor::keys(table.state, table.store.range()), Packed::default());
        let (mut found, mut sum) = (0, 0);
        let started = Instant::now();
        while table.writer.fetch(&mut cursor, &mut out)? {
            found += out.len() as u64;
            sum += out.iter().map(|record| u64::from(record.key[record.key.len() - 1])).sum::<u64>();
        }
        rates.push(n as f64 / started.elapsed().as_secs_f64());
        let wanted: u64 = (0..n).map(|i| u64::from(*Op::of(i).bytes.last().unwrap_or(&0))).sum();
        if found != n || sum != wanted {
            return wrong(format!("{found} keys with the sum {sum}, should be {n} with {wanted}"));
        }
    }
    run.result(&case, "cursor", median(rates), "keys/s", Target::AtLeast(5e6))?;
    table.close()
}

/// Where a map's entries begin: no two alike.
fn user_key(map: u64, entry: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(entry * 7).to_be_bytes());
    bytes[8..].copy_from_slice(&map.to_be_bytes());
    bytes
}

fn maps(run: &mut Run) -> Outcome {
    let n: u64 = run.pick(10_000, 100_000);
    let directory = run.directory()?;
    let mut table = Table::create(&engine(2 << 30)?, directory.path(), store_options())?;
    let state = table.store.state(StateOptions::map("maps"))?;
    run.note(&format!("{n} maps of {ENTRIES}: loading"));
    for entry in 0..ENTRIES {
        for map in 0..n {
            let op = Op::of(map);
            let key = table.store.key(&op.bytes);
            table.writer.map_put(state, key, &user_key(map, entry), &entry.to_le_bytes())?;
        }
    }
    for (case, among) in [("1,000 maps", 1_000.min(n)), ("all maps", n)] {
        let draws = Draw::uniform(among).sequence(run.pick(20_000, 200_000), run.seed());
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..run.pick(3, 5) {
            rates[0].push(scans(&mut table, state, &draws, &MapRange::all(), ENTRIES)?);
            let from = (10 * 7_u64).to_be_bytes();
            let half = MapRange::between(Bound::Included(&from), Bound::Unbounded);
            rates[1].push(scans(&mut table, state, &draws, &half, ENTRIES - 10)?);
            rates[2].push(fetches(&mut table, state, &draws)?);
        }
        let case = format!("{case} of {ENTRIES} entries");
        let [all, part, fetched] = rates.map(median);
        run.result(&case, "whole scan", all, "entries/s", Target::AtLeast(20e6))?;
        run.figure(&case, "scan from the 11th", part, "entries/s")?;
        run.figure(&case, "cursor", fetched, "entries/s")?;
    }
    table.close()
}

/// Scans one map after another; entries/s.
fn scans(table: &mut Table, state: State, draws: &[Op], range: &MapRange<'_>, wanted: u64) -> Outcome<f64> {
    let started = Instant::now();
    for op in draws {
        let key = table.store.key(&op.bytes);
        let (mut entries, mut sum) = (0, 0);
        table.writer.map_scan(state, key, range, |_, value| {
            entries += 1;
            sum += u64::from(value[0]);
            ControlFlow::Continue(())
        })?;
        let sum_wanted: u64 = (ENTRIES - wanted..ENTRIES).sum();
        if (entries, sum) != (wanted, sum_wanted) {
            return wrong(format!("{entries} entries with the sum {sum}, should be {wanted} with {sum_wanted}"));
        }
    }
    Ok(draws.len() as f64 * wanted as f64 / started.elapsed().as_secs_f64())
}

fn fetches(table: &mut Table, state: State, draws: &[Op]) -> Outcome<f64> {
    let mut out = Packed::default();
    let started = Instant::now();
    for op in draws {
        let key: Key<'_> = table.store.key(&op.bytes);
        let mut cursor = Cursor::entries(state, key, &MapRange::all());
        table.writer.fetch(&mut cursor, &mut out)?;
        if out.len() as u64 != ENTRIES {
            return wrong(format!("{} entries, should be {ENTRIES}", out.len()));
        }
    }
    Ok(draws.len() as f64 * ENTRIES as f64 / started.elapsed().as_secs_f64())
}
