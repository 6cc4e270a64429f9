//! What the `alluvium` program shares with others: the stream of events that it runs on.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests may panic"))]

pub mod input;
