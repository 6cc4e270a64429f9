//! Arguments of any function, as an input says.

use alluvium_c::checkpoint::alluvium_barrier;
use alluvium_c::engine::{
    ALLUVIUM_STORAGE_POSIX, alluvium_engine_open, alluvium_engine_options, alluvium_engine_options_init,
};
use alluvium_c::events::{alluvium_event_id, alluvium_handler};
use alluvium_c::state::{alluvium_state_options, alluvium_state_options_init, alluvium_store_state};
use alluvium_c::store::{
    alluvium_label, alluvium_source, alluvium_store_create, alluvium_store_options, alluvium_store_options_init,
};
use alluvium_c::types::*;
use alluvium_c::writer::alluvium_writer_open;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::sync::LazyLock;

/// As many things as there are in any array, and the largest length.
const ARRAY: usize = 8;
/// How long the memory is that values go to; no capacity is larger.
const MEMORY: usize = 256;

static ROOT: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("alluvium-fuzz-c-calls-{}", std::process::id())));

/// An input, and what was made of it.
pub struct Source<'a> {
    bytes: &'a [u8],
    /// All handles that there ever were, closed ones too.
    pub handles: Vec<u64>,
    /// Memory of arguments of the call under way; whether a handle is left in it.
    places: Vec<(*mut u8, Layout, bool)>,
    paths: Vec<CString>,
    names: Vec<CString>,
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        self.settle();
        let _ = std::fs::remove_dir_all(&*ROOT);
    }
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let _ = std::fs::remove_dir_all(&*ROOT);
        std::fs::create_dir_all(ROOT.join("out")).expect("a directory");
        let text = |text: &str| CString::new(text).expect("no zero");
        let path = |name: &str| text(ROOT.join(name).to_str().expect("UTF-8"));
        let paths = ["a", "b", "out", "none/at/all"].map(path).to_vec();
        let names = ["v", "l", "m", "s", "", "a name that is longer", "sum_u64"].map(text).to_vec();
        Self { bytes, handles: Vec::new(), places: Vec::new(), paths, names }
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    pub fn next_call(&mut self) -> Option<(u8, u8)> {
        if self.bytes.is_empty() { None } else { Some((self.byte(), self.byte())) }
    }

    /// An engine, a store with four states, a writer.
    pub fn begin(&mut self) {
        if self.byte() == 255 {
            return;
        }
        let none = std::ptr::null_mut();
        // SAFETY: everything is there, and lives as long as the calls.
        unsafe {
            let mut engine = alluvium_engine { id: 0 };
            let options: *const alluvium_engine_options = Argument::make_good(self);
            alluvium_engine_open(options, &raw mut engine, none);
            let mut store = alluvium_store { id: 0 };
            let options: *const alluvium_store_options = Argument::make_good(self);
            alluvium_store_create(engine, self.paths[0].as_ptr(), options, &raw mut store, none);
            for kind in 0..3 {
                let options: *mut alluvium_state_options = self.place(false);
                alluvium_state_options_init(options);
                (*options).kind = kind;
                (*options).name = self.names[kind as usize].as_ptr();
                let mut state = 0;
                alluvium_store_state(store, options, &raw mut state, none);
            }
            let mut writer = alluvium_writer { id: 0 };
            alluvium_writer_open(store, alluvium_range { first: 0, last: 63 }, &raw mut writer, none);
            self.handles.extend([engine.id, store.id, writer.id].into_iter().filter(|id| *id != 0));
        }
    }

    /// Zeroed memory for so many things, until the call is done; twice as much as any length says.
    fn place<T>(&mut self, takes_handle: bool) -> *mut T {
        let layout = Layout::array::<T>(2 * ARRAY).expect("small");
        // SAFETY: no type here is of no size.
        let pointer = unsafe { alloc_zeroed(layout) };
        assert!(!pointer.is_null());
        self.places.push((pointer, layout, takes_handle));
        pointer.cast()
    }

    /// What the call left in its arguments.
    pub fn settle(&mut self) {
        for (pointer, layout, takes_handle) in std::mem::take(&mut self.places) {
            if takes_handle {
                // SAFETY: a handle is a number of eight bytes, or zeros are still there.
                let id = unsafe { pointer.cast::<u64>().read() };
                if id != 0 && !self.handles.contains(&id) {
                    self.handles.push(id);
                }
            }
            // SAFETY: allocated with this layout.
            unsafe { dealloc(pointer, layout) };
        }
    }

    /// A handle in whichever state.
    fn handle(&mut self) -> u64 {
        match self.byte() {
            0 => 0,
            1 => u64::from(self.byte()) << 32 | u64::from(self.byte()),
            2 => self.handles.last().map_or(0, |id| id ^ 1 << 40),
            byte => {
                let count = self.handles.len().max(1);
                self.handles.get(usize::from(byte) % count).copied().unwrap_or(0)
            }
        }
    }

    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => 1 << 62,
            253 => u64::from(u32::MAX),
            byte => u64::from(byte),
        }
    }

    fn slice(&mut self) -> alluvium_slice {
        match self.byte() {
            255 => alluvium_slice { data: std::ptr::null(), len: 3 },
            254 => alluvium_slice { data: std::ptr::null(), len: usize::MAX },
            byte => {
                let len = usize::from(byte % 40).min(self.bytes.len());
                let (data, rest) = self.bytes.split_at(len);
                self.bytes = rest;
                alluvium_slice { data: data.as_ptr(), len }
            }
        }
    }
}

