//! What a host does with a remote directory.

use super::faulty::Settings;
use super::rng::Rng;
use super::world::{
    GROUPS, Job, Model, all, block, engine, faulty, named_and_there, objects, once, options, over, part, quick,
};
use alluvium::platform::storage::Fault;
use alluvium::remote::object_store::memory::InMemory;
use alluvium::remote::{
    Remote, RemoteError, RemoteFault, RemoteOptions, RemoteSource, RestoreOptions, restore, resume,
};
use alluvium::{Barrier, Class, Error, Key, KeyGroup, KeyGroupRange, StateOptions, Store, StoreOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Up, and back into another directory that serves at once; large segments in parts.
fn there_and_back(remote: &Remote) {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(1));
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    job.fill(&mut rng, 48 << 20);
    job.checkpoint(9);
    // So that nothing is merged, and with that new, between the two that are compared.
    job.store.compact().unwrap();
    let first = job.upload(remote, 10);
    assert!(first.new_bytes > 16 << 20 && first.new_segments == first.segments, "{first:?}");
    job.work(&mut rng, 500, 300);
    let second = job.upload(remote, 12);
    assert!(second.new_bytes < first.new_bytes / 2, "all of it again: {second:?}");
    assert!(second.segments > second.new_segments, "{second:?}");
    let model = job.model.clone();
    // Asked for again, there is nothing to do.
    let again = remote.upload(&job.store, 12).unwrap();
    assert_eq!((again.sequence, again.new_segments, again.new_bytes), (second.sequence, 0, 0));
    job.close();

    let listed = remote.list().unwrap();
    let labels: Vec<_> = listed.iter().map(|checkpoint| checkpoint.label().unwrap()).collect();
    assert_eq!(labels, [10, 12]);
    assert_eq!(listed[1].head.as_ref().unwrap().store.range, all());

    let (mut job, restoring) = Job::restore(&engine, &directory.path().join("b"), remote, None, &model);
    assert_eq!(job.store.restored().unwrap().label, 12);
    job.check_some(&mut rng, 300);
    restoring.wait().unwrap();
    let progress = restoring.progress();
    assert!(progress.done && progress.share == 1.0 && progress.bytes_left == 0, "{progress:?}");
    assert!(progress.bytes_total > 16 << 20 && progress.bytes_per_s > 0.0 && progress.requests > 4, "{progress:?}");
    job.check();
    // All of it is here: nobody is asked any more.
    job.close();
    let store = Store::open(&engine, &directory.path().join("b"), StoreOptions { fetch: false, ..options(all()) });
    Job::adopt(store.unwrap(), model).check();
}

#[test]
fn there_and_back_through_memory() {
    there_and_back(&over(&Arc::new(InMemory::new()), "jobs/7", quick()));
    there_and_back(&Remote::open("memory:///", quick()).unwrap());
}

#[test]
fn there_and_back_through_a_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}/some where", directory.path().display());
    there_and_back(&Remote::open(&url, quick()).unwrap());
    let files = std::fs::read_dir(directory.path().join("some where/checkpoints")).unwrap().count();
    assert_eq!(files, 2);
}

/// `ALLUVIUM_TEST_S3_URL=s3://bucket/path` and what `object_store` takes from the environment (`AWS_ENDPOINT`, ...); with the
/// feature `object-store-aws`.
#[test]
#[ignore = "needs a server: docs/remote.md"]
fn there_and_back_through_s3() {
    let url = std::env::var("ALLUVIUM_TEST_S3_URL").unwrap();
    let path = format!("{url}/{:x}", std::process::id());
    let remote = Remote::open(&path, quick()).unwrap();
    there_and_back(&remote);
    assert_eq!(remote.prune(1).unwrap().checkpoints.len(), 1);
    // Who comes later has it.
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(2));
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    job.work(&mut rng, 500, 300);
    let other = Remote::open(&path, quick()).unwrap();
    job.upload(&other, 20);
    assert!(matches!(remote.upload(&job.store, 20), Err(RemoteError::Superseded { .. })));
    let object = "0000000000000000000000000000abcd.segment";
    let missing = Remote::open(&format!("{path}/{object}"), once()).unwrap().restore(
        &engine,
        &directory.path().join("b"),
        None,
        options(all()),
        RestoreOptions::default(),
    );
    assert!(matches!(missing, Err(RemoteError::NoCheckpoint { .. })), "{missing:?}");
}

