//! Comparing all of a store, or of a checkpoint, with the model.

use crate::instance::{Instance, show_at};
use crate::oracle::{At, Content, Held, Kind};
use alluvium::manifest::reader;
use alluvium::platform::storage::{Fault, names};
use alluvium::{MapRange, PageCache, StateKind, StorageChoice};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

fn live(held: &Held, now_ms: u64) -> bool {
    held.1.is_none_or(|at| at > now_ms)
}

impl Instance {
    /// Reads every key that the model knows of, and as many that it doesn't. Nothing may be refreshed by it, so states
    /// that are refreshed on read are scanned, or left to the random operations and to iteration.
    pub fn compare_all(&mut self, what: &str) {
        let content = self.content.clone();
        let mut ats: BTreeSet<(usize, At)> = content.cells.keys().cloned().collect();
        ats.extend(content.lists.keys().cloned());
        ats.extend(content.maps.keys().cloned());
        // The same keys in all other states: mostly absent there.
        let absent: Vec<(usize, At)> =
            ats.iter().map(|(state, at)| ((state + 1) % self.specs.len(), at.clone())).collect();
        ats.extend(absent);
        for (index, at) in ats {
            let spec = self.specs[index].clone();
            let Some(state) = self.states[index] else { continue };
            let Some(writer) =
                self.writers.iter_mut().find(|writer| writer.range().contains(alluvium::KeyGroup(at.group)))
            else {
                continue;
            };
            let place = format!("{what}: {:?} {}", spec.name, show_at(&at));
            match spec.kind {
                Kind::Value | Kind::Merging => {
                    if spec.ttl.is_some_and(|ttl| ttl.refresh_on_read) {
                        continue;
                    }
                    let found = writer.get(state, at.key()).unwrap();
                    assert_eq!(found.as_deref(), content.peek(index, &at).as_deref(), "{place}");
                }
                Kind::List => {
                    let found = writer.list(state, at.key()).unwrap();
                    let wanted = content.list(index, &at);
                    assert_eq!(found.len(), wanted.len(), "{place}: elements");
                    assert!(found.iter().zip(&wanted).all(|(a, b)| a[..] == b[..]), "{place}");
                }
                Kind::Map => {
                    let mut found = Vec::new();
                    writer
                        .map_scan(state, at.key(), &MapRange::all(), |key, value| {
                            found.push((key.to_vec(), value.to_vec()));
                            ControlFlow::Continue(())
                        })
                        .unwrap();
                    let wanted = content.entries(index, &at);
                    let keys: Vec<_> = found.iter().map(|(key, _)| key).collect();
                    assert_eq!(keys, wanted.iter().map(|(key, _)| key).collect::<Vec<_>>(), "{place}");
                    assert!(found.iter().zip(&wanted).all(|(a, b)| a.1[..] == b.1[..]), "{place}");
                }
            }
        }
    }

    /// Iterates a checkpoint and compares it with what the model had at that time.
    pub fn compare_checkpoint(&self, label: u64) {
        let wanted = &self.snapshots[&label];
        let ids: BTreeMap<String, u16> = self.store.states().iter().map(|def| (def.name.clone(), def.id.0)).collect();
        let mut cells = BTreeMap::new();
        let mut lists: BTreeMap<(usize, At), Vec<Held>> = BTreeMap::new();
        let mut maps: BTreeMap<(usize, At), BTreeMap<Vec<u8>, Held>> = BTreeMap::new();
        let mut last = None;
        for item in self.store.iterate(label).unwrap() {
            let item = item.unwrap();
            let order = (
                item.group.0,
                ids[&item.state],
                (item.key.len(), item.key.clone(), item.namespace.len(), item.namespace.clone()),
                item.user_key.clone(),
            );
            assert!(
                last.as_ref().is_none_or(|last| *last < order),
                "checkpoint {label} out of order: {last:?}, {order:?}"
            );
            last = Some(order);
            let index = self.specs.iter().position(|spec| spec.name == item.state).unwrap();
            let at = At { group: item.group.0, key: item.key, namespace: item.namespace };
            match (self.specs[index].kind, item.user_key) {
                (Kind::List, None) => {
                    let expiring = self.specs[index].ttl.is_some();
                    let elements = alluvium::states::frames(&item.value, expiring);
                    lists.insert(
                        (index, at),
                        elements.map(|(expiry_ms, element)| (element.into(), expiry_ms)).collect(),
                    );
                }
                (Kind::Map, Some(user_key)) => {
                    maps.entry((index, at)).or_default().insert(user_key, (item.value.into(), item.expiry_ms));
                }
                (_, None) => {
                    cells.insert((index, at), (item.value.into(), item.expiry_ms));
                }
                (kind, user_key) => panic!("an entry of a {kind:?} state with user key {user_key:?}"),
            }
        }
        // What had expired by then may be in the checkpoint, or not.
        let found = purged(Content { now_ms: wanted.now_ms, cells, lists, maps });
        same(&found, &purged(wanted.clone()), &format!("checkpoint {label}"));
    }

