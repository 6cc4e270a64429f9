//! What the engine needs of the machine: memory, files, threads.

pub mod arena;
pub mod random;
pub mod safeguards;
pub mod storage;
pub mod sync;
pub mod threads;
