//! The job on the engine against the batch, and its directory under the engine's own check.

use std::path::Path;

use alluvium::inspect::{Severity, describe, usage, verify};

use crate::check::{check, expect};
use crate::engine_store;
use crate::input::Replay;
use crate::job::Job;
use crate::job::table::TABLES;

const MEMORY_BYTES: u64 = 32 << 20;

/// Runs the job over two periods, with a restart half-way that loses what came after the checkpoint.
fn run_job(directory: &Path, replay: &Replay, periods: u16) {
    let events = replay.period_events() * u64::from(periods);
    for (label, cut, lost) in [(1, events / 2, events / 10), (2, events, 0)] {
        let opened = engine_store::open_or_create(directory, MEMORY_BYTES, 1, Default::default()).unwrap();
        let mut job = Job::new(opened.writer().unwrap(), replay).unwrap();
        let first = opened.resume_at.unwrap_or(0);
        assert_eq!(Job::position(job.store_mut()).unwrap(), first);
        for index in first..cut {
            job.apply(&replay.event(index)).unwrap();
        }
        job.mark_position(cut).unwrap();
        opened.barrier(label, cut).unwrap().wait().unwrap();
        for index in cut..cut + lost {
            job.apply(&replay.event(index)).unwrap();
        }
        drop(job);
        opened.close().unwrap();
    }
}

#[test]
fn the_job_on_the_engine_is_exact_and_its_directory_sound() {
    let replay = Replay::embedded_head(2_500).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (store, scratch) = (directory.path().join("store"), directory.path().join("expected"));
    std::fs::create_dir(&scratch).unwrap();
    run_job(&store, &replay, 2);

    let writers = expect(&replay, 2, &scratch).unwrap();
    let opened = engine_store::open(&store, MEMORY_BYTES, 1).unwrap();
    let comparison = check(&mut opened.contents().unwrap(), &scratch, writers).unwrap();
    assert_eq!((comparison.differences, &comparison.first[..]), (0, &[][..]));
    opened.close().unwrap();

    let report = describe(&store).unwrap();
    let checkpoint = report.newest_checkpoint().unwrap();
    assert_eq!(checkpoint.label, Some(2));
    let names: Vec<&str> = checkpoint.states.iter().map(|state| state.name.as_str()).collect();
    assert_eq!(names, TABLES.iter().map(|info| info.name).collect::<Vec<_>>());
    assert!(usage(&store, checkpoint).unwrap().iter().any(|used| used.state == "history" && used.records > 0));
    assert_eq!(verify(&store).unwrap(), []);
}

#[test]
fn a_damaged_segment_is_named_with_its_offset() {
    let replay = Replay::embedded_head(300).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    run_job(&store, &replay, 1);
    let files = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let segment = files.into_iter().find(|path| path.extension().is_some_and(|name| name == "segment")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let found = verify(&store).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].severity, &found[0].path), (Severity::Fault, &segment), "{found:?}");
    assert!((4_096..4_096 + 65_536).contains(&found[0].offset), "in the first block: {found:?}");
}
