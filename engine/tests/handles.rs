//! Typed handles: what a writer can do with bytes, with Rust values.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::state::{ListState, MapState, MergingState, ValueState};
use alluvium::{Class, Engine, EngineOptions, MapRange, MergeOperator, StateOptions, Store, StoreOptions, Ttl};
use std::ops::{Bound, ControlFlow};

fn with_store(story: impl FnOnce(&Store)) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
    story(&Store::create(&engine, directory.path(), StoreOptions::default()).unwrap());
}

/// Operands were bytes, so that a number encoded as keys are was added with its bytes the other way round.
#[test]
fn numbers_are_merged_as_numbers() {
    with_store(|store| {
        let sums: MergingState<u64, u64> = MergingState::register(store, "sums", MergeOperator::U64Add).unwrap();
        let least: MergingState<u64, i64> = MergingState::register(store, "least", MergeOperator::I64Min).unwrap();
        let most: MergingState<u64, f64> = MergingState::register(store, "most", MergeOperator::F64Max).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        for number in [300_u32, 7, 258] {
            sums.merge(&mut writer, &1, &u64::from(number)).unwrap();
            least.merge(&mut writer, &1, &-i64::from(number)).unwrap();
            most.merge(&mut writer, &1, &(f64::from(number) / 2.0)).unwrap();
        }
        assert_eq!(sums.get(&mut writer, &1).unwrap(), Some(565));
        assert_eq!(least.get(&mut writer, &1).unwrap(), Some(-300));
        assert_eq!(most.get(&mut writer, &1).unwrap(), Some(150.0));
        sums.put(&mut writer, &1, &1).unwrap();
        assert_eq!(sums.get(&mut writer, &1).unwrap(), Some(1));
        sums.delete(&mut writer, &1).unwrap();
        assert_eq!(sums.get(&mut writer, &1).unwrap(), None);
    });
}

#[test]
fn a_handle_is_refused_for_a_state_of_another_kind_or_other_operands() {
    with_store(|store| {
        let refused = [
            ValueState::<u64, u64>::with(store, StateOptions::map("a")).unwrap_err(),
            MapState::<u64, u64, u64>::with(store, StateOptions::value("a")).unwrap_err(),
            ListState::<u64, u64>::with(store, StateOptions::value("a")).unwrap_err(),
            MergingState::<u64, u64>::with(store, StateOptions::value("a")).unwrap_err(),
            MergingState::<u64, u64>::register(store, "a", MergeOperator::I64Add).unwrap_err(),
            MergingState::<u64, Vec<u8>>::register(store, "a", MergeOperator::U64Add).unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.class() == Class::Usage), "{refused:?}");
        assert!(store.states().is_empty());
    });
}

#[test]
fn handles_expire_what_their_options_say() {
    with_store(|store| {
        let ttl = Ttl { duration_ms: 10, refresh_on_read: false };
        let values: ValueState<u64, u64> = ValueState::with(store, StateOptions::value("v").ttl(ttl)).unwrap();
        let lists: ListState<u64, u64> = ListState::with(store, StateOptions::list("l").ttl(ttl)).unwrap();
        let maps: MapState<u64, u64, u64> = MapState::with(store, StateOptions::map("m").ttl(ttl)).unwrap();
        let options = StateOptions::merging("s", MergeOperator::U64Add).ttl(ttl);
        let sums: MergingState<u64, u64> = MergingState::with(store, options).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        values.put(&mut writer, &1, &1).unwrap();
        lists.append(&mut writer, &1, &1).unwrap();
        maps.put(&mut writer, &1, &1, &1).unwrap();
        sums.merge(&mut writer, &1, &1).unwrap();
        assert_eq!((values.get(&mut writer, &1).unwrap(), sums.get(&mut writer, &1).unwrap()), (Some(1), Some(1)));
        assert_eq!((lists.get(&mut writer, &1).unwrap().len(), maps.is_empty(&mut writer, &1).unwrap()), (1, false));
        writer.set_time_ms(10);
        assert_eq!((values.get(&mut writer, &1).unwrap(), sums.get(&mut writer, &1).unwrap()), (None, None));
        assert_eq!((lists.get(&mut writer, &1).unwrap().len(), maps.is_empty(&mut writer, &1).unwrap()), (0, true));
    });
}

