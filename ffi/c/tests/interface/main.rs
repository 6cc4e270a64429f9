//! The interface as the header declares it: what version 1 promised is there, the library exports that and nothing else, and whoever calls any
//! of its functions wrongly is answered with a status.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[path = "../compiled/mod.rs"]
mod compiled;
mod declared;
mod fuzzed;
mod held;
mod misplaced;
mod promised;
mod raced;
mod sized;
mod unloaded;
mod wrongly;
