//! The header that is committed is the one that the sources give.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;

/// `ALLUVIUM_WRITE_HEADER=1` writes it instead; `ffi/c/header` does so.
#[test]
fn the_header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::Builder::new().with_crate(root).with_config(config).generate().unwrap().write(&mut made);
    let (made, path) = (String::from_utf8(made).unwrap(), root.join("include/alluvium.h"));
    if std::env::var_os("ALLUVIUM_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "include/alluvium.h is not what the sources give: run ffi/c/header, and look at the difference"
    );
}
