//! What the tests share.

pub mod child;
pub mod limits;
pub mod runs;
pub mod trace;
pub mod workload;
