//! Repairs: after bad events are taken back the store holds what it would had they never come, whatever came after them.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod compensation;
mod histories;
mod hostile;
#[cfg(target_os = "linux")]
#[expect(clippy::expect_used, reason = "tests may panic")]
mod kills;
mod model;
mod moved;
mod oracle;
mod stories;
mod transactional;
#[path = "../support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;
mod undone;
