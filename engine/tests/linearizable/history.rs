//! Histories of one writer and many readers, and whether they are linearizable (Herlihy and Wing, *Linearizability*, TOPLAS
//! 1990): each read has what one version of its object has, at one moment between its begin and its end, and no read that
//! begins after another one's end has an older version than that.
//!
//! With one writer the versions of an object are in order already, so nothing needs to be searched: of the versions that a
//! read may have, the oldest one that is as young as those of all reads before it leaves the most room to the reads after it.
//! Objects are looked at one by one, as linearizability is local (theorem 1 there).

use std::collections::BTreeMap;
use std::fmt;

/// What an object holds: numbers, each of which stands for the bytes that a writer gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contents {
    Cell(Option<u64>),
    List(Vec<u64>),
    Map(BTreeMap<u64, u64>),
}

/// What a read found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The whole object.
    Whole(Contents),
    /// An entry of a map.
    Entry(u64, Option<u64>),
    /// Whether a map has an entry.
    There(u64, bool),
}

impl Seen {
    fn is_of(&self, contents: &Contents) -> bool {
        match (self, contents) {
            (Self::Whole(seen), _) => seen == contents,
            (Self::Entry(entry, value), Contents::Map(map)) => map.get(entry) == value.as_ref(),
            (Self::There(entry, there), Contents::Map(map)) => map.contains_key(entry) == *there,
            _ => false,
        }
    }
}

/// From when to when an operation took; moments are drawn from one counter, so they are in the order in which they were drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub begun: u64,
    pub done: u64,
}

impl Span {
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.begun < other.done && other.begun < self.done
    }
}

#[derive(Clone, Debug)]
pub struct Version {
    pub span: Span,
    pub contents: Contents,
}

#[derive(Clone, Debug)]
pub struct Read {
    pub span: Span,
    pub seen: Seen,
}

/// A read that no order of the operations explains.
#[derive(Debug)]
pub struct Unexplained {
    pub read: Read,
    /// The versions that the read may have by their times.
    pub may_be: Vec<Version>,
    /// The oldest one that it may have by what was read before it.
    pub not_before: usize,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} is none of, from the {}th on:", self.read, self.not_before)?;
        self.may_be.iter().try_for_each(|version| writeln!(f, "  {version:?}"))
    }
}

/// Whether these reads of an object, in any order, fit its versions, the oldest first.
pub fn check(versions: &[Version], mut reads: Vec<Read>) -> Result<(), Unexplained> {
    reads.sort_by_key(|read| read.span.begun);
    // The versions of the reads so far, by when those ended; and the youngest among those that ended before the next begins.
    let mut ended: BTreeMap<u64, usize> = BTreeMap::new();
    let mut youngest = 0;
    for read in reads {
        let later = ended.split_off(&read.span.begun);
        youngest = ended.into_values().fold(youngest, usize::max);
        ended = later;
        // A version is there from some moment of its own writing to some moment of the next one's.
        let first = versions.partition_point(|version| version.span.done < read.span.begun).saturating_sub(1);
        let end = versions.partition_point(|version| version.span.begun < read.span.done);
        let mut may_be = first.max(youngest)..end;
        let Some(at) = may_be.find(|&at| read.seen.is_of(&versions[at].contents)) else {
            return Err(Unexplained {
                read,
                may_be: versions[first..end].to_vec(),
                not_before: youngest.max(first) - first,
            });
        };
        ended.insert(read.span.done, at);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(spans: &[(u64, u64)]) -> Vec<Version> {
        let version = |(&(begun, done), n)| Version { span: Span { begun, done }, contents: Contents::Cell(Some(n)) };
        spans.iter().zip(0..).map(version).collect()
    }

    fn fits(reads: &[(u64, u64, u64)]) -> bool {
        let versions = versions(&[(0, 0), (10, 20), (30, 40), (30, 40)]);
        let read = |&(begun, done, n)| Read { span: Span { begun, done }, seen: Seen::Whole(Contents::Cell(Some(n))) };
        check(&versions, reads.iter().map(read).collect()).is_ok()
    }

    #[test]
    fn histories_with_an_order_are_told_from_those_without() {
        // What was there before, during and after a write.
        assert!(fits(&[(1, 2, 0), (11, 12, 0), (13, 14, 1), (21, 22, 1)]));
        assert!(fits(&[(5, 15, 1)]) && fits(&[(15, 25, 0)]) && fits(&[(5, 25, 0)]));
        // Not yet written; overwritten; never there.
        assert!(!fits(&[(1, 2, 1)]) && !fits(&[(21, 22, 0)]) && !fits(&[(21, 22, 7)]));
        // The younger one first, and then the older one again, though each for itself may be.
        assert!(!fits(&[(11, 12, 1), (13, 14, 0)]));
        // Beside each other they may.
        assert!(fits(&[(11, 14, 1), (12, 13, 0)]));
        // An operation of two steps, seen after the first one of them.
        assert!(fits(&[(31, 32, 1), (33, 34, 2), (35, 36, 3)]) && !fits(&[(33, 34, 3), (35, 36, 2)]));
        assert!(!fits(&[(41, 42, 2)]));
    }
}
