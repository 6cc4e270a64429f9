//! What there are handles of.

use std::fmt;

/// What a handle stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// An engine.
    Engine = 1,
    /// A part of an engine's memory budget.
    Share = 2,
    /// A store.
    Store = 3,
    /// A writer.
    Writer = 4,
    /// A reader.
    Reader = 5,
    /// A snapshot.
    Snapshot = 6,
    /// A cursor.
    Cursor = 7,
    /// Reads in flight.
    Ticket = 8,
    /// A checkpoint on its way.
    Pending = 9,
    /// What is known of a checkpoint or commit.
    Info = 10,
    /// A checkpoint's files.
    Files = 11,
    /// What a store wants of its host.
    Fetches = 12,
    /// A walk through a checkpoint.
    Iterator = 13,
    /// A load of sorted data.
    BulkLoad = 14,
    /// Bytes that calls leave for their caller.
    Buffer = 15,
    /// What went wrong.
    Error = 16,
    /// A commit, and the word on whether it lasts.
    Commit = 17,
    /// A store as it was at a position of its changelog.
    Past = 18,
    /// What a repair, or a question about events, came to.
    Repair = 19,
    /// Keys that are being brought into memory.
    Warming = 20,
}

impl Kind {
    const ALL: [Self; 20] = [
        Self::Engine,
        Self::Share,
        Self::Store,
        Self::Writer,
        Self::Reader,
        Self::Snapshot,
        Self::Cursor,
        Self::Ticket,
        Self::Pending,
        Self::Info,
        Self::Files,
        Self::Fetches,
        Self::Iterator,
        Self::BulkLoad,
        Self::Buffer,
        Self::Error,
        Self::Commit,
        Self::Past,
        Self::Repair,
        Self::Warming,
    ];

    /// The kind of a number.
    pub fn of(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u64 == number)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Engine => "an engine",
            Self::Share => "a share",
            Self::Store => "a store",
            Self::Writer => "a writer",
            Self::Reader => "a reader",
            Self::Snapshot => "a snapshot",
            Self::Cursor => "a cursor",
            Self::Ticket => "a ticket",
            Self::Pending => "a pending checkpoint",
            Self::Info => "an info",
            Self::Files => "a checkpoint's files",
            Self::Fetches => "fetches",
            Self::Iterator => "an iterator",
            Self::BulkLoad => "a load",
            Self::Buffer => "a buffer",
            Self::Error => "an error",
            Self::Commit => "a commit",
            Self::Past => "a view of the past",
            Self::Repair => "a repair",
            Self::Warming => "a warming",
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u32);

impl Kinds {
    /// Of none.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Kind::ALL.into_iter().filter(|kind| self.0 >> *kind as u32 & 1 == 1).map(Kind::name);
        f.write_str(&names.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_in_their_order_and_found_by_their_numbers() {
        assert_eq!(Kinds::NONE.to_string(), "");
        let some = Kinds::NONE.with(Kind::Repair).with(Kind::Writer).with(Kind::Engine).with(Kind::Writer);
        assert_eq!(some.to_string(), "an engine, a writer, a repair");
        for (number, kind) in (1..).zip(Kind::ALL) {
            assert_eq!(Kind::of(number), Some(kind));
        }
        assert_eq!([0, Kind::ALL.len() as u64 + 1].map(Kind::of), [None, None]);
    }
}
