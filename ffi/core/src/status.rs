//! Status codes: what a call came to, as a number.
//!
//! 0 and above are answers, below are failures. Numbers are never used for anything else and never change: other languages
//! have them compiled in.

use crate::kind::Kinds;
use alluvium::platform::storage::Fault;
use alluvium::{Class, Error};
use std::fmt;

/// How a handle, an argument or a thread was wrong: nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misuse {
    /// A pointer that has to point to something is null.
    Null(&'static str),
    /// An argument is out of its range, or contradicts another.
    Argument(&'static str),
    /// A handle that was never given out, is closed, or is of another kind.
    Handle,
    /// The object belongs to another thread.
    WrongThread,
    /// A callback called the engine.
    InsideCallback,
    /// Another call is using the object.
    InUse,
    /// Something that was made from the object is still open: of these kinds, as far as a look at them told, while others may open and close them.
    HasChildren(Kinds),
    /// A call panicked while it used the object, which can only be closed now.
    Poisoned,
    /// The caller was made for another version of this library.
    Abi,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null(what) => return write!(f, "{what} is null"),
            Self::Argument(what) => what,
            Self::Handle => "not an open handle of this kind",
            Self::WrongThread => "the object belongs to another thread",
            Self::InsideCallback => "a callback called the engine, which would wait for itself",
            Self::InUse => "another call is using the object",
            Self::HasChildren(Kinds::NONE) => "something that was made from the object is still open",
            Self::HasChildren(kinds) => {
                return write!(f, "something that was made from the object is still open: {kinds}");
            }
            Self::Poisoned => "a call panicked while it used the object; it can only be closed",
            Self::Abi => {
                "the size of a structure isn't set, or the program was made for another version of this library"
            }
        })
    }
}

/// Why a call failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The caller's mistake.
    Misuse(Misuse),
    /// The engine's error.
    Engine(Error),
    /// A panic: a bug of the engine, with its message.
    Panic(String),
}

impl From<Misuse> for Failure {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

// Boxed, it is a pointer: a call that succeeds moves no room for it about.
impl From<Misuse> for Box<Failure> {
    #[cold]
    fn from(misuse: Misuse) -> Self {
        Self::new(misuse.into())
    }
}

impl From<Error> for Box<Failure> {
    #[cold]
    fn from(error: Error) -> Self {
        Self::new(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::Engine(error) => error.fmt(f),
            Self::Panic(message) => write!(f, "a bug of the engine: {message}"),
        }
    }
}

/// What a call came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// There is no such value, entry, or no more of them.
    NotFound = 1,
    /// The caller's buffer is too small; how long it has to be was said.
    TooSmall = 2,
    /// It isn't there yet.
    Pending = 3,

    /// A pointer that has to point to something is null.
    Null = -1,
    /// An argument is out of its range, or contradicts another.
    Argument = -2,
    /// A handle that was never given out, is closed, or is of another kind.
    Handle = -3,
    /// The object belongs to another thread.
    WrongThread = -4,
    /// A callback called the engine.
    InsideCallback = -5,
    /// Another call is using the object.
    InUse = -6,
    /// Something that was made from the object is still open.
    HasChildren = -7,
    /// The caller was made for another version of this library.
    Abi = -8,
    /// A bug of the engine: a panic, now or in an earlier call on the same object.
    Panic = -9,

    /// A key, user key or value is longer than its limit.
    TooLong = -20,
    /// The memory budget has no room, not even with everything else spilled.
    Budget = -21,
    /// Too much is under way; the same call succeeds later.
    Busy = -22,
    /// More is staged than the store's options allow.
    Staged = -23,
    /// A key group that the writer, reader or store doesn't hold.
    OutsideRange = -24,
    /// Another writer holds part of the range.
    RangeClaimed = -25,
    /// The options contradict each other or a limit.
    Options = -26,
    /// A state that isn't there, or is of another kind.
    State = -27,
    /// A value of an older schema can't be converted.
    Conversion = -28,
    /// There is no checkpoint in the directory.
    NoCheckpoint = -29,
    /// A checkpoint that the store doesn't have, or that is at another stage.
    Checkpoint = -30,
    /// The store was closed.
    Closed = -31,
    /// Background work failed for good; the store must be reopened.
    Background = -32,
    /// A position of the changelog that the history doesn't have, or that can't be told of.
    Position = -33,
    /// A handler of events isn't there, is of another version, or failed.
    EventHandler = -34,
    /// An event that can't be looked for or taken back.
    Event = -35,

