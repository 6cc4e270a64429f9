//! A checkpoint's object comes back as it was written, or not at all.

use super::error::RemoteFault;
use super::format::{
    HEAD_BYTES, HEADS_BYTES, OBJECT_BYTES_MAX, SUM_CHUNK_BYTES, decode, decode_heads, encode, first_difference,
    sums_count, sums_of,
};
use super::options::RemoteOptions;
use crate::checksum;
use crate::manifest;
use crate::manifest::sample::{Random, Size};
use std::sync::Arc;

const OBJECT: &str = "memory:///p/checkpoints/0000000000000001.checkpoint";

struct Sample {
    manifest: manifest::Manifest,
    encoded: Vec<u8>,
    sums: Vec<Arc<[u64]>>,
}

fn sample(random: &mut Random) -> Sample {
    let manifest = manifest::sample::manifest(random, Size { segments: 6, slices: 4, states: 3 });
    let encoded = manifest::format::encode(&manifest).unwrap();
    let of_segment = |bytes: u64| (0..sums_count(bytes)).map(|_| random.next()).collect();
    let sums = manifest.segments.iter().map(|meta| meta.file_bytes).map(of_segment).collect();
    Sample { manifest, encoded, sums }
}

#[test]
fn checkpoints_come_back_as_they_were_written() {
    let mut random = Random::announced("checkpoints_come_back_as_they_were_written");
    for _ in 0..200 {
        let Sample { manifest, encoded, sums } = sample(&mut random);
        let sequence = random.next();
        let bytes = encode(sequence, &encoded, &sums);
        let checkpoint = decode(&bytes, OBJECT).unwrap();
        assert_eq!((checkpoint.sequence, &checkpoint.manifest), (sequence, &manifest));
        assert_eq!((checkpoint.manifest_bytes, checkpoint.sums), (encoded, sums));
        let (found, head) = decode_heads(&bytes[..HEADS_BYTES], bytes.len() as u64, OBJECT).unwrap();
        assert_eq!((found, head.label, head.number), (sequence, manifest.label, manifest.number));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let mut random = Random::announced("every_flipped_bit_and_every_cut_is_refused");
    let Sample { encoded, sums, .. } = sample(&mut random);
    let bytes = encode(7, &encoded, &sums);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        let error = decode(&damaged, OBJECT).unwrap_err();
        assert!(error.to_string().starts_with(OBJECT), "{error}");
        let fault = error.fault().unwrap();
        let expected = [RemoteFault::Corrupt, RemoteFault::Foreign];
        assert!(expected.contains(&fault), "byte {at}: {error}");
        let cut = decode(&bytes[..at], OBJECT).unwrap_err();
        let expected = [RemoteFault::Length, RemoteFault::Foreign];
        assert!(expected.contains(&cut.fault().unwrap()), "{at} bytes: {cut}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(decode(&longer, OBJECT).unwrap_err().fault(), Some(RemoteFault::Length));
}

/// Puts checksum and digest right after a test changed bytes.
fn reseal(bytes: &mut Vec<u8>) {
    let sum = checksum::checksum(&bytes[..HEAD_BYTES - 8]);
    bytes[HEAD_BYTES - 8..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    bytes.truncate(bytes.len() - 16);
    let digest = checksum::digest(bytes);
    bytes.extend_from_slice(&digest.to_le_bytes());
}

#[test]
fn lengths_that_lie_are_refused_though_the_checksums_hold() {
    let mut random = Random::announced("lengths_that_lie_are_refused_though_the_checksums_hold");
    let Sample { encoded, sums, .. } = sample(&mut random);
    let bytes = encode(7, &encoded, &sums);
    for (at, value) in
        [(24, 0), (24, u64::MAX), (32, 0), (32, u64::MAX / 8), (40, 3), (40, OBJECT_BYTES_MAX + 1), (48, 1)]
    {
        let mut damaged = bytes.clone();
        damaged[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
        reseal(&mut damaged);
        let error = decode(&damaged, OBJECT).unwrap_err();
        assert!(matches!(error.fault(), Some(RemoteFault::Corrupt | RemoteFault::Length)), "{error}");
    }
    // A checksum less, and a manifest longer by as much.
    let mut damaged = bytes.clone();
    let manifest_bytes = encoded.len() as u64 + 8;
    let count: u64 = sums.iter().map(|sums| sums.len() as u64).sum();
    damaged[24..32].copy_from_slice(&manifest_bytes.to_le_bytes());
    damaged[32..40].copy_from_slice(&(count.saturating_sub(1)).to_le_bytes());
    reseal(&mut damaged);
    assert!(decode(&damaged, OBJECT).is_err());
    let mut newer = bytes;
    newer[8] = 2;
    reseal(&mut newer);
    assert_eq!(decode(&newer, OBJECT).unwrap_err().fault(), Some(RemoteFault::NewerVersion));
    for _ in 0..10_000 {
        // Whatever it says, it doesn't panic.
        let _refused = decode(&random.bytes(300), OBJECT);
    }
}

#[test]
fn a_chunk_that_differs_is_found_in_its_place() {
    let mut random = Random::announced("a_chunk_that_differs_is_found_in_its_place");
    let chunk = SUM_CHUNK_BYTES as usize;
    let file: Vec<u8> = (0..5 * chunk + 100).map(|at| (at / 3) as u8).collect();
    let sums: Vec<u64> = sums_of(&file).collect();
    assert_eq!(sums.len() as u64, sums_count(file.len() as u64));
    for first in 0..6 {
        for last in first..6 {
            let (from, to) = (first * chunk, file.len().min((last + 1) * chunk));
            let mut bytes = file[from..to].to_vec();
            assert_eq!(first_difference(&sums, from as u64, &bytes), None);
            let at = random.below(bytes.len());
            bytes[at] ^= 0x10;
            assert_eq!(first_difference(&sums, from as u64, &bytes), Some((from + at / chunk * chunk) as u64));
        }
    }
    assert_eq!(first_difference(&sums, 6 * SUM_CHUNK_BYTES, &[1]), Some(6 * SUM_CHUNK_BYTES), "past the end");
}

#[test]
fn parts_are_alike_and_not_too_many() {
    let options = RemoteOptions::default();
    for bytes in [1, 8 << 20, (8 << 20) + 1, 1 << 40, 256 << 30] {
        let part = options.part_bytes_of(bytes);
        assert_eq!(part % SUM_CHUNK_BYTES, 0, "checksums don't cross parts");
        assert!(bytes.div_ceil(part) <= 10_000 && part >= 8 << 20);
    }
    for wrong in [
        RemoteOptions { keep: 0, ..options.clone() },
        RemoteOptions { concurrency: 0, ..options.clone() },
        RemoteOptions { part_bytes: 1 << 20, ..options },
    ] {
        assert!(wrong.validate().is_err());
    }
}
