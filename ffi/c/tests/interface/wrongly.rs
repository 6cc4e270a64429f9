//! Every function that the header declares is called wrongly, so that none can be forgotten: the calls are made from the header, and compiled with the
//! programs `refused.c` and `nulls.c`.
//!
//! - with nothing at all: null, handles that are 0, numbers that are 0;
//! - with handles that are none, or of another kind, and everything else as it should be: pointers to zeros, and callbacks that nobody may call; with and
//!   without the `size` of what begins with one;
//! - with right handles of everything, and null in place of one pointer or callback after another, or one of several handles that is none.
//!
//! Each says what its caller did wrong, by its status and by an error that says the same. What comes to anything else is named here, with why.

use crate::compiled::program;
use crate::declared::{Function, Header, Parameter, pointed_to};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// What comes to neither `ALLUVIUM_NULL` nor `ALLUVIUM_HANDLE` where it is given nothing.
const OF_NOTHING: &[(&str, &str)] = &[("alluvium_check_abi", "ALLUVIUM_ABI")]; // no version is 0

/// What doesn't come to `ALLUVIUM_HANDLE` where its handles are none: (function, status, why).
const OF_WRONG_HANDLES: &[(&str, &str, &str)] = &[
    ("alluvium_buffer_new", "ALLUVIUM_OK", "it takes no handle"),
    ("alluvium_engine_options_init", "ALLUVIUM_OK", "it takes no handle"),
    ("alluvium_state_options_init", "ALLUVIUM_OK", "it takes no handle"),
    ("alluvium_store_options_init", "ALLUVIUM_OK", "it takes no handle"),
    ("alluvium_open_handles", "ALLUVIUM_OK", "it takes no handle"),
    ("alluvium_check_abi", "ALLUVIUM_OK", "it takes no handle, and the version is 1"),
    (
        "alluvium_engine_open",
        "is_sized ? ALLUVIUM_OPTIONS : ALLUVIUM_ABI",
        "it takes no handle, and an engine needs memory",
    ),
    ("alluvium_multiset_count", "ALLUVIUM_OK", "it takes no handle, and is 0 for bytes that are no multiset"),
    ("alluvium_multiset_elements", "ALLUVIUM_ARGUMENT", "the bytes are no multiset"),
    ("alluvium_multiset_top", "ALLUVIUM_ARGUMENT", "the bytes are no multiset"),
    ("alluvium_store_handler", "ALLUVIUM_NULL", "the handler has no function"),
    ("alluvium_store_migrate", "ALLUVIUM_NULL", "the conversion has no function"),
    ("alluvium_store_state", "is_sized ? ALLUVIUM_NULL : ALLUVIUM_ABI", "the state has no name"),
];

