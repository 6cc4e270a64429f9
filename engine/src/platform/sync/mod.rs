//! How threads meet: the one door to atomics, locks and shared cells, and the two protocols built on them.
//!
//! Everything in the engine that two threads may touch comes from this module. In a normal build these are the types
//! of `std` and `parking_lot`; under `--cfg loom` they are loom's, so that the code which ships, not a copy of it, is
//! what the models explore. The two faces have one shape: loom's cells with access guards, `parking_lot`'s locks
//! that don't poison.
//!
//! - [`barrier`]: the asymmetric fence, free on the side that runs often.
//! - [`gate`]: how an engine thread takes a shard from the Writer that owns it, and gives it back.
//! - [`reclaim`]: when memory that a lock-free reader may still look at can be used again.
//!
//! To run the models: `RUSTFLAGS="--cfg loom" cargo test --release -p alluvium --lib loom_ --target-dir target/loom`.

#[cfg(loom)]
#[path = "face_loom.rs"]
mod face;
#[cfg(not(loom))]
#[path = "face_std.rs"]
mod face;

pub mod barrier;
pub mod gate;
pub mod reclaim;

pub use face::{Arc, Condvar, Mutex, MutexGuard, atomic, cell, hint, thread};
