//! The reservation, its chunks, and the budget.

use super::ahead::{self, Ahead};
use super::shares::{Share, Shares};
use crate::platform::arena::Ref;
use crate::platform::sync::Mutex;
use crate::platform::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::platform::threads::{self, Thread};
use std::ops::Range;
use std::sync::OnceLock;

/// What is committed and given back as a whole, in bytes.
#[cfg(not(loom))]
pub const CHUNK_BYTES: usize = 32 << 10;
/// What is committed and given back as a whole, in bytes; small, as a model checker keeps every word apart.
#[cfg(loom)]
pub const CHUNK_BYTES: usize = 1 << 10;

/// The most that 32-bit references reach.
const RESERVE_BYTES_MAX: usize = 32 << 30;

/// An arena that can't be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("reserving {bytes} bytes of address space: {detail}")]
pub struct ArenaError {
    /// How much was asked for.
    pub bytes: usize,
    /// The operating system's answer.
    pub detail: String,
}

/// Which chunks are free; a set bit is a chunk in use.
#[derive(Debug)]
struct Pool {
    in_use: Vec<u64>,
    /// Chunks that were touched at some time and not returned to the operating system since.
    resident: Vec<u64>,
    resident_chunks: usize,
    used_chunks: usize,
    /// No chunk below this word of `in_use` is free.
    floor: usize,
    shares: Shares,
    /// Heap memory that counts for shares, in bytes.
    charged_to_shares_bytes: usize,
    ahead: Ahead,
}

/// One budget of memory; see the module's head.
#[derive(Debug)]
pub struct Arena {
    memory: Memory,
    reserved_bytes: usize,
    budget_bytes: AtomicUsize,
    /// Heap memory outside the reservation that counts against the budget, but for no share.
    charged_bytes: AtomicUsize,
    used_bytes: AtomicUsize,
    pool: Mutex<Pool>,
    /// Bytes in use per chunk, kept by the allocator that holds it.
    live: Box<[AtomicU32]>,
    /// The thread that populates memory ahead of its use, where there is one.
    populates: OnceLock<Thread>,
}

impl Arena {
    /// Reserves address space for `budget_bytes` (rounded down to whole chunks) and for growing it up to
    /// `ceiling_bytes`; nothing is committed yet.
    pub fn new(budget_bytes: usize, ceiling_bytes: usize) -> Result<Self, ArenaError> {
        let round = |bytes: usize| bytes.clamp(2 * CHUNK_BYTES, RESERVE_BYTES_MAX) / CHUNK_BYTES * CHUNK_BYTES;
        let (budget_bytes, ceiling_bytes) = (round(budget_bytes), round(ceiling_bytes.max(budget_bytes)));
        // A process limit on address space may forbid the ceiling but not the budget itself.
        let (memory, reserved_bytes) = match Memory::reserve(ceiling_bytes) {
            Ok(memory) => (memory, ceiling_bytes),
            Err(_) => (Memory::reserve(budget_bytes)?, budget_bytes),
        };
        let chunks = reserved_bytes / CHUNK_BYTES;
        let words = chunks.div_ceil(64);
        let mut in_use = vec![0; words];
        // Chunk 0 is never handed out, so that no reference is 0.
        in_use[0] = 1;
        let pool = Pool {
            in_use,
            resident: vec![0; words],
            resident_chunks: 0,
            used_chunks: 0,
            floor: 0,
            shares: Shares::new(),
            charged_to_shares_bytes: 0,
            ahead: Ahead::default(),
        };
        Ok(Self {
            memory,
            reserved_bytes,
            budget_bytes: AtomicUsize::new(budget_bytes),
            charged_bytes: AtomicUsize::new(0),
            used_bytes: AtomicUsize::new(0),
            pool: Mutex::new(pool),
            live: (0..chunks).map(|_| AtomicU32::new(0)).collect(),
            populates: OnceLock::new(),
        })
    }