#[test]
fn urls_that_lead_nowhere_are_told() {
    for url in ["nonsense", "ftp://host/path", "s3://bucket/path"] {
        match Remote::open(url, RemoteOptions::default()) {
            Err(error) => {
                assert_eq!((error.fault(), error.class()), (Some(RemoteFault::Unsupported), Class::Usage), "{error}");
                assert!(error.to_string().contains(url), "{error}");
            }
            // With the feature for it.
            Ok(_) => assert!(url.starts_with("s3"), "{url}"),
        }
    }
    let remote = Remote::open("memory:///", quick()).unwrap();
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    for label in [None, Some(3)] {
        let error = remote.restore(&engine, directory.path(), label, options(all()), RestoreOptions::default());
        assert!(matches!(error, Err(RemoteError::NoCheckpoint { label: found, .. }) if found == label));
    }
    assert!(remote.list().unwrap().is_empty());
    let job = Job::create(&engine, &directory.path().join("a"), all());
    let error = remote.upload(&job.store, 3).unwrap_err();
    assert!(matches!(error, RemoteError::Engine(Error::Checkpoint { label: 3, .. })), "{error}");
}

#[test]
fn the_newest_are_kept_with_all_they_need() {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(3));
    let inner = Arc::new(InMemory::new());
    let remote = over(&inner, "p", quick());
    // What isn't ours is nobody's to delete.
    block(async {
        use alluvium::remote::object_store::ObjectStoreExt;
        for other in ["p/segments/notes.txt", "p/readme", "q/segments/00000000000000000000000000000001.segment"] {
            inner.put(&other.into(), "mine".into()).await.unwrap();
        }
    });
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    let mut models: Vec<(u64, Model)> = Vec::new();
    for label in 1..12 {
        job.work(&mut rng, 400, 300);
        models.push((label, job.checkpoint(label)));
        let uploaded = remote.upload(&job.store, label).unwrap();
        assert_eq!(uploaded.removed.unwrap().checkpoints.len(), usize::from(label > 2));
        // The store was told: it doesn't keep what the remote keeps no more.
        assert!(job.store.checkpoints().len() <= 3, "{label}");
    }
    let (named, mut there) = named_and_there(&engine, &*inner, &remote, "p");
    assert!(there.remove("notes.txt"));
    assert_eq!(named, there);
    assert_eq!(objects(&*inner, "q").len(), 1);
    for (label, model) in &models[9..] {
        let (mut job, _) =
            Job::restore(&engine, &directory.path().join(label.to_string()), &remote, Some(*label), model);
        job.check();
    }
    let removed = remote.prune(1).unwrap();
    assert_eq!(removed.checkpoints, [(10, Some(10))]);
    let (named, there) = named_and_there(&engine, &*inner, &remote, "p");
    assert_eq!(named.len() + 1, there.len());
}

/// A process that was taken for dead goes on, and finds the directory another's.
#[test]
fn who_comes_later_has_the_directory() {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(4));
    let inner = Arc::new(InMemory::new());
    let (old, new) = (over(&inner, "p", quick()), over(&inner, "p", quick()));
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    job.work(&mut rng, 500, 300);
    job.upload(&old, 1);
    let (mut other, restoring) = Job::restore(&engine, &directory.path().join("b"), &new, None, &job.model);
    job.work(&mut rng, 500, 300);
    job.upload(&old, 2);
    other.work(&mut rng, 500, 300);
    other.upload(&new, 2);
    job.work(&mut rng, 500, 300);
    job.checkpoint(3);
    for error in [old.upload(&job.store, 3).map(drop), old.prune(1).map(drop)] {
        assert!(matches!(error, Err(RemoteError::Superseded { .. })), "{error:?}");
        assert_eq!(error.unwrap_err().class(), Class::Fail);
    }
    restoring.wait().unwrap();
    other.check();
    // Two of one label: the younger.
    let (mut again, _) = Job::restore(&engine, &directory.path().join("c"), &new, Some(2), &other.model);
    again.check();
    // What the old one had uploaded, and nobody will ever name, goes with the next takeover.
    over(&inner, "p", quick()).prune(1).unwrap();
    let (named, there) = named_and_there(&engine, &*inner, &new, "p");
    assert_eq!(named, there);
}

