//! Every function that the header declares is called from where it may not be, with what is right otherwise: the calls are made from the header, so that
//! none can be forgotten, and compiled with the programs `elsewhere.c` and `inside.c`.
//!
//! - those that take a writer, by another thread than the writer's: `ALLUVIUM_WRONG_THREAD`;
//! - all of them, by callbacks of every kind: `ALLUVIUM_INSIDE_CALLBACK`;
//! - those for handlers, by a callback of one of them: `ALLUVIUM_IN_USE`, as the handler is at something else.
//!
//! What comes to anything else is named here, with why.

use crate::declared::{Function, Header};
use crate::wrongly::{Given, checked, handles, let_go, prepared, run};
use std::collections::BTreeSet;

const WRITER: &str = "alluvium_writer";
const APPLYING: &str = "alluvium_applying";

/// What a callback may call: (function, status, why).
const ALLOWED_INSIDE: &[(&str, &str, &str)] = &[
    ("alluvium_check_abi", "ALLUVIUM_OK", "it says something of a number"),
    ("alluvium_engine_options_init", "ALLUVIUM_OK", "it fills in what is usual, and asks nobody"),
    ("alluvium_error_free", "ALLUVIUM_OK", "a callback has errors of its own"),
    ("alluvium_error_get", "ALLUVIUM_OK", "a callback has errors of its own"),
    ("alluvium_multiset_count", "ALLUVIUM_OK", "it says something of bytes, and is 0 for those that are no multiset"),
    ("alluvium_open_handles", "ALLUVIUM_OK", "it counts, and waits for nobody"),
    ("alluvium_state_options_init", "ALLUVIUM_OK", "it fills in what is usual, and asks nobody"),
    ("alluvium_store_options_init", "ALLUVIUM_OK", "it fills in what is usual, and asks nobody"),
];

/// What needs more to be right than can be made from the header, so that `inside.c` calls it by itself: (function, what is missing).
const CALLED_BY_HAND: &[(&str, &str)] = &[
    ("alluvium_multiset_elements", "bytes of a multiset"),
    ("alluvium_multiset_top", "bytes of a multiset"),
    ("alluvium_store_handler", "a handler with a name and a function"),
    ("alluvium_store_migrate", "a conversion with a name and a function"),
    ("alluvium_store_state", "a name"),
];

fn takes(header: &Header, function: &Function, kind: &str) -> bool {
    handles(header, function).any(|(_, held)| held == kind)
}

/// A call with everything right, of which nothing but its place is wrong.
fn placed(header: &Header, function: &Function, status: &str) -> String {
    let call = checked(header, function, Given::Right, (status, status), "");
    format!("    {{ {} {call}{} }}\n", prepared(header, function), let_go(function))
}

fn of_another_thread(header: &Header) -> String {
    let mut code = "static void of_another_thread(const everything *all) {\n    const int is_sized = 1;\n".to_owned();
    for function in header.functions.iter().filter(|function| takes(header, function, WRITER)) {
        code += &placed(header, function, "ALLUVIUM_WRONG_THREAD");
    }
    code + "    (void)is_sized;\n}\n"
}

fn of_a_callback(header: &Header) -> String {
    let mut code = "static void of_a_callback(const everything *all) {\n    const int is_sized = 1;\n".to_owned();
    for function in header.functions.iter().filter(|function| !takes(header, function, APPLYING)) {
        if CALLED_BY_HAND.iter().any(|(name, _)| *name == function.name) {
            continue;
        }
        let allowed = ALLOWED_INSIDE.iter().find(|(name, ..)| *name == function.name);
        code += &placed(header, function, allowed.map_or("ALLUVIUM_INSIDE_CALLBACK", |(_, status, _)| status));
    }
    code + "    (void)is_sized;\n}\n"
}

fn of_a_handlers_callback(header: &Header) -> String {
    let mut code =
        "static void of_a_handlers_callback(const everything *all, alluvium_applying applying) {\n".to_owned();
    code += "    const int is_sized = 1;\n";
    for function in header.functions.iter().filter(|function| takes(header, function, APPLYING)) {
        code += &placed(header, function, "ALLUVIUM_IN_USE");
    }
    code + "    (void)is_sized;\n}\n"
}

#[test]
fn every_function_of_a_writer_refuses_other_threads() {
    let calls = of_another_thread(&Header::read());
    assert!(calls.contains("alluvium_writer_put(") && calls.contains("alluvium_writer_adopt("), "{calls}");
    run("elsewhere.c", include_str!("elsewhere.c"), &calls);
}

#[test]
fn every_function_refuses_callbacks() {
    let header = Header::read();
    let calls = of_a_callback(&header) + &of_a_handlers_callback(&header);
    run("inside.c", include_str!("inside.c"), &calls);
}

/// What is named above is in the header, in one list alone, and what is to be called by hand is.
#[test]
fn exceptions_are_of_functions_that_are_there() {
    let header = Header::read();
    let declared: BTreeSet<&str> = header.functions.iter().map(|function| function.name.as_str()).collect();
    let by_hand = CALLED_BY_HAND.iter().map(|(name, _)| *name);
    let named: Vec<&str> = ALLOWED_INSIDE.iter().map(|(name, ..)| *name).chain(by_hand.clone()).collect();
    let once: BTreeSet<&str> = named.iter().copied().collect();
    assert_eq!(once.len(), named.len());
    assert_eq!(once.difference(&declared).count(), 0, "{named:?}");
    let program = include_str!("inside.c");
    let missing: Vec<&str> =
        by_hand.filter(|name| !program.contains(&format!("IS(ALLUVIUM_INSIDE_CALLBACK, {name}("))).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
