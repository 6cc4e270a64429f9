//! What the tests share.

pub mod child;
pub mod limits;
pub mod trace;
pub mod workload;
