//! States: registering and migrating them.

use crate::arguments::{Context, Output, array, bytes, call, flag, give, give_optional, options, place, slice, text};
use crate::buffer;
use crate::events::{ALLUVIUM_LOG_AUTO, ALLUVIUM_LOG_EVENT, ALLUVIUM_LOG_STATE, log_mode};
use crate::store::StoreObject;
use crate::types::*;
use alluvium::{Convert, LogMode, Merge, MergeOperator, Purge, State, StateId, StateOptions, Ttl};
use alluvium_ffi::handles;
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Misuse, Status};
use std::ffi::{c_char, c_void};
use std::fmt;
use std::mem::offset_of;
use std::sync::Arc;

/// How a state is registered. `alluvium_state_options_init` sets what is usual: a value state that never expires.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_state_options {
    /// The length of this in bytes, as the program knows it.
    pub size: u32,
    /// `ALLUVIUM_KIND_...`.
    pub kind: u32,
    /// Its name, 1 to 1,024 bytes.
    pub name: *const c_char,
    /// Of a merging state the operator's name: `u64-add`, `u64-min`, `u64-max`, and so with `i64` and `f64`, all of 8 bytes, little-endian;
    /// `multiset` (`alluvium_multiset_operand`); or the name of `merge`, which is none of these.
    pub merge_name: *const c_char,
    /// The host's own operator, or null.
    pub merge: alluvium_merge_fn,
    /// Given to `merge`; any thread may use it.
    pub merge_context: *mut c_void,
    /// Lets `merge_context` go.
    pub merge_release: alluvium_release_fn,
    /// How long a value lives after it was written, in ms; 0: for ever.
    pub ttl_ms: u64,
    /// Whether reading starts that time anew: 0 or 1.
    pub ttl_refresh_on_read: u32,
    /// Where in a value its own time begins, ms since 1970 as a big-endian i64, by which compaction drops it; see `purge_ms`.
    pub purge_time_at: u32,
    /// How long after its own time a value may be dropped, in ms; 0: never. Not together with `ttl_ms`.
    pub purge_ms: u64,
    /// The host's schema, which is kept with the state. Empty: what is known of it stays.
    pub schema: alluvium_slice,
    /// Conversions that migrations of the state go on with.
    pub conversions: *const alluvium_conversion,
    /// How many.
    pub conversions_len: usize,
    /// How what handlers of events change is logged: `ALLUVIUM_LOG_...` (`ALLUVIUM_LOG_STATE`).
    pub log_mode: u32,
    /// Whether it is logged which events read and wrote what, so that they can be taken back: 0 or 1 (0).
    pub traced: u32,
    /// With `merge`: its inverse, by which bad events that only added are taken back (`ALLUVIUM_WAY_INVERSE`); null where it has none. It is given
    /// `merge_context`.
    pub merge_invert: alluvium_invert_fn,
    /// With `merge`: whether a value goes when all that was added is taken away; null where none does. It is given `merge_context`.
    pub merge_is_identity: alluvium_identity_fn,
}

/// The lengths that a state's options had before fields were added.
const SIZES_BEFORE: [usize; 2] =
    [offset_of!(alluvium_state_options, log_mode), offset_of!(alluvium_state_options, merge_invert)];

const fn defaults() -> alluvium_state_options {
    alluvium_state_options {
        size: size_of::<alluvium_state_options>() as u32,
        kind: ALLUVIUM_KIND_VALUE,
        name: std::ptr::null(),
        merge_name: std::ptr::null(),
        merge: None,
        merge_context: std::ptr::null_mut(),
        merge_release: None,
        ttl_ms: 0,
        ttl_refresh_on_read: 0,
        purge_time_at: 0,
        purge_ms: 0,
        schema: alluvium_slice { data: std::ptr::null(), len: 0 },
        conversions: std::ptr::null(),
        conversions_len: 0,
        log_mode: ALLUVIUM_LOG_STATE,
        traced: 0,
        merge_invert: None,
        merge_is_identity: None,
    }
}

/// Fills in what is usual; `name` is left to be set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_state_options_init(options: *mut alluvium_state_options) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(std::ptr::null_mut(), || {
            give(options, "options", defaults())?;
            Ok(Status::Ok)
        })
    }
}

/// A host's merge function.
struct HostMerge {
    name: String,
    merge: unsafe extern "C" fn(*mut c_void, alluvium_slice, alluvium_slice, alluvium_output),
    invert: alluvium_invert_fn,
    is_identity: alluvium_identity_fn,
    context: Context,
}

impl Merge for HostMerge {
    fn name(&self) -> &str {
        &self.name
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        let mut output = Output::new(out);
        let lent = output.lent();
        // SAFETY: the host's function with what its type says.
        callback(|| unsafe { (self.merge)(self.context.pointer, slice(older), slice(newer), lent) });
        // There is no value to go on with. Who called finds the writer unusable, as after any panic of an operator.
        assert!(!output.too_long, "a merge operator gave no bytes, or more than 1 GiB");
    }