/// What can be an argument.
pub trait Argument: Sized {
    fn make(source: &mut Source<'_>) -> Self;

    /// One that is sound.
    fn make_good(source: &mut Source<'_>) -> Self {
        Self::make(source)
    }
}

macro_rules! handles {
    ($($handle:ident)*) => {$(
        impl Argument for $handle {
            fn make(source: &mut Source<'_>) -> Self {
                Self { id: source.handle() }
            }
        }

        impl Argument for *mut $handle {
            fn make(source: &mut Source<'_>) -> Self {
                if source.byte() == 255 { std::ptr::null_mut() } else { source.place(true) }
            }
        }
    )*};
}

handles!(alluvium_engine alluvium_share alluvium_store alluvium_writer alluvium_reader alluvium_snapshot alluvium_past alluvium_cursor
    alluvium_ticket alluvium_pending alluvium_info alluvium_commit alluvium_files alluvium_iterator alluvium_bulk_load alluvium_buffer
    alluvium_error alluvium_repair alluvium_fetches alluvium_warming);

/// Places that results are left in; those that say how long they are do so, mostly.
macro_rules! places {
    ($($type:ty),*) => {$(
        impl Argument for *mut $type {
            fn make(source: &mut Source<'_>) -> Self {
                let byte = source.byte();
                if byte == 255 {
                    return std::ptr::null_mut();
                }
                let place: Self = source.place(false);
                if byte < 240 && size_of::<$type>() > 8 {
                    // SAFETY: it is that long, and any number may stand there.
                    unsafe { place.cast::<u32>().write(size_of::<$type>() as u32) };
                }
                place
            }
        }
    )*};
}

places!(
    u16,
    u32,
    u64,
    i64,
    usize,
    i32,
    *const c_char,
    alluvium_slice,
    alluvium_offset,
    alluvium_range,
    alluvium_found,
    alluvium_engine_options,
    alluvium_store_options,
    alluvium_state_options,
    alluvium_c::checkpoint::alluvium_numbers,
    alluvium_c::files::alluvium_file,
    alluvium_c::files::alluvium_item,
    alluvium_c::fetches::alluvium_fetch_request,
    alluvium_c::pacing::alluvium_conflict,
    alluvium_c::recovery::alluvium_recovery,
    alluvium_c::past::alluvium_rolled_back,
    alluvium_c::repair::alluvium_counts,
    alluvium_c::repair::alluvium_event_at,
    alluvium_c::repair::alluvium_group_repair,
    alluvium_c::repair::alluvium_retraction,
    alluvium_event_id
);

impl Argument for f64 {
    fn make(source: &mut Source<'_>) -> Self {
        match source.byte() {
            255 => Self::NAN,
            254 => Self::INFINITY,
            byte => Self::from(byte) - 9.0,
        }
    }
}

impl Argument for i64 {
    fn make(source: &mut Source<'_>) -> Self {
        u64::make(source).cast_signed()
    }
}

impl Argument for *const u64 {
    fn make(source: &mut Source<'_>) -> Self {
        <*mut u64>::make(source).cast_const()
    }
}

impl Argument for *mut u8 {
    fn make(source: &mut Source<'_>) -> Self {
        if source.byte() == 255 { std::ptr::null_mut() } else { source.place::<[u8; MEMORY]>(false).cast() }
    }
}

impl Argument for *mut c_void {
    fn make(_: &mut Source<'_>) -> Self {
        std::ptr::null_mut()
    }
}

/// Arrays that are given.
macro_rules! arrays {
    ($($type:ty),*) => {$(
        impl Argument for *const $type {
            fn make(source: &mut Source<'_>) -> Self {
                if source.byte() == 255 { std::ptr::null() } else { Self::make_good(source) }
            }

            fn make_good(source: &mut Source<'_>) -> Self {
                let place: *mut $type = source.place(false);
                for at in 0..ARRAY {
                    let one = <$type as Argument>::make(source);
                    // SAFETY: there is room for so many.
                    unsafe { place.add(at).write(one) };
                }
                place
            }
        }
    )*};
}

arrays!(
    u16,
    alluvium_slice,
    alluvium_key,
    alluvium_offset,
    alluvium_source,
    alluvium_map_range,
    alluvium_barrier,
    alluvium_event_id,
    alluvium_handler,
    alluvium_conversion,
    alluvium_label,
    alluvium_engine_options,
    alluvium_store_options,
    alluvium_state_options
);

impl Argument for u16 {
    fn make(source: &mut Source<'_>) -> Self {
        u16::from(source.byte() % 6)
    }
}

impl Argument for u32 {
    fn make(source: &mut Source<'_>) -> Self {
        source.number() as Self
    }
}

impl Argument for u64 {
    fn make(source: &mut Source<'_>) -> Self {
        source.number()
    }
}

impl Argument for usize {
    fn make(source: &mut Source<'_>) -> Self {
        usize::from(source.byte()) % (ARRAY + 1)
    }
}

impl Argument for alluvium_slice {
    fn make(source: &mut Source<'_>) -> Self {
        source.slice()
    }
}

impl Argument for alluvium_range {
    fn make(source: &mut Source<'_>) -> Self {
        match source.byte() {
            255 => Self { first: 9, last: 3 },
            254 => Self { first: 0, last: u16::MAX },
            byte if byte % 2 == 0 => Self { first: 0, last: 127 },
            byte => Self { first: u16::from(byte / 8), last: u16::from(byte) },
        }
    }
}

impl Argument for alluvium_key {
    fn make(source: &mut Source<'_>) -> Self {
        let group = match source.byte() {
            byte @ 0..100 => i32::from(byte),
            255 => i32::MIN,
            _ => ALLUVIUM_GROUP_BY_HASH,
        };
        let ns =
            if source.byte() % 2 == 0 { alluvium_slice { data: std::ptr::null(), len: 0 } } else { source.slice() };
        Self { group, key: source.slice(), ns }
    }
}

impl Argument for alluvium_event_id {
    fn make(source: &mut Source<'_>) -> Self {
        Self { source: u32::from(source.byte() % 3), offset: source.number() }
    }
}

impl Source<'_> {
    /// A name, or none.
    fn name(&mut self) -> *const c_char {
        match self.byte() {
            255 => std::ptr::null(),
            byte => self.names[usize::from(byte) % self.names.len()].as_ptr(),
        }
    }
}

