//! Objects that are missing, cut or altered: an error that names them, never a wrong answer.

use super::rng::Rng;
use super::world::{GROUPS, Job, Model, all, damage, engine, objects, options, over, quick};
use alluvium::platform::storage::Fault;
use alluvium::remote::object_store::memory::InMemory;
use alluvium::remote::{Remote, RemoteError, RemoteFault, RestoreOptions};
use alluvium::{Class, Engine, Error};
use std::sync::Arc;
use tempfile::TempDir;

struct Scene {
    directory: TempDir,
    engine: Engine,
    inner: Arc<InMemory>,
    remote: Remote,
    models: Vec<(u64, Model)>,
}

fn scene(seed: u64) -> Scene {
    let (directory, engine, mut rng) = (tempfile::tempdir().unwrap(), engine(), Rng::new(seed));
    let inner = Arc::new(InMemory::new());
    let remote = over(&inner, "p", quick());
    let mut job = Job::create(&engine, &directory.path().join("a"), all());
    job.fill(&mut rng, 6 << 20);
    let mut models = Vec::new();
    for label in 1..3 {
        job.work(&mut rng, 400, 300);
        models.push((label, job.checkpoint(label)));
        remote.upload(&job.store, label).unwrap();
    }
    job.close();
    Scene { directory, engine, inner, remote, models }
}

/// The largest segment.
fn victim(scene: &Scene) -> (String, u64) {
    objects(&*scene.inner, "p/segments").into_iter().max_by_key(|(_, bytes)| *bytes).unwrap()
}

#[test]
fn a_segment_that_is_missing_or_cut_is_told_before_anything_is_restored() {
    for cut in [false, true] {
        let scene = scene(21);
        let (object, _) = victim(&scene);
        damage(&scene.inner, &object, |bytes| bytes.truncate(if cut { bytes.len() - 1 } else { 0 }));
        let path = scene.directory.path().join("b");
        let how = RestoreOptions::default();
        let error = scene.remote.restore(&scene.engine, &path, None, options(all()), how).unwrap_err();
        assert_eq!(error.fault(), Some(if cut { RemoteFault::Length } else { RemoteFault::Missing }));
        assert_eq!(error.class(), Class::Corrupt);
        assert!(error.to_string().contains(&object), "{error}");
        assert!(!path.exists());
    }
}

