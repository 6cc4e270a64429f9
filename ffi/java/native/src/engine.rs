//! The engine, and parts of its memory budget.

use crate::entry::{Outcome, Place, count, natives};
use crate::upcall;
use alluvium::{Engine, EngineOptions, MemoryShare, PageCache, StorageChoice};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Misuse, Object};
use jni::sys::{jint, jlong};
use std::time::Duration;

/// How long closing waits for threads that are at something for a store that was closed.
const PATIENCE: Duration = Duration::from_secs(30);
/// A year: for longer nobody has to count.
const PATIENCE_MS_MAX: u64 = 365 * 24 * 3_600 * 1_000;

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

    /// Waits for the end of its threads, and says whether they have ended. Where not, they do later.
    fn end(&mut self, patience: Duration) -> bool {
        self.0.take().is_none_or(|engine| engine.close_within(patience))
    }
}

impl Drop for EngineObject {
    fn drop(&mut self) {
        let _ended = self.end(PATIENCE);
    }
}

fn close_within(engine: Handle, patience: Duration) -> Outcome {
    let (mut object, _parent) = handles::remove::<EngineObject>(engine)?.into_parts();
    let ended = object.end(patience);
    // Of threads that have ended: there is no more to come then.
    upcall::let_go();
    Ok(ended.into())
}

/// Closes an engine, and says whether its threads have ended: 0 or 1.
pub fn close(engine: Handle) -> Outcome {
    close_within(engine, PATIENCE)
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

    /// Closes it, waits for the end of its threads up to so many ms, and says whether they have ended: 0 or 1.
    fn engineCloseWithin(engine: jlong, patience_ms: jlong) {
        let patience = Duration::from_millis((count(patience_ms)? as u64).min(PATIENCE_MS_MAX));
        close_within(engine as Handle, patience)
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use alluvium_ffi::{Failure, Status};

    /// Who holds the engine as a thread does that is still at something keeps it from having ended, and from nothing else.
    #[test]
    fn closing_says_whether_the_threads_have_ended() {
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..EngineOptions::default() }).unwrap();
        let insert = |engine| handles::insert(EngineObject(Some(engine)), 0).unwrap();
        let status = |outcome: Outcome| outcome.map_err(|failure: Failure| failure.status());
        let held = insert(engine.clone());
        assert_eq!(status(close_within(held, Duration::from_millis(1))), Ok(0));
        assert_eq!(status(close_within(held, Duration::from_millis(1))), Err(Status::Handle));
        assert_eq!(status(close(insert(engine))), Ok(1));
    }
}
