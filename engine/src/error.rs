//! The engine's errors: what failed, and what a caller can do about it.

use crate::ids::{EventId, KeyGroup, KeyGroupRange};
use crate::platform::storage::{Fault, StorageError};
use std::path::PathBuf;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Nothing is lost; the same call can succeed later (room on the disk, memory, descriptors, a lock), or after a commit or an
    /// abort where too much is staged.
    Retry,
    /// The call was wrong and always will be.
    Usage,
    /// The task has to fail and recover from its last checkpoint.
    Fail,
    /// A file is damaged; recover from another checkpoint.
    Corrupt,
}

/// A failed operation of the engine.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A key, user key or value is longer than its limit; checked before anything is allocated.
    #[error("{what} of {bytes} bytes is longer than {max_bytes}")]
    TooLong {
        /// Which part: `key and namespace`, `user key`, `value`.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The memory budget can't hold what the operation needs, not even with everything else spilled.
    #[error("the memory budget of {budget_bytes} bytes has no room for {bytes} bytes more")]
    Budget {
        /// What was asked for.
        bytes: usize,
        /// The whole budget.
        budget_bytes: usize,
    },
    /// Too much is under way; the same call succeeds later.
    #[error("{problem}")]
    Busy {
        /// What is under way.
        problem: &'static str,
    },
    /// More is staged than the store's options allow ([`StoreOptions::staged_bytes_max`](crate::StoreOptions)): commit it, or
    /// abort.
    #[error("{bytes} bytes are staged, more than {max_bytes}")]
    Staged {
        /// How much is staged.
        bytes: usize,
        /// How much may be.
        max_bytes: usize,
    },
    /// A key group that this writer, reader or store doesn't hold.
    #[error("key group {} lies outside {range}", group.0)]
    OutsideRange {
        /// The key group asked for.
        group: KeyGroup,
        /// The range held.
        range: KeyGroupRange,
    },
    /// Another writer holds part of the range.
    #[error("another writer holds key groups of {range}")]
    RangeClaimed {
        /// The range that was asked for.
        range: KeyGroupRange,
    },
    /// The options contradict each other or a limit.
    #[error("option {option}: {problem}")]
    Options {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A state is used as another kind than it was registered as.
    #[error("state {state:?}: {problem}")]
    State {
        /// The state's name.
        state: String,
        /// What is wrong.
        problem: String,
    },
    /// A value of an older schema can't be converted: nothing is lost, and it can be read once the host brings a conversion
    /// of this name that gets on with it ([`StateOptions::conversion`](crate::StateOptions::conversion)).
    #[error("state {state:?}, conversion {conversion:?}: {problem}")]
    Conversion {
        /// The state's name.
        state: String,
        /// The conversion's name.
        conversion: String,
        /// What is wrong.
        problem: String,
    },
    /// Events can't be applied again, as the changelog wants it: their handler isn't there, or is of another version.
    #[error("handler {handler:?}: {problem}")]
    Handler {
        /// The handler's name.
        handler: String,
        /// What is wrong.
        problem: String,
    },
    /// A directory that was to be opened, or restored from: it isn't there, or no checkpoint ever became complete in it.
    #[error("{}: no checkpoint in the directory", directory.display())]
    NoCheckpoint {
        /// The directory.
        directory: PathBuf,
    },
    /// A checkpoint that the store doesn't have, or an operation that doesn't fit its stage.
    #[error("checkpoint {label}: {problem}")]
    Checkpoint {
        /// The host's label.
        label: u64,
        /// What is wrong.
        problem: String,
    },
    /// The changelog can't say how the store was at a position of it, or something of it can't be put back so.
    #[error("position {position} of the changelog: {problem}")]
    Position {
        /// The position.
        position: u64,
        /// What is wrong.
        problem: String,
    },
    /// An event that can't be looked for or taken back, and why it can't.
    #[error("event {event}: {problem}")]
    Event {
        /// The event.
        event: EventId,
        /// What is wrong.
        problem: String,
    },
    /// The store or engine was closed.
    #[error("the store is closed")]
    Closed,
    /// A background thread of the engine failed; the store must be reopened.
    #[error("a background task failed: {0}")]
    Background(String),
}

impl Error {
    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Storage(error) => match error.fault {
                Fault::Full | Fault::TooManyFiles | Fault::Locked | Fault::Memory | Fault::Absent => Class::Retry,
                Fault::Exists | Fault::Name => Class::Usage,
                Fault::Io | Fault::Poisoned => Class::Fail,
                _ => Class::Corrupt,
            },
            Self::Budget { .. } | Self::Busy { .. } | Self::Staged { .. } => Class::Retry,
            Self::Closed | Self::Background(_) => Class::Fail,
            _ => Class::Usage,
        }
    }
}

/// A result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Runs work that may come to code of the host (a merge operator): a panic there fails the store, not the thread that
/// all stores share.
pub(crate) fn catch<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::Background(format!("it panicked: {said}")))
    })
}
