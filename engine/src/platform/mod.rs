//! What the engine needs of the machine: memory, files, threads.

pub mod arena;
pub mod random;
pub mod storage;
pub mod sync;
pub mod thread;
