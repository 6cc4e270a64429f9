//! Resident memory against the budget, each case in a process of its own so that none inherits another's pages.

use crate::harness::generate::{KEY_BYTES, Op, Random};
use crate::harness::process::Watch;
use crate::harness::table::{engine, store_options};
use crate::harness::{Outcome, Run, Target, wrong};
use alluvium::{Barrier, Engine, Key, State, StateOptions, Store, Writer};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// States of each store.
const STATES: usize = 5;
/// Keys in a batch.
const BATCH: usize = 256;
/// Tells the process that it is to run one case itself.
const CHILD: &str = "ALLUVIUM_BENCH_CHILD";

#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    stores: usize,
    budget_bytes: usize,
    records: u64,
    value_bytes: usize,
}

fn cases(run: &Run) -> Vec<Case> {
    let wide = run.pick(64 << 20, 256 << 20);
    let case = |name, stores, budget_bytes: usize, records, value_bytes| Case {
        name,
        stores,
        budget_bytes,
        records,
        value_bytes,
    };
    let times = |budget: usize, factor: u64| factor * budget as u64 / (KEY_BYTES + 100) as u64;
    let many = run.pick(2, 8);
    vec![
        case("state 10 x budget", 1, wide, times(wide, 10), 100),
        case("small records", 1, wide, run.pick(10_000_000, 100_000_000), 8),
        case("1 store in 256 MiB", 1, 256 << 20, times(256 << 20, many), 100),
        case("16 stores in 256 MiB", 16, 256 << 20, times(256 << 20, many), 100),
        case("200 stores in 256 MiB", 200, 256 << 20, times(256 << 20, many), 100),
        case("1 store in 16 MiB", 1, 16 << 20, times(16 << 20, 10), 100),
    ]
}

pub fn run(run: &mut Run) -> Outcome {
    let wanted: Vec<Case> = cases(run).into_iter().filter(|case| run.wants(case.name)).collect();
    if std::env::var_os(CHILD).is_some() {
        return wanted.iter().try_for_each(one_case_of(run));
    }
    let mut failed = Vec::new();
    for case in wanted {
        run.note(case.name);
        if let Err(error) = in_child(run, case) {
            run.note(&format!("{}: {error}", case.name));
            failed.push(case.name);
        }
    }
    if failed.is_empty() { Ok(()) } else { wrong(format!("failed: {}", failed.join(", "))) }
}

/// Prints what was measured, a line each: `figure NAME VALUE`.
fn one_case_of(run: &Run) -> impl FnMut(&Case) -> Outcome {
    move |case| {
        let measured = one_case(run, case)?;
        for (name, value) in measured {
            println!("figure\t{name}\t{value}");
        }
        Ok(())
    }
}

fn in_child(run: &mut Run, case: Case) -> Outcome {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["memory", "--case", case.name, "--seed", &run.seed().to_string(), "--directory"]);
    command.arg(&run.settings().directory).env(CHILD, "1").stderr(Stdio::inherit());
    // What is freed goes back at once, as with the system's allocator; else some tens of MiB count that nobody uses.
    command.env("MIMALLOC_PURGE_DELAY", "0");
    if run.settings().quick {
        command.arg("--quick");
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let ["figure", name, value] = fields[..] else { continue };
        let value: f64 = value.parse()?;
        let (unit, target) = match name {
            OVER => ("MiB", Target::AtMost(64.0)),
            RATE => ("op/s", Target::None),
            STALLED => ("%", Target::None),
            _ => ("MiB", Target::None),
        };
        run.result(case.name, name, value, unit, target)?;
    }
    if output.status.success() { Ok(()) } else { wrong(format!("the process ended with {}", output.status)) }
}

const OVER: &str = "RssAnon over the budget";
const RATE: &str = "operations";
const STALLED: &str = "time stalled";

/// A store with its writer and states.
struct Shop {
    store: Store,
    writer: Writer,
    states: Vec<State>,
}

fn open_shops(run: &Run, engine: &Engine, count: usize) -> Outcome<(Vec<Shop>, Vec<tempfile::TempDir>)> {
    let (mut shops, mut directories) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let directory = run.directory()?;
        let store = Store::create(engine, directory.path(), store_options())?;
        let state = |number| store.state(StateOptions::value(&format!("values {number}")));
        let states = (0..STATES).map(state).collect::<Result<Vec<_>, _>>()?;
        let writer = store.writer(store.range())?;
        shops.push(Shop { store, writer, states });
        directories.push(directory);
    }
    Ok((shops, directories))
}

