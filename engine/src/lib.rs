//! Alluvium: an embedded state backend storage engine for stream processing.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests may panic"))]

// flows
pub mod rescale;

// structures
pub mod manifest;
pub mod segment;

// base
pub mod checksum;
pub mod codec;
pub mod error;
pub mod ids;
pub mod key;

// platform
pub mod platform;
