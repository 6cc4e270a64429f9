//! `docs/format.md` says what the code does.

use super::format::*;

const DOCUMENT: &str = include_str!("../../../../docs/format.md");

/// The cells of the table rows of a section.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split_once(&format!("### {heading}\n")).unwrap().1;
    let section = section.split("\n##").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    rows.skip(1).map(|row| row.split('|').map(str::trim).collect()).collect()
}

fn width(kind: &str) -> usize {
    match kind {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" => 8,
        "u128" => 16,
        bytes => bytes.strip_suffix("bytes").unwrap().trim().parse().unwrap(),
    }
}

#[test]
fn the_superblocks_fields_stand_where_the_document_says() {
    let mut at = 0;
    for row in rows("Superblock") {
        assert_eq!(row[0].parse(), Ok(at), "{row:?}");
        at += width(row[2]);
    }
    assert_eq!(at, SUPERBLOCK_BYTES);
    assert!(DOCUMENT.contains(&format!("`{}`", std::str::from_utf8(&MAGIC).unwrap())));
    assert!(DOCUMENT.contains(&format!("| 8 | version | u32 | {VERSION} |")));
}

#[test]
fn the_meta_records_fields_add_up_to_its_length() {
    let fields: usize = rows("Meta record").iter().map(|row| width(row[1])).sum();
    let (group, key) = (crate::ids::KeyGroup(0), super::cell_key(0, 0, b"", b""));
    let meta = SegmentMeta {
        id: super::ID,
        file_bytes: 0,
        epoch_low: crate::ids::Epoch(1),
        epoch_high: crate::ids::Epoch(1),
        hash_seed: 0,
        level: 0,
        groups: crate::ids::KeyGroupRange::new(group.0, group.0),
        entries: 0,
        tombstones: 0,
        clears: 0,
        expiring: 0,
        logical_bytes: 0,
        expiry_min_ms: None,
        expiry_max_ms: None,
        blocks: 0,
        directory_entries: 0,
        filter_blocks: 0,
        filter_keys: 0,
        index_bytes: 0,
        index_root: 0,
        metadata: Section::default(),
        first_key: key.clone(),
        last_key: key,
    };
    let mut bytes = Vec::new();
    meta.encode(&mut bytes);
    assert_eq!(bytes.len(), fields + 2 * meta.first_key.len());
    for number in [SORT_KEY_BYTES_MAX, METADATA_PAGE_BYTES as usize, PAGE_BYTES as usize] {
        let grouped = format!("{},{:03}", number / 1000, number % 1000);
        assert!(DOCUMENT.contains(&grouped), "{grouped}");
    }
}
