//! One store beside its model: every operation is done to both, and what they answer is compared.

use crate::oracle::{At, Bytes, Content, Kind, Spec};
use crate::rng::Rng;
use alluvium::{
    Batch, CheckpointInfo, Key, KeyGroupRange, MapRange, Operation, Pending, State, Store, StoreOptions, Writer,
};
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// How many of the last operations a failure shows, where `ALLUVIUM_TEST_LINES` doesn't say.
const LOG_LINES: usize = 60;

/// What sizes and how many keys a run has.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub groups: u16,
    pub keys: usize,
    pub value_bytes: usize,
    /// In one of so many cases a value is up to ten times as long.
    pub long_one_in: usize,
}

/// The last operations, shown when a test fails.
#[derive(Debug)]
pub struct Log {
    pub head: String,
    pub lines: VecDeque<String>,
    pub operations: u64,
    shown: usize,
}

impl Log {
    pub fn new(head: String) -> Self {
        let shown = std::env::var("ALLUVIUM_TEST_LINES").ok().and_then(|lines| lines.parse().ok());
        Self { head, lines: VecDeque::new(), operations: 0, shown: shown.unwrap_or(LOG_LINES) }
    }

    pub fn add(&mut self, line: String) {
        self.operations += 1;
        if self.lines.len() >= self.shown {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}; after {} operations, the last of them:", self.head, self.operations);
            for line in &self.lines {
                eprintln!("  {line}");
            }
        }
    }
}

/// A checkpoint that was asked for.
#[derive(Debug)]
pub struct Asked {
    pub pending: Pending,
    pub label: u64,
}

#[derive(Debug)]
pub struct Instance {
    pub name: usize,
    pub directory: Arc<tempfile::TempDir>,
    pub options: StoreOptions,
    pub store: Store,
    pub writers: Vec<Writer>,
    pub specs: Arc<Vec<Spec>>,
    /// By the model's index; `None` where the store doesn't have the state yet.
    pub states: Vec<Option<State>>,
    pub content: Content,
    /// What each checkpoint that was ever asked for should hold.
    pub snapshots: BTreeMap<u64, Content>,
    /// The last commit before each checkpoint was asked for.
    pub committed_at: BTreeMap<u64, u64>,
    /// What each commit should hold.
    pub commits: BTreeMap<u64, Content>,
    /// The last commit, and the last one that is known to last.
    pub last_commit: u64,
    pub lasted: u64,
    pub asked: Vec<Asked>,
    pub next_label: u64,
    /// Opened at a checkpoint of the caller's choice: then nothing that is there already is deleted.
    pub chosen: bool,
    /// The first label that the store has given since it was opened.
    pub first_label: u64,
    pub shape: Shape,
}

fn show(bytes: &[u8]) -> String {
    let head: String = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 8 { format!("{head}..({})", bytes.len()) } else { format!("{head}({})", bytes.len()) }
}

pub fn show_at(at: &At) -> String {
    format!("{}/{}/{}", at.group, show(&at.key), show(&at.namespace))
}

/// Some key bytes: empty, short and long ones.
fn key_bytes(index: usize) -> Vec<u8> {
    match index {
        0 => Vec::new(),
        index if index % 11 == 5 => vec![index as u8; 254 + index % 3],
        index if index % 3 == 0 => format!("key-{index}").into_bytes(),
        index => (index as u64).to_be_bytes()[6..].to_vec(),
    }
}

impl Instance {
    /// Registers the first `count` states of the model, in an order drawn from `rng`.
    pub fn register(&mut self, rng: &mut Rng, count: usize) {
        let mut order: Vec<usize> = (0..count).collect();
        rng.shuffle(&mut order);
        self.states.resize(self.specs.len(), None);
        for index in order {
            self.states[index] = Some(self.store.state(self.specs[index].options()).unwrap());
        }
    }

