//! The stream, the model, the comparison, and what is printed. Whole runs, with kills, are in `tests/poison.rs`.

use super::job::{States, TABLES, Table};
use super::model::{self, Model};
use super::stream::{POISON_MINUTES, Stream};
use super::{Kill, Record, compare, life, summary};
use crate::input::Replay;
use alluvium::key::{Key, key_group_of};
use alluvium::{Barrier, Store};

const EVENTS: u64 = 1_500;

fn stream() -> Stream {
    Stream::new(Replay::embedded_head(600).unwrap(), EVENTS).unwrap()
}

#[test]
fn a_seed_draws_the_same_poison_again() {
    let drawn = stream().draw(7, 9).unwrap();
    assert_eq!(drawn, stream().draw(7, 9).unwrap());
    assert_ne!(drawn, stream().draw(8, 9).unwrap());
    assert_eq!(drawn.len(), 9);
    let stream = stream().with(drawn.clone());
    assert_eq!(stream.len(), EVENTS + 9);
    for poison in &drawn {
        let (is_poison, parts) = stream.parts(poison.offset);
        assert!(is_poison && parts.count() == 3, "{poison:?}");
        let (original, poisoned) = (stream.original(poison), stream.poisoned(poison));
        assert_ne!(original.tail, poisoned.tail);
        assert_eq!(poisoned.delay, Some(POISON_MINUTES));
        assert_eq!((original.scheduled_ms, original.number), (poisoned.scheduled_ms, poisoned.number));
        let (is_poison, parts) = stream.parts(poison.offset - 1);
        assert!(!is_poison);
        assert!(
            parts.eq(super::job::parts(stream.period(poison.flight), &original)),
            "the flight itself comes right before"
        );
    }
    assert_eq!((0..stream.len()).filter(|offset| stream.parts(*offset).0).count(), 9);
    assert!(super::Stream::new(Replay::embedded_head(60).unwrap(), 100).unwrap().draw(1, 200).is_err(), "too many");
}

#[test]
fn periods_share_no_keys_and_have_all_events() {
    let stream = stream();
    let poisons = stream.draw(3, 5).unwrap();
    let stream = stream.with(poisons);
    let ranges = [0, 1, 2].map(|period| stream.offsets(period));
    assert_eq!((ranges[0].start, ranges[2].end), (0, stream.len()));
    assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
    let mut sum = Model::default();
    for range in ranges {
        let folded = model::fold(&stream, range, true);
        let (before, more) = (sum.0.len(), folded.0.len());
        sum.0.extend(folded.0);
        assert_eq!(sum.0.len(), before + more);
    }
    assert_eq!(sum, model::fold(&stream, 0..stream.len(), true));
}

#[test]
fn poison_reaches_few_places_of_each_kind() {
    let stream = stream();
    let poisons = stream.draw(3, 2).unwrap();
    let stream = stream.with(poisons);
    let differences = model::differences(&stream);
    let count = |table| differences.keys().filter(|place| place.table == table).count();
    assert_eq!((count(Table::Planes), count(Table::Delays), count(Table::Boards)), (2, 2, 2));
    assert!(count(Table::Alerts) >= 4, "the poisoned legs and those that follow them");
    // Folding it all comes to the same.
    let [with, without] = [true, false].map(|sees| model::fold(&stream, 0..stream.len(), sees).0);
    for (place, [poisoned, clean]) in &differences {
        assert_eq!((with.get(place), without.get(place)), (poisoned.as_ref(), clean.as_ref()), "{place:?}");
    }
    let differing = with.iter().filter(|(place, value)| without.get(place) != Some(value)).count();
    let missing = without.keys().filter(|place| !with.contains_key(place)).count();
    assert_eq!(differing + missing, differences.len());
}

#[test]
fn every_difference_between_two_stores_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = |name: &str, entries: &[(Table, &[u8], &[u8])]| {
        let path = directory.path().join(name);
        let engine = life::engine(16 << 20, 1).unwrap();
        let store = Store::create(&engine, &path, life::options()).unwrap();
        let states = States::register(&store).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        for (table, key, value) in entries {
            let at = Key::new(key_group_of(key, super::job::KEY_GROUPS), key);
            match table {
                Table::Planes => writer.put(states.of(*table), at, value).unwrap(),
                Table::Delays => writer.merge(states.of(*table), at, value).unwrap(),
                _ => writer.map_put(states.of(*table), at, b"u", value).unwrap(),
            }
        }
        writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();
        path
    };
    let sum = 5_i64.to_le_bytes();
    let all: [(Table, &[u8], &[u8]); 4] = [
        (Table::Planes, b"a", b"1"),
        (Table::Alerts, b"b", b"2"),
        (Table::Delays, b"c", &sum),
        (Table::Boards, b"d", b"4"),
    ];
    let right = store("right", &all);
    let compared = |found: &std::path::Path| compare::compare(found, &right, 16 << 20).unwrap();
    let same = compared(&store("same", &all));
    assert_eq!((same.differences, same.entries), (0, [1; TABLES.len()]));
    for missing in 0..all.len() {
        let mut fewer = all.to_vec();
        fewer.remove(missing);
        let found = compared(&store(&format!("fewer-{missing}"), &fewer));
        assert_eq!((found.differences, found.entries.iter().sum::<u64>()), (1, 3), "{missing}");
        assert!(found.first[0].contains("no entry"), "{:?}", found.first);
        let mut other = all.to_vec();
        other[missing].2 = b"12345678";
        let found = compared(&store(&format!("other-{missing}"), &other));
        assert_eq!(found.differences, 1, "{missing}");
    }
    let more = [&all[..], &[(Table::Planes, b"z", b"9")]].concat();
    assert_eq!(compared(&store("more", &more)).differences, 1);
}

#[test]
fn the_json_has_the_promised_keys_and_the_text_ends_with_the_verdict() {
    let kill = Kill { at_us: 900, lasted: true, found_done: true };
    let mut record =
        Record { events: 1_000, poisons: vec!["a flight".to_owned()], kills: vec![kill], ..Record::default() };
    let value: serde_json::Value = serde_json::from_str(&summary::json(&record).unwrap()).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    let mut promised =
        "result events event_parts events_per_s poisoned dependents suffix_parts applied_again keys_changed \
                        plan_us repair_us repair_commit_us groups_inverse groups_reexecuted groups_reexecuted_whole \
                        replay_us replay_over_repair kills kills_found_done recovery_ms_max checkpoints log_bytes \
                        trace_index_bytes memory_budget_bytes disk_bytes entries differences seed"
            .split_whitespace()
            .collect::<Vec<_>>();
    promised.sort_unstable();
    assert_eq!(keys, promised);
    assert_eq!(value["result"].as_str(), Some("exact"));
    let shown = summary::text(&record);
    assert!(shown.starts_with("a flight\n") && shown.ends_with("\nexact\n"), "{shown}");
    record.comparison.differences = 1;
    record.comparison.first.push("planes 0x00".to_owned());
    let shown = summary::text(&record);
    assert!(shown.ends_with("first:\n  planes 0x00\ndifferent\n"), "{shown}");
}
