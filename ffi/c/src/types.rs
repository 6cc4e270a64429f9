//! The types and numbers of the header.

use std::ffi::{c_char, c_void};

/// The version of this interface. It goes up when something changes that a program has compiled in, which happens with a new
/// major version of the library alone; functions, statuses and fields of options are only ever added.
pub const ALLUVIUM_ABI_VERSION: u32 = 1;

/// What a call came to: `ALLUVIUM_OK` or another answer (0 and above), or a failure (below 0).
pub type alluvium_status = i32;

/// Done.
pub const ALLUVIUM_OK: i32 = 0;
/// There is no such value or entry, or no more of them. Not a failure.
pub const ALLUVIUM_NOT_FOUND: i32 = 1;
/// The caller's memory is too small: how much is needed was said. Nothing else was done. Not a failure.
pub const ALLUVIUM_TOO_SMALL: i32 = 2;
/// It isn't there yet. Not a failure.
pub const ALLUVIUM_PENDING: i32 = 3;
/// A pointer that has to point to something is null.
pub const ALLUVIUM_NULL: i32 = -1;
/// An argument is out of its range, or contradicts another.
pub const ALLUVIUM_ARGUMENT: i32 = -2;
/// A handle that was never given out, is closed, or is of another kind.
pub const ALLUVIUM_HANDLE: i32 = -3;
/// The object belongs to another thread.
pub const ALLUVIUM_WRONG_THREAD: i32 = -4;
/// A callback called the library, which would wait for itself.
pub const ALLUVIUM_INSIDE_CALLBACK: i32 = -5;
/// Another call is using the object.
pub const ALLUVIUM_IN_USE: i32 = -6;
/// Something that was made from the object is still open.
pub const ALLUVIUM_HAS_CHILDREN: i32 = -7;
/// The program was made for another version of the library, or didn't set the `size` of a structure. `alluvium_..._options_init` does for options; others are
/// set by hand: `alluvium_barrier b = {.size = sizeof b};`.
pub const ALLUVIUM_ABI: i32 = -8;
/// A bug of the library: it panicked, in this call or in an earlier one on the same object, which can only be closed now.
pub const ALLUVIUM_PANIC: i32 = -9;
/// A key, user key or value is longer than its limit.
pub const ALLUVIUM_TOO_LONG: i32 = -20;
/// The memory budget has no room for what is needed, not even with everything else spilled.
pub const ALLUVIUM_BUDGET: i32 = -21;
/// Too much is under way; the same call succeeds later.
pub const ALLUVIUM_BUSY: i32 = -22;
/// More is staged than the store's options allow: commit it or abort.
pub const ALLUVIUM_STAGED: i32 = -23;
/// A key group that the writer, reader or store doesn't hold.
pub const ALLUVIUM_OUTSIDE_RANGE: i32 = -24;
/// Another writer holds part of the range.
pub const ALLUVIUM_RANGE_CLAIMED: i32 = -25;
/// The options contradict each other or a limit.
pub const ALLUVIUM_OPTIONS: i32 = -26;
/// A state that isn't there or is of another kind, or whose operator takes no such value.
pub const ALLUVIUM_STATE: i32 = -27;
/// A value of an older schema can't be converted.
pub const ALLUVIUM_CONVERSION: i32 = -28;
/// There is no checkpoint in the directory.
pub const ALLUVIUM_NO_CHECKPOINT: i32 = -29;
/// A checkpoint that the store doesn't have, or that is at another stage.
pub const ALLUVIUM_CHECKPOINT: i32 = -30;
/// The store was closed.
pub const ALLUVIUM_CLOSED: i32 = -31;
/// Background work failed for good; the store must be reopened.
pub const ALLUVIUM_BACKGROUND: i32 = -32;
/// A position of the changelog that the history doesn't have, or that can't be told of.
pub const ALLUVIUM_POSITION: i32 = -33;
/// A handler of events isn't there, is of another version than the changelog wants, or failed.
pub const ALLUVIUM_EVENT_HANDLER: i32 = -34;
/// An event that can't be looked for or taken back, and the error says why.
pub const ALLUVIUM_EVENT: i32 = -35;
/// The disk is full, or the process has too many files open.
pub const ALLUVIUM_FULL: i32 = -40;
/// The directory is open elsewhere.
pub const ALLUVIUM_LOCKED: i32 = -41;
/// A segment is elsewhere, and wasn't brought.
pub const ALLUVIUM_ABSENT: i32 = -42;
/// A file or directory is in the way.
pub const ALLUVIUM_EXISTS: i32 = -43;
/// The disk failed.
pub const ALLUVIUM_IO: i32 = -44;
/// A file is damaged, missing or foreign.
pub const ALLUVIUM_CORRUPT: i32 = -45;
/// An error that this version has no number for.
pub const ALLUVIUM_OTHER: i32 = -99;