    pub fn at(&self, rng: &mut Rng) -> At {
        let index = rng.below(self.shape.keys);
        // A key has one group, or a few: the host chooses.
        let range = self.options.range;
        let group = range.first() as usize + (index * 7 + rng.below(2)) % range.count();
        let namespace = match rng.below(8) {
            0 => b"w".to_vec(),
            1 => b"window-2".to_vec(),
            2 if index % 11 == 5 => vec![b'n'; 300],
            _ => Vec::new(),
        };
        At { group: group as u16, key: key_bytes(index), namespace }
    }

    fn value(&self, rng: &mut Rng) -> Vec<u8> {
        let long = rng.one_in(self.shape.long_one_in);
        let len = match rng.below(6) {
            0 => 0,
            1 => 8,
            _ => rng.below(self.shape.value_bytes * if long { 10 } else { 1 }),
        };
        rng.bytes(len)
    }

    fn user_key(rng: &mut Rng) -> Vec<u8> {
        match rng.below(12) {
            0 => Vec::new(),
            1 => vec![b'a'; 200 + rng.below(100)],
            2..6 => (rng.below(500) as u64).to_be_bytes().to_vec(),
            _ => (0..1 + rng.below(3)).map(|_| *rng.pick(&[0, b'a', b'b', 0xFE, 0xFF])).collect(),
        }
    }

    fn writer_of(&self, at: &At) -> Option<usize> {
        self.writers.iter().position(|writer| writer.range().contains(alluvium::KeyGroup(at.group)))
    }

    fn state_of(&self, rng: &mut Rng) -> (usize, State) {
        loop {
            let index = rng.below(self.specs.len());
            if let Some(state) = self.states[index] {
                return (index, state);
            }
        }
    }

    /// One random operation.
    pub fn operate(&mut self, rng: &mut Rng, log: &mut Log) {
        let at = self.at(rng);
        let Some(writer) = self.writer_of(&at) else { return };
        let (index, state) = self.state_of(rng);
        let name = self.specs[index].name;
        let before = log.operations;
        let mut note = |what: String| log.add(format!("{} {name:?} {} {what}", before, show_at(&at)));
        match self.specs[index].kind {
            Kind::Value if rng.one_in(12) => self.many(rng, index, state, writer, log),
            Kind::Value => self.value_operation(rng, (index, state), writer, &at, &mut note),
            Kind::List => self.list_operation(rng, (index, state), writer, &at, &mut note),
            Kind::Merging => self.merging_operation(rng, (index, state), writer, &at, &mut note),
            Kind::Map => self.map_operation(rng, (index, state), writer, &at, &mut note),
        }
        if rng.one_in(25) {
            self.batch(rng, writer, log);
        }
    }

    fn value_operation(
        &mut self,
        rng: &mut Rng,
        (index, state): (usize, State),
        writer: usize,
        at: &At,
        note: &mut dyn FnMut(String),
    ) {
        let spec = self.specs[index].clone();
        match rng.below(10) {
            0..4 => {
                let value = self.value(rng);
                note(format!("put {}", show(&value)));
                self.writers[writer].put(state, at.key(), &value).unwrap();
                self.content.put(index, &spec, at, &value);
            }
            4..6 => {
                note("get".into());
                let found = self.writers[writer].get(state, at.key()).unwrap();
                assert_eq!(found.as_deref(), self.content.get(index, &spec, at).as_deref(), "get");
            }
            6 => {
                note("delete".into());
                self.writers[writer].delete(state, at.key()).unwrap();
                self.content.delete(index, at);
            }
            _ => {
                let value = if rng.one_in(4) { None } else { Some(self.value(rng)) };
                note(format!("update to {:?}", value.as_deref().map(show)));
                let mut old = None;
                self.writers[writer]
                    .update(state, at.key(), |found| {
                        old = Some(found.map(<[u8]>::to_vec));
                        value.clone()
                    })
                    .unwrap();
                assert_eq!(old.unwrap().as_deref(), self.content.peek(index, at).as_deref(), "update");
                match value {
                    Some(value) => self.content.put(index, &spec, at, &value),
                    None => self.content.delete(index, at),
                }
            }
        }
    }

