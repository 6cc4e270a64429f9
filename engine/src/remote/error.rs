//! What can go wrong with a remote directory, with the object and the place in it.

use crate::error::{Class, Error};
use crate::platform::storage::{Fault, StorageError};

/// Why an operation on an object failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RemoteFault {
    /// The remote didn't answer, or said that it can't now; it was tried again as often as the options say.
    Unavailable,
    /// The object isn't there.
    Missing,
    /// The object is shorter or longer than what refers to it says.
    Length,
    /// A checksum, a bound or a cross-reference doesn't hold: the object was altered, or damaged on its way each time.
    Corrupt,
    /// The object is no checkpoint of this engine.
    Foreign,
    /// The object's format version is newer than this program reads.
    NewerVersion,
    /// The remote refuses: credentials that are missing or not good for this.
    Denied,
    /// There is an object of this name already.
    Exists,
    /// The remote can't do this at all, or its name or configuration is wrong.
    Unsupported,
}

/// A failed operation on a remote directory.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// An operation on an object failed.
    #[error("{object}: {fault:?} at offset {offset}: {detail}")]
    Object {
        /// The object: the remote's name and the object's path in it.
        object: String,
        /// What kind of failure it is.
        fault: RemoteFault,
        /// Where in the object, in bytes; 0 where no place can be told.
        offset: u64,
        /// What was found, in words.
        detail: String,
    },
    /// The engine failed: reading what is to be uploaded, or making a store of what was read.
    #[error(transparent)]
    Engine(#[from] Error),
    /// There is no checkpoint, or none of this label.
    #[error("{remote}: no checkpoint{}", label.map_or_else(String::new, |label| format!(" with label {label}")))]
    NoCheckpoint {
        /// The remote directory.
        remote: String,
        /// What was asked for; `None`: the newest.
        label: Option<u64>,
    },
    /// Another process uploads to this directory by now: the directory is its own. Nothing is to be uploaded or deleted by
    /// this one any more.
    #[error("{remote}: {detail}")]
    Superseded {
        /// The remote directory.
        remote: String,
        /// What was seen of the other one.
        detail: String,
    },
    /// The options contradict each other or a limit.
    #[error("option {option}: {problem}")]
    Options {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It was called off.
    #[error("called off")]
    Cancelled,
    /// The thread that the requests run on could not be started, or died.
    #[error("the remote's thread: {0}")]
    Thread(String),
}

/// A result of a remote directory.
pub type RemoteResult<T> = std::result::Result<T, RemoteError>;

impl RemoteError {
    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Object { fault, .. } => match fault {
                RemoteFault::Unavailable => Class::Retry,
                RemoteFault::Missing | RemoteFault::Length | RemoteFault::Corrupt | RemoteFault::Foreign => {
                    Class::Corrupt
                }
                RemoteFault::NewerVersion => Class::Corrupt,
                RemoteFault::Denied | RemoteFault::Exists | RemoteFault::Unsupported => Class::Usage,
            },
            Self::Engine(error) => error.class(),
            Self::NoCheckpoint { .. } | Self::Options { .. } => Class::Usage,
            Self::Superseded { .. } | Self::Thread(_) => Class::Fail,
            Self::Cancelled => Class::Retry,
        }
    }

    /// The fault, where an object is at fault.
    pub fn fault(&self) -> Option<RemoteFault> {
        match self {
            Self::Object { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    pub(super) fn object(
        object: impl Into<String>,
        fault: RemoteFault,
        offset: u64,
        detail: impl Into<String>,
    ) -> Self {
        Self::Object { object: object.into(), fault, offset, detail: detail.into() }
    }

    /// What a failed request says. `offset` is where it began.
    pub(super) fn of_request(object: String, offset: u64, error: &object_store::Error) -> Self {
        use object_store::Error as Request;
        let fault = match error {
            Request::NotFound { .. } => RemoteFault::Missing,
            Request::AlreadyExists { .. } | Request::Precondition { .. } => RemoteFault::Exists,
            Request::PermissionDenied { .. } | Request::Unauthenticated { .. } => RemoteFault::Denied,
            Request::InvalidPath { .. }
            | Request::NotSupported { .. }
            | Request::NotImplemented { .. }
            | Request::UnknownConfigurationKey { .. } => RemoteFault::Unsupported,
            _ => RemoteFault::Unavailable,
        };
        Self::object(object, fault, offset, error.to_string())
    }

    /// What decoding an object says.
    pub(super) fn of_decoding(object: String, error: StorageError) -> Self {
        let fault = match error.fault {
            Fault::Foreign => RemoteFault::Foreign,
            Fault::NewerVersion => RemoteFault::NewerVersion,
            Fault::Length => RemoteFault::Length,
            _ => RemoteFault::Corrupt,
        };
        Self::object(object, fault, error.offset, error.detail)
    }

    /// Whether the same request may succeed if it is made again.
    pub(super) fn is_passing(&self) -> bool {
        self.fault() == Some(RemoteFault::Unavailable)
    }

    /// The fault that a reader of the store is told.
    pub(super) fn as_fault(&self) -> Fault {
        match self.fault() {
            Some(RemoteFault::Missing) => Fault::Missing,
            Some(RemoteFault::Length) => Fault::Length,
            Some(RemoteFault::Corrupt) => Fault::Corrupt,
            Some(RemoteFault::Foreign) => Fault::Foreign,
            Some(RemoteFault::NewerVersion) => Fault::NewerVersion,
            _ => Fault::Absent,
        }
    }
}
