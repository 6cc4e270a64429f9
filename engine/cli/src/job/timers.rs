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

/// What is remembered of a key group's timers.
#[derive(Clone, Copy)]
struct Front {
    /// A lower bound of the least due time; `u64::MAX` for a group without timers.
    due_ms: u64,
    /// Whether it is the least due time itself.
    exact: bool,
}

/// The timers of all key groups.
pub struct Timers {
    fronts: Vec<Front>,
}

fn map_of(group: usize) -> Key<'static> {
    Key::new(KeyGroup(u16::try_from(group).unwrap_or(u16::MAX)), b"")
}

impl Timers {
    /// Finds the least timer of each key group in the store.
    pub fn load(store: &mut impl JobStore) -> Result<Self> {
        let fronts = (0..KEY_GROUPS as usize).map(|group| front_of(store, group)).collect::<Result<_>>()?;
        Ok(Self { fronts })
    }

    /// Sets a timer; setting it again changes nothing.
    pub fn set(&mut self, store: &mut impl JobStore, timer: &Timer) -> Result<()> {
        let group = usize::from(key_group_of(&timer.key, KEY_GROUPS).0);
        let front = &mut self.fronts[group];
        // A bound that the new timer lies below becomes exact: nothing else does.
        front.exact |= timer.due_ms <= front.due_ms;
        front.due_ms = front.due_ms.min(timer.due_ms);
        store.map_put(Table::Timers, map_of(group), &timer.encode(), b"")
    }

    /// Takes a timer back.
    pub fn cancel(&mut self, store: &mut impl JobStore, timer: &Timer) -> Result<()> {
        let group = usize::from(key_group_of(&timer.key, KEY_GROUPS).0);
        self.fronts[group].exact &= timer.due_ms > self.fronts[group].due_ms;
        store.map_delete(Table::Timers, map_of(group), &timer.encode())
    }

    /// Removes and returns the timer with the least due time of all groups, if it is due at `watermark_ms`.
    pub fn pop_due(&mut self, store: &mut impl JobStore, watermark_ms: u64) -> Result<Option<Timer>> {
        loop {
            let least = self.fronts.iter().enumerate().min_by_key(|&(group, front)| (front.due_ms, group));
            let Some((group, front)) = least.filter(|&(_, front)| front.due_ms <= watermark_ms) else {
                return Ok(None);
            };
            if !front.exact {
                self.fronts[group] = front_of(store, group)?;
                continue;
            }
            let popped = store.map_pop_first(Table::Timers, map_of(group))?;
            self.fronts[group].exact = false;
            if let Some(timer) = popped.and_then(|(user_key, _)| Timer::decode(&user_key)) {
                return Ok(Some(timer));
            }
        }
    }
}

fn front_of(store: &mut impl JobStore, group: usize) -> Result<Front> {
    let first = store.map_first(Table::Timers, map_of(group))?;
    Ok(Front { due_ms: first.map_or(u64::MAX, |(user_key, _)| Fields(&user_key).sorted_u64()), exact: true })
}
