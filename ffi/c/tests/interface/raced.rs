//! Every kind of handle that the header has is closed while other threads use it, by `races.c` or `handovers.c`, so that no new one is forgotten.

use crate::declared::Header;

#[test]
fn every_kind_of_handle_is_closed_while_it_is_used() {
    let (header, programs) =
        (Header::read(), concat!(include_str!("../programs/races.c"), include_str!("../programs/handovers.c")));
    let kinds = header.structures.iter().map(|structure| structure.name.as_str()).filter(|name| header.is_handle(name));
    let kinds: Vec<&str> = kinds.map(|name| name.trim_start_matches("alluvium_")).collect();
    assert!(kinds.contains(&"store") && kinds.contains(&"applying"), "{kinds:?}");
    let is_raced = |kind: &&str| programs.contains(&format!("{{\"{kind}\", "));
    let forgotten: Vec<&str> = kinds.into_iter().filter(|kind| !is_raced(kind)).collect();
    assert_eq!(forgotten, Vec::<&str>::new());
}
