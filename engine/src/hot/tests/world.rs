//! A shard as flows drive it: hot tables over a disk, with a model of what the two should hold together.

use super::disk::{Address, CELLS, Content, Item, LISTS, MAPS, flush, same};
use super::{Random, arena};
use crate::hot::cell::Below;
use crate::hot::record::{ENTRY, ENTRY_TOMBSTONE, NAMESPACE, ROOT, Record, TOMBSTONE, VALUE};
use crate::hot::table::Head;
use crate::hot::{Hot, Memory, OutOfMemory, Probe, Sealed, entry_key};
use crate::platform::arena::{Arena, NONE, Ref, Share};
use crate::platform::sync::reclaim::Domain;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub const GROUPS: u16 = 3;

pub struct World {
    pub hot: Hot,
    pub arena: Arc<Arena>,
    pub model: Content,
    pub disk: Content,
    /// What was cut off, with what the store held at that time.
    pub sealed: VecDeque<(Sealed, Content)>,
    /// Blocks taken away from the tables: (at, class, of the index).
    hogged: Vec<(Ref, u8, bool)>,
    pub refused: usize,
}

impl World {
    pub fn new(chunks: usize) -> Self {
        let (arena, domain) = arena(chunks);
        Self::in_memory(arena, &domain)
    }

    pub fn in_memory(arena: Arc<Arena>, domain: &Arc<Domain>) -> Self {
        let memory = Memory::new(Arc::clone(&arena), &Share::of(&arena), domain);
        let mut hot = Hot::new(memory, 99, usize::from(GROUPS), 5);
        for _ in [CELLS, LISTS, MAPS] {
            hot.add_state((0..GROUPS).map(|_| Head::default()).collect(), Arc::default());
        }
        let (model, disk) = Default::default();
        Self { hot, arena, model, disk, sealed: VecDeque::new(), hogged: Vec::new(), refused: 0 }
    }

