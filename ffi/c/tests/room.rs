//! A store from which so many things are open that there is room for no other handle: what would give one is refused before it does
//! anything.
#![expect(unsafe_code, reason = "a C interface is called")]
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium_c::batches::*;
use alluvium_c::checkpoint::*;
use alluvium_c::commit::*;
use alluvium_c::engine::*;
use alluvium_c::repair::*;
use alluvium_c::rollback::*;
use alluvium_c::state::*;
use alluvium_c::store::*;
use alluvium_c::transaction::*;
use alluvium_c::types::*;
use alluvium_c::writer::*;
use alluvium_ffi::handles::{self, Parent};
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

const NOTHING: alluvium_slice = alluvium_slice { data: null(), len: 0 };
const ALL: alluvium_range = alluvium_range { first: 0, last: 127 };
const OTHERS: usize = (1 << 20) - 1;

/// What a call leaves that has to succeed.
fn made<T>(call: impl FnOnce(*mut T) -> alluvium_status) -> T {
    let mut place = MaybeUninit::uninit();
    assert_eq!(call(place.as_mut_ptr()), ALLUVIUM_OK);
    // SAFETY: the call left it.
    unsafe { place.assume_init() }
}

/// What a call comes to that leaves nothing.
fn refused<T>(call: impl FnOnce(*mut T) -> alluvium_status) {
    let mut place = MaybeUninit::uninit();
    assert_eq!(call(place.as_mut_ptr()), ALLUVIUM_ARGUMENT);
}

fn slice(bytes: &[u8]) -> alluvium_slice {
    alluvium_slice { data: bytes.as_ptr(), len: bytes.len() }
}

fn key() -> alluvium_key {
    alluvium_key { group: ALLUVIUM_GROUP_BY_HASH, key: slice(b"key"), ns: NOTHING }
}

/// A put of `key` in a batch, as it is packed.
fn packed(state: u16, value: u8) -> Vec<u8> {
    let mut packed = vec![0; 16];
    (packed[0], packed[1], packed[6], packed[12]) = (ALLUVIUM_OP_PUT, ALLUVIUM_OP_HASHED, 3, 1);
    packed[2..4].copy_from_slice(&state.to_le_bytes());
    packed.extend_from_slice(b"key");
    packed.push(value);
    packed
}

struct Opened {
    engine: alluvium_engine,
    store: alluvium_store,
    writer: alluvium_writer,
    state: u16,
}

impl Opened {
    fn at(directory: &std::path::Path) -> Self {
        let directory = CString::new(directory.to_str().unwrap()).unwrap();
        // SAFETY: what is given to the calls is as the header says.
        unsafe {
            let engine: alluvium_engine = made(|place| {
                let mut options = made(|options| alluvium_engine_options_init(options));
                options.memory_budget_bytes = 16 << 20;
                alluvium_engine_open(&raw const options, place, null_mut())
            });
            let mut options = made(|options| alluvium_store_options_init(options));
            options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
            let directory = directory.as_ptr();
            let store = made(|place| alluvium_store_create(engine, directory, &raw const options, place, null_mut()));
            let writer = made(|place| alluvium_writer_open(store, ALL, place, null_mut()));
            let mut options = made(|options| alluvium_state_options_init(options));
            (options.kind, options.name) = (ALLUVIUM_KIND_VALUE, c"values".as_ptr());
            let state = made(|place| alluvium_store_state(store, &raw const options, place, null_mut()));
            Self { engine, store, writer, state }
        }
    }

    fn put(&self, value: u8) {
        let (key, value) = (key(), [value]);
        // SAFETY: as above.
        let put = unsafe { alluvium_writer_put(self.writer, self.state, &raw const key, slice(&value), null_mut()) };
        assert_eq!(put, ALLUVIUM_OK);
    }

    fn value(&self) -> u8 {
        let (key, mut value, mut len) = (key(), 0, 0);
        let (to, len_to) = (&raw mut value, &raw mut len);
        // SAFETY: as above.
        let got = unsafe { alluvium_writer_get(self.writer, self.state, &raw const key, to, 1, len_to, null_mut()) };
        assert_eq!((got, len), (ALLUVIUM_OK, 1));
        value
    }

    fn position(&self) -> u64 {
        // SAFETY: as above.
        made(|place| unsafe { alluvium_c::past::alluvium_store_position(self.store, place, null_mut()) })
    }

    fn checkpoints(&self) -> usize {
        // SAFETY: as above.
        made(|place| unsafe { alluvium_store_checkpoints(self.store, place, null_mut()) })
    }