/// Pointers that may be null, as the header says of each: (function, its parameters).
const MAY_BE_NULL: &[(&str, &[&str])] = &[
    ("alluvium_applying_map_delete_range", &["range"]),
    ("alluvium_applying_map_scan", &["range"]),
    ("alluvium_buffer_data", &["records"]),
    ("alluvium_commit_on_lasting", &["release"]),
    ("alluvium_cursor_entries", &["range"]),
    ("alluvium_engine_close_within", &["ended"]),
    ("alluvium_engine_memory", &["budget_bytes", "used_bytes"]),
    ("alluvium_engine_open", &["options_"]),
    ("alluvium_error_get", &["status", "class_", "message"]),
    ("alluvium_past_map_entries", &["range"]),
    ("alluvium_pending_poll", &["info"]),
    ("alluvium_pending_wait", &["info"]),
    ("alluvium_store_commit", &["info"]),
    ("alluvium_store_commit_lasting", &["commit"]),
    ("alluvium_store_create", &["options"]),
    ("alluvium_store_describe", &["kind"]),
    ("alluvium_store_expiry", &["ttl_ms", "ttl_refresh_on_read", "purge_ms", "purge_time_at"]),
    ("alluvium_store_fired", &["more"]),
    ("alluvium_store_key_groups", &["range", "key_groups"]),
    ("alluvium_store_logging", &["log_mode", "traced"]),
    ("alluvium_store_migration", &["segments", "segment_bytes"]),
    ("alluvium_store_next_checkpoint", &["due_in_us", "reason"]),
    ("alluvium_store_open", &["options"]),
    ("alluvium_store_open_checkpoint", &["options"]),
    ("alluvium_store_open_or_create", &["options"]),
    ("alluvium_store_provenance", &["user_key"]),
    ("alluvium_store_restore", &["options"]),
    ("alluvium_store_restore_absent", &["options"]),
    ("alluvium_store_warm", &["taken"]),
    ("alluvium_store_watch_invariant", &["release"]),
    ("alluvium_usage", &["label"]),
    ("alluvium_writer_apply_event_once", &["applied"]),
    ("alluvium_writer_commit", &["info"]),
    ("alluvium_writer_commit_lasting", &["commit"]),
    ("alluvium_writer_map_delete_range", &["range"]),
    ("alluvium_writer_map_pop_below_up_to", &["more"]),
    ("alluvium_writer_map_pop_first_if", &["taken"]),
    ("alluvium_writer_map_scan", &["range"]),
    // Memory for a value, which is looked at where there is one that fits: `values.c` and `misuse.c` have it be null.
    ("alluvium_applying_determinant", &["memory"]),
    ("alluvium_applying_get", &["memory"]),
    ("alluvium_applying_map_get", &["memory"]),
    ("alluvium_past_get", &["memory"]),
    ("alluvium_past_map_get", &["memory"]),
    ("alluvium_reader_get", &["memory"]),
    ("alluvium_reader_map_get", &["memory"]),
    ("alluvium_snapshot_get", &["memory"]),
    ("alluvium_snapshot_map_get", &["memory"]),
    ("alluvium_writer_get", &["memory"]),
    ("alluvium_writer_map_get", &["memory"]),
];

/// What the arguments of a call are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Given {
    Nothing,
    WrongHandles,
    /// Everything is right.
    Right,
    /// What is right, but for the argument at a place, which is null, or a handle that is none.
    RightBut(usize),
}

/// The argument of a call, as C has it. What a pointer points to lies at its own place in `scratch`.
fn argument(header: &Header, function: &Function, place: usize, given: Given) -> String {
    let Parameter { kind, name } = &function.parameters[place];
    let is_nothing = given == Given::Nothing || given == Given::RightBut(place);
    let is_wrong = given == Given::WrongHandles;
    match kind.as_str() {
        "alluvium_error *" if !is_nothing => "&error".to_owned(),
        _ if is_nothing && (kind.ends_with('*') || kind.ends_with("_fn")) => "NULL".to_owned(),
        "const char *" if !is_wrong => "all->path".to_owned(),
        "alluvium_release_fn" => "let_go".to_owned(),
        _ if kind.ends_with('*') => format!("({kind})scratch[{place}]"),
        _ if kind.ends_with("_fn") => format!("({kind})never"),
        _ if header.is_handle(kind) && is_wrong => format!("({kind}){{id}}"),
        "alluvium_applying" if !is_nothing => "applying".to_owned(),
        _ if header.is_handle(kind) && !is_nothing => format!("all->{}", kind.trim_start_matches("alluvium_")),
        "alluvium_slice" if !is_nothing => format!("bytes(scratch[{place}], 1)"),
        _ if kind.starts_with("alluvium_") && kind != "alluvium_status" => format!("({kind}){{0}}"),
        _ if is_nothing => "0".to_owned(),
        // A state of the kind that the function is for.
        "uint16_t" if name == "state" && !is_wrong => state_for(&function.name).to_owned(),
        "uint16_t" => "0".to_owned(),
        _ if name == "index" || name == "group" => "0".to_owned(),
        // A label of zeros has no name.
        _ if name == "labels_len" && given != Given::RightBut(place - 1) => "0".to_owned(),
        _ => "1".to_owned(),
    }
}

