//! The C programs in `tests/programs` and the example, compiled with the system's compiler, plain and with AddressSanitizer, and run.
//!
//! Each is given an empty directory, and returns 0 if all is as it should be.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod compiled;

use compiled::program;
use std::path::Path;
use std::process::Command;

fn area(name: &str) {
    program(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c")));
}

macro_rules! areas {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            area(stringify!($name));
        })*

        /// Every program in the folder is a test.
        #[test]
        fn none_is_forgotten() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
            let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
            let sources = files.filter(|file| file.extension().is_some_and(|extension| extension == "c"));
            let mut found: Vec<_> = sources.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
            found.sort();
            let mut tested = [$(stringify!($name)),*];
            tested.sort_unstable();
            assert_eq!(found, tested);
        }
    };
}

areas!(
    batches,
    budgets,
    bulk,
    changelog,
    checkpoints,
    children,
    cursors,
    events,
    fetches,
    handovers,
    inspect,
    lists,
    maps,
    misuse,
    options,
    overlaps,
    pacing,
    past,
    races,
    readers,
    recovery,
    repair,
    rescale,
    rollback,
    schema,
    threads,
    tickets,
    transactions,
    triggers,
    values,
);

#[test]
fn the_example_does_what_it_says() {
    let printed = program(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/counts.c"));
    assert!(printed.ends_with("JFK 3\nLAX 1\nSEA 2\n"), "{printed}");
}

/// What the guide has that is a whole program does what it says there.
#[test]
fn the_guides_programs_do_what_they_say() {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/c.md")).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let mut found = 0;
    for block in guide.split("```c\n").skip(1) {
        let (code, rest) = block.split_once("```").unwrap();
        if !code.contains("int main(") {
            continue;
        }
        let says = rest.split_once("It prints:\n```\n").and_then(|(_, says)| says.split_once("```"));
        let (says, _) = says.expect("the guide says what it prints");
        let source = temporary.path().join(format!("guide{found}.c"));
        std::fs::write(&source, code).unwrap();
        assert_eq!(program(&source), says);
        found += 1;
    }
    assert!(found >= 1);
}

/// The header is C++, too.
#[test]
fn the_header_is_good_for_cpp() {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("header.cc");
    std::fs::write(&source, "#include <alluvium.h>\nint main() { return alluvium_check_abi(ALLUVIUM_ABI_VERSION); }\n")
        .unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let cpp = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let arguments = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"];
    let output = Command::new(cpp).args(arguments).arg("-I").arg(include).arg(&source).output();
    let output = output.expect("a C++ compiler is needed: install g++, or set CXX");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
