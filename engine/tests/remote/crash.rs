//! A process that dies in the middle of an upload, at every request of it.

use super::faulty::Faulty;
use super::faulty::Settings;
use super::rng::Rng;
use super::world::{Job, Model, all, engine, named_and_there, objects, once, over};
use alluvium::Engine;
use alluvium::remote::object_store::memory::InMemory;
use alluvium::remote::{Remote, RemoteOptions};
use std::path::Path;
use std::sync::Arc;

struct Before<'a> {
    engine: &'a Engine,
    root: &'a Path,
    /// What the remote held.
    inner: &'a InMemory,
    /// The checkpoints in it, and those that are being uploaded.
    models: &'a [(u64, Model)],
}

/// The remote as it was found: every checkpoint in it can be restored, and is what it was.
fn check(before: &Before<'_>, remote: &Remote, at: u64) -> usize {
    let listed = remote.list().unwrap();
    for checkpoint in &listed {
        let label = checkpoint.label().unwrap();
        let (_, model) = before.models.iter().find(|(known, _)| *known == label).unwrap();
        let path = before.root.join(format!("restored {at} {label} {}", checkpoint.sequence));
        let (mut job, restoring) = Job::restore(before.engine, &path, remote, Some(label), model);
        job.check_some(&mut Rng::new(at), 30);
        restoring.wait().unwrap();
        job.check_some(&mut Rng::new(at + 1), 300);
        job.close();
        std::fs::remove_dir_all(path).unwrap();
    }
    listed.len()
}

/// Dies at each request in turn, before and after it was done; returns how many there are.
fn die_everywhere(before: &Before<'_>, job: &Job, label: u64, options: &RemoteOptions) -> u64 {
    let mut at = 0;
    loop {
        let mut done = false;
        for first_is_done in [false, true] {
            let inner = Arc::new(before.inner.fork());
            let dying = Arc::new(Faulty::over(Arc::clone(&inner) as _));
            dying.plan.set(Settings { dead_from: Some((at, first_is_done)), ..Settings::default() });
            let outcome = over(&dying, "p", options.clone()).upload(&job.store, label);
            let died = dying.plan.calls() > at;
            assert!(died || outcome.is_ok(), "{outcome:?}");
            let survivor = over(&inner, "p", options.clone());
            let there = check(before, &survivor, at);
            // Nobody waits for it in vain: once it is said to be there, it is.
            if outcome.is_ok() {
                assert_eq!(survivor.list().unwrap().last().unwrap().label(), Some(label));
            }
            // The next process goes on.
            let uploaded = survivor.upload(&job.store, label).unwrap();
            assert!(uploaded.removed.is_ok());
            assert_eq!(survivor.list().unwrap().last().unwrap().label(), Some(label));
            check(before, &survivor, at);
            assert!(there <= options.keep + 1, "{there} checkpoints at request {at}");
            if at % 3 == 0 {
                let (named, there) = named_and_there(before.engine, &*inner, &survivor, "p");
                assert_eq!(named, there, "request {at}");
                assert_eq!(objects(&*inner, "p/writers").len(), 1);
            }
            done = !died;
        }
        if done {
            return at;
        }
        at += 1;
    }
}

#[test]
fn an_upload_that_dies_at_any_request_loses_nothing() {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(11));
    let inner = InMemory::new();
    // One request at a time, so that a number is always the same request.
    let options = RemoteOptions { concurrency: 1, part_bytes: 5 << 20, ..once() };
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    // The first segment goes in parts.
    job.fill(&mut rng, 14 << 20);
    let mut models = vec![(1, job.checkpoint(1))];
    let root = directory.path();
    let first = die_everywhere(&Before { engine: &engine, root, inner: &inner, models: &models }, &job, 1, &options);
    let remote = over(&Arc::new(inner.clone()), "p", options.clone());
    remote.upload(&job.store, 1).unwrap();
    for label in 2..4 {
        job.work(&mut rng, 300, 300);
        models.push((label, job.checkpoint(label)));
        remote.upload(&job.store, label).unwrap();
    }
    // Retention deletes now.
    job.work(&mut rng, 300, 300);
    models.push((4, job.checkpoint(4)));
    let next = die_everywhere(&Before { engine: &engine, root, inner: &inner, models: &models }, &job, 4, &options);
    println!("{first} and {next} requests");
    assert!(first > 8 && next > 8, "too few to say anything");
}
