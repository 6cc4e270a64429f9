//! The interface only grows. `include/abi-1.txt` has all that version 1 promised: constants with their values, types, structures with their fields and
//! whole prototypes. What is promised is in the header as it was, and what is in the header is promised.
//!
//! A structure that begins with its own size may get more fields behind those that it has, as programs say how much of it they know. Every other one
//! stays as it is.

use crate::compiled::libraries;
use crate::declared::Header;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The declarations of a header as they are promised, a line each.
fn lines(header: &Header) -> Vec<String> {
    let numbers = header.numbers.iter().map(|(name, value)| format!("number {name} {value}"));
    let structures = header.structures.iter();
    let structures = structures.map(|one| format!("struct {} {{ {}; }}", one.name, one.fields.join("; ")));
    let functions = header.functions.iter().map(|function| function.prototype.clone());
    numbers.chain(header.types.iter().cloned()).chain(structures).chain(functions).collect()
}

/// The name and the fields of a structure's line.
fn structure(line: &str) -> Option<(&str, Vec<&str>)> {
    let (name, fields) = line.strip_prefix("struct ")?.split_once(" { ")?;
    Some((name, fields.strip_suffix(" }")?.split_terminator(';').map(str::trim).collect()))
}

/// Whether a line is what became of a structure that was promised and may get more fields.
fn grows(promise: &str, line: &str) -> bool {
    let (Some((name, before)), Some((same, now))) = (structure(promise), structure(line)) else { return false };
    name == same && before[0] == "uint32_t size" && now.starts_with(&before)
}

/// What is promised in a list of promises, but for the lengths that structures had, which `sized.rs` sees to.
fn promises(list: &str) -> Vec<&str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("length ")).collect()
}

/// The promises that a header doesn't keep.
fn broken<'a>(list: &'a str, header: &[String]) -> Vec<&'a str> {
    let is_kept = |promise: &str| header.iter().any(|line| line == promise || grows(promise, line));
    promises(list).into_iter().filter(|promise| !is_kept(promise)).collect()
}

/// What a header has that isn't promised.
fn unpromised<'a>(list: &str, header: &'a [String]) -> Vec<&'a str> {
    let promised: BTreeSet<&str> = promises(list).into_iter().collect();
    header.iter().map(String::as_str).filter(|line| !promised.contains(line)).collect()
}

/// The list with what isn't promised yet: a structure that grew where it was, everything else at the end.
fn with_additions(list: &str, header: &[String]) -> String {
    let mut lines: Vec<&str> = list.lines().collect();
    for line in unpromised(list, header) {
        match lines.iter_mut().find(|promise| grows(promise, line)) {
            Some(before) => *before = line,
            None => lines.push(line),
        }
    }
    lines.join("\n") + "\n"
}

/// Where the promises are.
pub fn list_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/abi-1.txt")
}

/// With `ALLUVIUM_WRITE_HEADER=1`, as `ffi/c/header` has it, what is new is added to the list; nothing else in it is ever changed.
#[test]
fn what_was_promised_is_there_and_nothing_else() {
    let path = list_path();
    let (header, mut list) = (lines(&Header::read()), std::fs::read_to_string(&path).unwrap());
    if std::env::var_os("ALLUVIUM_WRITE_HEADER").is_some() {
        list = with_additions(&list, &header);
        std::fs::write(&path, &list).unwrap();
    }
    let none: Vec<&str> = Vec::new();
    assert_eq!(
        broken(&list, &header),
        none,
        "include/abi-1.txt promises what include/alluvium.h doesn't have any more"
    );
    assert_eq!(unpromised(&list, &header), none, "run ffi/c/header, which adds this to include/abi-1.txt");
}

/// A header, and the list that promises all of it.
const BEFORE: &str = "
#define ALLUVIUM_ONE 1
typedef int32_t alluvium_status;
typedef void (*alluvium_fn)(void *context);
/**
 * A structure; it has a size.
 */
