//! What the engine needs of the machine: memory, files, threads.

pub mod storage;
pub mod sync;
