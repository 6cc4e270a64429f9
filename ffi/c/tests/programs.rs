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
    errors,
    events,
    fetches,
    groups,
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

/// Has a compiler, which a variable may name, look at a program that is but the header.
fn the_header_is_good_for(variable: &str, usual: &str, standard: &str, extension: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("header").with_extension(extension);
    let program = "#include <alluvium.h>\nint main(void) { return alluvium_check_abi(ALLUVIUM_ABI_VERSION); }\n";
    std::fs::write(&source, program).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let compiler = std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
    let arguments = [standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"];
    let output = Command::new(&compiler).args(arguments).arg("-I").arg(include).arg(&source).output();
    let output = output.unwrap_or_else(|error| panic!("{compiler} is needed, or another in {variable}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The header is C++, too.
#[test]
fn the_header_is_good_for_cpp() {
    the_header_is_good_for("CXX", "c++", "-std=c++17", "cc");
}

/// The programs are C11; who has but C99 can use the header all the same.
#[test]
fn the_header_is_good_for_c99() {
    the_header_is_good_for("CC", "cc", "-std=c99", "c");
}