impl Argument for alluvium_handler {
    fn make(source: &mut Source<'_>) -> Self {
        let (name, version) = (source.name(), u32::from(source.byte() % 3));
        Self { name, version, apply: Argument::make(source), context: std::ptr::null_mut(), release: None }
    }
}

impl Argument for alluvium_conversion {
    fn make(source: &mut Source<'_>) -> Self {
        let name = source.name();
        Self { name, convert: Argument::make(source), context: std::ptr::null_mut(), release: None }
    }
}

impl Argument for alluvium_label {
    fn make(source: &mut Source<'_>) -> Self {
        Self { name: source.name(), value: source.name() }
    }
}

impl Argument for alluvium_map_range {
    fn make(source: &mut Source<'_>) -> Self {
        let (from_kind, to_kind) = (u32::from(source.byte() % 4), u32::from(source.byte() % 4));
        let reverse = u32::from(source.byte() % 3);
        Self { from_kind, to_kind, reverse, from: source.slice(), to: source.slice(), prefix: source.slice() }
    }
}

impl Argument for alluvium_offset {
    fn make(source: &mut Source<'_>) -> Self {
        Self { range: Argument::make(source), offset: source.slice() }
    }
}

impl Argument for *const c_char {
    fn make(source: &mut Source<'_>) -> Self {
        match source.byte() {
            255 => std::ptr::null(),
            byte => source.paths[usize::from(byte) % source.paths.len()].as_ptr(),
        }
    }
}