/// Not a failure.
pub const ALLUVIUM_CLASS_NONE: i32 = 0;
/// Nothing is lost; the same call can succeed later (with `ALLUVIUM_STAGED`: after a commit or an abort).
pub const ALLUVIUM_CLASS_RETRY: i32 = 1;
/// The call doesn't fit what there is, and waiting doesn't help: change the call, or what it doesn't fit (close the other writer, or the children; register
/// the handler).
pub const ALLUVIUM_CLASS_USAGE: i32 = 2;
/// The task has to fail and recover from its last checkpoint, or the last commit that lasts.
pub const ALLUVIUM_CLASS_FAIL: i32 = 3;
/// A file is damaged; recover from another checkpoint.
pub const ALLUVIUM_CLASS_CORRUPT: i32 = 4;

/// One value per (key, namespace).
pub const ALLUVIUM_KIND_VALUE: u32 = 0;
/// A list per (key, namespace), appended to without being read.
pub const ALLUVIUM_KIND_LIST: u32 = 1;
/// An ordered map per (key, namespace).
pub const ALLUVIUM_KIND_MAP: u32 = 2;
/// One value per (key, namespace), changed by a merge operator without being read.
pub const ALLUVIUM_KIND_MERGING: u32 = 3;

/// What an update's callback returns to delete the value.
pub const ALLUVIUM_DELETE: i32 = 0;
/// What an update's callback returns to put the value that it gave.
pub const ALLUVIUM_PUT: i32 = 1;
/// What an update's callback returns to keep what is there: the value is put again, so its time to live starts anew; or nothing is there
/// still.
pub const ALLUVIUM_KEEP: i32 = 2;

/// The key group of a key that its hash decides.
pub const ALLUVIUM_GROUP_BY_HASH: i32 = -1;

/// An engine: the memory budget and background threads of a process. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_engine {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A part of an engine's memory budget. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_share {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A store: one directory of state. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_store {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// The owner of a range of key groups. It belongs to one thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_writer {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// Reads beside the writers. Any thread may use it; threads that read much have one each.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_reader {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A store as it was at some moment. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_snapshot {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A store as it was at a position of its changelog. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_past {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// What a repair, or a question about events, came to. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_repair {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A place among keys or entries. Any thread, one call at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_cursor {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// Reads that were submitted. Any thread, one call at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_ticket {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A checkpoint on its way. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_pending {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// What is known of a checkpoint or a commit. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_info {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A commit, and the word on whether it lasts. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_commit {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// Keys that are being brought into memory. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_warming {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A checkpoint's files, pinned. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_files {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// What a store wants of its host. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_fetches {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A walk through everything in a checkpoint. Any thread, one call at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_iterator {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// A load of sorted data. Any thread, one call at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_bulk_load {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// Bytes that calls leave for their caller: kept and filled again, so that a call needs no new memory. Any thread, one call at a
/// time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_buffer {
    /// The handle's number; 0 is none.
    pub id: u64,
}
/// What went wrong in a call. Any thread may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_error {
    /// The handle's number; 0 is none.
    pub id: u64,
}

/// Bytes of the caller's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_slice {
    /// Where they begin; may be null if there are none.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