    /// Many keys at once, some of them twice.
    fn many(&mut self, rng: &mut Rng, index: usize, state: State, writer: usize, log: &mut Log) {
        let spec = self.specs[index].clone();
        let range = self.writers[writer].range();
        let count = 1 + rng.below(80);
        let mut keys: Vec<At> = (0..count).map(|_| self.at(rng)).collect();
        keys.retain(|at| range.contains(alluvium::KeyGroup(at.group)));
        let asked: Vec<Key<'_>> = keys.iter().map(At::key).collect();
        if rng.one_in(2) {
            log.add(format!("get_many {:?} {:?}", spec.name, keys.iter().map(show_at).collect::<Vec<_>>()));
            let mut found: Vec<Option<Option<Vec<u8>>>> = vec![None; keys.len()];
            self.writers[writer]
                .get_many(state, &asked, |at, value| {
                    assert!(found[at].is_none(), "an answer given twice");
                    found[at] = Some(value.map(<[u8]>::to_vec));
                })
                .unwrap();
            for (at, found) in keys.iter().zip(found) {
                let wanted = self.content.get(index, &spec, at);
                assert_eq!(found.unwrap().as_deref(), wanted.as_deref(), "get_many {}", show_at(at));
            }
            return;
        }
        let values: Vec<Option<Vec<u8>>> =
            keys.iter().map(|_| if rng.one_in(4) { None } else { Some(self.value(rng)) }).collect();
        log.add(format!("update_many {:?} {:?}", spec.name, keys.iter().map(show_at).collect::<Vec<_>>()));
        let mut found: Vec<Option<Option<Vec<u8>>>> = vec![None; keys.len()];
        self.writers[writer]
            .update_many(state, &asked, |at, old| {
                assert!(found[at].is_none(), "a key changed twice");
                found[at] = Some(old.map(<[u8]>::to_vec));
                values[at].clone()
            })
            .unwrap();
        for ((at, found), value) in keys.iter().zip(found).zip(values) {
            let wanted = self.content.peek(index, at);
            assert_eq!(found.unwrap().as_deref(), wanted.as_deref(), "update_many {}", show_at(at));
            match value {
                Some(value) => self.content.put(index, &spec, at, &value),
                None => self.content.delete(index, at),
            }
        }
    }

    fn list_operation(
        &mut self,
        rng: &mut Rng,
        (index, state): (usize, State),
        writer: usize,
        at: &At,
        note: &mut dyn FnMut(String),
    ) {
        let spec = self.specs[index].clone();
        let full = self.content.bytes_at(index, at) > self.shape.value_bytes * 10;
        match rng.below(10) {
            0 if !full => {
                let elements: Vec<Vec<u8>> = (0..rng.below(4)).map(|_| self.value(rng)).collect();
                note(format!("append_all {}", elements.len()));
                let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
                self.writers[writer].append_all(state, at.key(), &parts).unwrap();
                elements.iter().for_each(|element| self.content.append(index, &spec, at, element));
            }
            1..6 if !full => {
                let element = self.value(rng);
                note(format!("append {}", show(&element)));
                self.writers[writer].append(state, at.key(), &element).unwrap();
                self.content.append(index, &spec, at, &element);
            }
            6..8 => {
                note("list".into());
                let found = self.writers[writer].list(state, at.key()).unwrap();
                let wanted = self.content.list(index, at);
                assert_eq!(found.len(), wanted.len(), "the length of a list");
                assert!(found.iter().zip(&wanted).all(|(a, b)| a[..] == b[..]), "elements of a list");
            }
            8 => {
                let elements: Vec<Vec<u8>> = (0..rng.below(4)).map(|_| self.value(rng)).collect();
                note(format!("put_list {}", elements.len()));
                let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
                self.writers[writer].put_list(state, at.key(), &parts).unwrap();
                self.content.put_list(index, &spec, at, &elements);
            }
            _ => {
                note("delete".into());
                self.writers[writer].delete(state, at.key()).unwrap();
                self.content.delete(index, at);
            }
        }
    }

