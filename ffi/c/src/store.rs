//! Stores: opening, closing, compacting, counting.

use crate::arguments::{Context, array, bytes, call, flag, give, long_bytes, options, place, range, range_out, text};
use crate::buffer;
use crate::engine::{self, EngineObject, ShareObject};
use crate::pacing;
use crate::recovery::{self, alluvium_warm_part};
use crate::types::*;
use alluvium::{ChangelogOptions, CheckpointSource, Durability, History, Retention, SegmentSink, Store, StoreOptions};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};
use std::ffi::{CString, c_char};
use std::fmt;
use std::mem::offset_of;
use std::path::Path;
use std::sync::Arc;
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

/// A checkpoint is complete when its files are durable on this machine's disk.
pub const ALLUVIUM_DURABILITY_CHECKPOINT: u32 = 0;
/// The host copies each checkpoint's files away itself: nothing is synced.
pub const ALLUVIUM_DURABILITY_HOST: u32 = 1;
/// As `ALLUVIUM_DURABILITY_CHECKPOINT`, and what is committed between two checkpoints lasts too: what changes is appended to a changelog, which
/// is replayed when the store is opened again.
pub const ALLUVIUM_DURABILITY_CHANGELOG: u32 = 2;

/// Options of a store. `alluvium_store_options_init` fills in what is usual.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_store_options {
    /// The length of this in bytes, as the program knows it.
    pub size: u32,
    /// How many key groups the whole job has: 1 to 65,536 (128). Whoever sets it sets `range`, too. Fixed when the store is created:
    /// `ALLUVIUM_OPTIONS` where it is opened with another number.
    pub key_groups: u32,
    /// The key groups of this store, which may have a part of the job's (0 to 127, whatever `key_groups` is). Fixed when the store is created.
    pub range: alluvium_range,
    /// `ALLUVIUM_DURABILITY_...` (`ALLUVIUM_DURABILITY_CHECKPOINT`).
    pub durability: u32,
    /// How many of the newest checkpoints are kept (1).
    pub retained_checkpoints: u32,
    /// Whether the host says what became of each checkpoint (`alluvium_store_confirm` and so on): 0 or 1 (0).
    pub host_retention: u32,
    /// With `host_retention`: at most so many that it said nothing of are kept (1,024).
    pub unconfirmed_max: u32,
    /// Whether segments are compressed where it pays: 0 or 1 (1).
    pub compress: u32,
    /// How many snapshots may live at once (16).
    pub snapshots_max: u32,
    /// Whether segments that aren't in the directory are asked of the host: 0 or 1 (0).
    pub fetch: u32,
    /// Whether what is written is staged until it is committed: 0 or 1 (0).
    pub transactional: u32,
    /// How much each writer may have staged, in bytes, about (no limit).
    pub staged_bytes_max: u64,
    /// The part of the budget that the store lives in; 0: the whole.
    pub share: alluvium_share,
    /// What no other store takes of that memory, in bytes (0).
    pub memory_minimum_bytes: u64,
    /// Where the bytes of segments go while they are written, beside the disk; null: nowhere. It is copied, and its context the
    /// library's from the call on, whatever that comes to, unless it is `ALLUVIUM_ABI`.
    pub sink: *const alluvium_segment_sink,
    /// The seed of the store's hashes; null draws one. Stores that are to be merged by rescaling may share one.
    pub hash_seed: *const u64,
    /// With a changelog: how long a commit may wait for others, of all stores of the engine, to be synced with them, in us (10,000).
    pub changelog_delay_us: u64,
    /// It waits no longer where so much is to be written, in bytes: at least 1 (1 MiB).
    pub changelog_bytes: u64,
    /// How long the changelog's files are, in bytes: 1 MiB to 1 TiB (64 MiB). Each takes its room when it is begun.
    pub changelog_file_bytes: u64,
    /// With a changelog: so many of the newest complete checkpoints are kept, whatever becomes of them otherwise, and the changelog from the
    /// oldest of them on, so that the past can be read by position; 0: none (0).
    pub history_checkpoints: u64,
    /// When checkpoints are due, for a host that asks (`alluvium_store_next_checkpoint`): `ALLUVIUM_POLICY_...` (`ALLUVIUM_POLICY_MANUAL`). The
    /// library takes none by itself.
    pub checkpoint_policy: u32,
    /// The interval, mean time between failures or recovery time that the policy is about, in us: at least 1, but for
    /// `ALLUVIUM_POLICY_MANUAL` (0).
    pub policy_time_us: u64,
    /// For `ALLUVIUM_POLICY_RECOVERY_TIME`: how many bytes may be written for each byte that is changed, the log, where there is one, and
    /// checkpoints with the compaction between them; at least 1 (`INFINITY`: any number).
    pub max_write_amplification: f64,
    /// How long the hot list is, in bytes, about: a file beside the checkpoints with the records that are used most, so that they return by
    /// sequential reads after a crash (`ALLUVIUM_WARM_UP_HOTTEST`). It is written anew now and then, after a checkpoint, and adds an eighth to
    /// what the store writes at most. 0: none is kept (0).
    pub hot_list_bytes: u64,
    /// What is brought into memory once the store and its writers are open: `ALLUVIUM_WARM_UP_...` (`ALLUVIUM_WARM_UP_FITTING`). The store
    /// serves meanwhile, and nobody waits for it. It ends where memory is nearly full.
    pub warm_up: u32,
    /// For `ALLUVIUM_WARM_UP_DECLARED`: the parts, each of which is brought in the order of key groups, states and keys.
    pub warm_parts: *const alluvium_warm_part,
    /// How many parts there are; 0: all that there is.
    pub warm_parts_len: usize,
    /// Up to how much changelog behind the newest checkpoint a recovery checks and replays as a whole before it serves, in bytes; of more, each key
    /// group is replayed when it is first asked for, and the others meanwhile (64 MiB). `UINT64_MAX`: always as a whole.
    pub whole_replay_bytes: u64,
}

