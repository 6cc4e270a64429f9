//! The C interface of Alluvium: what `include/alluvium.h` declares. `docs/c.md` is its guide.
//!
//! Each function checks its handles and pointers, does what the engine's Rust interface does, and says what it came to as a number; a
//! panic ends there. The files are the header's parts: [`types`] and [`arguments`] are what all of them use.
//!
//! The safety contract of every function is the same, so it is written down once: pointers that aren't null point to what the
//! header says, for as long as the call, and as many bytes as their length says; strings end with a zero; callbacks keep to their
//! type, and return. Everything else that a caller can do wrong is answered with a status.
#![expect(unsafe_code, reason = "a C interface")]
#![expect(non_camel_case_types, reason = "names as C has them")]
#![expect(clippy::missing_safety_doc, reason = "the contract is above, once for all")]

pub mod applying;
pub mod arguments;
pub mod batches;
pub mod buffer;
pub mod bulk;
pub mod checkpoint;
pub mod commit;
pub mod compensation;
pub mod cursor;
pub mod engine;
pub mod error;
pub mod events;
pub mod fetches;
pub mod files;
pub mod inspect;
pub mod lists;
pub mod maps;
pub mod multiset;
pub mod pacing;
pub mod past;
pub mod reader;
pub mod recovery;
pub mod repair;
pub mod rollback;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod ticket;
pub mod transaction;
pub mod triggers;
pub mod types;
pub mod writer;