    fn operand(&self, rng: &mut Rng, spec: &Spec) -> Vec<u8> {
        if spec.name.starts_with("concat") {
            let mut value = self.value(rng);
            value.truncate(self.shape.value_bytes);
            return value;
        }
        (rng.next() >> rng.below(64)).to_le_bytes().to_vec()
    }

    fn merging_operation(
        &mut self,
        rng: &mut Rng,
        (index, state): (usize, State),
        writer: usize,
        at: &At,
        note: &mut dyn FnMut(String),
    ) {
        let spec = self.specs[index].clone();
        let operand = self.operand(rng, &spec);
        let full = self.content.bytes_at(index, at) > self.shape.value_bytes * 10;
        match rng.below(10) {
            0..6 if !full => {
                note(format!("merge {}", show(&operand)));
                self.writers[writer].merge(state, at.key(), &operand).unwrap();
                self.content.merge(index, &spec, at, &operand);
            }
            6..8 => {
                note("get".into());
                let found = self.writers[writer].get(state, at.key()).unwrap();
                assert_eq!(found.as_deref(), self.content.get(index, &spec, at).as_deref(), "get of a merged value");
            }
            8 => {
                note(format!("put {}", show(&operand)));
                self.writers[writer].put(state, at.key(), &operand).unwrap();
                self.content.put(index, &spec, at, &operand);
            }
            _ => {
                note("delete".into());
                self.writers[writer].delete(state, at.key()).unwrap();
                self.content.delete(index, at);
            }
        }
    }

    fn map_operation(
        &mut self,
        rng: &mut Rng,
        (index, state): (usize, State),
        writer: usize,
        at: &At,
        note: &mut dyn FnMut(String),
    ) {
        let spec = self.specs[index].clone();
        let user_key = Self::user_key(rng);
        let writer = &mut self.writers[writer];
        match rng.below(25) {
            24 => {
                let scan = scan_of(rng, user_key);
                note(format!("map_delete_range {scan:?}"));
                writer.map_delete_range(state, at.key(), &scan.range()).unwrap();
                self.content.map_delete_range(index, at, |key| scan.is_in(key));
            }
            0..8 => {
                let len = rng.below(self.shape.value_bytes / 4 + 1);
                let value = rng.bytes(len);
                note(format!("map_put {} {}", show(&user_key), show(&value)));
                writer.map_put(state, at.key(), &user_key, &value).unwrap();
                self.content.map_put(index, &spec, at, &user_key, &value);
            }
            8..11 => {
                note(format!("map_get {}", show(&user_key)));
                let found = writer.map_get(state, at.key(), &user_key).unwrap();
                assert_eq!(found.as_deref(), self.content.map_get(index, &spec, at, &user_key).as_deref(), "map_get");
            }
            11..14 => {
                note(format!("map_delete {}", show(&user_key)));
                writer.map_delete(state, at.key(), &user_key).unwrap();
                self.content.map_delete(index, at, &user_key);
            }
            14 => {
                note(format!("map_contains {}", show(&user_key)));
                let found = writer.map_contains(state, at.key(), &user_key);
                assert_eq!(found.unwrap(), self.content.map_get(index, &spec, at, &user_key).is_some(), "map_contains");
            }
            15 => {
                note("map_is_empty".into());
                let empty = self.content.entries(index, at).is_empty();
                assert_eq!(writer.map_is_empty(state, at.key()).unwrap(), empty, "map_is_empty");
            }
            16 if rng.one_in(3) => {
                note("map_clear".into());
                writer.map_clear(state, at.key()).unwrap();
                self.content.map_clear(index, at);
            }
            16..19 => {
                let scan = scan_of(rng, user_key);
                note(format!("map_scan {scan:?}"));
                compare_scan(writer, state, at, &scan, &self.content.entries(index, at));
            }
            19 => {
                note("map_first".into());
                let entries = self.content.entries(index, at);
                same_entry(writer.map_first(state, at.key()).unwrap(), entries.first(), "map_first");
            }
            20 => {
                note("map_last".into());
                let entries = self.content.entries(index, at);
                same_entry(writer.map_last(state, at.key()).unwrap(), entries.last(), "map_last");
            }
            _ => self.pop_some(rng, (index, state), at, note),
        }
    }