#[test]
fn one_becomes_two_and_two_become_one() {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(5));
    let (inner, far) = faulty();
    far.plan.set(Settings { latency: Duration::from_millis(1), ..Settings::default() });
    let remote = over(&far, "one", quick());
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    for label in 1..4 {
        job.work(&mut rng, 700, 400);
        job.upload(&remote, label);
    }
    let ranges = [KeyGroupRange::new(0, 2), KeyGroupRange::new(3, GROUPS - 1)];
    let mut sources = Vec::new();
    let mut model = Model::new();
    for (at, range) in ranges.into_iter().enumerate() {
        let path = directory.path().join(format!("half {at}"));
        let (store, restoring) =
            remote.restore(&engine, &path, Some(3), options(range), RestoreOptions::default()).unwrap();
        let mut half = Job::adopt(store, part(&job.model, range));
        half.check_some(&mut rng, 50);
        half.work(&mut rng, 300, 300);
        let own = over(&far, &format!("half-{at}"), quick());
        half.upload(&own, 7);
        half.check();
        restoring.wait().unwrap();
        half.check();
        model.extend(half.model.clone());
        half.close();
        sources.push(RemoteSource { remote: own, label: Some(7) });
    }
    let path = directory.path().join("whole");
    let how = RestoreOptions { first: vec![KeyGroupRange::new(5, 6)], ..RestoreOptions::default() };
    let (store, restoring) = restore(&engine, &path, &sources, options(all()), how.clone()).unwrap();
    let mut whole = Job::adopt(store, model);
    whole.check();
    restoring.wait().unwrap();
    whole.check();
    let half = restore(&engine, &directory.path().join("x"), &sources[..1], options(all()), how);
    assert!(matches!(half, Err(RemoteError::Engine(Error::Options { option: "checkpoints", .. }))), "{half:?}");
    assert!(!objects(&*inner, "one").is_empty());
}

/// A store of some megabytes, in a remote that is far away.
fn far_away(
    seed: u64,
    bytes: usize,
) -> (Arc<super::faulty::Faulty>, Remote, Model, alluvium::Engine, tempfile::TempDir) {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(seed));
    let (_, far) = faulty();
    let remote = over(&far, "p", quick());
    let mut job = Job::create(&engine, &directory.path().join("origin"), all());
    job.fill(&mut rng, bytes);
    let model = job.checkpoint(1);
    remote.upload(&job.store, 1).unwrap();
    job.close();
    (far, remote, model, engine, directory)
}

#[test]
fn what_is_waited_for_is_not_held_up_by_the_limit() {
    let (far, remote, model, engine, directory) = far_away(6, 48 << 20);
    far.plan.set(Settings { latency: Duration::from_millis(2), ..Settings::default() });
    let limit = 2 << 20;
    let how = RestoreOptions { limit_bytes_per_s: Some(limit), ..RestoreOptions::default() };
    let (store, restoring) = remote.restore(&engine, &directory.path().join("b"), None, options(all()), how).unwrap();
    let mut job = Job::adopt(store, model);
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for at in 0..8_u32 {
        let asked = Instant::now();
        let (group, number) = (at as u16 % GROUPS, at * 31 % 400);
        assert_eq!(job.get(group, number).unwrap().as_ref(), job.model.get(&(group, number)));
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    let progress = restoring.progress();
    let seconds = started.elapsed().as_secs_f64();
    let in_background = (progress.bytes_total - progress.bytes_left - progress.bytes_on_demand) as f64;
    println!("slowest read {slowest:?}, {in_background} bytes in the background in {seconds} s; {progress:?}");
    assert!(slowest < Duration::from_secs(1), "a read waited {slowest:?}");
    // One request may overdraw what is due.
    assert!(in_background < seconds * limit as f64 + (5 << 20) as f64, "{in_background} bytes in {seconds} s");
    assert!(!progress.done && progress.time_left.is_some(), "{progress:?}");
    restoring.set_limit_bytes_per_s(None);
    restoring.wait().unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    job.check();
}

#[test]
fn key_groups_that_are_wanted_come_first() {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(7));
    let (_, far) = faulty();
    let remotes = [over(&far, "low", quick()), over(&far, "high", quick())];
    let mut sources = Vec::new();
    let mut model = Model::new();
    for (remote, range) in remotes.iter().zip([KeyGroupRange::new(0, 3), KeyGroupRange::new(4, GROUPS - 1)]) {
        let mut job = Job::create(&engine, &directory.path().join(remote.name().replace('/', "-")), range);
        for group in range.iter() {
            for number in 0..300 {
                let value = (0..1_000).map(|_| rng.next()).flat_map(u64::to_le_bytes).collect();
                job.change(group.0, number, Some(value));
            }
        }
        job.upload(remote, 1);
        model.extend(job.model.clone());
        job.close();
        sources.push(RemoteSource { remote: remote.clone(), label: None });
    }
    // Slowly enough to see the order.
    let how = RestoreOptions {
        first: vec![KeyGroupRange::new(6, 6)],
        concurrency: 1,
        limit_bytes_per_s: Some(20 << 20),
        ..RestoreOptions::default()
    };
    let (store, restoring) = restore(&engine, &directory.path().join("b"), &sources, options(all()), how).unwrap();
    let total = restoring.progress().bytes_total;
    while restoring.progress().share < 0.45 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut job = Job::adopt(store, model);
    let before = restoring.progress().bytes_on_demand;
    for number in (0..300).step_by(37) {
        assert!(job.get(6, number).unwrap().is_some());
    }
    let waited = restoring.progress().bytes_on_demand - before;
    assert!(waited < total / 8, "{waited} bytes of {total} had to be waited for");
    restoring.set_limit_bytes_per_s(None);
    restoring.wait().unwrap();
    job.check();
}

