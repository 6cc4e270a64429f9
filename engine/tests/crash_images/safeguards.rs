//! That the images would show it: where a kind of sync is left out, some image is not a commit any more.
//!
//! A record in which the syncs of segments are missing is the record of an engine that doesn't sync segments. So each kind is left out in
//! turn, and images are looked at until one fails.

use super::disk::{Disk, Image, choices};
use super::look::{self, Looker};
use super::workload::Rng;
use super::{Kind, Run, number};
use alluvium::recorder::{Entry, Op};
use std::collections::HashMap;

/// What is synced, by the end of its name; the empty one is for directories.
const SEGMENTS: &str = ".segment";
const MANIFESTS: &str = ".manifest.tmp";
const CHANGELOGS: &str = ".changelog.tmp";
const DIRECTORIES: &str = "";

/// The record without the syncs of a kind.
fn without(ops: &[Op], left_out: &str) -> Vec<Op> {
    let mut first_names: HashMap<usize, &str> = HashMap::new();
    let mut kept = Vec::new();
    for op in ops {
        let is_left_out = match op {
            Op::Synced { file } => {
                !left_out.is_empty() && first_names.get(file).is_some_and(|name| name.ends_with(left_out))
            }
            Op::DirectorySynced { .. } => left_out.is_empty(),
            _ => false,
        };
        if let Op::Named { names, .. } = op {
            for (name, entry) in names {
                if let Some(Entry::File(file)) = entry {
                    first_names.entry(*file).or_insert(name);
                }
            }
        }
        if !is_left_out {
            kept.push(op.clone());
        } else {
            // Places in the record stay as they are.
            kept.push(Op::Named { directory: "/nowhere".into(), names: Vec::new() });
        }
    }
    kept
}

/// How many images it takes until one fails; none where none does.
fn images_until_one_fails(kind: Kind, left_out: &str, seed: u64) -> Option<usize> {
    let mut rng = Rng(seed);
    let mut looker = Looker::new();
    let mut count = 0;
    for round in 0..4 {
        let place = look::place();
        let path = place.path().canonicalize().unwrap().join("store");
        let mut run = Run::new(kind, seed.wrapping_add(round), &path);
        run.ops = without(&run.ops, left_out);
        let mut disk = Disk::new(&path, &Image::default());
        for (done, op) in run.ops.iter().enumerate() {
            disk.step(op);
            for choice in choices(disk.unit_count(), 6, &mut rng) {
                count += 1;
                if looker.fails(&disk.image(&choice), &run.wanted(done + 1)) {
                    return Some(count);
                }
            }
        }
    }
    None
}

#[test]
fn a_sync_that_is_left_out_is_found_out() {
    let seed = number("ALLUVIUM_IMAGES_SEED", 1);
    println!("ALLUVIUM_IMAGES_SEED={seed}");
    let kinds = [
        (Kind::Checkpoints, SEGMENTS),
        (Kind::Checkpoints, MANIFESTS),
        (Kind::Checkpoints, DIRECTORIES),
        (Kind::Transactions, SEGMENTS),
        (Kind::Transactions, MANIFESTS),
        (Kind::Transactions, DIRECTORIES),
        (Kind::Changelog, SEGMENTS),
        (Kind::Changelog, MANIFESTS),
        (Kind::Changelog, CHANGELOGS),
        (Kind::Changelog, DIRECTORIES),
    ];
    for (kind, left_out) in kinds {
        let found = images_until_one_fails(kind, left_out, seed);
        println!("{kind:?} without syncs of {left_out:?}: image {found:?} fails");
        assert!(found.is_some(), "{kind:?} without syncs of {left_out:?}: no image fails");
    }
}

#[test]
fn with_all_syncs_no_image_fails() {
    let seed = number("ALLUVIUM_IMAGES_SEED", 1);
    assert_eq!(images_until_one_fails(Kind::Changelog, "what no name ends with", seed), None);
}