    fn pop_some(&mut self, rng: &mut Rng, (index, state): (usize, State), at: &At, note: &mut dyn FnMut(String)) {
        let Some(writer) = self.writer_of(at) else { return };
        let writer = &mut self.writers[writer];
        let entries = self.content.entries(index, at);
        if rng.below(3) == 0 {
            let count = rng.below(entries.len() + 1);
            // Behind all of them, or up to one of them.
            let below = entries.get(count).map_or_else(|| vec![u8::MAX; 80], |(user_key, _)| user_key.clone());
            note(format!("map_pop_below {below:?}"));
            let mut popped = Vec::new();
            writer.map_pop_below(state, at.key(), &below, |k, v| popped.push((k.to_vec(), v.into()))).unwrap();
            assert!(popped == entries[..count], "map_pop_below gave other entries than the first {count}");
            for (user_key, _) in &entries[..count] {
                self.content.map_delete(index, at, user_key);
            }
            return;
        }
        for at_front in 0..1 + rng.below(6) {
            note("map_pop_first".into());
            same_entry(writer.map_pop_first(state, at.key()).unwrap(), entries.get(at_front), "map_pop_first");
            let Some((first, _)) = entries.get(at_front) else { break };
            self.content.map_delete(index, at, first);
        }
    }

    /// A batch of operations of all kinds.
    #[expect(clippy::type_complexity, reason = "what each operation is made of, here alone")]
    fn batch(&mut self, rng: &mut Rng, writer: usize, log: &mut Log) {
        let range = self.writers[writer].range();
        let mut made: Vec<(usize, State, At, Vec<u8>, Vec<u8>, usize)> = Vec::new();
        for _ in 0..rng.below(50) {
            let (at, (index, state)) = (self.at(rng), self.state_of(rng));
            let full = self.content.bytes_at(index, &at) > self.shape.value_bytes * 5;
            if !range.contains(alluvium::KeyGroup(at.group)) || full {
                continue;
            }
            let value = match self.specs[index].kind {
                Kind::Merging => self.operand(rng, &self.specs[index]),
                _ => self.value(rng),
            };
            made.push((index, state, at, Self::user_key(rng), value, rng.below(8)));
        }
        let mut batch = Batch::new();
        for (index, state, at, user_key, value, choice) in &made {
            let operation = match (self.specs[*index].kind, choice) {
                (Kind::Map, 0) => Operation::MapClear,
                (Kind::Map, 1..3) => Operation::MapDelete(user_key),
                (Kind::Map, _) => Operation::MapPut(user_key, value),
                (_, 0) => Operation::Delete,
                (Kind::Value, _) | (Kind::Merging, 1) => Operation::Put(value),
                (Kind::List, _) => Operation::Append(value),
                (Kind::Merging, _) => Operation::Merge(value),
            };
            log.add(format!("in a batch: {:?} {} {choice}", self.specs[*index].name, show_at(at)));
            batch.push(*state, at.key(), operation);
        }
        self.writers[writer].apply(&batch).unwrap();
        for (index, _, at, user_key, value, choice) in &made {
            let (index, spec, content) = (*index, &self.specs[*index], &mut self.content);
            match (spec.kind, choice) {
                (Kind::Map, 0) => content.map_clear(index, at),
                (Kind::Map, 1..3) => content.map_delete(index, at, user_key),
                (Kind::Map, _) => content.map_put(index, spec, at, user_key, value),
                (_, 0) => content.delete(index, at),
                (Kind::Value, _) | (Kind::Merging, 1) => content.put(index, spec, at, value),
                (Kind::List, _) => content.append(index, spec, at, value),
                (Kind::Merging, _) => content.merge(index, spec, at, value),
            }
        }
    }