fn state_for(function: &str) -> &'static str {
    match function {
        _ if function.contains("_map_") || function.ends_with("_entries") => "all->maps",
        _ if function.contains("_list") || function.ends_with("_append") || function.ends_with("_namespaces") => {
            "all->lists"
        }
        _ => "all->values",
    }
}

fn call(header: &Header, function: &Function, given: Given) -> String {
    let places = 0..function.parameters.len();
    let arguments: Vec<String> = places.map(|place| argument(header, function, place, given)).collect();
    format!("{}({})", function.name, arguments.join(", "))
}

/// A call and what it has to come to, by its status, or by another.
pub fn checked(header: &Header, function: &Function, given: Given, wanted: (&str, &str), what: &str) -> String {
    let call = call(header, function, given);
    match function.returns.as_str() {
        "alluvium_status" => {
            let error = if call.contains("&error") { "&error" } else { "NULL" };
            format!("comes_to(\"{}{what}\", {call}, {error}, {}, {});", function.name, wanted.0, wanted.1)
        }
        // What there is to say of any status, and of the library.
        "const char *" => format!("CHECK(strlen({call}) > 0);"),
        "int32_t" => format!("CHECK({call} == ALLUVIUM_CLASS_NONE);"),
        other => panic!("{} returns a {other}, of which nothing is known here", function.name),
    }
}

/// Before a call: zeros where pointers point to, but for the size of what begins with one; and no error.
pub fn prepared(header: &Header, function: &Function) -> String {
    let mut code = "clear();".to_owned();
    for (place, Parameter { kind, .. }) in function.parameters.iter().enumerate() {
        if let Some(pointed) = pointed_to(kind).filter(|_| header.is_sized(kind)) {
            _ = write!(code, " if (is_sized) size_at({place}, sizeof({pointed}));");
        }
    }
    code + " alluvium_error error = {0}; (void)error;"
}

/// After a call: a context is the library's, whatever the call came to, and was let go where that was a failure.
pub fn let_go(function: &Function) -> &'static str {
    let has_release = function.parameters.iter().any(|parameter| parameter.kind == "alluvium_release_fn");
    if has_release { " CHECK(released == 1);" } else { "" }
}

/// The handles that a function takes, by their places.
pub fn handles<'a>(header: &'a Header, function: &'a Function) -> impl Iterator<Item = (usize, &'a str)> {
    let kinds = function.parameters.iter().map(|parameter| parameter.kind.as_str()).enumerate();
    kinds.filter(move |(_, kind)| header.is_handle(kind))
}

fn calls_of_nothing(header: &Header) -> String {
    let mut code = "static void nothing_at_all(void) {\n".to_owned();
    for function in &header.functions {
        let other = OF_NOTHING.iter().find(|(name, _)| *name == function.name).map(|(_, status)| *status);
        let wanted = other.map_or(("ALLUVIUM_NULL", "ALLUVIUM_HANDLE"), |status| (status, status));
        _ = writeln!(code, "    {}", checked(header, function, Given::Nothing, wanted, ""));
    }
    code + "}\n"
}

fn calls_with_wrong_handles(header: &Header) -> String {
    let head = "static void handles_that_are_none(uint64_t id, int is_sized, const fixture *made) {\n";
    let mut code = head.to_owned();
    for function in &header.functions {
        // Of another kind they are none, of their own they are.
        let mut condition = "1".to_owned();
        for (_, kind) in handles(header, function) {
            if ["alluvium_engine", "alluvium_store", "alluvium_writer"].contains(&kind) {
                _ = write!(condition, " && id != made->{}.id", kind.trim_start_matches("alluvium_"));
            }
        }
        let other = OF_WRONG_HANDLES.iter().find(|(name, ..)| *name == function.name).map(|(_, status, _)| *status);
        let is_sized = function.parameters.iter().any(|parameter| header.is_sized(&parameter.kind));
        let wanted = match other {
            Some(status) => (status, status),
            // Whichever is looked at first.
            None if is_sized => ("is_sized ? ALLUVIUM_HANDLE : ALLUVIUM_ABI", "ALLUVIUM_HANDLE"),
            None => ("ALLUVIUM_HANDLE", "ALLUVIUM_HANDLE"),
        };
        let call = checked(header, function, Given::WrongHandles, wanted, "");
        // The one that makes something: nothing is wrong about it.
        let freed = if function.name == "alluvium_buffer_new" { " free_buffer_at(0);" } else { "" };
        let (prepared, let_go) = (prepared(header, function), let_go(function));
        _ = writeln!(code, "    if ({condition}) {{ {prepared} {call}{let_go}{freed} }}");
    }
    code + "}\n"
}