#[test]
fn namespaces_of_one_state_know_nothing_of_each_other() {
    with_store(|store| {
        let values: ValueState<u64, u64> = ValueState::register(store, "v").unwrap();
        let lists: ListState<u64, u64> = ListState::register(store, "l").unwrap();
        let maps: MapState<u64, u64, u64> = MapState::register(store, "m").unwrap();
        let sums: MergingState<u64, u64> = MergingState::register(store, "s", MergeOperator::U64Add).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        for window in 1..4_u64 {
            values.in_namespace(&window).put(&mut writer, &1, &window).unwrap();
            lists.in_namespace(&window).put(&mut writer, &1, &[window, 9]).unwrap();
            maps.in_namespace(&window).put(&mut writer, &1, &2, &window).unwrap();
            sums.in_namespace(&window).merge(&mut writer, &1, &window).unwrap();
        }
        let second = 2_u64;
        assert_eq!(values.in_namespace(&second).get(&mut writer, &1).unwrap(), Some(2));
        assert_eq!(lists.in_namespace(&second).get(&mut writer, &1).unwrap(), [2, 9]);
        assert_eq!(maps.in_namespace(&second).entries(&mut writer, &1).unwrap(), [(2, 2)]);
        assert_eq!(sums.in_namespace(&second).get(&mut writer, &1).unwrap(), Some(2));
        assert_eq!((values.get(&mut writer, &1).unwrap(), sums.get(&mut writer, &1).unwrap()), (None, None));
        // As bytes: the key's group is that of the key alone.
        let (key, namespace) = (1_u64.to_be_bytes(), second.to_be_bytes());
        let state = store.state(StateOptions::value("v")).unwrap();
        let bytes = writer.get(state, store.key(&key).in_namespace(&namespace)).unwrap();
        assert_eq!(bytes, Some(second.to_be_bytes().to_vec()));
    });
}

#[test]
fn a_map_is_read_in_parts_and_from_both_ends() {
    with_store(|store| {
        let map: MapState<u64, i64, String> = MapState::register(store, "m").unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        assert!(map.is_empty(&mut writer, &1).unwrap());
        assert_eq!(map.first(&mut writer, &1).unwrap(), None);
        for number in [5, -300, 0, 70_000, -1] {
            map.put(&mut writer, &1, &number, &number.to_string()).unwrap();
        }
        let numbers = |entries: Vec<(i64, String)>| -> Vec<i64> {
            assert!(entries.iter().all(|(number, text)| *text == number.to_string()));
            entries.into_iter().map(|(number, _)| number).collect()
        };
        assert_eq!(numbers(map.range(&mut writer, &1, -1..5).unwrap()), [-1, 0]);
        assert_eq!(numbers(map.range(&mut writer, &1, ..=5).unwrap()), [-300, -1, 0, 5]);
        let above = (Bound::Excluded(-1), Bound::Unbounded);
        assert_eq!(numbers(map.range_reversed(&mut writer, &1, above).unwrap()), [70_000, 5, 0]);
        assert_eq!(numbers(map.range(&mut writer, &1, (Bound::Included(5), Bound::Excluded(-1))).unwrap()), []);
        assert_eq!(map.first(&mut writer, &1).unwrap().unwrap().0, -300);
        assert_eq!(map.last(&mut writer, &1).unwrap().unwrap().0, 70_000);
        let mut two = Vec::new();
        map.scan(&mut writer, &1, &MapRange::all().reversed(), |number, _| {
            two.push(number);
            if two.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!(two, [70_000, 5]);
        assert!(map.contains(&mut writer, &1, &0).unwrap() && !map.contains(&mut writer, &1, &1).unwrap());
        map.clear(&mut writer, &1).unwrap();
        assert!(map.is_empty(&mut writer, &1).unwrap());

        let words: MapState<u64, String, ()> = MapState::register(store, "words").unwrap();
        for word in ["an", "b", "a", "and"] {
            words.put(&mut writer, &1, &word.to_owned(), &()).unwrap();
        }
        let found = words.prefix(&mut writer, &1, &"an".to_owned()).unwrap();
        assert_eq!(found, [("an".to_owned(), ()), ("and".to_owned(), ())]);
        // What can't be decoded is an error, not a gap.
        let wrong: MapState<u64, u64, ()> = MapState::register(store, "words").unwrap();
        assert!(wrong.entries(&mut writer, &1).is_err());
    });
}