    /// Moves the clock of all writers on.
    pub fn tick(&mut self, forward_ms: u64) {
        self.content.now_ms += forward_ms;
        for writer in &mut self.writers {
            writer.set_time_ms(self.content.now_ms);
        }
    }

    /// Claims the given ranges, after dropping all writers.
    pub fn claim(&mut self, ranges: &[KeyGroupRange]) {
        self.writers.clear();
        for &range in ranges {
            let mut writer = self.store.writer(range).unwrap();
            writer.set_time_ms(self.content.now_ms);
            self.writers.push(writer);
        }
    }

    /// The label that the store would be opened at.
    pub fn newest(&self) -> Option<CheckpointInfo> {
        self.store.checkpoints().pop()
    }
}

/// A range of a map's entries: which, and whether it stops early.
#[derive(Debug)]
pub struct ScanOf {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    prefix: Vec<u8>,
    reverse: bool,
    limit: usize,
}

impl ScanOf {
    fn range(&self) -> MapRange<'_> {
        MapRange {
            from: self.from.as_ref().map(Vec::as_slice),
            to: self.to.as_ref().map(Vec::as_slice),
            prefix: &self.prefix,
            reverse: self.reverse,
        }
    }

    fn is_in(&self, key: &[u8]) -> bool {
        let above = match &self.from {
            Bound::Unbounded => true,
            Bound::Included(from) => key >= from.as_slice(),
            Bound::Excluded(from) => key > from.as_slice(),
        };
        let below = match &self.to {
            Bound::Unbounded => true,
            Bound::Included(to) => key <= to.as_slice(),
            Bound::Excluded(to) => key < to.as_slice(),
        };
        above && below && key.starts_with(&self.prefix)
    }
}

fn scan_of(rng: &mut Rng, b: Vec<u8>) -> ScanOf {
    let a = Instance::user_key(rng);
    let bound = |rng: &mut Rng, key: Vec<u8>| match rng.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key),
        _ => Bound::Excluded(key),
    };
    let prefix = match rng.below(4) {
        0 => vec![*rng.pick(&[0, b'a', 0xFF])],
        1 => vec![0xFF, 0xFF],
        _ => Vec::new(),
    };
    let limit = if rng.one_in(3) { rng.below(5) + 1 } else { usize::MAX };
    ScanOf { from: bound(rng, a), to: bound(rng, b), prefix, reverse: rng.one_in(2), limit }
}

fn compare_scan(writer: &mut Writer, state: State, at: &At, scan: &ScanOf, entries: &[(Vec<u8>, Bytes)]) {
    let mut wanted: Vec<_> = entries.iter().filter(|(key, _)| scan.is_in(key)).collect();
    if scan.reverse {
        wanted.reverse();
    }
    wanted.truncate(scan.limit);
    let mut found = Vec::new();
    writer
        .map_scan(state, at.key(), &scan.range(), |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() == scan.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    let keys: Vec<_> = found.iter().map(|(key, _)| key).collect();
    let wanted_keys: Vec<_> = wanted.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, wanted_keys, "user keys of a scan");
    assert!(found.iter().zip(wanted).all(|(a, b)| a.1[..] == b.1[..]), "values of a scan");
}

fn same_entry(found: Option<(Vec<u8>, Vec<u8>)>, wanted: Option<&(Vec<u8>, Bytes)>, what: &str) {
    let found = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
    assert_eq!(found, wanted.map(|(key, value)| (&key[..], &value[..])), "{what}");
}
