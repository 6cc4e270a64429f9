//! What the C interface costs: the same operations over a million keys of 16 bytes from C (`calls.c`) and from Rust, in turns, each
//! in a process of its own. Prints ns for each operation, and how fast C is next to Rust; at least 0.9 is asked.
//!
//! `cargo bench -p alluvium-c`, in about five minutes; `-- --quick` in one; `-- --keys 1024` with as few keys as a cache of the
//! processor's holds, where what is left is what calls execute.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench may panic")]

use alluvium::{Cursor, Engine, EngineOptions, Key, Packed, StateOptions, Store, StoreOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const KEYS: usize = 1_000_000;
const BATCH: usize = 64;
/// Operation, bytes of its value, how often it goes over a million keys; over fewer as much oftener.
const CASES: [(&str, usize, usize); 13] = [
    ("get", 8, 5),
    ("get", 100, 5),
    ("get", 1_024, 3),
    ("miss", 8, 5),
    ("put", 8, 5),
    ("put", 100, 5),
    ("put", 1_024, 3),
    ("update", 8, 5),
    ("append", 8, 2),
    ("append", 100, 2),
    ("get-64", 8, 5),
    ("update-64", 8, 5),
    ("scan", 8, 5),
];

/// What is done to a key; found by its name once, as comparing names would be a part of each operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Get,
    Miss,
    Put,
    Update,
    Append,
    GetMany,
    UpdateMany,
    Scan,
}

fn operation_of(name: &str) -> Operation {
    match name {
        "get" => Operation::Get,
        "miss" => Operation::Miss,
        "put" => Operation::Put,
        "update" => Operation::Update,
        "append" => Operation::Append,
        "get-64" => Operation::GetMany,
        "update-64" => Operation::UpdateMany,
        "scan" => Operation::Scan,
        _ => panic!("no operation is called {name}"),
    }
}

/// splitmix64, as in calls.c.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed(2 * number).to_le_bytes());
    key[8..].copy_from_slice(&mixed(2 * number + 1).to_le_bytes());
    key
}

fn add_one(old: Option<&[u8]>) -> Option<[u8; 8]> {
    let old: [u8; 8] = old?.try_into().ok()?;
    Some((u64::from_le_bytes(old) + 1).to_le_bytes())
}

/// The operation from Rust: ns for each.
fn in_rust(directory: &Path, operation: &str, value_len: usize, rounds: usize, all: u64) -> alluvium::Result<f64> {
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 30, ..Default::default() })?;
    let store = Store::create(&engine, directory, StoreOptions::default())?;
    let values = store.state(StateOptions::value("values"))?;
    let lists = store.state(StateOptions::list("lists"))?;
    let mut writer = store.writer(store.range())?;
    // In the order of their use, which is not that of the puts: a cache miss in a table of keys would be part of each operation.
    let keys: Vec<_> = (0..all).map(|i| key(i * 7919 % all)).collect();
    let absent: Vec<_> = (0..all).map(|i| key(i + all)).collect();
    let (value, mut memory) = (vec![0; value_len], vec![0; BATCH * (value_len + 8)]);
    for number in 0..all {
        writer.put(values, store.key(&key(number)), &value)?;
    }
    let (mut batch, mut sum, mut done) = (Vec::with_capacity(BATCH), 0, 0);
    let operation = operation_of(operation);
    let from = Instant::now();
    for _ in 0..rounds {
        if operation == Operation::Scan {
            let (mut cursor, mut packed) = (Cursor::keys(values, store.range()), Packed::default());
            while writer.fetch(&mut cursor, &mut packed)? {
                sum += packed.iter().map(|record| usize::from(record.key[0])).sum::<usize>();
                done += packed.len();
            }
            continue;
        }
        for (used, absent) in keys.iter().zip(&absent) {
            let key = store.key(used);
            let take = |memory: &mut [u8], value: Option<&[u8]>| {
                value.map_or(0, |value| {
                    memory[..value.len()].copy_from_slice(value);
                    value.len()
                })
            };
            match operation {
                Operation::Get => sum += writer.read(values, key, |value| take(&mut memory, value))?,
                Operation::Miss => sum += writer.read(values, store.key(absent), |value| take(&mut memory, value))?,
                Operation::Put => writer.put(values, key, &value)?,
                Operation::Update => writer.update(values, key, add_one)?,
                Operation::Append => writer.append(lists, key, &value)?,
                _ => {
                    batch.push(key);
                    if batch.len() == BATCH {
                        many(&mut writer, values, operation, &batch, &mut memory)?;
                        batch.clear();
                    }
                }
            }
            done += 1;
        }
    }
    std::hint::black_box(sum);
    let ns = from.elapsed().as_nanos() as f64 / done as f64;
    drop(writer);
    store.close()?;
    Ok(ns)
}

