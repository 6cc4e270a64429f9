//! Structures that begin with their own size grow, and say so. `include/abi-1.txt` has the lengths that each of them ever had, and with which field it ended:
//! a program that was compiled then gives that length, and is understood; any other one is refused. `sized.c` gives every length of each.
//!
//! Lengths are those of machines whose addresses have 64 bits.

use crate::compiled::program;
use crate::declared::Header;
use crate::promised::list_path;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A length that a structure had, and the field that it ended with.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Length {
    structure: String,
    bytes: usize,
    last: String,
}

impl Length {
    fn line(&self) -> String {
        format!("length {} {} {}", self.structure, self.bytes, self.last)
    }
}

fn lengths(list: &str) -> Vec<Length> {
    let of = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["length", structure, bytes, last] => {
            Some(Length { structure: structure.to_owned(), bytes: bytes.parse().expect(line), last: last.to_owned() })
        }
        _ => None,
    };
    list.lines().filter_map(of).collect()
}

/// The structures that begin with their own size, and their last fields.
fn sized(header: &Header) -> BTreeMap<&str, &str> {
    let begins = |fields: &[String]| fields[0] == "uint32_t size";
    let structures = header.structures.iter().filter(|one| begins(&one.fields));
    let name_of = |field: &str| field.rfind([' ', '*']).map_or(0, |at| at + 1);
    structures
        .map(|one| {
            let last = one.fields.last().expect("it has fields");
            (one.name.as_str(), &last[name_of(last)..])
        })
        .collect()
}

/// How long they are now, as the compiler says.
fn measured(header: &Header) -> Vec<Length> {
    let sized = sized(header);
    let mut code = "#include <alluvium.h>\n#include <stdio.h>\nint main(void) {\n".to_owned();
    for (structure, last) in &sized {
        _ = writeln!(code, "    printf(\"length {structure} %zu {last}\\n\", sizeof({structure}));");
    }
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("measured.c");
    std::fs::write(&source, code + "    return 0;\n}\n").unwrap();
    let measured = lengths(&program(&source));
    assert_eq!(measured.len(), sized.len());
    measured
}

/// What is wrong with a list, for structures that are so long now: each has to end with what it is now, having grown with every line. One that is
/// longer by what lay idle at its end is as long as before, and nobody could tell which of the two a program means.
fn wrong(list: &[Length], now: &[Length]) -> Vec<String> {
    let mut wrong = Vec::new();
    for current in now {
        let known: Vec<&Length> = list.iter().filter(|one| one.structure == current.structure).collect();
        if known.last() != Some(&current) {
            wrong.push(format!("not listed: {}", current.line()));
        }
        if known.windows(2).any(|pair| pair[0].bytes >= pair[1].bytes) {
            wrong.push(format!("it didn't grow: {}", current.line()));
        }
    }
    wrong
}

/// With `ALLUVIUM_WRITE_HEADER=1`, as `ffi/c/header` has it, new lengths are added to the list; nothing else in it is ever changed.
#[test]
fn every_length_is_listed_and_longer_than_the_one_before() {
    let now = measured(&Header::read());
    let mut list = std::fs::read_to_string(list_path()).unwrap();
    if std::env::var_os("ALLUVIUM_WRITE_HEADER").is_some() {
        let known = lengths(&list);
        now.iter().filter(|one| !known.contains(one)).for_each(|one| list += &(one.line() + "\n"));
        // What is wrong would stay in it.
        if wrong(&lengths(&list), &now).is_empty() {
            std::fs::write(list_path(), &list).unwrap();
        }
    }
    let wrong = wrong(&lengths(&list), &now);
    assert_eq!(wrong, Vec::<String>::new(), "run ffi/c/header; where a structure didn't grow, give it a longer field");
    let listed: BTreeSet<String> = lengths(&list).into_iter().map(|one| one.structure).collect();
    let there: BTreeSet<String> = now.into_iter().map(|one| one.structure).collect();
    assert_eq!(listed, there);
}

#[test]
fn what_grows_unseen_is_noticed() {
    let length = |bytes, last: &str| Length { structure: "alluvium_barrier".to_owned(), bytes, last: last.to_owned() };
    let list = [length(48, "metadata"), length(56, "standalone")];
    assert_eq!(wrong(&list, &list[1..]), Vec::<String>::new());
    // A field more that isn't listed; one that is, in what lay idle; and one that is gone.
    assert_eq!(wrong(&list, &[length(64, "more")]).len(), 1);
    let idle = [list[0].clone(), list[1].clone(), length(56, "more")];
    assert_eq!(wrong(&idle, &idle[2..]), ["it didn't grow: length alluvium_barrier 56 more"]);
    assert_eq!(wrong(&list, &list[..1]).len(), 1);
}

/// The lengths that `sized.c` is to try, by structures; and that a field of each ended where its structure did then.
fn tried(list: &[Length], header: &Header) -> String {
    let mut code = "#include <stddef.h>\n".to_owned();
    for (structure, _) in sized(header) {
        let known: Vec<&Length> = list.iter().filter(|one| one.structure == structure).collect();
        let bytes: Vec<String> = known.iter().map(|one| one.bytes.to_string()).collect();
        _ = writeln!(code, "static const size_t lengths_of_{structure}[] = {{{}}};", bytes.join(", "));
        for Length { bytes, last, .. } in known {
            let end = format!("offsetof({structure}, {last}) + sizeof((({structure} *)0)->{last})");
            _ = writeln!(code, "_Static_assert(({end} + 7) / 8 * 8 == {bytes}, \"{structure} ended with {last}\");");
        }
    }
    code
}

#[test]
fn every_length_that_there_ever_was_is_understood_and_no_other() {
    let (header, text) = (Header::read(), include_str!("sized.c"));
    for structure in sized(&header).keys() {
        assert!(text.contains(&format!("TRY({structure}, ")), "sized.c doesn't try {structure}");
    }
    let list = lengths(&std::fs::read_to_string(list_path()).unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("sized.c");
    std::fs::write(temporary.path().join("lengths.h"), tried(&list, &header)).unwrap();
    std::fs::write(&source, text).unwrap();
    program(&source);
}
