//! Durability: what is left after crashes, damage and faults of the machine.
//!
//! `crash` kills a process and looks at what it left, `corruption` damages every byte of a checkpoint, `faults` takes
//! room, descriptors, memory and system calls away. The processes that are killed or starved are this test binary
//! again, told by environment variables what to do ([`support::child`]).
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod corruption;
mod crash;
mod faults;
mod support;