    /// A checkpoint from the writer's thread or from any.
    unsafe fn barrier(&self, is_writers: bool, label: u64, pending: *mut alluvium_pending) -> alluvium_status {
        let size = size_of::<alluvium_barrier>() as u32;
        let (offsets, offsets_len, metadata) = (null(), 0, NOTHING);
        let barrier = alluvium_barrier {
            size,
            reads: ALLUVIUM_READS_DRAIN,
            label,
            offsets,
            offsets_len,
            metadata,
            standalone: 0,
        };
        // SAFETY: as above.
        unsafe {
            if is_writers {
                alluvium_writer_barrier(self.writer, &raw const barrier, pending, null_mut())
            } else {
                alluvium_store_barrier(self.store, &raw const barrier, pending, null_mut())
            }
        }
    }

    fn checkpoint(&self, label: u64) {
        // SAFETY: as above.
        unsafe {
            let pending = made(|place| self.barrier(true, label, place));
            assert_eq!(alluvium_pending_wait(pending, null_mut(), null_mut()), ALLUVIUM_OK);
            assert_eq!(alluvium_pending_close(pending, null_mut()), ALLUVIUM_OK);
        }
    }

    /// Everything that does something and gives a handle.
    fn all_is_refused(&self) {
        let (store, writer, state) = (self.store, self.writer, self.state);
        let submitted = packed(state, 9);
        // SAFETY: as above.
        unsafe {
            refused(|place| self.barrier(false, 2, place));
            refused(|place| self.barrier(true, 2, place));
            refused(|place| alluvium_store_commit_lasting(store, null(), 0, NOTHING, 0, place, null_mut()));
            refused(|place| alluvium_writer_commit_lasting(writer, null(), 0, NOTHING, 0, place, null_mut()));
            refused(|place| alluvium_store_commit(store, null(), 0, NOTHING, place, null_mut()));
            refused(|place| alluvium_writer_commit(writer, null(), 0, NOTHING, place, null_mut()));
            refused(|place| alluvium_writer_submit(writer, slice(&submitted), place, null_mut()));
            refused(|place| alluvium_store_rollback(store, ALL, null(), 0, 1, place, null_mut()));
            refused(|place| alluvium_writer_repair(writer, null(), 0, ALLUVIUM_WAY_AUTO, place, null_mut()));
        }
    }
}

/// The work was done, and its handle then refused: a checkpoint that nobody could wait for, a batch submitted whose caller was told that it wasn't.
#[test]
fn what_has_no_room_for_its_handle_is_not_done() {
    let temporary = tempfile::tempdir().unwrap();
    let opened = Opened::at(&temporary.path().join("store"));
    opened.put(1);
    opened.checkpoint(1);
    opened.put(2);
    // SAFETY: what is given to the call is as the header says.
    unsafe {
        let committed = alluvium_store_commit(opened.store, null(), 0, NOTHING, null_mut(), null_mut());
        assert_eq!(committed, ALLUVIUM_OK);
    }
    opened.put(3);
    let (position, checkpoints) = (opened.position(), opened.checkpoints());

    let mut others: Vec<Parent> = Vec::with_capacity(OTHERS);
    others.extend(std::iter::from_fn(|| handles::reserve_child(opened.store.id).ok()));
    assert_eq!(others.len(), OTHERS - 1, "and the writer");
    opened.all_is_refused();
    assert_eq!((opened.value(), opened.position(), opened.checkpoints()), (3, position, checkpoints));
    // SAFETY: as above.
    unsafe {
        let committed = alluvium_writer_commit(opened.writer, null(), 0, NOTHING, null_mut(), null_mut());
        assert_eq!(committed, ALLUVIUM_OK, "without a handle there is room");
        others.pop();
        let ticket =
            made(|place| alluvium_writer_submit(opened.writer, slice(&packed(opened.state, 4)), place, null_mut()));
        refused(|place| opened.barrier(true, 2, place));
        assert_eq!(alluvium_c::ticket::alluvium_ticket_close(ticket, null_mut()), ALLUVIUM_OK);
    }
    assert_eq!(opened.value(), 4);
    opened.checkpoint(2);
    drop(others);
    // SAFETY: as above.
    unsafe {
        assert_eq!(alluvium_writer_close(opened.writer, null_mut()), ALLUVIUM_OK);
        assert_eq!(alluvium_store_close(opened.store, null_mut()), ALLUVIUM_OK);
        assert_eq!(alluvium_engine_close(opened.engine, null_mut()), ALLUVIUM_OK);
    }
    assert_eq!(handles::open_objects(), 0);
}
