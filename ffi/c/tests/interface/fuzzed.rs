//! Every function that the header declares is called by the fuzz target `c_calls`, or is named here with why it isn't, so that no new one is forgotten.

use crate::declared::Header;

/// What is left out: (how its name begins, why).
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "alluvium_applying_",
        "only handlers can call it, whose callbacks have no input of their own: one there calls a few",
    ),
    ("alluvium_check_abi", "it says something of a number"),
    ("alluvium_status_", "it says something of a number"),
    ("alluvium_version", "it takes nothing"),
];

#[test]
fn every_function_is_fuzzed() {
    let (header, target) = (Header::read(), include_str!("../../../../fuzz/fuzz_targets/c_calls.rs"));
    let is_named = |name: &str| target.contains(&format!("{name}("));
    let reason = |name: &str| LEFT_OUT.iter().find(|(begins, _)| name.starts_with(begins));
    let functions = header.functions.iter().map(|function| function.name.as_str());
    let forgotten: Vec<&str> = functions.clone().filter(|name| reason(name).is_none() && !is_named(name)).collect();
    assert_eq!(forgotten, Vec::<&str>::new());
    for (begins, why) in LEFT_OUT {
        assert!(functions.clone().any(|name| name.starts_with(begins)), "{begins}: {why}");
    }
}
