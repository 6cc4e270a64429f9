//! A manifest comes back as it was written, or not at all.

use std::path::Path;
use std::sync::Arc;

use super::format::{DIGEST_BYTES, HEAD_BYTES, MAGIC, VERSION, decode, decode_head, digest_of, encode};
use super::sample::{Random, Size, manifest};
use super::{Manifest, Section, Slice, StateMap, StoreInfo, check_given};
use crate::checksum;
use crate::ids::{Epoch, KeyGroup, KeyGroupRange, StateId};
use crate::platform::storage::{Fault, StorageError};

const SMALL: Size = Size { segments: 6, slices: 4, states: 3 };

fn path() -> &'static Path {
    Path::new("store/0000000000000001.manifest")
}

/// Puts length and checksums right after a test changed bytes, as an attacker or a faulty writer would.
fn reseal(bytes: &mut Vec<u8>) {
    let digest_at = bytes.len() - DIGEST_BYTES;
    let file_bytes = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&file_bytes.to_le_bytes());
    let checksum = checksum::checksum(&bytes[..HEAD_BYTES - 8]);
    bytes[HEAD_BYTES - 8..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes.truncate(digest_at);
    let digest = checksum::digest(bytes);
    bytes.extend_from_slice(&digest.to_le_bytes());
}

fn refusal(bytes: &[u8]) -> StorageError {
    let error = decode(bytes, path()).unwrap_err();
    assert_eq!(error.path, path());
    assert!(error.offset <= bytes.len() as u64, "{error}");
    error
}

#[test]
fn random_manifests_come_back_as_they_were_written() {
    let mut random = Random::announced("random_manifests_come_back_as_they_were_written");
    for _ in 0..300 {
        let size = Size { segments: random.below(40), slices: 1 + random.below(20), states: random.below(12) };
        let written = manifest(&mut random, size);
        let bytes = encode(&written).unwrap();
        assert_eq!(decode(&bytes, path()).unwrap(), written);
        let head = decode_head(&bytes[..HEAD_BYTES], path()).unwrap();
        assert_eq!((head.number, head.label, head.store), (written.number, written.label, written.store));
        assert_eq!((head.epoch, head.parent, head.file_bytes), (written.epoch, written.parent, bytes.len() as u64));
    }
}

#[test]
fn equal_manifests_have_equal_bytes_and_digests() {
    let bytes = [1, 1, 2].map(|seed| encode(&manifest(&mut Random::seeded(seed), SMALL)).unwrap());
    assert_eq!(bytes[0], bytes[1]);
    assert_eq!(digest_of(&bytes[0]), digest_of(&bytes[1]));
    assert_ne!(digest_of(&bytes[0]), digest_of(&bytes[2]));
}

