//! Damaged files: a typed error or the right answer, never another one.

use super::*;
use crate::codec::Reader;
use crate::platform::storage::StorageError;

/// A small segment with every kind of part, its bytes, and what it holds.
fn small(random: &mut Random, directory: &Path, compress: bool) -> (SegmentMeta, Vec<u8>, Model) {
    let storage = storage(directory);
    let mut model = random_model(random, if compress { 200 } else { 60 }, if compress { 1200 } else { 1000 });
    if compress {
        // What a Clear clears is no text.
        let values = model.values_mut().filter(|record| !record.0.is_tombstone());
        values.for_each(|record| record.2 = random.text(record.2.len()));
    }
    let meta = write(&*storage, &model, SegmentOptions { compress, ..options(model.len()) });
    let bytes = std::fs::read(directory.join(format!("{ID}.segment"))).unwrap();
    (meta, bytes, model)
}

/// Replaces the file: a new one under its name, as nothing ever changes one in place.
fn replace(directory: &Path, bytes: &[u8]) {
    let path = directory.join(format!("{ID}.segment"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Reads everything in every way; an answer that differs from the model's fails.
fn read_all(storage: &dyn Storage, meta: &SegmentMeta, model: &Model, random: &mut Random) -> Result<(), StorageError> {
    let segment = Arc::new(Segment::open(storage, meta.clone())?);
    let mut first_error = None;
    for (index, (key, record)) in model.iter().enumerate().skip(random.below(12)).step_by(12) {
        match get(&segment, key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(record), "a wrong value came back"),
            Err(error) => first_error = first_error.or(Some(error)),
        }
        if index % 3 == 0 {
            let mut cursor = segment.cursor();
            match cursor.seek(key) {
                Ok(()) => check_entry(&cursor, Some((key, record))),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    let mut cursor = segment.cursor();
    let mut walked = cursor.seek(&[]);
    for expected in model {
        if walked.is_err() {
            break;
        }
        check_entry(&cursor, Some(expected));
        walked = cursor.next();
    }
    if let Err(error) = walked {
        assert_eq!(cursor.entry(), None, "after an error a cursor stands nowhere");
        first_error = first_error.or(Some(error));
    }
    let mut absent = cell_key(3, 3, b"absent", b"");
    absent.push(1);
    match get(&segment, &absent) {
        Ok(found) => assert_eq!(found, None),
        Err(error) => first_error = first_error.or(Some(error)),
    }
    first_error.map_or(Ok(()), Err)
}

fn check_flips(compress: bool, seed: u64) {
    let mut random = Random::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let (meta, bytes, model) = small(&mut random, directory.path(), compress);
    let storage = storage(directory.path());
    assert!(meta.blocks > 1, "{meta:?}");
    // Most of the opening page is zeros; one byte in 16 stands for the others.
    for at in (0..bytes.len()).filter(|at| !(200..4000).contains(at) || at.is_multiple_of(16)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        replace(directory.path(), &damaged);
        if let Err(error) = read_all(&*storage, &meta, &model, &mut random) {
            assert!(error.path.ends_with(format!("{ID}.segment")), "{error}");
            assert!(matches!(error.fault, Fault::Corrupt | Fault::Foreign), "{error}");
        }
        if let Ok(segment) = Segment::open(&*storage, meta.clone()) {
            assert!(segment.verify(&mut |_| {}).is_err(), "byte {at} is under no checksum");
        }
        if let Ok(found) = Segment::read_meta(&*storage, ID) {
            assert_eq!(found, meta, "byte {at}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_never_read_as_a_value() {
    check_flips(false, 11);
}

#[test]
fn a_flipped_bit_among_compressed_blocks_is_found_and_never_read_as_a_value() {
    check_flips(true, 21);
}

#[test]
fn a_file_cut_short_or_grown_is_refused() {
    let mut random = Random::new(12);
    let directory = tempfile::tempdir().unwrap();
    let (meta, bytes, _) = small(&mut random, directory.path(), true);
    let storage = storage(directory.path());
    for len in (0..bytes.len()).chain([bytes.len() + 1, bytes.len() + 4096]) {
        let mut damaged = bytes.clone();
        damaged.resize(len, 0);
        replace(directory.path(), &damaged);
        let error = Segment::open(&*storage, meta.clone()).unwrap_err();
        assert_eq!(error.fault, Fault::Length, "{error}");
        Segment::read_meta(&*storage, ID).unwrap_err();
    }
    storage.remove(&format!("{ID}.segment")).unwrap();
    assert_eq!(Segment::open(&*storage, meta).unwrap_err().fault, Fault::Missing);
}

#[test]
fn foreign_newer_and_swapped_files_are_told_apart() {
    let mut random = Random::new(13);
    let directory = tempfile::tempdir().unwrap();
    let (meta, bytes, _) = small(&mut random, directory.path(), false);
    let storage = storage(directory.path());
    let fault = |bytes: &[u8]| {
        replace(directory.path(), bytes);
        let opened = Segment::open(&*storage, meta.clone()).map(|_| ()).unwrap_err();
        let described = Segment::read_meta(&*storage, ID).unwrap_err();
        assert_eq!((opened.fault, opened.offset), (described.fault, described.offset));
        opened.fault
    };
    let mut foreign = bytes.clone();
    foreign[0] = b'X';
    assert_eq!(fault(&foreign), Fault::Foreign);
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let sum = crate::checksum::checksum(&newer[..120]).to_le_bytes();
    newer[120..128].copy_from_slice(&sum);
    assert_eq!(fault(&newer), Fault::NewerVersion);
    // The same records under another id: every checksum in it is right.
    let elsewhere = tempfile::tempdir().unwrap();
    let other_storage = super::storage(elsewhere.path());
    let mut writer = SegmentWriter::create(&*other_storage, SegmentId(5), options(9)).unwrap();
    writer.add(entry(&cell_key(0, 0, b"", b""), &(Kind::Put, None, vec![]))).unwrap();
    writer.finish(false).unwrap();
    let mut swapped = std::fs::read(elsewhere.path().join(format!("{}.segment", SegmentId(5)))).unwrap();
    swapped.resize(bytes.len(), 0);
    assert_eq!(fault(&swapped), Fault::Foreign);
}

#[test]
fn a_block_in_another_blocks_place_is_damage() {
    let mut random = Random::new(14);
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let model: Model = (0..500_u32)
        .map(|index| (cell_key(0, 0, &index.to_be_bytes(), b""), (Kind::Put, None, random.bytes(100))))
        .collect();
    let meta = write(&*storage, &model, SegmentOptions { compress: false, ..options(500) });
    let mut bytes = std::fs::read(directory.path().join(format!("{ID}.segment"))).unwrap();
    let segment = Segment::open(&*storage, meta.clone()).unwrap();
    let (one, two) = (segment.block_ref(1).unwrap(), segment.block_ref(2).unwrap());
    assert_eq!((one.len, two.len, one.offset % 4096), (4096, 4096, 0), "small records fill pages");
    bytes.copy_within(two.offset as usize..two.offset as usize + 4096, one.offset as usize);
    replace(directory.path(), &bytes);
    let segment = Segment::open(&*storage, meta).unwrap();
    assert_eq!(segment.read_block(one).unwrap_err().fault, Fault::Corrupt);
    assert!(segment.read_block(two).is_ok());
    assert!(segment.decode(one, segment.file().read_at(one.offset, 64).unwrap()).is_err());
    assert!(segment.block_ref(segment.blocks()).is_err());
}

#[test]
fn a_description_of_random_bytes_is_refused_and_a_real_one_comes_back() {
    let mut random = Random::new(15);
    let directory = tempfile::tempdir().unwrap();
    let (meta, _, _) = small(&mut random, directory.path(), true);
    let mut bytes = Vec::new();
    meta.encode(&mut bytes);
    assert_eq!(bytes.len(), meta.encoded_bytes());
    let mut reader = Reader::new(&bytes);
    assert_eq!(SegmentMeta::decode(&mut reader).as_ref(), Ok(&meta));
    reader.finish().unwrap();
    for len in 0..bytes.len() {
        assert!(SegmentMeta::decode(&mut Reader::new(&bytes[..len])).is_err(), "{len} bytes");
    }
    for _ in 0..8_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(damaged.len());
            damaged[at] = random.next() as u8 >> random.below(8);
        }
        // A description may pass that differs; opening with it must be safe all the same.
        if let Ok(found) = SegmentMeta::decode(&mut Reader::new(&damaged)) {
            let mut again = Vec::new();
            found.encode(&mut again);
            assert_eq!(again, damaged);
            if let Ok(segment) = Segment::open(&*storage(directory.path()), found) {
                let _ = segment.verify(&mut |_| {});
                let _ = get(&segment, &meta.first_key);
            }
        }
    }
}

#[test]
fn decoders_stand_any_bytes() {
    let mut random = Random::new(16);
    let directory = tempfile::tempdir().unwrap();
    let (meta, bytes, _) = small(&mut random, directory.path(), true);
    let (plain_meta, plain, _) = {
        let directory = tempfile::tempdir().unwrap();
        small(&mut random, directory.path(), false)
    };
    let from = |bytes: &[u8], meta: &SegmentMeta| bytes[4096..meta.metadata.offset as usize].to_vec();
    let data = [from(&bytes, &meta), from(&plain, &plain_meta)];
    let nodes = meta.metadata.offset as usize + meta.layout().unwrap().index as usize;
    for _ in 0..20_000 {
        let mut block = data[random.below(2)].clone();
        block.truncate(64 * (1 + random.below(block.len() / 64)));
        for _ in 0..random.below(4) {
            let at = random.below(block.len());
            block[at] = random.next() as u8;
        }
        fuzzing::block(&block, &random.bytes(9));
        let mut node = bytes[nodes..nodes + meta.index_bytes as usize].to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(node.len());
            node[at] = random.next() as u8;
        }
        fuzzing::index_node(&node, &random.bytes(9));
    }
}

/// A host that brings a segment later keeps an account of its pieces: for a length that no file has that was all memory.
#[test]
fn no_segment_is_said_to_be_longer_than_any_file() {
    let directory = tempfile::tempdir().unwrap();
    let (meta, ..) = small(&mut Random::new(17), directory.path(), true);
    let longer_by = |bytes: u64| {
        let mut meta = meta.clone();
        meta.metadata.offset += bytes;
        meta.file_bytes += bytes;
        meta
    };
    for (bytes, is_fine) in [(0, true), (1 << 39, true), (1 << 40, false), (1 << 60, false)] {
        assert_eq!(longer_by(bytes).layout().is_some(), is_fine, "{bytes}");
    }
}
