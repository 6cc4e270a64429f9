//! A library that was loaded by hand goes again without a trace.

use crate::compiled::{compile, libraries, run};
use std::path::Path;

/// Not with AddressSanitizer: what the library kept for good is lost once that is unloaded, and would be told as leaked.
#[test]
fn what_is_closed_can_be_unloaded() {
    let temporary = tempfile::tempdir().unwrap();
    let (program, directory) = (temporary.path().join("unloaded"), temporary.path().join("data"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interface/unloaded.c");
    std::fs::create_dir(&directory).unwrap();
    // It isn't linked with the library.
    compile(&source, &program, &["-O2"], &["-ldl".to_owned()]);
    run(&program, &directory, &[&libraries().join("liballuvium_c.so")]);
}
