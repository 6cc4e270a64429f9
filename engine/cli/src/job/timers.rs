//! Event-time timers: one ordered map for each key group, fired in the order of their times.
//!
//! A timer is an entry (due time, kind, key, namespace) of the map of its key's group, so setting one twice is setting
//! it once. Beside the store only the least due time of each group is remembered, as a lower bound.

use alluvium::error::Result;
use alluvium::ids::KeyGroup;
use alluvium::key::{Key, key_group_of};

use super::bytes::{Fields, ShortBytes};
use super::store::JobStore;
use super::table::{KEY_GROUPS, Table};

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TimerKind {
    /// A window's hour is over: emit its result.
    WindowEnd = 0,
    /// Nothing can come for a window any more: close it.
    WindowExpiry = 1,
    /// Nothing can come for an hour of the join any more: drop its buffers.
    JoinExpiry = 2,
    /// Nothing can extend a session any more: close it.
    SessionEnd = 3,
    /// All windows of a day are closed.
    DayEnd = 4,
}

impl TimerKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::WindowEnd, Self::WindowExpiry, Self::JoinExpiry, Self::SessionEnd, Self::DayEnd]
            .into_iter()
            .find(|&kind| kind as u8 == byte)
    }
}

/// A timer.
#[derive(Clone, Copy)]
pub struct Timer {
    /// When it is due, in milliseconds since 1970.
    pub due_ms: u64,
    /// What for.
    pub kind: TimerKind,
    /// The key it belongs to.
    pub key: ShortBytes,
    /// The namespace it belongs to.
    pub namespace: ShortBytes,
}

impl Timer {
    /// A timer of a key and namespace.
    pub fn new(due_ms: u64, kind: TimerKind, key: &[u8], namespace: &[u8]) -> Self {
        Self { due_ms, kind, key: ShortBytes::new().with(key), namespace: ShortBytes::new().with(namespace) }
    }

    fn encode(&self) -> ShortBytes {
        let head = ShortBytes::new().with(&self.due_ms.to_be_bytes()).with(&[self.kind as u8]);
        head.with_text(&self.key).with_text(&self.namespace)
    }

    fn decode(user_key: &[u8]) -> Option<Self> {
        let mut fields = Fields(user_key);
        let due_ms = fields.sorted_u64();
        let kind = TimerKind::from_byte(fields.u8())?;
        let (key, namespace) = (fields.text(), fields.text());
        Some(Self::new(due_ms, kind, key, namespace))
    }
}

/// The timers of all key groups.
pub struct Timers {
    /// A lower bound of the least due time of each group; `u64::MAX` for a group without timers.
    due_ms: Vec<u64>,
}

fn map_of(group: usize) -> Key<'static> {
    Key::new(KeyGroup(u16::try_from(group).unwrap_or(u16::MAX)), b"")
}

impl Timers {
    /// Finds the least timer of each key group in the store.
    pub fn load(store: &mut impl JobStore) -> Result<Self> {
        let mut due_ms = Vec::with_capacity(KEY_GROUPS as usize);
        for group in 0..KEY_GROUPS as usize {
            due_ms.push(first_due_ms(store, group)?);
        }
        Ok(Self { due_ms })
    }

    /// Sets a timer; setting it again changes nothing.
    pub fn set(&mut self, store: &mut impl JobStore, timer: &Timer) -> Result<()> {
        let group = usize::from(key_group_of(&timer.key, KEY_GROUPS).0);
        self.due_ms[group] = self.due_ms[group].min(timer.due_ms);
        store.map_put(Table::Timers, map_of(group), &timer.encode(), b"")
    }

    /// Takes a timer back.
    pub fn cancel(&mut self, store: &mut impl JobStore, timer: &Timer) -> Result<()> {
        let group = key_group_of(&timer.key, KEY_GROUPS);
        store.map_delete(Table::Timers, Key::new(group, b""), &timer.encode())
    }

    /// Removes and returns the timer with the least due time of all groups, if it is due at `watermark_ms`.
    pub fn pop_due(&mut self, store: &mut impl JobStore, watermark_ms: u64) -> Result<Option<Timer>> {
        loop {
            let least = self.due_ms.iter().enumerate().min_by_key(|&(group, &due_ms)| (due_ms, group));
            let Some((group, &bound_ms)) = least.filter(|&(_, &due_ms)| due_ms <= watermark_ms) else {
                return Ok(None);
            };
            let found_ms = first_due_ms(store, group)?;
            self.due_ms[group] = found_ms;
            if found_ms > bound_ms {
                // The bound was stale: another group may be earlier.
                continue;
            }
            let popped = store.map_pop_first(Table::Timers, map_of(group))?;
            if let Some(timer) = popped.and_then(|(user_key, _)| Timer::decode(&user_key)) {
                return Ok(Some(timer));
            }
        }
    }
}

fn first_due_ms(store: &mut impl JobStore, group: usize) -> Result<u64> {
    let first = store.map_first(Table::Timers, map_of(group))?;
    Ok(first.map_or(u64::MAX, |(user_key, _)| Fields(&user_key).sorted_u64()))
}