impl Argument for alluvium_source {
    fn make(source: &mut Source<'_>) -> Self {
        Self { directory: Argument::make(source), has_label: u32::from(source.byte() % 3), label: source.number() }
    }
}

impl Argument for alluvium_barrier {
    fn make(source: &mut Source<'_>) -> Self {
        let size = if source.byte() == 255 { 3 } else { size_of::<Self>() as u32 };
        let offsets = Argument::make(source);
        Self {
            size,
            reads: u32::from(source.byte() % 3),
            label: u64::from(source.byte()),
            offsets,
            offsets_len: Argument::make(source),
            metadata: source.slice(),
            standalone: u32::from(source.byte() % 3),
        }
    }
}

impl Argument for alluvium_engine_options {
    fn make(source: &mut Source<'_>) -> Self {
        let options: *mut Self = source.place(false);
        // SAFETY: zeros are valid, and it is written then.
        let mut options = unsafe {
            alluvium_engine_options_init(options);
            *options
        };
        options.memory_budget_bytes = 4 << 20;
        options.threads = 1;
        options.storage = ALLUVIUM_STORAGE_POSIX;
        options
    }
}

impl Argument for alluvium_store_options {
    fn make(source: &mut Source<'_>) -> Self {
        let options: *mut Self = source.place(false);
        // SAFETY: zeros are valid, and it is written then.
        let mut options = unsafe {
            alluvium_store_options_init(options);
            *options
        };
        options.durability = u32::from(source.byte() % 4);
        options.transactional = u32::from(source.byte() % 5 == 1);
        options.fetch = u32::from(source.byte() % 4 == 1);
        options.history_checkpoints = u64::from(source.byte() % 3);
        options.changelog_file_bytes = 1 << 20;
        options
    }
}

impl Argument for alluvium_state_options {
    fn make(source: &mut Source<'_>) -> Self {
        let options: *mut Self = source.place(false);
        // SAFETY: zeros are valid, and it is written then.
        let mut options = unsafe {
            alluvium_state_options_init(options);
            *options
        };
        options.kind = u32::from(source.byte() % 5);
        let names = source.names.len();
        let name = usize::from(source.byte());
        options.name = if name == 255 { std::ptr::null() } else { source.names[name % names].as_ptr() };
        options.merge_name = if source.byte() % 2 == 0 { source.names[6].as_ptr() } else { std::ptr::null() };
        options.ttl_ms = u64::from(source.byte() % 3) * 10;
        options.log_mode = u32::from(source.byte() % 4);
        options.traced = u32::from(source.byte() % 3);
        options.schema = source.slice();
        options
    }
}