fn defaults() -> alluvium_store_options {
    let usual = StoreOptions::default();
    alluvium_store_options {
        size: size_of::<alluvium_store_options>() as u32,
        key_groups: usual.key_groups,
        range: range_out(usual.range),
        durability: ALLUVIUM_DURABILITY_CHECKPOINT,
        retained_checkpoints: usual.retained_checkpoints as u32,
        host_retention: 0,
        unconfirmed_max: 1_024,
        compress: u32::from(usual.compress),
        snapshots_max: usual.snapshots_max as u32,
        fetch: u32::from(usual.fetch),
        transactional: u32::from(usual.transactional),
        staged_bytes_max: u64::MAX,
        share: alluvium_share { id: 0 },
        memory_minimum_bytes: 0,
        sink: std::ptr::null(),
        hash_seed: std::ptr::null(),
        changelog_delay_us: u64::try_from(usual.changelog.delay.as_micros()).unwrap_or(u64::MAX),
        changelog_bytes: usual.changelog.bytes as u64,
        changelog_file_bytes: usual.changelog.file_bytes,
        history_checkpoints: usual.history.checkpoints as u64,
        checkpoint_policy: pacing::ALLUVIUM_POLICY_MANUAL,
        policy_time_us: 0,
        max_write_amplification: f64::INFINITY,
        hot_list_bytes: usual.hot_list_bytes as u64,
        warm_up: recovery::ALLUVIUM_WARM_UP_FITTING,
        warm_parts: std::ptr::null(),
        warm_parts_len: 0,
        whole_replay_bytes: usual.changelog.whole_replay_bytes,
    }
}

/// Fills in what is usual.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_options_init(options: *mut alluvium_store_options) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(std::ptr::null_mut(), || {
            give(options, "options", defaults())?;
            Ok(Status::Ok)
        })
    }
}

/// A host's sink.
struct HostSink {
    functions: alluvium_segment_sink,
    context: Context,
}

// SAFETY: the header says that any thread may use the context.
unsafe impl Send for HostSink {}
// SAFETY: as above.
unsafe impl Sync for HostSink {}