/// Loads all stores in turns, then reads and changes records all over them, taking checkpoints throughout.
fn one_case(run: &Run, case: &Case) -> Outcome<Vec<(&'static str, f64)>> {
    let watch = Watch::start();
    let engine = engine(case.budget_bytes)?;
    let (mut shops, directories) = open_shops(run, &engine, case.stores)?;
    let mut random = Random::new(run.seed());
    let mut used = 0;
    let started = Instant::now();
    let mut operations = 0_u64;
    let mut label = 0;
    let checkpoint_every = (case.records / 16).max(1);
    let mut done = 0;
    while done < case.records {
        let until = (done + BATCH as u64).min(case.records);
        let shop = (done / BATCH as u64) as usize % shops.len();
        put(&mut shops[shop], done..until, case.value_bytes, &mut random)?;
        if done / checkpoint_every != until / checkpoint_every {
            label += 1;
            checkpoint(&shops, label)?;
        }
        operations += until - done;
        done = until;
        used = used.max(engine.used_bytes());
    }
    let limit = run.pick(Duration::from_secs(10), Duration::from_secs(60));
    let churning = Instant::now();
    while churning.elapsed() < limit {
        operations += churn(&mut shops, case, &mut random)?;
        used = used.max(engine.used_bytes());
    }
    label += 1;
    checkpoint(&shops, label)?;
    let elapsed = started.elapsed();
    let stall_ns: u64 = shops.iter().map(|shop| shop.store.metrics().owner.stall_ns).sum();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let results = vec![
        ("budget", mib(case.budget_bytes as u64)),
        ("used by the engine's count, most", mib(used as u64)),
        ("RssAnon, most", mib(watch.anonymous_bytes())),
        (OVER, mib(watch.anonymous_bytes()) - mib(case.budget_bytes as u64)),
        ("RssFile, most", mib(watch.file_bytes())),
        (RATE, operations as f64 / elapsed.as_secs_f64()),
        (STALLED, stall_ns as f64 / elapsed.as_nanos() as f64 * 100.0),
    ];
    for shop in shops {
        drop(shop.writer);
        shop.store.close()?;
    }
    drop(directories);
    Ok(results)
}

fn state_of(shop: &Shop, i: u64) -> State {
    shop.states[(i / BATCH as u64 / 7) as usize % STATES]
}

fn put(shop: &mut Shop, numbers: std::ops::Range<u64>, value_bytes: usize, random: &mut Random) -> Outcome {
    let mut value = [0; 256];
    for i in numbers {
        random.fill(&mut value[..value_bytes]);
        value[..8].copy_from_slice(&i.to_le_bytes());
        let state = state_of(shop, i);
        shop.writer.put(state, Op::of(i).key(), &value[..value_bytes])?;
    }
    Ok(())
}

fn checkpoint(shops: &[Shop], label: u64) -> Outcome {
    let cut = |shop: &Shop| shop.store.barrier(Barrier::new(label));
    let pending = shops.iter().map(cut).collect::<Result<Vec<_>, _>>()?;
    for pending in pending {
        pending.wait()?;
    }
    Ok(())
}

/// One batch: random records of one store read and written back, and a point read that is checked.
fn churn(shops: &mut [Shop], case: &Case, random: &mut Random) -> Outcome<u64> {
    let batches = case.records / BATCH as u64;
    // A run of batches that lie in one store and one state.
    let batch = random.below(batches);
    let count = shops.len();
    let shop = &mut shops[batch as usize % count];
    let state = state_of(shop, batch * BATCH as u64);
    let numbers: Vec<u64> = (0..BATCH as u64).map(|at| batch * BATCH as u64 + at).collect();
    let ops: Vec<Op> = numbers.iter().map(|&i| Op::of(i)).collect();
    let keys: Vec<Key<'_>> = ops.iter().map(Op::key).collect();
    let mut wrong_values = 0;
    shop.writer.update_many(state, &keys, |index, old| {
        let right = old.and_then(|old| old.first_chunk::<8>()) == Some(&numbers[index].to_le_bytes());
        wrong_values += u64::from(!right);
        old.map(<[u8]>::to_vec)
    })?;
    if wrong_values > 0 {
        return wrong(format!("{wrong_values} of {BATCH} values are wrong"));
    }
    Ok(BATCH as u64)
}
