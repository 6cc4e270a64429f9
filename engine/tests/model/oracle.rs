//! What a store should hold: plain ordered maps, and the rules of expiry and merging restated.

use alluvium::{KeyGroup, Merge, MergeOperator, StateOptions, Ttl};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Values are shared between the copies that are kept for each checkpoint.
pub type Bytes = Arc<[u8]>;

/// The address of a cell or map: key group, key, namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At {
    pub group: u16,
    pub key: Vec<u8>,
    pub namespace: Vec<u8>,
}

impl At {
    pub fn key(&self) -> alluvium::Key<'_> {
        alluvium::Key::new(KeyGroup(self.group), &self.key).in_namespace(&self.namespace)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Value,
    List,
    Merging,
    Map,
}

/// A state as the model knows it.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub kind: Kind,
    pub ttl: Option<Ttl>,
    pub operator: Option<MergeOperator>,
}

/// Puts one after another: associative, and any operand lost, doubled or out of order shows.
#[derive(Debug)]
pub struct Concat;

impl Merge for Concat {
    fn name(&self) -> &str {
        "concat"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(older);
        out.extend_from_slice(newer);
    }
}

pub const TTL_MS: u64 = 1_000;

impl Spec {
    pub fn options(&self) -> StateOptions {
        let options = match (self.kind, &self.operator) {
            (Kind::Merging, Some(operator)) => StateOptions::merging(self.name, operator.clone()),
            (Kind::List, _) => StateOptions::list(self.name),
            (Kind::Map, _) => StateOptions::map(self.name),
            _ => StateOptions::value(self.name),
        };
        match self.ttl {
            Some(ttl) => options.ttl(ttl),
            None => options,
        }
    }

    pub fn expiry(&self, now_ms: u64) -> Option<u64> {
        self.ttl.map(|ttl| now_ms + ttl.duration_ms)
    }

    /// The expiry after a read.
    fn after_read(&self, expiry_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        match (self.ttl, expiry_ms) {
            (Some(ttl), Some(at)) if ttl.refresh_on_read && now_ms + ttl.duration_ms > at + ttl.duration_ms / 16 => {
                Some(now_ms + ttl.duration_ms)
            }
            _ => expiry_ms,
        }
    }
}

/// All states of the model, by the index that it uses for them.
pub fn specs() -> Vec<Spec> {
    let on_write = Some(Ttl { duration_ms: TTL_MS, refresh_on_read: false });
    let on_read = Some(Ttl { duration_ms: TTL_MS, refresh_on_read: true });
    let spec = |name, kind, ttl, operator| Spec { name, kind, ttl, operator };
    vec![
        spec("value", Kind::Value, None, None),
        spec("value expiring", Kind::Value, on_write, None),
        spec("value refreshed", Kind::Value, on_read, None),
        spec("list", Kind::List, None, None),
        spec("list expiring", Kind::List, on_write, None),
        spec("sum", Kind::Merging, None, Some(MergeOperator::U64Add)),
        spec("smallest", Kind::Merging, None, Some(MergeOperator::I64Min)),
        spec("concat", Kind::Merging, None, Some(MergeOperator::User(Arc::new(Concat)))),
        spec("sum expiring", Kind::Merging, on_write, Some(MergeOperator::U64Add)),
        spec("concat refreshed", Kind::Merging, on_read, Some(MergeOperator::User(Arc::new(Concat)))),
        spec("map", Kind::Map, None, None),
        spec("map expiring", Kind::Map, on_write, None),
        spec("map refreshed", Kind::Map, on_read, None),
        spec("late value", Kind::Value, None, None),
        spec("late map", Kind::Map, None, None),
    ]
}

/// How many of [`specs`] a new store starts with; the others are registered after rescaling.
pub const EARLY: usize = 13;

/// A value and when it expires.
pub type Held = (Bytes, Option<u64>);

fn live(expiry_ms: Option<u64>, now_ms: u64) -> bool {
    expiry_ms.is_none_or(|at| at > now_ms)
}

/// Everything that a store should hold at one moment.
#[derive(Clone, Default, Debug)]
pub struct Content {
    pub now_ms: u64,
    pub cells: BTreeMap<(usize, At), Held>,
    pub lists: BTreeMap<(usize, At), Vec<Held>>,
    pub maps: BTreeMap<(usize, At), BTreeMap<Vec<u8>, Held>>,
}

impl Content {
    /// A read of a value or merging state.
    pub fn get(&mut self, state: usize, spec: &Spec, at: &At) -> Option<Bytes> {
        let now_ms = self.now_ms;
        let (value, expiry_ms) = self.cells.get_mut(&(state, at.clone()))?;
        if !live(*expiry_ms, now_ms) {
            return None;
        }
        *expiry_ms = spec.after_read(*expiry_ms, now_ms);
        Some(Arc::clone(value))
    }