    /// Whether each state is what it was registered as, after reopening.
    pub fn compare_states(&self) {
        for def in self.store.states() {
            let spec = self.specs.iter().find(|spec| spec.name == def.name).unwrap();
            let kind = match spec.kind {
                Kind::Value => StateKind::Value,
                Kind::List => StateKind::List,
                Kind::Map => StateKind::Map,
                Kind::Merging => StateKind::Merging,
            };
            assert_eq!((def.kind, def.ttl), (kind, spec.ttl), "{:?}", spec.name);
        }
    }

    /// Every file that a manifest of the directory names is there; and `nothing_else`, once the
    /// background is idle.
    pub fn compare_files(&mut self, nothing_else: bool) {
        let mut left_over = BTreeSet::new();
        for _ in 0..60 {
            self.barrier_and_wait();
            left_over = self.files_without_name();
            if left_over.is_empty() || !nothing_else {
                return;
            }
            crate::turns::sleep(std::time::Duration::from_millis(10));
        }
        panic!("files that nothing names: {left_over:?}; segments in use: {}", self.store.metrics().segments);
    }

    fn files_without_name(&self) -> BTreeSet<String> {
        let path = self.directory.path();
        let storage =
            alluvium::platform::storage::open(path, StorageChoice::Posix, PageCache::Everything, false).unwrap();
        let mut named = BTreeSet::new();
        for number in reader::numbers(&*storage).unwrap() {
            // Between listing and reading, a manifest may have been subsumed.
            let file = match reader::read(&*storage, number) {
                Err(error) if error.fault == Fault::Missing => continue,
                outcome => outcome.unwrap(),
            };
            named.insert(names::manifest_name(number));
            for meta in &file.manifest.segments {
                let name = names::segment_name(meta.id.0);
                match std::fs::metadata(path.join(&name)) {
                    Ok(found) => assert_eq!(found.len(), meta.file_bytes, "the length of {name}"),
                    Err(error) => {
                        let still = reader::read(&*storage, number).is_ok();
                        assert!(!still, "manifest {number} names {name}: {error}");
                    }
                }
                named.insert(name);
            }
        }
        let files = std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        files
            .filter(|name| (name.contains(".segment") || name.contains(".manifest")) && !named.contains(name))
            .collect()
    }
}

/// Without what has expired, and without empty lists and maps.
pub fn purged(mut content: Content) -> Content {
    let now_ms = content.now_ms;
    content.cells.retain(|_, held| live(held, now_ms));
    content.lists.values_mut().for_each(|list| list.retain(|held| live(held, now_ms)));
    content.lists.retain(|_, list| !list.is_empty());
    content.maps.values_mut().for_each(|map| map.retain(|_, held| live(held, now_ms)));
    content.maps.retain(|_, map| !map.is_empty());
    content
}

fn same(found: &Content, wanted: &Content, what: &str) {
    fn differ<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
        found: &BTreeMap<K, V>,
        wanted: &BTreeMap<K, V>,
        what: &str,
    ) {
        let shown = |value: Option<&V>| {
            // The end too: it says when a value expires.
            let text = format!("{value:?}");
            match text.len() {
                ..=600 => text,
                length => format!("{} .. {}", &text[..300], &text[length - 300..]),
            }
        };
        for key in found.keys().chain(wanted.keys()) {
            let (is, should) = (found.get(key), wanted.get(key));
            assert!(is == should, "{what}: {key:?} is {}, should be {}", shown(is), shown(should));
        }
    }
    differ(&found.cells, &wanted.cells, what);
    differ(&found.lists, &wanted.lists, what);
    for (key, map) in &found.maps {
        differ(map, wanted.maps.get(key).unwrap_or(&BTreeMap::new()), &format!("{what}: {key:?}"));
    }
    for (key, map) in &wanted.maps {
        differ(found.maps.get(key).unwrap_or(&BTreeMap::new()), map, &format!("{what}: {key:?}"));
    }
}