    fn invert(&self, operand: &[u8]) -> Option<Vec<u8>> {
        let invert = self.invert?;
        let mut inverse = Vec::new();
        let mut output = Output::new(&mut inverse);
        let lent = output.lent();
        // SAFETY: the host's function with what its type says.
        let outcome = callback(|| unsafe { invert(self.context.pointer, slice(operand), lent) });
        // What is no operand is no inverse either.
        (outcome == 0 && !output.too_long).then_some(inverse)
    }

    fn is_identity(&self, value: &[u8]) -> bool {
        // SAFETY: as above.
        self.is_identity.is_some_and(|is| callback(|| unsafe { is(self.context.pointer, slice(value)) }) != 0)
    }
}

/// A host's conversion.
struct HostConvert {
    name: String,
    convert: unsafe extern "C" fn(*mut c_void, alluvium_slice, alluvium_output) -> i32,
    context: Context,
}

impl fmt::Debug for HostConvert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Convert for HostConvert {
    fn name(&self) -> &str {
        &self.name
    }

    fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let mut output = Output::new(out);
        let lent = output.lent();
        // SAFETY: the host's function with what its type says.
        match callback(|| unsafe { (self.convert)(self.context.pointer, slice(old), lent) }) {
            0 if output.too_long => Err("the host's conversion gave no bytes, or more than 1 GiB".to_owned()),
            0 => Ok(()),
            number => Err(format!("the host's conversion returned {number}")),
        }
    }
}

unsafe fn conversion(given: &alluvium_conversion, context: Context) -> Result<Arc<dyn Convert>, Misuse> {
    let convert = given.convert.ok_or(Misuse::Null("a conversion's function"))?;
    // SAFETY: the caller's conversion.
    let name = unsafe { text(given.name, "a conversion's name") }?.to_owned();
    Ok(Arc::new(HostConvert { name, convert, context }))
}

unsafe fn operator(given: &alluvium_state_options, context: Context) -> Result<MergeOperator, Misuse> {
    // SAFETY: the caller's options.
    let name = unsafe { text(given.merge_name, "merge_name") }?;
    let (invert, is_identity) = (given.merge_invert, given.merge_is_identity);
    match given.merge {
        Some(merge) => {
            let name = name.to_owned();
            Ok(MergeOperator::User(Arc::new(HostMerge { name, merge, invert, is_identity, context })))
        }
        None if invert.is_some() || is_identity.is_some() => {
            Err(Misuse::Argument("an inverse or identity goes with an operator of the host's alone"))
        }
        None => MergeOperator::built_in(name).ok_or(Misuse::Argument("no merge operator of this name is built in")),
    }
}

unsafe fn state_options(given: &alluvium_state_options) -> Result<StateOptions, Misuse> {
    // All contexts first, so that they are let go whatever comes.
    let merge_context = Context::new(given.merge_context, given.merge_release);
    // SAFETY: the caller's options.
    let conversions = unsafe { array(given.conversions, given.conversions_len) }?;
    let contexts: Vec<_> = conversions.iter().map(|given| Context::new(given.context, given.release)).collect();
    // SAFETY: as above.
    let (name, schema) = unsafe { (text(given.name, "name")?, bytes(given.schema)?) };
    let mut options = match given.kind {
        ALLUVIUM_KIND_VALUE => StateOptions::value(name),
        ALLUVIUM_KIND_LIST => StateOptions::list(name),
        ALLUVIUM_KIND_MAP => StateOptions::map(name),
        // SAFETY: as above.
        ALLUVIUM_KIND_MERGING => StateOptions::merging(name, unsafe { operator(given, merge_context) }?),
        _ => return Err(Misuse::Argument("an unknown kind of state")),
    };
    if given.ttl_ms > 0 {
        let refresh_on_read = flag(given.ttl_refresh_on_read)?;
        options = options.ttl(Ttl { duration_ms: given.ttl_ms, refresh_on_read });
    }
    if given.purge_ms > 0 {
        options = options.purge(Purge { duration_ms: given.purge_ms, time_at: given.purge_time_at });
    }
    options = options.user(schema).log(log_mode(given.log_mode)?);
    if flag(given.traced)? {
        options = options.traced();
    }
    for (given, context) in conversions.iter().zip(contexts) {
        // SAFETY: as above.
        options = options.conversion(unsafe { conversion(given, context) }?);
    }
    Ok(options)
}

/// Registers a state, or finds it where there is one of this name, kind and merge operator, and says its number, which is good for this store alone.
/// The time to live is to be given each time: without it, what is written from now on never expires; what was written before keeps its expiry.
/// `ALLUVIUM_STATE` where the options contradict what is known of the state: its kind, its operator or, for list and merging states, whether values expire.
/// Contexts are the library's from this call on, whatever it comes to, unless that is `ALLUVIUM_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_state(
    store: alluvium_store,
    options_: *const alluvium_state_options,
    state: *mut u16,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let given = options(options_, defaults(), &SIZES_BEFORE)?;
            let wanted = state_options(&given)?;
            place(state, "state")?;
            let registered = handles::get::<StoreObject>(store.id)?.store.state(wanted)?;
            give(state, "state", registered.id().0)?;
            Ok(Status::Ok)
        })
    }
}