typedef struct {
  /**
   * That.
   */
  uint32_t size;
  char name[64];
} alluvium_options;
typedef struct {
  uint64_t id;
} alluvium_store;
const char *alluvium_version(void);
alluvium_status alluvium_open(alluvium_store store,
                              const alluvium_options *options);
";

fn before() -> String {
    with_additions("# A comment.", &lines(&Header::of(BEFORE)))
}

#[test]
fn a_list_has_whole_declarations() {
    let expected = "# A comment.
number ALLUVIUM_ONE 1
typedef int32_t alluvium_status
typedef void (*alluvium_fn)(void *context)
struct alluvium_options { uint32_t size; char name[64]; }
struct alluvium_store { uint64_t id; }
const char *alluvium_version(void)
alluvium_status alluvium_open(alluvium_store store, const alluvium_options *options)
";
    assert_eq!(before(), expected);
}

/// Each change of the header that a program would notice breaks one promise.
#[test]
fn what_a_program_would_notice_is_noticed() {
    let changes = [
        ("ONE 1", "ONE 2"),
        ("#define ALLUVIUM_ONE 1", ""),
        ("int32_t alluvium_status", "int64_t alluvium_status"),
        ("(void *context)", "(const void *context)"),
        ("char name[64]", "char name[32]"),
        ("  char name[64];\n", ""),
        ("  char name[64];\n", "  uint32_t more;\n  char name[64];\n"),
        ("  uint64_t id;\n", "  uint64_t id;\n  uint64_t more;\n"),
        ("uint64_t id", "uint32_t id"),
        ("} alluvium_store;", "} alluvium_shop;"),
        ("const char *alluvium_version(void);", ""),
        ("const char *alluvium_version", "char *alluvium_version"),
        ("const alluvium_options *options", "alluvium_options *options"),
        ("alluvium_store store,", "alluvium_store store, uint32_t flags,"),
    ];
    for (from, to) in changes {
        let header = BEFORE.replacen(from, to, 1);
        assert_ne!(header, BEFORE, "{from}");
        let broken = broken(&before(), &lines(&Header::of(&header))).len();
        assert_eq!(broken, 1, "{from}: {to}");
    }
}

/// What is added is promised from then on, where it says that it is.
#[test]
fn what_is_added_has_to_be_promised() {
    let additions = [
        ("#define ALLUVIUM_ONE 1", "#define ALLUVIUM_ONE 1\n#define ALLUVIUM_TWO 2"),
        ("  char name[64];\n", "  char name[64];\n  uint32_t more;\n"),
        ("const char *alluvium_version(void);", "const char *alluvium_version(void);\nint32_t alluvium_more(void);"),
    ];
    for (from, to) in additions {
        let header = lines(&Header::of(&BEFORE.replacen(from, to, 1)));
        let list = before();
        assert_eq!((broken(&list, &header).len(), unpromised(&list, &header).len()), (0, 1), "{to}");
        let list = with_additions(&list, &header);
        assert_eq!((broken(&list, &header).len(), unpromised(&list, &header).len()), (0, 0), "{to}");
        // And is gone if it is taken away again.
        assert_eq!(broken(&list, &lines(&Header::of(BEFORE))).len(), 1, "{to}");
    }
}

/// A program finds every function that the header declares, and can't come to depend on another.
#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let nm = std::env::var("NM").unwrap_or_else(|_| "nm".to_owned());
    let library = libraries().join("liballuvium_c.so");
    let output = Command::new(nm).args(["-D", "--defined-only", "--format=posix"]).arg(&library).output();
    let output = output.expect("nm is needed: install binutils, or set NM");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let exported: BTreeSet<&str> = names.filter(|name| name.starts_with("alluvium_")).collect();
    let header = Header::read();
    let declared: BTreeSet<&str> = header.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(exported, declared);
}
