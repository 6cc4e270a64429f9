//! The engine, and parts of its memory budget.

use crate::entry::{Outcome, Place, count, natives};
use alluvium::{Engine, EngineOptions, MemoryShare, PageCache, StorageChoice};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Misuse, Object};
use jni::sys::{jint, jlong};
use std::time::Duration;

/// How long closing waits for threads that are at something for a store that was closed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an engine's handle stands for.
#[derive(Debug)]
pub struct EngineObject(Option<Engine>);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for EngineObject {
    const KIND: Kind = Kind::Engine;
    type Mode = Many;
}

impl EngineObject {
    /// The engine, unless it is being closed.
    pub fn engine(&self) -> Result<&Engine, Misuse> {
        self.0.as_ref().ok_or(Misuse::Handle)
    }

    /// Ends its threads.
    pub fn close(mut self) -> Outcome {
        self.end();
        Ok(0)
    }

    fn end(&mut self) {
        if let Some(engine) = self.0.take() {
            // Where they don't end in time they do later.
            let _ended = engine.close_within(PATIENCE);
        }
    }
}

impl Drop for EngineObject {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a share's handle stands for.
#[derive(Debug)]
pub struct ShareObject(pub(crate) MemoryShare);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for ShareObject {
    const KIND: Kind = Kind::Share;
    type Mode = Many;
}

natives! {
    /// Starts an engine.
    fn engineOpen(out: jlong, threads: jint, budget: jlong, ceiling: jlong, storage: jint, cache: jint) {
        let place = Place::at(out)?;
        let storage = match storage {
            0 => StorageChoice::Auto,
            1 => StorageChoice::Uring,
            2 => StorageChoice::Posix,
            _ => return Err(Misuse::Argument("an unknown storage").into()),
        };
        let page_cache = match cache {
            0 => PageCache::Nothing,
            1 => PageCache::SingleReads,
            2 => PageCache::Everything,
            _ => return Err(Misuse::Argument("an unknown use of the page cache").into()),
        };
        let engine = Engine::open(EngineOptions {
            memory_budget_bytes: count(budget)?,
            memory_ceiling_bytes: count(ceiling)?,
            threads: count(threads.into())?,
            storage,
            page_cache,
        })?;
        place.insert(EngineObject(Some(engine)), 0)
    }

    /// The memory budget in bytes.
    fn engineBudget(engine: jlong) {
        Ok(handles::get::<EngineObject>(engine as Handle)?.engine()?.budget_bytes() as jlong)
    }

    /// How much of it is in use.
    fn engineUsed(engine: jlong) {
        Ok(handles::get::<EngineObject>(engine as Handle)?.engine()?.used_bytes() as jlong)
    }

    /// Changes it.
    fn engineSetBudget(engine: jlong, bytes: jlong) {
        handles::get::<EngineObject>(engine as Handle)?.engine()?.set_budget_bytes(count(bytes)?)?;
        Ok(0)
    }

    /// Makes a part of it.
    fn shareOpen(engine: jlong, out: jlong, minimum: jlong, limit: jlong) {
        let place = Place::at(out)?;
        let object = handles::get::<EngineObject>(engine as Handle)?;
        let share = object.engine()?.memory_share(count(minimum)?, count(limit)?)?;
        place.insert(ShareObject(share), engine as Handle)
    }

    /// How much the stores of a part have taken, in bytes.
    fn shareUsed(share: jlong) {
        Ok(handles::get::<ShareObject>(share as Handle)?.0.used_bytes() as jlong)
    }

    /// Changes a part's limit, in bytes.
    fn shareSetLimit(share: jlong, limit: jlong) {
        handles::get::<ShareObject>(share as Handle)?.0.set_limit_bytes(count(limit)?);
        Ok(0)
    }
}
