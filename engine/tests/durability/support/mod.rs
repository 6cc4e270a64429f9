//! What the tests share.

pub mod child;
pub mod trace;
pub mod workload;