/// Of the functions for handlers, which are called by one, or of all others.
fn calls_with_nulls(header: &Header, is_inside: bool) -> String {
    let name = if is_inside { "nulls_inside" } else { "nulls" };
    let applying = if is_inside { ", alluvium_applying applying" } else { "" };
    let head = format!("static void {name}(const everything *all{applying}) {{\n    const int is_sized = 1;\n");
    let mut code = head;
    for function in &header.functions {
        let held: Vec<(usize, &str)> = handles(header, function).collect();
        if held.iter().any(|(_, kind)| *kind == "alluvium_applying") != is_inside {
            continue;
        }
        let optional = MAY_BE_NULL.iter().find(|(name, _)| *name == function.name);
        let may_be_null: &[&str] = optional.map_or(&[], |(_, names)| names);
        for (place, Parameter { kind, name }) in function.parameters.iter().enumerate() {
            let is_pointer = kind.ends_with('*') || kind.ends_with("_fn");
            let is_free =
                ["alluvium_error *", "void *"].contains(&kind.as_str()) || may_be_null.contains(&name.as_str());
            // Of one handle alone `refused.c` shows it.
            if is_free || !(is_pointer || held.len() > 1 && header.is_handle(kind)) {
                continue;
            }
            let wanted = if is_pointer { "ALLUVIUM_NULL" } else { "ALLUVIUM_HANDLE" };
            let what = format!(" without {name}");
            let call = checked(header, function, Given::RightBut(place), (wanted, wanted), &what);
            _ = writeln!(code, "    {{ {} {call}{} }}", prepared(header, function), let_go(function));
        }
    }
    code + "    (void)all, (void)is_sized;\n}\n"
}

/// Compiles a program with calls that are made from the header, and runs it.
pub fn run(name: &str, text: &str, calls: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join(name);
    std::fs::write(temporary.path().join("calls.h"), calls).unwrap();
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interface/support.h");
    std::fs::copy(support, temporary.path().join("support.h")).unwrap();
    std::fs::write(&source, text).unwrap();
    program(&source);
}

#[test]
fn every_function_refuses_nothing_and_handles_that_are_none() {
    let header = Header::read();
    let calls = calls_of_nothing(&header) + &calls_with_wrong_handles(&header);
    run("refused.c", include_str!("refused.c"), &calls);
}

#[test]
fn every_function_refuses_null_where_something_has_to_be() {
    let header = Header::read();
    let calls = calls_with_nulls(&header, true) + &calls_with_nulls(&header, false);
    run("nulls.c", include_str!("nulls.c"), &calls);
}

/// What is named above is in the header, as it is called there.
#[test]
fn exceptions_are_of_functions_that_are_there() {
    let header = Header::read();
    let find = |name: &str| header.functions.iter().find(|function| function.name == name);
    let named = OF_NOTHING.iter().map(|(name, _)| *name).chain(OF_WRONG_HANDLES.iter().map(|(name, ..)| *name));
    let gone: BTreeSet<&str> = named.filter(|name| find(name).is_none()).collect();
    assert_eq!(gone, BTreeSet::new());
    for (name, parameters) in MAY_BE_NULL {
        let function = find(name).unwrap_or_else(|| panic!("{name}"));
        for parameter in *parameters {
            assert!(function.parameters.iter().any(|one| one.name == *parameter), "{name}: {parameter}");
        }
    }
}
