//! Repairs: after bad events are taken back the store holds what it would had they never come, whatever came after them.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod histories;
mod hostile;
mod model;
mod stories;
