//! What the bindings of other languages share: handles that can't be misused (`handles`, over [`slot`]), the threads that objects belong to
//! ([`threads`]), status codes ([`status`]), copies of keys ([`copied`]), what handlers of events are given (`applying`), directories that nobody has open
//! (`inspection`), and batches of operations packed into one buffer (`packed`).
//!
//! Nothing here is an interface of its own: `ffi/c` and `ffi/java/native` are.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests may panic"))]

#[cfg(not(loom))]
pub mod applying;
pub mod copied;
#[cfg(not(loom))]
pub mod handles;
#[cfg(not(loom))]
pub mod inspection;
pub mod kind;
#[cfg(not(loom))]
pub mod packed;
pub mod slot;
pub mod status;
pub mod threads;

#[cfg(not(loom))]
pub use handles::{Handle, Object};
pub use kind::Kind;
pub use status::{Failure, Misuse, Status};