    /// The same without the effect that a read may have.
    pub fn peek(&self, state: usize, at: &At) -> Option<Bytes> {
        let (value, expiry_ms) = self.cells.get(&(state, at.clone()))?;
        live(*expiry_ms, self.now_ms).then(|| Arc::clone(value))
    }

    pub fn put(&mut self, state: usize, spec: &Spec, at: &At, value: &[u8]) {
        self.cells.insert((state, at.clone()), (value.into(), spec.expiry(self.now_ms)));
    }

    pub fn delete(&mut self, state: usize, at: &At) {
        self.cells.remove(&(state, at.clone()));
        self.lists.remove(&(state, at.clone()));
    }

    pub fn merge(&mut self, state: usize, spec: &Spec, at: &At, operand: &[u8]) {
        let merged = match (self.peek(state, at), &spec.operator) {
            (Some(old), Some(operator)) => {
                let mut out = Vec::new();
                operator.merge(&old, operand, &mut out);
                out
            }
            _ => operand.to_vec(),
        };
        self.put(state, spec, at, &merged);
    }

    pub fn list(&self, state: usize, at: &At) -> Vec<Bytes> {
        let elements = self.lists.get(&(state, at.clone())).map_or(&[][..], Vec::as_slice);
        let live = elements.iter().filter(|(_, expiry_ms)| live(*expiry_ms, self.now_ms));
        live.map(|(element, _)| Arc::clone(element)).collect()
    }

    pub fn append(&mut self, state: usize, spec: &Spec, at: &At, element: &[u8]) {
        let expiry_ms = spec.expiry(self.now_ms);
        self.lists.entry((state, at.clone())).or_default().push((element.into(), expiry_ms));
    }

    pub fn put_list(&mut self, state: usize, spec: &Spec, at: &At, elements: &[Vec<u8>]) {
        self.delete(state, at);
        for element in elements {
            self.append(state, spec, at, element);
        }
    }

    pub fn map_get(&mut self, state: usize, spec: &Spec, at: &At, user_key: &[u8]) -> Option<Bytes> {
        let now_ms = self.now_ms;
        let (value, expiry_ms) = self.maps.get_mut(&(state, at.clone()))?.get_mut(user_key)?;
        if !live(*expiry_ms, now_ms) {
            return None;
        }
        *expiry_ms = spec.after_read(*expiry_ms, now_ms);
        Some(Arc::clone(value))
    }

    pub fn map_put(&mut self, state: usize, spec: &Spec, at: &At, user_key: &[u8], value: &[u8]) {
        let expiry_ms = spec.expiry(self.now_ms);
        self.maps.entry((state, at.clone())).or_default().insert(user_key.to_vec(), (value.into(), expiry_ms));
    }

    pub fn map_delete(&mut self, state: usize, at: &At, user_key: &[u8]) {
        if let Some(map) = self.maps.get_mut(&(state, at.clone())) {
            map.remove(user_key);
        }
    }

    pub fn map_delete_range(&mut self, state: usize, at: &At, is_in: impl Fn(&[u8]) -> bool) {
        if let Some(map) = self.maps.get_mut(&(state, at.clone())) {
            map.retain(|user_key, _| !is_in(user_key));
        }
    }

    pub fn map_clear(&mut self, state: usize, at: &At) {
        self.maps.remove(&(state, at.clone()));
    }

    /// The live entries of a map, in order.
    pub fn entries(&self, state: usize, at: &At) -> Vec<(Vec<u8>, Bytes)> {
        let map = self.maps.get(&(state, at.clone()));
        let live = map.into_iter().flatten().filter(|(_, (_, expiry_ms))| live(*expiry_ms, self.now_ms));
        live.map(|(user_key, (value, _))| (user_key.clone(), Arc::clone(value))).collect()
    }

    /// How many bytes a list or concatenation has, to keep it from growing without end.
    pub fn bytes_at(&self, state: usize, at: &At) -> usize {
        let list = self.lists.get(&(state, at.clone())).into_iter().flatten().map(|(element, _)| element.len() + 8);
        list.sum::<usize>() + self.cells.get(&(state, at.clone())).map_or(0, |(value, _)| value.len())
    }

    /// Only what lies in these key groups.
    pub fn clipped(&self, range: alluvium::KeyGroupRange) -> Self {
        let inside = |at: &At| range.contains(KeyGroup(at.group));
        let mut clipped = self.clone();
        clipped.cells.retain(|(_, at), _| inside(at));
        clipped.lists.retain(|(_, at), _| inside(at));
        clipped.maps.retain(|(_, at), _| inside(at));
        clipped
    }

    /// This and what another store holds of other key groups.
    pub fn join(&mut self, other: Self) {
        self.now_ms = self.now_ms.max(other.now_ms);
        self.cells.extend(other.cells);
        self.lists.extend(other.lists);
        self.maps.extend(other.maps);
    }
}