#[test]
fn a_restore_that_was_called_off_or_cut_short_is_resumed() {
    let (far, remote, model, engine, directory) = far_away(8, 24 << 20);
    let path = directory.path().join("b");
    let how = || RestoreOptions { limit_bytes_per_s: Some(1 << 20), ..RestoreOptions::default() };
    let (store, restoring) = remote.restore(&engine, &path, None, options(all()), how()).unwrap();
    far.plan.set(Settings { latency: Duration::from_secs(3), ..Settings::default() });
    let (reader, state) = (store.reader(), store.state(StateOptions::value("values")).unwrap());
    let refused = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.get(state, Key::new(KeyGroup(3), &5_u32.to_be_bytes())));
        std::thread::sleep(Duration::from_millis(200));
        restoring.cancel();
        waiting.join().unwrap()
    });
    let error = refused.unwrap_err();
    assert!(matches!(&error, Error::Storage(error) if error.fault == Fault::Absent), "{error}");
    assert!(matches!(restoring.wait(), Err(RemoteError::Cancelled)));
    // Nor does anybody wait who comes later.
    let asked = Instant::now();
    assert!(reader.get(state, Key::new(KeyGroup(4), &9_u32.to_be_bytes())).is_err());
    assert!(asked.elapsed() < Duration::from_secs(1));
    far.plan.set(Settings::default());
    drop(reader);
    store.close().unwrap();

    let without = Store::open(&engine, &path, options(all())).unwrap();
    let sources = [RemoteSource { remote: remote.clone(), label: Some(1) }];
    let error = resume(&without, &sources, how()).unwrap_err();
    assert!(matches!(error, RemoteError::Engine(Error::Options { option: "fetch", .. })), "{error}");
    without.close().unwrap();
    // Twice: the process dies in the middle.
    for _ in 0..2 {
        let store = Store::open(&engine, &path, StoreOptions { fetch: true, ..options(all()) }).unwrap();
        let restoring = resume(&store, &sources, how()).unwrap();
        let mut job = Job::adopt(store, model.clone());
        job.check_some(&mut Rng::new(1), 20);
        let Job { store, writer, .. } = job;
        drop((writer, store));
        let ended = restoring.wait();
        assert!(ended.is_ok() || matches!(ended, Err(RemoteError::Engine(Error::Closed))), "{ended:?}");
        // The lock of the directory is what a store lets go of last.
        std::thread::sleep(Duration::from_millis(20));
    }
    let store = Store::open(&engine, &path, StoreOptions { fetch: true, ..options(all()) }).unwrap();
    let restoring = resume(&store, &sources, RestoreOptions::default()).unwrap();
    restoring.wait().unwrap();
    Job::adopt(store, model).check();
}