/// How many states a store has; their numbers are those below.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_states(
    store: alluvium_store,
    count: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let states = handles::get::<StoreObject>(store.id)?.store.states().len();
            give(count, "count", states)?;
            Ok(Status::Ok)
        })
    }
}

/// A state's kind (may be null), its name in one buffer and its schema in another; the two must differ. `ALLUVIUM_NOT_FOUND` where there is
/// no such state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_describe(
    store: alluvium_store,
    state: u16,
    kind: *mut u32,
    name: alluvium_buffer,
    schema: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let states = handles::get::<StoreObject>(store.id)?.store.states();
            let Some(def) = states.get(usize::from(state)) else { return Ok(Status::NotFound) };
            if !kind.is_null() {
                give(kind, "kind", u32::from(def.kind as u8))?;
            }
            buffer::answer(name, Some(def.name.as_bytes()))?;
            buffer::answer(schema, Some(&def.user))
        })
    }
}

/// When values of a state expire: `ttl_ms` after they were written, 0 for never, and whether reading starts that anew; `purge_ms` after their
/// own time, 0 for never, which begins at `purge_time_at`. Any of them may be null. `ALLUVIUM_NOT_FOUND` where there is no such
/// state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_expiry(
    store: alluvium_store,
    state: u16,
    ttl_ms: *mut u64,
    ttl_refresh_on_read: *mut u32,
    purge_ms: *mut u64,
    purge_time_at: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let states = handles::get::<StoreObject>(store.id)?.store.states();
            let Some(def) = states.get(usize::from(state)) else { return Ok(Status::NotFound) };
            give_optional(ttl_ms, "ttl_ms", def.ttl.map_or(0, |ttl| ttl.duration_ms))?;
            let refreshes = def.ttl.is_some_and(|ttl| ttl.refresh_on_read);
            give_optional(ttl_refresh_on_read, "ttl_refresh_on_read", u32::from(refreshes))?;
            give_optional(purge_ms, "purge_ms", def.purge.map_or(0, |purge| purge.duration_ms))?;
            give_optional(purge_time_at, "purge_time_at", def.purge.map_or(0, |purge| purge.time_at))?;
            Ok(Status::Ok)
        })
    }
}

/// The name of a merging state's operator, into a buffer: that of a built-in one, or of the host's own. `ALLUVIUM_NOT_FOUND` where there is no such state,
/// or none that merges.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_operator(
    store: alluvium_store,
    state: u16,
    name: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let states = handles::get::<StoreObject>(store.id)?.store.states();
            let found = states.get(usize::from(state)).filter(|def| !def.merge_name.is_empty());
            buffer::answer(name, found.map(|def| def.merge_name.as_bytes()))
        })
    }
}

/// How what handlers of events change in a state is logged (`ALLUVIUM_LOG_...`), and whether it is logged which events read and wrote what: 0 or 1. Either
/// may be null. `ALLUVIUM_NOT_FOUND` where there is no such state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_logging(
    store: alluvium_store,
    state: u16,
    log_mode: *mut u32,
    traced: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let states = handles::get::<StoreObject>(store.id)?.store.states();
            let Some(def) = states.get(usize::from(state)) else { return Ok(Status::NotFound) };
            let mode = match def.log {
                LogMode::State => ALLUVIUM_LOG_STATE,
                LogMode::Event => ALLUVIUM_LOG_EVENT,
                LogMode::Auto => ALLUVIUM_LOG_AUTO,
            };
            give_optional(log_mode, "log_mode", mode)?;
            give_optional(traced, "traced", u32::from(def.traced))?;
            Ok(Status::Ok)
        })
    }
}

/// Migrates a state to another schema: from the return of this call on every value that is read went through `conversion`. What is
/// on disk is converted as it is read, and rewritten in the background (`alluvium_store_migration`). Nobody may use the state
/// during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_migrate(
    store: alluvium_store,
    state: u16,
    schema: alluvium_slice,
    conversion_: *const alluvium_conversion,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let given = crate::arguments::one(conversion_, "conversion")?;
            let conversion = conversion(given, Context::new(given.context, given.release))?;
            let store = handles::get::<StoreObject>(store.id)?;
            store.store.migrate(State::numbered(StateId(state)), bytes(schema)?, conversion)?;
            Ok(Status::Ok)
        })
    }
}

/// How far the migrations of a state are: segments and bytes (either may be null) that are still to be rewritten.
/// `ALLUVIUM_NOT_FOUND` where none is under way; `ALLUVIUM_CONVERSION` where one can't go on, for want of its conversion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_migration(
    store: alluvium_store,
    state: u16,
    segments: *mut u64,
    segment_bytes: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let store = handles::get::<StoreObject>(store.id)?;
            let Some(migration) = store.store.migration(State::numbered(StateId(state)))? else {
                return Ok(Status::NotFound);
            };
            if !segments.is_null() {
                give(segments, "segments", migration.segments as u64)?;
            }
            if !segment_bytes.is_null() {
                give(segment_bytes, "segment_bytes", migration.bytes)?;
            }
            migration.obstacle.map_or(Ok(Status::Ok), |obstacle| Err(obstacle.into()))
        })
    }
}
