//! What the format promises in figures: bytes on disk, and how many absent keys pass the filter.

use super::*;

/// `records` cells with random keys of 16 bytes and values of 8, over 16 key groups.
fn counters(random: &mut Random, records: usize) -> Model {
    let mut model = Model::new();
    while model.len() < records {
        let key = random.bytes(16);
        model.insert(cell_key(u16::from(key[0] & 15), 0, &key, b""), (Kind::Put, None, random.bytes(8)));
    }
    model
}

#[test]
fn small_records_take_at_most_a_quarter_more_than_their_bytes() {
    let mut random = Random::new(17);
    for (records, compress) in [(50_000, false), (50_000, true), (10_000, true)] {
        let directory = tempfile::tempdir().unwrap();
        let storage = storage(directory.path());
        let model = counters(&mut random, records);
        let meta = write(&*storage, &model, SegmentOptions { compress, ..options(records) });
        assert_eq!(meta.logical_bytes, 24 * records as u64);
        let share = meta.file_bytes as f64 / meta.logical_bytes as f64;
        println!("{records} records, compress {compress}: {share:.3} x their bytes");
        assert!(share <= 1.25, "{share}");
        let segment = Segment::open(&*storage, meta.clone()).unwrap();
        let aligned = (0..segment.blocks()).filter(|&index| {
            let place = segment.block_ref(index).unwrap();
            place.len == 4096 && place.offset.is_multiple_of(4096)
        });
        assert!(aligned.count() as u32 + 1 >= segment.blocks(), "every block but the last fills a page");
    }
}

#[test]
fn records_of_every_size_waste_little() {
    let mut random = Random::new(18);
    for size in [100, 700, 1500, 2100, 3000, 4100, 5000, 10_000] {
        let directory = tempfile::tempdir().unwrap();
        let storage = storage(directory.path());
        let model: Model = (0..2_000_000 / size as u32)
            .map(|index| (cell_key(0, 0, &index.to_be_bytes(), b""), (Kind::Put, None, random.bytes(size))))
            .collect();
        let meta = write(&*storage, &model, options(model.len()));
        let share = meta.file_bytes as f64 / meta.logical_bytes as f64;
        println!("values of {size}: {share:.3} x their bytes");
        assert!(share <= 1.25, "values of {size}: {share}");
    }
}

#[test]
fn few_absent_keys_pass_the_filter() {
    let mut random = Random::new(19);
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let model = counters(&mut random, 50_000);
    let meta = write(&*storage, &model, options(model.len()));
    let segment = Segment::open(&*storage, meta).unwrap();
    let absent: Vec<Vec<u8>> =
        counters(&mut random, 100_000).into_keys().filter(|key| !model.contains_key(key)).collect();
    let passed = absent.iter().filter(|key| segment.may_contain(segment.hash(key))).count();
    let share = passed as f64 / absent.len() as f64;
    println!("{:.2} % of absent keys pass", share * 100.0);
    assert!(share <= 0.012, "{share}");
}