/// The network goes, and comes back.
#[test]
fn an_outage_is_told_and_waited_out() {
    let (far, _, model, engine, directory) = far_away(9, 24 << 20);
    let remote = over(
        &far,
        "p",
        RemoteOptions { retry: alluvium::remote::RetryOptions { tries: 3, ..quick().retry }, ..quick() },
    );
    let how = RestoreOptions { limit_bytes_per_s: Some(4 << 20), ..RestoreOptions::default() };
    let (store, restoring) = remote.restore(&engine, &directory.path().join("b"), None, options(all()), how).unwrap();
    far.plan.set(Settings { dead_from: Some((0, false)), ..Settings::default() });
    let mut job = Job::adopt(store, model);
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        let (group, number) = (job.model.len() as u16 % GROUPS, 200);
        match job.get(group, number) {
            Err(error) => break error,
            Ok(_) => job.model.pop_last(),
        };
        assert!(Instant::now() < deadline, "no read fails");
    };
    assert_eq!(error.class(), Class::Retry, "{error}");
    assert!(error.to_string().contains("p/segments/"), "{error}");
    restoring.set_limit_bytes_per_s(None);
    std::thread::sleep(Duration::from_millis(1_500));
    let progress = restoring.progress();
    assert_eq!(progress.problem.as_ref().map(RemoteError::class), Some(Class::Retry), "{progress:?}");
    // Writes and checkpoints go on.
    job.change(2, 7, Some(b"meanwhile".to_vec()));
    job.store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    far.plan.set(Settings::default());
    restoring.wait().unwrap();
    assert!(restoring.progress().problem.is_none(), "it is over");
    assert_eq!(job.get(2, 7).unwrap().unwrap(), b"meanwhile");
}

/// A tenth of the requests fails, brings too little or something else: nobody notices.
#[test]
fn what_fails_in_passing_is_tried_again() {
    for seed in 0..4 {
        let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(seed));
        let (inner, far) = faulty();
        far.plan.set(Settings { one_in: Some((seed, 10)), ..Settings::default() });
        let remote = over(&far, "p", quick());
        let mut job = Job::create(&engine, &directory.path().join("a"), all());
        job.fill(&mut rng, 24 << 20);
        for label in 1..4 {
            job.work(&mut rng, 300, 300);
            job.checkpoint(label);
            remote.upload(&job.store, label).unwrap();
        }
        let (mut restored, restoring) = Job::restore(&engine, &directory.path().join("b"), &remote, None, &job.model);
        restored.check_some(&mut rng, 100);
        restoring.wait().unwrap();
        restored.check();
        // A directory's number may be given to the next one, which must not find it locked.
        restored.close();
        job.close();
        assert!(far.plan.calls() > 30);
        assert!(inner.to_string().contains("InMemory"));
    }
}

/// What a failed upload or retention left behind stayed for as long as the process lived.
#[test]
fn what_failed_requests_leave_behind_goes_with_the_next_retention() {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(31));
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    for label in 1..4 {
        // So that each has segments of its own.
        job.work(&mut rng, 300, 300);
        job.checkpoint(label);
        job.store.compact().unwrap();
    }
    // One request at a time, so that a number is always the same request.
    let options = RemoteOptions { keep: 1, confirm: false, concurrency: 1, ..once() };
    let mut at = 0;
    loop {
        let mut is_over = true;
        for first_is_done in [false, true] {
            let (inner, faulty) = faulty();
            let remote = over(&faulty, "p", options.clone());
            remote.upload(&job.store, 1).unwrap().removed.unwrap();
            let from = faulty.plan.calls() + at;
            faulty.plan.set(Settings { dead_from: Some((from, first_is_done)), ..Settings::default() });
            let _failed = remote.upload(&job.store, 2);
            is_over &= faulty.plan.calls() <= from;
            faulty.plan.set(Settings::default());
            remote.upload(&job.store, 3).unwrap().removed.unwrap();
            let (named, there) = named_and_there(&engine, &*inner, &remote, "p");
            assert_eq!(named, there, "request {at}, done: {first_is_done}");
        }
        if is_over {
            break;
        }
        at += 1;
    }
    assert!(at > 8, "{at} requests are too few to say anything");
    job.close();
}
