//! Alluvium: an embedded state backend storage engine for stream processing.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests may panic"))]

// base
pub mod error;
pub mod ids;
pub mod key;
pub mod stats;

// platform
pub mod platform;
