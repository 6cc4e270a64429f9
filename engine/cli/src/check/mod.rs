//! The end of a run: is every state what an independent computation says?

pub mod row;
