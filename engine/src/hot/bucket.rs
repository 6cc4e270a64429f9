//! A bucket: one cache line of twelve tags and twelve references.
//!
//! ```text
//! words 0-1   tag u8 x 12 | passed u8 | 0 u8 x 3        halves 4-15   reference u32 x 12
//! ```
//!
//! A tag is 8 bits of the hash, 0 where the slot is empty. `passed` counts the records that probed past this bucket
//! because it was full, so that a search may stop at the first bucket that nobody passed; it sticks at 255.
//!
//! Only the owner writes. It stores a reference before its tag (release), so a reader that sees the tag (acquire) sees
//! the reference and the record behind it.

#[cfg(not(loom))]
use crate::platform::arena::NONE;
use crate::platform::arena::{Arena, Ref, Words};
use crate::platform::sync::atomic::Ordering;

/// Slots in a bucket.
pub const SLOTS: usize = 12;
/// Words in a bucket.
pub const BUCKET_WORDS: Ref = 8;
const PASSED_SHIFT: u32 = 32;

/// The tag of a hash; never 0.
#[inline]
pub const fn tag_of(hash: u64) -> u8 {
    let tag = hash as u8;
    if tag == 0 { 1 } else { tag }
}

/// A bucket's first two words, as loaded at one time.
#[derive(Clone, Copy, Debug)]
pub struct Tags {
    low: u64,
    high: u64,
}

impl Tags {
    /// The tags of the bucket at `at`.
    #[inline(always)]
    pub fn load(words: Words<'_>, at: Ref) -> Self {
        // Acquire pairs with the release stores in `put`.
        let [low, high] = words.array(at);
        let high = high.load(Ordering::Acquire);
        Self { low: low.load(Ordering::Acquire), high }
    }

    /// A bit for every slot whose tag is `tag` (on other processors than x86-64, rarely for one whose tag is not).
    #[inline(always)]
    pub fn matches(self, tag: u8) -> u32 {
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        {
            simd_matches(self.low, self.high, tag)
        }
        #[cfg(not(all(target_arch = "x86_64", not(loom))))]
        {
            scalar_matches(self.low, self.high, tag)
        }
    }

    /// A bit for every empty slot.
    #[inline]
    pub fn empties(self) -> u32 {
        self.matches(0)
    }

    /// How many records probed past the bucket; 255 stands for any number from there.
    #[inline]
    pub const fn passed(self) -> u8 {
        (self.high >> PASSED_SHIFT) as u8
    }
}

/// SSE2 belongs to every x86-64, so there is nothing to detect.
#[cfg(all(target_arch = "x86_64", not(loom)))]
#[inline(always)]
#[expect(unsafe_code, reason = "SIMD comparison")]
fn simd_matches(low: u64, high: u64, tag: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi64x};
    // SAFETY: SSE2 is part of the x86-64 baseline; the operands are values in registers.
    let mask = unsafe {
        let tags = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
        let wanted = _mm_set1_epi64x((u64::from(tag) * 0x0101_0101_0101_0101).cast_signed());
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, wanted))
    };
    mask as u32 & ((1 << SLOTS) - 1)
}

/// The same with plain arithmetic.
#[cfg(any(test, not(target_arch = "x86_64"), loom))]
fn scalar_matches(low: u64, high: u64, tag: u8) -> u32 {
    let mut mask = 0;
    for (slot, byte) in low.to_le_bytes().into_iter().chain(high.to_le_bytes()).take(SLOTS).enumerate() {
        mask |= u32::from(byte == tag) << slot;
    }
    mask
}

/// The references behind the first and the last tag that fit, [`NONE`] where none does. More than two rarely do.
#[cfg(not(loom))]
#[inline(always)]
pub fn first_and_last(words: Words<'_>, at: Ref, tag: u8) -> (Ref, Ref) {
    let mask = Tags::load(words, at).matches(tag);
    if mask == 0 {
        return (NONE, NONE);
    }
    // Without a branch: which slots they are can't be foretold.
    (reference(words, at, mask.trailing_zeros()), reference(words, at, mask.ilog2()))
}

/// The reference in a slot.
#[inline(always)]
pub fn reference(words: Words<'_>, at: Ref, slot: u32) -> Ref {
    words.half(at, 4 + slot as usize).load(Ordering::Acquire)
}

/// Replaces the reference in a slot whose tag stays.
#[inline]
pub fn swing(arena: &Arena, at: Ref, slot: u32, to: Ref) {
    arena.half(at, 4 + slot as usize).store(to, Ordering::Release);
}

fn set_byte(arena: &Arena, at: Ref, index: u32, byte: u8) {
    let word = arena.word(at + index / 8);
    let shift = index % 8 * 8;
    word.store(word.load(Ordering::Relaxed) & !(0xFF << shift) | u64::from(byte) << shift, Ordering::Release);
}

/// Fills an empty slot.
#[inline]
pub fn put(arena: &Arena, at: Ref, slot: u32, tag: u8, to: Ref) {
    arena.half(at, 4 + slot as usize).store(to, Ordering::Release);
    set_byte(arena, at, slot, tag);
}

/// Empties a slot.
#[inline]
pub fn clear(arena: &Arena, at: Ref, slot: u32) {
    set_byte(arena, at, slot, 0);
}

/// Counts a record that probed past the bucket, or takes one back.
pub fn pass(arena: &Arena, at: Ref, forth: bool) {
    let word = arena.word(at + 1);
    let passed = (word.load(Ordering::Relaxed) >> PASSED_SHIFT) as u8;
    if passed != u8::MAX {
        set_byte(arena, at, 12, if forth { passed + 1 } else { passed.saturating_sub(1) });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_matching_find_the_same_slots() {
        let mut state = 7_u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (low, high) = (state & 0x0303_0303_0303_0303, (state >> 7) & 0x0303_0303_0303_0303);
            for tag in 0..4 {
                assert_eq!(Tags { low, high }.matches(tag), scalar_matches(low, high, tag), "{low:x} {high:x} {tag}");
            }
        }
    }
}
