//! The engine, and parts of its memory budget.

use crate::arguments::{call, give, give_optional, options, outside_callback, place, place_optional};
use crate::types::*;
use alluvium::{Engine, EngineOptions, MemoryShare, PageCache, StorageChoice};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Misuse, Object, Status};
use std::time::Duration;

/// How long closing waits for the threads of an engine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A year: for longer nobody has to count.
const PATIENCE_MS_MAX: u64 = 365 * 24 * 3_600 * 1_000;

/// What an engine's handle stands for.
#[derive(Debug)]
pub struct EngineObject(pub(crate) Engine);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for EngineObject {
    const KIND: Kind = Kind::Engine;
    type Mode = Many;
}

/// What a share's handle stands for.
#[derive(Debug)]
pub struct ShareObject(pub(crate) MemoryShare);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for ShareObject {
    const KIND: Kind = Kind::Share;
    type Mode = Many;
}

/// io_uring where the machine has it, else `ALLUVIUM_STORAGE_POSIX`.
pub const ALLUVIUM_STORAGE_AUTO: u32 = 0;
/// io_uring, or an error.
pub const ALLUVIUM_STORAGE_IO_URING: u32 = 1;
/// Reads and writes of the operating system, in threads of their own.
pub const ALLUVIUM_STORAGE_POSIX: u32 = 2;

/// Everything of segments goes through the system's page cache.
pub const ALLUVIUM_DIRECT_IO_OFF: u32 = 0;
/// Nothing of segments does, where the file system allows that.
pub const ALLUVIUM_DIRECT_IO_ALL: u32 = 1;
/// Reads of a block that a caller waits for do; writes, batches of reads, scans and merges don't.
pub const ALLUVIUM_DIRECT_IO_BUT_SINGLE_READS: u32 = 2;

/// Options of an engine. `alluvium_engine_options_init` fills in what is usual.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_engine_options {
    /// The length of this in bytes, as the program knows it.
    pub size: u32,
    /// Background threads for flushing and compaction: 1 to 64 (2).
    pub threads: u32,
    /// The hard limit on what all stores together keep in memory, in bytes: 4 MiB to 32 GiB (256 MiB).
    pub memory_budget_bytes: u64,
    /// Up to where the budget can be raised later, in bytes; 0: not (0).
    pub memory_ceiling_bytes: u64,
    /// `ALLUVIUM_STORAGE_...` (`ALLUVIUM_STORAGE_AUTO`).
    pub storage: u32,
    /// `ALLUVIUM_DIRECT_IO_...` (`ALLUVIUM_DIRECT_IO_BUT_SINGLE_READS`).
    pub direct_io: u32,
}

fn defaults() -> alluvium_engine_options {
    let usual = EngineOptions::default();
    alluvium_engine_options {
        size: size_of::<alluvium_engine_options>() as u32,
        threads: usual.threads as u32,
        memory_budget_bytes: usual.memory_budget_bytes as u64,
        memory_ceiling_bytes: usual.memory_ceiling_bytes as u64,
        storage: ALLUVIUM_STORAGE_AUTO,
        direct_io: ALLUVIUM_DIRECT_IO_BUT_SINGLE_READS,
    }
}

/// Fills in what is usual.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_engine_options_init(options: *mut alluvium_engine_options) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(std::ptr::null_mut(), || {
            give(options, "options", defaults())?;
            Ok(Status::Ok)
        })
    }
}

fn engine_options(given: &alluvium_engine_options) -> Result<EngineOptions, Misuse> {
    let storage = match given.storage {
        ALLUVIUM_STORAGE_AUTO => StorageChoice::Auto,
        ALLUVIUM_STORAGE_IO_URING => StorageChoice::Uring,
        ALLUVIUM_STORAGE_POSIX => StorageChoice::Posix,
        _ => return Err(Misuse::Argument("an unknown storage")),
    };
    let page_cache = match given.direct_io {
        ALLUVIUM_DIRECT_IO_OFF => PageCache::Everything,
        ALLUVIUM_DIRECT_IO_ALL => PageCache::Nothing,
        ALLUVIUM_DIRECT_IO_BUT_SINGLE_READS => PageCache::SingleReads,
        _ => return Err(Misuse::Argument("an unknown use of direct I/O")),
    };
    Ok(EngineOptions {
        memory_budget_bytes: bytes(given.memory_budget_bytes)?,
        memory_ceiling_bytes: bytes(given.memory_ceiling_bytes)?,
        threads: given.threads as usize,
        storage,
        page_cache,
    })
}

pub(crate) fn bytes(number: u64) -> Result<usize, Misuse> {
    usize::try_from(number).map_err(|_| Misuse::Argument("more bytes than there are addresses"))
}

