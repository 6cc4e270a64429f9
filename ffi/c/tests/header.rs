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

/// What a program has compiled in: symbols and numbers are added, never taken away or changed.
#[test]
fn nothing_that_was_there_is_gone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(root.join("include/alluvium.h")).unwrap();
    let promised = std::fs::read_to_string(root.join("include/abi-1.txt")).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = header.lines().map(words).collect();
    for promise in promised.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let kept = match promise.strip_prefix("number ") {
            Some(number) => lines.contains(&words(&format!("#define {number}"))),
            // Behind a space, or the star of a pointer that it returns.
            None => [' ', '*'].iter().any(|before| header.contains(&format!("{before}{promise}("))),
        };
        assert!(kept, "{promise}");
    }
}
