//! Every kind of handle that the header has holds a store or an engine open, alone, by `children.c`, so that no new one is forgotten.

use crate::declared::Header;

/// What is nobody's child, with why.
const HOLDS_NOTHING: &[(&str, &str)] = &[
    ("engine", "all else is made from it"),
    ("applying", "it is gone when the function returns that it was given to"),
    ("buffer", "it is made from nothing"),
    ("error", "it is made from nothing"),
];

/// What `children.c` has more to say of than that it is opened and closed: what an engine is held by, and a checkpoint, which is complete at some time.
const BY_HAND: &[(&str, &str)] = &[("pending", "a pending checkpoint"), ("share", "a share"), ("store", "a store")];

#[test]
fn every_kind_of_handle_holds_what_it_was_made_from() {
    let (header, program) = (Header::read(), include_str!("../programs/children.c"));
    let kinds = header.structures.iter().map(|structure| structure.name.as_str()).filter(|name| header.is_handle(name));
    let kinds: Vec<&str> = kinds.map(|name| name.trim_start_matches("alluvium_")).collect();
    for (kind, _) in HOLDS_NOTHING.iter().chain(BY_HAND) {
        assert!(kinds.contains(kind), "{kind}");
    }
    let is_exempt = |kind: &str| HOLDS_NOTHING.iter().any(|(name, _)| *name == kind);
    let holds = |kind: &str| {
        let opened = format!(", alluvium_{kind}, ");
        match BY_HAND.iter().find(|(name, _)| *name == kind) {
            Some((_, told)) => program.contains(&format!("names(error, \"{told}\")")),
            None => program.lines().any(|line| line.trim_start().starts_with("HOLDS(\"") && line.contains(&opened)),
        }
    };
    let forgotten: Vec<&str> = kinds.into_iter().filter(|kind| !is_exempt(kind) && !holds(kind)).collect();
    assert_eq!(forgotten, Vec::<&str>::new());
}
