//! What an event reads and writes of the states that are traced, as the changelog and its index are to have it.

use super::Touched;
use crate::changelog::access::{Access, AccessKind, Accesses, cell_hash, entry_hashes};
use crate::ids::StateId;
use crate::key::Key;

/// So many accesses are looked through for one that is there already; more of the same do no harm.
const LOOKED_THROUGH: usize = 16;

/// The accesses of an event. A writer has one, which is used for all of its events.
#[derive(Default, Debug)]
pub(crate) struct Trace {
    entered: Vec<Access>,
    /// The same as their record has them.
    bytes: Vec<u8>,
    /// A bit for each hash: most are new, and needn't be looked for.
    seen: u64,
}

impl Trace {
    /// Begins with an event.
    pub fn clear(&mut self) {
        self.entered.clear();
        self.bytes.clear();
        self.seen = 0;
    }

    /// Whether it touched nothing.
    pub const fn is_empty(&self) -> bool {
        self.entered.is_empty()
    }

    /// What it touched: as its record has it, and the index.
    pub fn logged(&self) -> (Accesses<'_>, &[Access]) {
        (Accesses::pushed(&self.bytes), &self.entered)
    }

    fn enter(&mut self, access: Access) {
        let bit = 1 << (access.hash % u64::from(u64::BITS));
        if self.seen & bit != 0 {
            let from = self.entered.len().saturating_sub(LOOKED_THROUGH);
            if self.entered[from..].contains(&access) {
                return;
            }
        }
        self.seen |= bit;
        self.entered.push(access);
        access.push(&mut self.bytes);
    }

    /// Enters what it is about to do with a key.
    pub fn touch(&mut self, state: StateId, key: Key<'_>, touched: Touched<'_>) {
        match touched {
            Touched::Cell(kind) | Touched::Range(kind) => {
                let cell = cell_hash(state, key);
                self.enter(Access::of(kind, cell));
            }
            Touched::Entry(user_key, kind) => {
                let (container, entry) = entry_hashes(state, key, user_key);
                self.enter(Access::of_entry(kind, entry, container));
            }
            Touched::Namespaces(sources) => {
                for namespace in std::iter::once(key.namespace).chain(sources.iter().copied()) {
                    let cell = cell_hash(state, key.in_namespace(namespace));
                    self.enter(Access::of(AccessKind::Update, cell));
                }
            }
        }
    }
}
