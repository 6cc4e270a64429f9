//! Benchmarks of the engine.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first error")]
use alluvium::*;
use std::time::Instant;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn zipf(n: u64, ops: usize) -> Vec<u64> {
    let theta = 0.99_f64;
    let zetan: f64 = (1..=n).map(|i| 1.0 / (i as f64).powf(theta)).sum();
    let zeta2 = 1.0 + 0.5_f64.powf(theta);
    let alpha = 1.0 / (1.0 - theta);
    let eta = (1.0 - (2.0 / n as f64).powf(1.0 - theta)) / (1.0 - zeta2 / zetan);
    let mut s = 42_u64;
    (0..ops)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            let u = (s >> 11) as f64 / (1_u64 << 53) as f64;
            let uz = u * zetan;
            let r = if uz < 1.0 {
                0
            } else if uz < zeta2 {
                1
            } else {
                (n as f64 * (eta * u - eta + 1.0).powf(alpha)) as u64
            };
            r.min(n - 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) % n
        })
        .collect()
}

fn main() {
    let n: u64 = std::env::args().nth(1).map_or(1_000_000, |a| a.parse().unwrap());
    let ops = 8_000_000;
    let keys: Vec<[u8; 16]> = (0..n)
        .map(|i| {
            let mut k = [0; 16];
            k[..8].copy_from_slice(&i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            k[8..].copy_from_slice(&i.to_be_bytes());
            k
        })
        .collect();
    let mut s = 7_u64;
    let uniform: Vec<u64> = (0..ops)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            s % n
        })
        .collect();
    let zipfs = zipf(n, ops);
    let groups: Vec<KeyGroup> = keys.iter().map(|k| key::key_group_of(k, 128)).collect();
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 30, ..Default::default() }).unwrap();
    let store = Store::create(&engine, dir.path(), StoreOptions::default()).unwrap();
    let st = store.state(StateOptions::value("c")).unwrap();
    let mut w = store.writer(store.range()).unwrap();
    let t = Instant::now();
    for (k, g) in keys.iter().zip(&groups) {
        w.put(st, Key::new(*g, k), &0_u64.to_le_bytes()).unwrap();
    }
    println!(
        "load {:.2} M/s, memory {:.1} B/record",
        n as f64 / t.elapsed().as_secs_f64() / 1e6,
        store.metrics().memory_bytes as f64 / n as f64
    );
    let mut map: hashbrown::HashMap<Box<[u8]>, u64, foldhash::fast::RandomState> = hashbrown::HashMap::default();
    let t = Instant::now();
    for k in &keys {
        map.insert(k.to_vec().into_boxed_slice(), 0);
    }
    println!("hashbrown load {:.2} M/s", n as f64 / t.elapsed().as_secs_f64() / 1e6);
    for (name, idx) in [("zipf", &zipfs), ("uniform", &uniform)] {
        for _ in 0..2 {
            let t = Instant::now();
            for &i in idx.iter() {
                if let Some(v) = map.get_mut(&keys[i as usize][..]) {
                    *v += 1;
                }
            }
            let h = ops as f64 / t.elapsed().as_secs_f64() / 1e6;
            let t = Instant::now();
            for &i in idx.iter() {
                let key = Key::new(groups[i as usize], &keys[i as usize]);
                w.update(st, key, |old| Some((u64::from_le_bytes(old.unwrap().try_into().unwrap()) + 1).to_le_bytes()))
                    .unwrap();
            }
            let p = ops as f64 / t.elapsed().as_secs_f64() / 1e6;
            let t = Instant::now();
            let mut batch = Vec::with_capacity(32);
            for c in idx.chunks(32) {
                batch.clear();
                batch.extend(c.iter().map(|&i| Key::new(groups[i as usize], &keys[i as usize])));
                w.update_many(st, &batch, |_, old| {
                    Some((u64::from_le_bytes(old.unwrap().try_into().unwrap()) + 1).to_le_bytes())
                })
                .unwrap();
            }
            let b = ops as f64 / t.elapsed().as_secs_f64() / 1e6;
            println!("{name}: hashbrown {h:.2} M/s, update {p:.2} ({:.2}x), batched {b:.2} ({:.2}x)", p / h, b / h);
        }
    }
}
