//! A checkpoint restored from a remote directory that is far away: how long until the first read, and until all of it is here.
//!
//! ```sh
//! cargo run --release --example remote --features object-store              # 2 GiB, 20 ms a request, 200 MB/s
//! cargo run --release --example remote --features object-store -- 0.5 50 100   # GiB, ms, MB/s
//! ```
//! The directory is one of this machine's file system; what makes it far is a store in between that has requests wait, and
//! share a line.

#[path = "../tests/remote/faulty.rs"]
#[expect(dead_code, reason = "shared with tests")]
mod faulty;

use alluvium::remote::object_store::local::LocalFileSystem;
use alluvium::remote::{Remote, RemoteOptions, RestoreOptions};
use alluvium::{Barrier, Engine, EngineOptions, StateOptions, Store, StoreOptions};
use faulty::{Faulty, Settings};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const VALUE_BYTES: usize = 1_000;

/// What a key's value is; it doesn't compress.
fn value(key: u64) -> Vec<u8> {
    let mut random = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    };
    (0..VALUE_BYTES / 8).flat_map(|_| next()).collect()
}

fn make(engine: &Engine, path: &Path, keys: u64, remote: &Remote) -> Outcome<()> {
    let started = Instant::now();
    let store = Store::create(engine, path, StoreOptions::default())?;
    let state = store.state(StateOptions::value("values"))?;
    let mut writer = store.writer(store.range())?;
    for key in 0..keys {
        writer.put(state, store.key(&key.to_be_bytes()), &value(key))?;
    }
    store.barrier(Barrier::new(1))?.wait()?;
    println!("made in {:.1} s", started.elapsed().as_secs_f64());
    let uploaded = remote.upload(&store, 1)?;
    let (megabytes, seconds) = (uploaded.new_bytes as f64 / 1e6, uploaded.elapsed.as_secs_f64());
    println!("{megabytes:.0} MB in {} segments, uploaded and read back in {seconds:.1} s", uploaded.segments);
    writer.put(state, store.key(b"more"), b"1")?;
    store.barrier(Barrier::new(2))?.wait()?;
    let uploaded = remote.upload(&store, 2)?;
    println!("the next checkpoint: {} bytes in {} segment(s)", uploaded.new_bytes, uploaded.new_segments);
    drop(writer);
    store.close()?;
    Ok(())
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

fn restore(engine: &Engine, path: &Path, keys: u64, remote: &Remote, limit_bytes_per_s: Option<u64>) -> Outcome<()> {
    let started = Instant::now();
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let how = RestoreOptions { limit_bytes_per_s, ..RestoreOptions::default() };
    let (store, restoring) = remote.restore(engine, path, None, StoreOptions::default(), how)?;
    println!("  open after          {:8.0} ms", ms(started));
    let (state, reader) = (store.state(StateOptions::value("values"))?, store.reader());
    let mut key = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (key >> 33) % keys
    };
    let mut times = Vec::new();
    while !restoring.progress().done {
        let (key, asked) = (next(), Instant::now());
        let found = reader.get(state, store.key(&key.to_be_bytes()))?;
        if found.as_deref() != Some(&*value(key)) {
            return Err(format!("key {key} is wrong").into());
        }
        times.push(asked.elapsed());
        if times.len() == 1 {
            println!("  first correct read  {:8.0} ms", ms(started));
            println!("    at {:.1} % of it here", restoring.progress().share * 100.0);
        }
        // A reader that is not in a hurry: one event each 2 ms.
        std::thread::sleep(Duration::from_millis(2));
    }
    restoring.wait()?;
    println!("  all of it here      {:8.0} ms", ms(started));
    let progress = restoring.progress();
    println!("  {} requests, {:.0} MB on demand", progress.requests, progress.bytes_on_demand as f64 / 1e6);
    times.sort_unstable();
    let [half, most, worst] = [0.5, 0.99, 1.0].map(|share| percentile(&times, share));
    println!("  {} reads meanwhile: p50 {half:.2} ms, p99 {most:.1} ms, worst {worst:.0} ms", times.len());
    store.close()?;
    Ok(())
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<f64>().ok());
    let mut next = |otherwise: f64| arguments.next().unwrap_or(otherwise);
    let (gib, latency_ms, mb_per_s) = (next(2.0), next(20.0), next(200.0));
    let directory = tempfile::tempdir()?;
    let there = directory.path().join("there");
    std::fs::create_dir(&there)?;
    let far = Faulty::over(Arc::new(LocalFileSystem::new_with_prefix(&there)?));
    let remote = Remote::with_store(Arc::new(far.clone()), "store-0", RemoteOptions::default())?;
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 256 << 20, ..Default::default() })?;
    let keys = (gib * f64::from(1 << 30)) as u64 / VALUE_BYTES as u64;
    make(&engine, &directory.path().join("here"), keys, &remote)?;

    let latency = Duration::from_secs_f64(latency_ms / 1e3);
    far.plan.set(Settings { latency, line_bytes_per_s: (mb_per_s * 1e6) as u64, ..Settings::default() });
    println!("restored over a line of {mb_per_s} MB/s, {latency_ms} ms a request:");
    restore(&engine, &directory.path().join("again"), keys, &remote, None)?;
    let limit = (mb_per_s * 1e6 * 0.75) as u64;
    println!("the same, limited to {} MB/s in the background:", limit / 1_000_000);
    restore(&engine, &directory.path().join("limited"), keys, &remote, Some(limit))
}
