//! The native part of Alluvium's Java binding: the functions that the class `io.alluvium.Native` declares. `docs/java.md` is the
//! guide of the whole.
//!
//! Two things here touch an object of the Java virtual machine: [`library`]'s look for a direct buffer's address, and functions of the host's, which
//! `upcall` refers to and calls ([`events`], [`triggers`], [`compensation`]). Else arguments are numbers, and bytes lie at addresses of direct buffers,
//! which Java holds for as long as the call. So no call allocates on the Java heap or waits for its collector but for such a function, which is called inside
//! a call of the host's, on its thread; and no thread of the engine ever attaches. What a call came to is a number: an answer (0 and above), `NOT_FOUND`,
//! `PENDING`, or a status below 0, whose words `entry` keeps until Java asks for them.
//!
//! The contract of every function is the same, so it is written down once: an address that isn't 0 has as many bytes as the length
//! beside it says, and nobody frees them during the call. `io.alluvium` sees to that for its own memory; its users do where they pass
//! addresses themselves. Other threads of the host may write to it meanwhile, though nobody promises them anything sensible then: what is
//! looked at more than once, keys above all, is copied first (`copied_bytes` and `copied_key` of `entry`), and a length or an entry of an index
//! is looked at once. Everything else that a caller can do wrong is answered with a status.
#![expect(unsafe_code, reason = "an interface of addresses")]
#![expect(non_snake_case, reason = "names as Java has them")]

mod entry;
mod upcall;
mod wire;

pub mod batches;
pub mod bulk;
pub mod checkpoint;
pub mod commit;
pub mod compensation;
pub mod cursor;
pub mod engine;
pub mod events;
pub mod fetches;
pub mod files;
pub mod inspect;
pub mod library;
pub mod lists;
pub mod maps;
pub mod multiset;
pub mod pacing;
pub mod past;
pub mod reader;
pub mod recovery;
pub mod repair;
pub mod state;
pub mod store;
pub mod ticket;
pub mod triggers;
pub mod writer;