    /// Whether the system was willing to back it with huge pages.
    pub fn has_huge_pages(&self) -> bool {
        self.memory.has_huge_pages()
    }

    /// The budget in bytes.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes.load(Ordering::Relaxed)
    }

    /// Chunks in use plus charges, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// What is left of the budget, in bytes.
    pub fn free_bytes(&self) -> usize {
        self.budget_bytes().saturating_sub(self.used_bytes())
    }

    /// Takes a run of `chunks` chunks for a share; `None` where the budget, the share or the reservation has no room for it.
    pub fn take(&self, share: &Share, chunks: usize) -> Option<Ref> {
        let bytes = chunks.checked_mul(CHUNK_BYTES)?;
        let mut pool = self.pool.lock();
        if self.used_bytes().checked_add(bytes)? > self.budget_bytes()
            || pool.shares.stopped_at(share.at, bytes, self.shared_bytes()).is_some()
        {
            return None;
        }
        let first = pool.find(chunks, self.reserved_bytes / CHUNK_BYTES)?;
        pool.mark(first, chunks, true);
        pool.shares.add(share.at, bytes, bytes);
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.trim(&mut pool);
        let more = pool.ahead.note(first + chunks, self.budget_bytes());
        drop(pool);
        if more && let Some(thread) = self.populates.get() {
            thread.unpark();
        }
        Ref::try_from(first * CHUNK_BYTES / 8).ok()
    }

    /// Populates what is used next, ahead of its use, and then waits to be woken for more; until `stopped` says so. For a thread of its own, which is
    /// to be unparked then; where the budget is too small for that, or the system doesn't know how, it ends at once.
    pub fn populate(&self, stopped: impl Fn() -> bool) {
        if !ahead::has_lead(self.reserved_bytes) || self.populates.set(threads::current()).is_err() {
            return;
        }
        while !stopped() {
            match self.populate_next() {
                Some(true) => {}
                Some(false) => threads::park(),
                None => return,
            }
        }
    }

    /// Populates the next page; false where there is none to be, and `None` where the system doesn't do it.
    fn populate_next(&self) -> Option<bool> {
        let page = {
            let mut pool = self.pool.lock();
            let Some(page) = pool.ahead.next(self.budget_bytes()) else { return Some(false) };
            let more = page.clone().filter(|&chunk| !pool.is_resident(chunk)).count();
            if page.end > self.reserved_bytes / CHUNK_BYTES
                || pool.resident_chunks + self.charged_chunks(&pool) + more > self.budget_bytes() / CHUNK_BYTES
            {
                return Some(false);
            }
            // Counted before it is there, and left alone by `trim` until it is.
            pool.note_resident(page.clone());
            pool.ahead.begin(page.clone());
            page
        };
        // Not under the lock: it takes up to some ms. Whoever is handed a part of the page meanwhile may use it, and loses nothing of it.
        let done = self.memory.populate(page.start * CHUNK_BYTES, page.len() * CHUNK_BYTES);
        self.pool.lock().ahead.under_way = 0..0;
        done.then_some(true)
    }

    /// Memory that is there, in use or not, in bytes.
    #[cfg(all(test, not(loom)))]
    pub(super) fn resident_bytes(&self) -> usize {
        self.pool.lock().resident_chunks * CHUNK_BYTES
    }

    /// What is charged, in chunks.
    fn charged_chunks(&self, pool: &Pool) -> usize {
        let charged_bytes = self.charged_bytes.load(Ordering::Relaxed) + pool.charged_to_shares_bytes;
        charged_bytes.div_ceil(CHUNK_BYTES)
    }

    /// The budget that shares divide: without what is charged to none of them, in bytes.
    fn shared_bytes(&self) -> usize {
        self.budget_bytes().saturating_sub(self.charged_bytes.load(Ordering::Relaxed))
    }

    /// Looks at the shares, or changes them; they are told how many bytes they divide.
    pub(super) fn with_shares<R>(&self, look: impl FnOnce(&mut Shares, usize) -> R) -> R {
        let mut pool = self.pool.lock();
        look(&mut pool.shares, self.shared_bytes())
    }

    /// Gives back a run that [`Arena::take`] handed out for a share.
    pub fn give_back(&self, share: &Share, first: Ref, chunks: usize) {
        let mut pool = self.pool.lock();
        pool.shares.subtract(share.at, chunks * CHUNK_BYTES, chunks * CHUNK_BYTES);
        pool.mark(chunk_of(first), chunks, false);
        self.used_bytes.fetch_sub(chunks * CHUNK_BYTES, Ordering::Relaxed);
    }

    /// Counts `bytes` of heap memory for a share, as [`Arena::take`] does chunks. `admits` is told whether there is room for them, and how
    /// large the budget is; false, and nothing counted, where it says so.
    pub(super) fn charge_to(
        &self,
        at: usize,
        bytes: usize,
        admits: impl FnOnce(&mut Shares, bool, usize) -> bool,
    ) -> bool {
        let mut pool = self.pool.lock();
        let budget_bytes = self.budget_bytes();
        let fits = self.used_bytes().checked_add(bytes).is_some_and(|all| all <= budget_bytes)
            && pool.shares.stopped_at(at, bytes, self.shared_bytes()).is_none();
        if !admits(&mut pool.shares, fits, budget_bytes) {
            return false;
        }
        pool.shares.add(at, bytes, bytes);
        pool.charged_to_shares_bytes += bytes;
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.trim(&mut pool);
        true
    }

    /// Takes back what was counted for a share; `also` changes what else the shares say of it.
    pub(super) fn uncharge_from(&self, at: usize, bytes: usize, also: impl FnOnce(&mut Shares)) {
        let mut pool = self.pool.lock();
        also(&mut pool.shares);
        pool.shares.subtract(at, bytes, bytes);
        pool.charged_to_shares_bytes -= bytes;
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` of heap memory against the budget even where there is no room: for what is needed to make some.
    pub fn charge_forced(&self, bytes: usize) {
        let mut pool = self.pool.lock();
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.charged_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.trim(&mut pool);
    }

    /// Takes back a charge that counts for no share.
    pub fn uncharge(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.charged_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Changes the budget. A smaller one takes effect as its users give memory back.
    pub fn set_budget_bytes(&self, bytes: usize) {
        let mut pool = self.pool.lock();
        self.budget_bytes.store(bytes.min(self.reserved_bytes), Ordering::Relaxed);
        self.trim(&mut pool);
    }

    /// Returns free but resident chunks to the operating system while they and the charges pass the budget.
    fn trim(&self, pool: &mut Pool) {
        let budget = self.budget_bytes() / CHUNK_BYTES;
        let charged = self.charged_chunks(pool);
        let mut word = pool.resident.len();
        while pool.resident_chunks + charged > budget && word > 0 {
            word -= 1;
            let idle = pool.resident[word] & !pool.in_use[word];
            for bit in (0..64).rev().filter(|bit| idle >> bit & 1 == 1) {
                if pool.ahead.under_way.contains(&(word * 64 + bit)) {
                    continue;
                }
                self.memory.release((word * 64 + bit) * CHUNK_BYTES, CHUNK_BYTES);
                pool.resident[word] &= !(1 << bit);
                pool.resident_chunks -= 1;
            }
        }
    }

    /// The counter of bytes in use in the chunk that holds `at`.
    pub(super) fn live(&self, at: Ref) -> &AtomicU32 {
        &self.live[chunk_of(at)]
    }

    /// The words, for code that goes through many of them.
    #[inline(always)]
    pub fn words(&self) -> Words<'_> {
        self.memory.words()
    }

    /// The word at `at`, for atomic access.
    #[inline(always)]
    pub fn word(&self, at: Ref) -> &AtomicU64 {
        self.memory.word(at as usize)
    }

    /// The `index`-th 32-bit half word after `at`. A place is used as words or as halves, never both.
    #[inline(always)]
    pub fn half(&self, at: Ref, index: usize) -> &AtomicU32 {
        self.memory.half(at as usize * 2 + index)
    }

    /// Asks the processor to fetch the cache line at `at`.
    #[inline]
    pub fn prefetch(&self, at: Ref) {
        self.memory.prefetch(at as usize);
    }

    /// Copies bytes in; the place must not be published yet, or be guarded by a sequence (then use
    /// [`Arena::write_words`]).
    #[inline]
    pub fn write(&self, at: Ref, bytes: &[u8]) {
        self.memory.write(at as usize, bytes);
    }

    /// Copies bytes in word by word, atomically each, for places that readers may look at meanwhile.
    #[inline]
    pub fn write_words(&self, at: Ref, bytes: &[u8]) {
        let words = self.memory.slice(at as usize, bytes.len().div_ceil(8));
        let (whole, rest) = bytes.as_chunks::<8>();
        for (word, part) in words.iter().zip(whole) {
            word.store(u64::from_le_bytes(*part), Ordering::Relaxed);
        }
        if let Some(last) = words.get(whole.len()) {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            last.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
    }

    /// Appends `len` bytes to `out`, loading word by word, atomically each.
    #[inline]
    pub fn read_words(&self, at: Ref, len: usize, out: &mut Vec<u8>) {
        let end = out.len() + len;
        let words = self.memory.slice(at as usize, len.div_ceil(8));
        out.reserve(words.len() * 8);
        for word in words {
            out.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        out.truncate(end);
    }

    /// Whether the bytes at `at` are `bytes`; they must be immutable while published.
    #[inline(always)]
    pub fn equals(&self, at: Ref, bytes: &[u8]) -> bool {
        self.memory.equals(at as usize, bytes)
    }

    /// The bytes at `at`.
    ///
    /// # Safety
    /// Nobody may write these bytes while the slice lives: they are immutable (a published key, a sealed record), or
    /// the caller is their only writer.
    #[cfg(not(loom))]
    #[inline]
    #[expect(unsafe_code, reason = "borrows arena memory whose writers the caller rules out")]
    pub unsafe fn bytes(&self, at: Ref, len: usize) -> &[u8] {
        // SAFETY: the caller rules out writers; `Memory::bytes` checks the bounds.
        unsafe { self.memory.bytes(at as usize, len) }
    }
}

fn chunk_of(at: Ref) -> usize {
    at as usize * 8 / CHUNK_BYTES
}

impl Pool {
    fn find(&mut self, chunks: usize, total: usize) -> Option<usize> {
        if chunks == 1 {
            while self.floor < self.in_use.len() {
                let free = !self.in_use[self.floor];
                if free != 0 {
                    let chunk = self.floor * 64 + free.trailing_zeros() as usize;
                    return (chunk < total).then_some(chunk);
                }
                self.floor += 1;
            }
            return None;
        }
        let mut run = 0;
        for chunk in self.floor * 64..total {
            run = if self.in_use[chunk / 64] >> (chunk % 64) & 1 == 0 { run + 1 } else { 0 };
            if run == chunks {
                return Some(chunk + 1 - chunks);
            }
        }
        None
    }

    fn is_resident(&self, chunk: usize) -> bool {
        self.resident[chunk / 64] >> (chunk % 64) & 1 == 1
    }

    fn note_resident(&mut self, chunks: Range<usize>) {
        for chunk in chunks {
            self.resident_chunks += usize::from(!self.is_resident(chunk));
            self.resident[chunk / 64] |= 1 << (chunk % 64);
        }
    }

    fn mark(&mut self, first: usize, chunks: usize, used: bool) {
        for chunk in first..first + chunks {
            let (word, bit) = (chunk / 64, 1_u64 << (chunk % 64));
            if used {
                self.in_use[word] |= bit;
            } else {
                self.in_use[word] &= !bit;
            }
        }
        if used {
            self.note_resident(first..first + chunks);
            self.used_chunks += chunks;
        } else {
            self.used_chunks -= chunks;
            self.floor = self.floor.min(first / 64);
        }
    }
}

#[cfg(not(loom))]
use mapped::Memory;
#[cfg(not(loom))]
pub use mapped::Words;
#[cfg(loom)]
use modelled::Memory;
#[cfg(loom)]
pub use modelled::Words;

#[cfg(not(loom))]
mod mapped {
    #![expect(unsafe_code, reason = "the one place that turns references into addresses")]

    use super::{ArenaError, AtomicU32, AtomicU64, Ref};
    use std::marker::PhantomData;

    /// Where the words of an arena lie. A copy of it stays in registers: through the arena, whatever follows an acquiring
    /// load would look up anew where the memory is.
    #[derive(Clone, Copy, Debug)]
    pub struct Words<'a> {
        base: *mut u8,
        last: usize,
        memory: PhantomData<&'a Memory>,
    }

    impl<'a> Words<'a> {
        /// As [`Memory::at_word`].
        #[inline(always)]
        fn at(self, offset: usize) -> *mut u8 {
            // SAFETY: at most the offset of the mapping's last word; a mapping has at least two chunks.
            unsafe { self.base.add(offset.min(self.last)) }
        }

        /// The word at `at`, for atomic access.
        #[inline(always)]
        pub fn word(self, at: Ref) -> &'a AtomicU64 {
            // SAFETY: in bounds, 8-aligned since base and length are, zero-initialised, and mapped while the memory lives.
            unsafe { &*self.at(at as usize * 8).cast::<AtomicU64>() }
        }

        /// The `N` words from `at` on; `N` is at most a chunk's.
        #[inline(always)]
        pub fn array<const N: usize>(self, at: Ref) -> &'a [AtomicU64; N] {
            const { assert!(N > 0 && N * 8 <= super::CHUNK_BYTES) };
            let offset = (at as usize * 8).min(self.last + 8 - N * 8);
            // SAFETY: in bounds, 8-aligned and zero-initialised as for `word`; an array is aligned as its items.
            unsafe { &*self.base.add(offset).cast::<[AtomicU64; N]>() }
        }

        /// The `index`-th 32-bit half word after `at`.
        #[inline(always)]
        pub fn half(self, at: Ref, index: usize) -> &'a AtomicU32 {
            // SAFETY: as for `word`, with 4 bytes and their alignment.
            unsafe { &*self.at(at as usize * 8 + index * 4).cast::<AtomicU32>() }
        }
    }

    /// A reservation of zeroed, private memory.
    #[derive(Debug)]
    pub struct Memory {
        base: *mut u8,
        bytes: usize,
        huge_pages: bool,
    }

    // SAFETY: the memory belongs to this value alone, and is shared only through atomics or under `bytes`' contract.
    unsafe impl Send for Memory {}
    // SAFETY: as for `Send`.
    unsafe impl Sync for Memory {}

    impl Memory {
        pub fn reserve(bytes: usize) -> Result<Self, ArenaError> {
            const HUGE: usize = super::ahead::PAGE_BYTES;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a fresh anonymous mapping at an address that the kernel chooses touches no other memory.
            let base = unsafe {
                libc::mmap(std::ptr::null_mut(), bytes + HUGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
            };
            if base == libc::MAP_FAILED {
                let detail = std::io::Error::last_os_error().to_string();
                return Err(ArenaError { bytes, detail });
            }
            let base = base.cast::<u8>();
            let lead = base.align_offset(HUGE);
            // SAFETY: `lead < HUGE` bytes at the front and the rest at the back lie in the mapping just made and hold
            // nothing; afterwards exactly `bytes` bytes stay mapped.
            let base = unsafe {
                if lead > 0 {
                    libc::munmap(base.cast(), lead);
                }
                if lead < HUGE {
                    libc::munmap(base.add(lead + bytes.next_multiple_of(4096)).cast(), HUGE - lead);
                }
                base.add(lead)
            };
            // SAFETY: advice on our own mapping; where huge pages are denied it fails and nothing else changes.
            let advised = unsafe { libc::madvise(base.cast(), bytes, libc::MADV_HUGEPAGE) };
            Ok(Self { base, bytes, huge_pages: advised == 0 })
        }

        pub fn has_huge_pages(&self) -> bool {
            self.huge_pages
        }

        pub fn release(&self, offset: usize, len: usize) {
            assert!(offset + len <= self.bytes);
            // SAFETY: in bounds of our mapping; the pages read as zero afterwards, which every user of a chunk expects.
            unsafe { libc::madvise(self.base.add(offset).cast(), len, libc::MADV_DONTNEED) };
        }

        /// Has the system back what lies there, without a change to it; false where it doesn't (before Linux 5.14).
        pub fn populate(&self, offset: usize, len: usize) -> bool {
            assert!(offset + len <= self.bytes);
            // SAFETY: in bounds of our mapping. It acts as a write of what is there, and isn't seen by anybody who reads or writes meanwhile.
            unsafe { libc::madvise(self.base.add(offset).cast(), len, libc::MADV_POPULATE_WRITE) == 0 }
        }

        #[inline(always)]
        pub fn words(&self) -> Words<'_> {
            Words { base: self.base, last: self.bytes - 8, memory: PhantomData }
        }

        #[inline(always)]
        fn at(&self, offset: usize, len: usize) -> *mut u8 {
            assert!(offset + len <= self.bytes);
            // SAFETY: in bounds of the mapping, as just asserted.
            unsafe { self.base.add(offset) }
        }

        /// The address of an aligned word of up to 8 bytes. An offset beyond the end, which no right reference makes,
        /// is brought to the last word: without a branch, as this is on every path.
        #[inline(always)]
        fn at_word(&self, offset: usize) -> *mut u8 {
            // SAFETY: at most the offset of the mapping's last word; a mapping has at least two chunks.
            unsafe { self.base.add(offset.min(self.bytes - 8)) }
        }

        #[inline(always)]
        pub fn word(&self, index: usize) -> &AtomicU64 {
            // SAFETY: in bounds, 8-aligned since base and length are, zero-initialised, and mapped while `self` lives.
            unsafe { &*self.at_word(index * 8).cast::<AtomicU64>() }
        }

        /// The words from `index` on: so many, or as many as there are, which is fewer only for what no right reference makes.
        #[inline(always)]
        pub fn slice(&self, index: usize, len: usize) -> &[AtomicU64] {
            let offset = (index * 8).min(self.bytes - 8);
            let len = len.min((self.bytes - offset) / 8);
            // SAFETY: in bounds, 8-aligned and zero-initialised as for `word`; atomics may be shared.
            unsafe { std::slice::from_raw_parts(self.at_word(offset).cast::<AtomicU64>(), len) }
        }

        #[inline(always)]
        pub fn half(&self, index: usize) -> &AtomicU32 {
            // SAFETY: as for `word`, with 4 bytes and their alignment.
            unsafe { &*self.at_word(index * 4).cast::<AtomicU32>() }
        }

        #[inline]
        pub fn prefetch(&self, index: usize) {
            let address = self.base.wrapping_add(index * 8);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a prefetch has no effect on memory and may be given any address.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = address;
        }

        #[inline]
        pub fn write(&self, index: usize, bytes: &[u8]) {
            let to = self.at(index * 8, bytes.len());
            // SAFETY: in bounds; `bytes` can't overlap memory that only this arena hands out; the place is not
            // published, so nobody else looks at it.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        }

        #[inline(always)]
        pub fn equals(&self, index: usize, bytes: &[u8]) -> bool {
            // SAFETY: the bytes are immutable while published, by the contract of `Arena::equals`.
            let ours = unsafe { self.bytes(index, bytes.len()) };
            // Keys are short: comparing words here beats a call.
            if bytes.len() > 48 {
                return ours == bytes;
            }
            let (words, rest) = bytes.as_chunks::<8>();
            let (our_words, our_rest) = ours.as_chunks::<8>();
            let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
            let mut differ = 0;
            for (a, b) in words.iter().zip(our_words) {
                differ |= word(a) ^ word(b);
            }
            for (a, b) in rest.iter().zip(our_rest) {
                differ |= u64::from(a ^ b);
            }
            differ == 0
        }

        #[inline(always)]
        pub unsafe fn bytes(&self, index: usize, len: usize) -> &[u8] {
            // SAFETY: in bounds and initialised (zero pages); the caller rules out writers.
            unsafe { std::slice::from_raw_parts(self.at(index * 8, len), len) }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: our own mapping, and nobody holds a borrow of it any more.
            unsafe { libc::munmap(self.base.cast(), self.bytes.next_multiple_of(4096)) };
        }
    }
}

#[cfg(loom)]
mod modelled {
    use super::{ArenaError, AtomicU32, AtomicU64, Ref};
    use crate::platform::sync::atomic::Ordering;

    /// Where the words of an arena lie.
    #[derive(Clone, Copy, Debug)]
    pub struct Words<'a>(&'a Memory);

    impl<'a> Words<'a> {
        /// The word at `at`.
        pub fn word(self, at: Ref) -> &'a AtomicU64 {
            self.0.word(at as usize)
        }

        /// The `N` words from `at` on.
        pub fn array<const N: usize>(self, at: Ref) -> [&'a AtomicU64; N] {
            std::array::from_fn(|index| self.0.word(at as usize + index))
        }

        /// The `index`-th half word after `at`.
        pub fn half(self, at: Ref, index: usize) -> &'a AtomicU32 {
            self.0.half(at as usize * 2 + index)
        }
    }

    /// The same memory as two vectors of model atomics: one for places used as words, one for those used as halves.
    #[derive(Debug)]
    pub struct Memory {
        words: Vec<AtomicU64>,
        halves: Vec<AtomicU32>,
    }

    impl Memory {
        pub fn reserve(bytes: usize) -> Result<Self, ArenaError> {
            Ok(Self {
                words: (0..bytes / 8).map(|_| AtomicU64::new(0)).collect(),
                halves: (0..bytes / 4).map(|_| AtomicU32::new(0)).collect(),
            })
        }

        pub fn has_huge_pages(&self) -> bool {
            false
        }

        pub fn words(&self) -> Words<'_> {
            Words(self)
        }

        pub fn release(&self, _offset: usize, _len: usize) {}

        pub fn populate(&self, _offset: usize, _len: usize) -> bool {
            false
        }

        pub fn word(&self, index: usize) -> &AtomicU64 {
            &self.words[index]
        }

        pub fn slice(&self, index: usize, len: usize) -> &[AtomicU64] {
            &self.words[index..index + len]
        }

        pub fn half(&self, index: usize) -> &AtomicU32 {
            &self.halves[index]
        }

        pub fn prefetch(&self, _index: usize) {}

        pub fn write(&self, index: usize, bytes: &[u8]) {
            for (at, part) in bytes.chunks(8).enumerate() {
                let mut word = [0; 8];
                word[..part.len()].copy_from_slice(part);
                self.words[index + at].store(u64::from_le_bytes(word), Ordering::Relaxed);
            }
        }

        pub fn equals(&self, index: usize, bytes: &[u8]) -> bool {
            bytes.chunks(8).enumerate().all(|(at, part)| {
                let word = self.words[index + at].load(Ordering::Relaxed).to_le_bytes();
                &word[..part.len()] == part
            })
        }
    }
}
