//! The README's test command on a machine that lacks compilers, a JDK and Maven: it installs them where it may, else says what to install.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A machine: the only folder of its path, which has a shell and little else.
struct Machine {
    programs: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { programs: tempfile::tempdir().unwrap() };
        for name in ["bash", "cat", "chmod", "dirname", "env", "true", "uname"] {
            symlink(of_this_machine(name), machine.path(name)).unwrap();
        }
        // Root, who needs no password.
        machine.has("id", "echo 0");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.programs.path().join(name)
    }

    fn has(&self, name: &str, script: &str) {
        std::fs::write(self.path(name), format!("#!{}\n{script}\n", self.path("bash").display())).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn test(&self, part: &str, install: &str) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Command::new(self.path("bash"))
            .args([root.join("test").as_os_str(), part.as_ref()])
            .env_clear()
            .env("PATH", self.programs.path())
            .env("ALLUVIUM_INSTALL", install)
            .output()
            .unwrap()
    }

    /// What the programs of this machine noted.
    fn notes(&self) -> String {
        std::fs::read_to_string(self.path("notes")).unwrap_or_default()
    }
}

fn of_this_machine(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists()).unwrap()
}

const SAID: &str = "not installed: cc javac mvn venv. On Debian, as root: \
                    apt-get install gcc libc6-dev default-jdk-headless maven python3-venv\n";

#[test]
fn what_is_missing_is_said_where_nothing_may_be_installed() {
    let machine = Machine::new();
    machine.has("apt-get", &format!("echo \"$@\" >>{}", machine.path("notes").display()));
    let output = machine.test("java", "0");
    assert_eq!(String::from_utf8_lossy(&output.stderr), SAID);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(machine.notes(), "", "it may install nothing");
    // Nor does it where there is nothing to install by, or where that fails.
    for script in [None, Some("exit 100")] {
        let machine = Machine::new();
        script.inspect(|script| machine.has("apt-get", script));
        let output = machine.test("java", "1");
        assert_eq!(String::from_utf8_lossy(&output.stderr), SAID);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn what_is_missing_is_installed_where_it_may_be() {
    let machine = Machine::new();
    let (notes, mvn) = (machine.path("notes"), machine.path("mvn"));
    let shell = machine.path("bash");
    let installs = format!(
        "echo \"apt-get $@\" >>{notes}\n[[ $1 == install ]] || exit 0\n\
         printf '#!{shell}\\necho \"mvn $@\" >>{notes}\\n' >{mvn}\nchmod +x {mvn}",
        notes = notes.display(),
        shell = shell.display(),
        mvn = mvn.display()
    );
    machine.has("apt-get", &installs);
    let output = machine.test("java", "1");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains("installing gcc libc6-dev default-jdk-headless maven python3-venv, for cc javac mvn venv\n"),
        "{said}"
    );
    let expected = "apt-get update -qq\n\
                    apt-get install -y -qq --no-install-recommends gcc libc6-dev default-jdk-headless maven python3-venv\n\
                    mvn -B -q -f ffi/java/pom.xml verify\n";
    assert_eq!(machine.notes(), expected);
}

#[test]
fn a_java_that_is_too_old_counts_as_none() {
    let machine = Machine::new();
    for name in ["cc", "mvn", "python3"] {
        machine.has(name, "exit 0");
    }
    // Java 8 doesn't know the option.
    machine.has("javac", "[[ $1 != --release ]]");
    let output = machine.test("java", "0");
    let expected = "not installed: javac. On Debian, as root: apt-get install default-jdk-headless\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!(output.status.code(), Some(1));
}
