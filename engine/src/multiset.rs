//! Multisets as values of merging states: elements with counts, which may be negative for a while, as in Z-sets (Budiu and others,
//! DBSP, VLDB 2023).
//!
//! ```text
//! multiset   per element, ascending, each once: len (varint) | element | count (varint, zigzag), never 0
//! ```
//!
//! Operands are multisets, too, and counts add up: so whatever was added can be taken away again, in any order. A set is a multiset of
//! which only what counts above 0 is looked at; a histogram is one of buckets; the greatest and the least, and the first so many, are read off
//! one, where an operator that keeps them alone couldn't go back. Pure: no I/O, no clock, and no panic on any input.

use crate::codec::{DecodeError, Reader, push_varint};

/// The operand that adds `count` times an element; a negative count takes away.
pub fn operand(element: &[u8], count: i64) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, element, count);
    out
}

/// The elements and their counts, ascending; an error where the bytes are no multiset.
pub fn elements(multiset: &[u8]) -> Result<Vec<(&[u8], i64)>, DecodeError> {
    let mut reader = Reader::new(multiset);
    let mut found: Vec<(&[u8], i64)> = Vec::new();
    while reader.remaining() > 0 {
        let (element, count) = take(&mut reader)?;
        if count == 0 || found.last().is_some_and(|(last, _)| *last >= element) {
            return Err(reader.error("no multiset: not ascending, or a count of 0"));
        }
        found.push((element, count));
    }
    Ok(found)
}

/// How often an element is in it; 0 for bytes that are no multiset.
pub fn count(multiset: &[u8], element: &[u8]) -> i64 {
    let mut reader = Reader::new(multiset);
    while let Ok((found, count)) = take(&mut reader) {
        if found >= element {
            return if found == element { count } else { 0 };
        }
    }
    0
}

/// The `k` greatest elements that count above 0, greatest first, with their counts.
pub fn top(multiset: &[u8], k: usize) -> Result<Vec<(&[u8], i64)>, DecodeError> {
    let all = elements(multiset)?;
    Ok(all.into_iter().rev().filter(|(_, count)| *count > 0).take(k).collect())
}

/// `older` and `newer` together, into `out`. What comes of bytes that are no multisets is none.
pub(crate) fn merge(older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
    let (mut a, mut b) = (Reader::new(older), Reader::new(newer));
    let (mut one, mut other) = (take(&mut a).ok(), take(&mut b).ok());
    loop {
        match (one, other) {
            (None, None) => return,
            (Some((left, n)), Some((right, m))) if left == right => {
                push(out, left, n.wrapping_add(m));
                (one, other) = (take(&mut a).ok(), take(&mut b).ok());
            }
            (Some((left, n)), right) if right.is_none_or(|(right, _)| left < right) => {
                push(out, left, n);
                one = take(&mut a).ok();
            }
            (_, Some((right, m))) => {
                push(out, right, m);
                other = take(&mut b).ok();
            }
            (Some(_), None) => return,
        }
    }
}

/// What takes away what a multiset adds.
pub(crate) fn inverse(multiset: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(multiset.len());
    elements(multiset).ok()?.into_iter().for_each(|(element, count)| push(&mut out, element, count.wrapping_neg()));
    Some(out)
}

fn push(out: &mut Vec<u8>, element: &[u8], count: i64) {
    if count != 0 {
        push_varint(out, element.len() as u64);
        out.extend_from_slice(element);
        push_varint(out, ((count << 1) ^ (count >> 63)) as u64);
    }
}

fn take<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], i64), DecodeError> {
    let len = usize::try_from(reader.varint()?).map_err(|_| reader.error("an element is too long"))?;
    let element = reader.bytes(len)?;
    let count = reader.varint()?;
    Ok((element, (count >> 1) as i64 ^ -((count & 1) as i64)))
}

#[cfg(test)]
mod unit {
    use super::*;
    use std::collections::BTreeMap;

    fn encode(model: &BTreeMap<Vec<u8>, i64>) -> Vec<u8> {
        let mut out = Vec::new();
        model.iter().for_each(|(element, count)| push(&mut out, element, *count));
        out
    }

    #[test]
    fn counts_add_up_and_are_taken_away_again() {
        let seed = crate::platform::random::random();
        println!("seed {seed}");
        let mut state = seed;
        let mut next = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut model: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let (mut value, mut added) = (Vec::new(), Vec::new());
        for _ in 0..2_000 {
            let element = vec![b'e'; next(40) as usize];
            let count = next(7) as i64 - 3;
            let one = operand(&element, count);
            *model.entry(element.clone()).or_default() += count;
            model.retain(|_, count| *count != 0);
            let mut merged = Vec::new();
            merge(&value, &one, &mut merged);
            value = merged;
            added.push(one);
            assert_eq!(value, encode(&model), "seed {seed}");
            assert_eq!(super::count(&value, &element), model.get(&element).copied().unwrap_or(0));
        }
        let top_three: Vec<_> = model.iter().rev().filter(|(_, n)| **n > 0).take(3).collect();
        let found = top(&value, 3).unwrap();
        assert_eq!(
            found.iter().map(|(e, n)| (e.to_vec(), *n)).collect::<Vec<_>>(),
            top_three.iter().map(|(e, n)| (e.to_vec(), **n)).collect::<Vec<_>>()
        );
        for one in added {
            let mut merged = Vec::new();
            merge(&value, &inverse(&one).unwrap(), &mut merged);
            value = merged;
        }
        assert!(value.is_empty(), "seed {seed}");
    }

    #[test]
    fn what_is_no_multiset_is_refused() {
        for bytes in [&[1][..], &[1, b'a'], &[1, b'a', 0], &[1, b'b', 2, 1, b'a', 2], &[1, b'a', 2, 1, b'a', 2]] {
            assert!(elements(bytes).is_err() && inverse(bytes).is_none(), "{bytes:?}");
        }
        assert_eq!(elements(&operand(b"x", i64::MIN)).unwrap(), [(&b"x"[..], i64::MIN)]);
    }
}