/// A key, in a namespace: `{ALLUVIUM_GROUP_BY_HASH, {"k", 1}, {NULL, 0}}`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_key {
    /// Its key group, or `ALLUVIUM_GROUP_BY_HASH`, which is -1: a structure of zeros has group 0. The group is part of what names a key, so the same bytes
    /// in two groups are two keys: either all keys of a state go by the hash, or all by the caller's groups.
    pub group: i32,
    /// The key. Key and namespace have 65,000 bytes together at most, as a user key has: `ALLUVIUM_TOO_LONG` else. No slice has more than 1 GiB:
    /// `ALLUVIUM_ARGUMENT`.
    pub key: alluvium_slice,
    /// The namespace, which may be empty.
    pub ns: alluvium_slice,
}

/// Key groups, both ends included.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_range {
    /// The first one.
    pub first: u16,
    /// The last one.
    pub last: u16,
}

/// A bound of a range of entries: there is none.
pub const ALLUVIUM_UNBOUNDED: u32 = 0;
/// A bound of a range of entries that is in the range.
pub const ALLUVIUM_INCLUDED: u32 = 1;
/// A bound of a range of entries that is not in the range.
pub const ALLUVIUM_EXCLUDED: u32 = 2;

/// Which entries of a map, and in which direction. All zero: all of them, upwards.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_map_range {
    /// The lower bound: `ALLUVIUM_UNBOUNDED`, `ALLUVIUM_INCLUDED`, `ALLUVIUM_EXCLUDED`.
    pub from_kind: u32,
    /// The upper bound.
    pub to_kind: u32,
    /// Whether to go from the last down to the first: 0 or 1.
    pub reverse: u32,
    /// The lower bound's user key.
    pub from: alluvium_slice,
    /// The upper bound's user key.
    pub to: alluvium_slice,
    /// Only user keys that begin with this.
    pub prefix: alluvium_slice,
}

/// Where a source stands for a range of key groups.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_offset {
    /// The key groups.
    pub range: alluvium_range,
    /// The host's bytes.
    pub offset: alluvium_slice,
}

/// What became of one key of `alluvium_writer_get_many`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_found {
    /// `ALLUVIUM_OK`, `ALLUVIUM_NOT_FOUND` or, where the memory was too small for it, `ALLUVIUM_TOO_SMALL`.
    pub status: alluvium_status,
    /// The value's length.
    pub len: u32,
    /// Where in the caller's memory it begins.
    pub at: usize,
}

/// Takes what a callback makes: to be called with its bytes, once or more often, 1 GiB together at most. It is good for as long as the
/// callback that it was given to runs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_output {
    /// To be given to `write`.
    pub context: *mut c_void,
    /// Adds bytes, which are copied.
    pub write: Option<unsafe extern "C" fn(context: *mut c_void, data: *const u8, len: usize)>,
}

/// Says what becomes of a value: `ALLUVIUM_PUT` with `*value` set, `ALLUVIUM_DELETE` or `ALLUVIUM_KEEP`. `old.data` is null where there is none.
/// `index` is the key's place in a batch, else 0. What `*value` points to has to stay until the callback is called again, or the call that
/// it belongs to returns. It must call nothing of the library, wait for no thread that does, and return.
pub type alluvium_update_fn = Option<
    unsafe extern "C" fn(context: *mut c_void, index: usize, old: alluvium_slice, value: *mut alluvium_slice) -> i32,
>;

/// Looks at a value where it lies, for as long as the callback. It must call nothing of the library, wait for no thread that does, and
/// return.
pub type alluvium_read_fn = Option<unsafe extern "C" fn(context: *mut c_void, value: alluvium_slice)>;

/// Whether an entry is taken out of its map: anything but 0 where it is. It may be asked more than once, of which the last time counts. It must call nothing
/// of the library, wait for no thread that does, and return.
pub type alluvium_takes_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, user_key: alluvium_slice, value: alluvium_slice) -> i32>;

/// Merges `older` and then `newer` into one operand. It has to be associative, is called by any thread, also several at once, and
/// must call nothing of the library.
pub type alluvium_merge_fn = Option<
    unsafe extern "C" fn(context: *mut c_void, older: alluvium_slice, newer: alluvium_slice, output: alluvium_output),
>;

/// Makes the operand that takes away what `operand` added, at any place in the order of operands; anything but 0 says that there is none. It has to be pure,
/// is called by any thread, also several at once, and must call nothing of the library.
pub type alluvium_invert_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, operand: alluvium_slice, output: alluvium_output) -> i32>;

