//! C programs, compiled with the system's compiler, plain and with AddressSanitizer, and run with the library that cargo built.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts what it builds for this test: the shared library among it.
pub fn libraries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let deps = test.parent().unwrap();
    let places = [deps, deps.parent().unwrap()];
    let found = places.into_iter().find(|place| place.join("liballuvium_c.so").exists());
    found.expect("cargo builds the shared library beside the tests").to_owned()
}

fn compiler() -> String {
    std::env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

/// What the linker is told, so that a program finds the library.
fn linked() -> Vec<String> {
    let libraries = libraries();
    let (place, path) = (format!("-L{}", libraries.display()), format!("-Wl,-rpath,{}", libraries.display()));
    vec![place, "-lalluvium_c".to_owned(), path]
}

/// Compiles a program, with what the linker is told.
pub fn compile(source: &Path, program: &Path, flags: &[&str], linked: &[String]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(compiler());
    command
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-pthread"])
        .args(flags)
        .arg("-I")
        .arg(root.join("include"))
        .arg("-I")
        .arg(root.join("tests/programs"))
        .arg(source)
        .arg("-o")
        .arg(program)
        .args(linked);
    let output = command.output().expect("a C compiler is needed: install gcc, or set CC");
    assert!(output.status.success(), "{}:\n{}", source.display(), String::from_utf8_lossy(&output.stderr));
}

/// Runs a program with a directory and whatever else it is given, and says what it printed.
pub fn run(program: &Path, directory: &Path, more: &[&Path]) -> String {
    let mut command = Command::new(program);
    // Leaks are looked for too; what lives as long as the process is reachable.
    command.arg(directory).args(more).env("ASAN_OPTIONS", "detect_leaks=1:exitcode=99");
    // Cargo has it name folders with older builds of the library, which would go before the one that the program was linked with.
    command.env_remove("LD_LIBRARY_PATH");
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {}:\n{out}\n{err}", program.display(), output.status);
    out.into_owned()
}

/// Compiles a program both ways, runs it, each time with an empty directory, and says what it printed.
pub fn program(source: &Path) -> String {
    let temporary = tempfile::tempdir().unwrap();
    let mut printed = String::new();
    for (name, flags) in
        [("plain", &["-O2"][..]), ("address", &["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"])]
    {
        let (program, directory) = (temporary.path().join(name), temporary.path().join(format!("{name}-data")));
        std::fs::create_dir(&directory).unwrap();
        compile(source, &program, flags, &linked());
        printed = run(&program, &directory, &[]);
    }
    printed
}
