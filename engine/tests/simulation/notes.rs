//! How many steps a writer has done, written down in the store itself: where several work at once, each is cut where it is.

use super::workload::Subject;
use alluvium::{Key, Result, State, StateOptions, Store};

/// No step's key.
const NOTE: &[u8] = b"note";

/// Of one writer.
pub struct Notes {
    values: State,
}

impl Notes {
    pub fn of(store: &Store) -> Result<Self> {
        Ok(Self { values: store.state(StateOptions::value("values"))? })
    }

    /// Writes it down.
    pub fn note(&self, subject: &mut Subject, steps: u64) -> Result<()> {
        let group = subject.key(NOTE).group;
        subject.writer.put(self.values, Key::new(group, NOTE), &steps.to_le_bytes())
    }

    /// Reads it.
    pub fn noted(&self, subject: &mut Subject) -> Result<u64> {
        let group = subject.key(NOTE).group;
        let found = subject.writer.get(self.values, Key::new(group, NOTE))?;
        Ok(found.map_or(0, |found| u64::from_le_bytes(found.try_into().expect("eight bytes"))))
    }
}