/// Whether a value says no more than no value: anything but 0 where that is so. It has to be pure, is called by any thread, also several at once, and must call nothing of
/// the library.
pub type alluvium_identity_fn = Option<unsafe extern "C" fn(context: *mut c_void, value: alluvium_slice) -> i32>;

/// Converts a value of the old schema to the new one; anything but 0 says that it can't. It has to be pure, is called by any
/// thread, also several at once, and must call nothing of the library.
pub type alluvium_convert_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, old: alluvium_slice, output: alluvium_output) -> i32>;

/// Called once when something is done, by a thread of the library. It must be short and call nothing of the library.
pub type alluvium_done_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// Called once when a commit lasts (`ALLUVIUM_OK`) or can't come to (a failure's status), by any thread. It must be short and call nothing of
/// the library.
pub type alluvium_lasting_fn = Option<unsafe extern "C" fn(context: *mut c_void, status: alluvium_status)>;

/// Lets a context go that callbacks were given, when none of them is called any more: once, by any thread. It must call nothing of the library. May be null.
pub type alluvium_release_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// A conversion of values from one schema to the next.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_conversion {
    /// Its name, which means the same conversion for ever.
    pub name: *const c_char,
    /// The conversion.
    pub convert: alluvium_convert_fn,
    /// Given to `convert`; any thread may use it.
    pub context: *mut c_void,
    /// Lets `context` go.
    pub release: alluvium_release_fn,
}

/// Takes the bytes of segments while they are written, by whichever threads of the library write them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_segment_sink {
    /// Given to all of them; any thread may use it.
    pub context: *mut c_void,
    /// The next bytes of a segment: each begins where the last ended, the first at 0.
    pub write: Option<
        unsafe extern "C" fn(context: *mut c_void, name: *const c_char, offset: u64, data: *const u8, len: usize),
    >,
    /// A segment is whole.
    pub complete: Option<unsafe extern "C" fn(context: *mut c_void, name: *const c_char, len: u64)>,
    /// A segment will never be whole.
    pub abandon: Option<unsafe extern "C" fn(context: *mut c_void, name: *const c_char)>,
    /// Lets `context` go.
    pub release: alluvium_release_fn,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alluvium_ffi::Status;

    #[test]
    fn numbers_are_those_of_the_statuses() {
        let numbers = [
            ALLUVIUM_OK,
            ALLUVIUM_NOT_FOUND,
            ALLUVIUM_TOO_SMALL,
            ALLUVIUM_PENDING,
            ALLUVIUM_NULL,
            ALLUVIUM_ARGUMENT,
            ALLUVIUM_HANDLE,
            ALLUVIUM_WRONG_THREAD,
            ALLUVIUM_INSIDE_CALLBACK,
            ALLUVIUM_IN_USE,
            ALLUVIUM_HAS_CHILDREN,
            ALLUVIUM_ABI,
            ALLUVIUM_PANIC,
            ALLUVIUM_TOO_LONG,
            ALLUVIUM_BUDGET,
            ALLUVIUM_BUSY,
            ALLUVIUM_STAGED,
            ALLUVIUM_OUTSIDE_RANGE,
            ALLUVIUM_RANGE_CLAIMED,
            ALLUVIUM_OPTIONS,
            ALLUVIUM_STATE,
            ALLUVIUM_CONVERSION,
            ALLUVIUM_NO_CHECKPOINT,
            ALLUVIUM_CHECKPOINT,
            ALLUVIUM_CLOSED,
            ALLUVIUM_BACKGROUND,
            ALLUVIUM_POSITION,
            ALLUVIUM_EVENT_HANDLER,
            ALLUVIUM_EVENT,
            ALLUVIUM_FULL,
            ALLUVIUM_LOCKED,
            ALLUVIUM_ABSENT,
            ALLUVIUM_EXISTS,
            ALLUVIUM_IO,
            ALLUVIUM_CORRUPT,
            ALLUVIUM_OTHER,
        ];
        assert_eq!(Status::ALL.map(Status::code), numbers);
    }
}
