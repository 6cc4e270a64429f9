//! The `alluvium` program.
fn main() {}