impl fmt::Debug for HostSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostSink")
    }
}

impl SegmentSink for HostSink {
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) {
        let (Some(write), Ok(name)) = (self.functions.write, CString::new(name)) else { return };
        // SAFETY: the host's function with what its type says.
        callback(|| unsafe { write(self.context.pointer, name.as_ptr(), offset, bytes.as_ptr(), bytes.len()) });
    }

    fn complete(&self, name: &str, len: u64) {
        let (Some(complete), Ok(name)) = (self.functions.complete, CString::new(name)) else { return };
        // SAFETY: as above.
        callback(|| unsafe { complete(self.context.pointer, name.as_ptr(), len) });
    }

    fn abandon(&self, name: &str) {
        let (Some(abandon), Ok(name)) = (self.functions.abandon, CString::new(name)) else { return };
        // SAFETY: as above.
        callback(|| unsafe { abandon(self.context.pointer, name.as_ptr()) });
    }
}

/// The lengths that a store's options had before fields were added.
const SIZES_BEFORE: [usize; 6] = [
    offset_of!(alluvium_store_options, hash_seed),
    offset_of!(alluvium_store_options, changelog_delay_us),
    offset_of!(alluvium_store_options, history_checkpoints),
    offset_of!(alluvium_store_options, checkpoint_policy),
    offset_of!(alluvium_store_options, hot_list_bytes),
    offset_of!(alluvium_store_options, whole_replay_bytes),
];

unsafe fn store_options(pointer: *const alluvium_store_options) -> Result<StoreOptions, Failure> {
    // SAFETY: the caller's options.
    let given = unsafe { options(pointer, defaults(), &SIZES_BEFORE) }?;
    let sink = if given.sink.is_null() {
        None
    } else {
        // SAFETY: the caller's sink.
        let functions = *unsafe { crate::arguments::one(given.sink, "sink") }?;
        let context = Context::new(functions.context, functions.release);
        Some(Arc::new(HostSink { functions, context }) as Arc<dyn SegmentSink>)
    };
    let hash_seed = match given.hash_seed.is_null() {
        true => None,
        // SAFETY: the caller's seed.
        false => Some(*unsafe { crate::arguments::one(given.hash_seed, "hash_seed") }?),
    };
    let share = match given.share.id {
        0 => None,
        id => Some(handles::get::<ShareObject>(id)?.0.clone()),
    };
    Ok(StoreOptions {
        key_groups: given.key_groups,
        range: range(given.range)?,
        durability: match given.durability {
            ALLUVIUM_DURABILITY_CHECKPOINT => Durability::Checkpoint,
            ALLUVIUM_DURABILITY_HOST => Durability::Host,
            ALLUVIUM_DURABILITY_CHANGELOG => Durability::Changelog,
            _ => return Err(Misuse::Argument("an unknown durability").into()),
        },
        changelog: ChangelogOptions {
            delay: Duration::from_micros(given.changelog_delay_us),
            bytes: usize::try_from(given.changelog_bytes).unwrap_or(usize::MAX),
            file_bytes: given.changelog_file_bytes,
            whole_replay_bytes: given.whole_replay_bytes,
        },
        history: History { checkpoints: usize::try_from(given.history_checkpoints).unwrap_or(usize::MAX) },
        checkpoint_policy: pacing::policy(&given)?,
        retained_checkpoints: given.retained_checkpoints as usize,
        retention: if flag(given.host_retention)? {
            Retention::Host { unconfirmed_max: given.unconfirmed_max as usize }
        } else {
            Retention::Newest
        },
        compress: flag(given.compress)?,
        memory_share: share,
        memory_minimum_bytes: engine::bytes(given.memory_minimum_bytes)?,
        snapshots_max: given.snapshots_max as usize,
        fetch: flag(given.fetch)?,
        sink,
        transactional: flag(given.transactional)?,
        staged_bytes_max: usize::try_from(given.staged_bytes_max).unwrap_or(usize::MAX),
        hot_list_bytes: usize::try_from(given.hot_list_bytes).unwrap_or(usize::MAX),
        // SAFETY: the caller's parts.
        warm_up: unsafe { recovery::warm_up(&given) }?,
        hash_seed,
    })
}