/// While it is being restored: the listing was right.
#[test]
fn a_segment_that_is_lost_or_altered_meanwhile_is_never_read_wrong() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, Fault); 5] = [
        (|bytes| bytes.clear(), Fault::Missing),
        (|bytes| bytes.truncate(bytes.len() / 2), Fault::Length),
        (|bytes| bytes.push(0), Fault::Length),
        (|bytes| bytes.iter_mut().step_by(100_000).for_each(|byte| *byte ^= 1), Fault::Corrupt),
        (|bytes| bytes.fill(7), Fault::Corrupt),
    ];
    for (change, fault) in changes {
        let scene = scene(22);
        let how = RestoreOptions { limit_bytes_per_s: Some(1), concurrency: 1, ..RestoreOptions::default() };
        let path = scene.directory.path().join("b");
        let (object, _) = victim(&scene);
        let (store, restoring) = scene.remote.restore(&scene.engine, &path, None, options(all()), how).unwrap();
        damage(&scene.inner, &object, change);
        let mut job = Job::adopt(store, scene.models[1].1.clone());
        let mut refused = 0;
        for group in 0..GROUPS {
            for number in (0..300).step_by(7) {
                match job.get(group, number) {
                    Ok(found) => assert_eq!(found.as_ref(), job.model.get(&(group, number))),
                    Err(Error::Storage(error)) => {
                        assert_eq!(error.fault, fault, "{error}");
                        assert!(error.to_string().contains(&object), "{error}");
                        assert_eq!(Error::Storage(error).class(), Class::Corrupt);
                        refused += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert!(refused > 0, "{fault:?}: nothing was read of it");
        restoring.set_limit_bytes_per_s(None);
        let error = restoring.wait().unwrap_err();
        assert!(matches!(&error, RemoteError::Object { object: found, .. } if found.contains(&object)), "{error}");
        assert_eq!(error.class(), Class::Corrupt);
        assert!(restoring.progress().problem.is_some());
    }
}

#[test]
fn a_checkpoint_that_is_damaged_hides_no_other_and_nothing_is_deleted_then() {
    for cut in [false, true] {
        let scene = scene(23);
        let newest = objects(&*scene.inner, "p/checkpoints").into_keys().next_back().unwrap();
        damage(&scene.inner, &newest, |bytes| {
            let at = bytes.len() / 2;
            if cut { bytes.truncate(at) } else { bytes[at] ^= 0x80 }
        });
        let path = |name: &str| scene.directory.path().join(name);
        let how = RestoreOptions::default;
        let error = scene.remote.restore(&scene.engine, &path("b"), None, options(all()), how()).unwrap_err();
        assert_eq!(error.fault(), Some(if cut { RemoteFault::Length } else { RemoteFault::Corrupt }), "{error}");
        assert!(error.to_string().contains(&newest), "{error}");
        let listed = scene.remote.list().unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!((listed[0].label(), listed[1].head.is_err()), (Some(1), cut));
        // The older one, by the caller's choice.
        let (mut job, restoring) = Job::restore(&scene.engine, &path("c"), &scene.remote, Some(1), &scene.models[0].1);
        restoring.wait().unwrap();
        job.check();
        // It goes on uploading there. What the damaged one names can't be told, so nothing goes.
        let before = objects(&*scene.inner, "p/segments");
        let remote = over(&scene.inner, "p", quick());
        job.work(&mut Rng::new(1), 300, 300);
        for label in 5..8 {
            job.checkpoint(label);
            let uploaded = remote.upload(&job.store, label).unwrap();
            let error = uploaded.removed.unwrap_err();
            assert!(error.to_string().contains(&newest), "{error}");
        }
        let after = objects(&*scene.inner, "p/segments");
        assert!(before.keys().all(|name| after.contains_key(name)));
        let (mut again, _) = Job::restore(&scene.engine, &path("d"), &remote, None, &job.model);
        again.check();
    }
}

#[test]
fn a_foreign_object_in_a_checkpoints_place_is_told() {
    let scene = scene(24);
    let newest = objects(&*scene.inner, "p/checkpoints").into_keys().next_back().unwrap();
    damage(&scene.inner, &newest, |bytes| *bytes = b"<html>503 Slow Down</html>".to_vec());
    let path = scene.directory.path().join("b");
    let how = RestoreOptions::default();
    let error = scene.remote.restore(&scene.engine, &path, None, options(all()), how).unwrap_err();
    assert_eq!(error.fault(), Some(RemoteFault::Foreign), "{error}");
    // A swapped one is as intact as any.
    let oldest = objects(&*scene.inner, "p/checkpoints").into_keys().next().unwrap();
    let mut other = Vec::new();
    damage(&scene.inner, &oldest, |bytes| other.clone_from(bytes));
    damage(&scene.inner, &newest, |bytes| *bytes = other);
    let error =
        scene.remote.restore(&scene.engine, &path, None, options(all()), RestoreOptions::default()).unwrap_err();
    assert_eq!(error.fault(), Some(RemoteFault::Corrupt), "{error}");
}

/// What arrives in the remote is not what was sent.
#[test]
fn an_upload_that_arrives_altered_is_seen() {
    let scene = scene(25);
    let (object, _) = victim(&scene);
    let remote = over(&scene.inner, "p", quick());
    damage(&scene.inner, &object, |bytes| bytes.truncate(9));
    // A segment that is there with another length is uploaded again.
    let store = alluvium::Store::open(&scene.engine, &scene.directory.path().join("a"), options(all())).unwrap();
    let mut job = Job::adopt(store, scene.models[1].1.clone());
    job.change(0, 1, Some(b"new".to_vec()));
    let uploaded = job.upload(&remote, 9);
    assert!(uploaded.new_segments >= 2, "{uploaded:?}");
    let (mut again, restoring) =
        Job::restore(&scene.engine, &scene.directory.path().join("b"), &remote, None, &job.model);
    restoring.wait().unwrap();
    again.check();
}