/// Starts an engine. Null for the usual options. Close it with `alluvium_engine_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_engine_open(
    options_: *const alluvium_engine_options,
    engine: *mut alluvium_engine,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            outside_callback()?;
            place(engine, "engine")?;
            let opened = Engine::open(engine_options(&options(options_, defaults(), &[])?)?)?;
            give(engine, "engine", alluvium_engine { id: handles::insert(EngineObject(opened), 0)? })?;
            Ok(Status::Ok)
        })
    }
}

/// Takes an engine's handle, and says whether its threads ended in time. Where they didn't, as something waits for a disk that doesn't answer or
/// a callback that doesn't return, they do later.
fn close(engine: Handle, patience: Duration) -> Result<bool, Misuse> {
    let (object, _parent) = handles::remove::<EngineObject>(engine)?.into_parts();
    Ok(object.0.close_within(patience))
}

/// Closes an engine, and waits up to a minute for the end of its threads: `ALLUVIUM_HAS_CHILDREN` while a store or share of it is open. With
/// `ALLUVIUM_OK` they have ended: no callback is called any more, all contexts were let go, and the library can be unloaded. With
/// `ALLUVIUM_PENDING` something holds one of them for longer, such as a disk that doesn't answer: the engine is closed all the same, but the library mustn't be
/// unloaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_engine_close(engine: alluvium_engine, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(if close(engine.id, PATIENCE)? { Status::Ok } else { Status::Pending })) }
}

/// The same, but waits up to `timeout_ms`, and says whether all threads have ended (may be null): 0 or 1. Where not, they do later, and the library
/// mustn't be unloaded before; the engine is closed all the same (`ALLUVIUM_OK`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_engine_close_within(
    engine: alluvium_engine,
    timeout_ms: u64,
    ended: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place_optional(ended, "ended")?;
            let patience = Duration::from_millis(timeout_ms.min(PATIENCE_MS_MAX));
            give_optional(ended, "ended", u32::from(close(engine.id, patience)?))?;
            Ok(Status::Ok)
        })
    }
}

/// The memory budget and how much of it is in use, in bytes. Either may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_engine_memory(
    engine: alluvium_engine,
    budget_bytes: *mut u64,
    used_bytes: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let engine = handles::get::<EngineObject>(engine.id)?;
            if !budget_bytes.is_null() {
                give(budget_bytes, "budget_bytes", engine.0.budget_bytes() as u64)?;
            }
            if !used_bytes.is_null() {
                give(used_bytes, "used_bytes", engine.0.used_bytes() as u64)?;
            }
            Ok(Status::Ok)
        })
    }
}

/// Changes the memory budget: from 4 MiB up to the options' ceiling.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_engine_set_budget(
    engine: alluvium_engine,
    budget_bytes: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<EngineObject>(engine.id)?.0.set_budget_bytes(bytes(budget_bytes)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Makes a part of the budget for a group of stores: they take no more than `limit_bytes` together, and nobody else takes of
/// `minimum_bytes`. Close it with `alluvium_share_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_share_open(
    engine: alluvium_engine,
    minimum_bytes: u64,
    limit_bytes: u64,
    share: *mut alluvium_share,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(share, "share")?;
            let opened = handles::get::<EngineObject>(engine.id)?;
            let opened = opened.0.memory_share(bytes(minimum_bytes)?, bytes(limit_bytes)?)?;
            give(share, "share", alluvium_share { id: handles::insert(ShareObject(opened), engine.id)? })?;
            Ok(Status::Ok)
        })
    }
}

/// How much the stores of a share have taken, in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_share_used(
    share: alluvium_share,
    used_bytes: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let used = handles::get::<ShareObject>(share.id)?.0.used_bytes();
            give(used_bytes, "used_bytes", used as u64)?;
            Ok(Status::Ok)
        })
    }
}

/// Changes a share's limit, in bytes. A smaller one takes effect as writers work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_share_set_limit(
    share: alluvium_share,
    limit_bytes: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<ShareObject>(share.id)?.0.set_limit_bytes(bytes(limit_bytes)?);
            Ok(Status::Ok)
        })
    }
}

/// Closes a share. Stores that live in it go on to; the part is given back when the last of them is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_share_close(share: alluvium_share, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<ShareObject>(share.id).map(|_| Status::Ok)?)) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    /// Who holds the engine as a thread does that is still at something keeps it from having ended, and from nothing else.
    #[test]
    fn closing_says_whether_the_threads_have_ended() {
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..EngineOptions::default() }).unwrap();
        let insert = |engine| handles::insert(EngineObject(engine), 0).unwrap();
        let held = insert(engine.clone());
        assert_eq!(close(held, Duration::from_millis(1)), Ok(false));
        assert_eq!(close(held, Duration::from_millis(1)), Err(Misuse::Handle));
        assert_eq!(close(insert(engine), PATIENCE), Ok(true));
    }
}