    fn probe<'a>(&self, state: u16, address: &'a Address) -> Probe<'a> {
        self.hot.probe(state, address.0, &address.1, address.2)
    }

    fn below(&self, probe: &Probe<'_>) -> Below {
        if self.hot.head(probe).is_spilled() { Below::Perhaps } else { Below::Nothing }
    }

    fn below_entry(&self, probe: &Probe<'_>, user_key: &[u8]) -> Below {
        if self.hot.is_hidden(probe, user_key) { Below::Nothing } else { self.below(probe) }
    }

    /// As a write asks that leaves the disk alone.
    fn unasked(below: Below) -> Below {
        if below == Below::Perhaps { Below::Unasked } else { below }
    }

    /// As a deletion asks: the disk, where writing the record left it alone.
    fn asked(&self, found: Option<Record>, below: Below, on_disk: bool) -> Below {
        match found {
            Some(record) if self.hot.is_unasked(record) && !on_disk => Below::Nothing,
            _ => below,
        }
    }

    pub fn put_cell(&mut self, address: &Address, value: &[u8], expiry_ms: Option<u64>) -> Result<(), OutOfMemory> {
        let probe = self.probe(CELLS, address);
        let (found, below) = (self.hot.find_cell(&probe), Self::unasked(self.below(&probe)));
        self.hot.put_cell(&probe, found, value, expiry_ms, below)?;
        self.model.cells.insert(address.clone(), (value.to_vec(), expiry_ms));
        Ok(())
    }

    pub fn delete_cell(&mut self, address: &Address) -> Result<(), OutOfMemory> {
        let probe = self.probe(CELLS, address);
        let found = self.hot.find_cell(&probe);
        let on_disk = self.disk.cells.contains_key(address);
        let below = self.asked(found.map(|(record, _)| record), self.below(&probe), on_disk);
        self.hot.delete_cell(&probe, found, below)?;
        self.model.cells.remove(address);
        Ok(())
    }

    pub fn read_cell(&self, address: &Address) -> Option<Item> {
        let probe = self.probe(CELLS, address);
        match self.hot.find_cell(&probe) {
            Some((record, _)) => {
                record.touch(self.hot.arena());
                (record.kind() == VALUE).then(|| self.item(record))
            }
            None if self.hot.head(&probe).is_spilled() => self.disk.cells.get(address).cloned(),
            None => None,
        }
    }

    /// Reads a cell and keeps what came from disk.
    pub fn promote_cell(&mut self, address: &Address) {
        let probe = self.probe(CELLS, address);
        if self.hot.find_cell(&probe).is_none()
            && self.hot.head(&probe).is_spilled()
            && let Some((value, expiry_ms)) = self.disk.cells.get(address)
        {
            self.hot.promote_cell(&probe, value, *expiry_ms, self.hot.flushed);
        }
    }

    fn item(&self, record: Record) -> Item {
        (self.hot.value_of(record).to_vec(), record.expiry_ms(self.hot.arena()))
    }

    pub fn append(&mut self, address: &Address, element: &[u8], expiry_ms: Option<u64>) -> Result<(), OutOfMemory> {
        let probe = self.probe(LISTS, address);
        let (found, below) = (self.hot.find_cell(&probe), self.below(&probe));
        let parts = element.split_at(element.len() / 3);
        self.hot.append_chain(&probe, found, [parts.0, parts.1], expiry_ms, below)?;
        self.model.append(address, element, expiry_ms);
        Ok(())
    }

    pub fn put_list(&mut self, address: &Address, value: &[u8], expiry_ms: Option<u64>) -> Result<(), OutOfMemory> {
        let probe = self.probe(LISTS, address);
        let (found, below) = (self.hot.find_cell(&probe), self.below(&probe));
        self.hot.put_cell(&probe, found, value, expiry_ms, below)?;
        self.model.lists.insert(address.clone(), (value.to_vec(), expiry_ms));
        Ok(())
    }

    pub fn delete_list(&mut self, address: &Address) -> Result<(), OutOfMemory> {
        let probe = self.probe(LISTS, address);
        let (found, below) = (self.hot.find_cell(&probe), self.below(&probe));
        self.hot.delete_chain(&probe, found, below)?;
        self.model.lists.remove(address);
        Ok(())
    }

    pub fn read_list(&self, address: &Address) -> Option<Item> {
        let probe = self.probe(LISTS, address);
        let Some((head, _)) = self.hot.find_cell(&probe) else {
            let spilled = self.hot.head(&probe).is_spilled();
            return if spilled { self.disk.lists.get(address).cloned() } else { None };
        };
        if head.kind() == TOMBSTONE {
            return None;
        }
        head.touch(self.hot.arena());
        let chunks = self.hot.chunks(head);
        let mut list = if chunks.complete { None } else { self.disk.lists.get(address).cloned() };
        for &chunk in chunks.records.iter().rev() {
            let (elements, expiry_ms) = self.item(chunk);
            let list = list.get_or_insert_default();
            list.0.extend_from_slice(&elements);
            list.1 = expiry_ms;
        }
        list
    }

    /// Reads a list and keeps what came from disk.
    pub fn complete_list(&mut self, address: &Address) {
        let probe = self.probe(LISTS, address);
        let found = self.hot.find_cell(&probe);
        let from_disk = match found {
            Some((head, _)) => !self.hot.chunks(head).complete,
            None => self.hot.head(&probe).is_spilled(),
        };
        if from_disk && let Some((value, expiry_ms)) = self.disk.lists.get(address) {
            self.hot.complete_chain(&probe, found, value, *expiry_ms, self.hot.flushed);
        }
    }

    pub fn put_entry(
        &mut self,
        address: &Address,
        user_key: &[u8],
        value: &[u8],
        expiry_ms: Option<u64>,
    ) -> Result<(), OutOfMemory> {
        let probe = self.probe(MAPS, address);
        let below = Self::unasked(self.below_entry(&probe, user_key));
        let root = self.hot.root_or_new(&probe)?;
        let found = self.hot.find_entry(&probe, root, user_key);
        self.hot.put_entry(&probe, root, found, user_key, value, expiry_ms, below)?;
        self.model.maps.insert((address.clone(), user_key.to_vec()), (value.to_vec(), expiry_ms));
        Ok(())
    }

    pub fn delete_entry(&mut self, address: &Address, user_key: &[u8]) -> Result<(), OutOfMemory> {
        let probe = self.probe(MAPS, address);
        let below = self.below_entry(&probe, user_key);
        if self.hot.find_root(&probe).is_some() || below == Below::Perhaps {
            let root = self.hot.root_or_new(&probe)?;
            let found = self.hot.find_entry(&probe, root, user_key);
            let on_disk = self.disk.maps.contains_key(&(address.clone(), user_key.to_vec()));
            let below = self.asked(found.map(|(record, _)| record), below, on_disk);
            self.hot.delete_entry(&probe, root, found, user_key, below)?;
        }
        self.model.maps.remove(&(address.clone(), user_key.to_vec()));
        Ok(())
    }

    pub fn clear_map(&mut self, address: &Address) -> Result<(), OutOfMemory> {
        let probe = self.probe(MAPS, address);
        let below = if self.hot.is_cleared(&probe) { Below::Nothing } else { self.below(&probe) };
        self.hot.clear_map(&probe, below)?;
        self.model.clear_map(address);
        Ok(())
    }

    pub fn delete_range(&mut self, address: &Address, from: &[u8], to: Option<&[u8]>) -> Result<(), OutOfMemory> {
        let probe = self.probe(MAPS, address);
        let below = if self.hot.is_cleared(&probe) { Below::Nothing } else { self.below(&probe) };
        let done = self.hot.delete_range(&probe, from, to, below)?;
        assert!(done, "too many ranges");
        self.model.delete_range(address, from, to);
        Ok(())
    }

    /// Whether memory lets through what the disk has of an entry.
    fn unmasked(&self, probe: &Probe<'_>, user_key: &[u8]) -> bool {
        self.hot.head(probe).is_spilled() && !self.hot.is_hidden(probe, user_key)
    }

    pub fn read_entry(&self, address: &Address, user_key: &[u8]) -> Option<Item> {
        let probe = self.probe(MAPS, address);
        if let Some((root, _)) = self.hot.find_root(&probe)
            && let Some((record, _)) = self.hot.find_entry(&probe, root, user_key)
        {
            record.touch(self.hot.arena());
            return (record.kind() == ENTRY).then(|| self.item(record));
        }
        let on_disk = self.disk.maps.get(&(address.clone(), user_key.to_vec()));
        on_disk.filter(|_| self.unmasked(&probe, user_key)).cloned()
    }

    /// Reads an entry and keeps what came from disk.
    pub fn promote_entry(&mut self, address: &Address, user_key: &[u8]) {
        let probe = self.probe(MAPS, address);
        let root = self.hot.find_root(&probe);
        let known = root.is_some_and(|(root, _)| self.hot.find_entry(&probe, root, user_key).is_some());
        if !known
            && self.unmasked(&probe, user_key)
            && let Some((value, expiry_ms)) = self.disk.maps.get(&(address.clone(), user_key.to_vec()))
        {
            self.hot.promote_entry(&probe, user_key, value, *expiry_ms, self.hot.flushed);
        }
    }

    /// The whole map, in order.
    pub fn read_map(&self, address: &Address) -> BTreeMap<Vec<u8>, Item> {
        let probe = self.probe(MAPS, address);
        let mut map = BTreeMap::new();
        if self.hot.head(&probe).is_spilled() {
            let on_disk = self.disk.maps.iter().filter(|((container, _), _)| container == address);
            let on_disk = on_disk.filter(|((_, key), _)| self.unmasked(&probe, key));
            map.extend(on_disk.map(|((_, key), item)| (key.clone(), item.clone())));
        }
        let Some((root, _)) = self.hot.find_root(&probe) else { return map };
        let (arena, mut count, mut last) = (self.hot.arena(), 0, None);
        self.hot.tree(root).ascend(arena, None, |at| {
            let (record, key) = (Record::load(arena, at), entry_key(arena, at).to_vec());
            assert!(last < Some(key.clone()), "{key:?} comes too late");
            let found = self.hot.find_entry(&probe, root, &key).map(|(record, _)| record.at);
            assert_eq!(found, Some(at), "order and table disagree about {key:?}");
            match record.kind() {
                ENTRY => drop(map.insert(key.clone(), self.item(record))),
                ENTRY_TOMBSTONE => drop(map.remove(&key)),
                kind => panic!("kind {kind} in an order"),
            }
            (count, last) = (count + 1, Some(key));
            true
        });
        // With those that were cut off and aren't freed yet.
        assert!(self.hot.entries(root) == count || self.hot.entries(root) > count && !self.hot.cuts.is_empty());
        map
    }

    /// Cuts the current epoch off, if there is anything in it and two are not in flight already.
    pub fn seal(&mut self, random: &mut Random) -> bool {
        let (current, in_flight) = (self.hot.current, self.hot.in_flight());
        let Some(sealed) = self.hot.seal(current + 1 + random.below(3) as u32) else { return false };
        assert_eq!((sealed.epoch, self.hot.in_flight()), (current, in_flight + 1));
        self.sealed.push_back((sealed, self.model.clone()));
        true
    }

    /// Flushes the oldest epoch that was cut off; the disk then holds just what the store held at that time.
    pub fn flush(&mut self) -> bool {
        let Some((sealed, content)) = self.sealed.pop_front() else { return false };
        flush(&self.hot, &sealed, &mut self.disk);
        self.disk.check(&content, sealed.epoch);
        self.hot.adopt_flushed(sealed.epoch);
        true
    }

    pub fn flush_all(&mut self, random: &mut Random) {
        while self.flush() || self.seal(random) {}
        while self.hot.work() {}
        assert!(!self.hot.has_chores());
    }

    /// Takes away all memory but a few blocks, so that every allocation may be the one that fails.
    pub fn starve(&mut self, random: &mut Random) {
        for bytes in [16_384, 4_096, 1_024, 512, 320, 200, 128, 104, 80, 64, 56, 48, 40, 32, 24, 16] {
            for index in [false, true] {
                while let Some((at, class)) = Self::take(&mut self.hot.memory, index, bytes) {
                    self.hogged.push((at, class, index));
                }
            }
        }
        for _ in 0..random.below(6) {
            if !self.hogged.is_empty() {
                let block = self.hogged.swap_remove(random.below(self.hogged.len()));
                Self::put_back(&mut self.hot.memory, block);
            }
        }
    }

    fn take(memory: &mut Memory, index: bool, bytes: usize) -> Option<(Ref, u8)> {
        if index {
            return memory.allocate_index(bytes);
        }
        let (at, class) = memory.allocate_record(bytes)?;
        // As every block of records, it says its class.
        let word = memory.arena().word(at + 1);
        word.store(u64::from(class) << 48, crate::platform::sync::atomic::Ordering::Relaxed);
        Some((at, class))
    }

    fn put_back(memory: &mut Memory, (at, class, index): (Ref, u8, bool)) {
        if index { memory.free_index(at, class) } else { memory.records().free(at, class) }
    }

    pub fn feed(&mut self) {
        for block in self.hogged.drain(..) {
            Self::put_back(&mut self.hot.memory, block);
        }
    }

    /// Compares everything that can be read with the model, and the tables with themselves.
    pub fn check(&self, addresses: &[Address]) {
        for address in addresses {
            same(address, self.read_cell(address).as_ref(), self.model.cells.get(address));
            same(address, self.read_list(address).as_ref(), self.model.lists.get(address));
            let map = self.model.maps.iter().filter(|((container, _), _)| container == address);
            let map: BTreeMap<_, _> = map.map(|((_, key), item)| (key.clone(), item.clone())).collect();
            assert!(self.read_map(address) == map, "map {address:?}");
        }
        for state in [CELLS, LISTS, MAPS] {
            for group in 0..GROUPS {
                self.check_table(state, group);
            }
        }
    }

    fn check_table(&self, state: u16, group: u16) {
        let arena = self.hot.arena();
        let (head, mut seen) = (&self.hot.heads[usize::from(state)][usize::from(group)], BTreeSet::new());
        for page in 0..head.page_count() {
            head.visit_page(arena, page, |at| {
                let record = Record::load(arena, at);
                let container = match (state, record.kind()) {
                    (MAPS, ENTRY | ENTRY_TOMBSTONE) => Record::load(arena, record.link(arena) as Ref),
                    (MAPS, ROOT | TOMBSTONE) | (CELLS | LISTS, VALUE | TOMBSTONE) => record,
                    (LISTS, crate::hot::record::CHAIN) => record,
                    (_, kind) => panic!("kind {kind} in a table of state {state}"),
                };
                assert!(container.at == at || container.kind() == ROOT);
                let place = (record.kind() == ROOT, container.area(arena).to_vec(), container.has(NAMESPACE));
                let entry = (container.at != at).then(|| record.area(arena).to_vec());
                // What was cut off stands there beside what was put since, perhaps several times.
                let cut_off = self.hot.is_cut_off(record).then_some(at);
                assert!(seen.insert((place, entry, cut_off)), "a key twice in a table");
                assert!(at != NONE);
            });
        }
        assert_eq!(self.hot.records_in(state, group) as usize, seen.len());
    }
}