/// Opens a store by `open`, and leaves its handle.
unsafe fn open(
    engine: alluvium_engine,
    path: *const c_char,
    options: *const alluvium_store_options,
    store: *mut alluvium_store,
    error: *mut alluvium_error,
    open: impl FnOnce(&alluvium::Engine, &Path, StoreOptions) -> Result<Store, Failure>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            // First: what they hold is let go whatever comes.
            let options = store_options(options)?;
            place(store, "store")?;
            let object = handles::get::<EngineObject>(engine.id)?;
            let opened = open(&object.0, Path::new(text(path, "path")?), options)?;
            give(store, "store", alluvium_store { id: insert(opened, engine.id)? })?;
            Ok(Status::Ok)
        })
    }
}

fn insert(store: Store, engine: Handle) -> Result<Handle, Misuse> {
    handles::insert(StoreObject { store }, engine)
}

/// Creates a store in a directory that has none (`ALLUVIUM_EXISTS` else); a missing one is made with its parents. Segments that a process left there
/// which died before its first checkpoint was complete are deleted. Null for the usual options. Close it with `alluvium_store_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_create(
    engine: alluvium_engine,
    path: *const c_char,
    options: *const alluvium_store_options,
    store: *mut alluvium_store,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(engine, path, options, store, error, |engine, path, options| Ok(Store::create(engine, path, options)?))
    }
}

/// Opens a store at its newest checkpoint, and at the last commit behind it that lasts where there is a changelog; a directory with neither is
/// refused (`ALLUVIUM_NO_CHECKPOINT`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_open(
    engine: alluvium_engine,
    path: *const c_char,
    options: *const alluvium_store_options,
    store: *mut alluvium_store,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(engine, path, options, store, error, |engine, path, options| Ok(Store::open(engine, path, options)?))
    }
}

/// As `alluvium_store_open`, or creates a store where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_open_or_create(
    engine: alluvium_engine,
    path: *const c_char,
    options: *const alluvium_store_options,
    store: *mut alluvium_store,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(engine, path, options, store, error, |engine, path, options| {
            Ok(Store::open_or_create(engine, path, options)?)
        })
    }
}

/// Opens a store at the checkpoint of this label in place of the newest: what was done after it is given up. Checkpoints that are younger stay on
/// disk only until the next one of this store is complete. With a changelog, what was committed after this checkpoint is void, and
/// `alluvium_store_open` doesn't find the younger ones any more. Whoever may want them back copies the directory first. `ALLUVIUM_CHECKPOINT` where
/// there is none of this label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_open_checkpoint(
    engine: alluvium_engine,
    path: *const c_char,
    label: u64,
    options: *const alluvium_store_options,
    store: *mut alluvium_store,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(engine, path, options, store, error, |engine, path, options| {
            Ok(Store::open_checkpoint(engine, path, label, options)?)
        })
    }
}

/// A checkpoint to restore from.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_source {
    /// The store's directory, or one that a checkpoint was exported to.
    pub directory: *const c_char,
    /// Whether `label` says which checkpoint: 0 or 1. Else it is the newest there.
    pub has_label: u32,
    /// The checkpoint's label.
    pub label: u64,
}

/// Makes a new store in `path` with the key groups of the options, from checkpoints that together cover them: one from one, several from
/// one, one from several. No data is read: segments are linked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_restore(
    engine: alluvium_engine,
    path: *const c_char,
    sources: *const alluvium_source,
    sources_len: usize,
    options: *const alluvium_store_options,
    store: *mut alluvium_store,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(engine, path, options, store, error, |engine, path, options| {
            let source = |source: &alluvium_source| {
                let directory = Path::new(text(source.directory, "a source's directory")?).to_owned();
                Ok(CheckpointSource { directory, label: flag(source.has_label)?.then_some(source.label) })
            };
            let sources = array(sources, sources_len)?.iter().map(source).collect::<Result<Vec<_>, Misuse>>()?;
            Ok(Store::restore(engine, path, &sources, options)?)
        })
    }
}

