//! The `alluvium` program.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests may panic"))]

mod check;
mod failure;
mod input;
mod job;
mod oracle;

fn main() {}