#[test]
fn every_flipped_bit_is_refused() {
    let mut bytes = encode(&manifest(&mut Random::seeded(7), SMALL)).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let fault = refusal(&bytes).fault;
            match at {
                0..8 => assert_eq!(fault, Fault::Foreign),
                _ => assert_eq!(fault, Fault::Corrupt, "bit {bit} of byte {at}"),
            }
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn every_truncation_and_every_longer_file_is_refused() {
    let mut bytes = encode(&manifest(&mut Random::seeded(8), SMALL)).unwrap();
    for len in 0..bytes.len() {
        let error = refusal(&bytes[..len]);
        assert_eq!((error.fault, error.offset), (Fault::Length, len as u64), "{error}");
    }
    let whole = bytes.len() as u64;
    bytes.push(0);
    let error = refusal(&bytes);
    assert_eq!((error.fault, error.offset), (Fault::Length, whole), "{error}");
}

/// Behind checksums that hold, damage has to be caught by the fields' own checks, and must never panic.
#[test]
fn resealed_damage_never_panics_and_what_is_accepted_is_consistent() {
    let mut random = Random::announced("resealed_damage_never_panics_and_what_is_accepted_is_consistent");
    let mut refused = 0;
    for _ in 0..4_000 {
        let mut bytes = encode(&manifest(&mut random, SMALL)).unwrap();
        for _ in 0..=random.below(3) {
            let at = 12 + random.below(bytes.len() - 12);
            bytes[at] = if random.chance(2) { random.next() as u8 } else { [0, 1, 0x7f, 0xff][random.below(4)] };
        }
        if random.chance(4) {
            let at = HEAD_BYTES + DIGEST_BYTES;
            bytes.truncate(at + random.below(bytes.len() - at));
        }
        reseal(&mut bytes);
        match decode(&bytes, path()) {
            Ok(accepted) => assert_eq!(decode(&encode(&accepted).unwrap(), path()).unwrap(), accepted),
            Err(error) => {
                assert_eq!((error.fault, error.path.as_path()), (Fault::Corrupt, path()));
                assert!((8..=bytes.len() as u64).contains(&error.offset), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let mut bytes = encode(&manifest(&mut Random::seeded(9), SMALL)).unwrap();
    bytes[8..12].copy_from_slice(&(VERSION + 6).to_le_bytes());
    assert_eq!(refusal(&bytes).fault, Fault::Corrupt, "a damaged version is not a newer one");
    reseal(&mut bytes);
    let error = refusal(&bytes);
    assert_eq!((error.fault, error.offset), (Fault::NewerVersion, 8));
    assert!(error.detail.contains(&format!("version {};", VERSION + 6)), "{error}");
    assert!(error.detail.ends_with(&format!("version {VERSION}")), "{error}");
    bytes[8..12].copy_from_slice(&0_u32.to_le_bytes());
    reseal(&mut bytes);
    assert_eq!(refusal(&bytes).fault, Fault::Corrupt);
}

#[test]
fn other_files_are_foreign() {
    for bytes in [&b"x"[..], b"PK\x03\x04", b"ALVSEGMT and more of it", &[0; 4096]] {
        let error = refusal(bytes);
        assert_eq!((error.fault, error.offset), (Fault::Foreign, 0), "{error}");
    }
    assert_eq!(refusal(b"").fault, Fault::Length);
    assert_eq!(refusal(&MAGIC).fault, Fault::Length);
}

/// A count of 4 G items in a file of some hundred bytes would ask for up to a terabyte.
#[test]
fn counts_beyond_the_file_are_refused_before_anything_is_allocated() {
    let mut empty = manifest(&mut Random::seeded(10), Size { segments: 0, slices: 1, states: 0 });
    empty.offsets.clear();
    empty.metadata.clear();
    empty.maps.truncate(1);
    empty.slices[0].hot.clear();
    let bytes = encode(&empty).unwrap();
    // states, offsets, metadata, segments, maps, slices, then of the slice: stack entries, hot bytes.
    for at in [0, 4, 8, 12, 16, 20, 28, 32] {
        for count in [u32::MAX, 1 << 31, 1 << 20] {
            let mut damaged = bytes.clone();
            damaged[HEAD_BYTES + at..HEAD_BYTES + at + 4].copy_from_slice(&count.to_le_bytes());
            reseal(&mut damaged);
            let error = refusal(&damaged);
            assert_eq!(error.fault, Fault::Corrupt);
            let around = (HEAD_BYTES + at) as u64..=(HEAD_BYTES + at + 4) as u64;
            assert!(around.contains(&error.offset), "{error}");
        }
    }
}

/// A way to break a manifest, the section that is then wrong, and words that have to say how.
type Break = (fn(&mut Manifest), Section, &'static str);

const BREAKS: [Break; 21] = [
    (|m| m.store.key_groups = 0, Section::Head, "0 key groups"),
    (|m| m.store.key_groups = 65_537, Section::Head, "65537 key groups"),
    (|m| m.store.key_groups = 100, Section::Head, "of 100 key groups"),
    (|m| m.states[1].id = StateId(2), Section::States, "state 1 is numbered 2"),
    (|m| m.states[1].name = m.states[0].name.clone(), Section::States, "two states are named"),
    (|m| m.states[1].name = "x".repeat(65_536), Section::States, "65536 bytes"),
    (|m| m.offsets[0].0 = KeyGroupRange::new(0, 127), Section::Offsets, "lies outside"),
    (|m| m.epoch = Epoch(0), Section::Segments, "of epoch 0"),
    (
        |m| Arc::make_mut(&mut m.segments[0]).epoch_low = Epoch(m.segments[0].epoch_high.0 + 1),
        Section::Segments,
        "holds epochs",
    ),
    (|m| Arc::make_mut(&mut m.segments[2]).id = m.segments[0].id, Section::Segments, "listed twice"),
    (|m| Arc::make_mut(&mut m.segments[2]).groups = KeyGroupRange::new(0, 128), Section::Segments, "of 128 key groups"),
    (|m| m.slices.iter_mut().for_each(|s| s.stack.retain(|e| e.segment != 3)), Section::Segments, "uses segment 3"),
    (|m| m.maps.clear(), Section::Maps, "map 0"),
    (|m| m.maps.push(StateMap::Identity), Section::Maps, "identity again"),
    (|m| m.maps.push(pairs(&[(1, 0), (0, 1)])), Section::Maps, "ascending"),
    (|m| m.maps.push(pairs(&[(0, 1), (1, 1)])), Section::Maps, "names state 1 twice"),
    (|m| m.maps.push(pairs(&[(0, 3)])), Section::Maps, "names state 3 of 3"),
    (|m| _ = m.slices.pop(), Section::Slices, "the slices end before"),
    (|m| _ = m.slices.remove(0), Section::Slices, "slice 0 is"),
    (|m| m.slices[0].stack[0].segment = 6, Section::Slices, "names segment 6"),
    (|m| m.slices[0].stack[0].map = 99, Section::Slices, "names map 99"),
];

fn pairs(pairs: &[(u16, u16)]) -> StateMap {
    StateMap::Pairs(pairs.iter().map(|&(from, to)| (StateId(from), StateId(to))).collect())
}

/// A sample whose range doesn't start at 0, with two slices or more and something in the first.
fn breakable() -> Manifest {
    let suits = |m: &Manifest| m.store.range.first() > 0 && m.slices.len() > 1 && !m.slices[0].stack.is_empty();
    (0..).map(|seed| manifest(&mut Random::seeded(seed), SMALL)).find(suits).unwrap()
}

#[test]
fn an_inconsistent_manifest_is_not_written() {
    for (index, (damage, section, words)) in BREAKS.into_iter().enumerate() {
        let mut broken = breakable();
        damage(&mut broken);
        let invalid = encode(&broken).unwrap_err();
        assert_eq!(invalid.section, section, "{index}: {invalid}");
        assert!(invalid.detail.contains(words), "{index}: {invalid}");
    }
    let mut repeated = breakable();
    let entry = repeated.slices[0].stack[0];
    repeated.slices[0].stack.push(entry);
    let invalid = encode(&repeated).unwrap_err();
    assert!(invalid.detail.ends_with("twice"), "{invalid}");
}

#[test]
fn what_a_host_gives_leaves_room_for_the_rest_and_a_file_may_have_more() {
    // Zeroed memory that nobody touches takes none.
    let range = KeyGroupRange::new(3, 9);
    let offsets = |count: usize| (0..count).map(|_| (range, vec![0_u8; 250 << 20])).collect::<Vec<_>>();
    let section = |count, metadata: &[u8]| check_given(range, &offsets(count), metadata).map_err(|error| error.section);
    assert_eq!(section(2, &[]), Ok(()));
    assert_eq!(section(2, &vec![0; 11 << 20]), Ok(()));
    assert_eq!(section(2, &vec![0; 12 << 20]), Err(Section::Offsets));
    assert_eq!(section(3, &[]), Err(Section::Offsets));
    assert_eq!(section(0, &vec![0; (256 << 20) + 1]), Err(Section::Metadata));
    let mut written = Manifest::of_nothing(1, StoreInfo { uuid: 1, hash_seed: 1, key_groups: 16, range });
    written.offsets = offsets(3);
    assert_eq!(written.check(), Ok(()));
}

/// The same checks on reading: here the stack of the only slice names a segment that isn't listed.
#[test]
fn an_inconsistent_manifest_is_not_read_and_the_section_is_told() {
    let mut one = manifest(&mut Random::seeded(11), Size { segments: 1, slices: 1, states: 0 });
    one.slices[0].hot.clear();
    let mut bytes = encode(&one).unwrap();
    let slices_at = bytes.len() - DIGEST_BYTES - (4 + 4 + 4 + 8 + 4);
    let segment_at = slices_at + 12;
    bytes[segment_at] = 1;
    reseal(&mut bytes);
    let error = refusal(&bytes);
    assert_eq!((error.fault, error.offset), (Fault::Corrupt, slices_at as u64));
    assert!(error.detail.contains("slice 0 names segment 1"), "{error}");
}

#[test]
fn a_key_group_is_found_in_its_slice() {
    let manifest = manifest(&mut Random::seeded(12), Size { segments: 3, slices: 9, states: 1 });
    for group in (0..=u16::MAX).map(KeyGroup) {
        let found = manifest.slice_of(group).map(|slice| slice.range);
        let expected = manifest.slices.iter().map(|slice| slice.range).find(|range| range.contains(group));
        assert_eq!(found, expected, "{group:?}");
    }
}

#[test]
fn a_state_map_leads_there_and_back() {
    let map = pairs(&[(0, 2), (3, 0), (7, 1)]);
    for (from, to) in [(0, Some(2)), (1, None), (3, Some(0)), (7, Some(1)), (8, None)] {
        assert_eq!(map.to_store(StateId(from)), to.map(StateId));
        if let Some(to) = to {
            assert_eq!(map.to_segment(StateId(to)), Some(StateId(from)));
        }
    }
    assert_eq!(map.to_segment(StateId(3)), None);
    assert_eq!(StateMap::Identity.to_store(StateId(5)), Some(StateId(5)));
    assert_eq!(StateMap::Identity.to_segment(StateId(5)), Some(StateId(5)));
}

/// Prints how long reading takes; asserts nothing about time. `cargo test --release -- --ignored --nocapture decoding`
#[test]
#[ignore = "a measurement, for release builds"]
fn decoding_ten_thousand_segments() {
    let mut random = Random::seeded(13);
    let mut large = manifest(&mut random, Size { segments: 10_000, slices: 1, states: 20 });
    let range = large.store.range;
    let entries = std::mem::take(&mut large.slices[0].stack);
    for everywhere in [false, true] {
        large.slices = (range.iter().map(|group| KeyGroupRange::new(group.0, group.0)))
            .map(|range| Slice { range, stack: Vec::new(), hot: Vec::new() })
            .collect();
        let count = large.slices.len();
        for (index, entry) in entries.iter().enumerate() {
            for slice in 0..if everywhere { count } else { 3 } {
                large.slices[(index + slice) % count].stack.push(*entry);
            }
        }
        let bytes = encode(&large).unwrap();
        let mut micros: Vec<u128> = (0..51)
            .map(|_| {
                let start = std::time::Instant::now();
                let decoded = decode(&bytes, path()).unwrap();
                let taken = start.elapsed().as_micros();
                assert_eq!(decoded.segments.len(), 10_000);
                taken
            })
            .collect();
        micros.sort_unstable();
        let entries: usize = large.slices.iter().map(|slice| slice.stack.len()).sum();
        println!(
            "{count} slices, {entries} entries, {} bytes: median {} us, worst {} us",
            bytes.len(),
            micros[25],
            micros[50]
        );
    }
}
