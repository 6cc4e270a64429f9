//! The changelog: a store's durable redo log between two checkpoints.
//!
//! A store has one stream of [records](record): what its writers changed, in the order in which each key group changed, and now and then
//! a *commit*. Recovery goes to the newest durable checkpoint, and from there through the stream up to the last commit in it that is
//! whole. The stream's bytes are numbered: a *position* is how many of them came before. A checkpoint's manifest carries the position
//! from which on the stream has what the checkpoint has not.
//!
//! ```text
//! writer      appends records to its shard's buffer, inside its gate                    buffer
//! cut         a commit, a barrier or a full buffer moves buffers to the stream          stream
//! log thread  packs what is in the stream into blocks, writes and syncs them, with
//!             those of all other stores that want it about then (group commit)          files, format
//! recovery    finds the end of what is whole                                            tail
//! the past    is read back from files that are kept for it                             history
//! a check     reads all of it, from outside                                            check
//! ```
//!
//! Files are named by a number that rises, have their room taken when they are made, and hold blocks of whole pages. A block is never
//! written twice. Invariants:
//! - a file's blocks follow each other without a gap in position; the next file begins where the file before it ends, or, after
//!   recovery, at an earlier position, where recovery ended: what the file before has from there on is void. Or at a later one, where the
//!   store was opened at another checkpoint: its header says where the file before ends, so that a gap isn't taken for damage, nor damage for a gap;
//! - the next file is made only when all of the file before it is durable, up to where the next one begins;
//! - where recovery ended before the end of what there is, the next file is made before a checkpoint is published: from behind that end one
//!   couldn't tell what is void;
//! - a block says up to which position the stream was durable when it was made. So a block that is damaged is told from one that
//!   was never wholly written: if any later block claims that it was durable, it is damage, and recovery refuses it;
//! - no commit stands in the stream behind changes that the stream doesn't have (a bulk load, a migration), until a checkpoint has them:
//!   what was committed meanwhile lasts with the next commit that stands there, or with a checkpoint that has it.

pub mod access;
pub mod buffer;
pub mod check;
pub mod files;
pub mod format;
pub mod history;
pub mod record;
pub mod stream;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod trace;

pub use buffer::LogBuffer;
pub use history::History;
pub use stream::{Changelog, Durable};
pub use tail::Tail;
