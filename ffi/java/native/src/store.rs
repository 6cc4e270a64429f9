//! Stores: opening, closing, compacting, counting.

use crate::engine::{EngineObject, ShareObject};
use crate::entry::{Outcome, Place, answer, bytes, natives};
use crate::pacing;
use crate::recovery;
use crate::wire::Request;
use alluvium::{ChangelogOptions, CheckpointSource, Durability, History, Retention, Store, StoreOptions};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Failure, Kind, Misuse, Object};
use jni::sys::{jint, jlong};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a store's handle stands for.
#[derive(Debug)]
pub struct StoreObject {
    pub(crate) store: Store,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for StoreObject {
    const KIND: Kind = Kind::Store;
    type Mode = Many;
}

impl StoreObject {
    /// Closes the store.
    pub fn close(self) -> Outcome {
        // Dropping closes it once more, which says the same.
        self.store.clone().close()?;
        Ok(0)
    }
}

impl Drop for StoreObject {
    fn drop(&mut self) {
        // What fails here had failed before, and told whoever asked.
        let _told = self.store.clone().close();
    }
}

fn store_options(request: &mut Request<'_>) -> Result<StoreOptions, Failure> {
    let key_groups = request.int()?;
    let key_groups = u32::try_from(key_groups).map_err(|_| Misuse::Argument("a number of key groups below 0"))?;
    let range = request.range()?;
    let durability = match request.int()? {
        0 => Durability::Checkpoint,
        1 => Durability::Host,
        2 => Durability::Changelog,
        _ => return Err(Misuse::Argument("an unknown durability").into()),
    };
    let retained_checkpoints = request.count()?;
    let (by_host, unconfirmed_max) = (request.flag()?, request.count()?);
    let retention = if by_host { Retention::Host { unconfirmed_max } } else { Retention::Newest };
    let (compress, fetch, transactional) = (request.flag()?, request.flag()?, request.flag()?);
    let (snapshots_max, staged_bytes_max) = (request.count()?, request.count()?);
    let (minimum, share) = (request.count()?, request.long()? as Handle);
    let memory_share = match share {
        0 => None,
        share => Some(handles::get::<ShareObject>(share)?.0.clone()),
    };
    let (has_seed, seed) = (request.flag()?, request.long()? as u64);
    let delay = Duration::from_micros(request.count()? as u64);
    let (bytes, file_bytes) = (request.count()?, request.count()? as u64);
    let whole_replay_bytes = request.count()? as u64;
    let changelog = ChangelogOptions { delay, bytes, file_bytes, whole_replay_bytes };
    let history = History { checkpoints: request.count()? };
    let checkpoint_policy = pacing::policy(request)?;
    let (hot_list_bytes, warm_up) = (request.count()?, recovery::warm_up(request)?);
    Ok(StoreOptions {
        key_groups,
        range,
        durability,
        changelog,
        history,
        checkpoint_policy,
        retained_checkpoints,
        retention,
        compress,
        memory_share,
        memory_minimum_bytes: minimum,
        snapshots_max,
        fetch,
        sink: None,
        transactional,
        staged_bytes_max,
        hot_list_bytes,
        warm_up,
        hash_seed: has_seed.then_some(seed),
    })
}

fn source(request: &mut Request<'_>) -> Result<CheckpointSource, Misuse> {
    let (directory, has_label, label) = (request.text()?, request.flag()?, request.long()?);
    Ok(CheckpointSource { directory: PathBuf::from(directory), label: has_label.then_some(label as u64) })
}

natives! {
    /// Opens a store: how (0 create, 1 open, 2 open or create, 3 at a checkpoint, 4 restore, 5 restore absent), path, options, and then
    /// what that way needs.
    fn storeOpen(engine: jlong, out: jlong, address: jlong, len: jint) {
        let place = Place::at(out)?;
        let mut request = Request(bytes(address, len)?);
        let (how, path) = (request.int()?, Path::new(request.text()?));
        let options = store_options(&mut request)?;
        let object = handles::get::<EngineObject>(engine as Handle)?;
        let engine_ = object.engine()?;
        let store = match how {
            0 => Store::create(engine_, path, options)?,
            1 => Store::open(engine_, path, options)?,
            2 => Store::open_or_create(engine_, path, options)?,
            3 => Store::open_checkpoint(engine_, path, request.long()? as u64, options)?,
            4 => Store::restore(engine_, path, &request.list(source)?, options)?,
            5 => Store::restore_absent(engine_, path, &request.list(|request| request.bytes())?, options)?,
            _ => return Err(Misuse::Argument("an unknown way to open a store").into()),
        };
        place.insert(StoreObject { store }, engine as Handle)
    }

    /// The key group of a key's hash.
    fn storeGroupOf(store: jlong, address: jlong, len: jint) {
        let key = bytes(address, len)?;
        Ok(handles::get::<StoreObject>(store as Handle)?.store.key(key).group.0.into())
    }

    /// A number of a store's: key groups of the job (0), its first (1) and last (2), states (3), bytes staged (4).
    fn storeNumber(store: jlong, which: jint) {
        let object = handles::get::<StoreObject>(store as Handle)?;
        Ok(match which {
            0 => object.store.key_groups().into(),
            1 => object.store.range().first().into(),
            2 => object.store.range().last().into(),
            3 => object.store.states().len() as jlong,
            4 => object.store.staged_bytes() as jlong,
            _ => return Err(Misuse::Argument("an unknown number of a store").into()),
        })
    }

    /// Merges all that can be merged now.
    fn storeCompact(store: jlong) {
        handles::get::<StoreObject>(store as Handle)?.store.compact()?;
        Ok(0)
    }

    /// What a store counted, as text, with labels: names and values in turns.
    fn storeMetrics(store: jlong, address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut request = Request(bytes(address, len)?);
        let labels = request.list(|request| Ok((request.text()?, request.text()?)))?;
        let text = handles::get::<StoreObject>(store as Handle)?.store.metrics().prometheus(&labels);
        answer(text.into_bytes(), into, capacity)
    }
}
