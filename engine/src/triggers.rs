//! Triggers: what a host wants to be told of, so that it repairs or rolls back when there is a reason to.
//!
//! They are looked at by the writer's thread after each event that is known by its id; what fired waits until the host asks for it. Nothing
//! is looked at where there are none.

use crate::error::Result;
use crate::events::Applying;
use crate::ids::{EventId, KeyGroup};
use crate::platform::threads::Mutex;
use crate::writer::Writer;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So much that fired is kept for the host; what fires beyond is counted alone.
pub const FIRED_MAX: usize = 1 << 16;

/// What is to hold after each event.
pub trait Invariant: Send + Sync + Debug {
    /// Whether it holds for what the event touched: the state of its key group is read through `applying`, and can't be changed.
    fn holds(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<bool>;
}

/// What a host is told of.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// An event came late: by the writer's clock ([`Writer::set_time_ms`]) it lies before one that its key group has had since the trigger was set.
    /// What was undone since, by a rollback or an abort, counts: who does such events again watches anew.
    Straggler,
    /// This event was applied.
    Event(EventId),
    /// Something doesn't hold after an event.
    Invariant(Arc<dyn Invariant>),
}

/// A trigger of a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TriggerId(u64);

impl TriggerId {
    /// The trigger of a number, for a host that keeps that: as good as the number is.
    pub const fn numbered(number: u64) -> Self {
        Self(number)
    }

    /// Its number in its store.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A trigger that fired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fired {
    /// Which.
    pub trigger: TriggerId,
    /// The event that it fired at.
    pub event: EventId,
    /// Its key group.
    pub group: KeyGroup,
}

/// A store's triggers.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    any: AtomicBool,
    all: Mutex<Set>,
}

#[derive(Debug, Default)]
struct Set {
    next: u64,
    set: Vec<(TriggerId, Trigger)>,
    /// For each trigger of stragglers the latest time of each key group since it was set, in ms.
    latest_ms: HashMap<TriggerId, HashMap<KeyGroup, u64>>,
    fired: VecDeque<Fired>,
    lost: u64,
}

impl Triggers {
    pub fn set(&self, trigger: Trigger) -> TriggerId {
        let mut all = self.all.lock();
        let id = TriggerId(all.next);
        all.next += 1;
        if matches!(trigger, Trigger::Straggler) {
            all.latest_ms.insert(id, HashMap::new());
        }
        all.set.push((id, trigger));
        // Relaxed: whoever misses it applied its event before.
        self.any.store(true, Ordering::Relaxed);
        id
    }

    pub fn clear(&self, id: TriggerId) {
        let mut all = self.all.lock();
        let found = all.set.iter().position(|(known, _)| *known == id);
        let gone = found.map(|at| all.set.remove(at));
        all.latest_ms.remove(&id);
        self.any.store(!all.set.is_empty(), Ordering::Relaxed);
        drop(all);
        // Not under the lock: what goes with it may be the host's code.
        drop(gone);
    }

    /// The first `count_max` of what fired since it was last asked, and how much more did than was kept.
    pub fn take(&self, count_max: usize) -> (Vec<Fired>, u64) {
        let mut all = self.all.lock();
        let count = count_max.min(all.fired.len());
        (all.fired.drain(..count).collect(), std::mem::take(&mut all.lost))
    }
}

impl Set {
    /// Whether an event of this time is a straggler to a trigger, which knows of that time from now on.
    fn is_late(&mut self, trigger: TriggerId, group: KeyGroup, now_ms: u64) -> bool {
        // It may be cleared by now.
        let Some(groups) = self.latest_ms.get_mut(&trigger) else { return false };
        let latest = groups.entry(group).or_default();
        let before = std::mem::replace(latest, now_ms.max(*latest));
        now_ms < before
    }
}

/// Looks at the triggers after an event.
pub(crate) fn look(writer: &mut Writer, (group, now_ms): (KeyGroup, u64), (id, event): (EventId, &[u8])) -> Result<()> {
    if !writer.store().triggers.any.load(Ordering::Relaxed) {
        return Ok(());
    }
    let store = Arc::clone(writer.store());
    let set = store.triggers.all.lock().set.clone();
    let (mut fired, mut outcome) = (Vec::new(), Ok(()));
    for (trigger, what) in set {
        let fires = match what {
            Trigger::Straggler => store.triggers.all.lock().is_late(trigger, group, now_ms),
            Trigger::Event(wanted) => wanted == id,
            // Not under the lock: it is the host's code.
            Trigger::Invariant(invariant) => {
                let holds =
                    crate::error::catch(|| invariant.holds(event, &mut Applying::reading(writer, group, now_ms)));
                holds.map(|holds| !holds).unwrap_or_else(|error| {
                    outcome = Err(error);
                    false
                })
            }
        };
        if fires {
            fired.push(Fired { trigger, event: id, group });
        }
    }
    let mut all = store.triggers.all.lock();
    let room = FIRED_MAX.saturating_sub(all.fired.len());
    all.lost += fired.len().saturating_sub(room) as u64;
    all.fired.extend(fired.into_iter().take(room));
    outcome
}