fn many(
    writer: &mut alluvium::Writer,
    values: alluvium::State,
    operation: Operation,
    batch: &[Key<'_>],
    memory: &mut [u8],
) -> alluvium::Result<()> {
    if operation == Operation::UpdateMany {
        return writer.update_many(values, batch, |_, old| add_one(old));
    }
    let mut used = 0;
    writer.get_many(values, batch, |_, value| {
        if let Some(value) = value {
            memory[used..][..value.len()].copy_from_slice(value);
            used += value.len();
        }
    })
}

/// Compiles the C program against the library that cargo built beside this one.
fn compile(program: &Path) {
    let bench = std::env::current_exe().unwrap();
    let deps = bench.parent().unwrap();
    let libraries = [deps, deps.parent().unwrap()].into_iter().find(|place| place.join("liballuvium_c.so").exists());
    let (root, libraries) = (Path::new(env!("CARGO_MANIFEST_DIR")), libraries.expect("the shared library"));
    let status = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()))
        .args(["-std=c11", "-O2", "-Wall", "-I"])
        .arg(root.join("include"))
        .arg(root.join("benches/calls.c"))
        .arg("-o")
        .arg(program)
        .arg("-L")
        .arg(libraries)
        .arg("-lalluvium_c")
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .status();
    assert!(status.expect("a C compiler is needed").success());
}

/// Runs a program in an empty directory: ns for each operation.
fn run(program: &Path, case: (&str, usize, usize, usize), directory: &Path) -> f64 {
    std::fs::create_dir_all(directory).unwrap();
    let (operation, value_len, rounds, keys) = case;
    let arguments = [operation.to_owned(), value_len.to_string(), rounds.to_string(), keys.to_string()];
    // Cargo has it name folders with older builds of the library.
    let mut command = Command::new(program);
    command.arg(directory).args(arguments).env_remove("LD_LIBRARY_PATH");
    let output = command.output().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.split_whitespace().next().unwrap().parse().unwrap()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [directory, operation, value_len, rounds, keys] = arguments.as_slice() {
        let (value_len, rounds, keys) = (value_len.parse().unwrap(), rounds.parse().unwrap(), keys.parse().unwrap());
        println!("{:.2}", in_rust(Path::new(directory), operation, value_len, rounds, keys).unwrap());
        return;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let keys = arguments.iter().position(|argument| argument == "--keys");
    let keys = keys.map_or(KEYS, |at| arguments[at + 1].parse().expect("how many keys"));
    assert!(keys > 0 && keys.is_multiple_of(BATCH), "whole batches of {BATCH}");
    let temporary = tempfile::tempdir().unwrap();
    let (program, rust): (PathBuf, _) = (temporary.path().join("calls"), std::env::current_exe().unwrap());
    compile(&program);
    println!("{:<10} {:>6} {:>10} {:>10} {:>6}", "operation", "bytes", "Rust, ns", "C, ns", "ratio");
    for (operation, value_len, rounds) in CASES {
        let times = if quick { 1 } else { rounds };
        let case = (operation, value_len, times * KEYS / keys, keys);
        let turns = if quick { 1 } else { 5 };
        let directory = temporary.path().join("data");
        let both: Vec<_> =
            (0..turns).map(|_| (run(&rust, case, &directory), run(&program, case, &directory))).collect();
        let (in_rust, in_c) = both.into_iter().unzip();
        let (in_rust, in_c) = (median(in_rust), median(in_c));
        println!("{operation:<10} {value_len:>6} {in_rust:>10.1} {in_c:>10.1} {:>6.2}", in_rust / in_c);
    }
}
