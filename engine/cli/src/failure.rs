//! Why the program ends early, and with which exit code.

use std::fmt::Display;

/// The exit code of a run whose states differ, of a faulty directory, and of anything that failed on the way.
pub const EXIT_FAILED: u8 = 1;
/// The exit code of wrong arguments and wrong input.
pub const EXIT_USAGE: u8 = 2;
/// The exit code of a run that the user interrupted (128 + SIGINT).
pub const EXIT_INTERRUPTED: u8 = 130;

/// An error on its way to the user: one line of text and an exit code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// What went wrong, for people.
    pub message: String,
}

impl Failure {
    /// Something failed that the user's input isn't to blame for.
    pub fn new(message: impl Display) -> Self {
        Self { code: EXIT_FAILED, message: message.to_string() }
    }

    /// The arguments or the input are wrong.
    pub fn usage(message: impl Display) -> Self {
        Self { code: EXIT_USAGE, message: message.to_string() }
    }

    /// An I/O error, with what was being done.
    pub fn io(doing: impl Display, error: &std::io::Error) -> Self {
        Self::new(format_args!("{doing}: {error}"))
    }
}

impl From<alluvium::error::Error> for Failure {
    fn from(error: alluvium::error::Error) -> Self {
        Self::new(error)
    }
}

/// A result that ends the program when it is an error.
pub type Outcome<T> = Result<T, Failure>;