/// As `alluvium_store_restore`, from the manifests of checkpoints (`alluvium_files_manifest`) whose segments are elsewhere: it serves at
/// once, and what it needs is asked of the host (`alluvium_store_fetches`). Needs the option `fetch`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_restore_absent(
    engine: alluvium_engine,
    path: *const c_char,
    manifests: *const alluvium_slice,
    manifests_len: usize,
    options: *const alluvium_store_options,
    store: *mut alluvium_store,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(engine, path, options, store, error, |engine, path, options| {
            let manifests = array(manifests, manifests_len)?.iter().map(|&manifest| long_bytes(manifest));
            let manifests = manifests.collect::<Result<Vec<_>, Misuse>>()?;
            Ok(Store::restore_absent(engine, path, &manifests, options)?)
        })
    }
}

/// Waits for what is under way and closes a store: `ALLUVIUM_HAS_CHILDREN` while anything made from it is open, then nothing happens. What
/// was written after the last checkpoint is lost, with a changelog what was after the last commit. With any other failure than a misuse the store is closed, and had failed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_close(store: alluvium_store, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            // The engine isn't closed meanwhile.
            let (object, _parent) = handles::remove::<StoreObject>(store.id)?.into_parts();
            object.store.close()?;
            Ok(Status::Ok)
        })
    }
}

/// A store's key groups, and how many the whole job has. Either may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_key_groups(
    store: alluvium_store,
    range: *mut alluvium_range,
    key_groups: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let store = handles::get::<StoreObject>(store.id)?;
            if !range.is_null() {
                give(range, "range", range_out(store.store.range()))?;
            }
            if !key_groups.is_null() {
                give(key_groups, "key_groups", store.store.key_groups())?;
            }
            Ok(Status::Ok)
        })
    }
}

/// The key group that a key's hash gives it in a store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_group_of(
    store: alluvium_store,
    key: alluvium_slice,
    group: *mut u16,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let store = handles::get::<StoreObject>(store.id)?;
            give(group, "group", store.store.key(bytes(key)?).group.0)?;
            Ok(Status::Ok)
        })
    }
}

/// Merges all that can be merged now, and waits for it. Not needed for anything but measuring space.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_compact(store: alluvium_store, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<StoreObject>(store.id)?.store.compact()?;
            Ok(Status::Ok)
        })
    }
}

/// What a store counted since it was opened, in the text format of Prometheus, into a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_metrics(
    store: alluvium_store,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let text = handles::get::<StoreObject>(store.id)?.store.metrics().prometheus(&[]);
            buffer::answer(buffer, Some(text.as_bytes()))
        })
    }
}

/// A label of metrics: `name="value"`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_label {
    /// Letters, digits and `_`, and no digit first.
    pub name: *const c_char,
    /// Any text.
    pub value: *const c_char,
}

/// The same with labels that go with every sample: the name of the store, say, where a host has several.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_metrics_labelled(
    store: alluvium_store,
    labels: *const alluvium_label,
    labels_len: usize,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let store = handles::get::<StoreObject>(store.id)?;
            let label = |given: &alluvium_label| {
                Ok((text(given.name, "a label's name")?, text(given.value, "a label's value")?))
            };
            let labels = array(labels, labels_len)?.iter().map(label).collect::<Result<Vec<_>, Misuse>>()?;
            if !labels.iter().all(|(name, _)| is_label_name(name)) {
                return Err(
                    Misuse::Argument("a label's name is letters, digits and _, and begins with no digit").into()
                );
            }
            buffer::answer(buffer, Some(store.store.metrics().prometheus(&labels).as_bytes()))
        })
    }
}

fn is_label_name(name: &str) -> bool {
    let is_first = |first: char| first.is_ascii_alphabetic() || first == '_';
    name.starts_with(is_first) && name.chars().all(|letter| is_first(letter) || letter.is_ascii_digit())
}