    /// The disk is full, or the process has too many files open.
    Full = -40,
    /// The directory is open elsewhere.
    Locked = -41,
    /// A segment is elsewhere, and wasn't brought.
    Absent = -42,
    /// A file or directory is in the way.
    Exists = -43,
    /// The disk failed.
    Io = -44,
    /// A file is damaged, missing or foreign.
    Corrupt = -45,
    /// An error that this library has no number for.
    Other = -99,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 36] = [
        Self::Ok,
        Self::NotFound,
        Self::TooSmall,
        Self::Pending,
        Self::Null,
        Self::Argument,
        Self::Handle,
        Self::WrongThread,
        Self::InsideCallback,
        Self::InUse,
        Self::HasChildren,
        Self::Abi,
        Self::Panic,
        Self::TooLong,
        Self::Budget,
        Self::Busy,
        Self::Staged,
        Self::OutsideRange,
        Self::RangeClaimed,
        Self::Options,
        Self::State,
        Self::Conversion,
        Self::NoCheckpoint,
        Self::Checkpoint,
        Self::Closed,
        Self::Background,
        Self::Position,
        Self::EventHandler,
        Self::Event,
        Self::Full,
        Self::Locked,
        Self::Absent,
        Self::Exists,
        Self::Io,
        Self::Corrupt,
        Self::Other,
    ];

    /// Its number.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The status of this number.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// A few words, for logs.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::NotFound => "there is none, or no more",
            Self::TooSmall => "the buffer is too small",
            Self::Pending => "not there yet",
            Self::Null => "a pointer is null",
            Self::Argument => "a wrong argument",
            Self::Handle => "not an open handle of this kind",
            Self::WrongThread => "it belongs to another thread",
            Self::InsideCallback => "called from inside a callback",
            Self::InUse => "another call is using it",
            Self::HasChildren => "something made from it is open",
            Self::Abi => "made for another version",
            Self::Panic => "a bug of the engine",
            Self::TooLong => "too long",
            Self::Budget => "no memory in the budget",
            Self::Busy => "too much is under way",
            Self::Staged => "too much is staged",
            Self::OutsideRange => "a key group outside the range",
            Self::RangeClaimed => "another writer holds the range",
            Self::Options => "wrong options",
            Self::State => "no such state, or of another kind",
            Self::Conversion => "a value that can't be converted",
            Self::NoCheckpoint => "no checkpoint in the directory",
            Self::Checkpoint => "no such checkpoint, or at another stage",
            Self::Closed => "the store is closed",
            Self::Background => "background work failed for good",
            Self::Position => "no such position, or nothing known of it",
            Self::EventHandler => "a handler of events isn't there, or failed",
            Self::Event => "an event that can't be taken back",
            Self::Full => "the disk is full",
            Self::Locked => "the directory is open elsewhere",
            Self::Absent => "a segment is elsewhere",
            Self::Exists => "a file is in the way",
            Self::Io => "the disk failed",
            Self::Corrupt => "a damaged, missing or foreign file",
            Self::Other => "an error without a number of its own",
        }
    }

    /// What a caller can do about it; `None` for what is no failure.
    pub const fn class(self) -> Option<Class> {
        Some(match self {
            Self::Ok | Self::NotFound | Self::TooSmall | Self::Pending => return None,
            Self::InUse | Self::Budget | Self::Busy | Self::Staged | Self::Full | Self::Locked | Self::Absent => {
                Class::Retry
            }
            Self::Panic | Self::Closed | Self::Background | Self::Io | Self::Other => Class::Fail,
            Self::Corrupt => Class::Corrupt,
            _ => Class::Usage,
        })
    }
}

impl Failure {
    /// The status that says so.
    pub fn status(&self) -> Status {
        match self {
            Self::Misuse(misuse) => match misuse {
                Misuse::Null(_) => Status::Null,
                Misuse::Argument(_) => Status::Argument,
                Misuse::Handle => Status::Handle,
                Misuse::WrongThread => Status::WrongThread,
                Misuse::InsideCallback => Status::InsideCallback,
                Misuse::InUse => Status::InUse,
                Misuse::HasChildren(_) => Status::HasChildren,
                Misuse::Poisoned => Status::Panic,
                Misuse::Abi => Status::Abi,
            },
            Self::Engine(error) => status_of(error),
            Self::Panic(_) => Status::Panic,
        }
    }
}

/// The status of an error.
pub(crate) fn status_of(error: &Error) -> Status {
    match error {
        Error::Storage(error) => match error.fault {
            Fault::Full | Fault::TooManyFiles => Status::Full,
            Fault::Memory => Status::Budget,
            Fault::Locked => Status::Locked,
            Fault::Absent => Status::Absent,
            Fault::Exists | Fault::Name => Status::Exists,
            Fault::Io | Fault::Poisoned => Status::Io,
            _ => Status::Corrupt,
        },
        Error::TooLong { .. } => Status::TooLong,
        Error::Budget { .. } => Status::Budget,
        Error::Busy { .. } => Status::Busy,
        Error::Staged { .. } => Status::Staged,
        Error::OutsideRange { .. } => Status::OutsideRange,
        Error::RangeClaimed { .. } => Status::RangeClaimed,
        Error::Options { .. } => Status::Options,
        Error::State { .. } => Status::State,
        Error::Conversion { .. } => Status::Conversion,
        Error::NoCheckpoint { .. } => Status::NoCheckpoint,
        Error::Checkpoint { .. } => Status::Checkpoint,
        Error::Closed => Status::Closed,
        Error::Background(_) => Status::Background,
        Error::Position { .. } => Status::Position,
        Error::Handler { .. } => Status::EventHandler,
        Error::Event { .. } => Status::Event,
        _ => Status::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_apart_and_found_again() {
        let mut codes: Vec<i32> = Status::ALL.iter().map(|status| status.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Status::ALL.len());
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
            assert_eq!(status.class().is_some(), status.code() < 0, "{status:?}");
        }
        assert_eq!(Status::from_code(-1000), None);
    }

    #[test]
    fn classes_are_those_of_the_engine() {
        let errors = [
            Error::Closed,
            Error::Busy { problem: "" },
            Error::Background(String::new()),
            Error::Budget { bytes: 1, budget_bytes: 1 },
            Error::Staged { bytes: 1, max_bytes: 1 },
            Error::Checkpoint { label: 1, problem: String::new() },
            Error::Options { option: "", problem: String::new() },
        ];
        for error in errors {
            assert_eq!(Failure::from(error.clone()).status().class(), Some(error.class()), "{error:?}");
        }
    }
}
