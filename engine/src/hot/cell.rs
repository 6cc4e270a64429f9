//! Cells in memory: full values and their tombstones.

use crate::hot::record::{EXPIRY, FRESH, NAMESPACE, Parts, Record, TOMBSTONE, USED, VALUE, is_cell};
use crate::hot::table::Place;
use crate::hot::{Hot, OutOfMemory, Probe};

/// What a write knows about older versions on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Below {
    /// Nothing older is on disk, or it is masked.
    Nothing,
    /// There may be something.
    Perhaps,
}

impl Hot {
    /// The cell's record, of any kind.
    #[inline(always)]
    pub fn find_cell(&self, probe: &Probe<'_>) -> Option<(Record, Place)> {
        let arena = self.memory.arena();
        let (at, place) = self.head(probe).find(arena, probe.hash, |at| {
            let record = Record::load(arena, at);
            is_cell(record.kind()) && record.is_at(arena, probe.area, probe.namespaced)
        })?;
        Some((Record::load(arena, at), place))
    }

    /// The flags that every record of this address carries.
    #[inline]
    pub(super) fn flags(probe: &Probe<'_>, expiry_ms: Option<u64>) -> u8 {
        (if probe.namespaced { NAMESPACE } else { 0 }) | (if expiry_ms.is_some() { EXPIRY } else { 0 })
    }

    /// Puts a full value. `found` is what [`Hot::find_cell`] said just before.
    #[inline(always)]
    pub fn put_cell(
        &mut self,
        probe: &Probe<'_>,
        found: Option<(Record, Place)>,
        value: &[u8],
        expiry_ms: Option<u64>,
        below: Below,
    ) -> Result<(), OutOfMemory> {
        if let Some((record, _)) = found
            && expiry_ms.is_none()
            && record.overwrite_word(self.memory.arena(), self.current, value)
        {
            return Ok(());
        }
        self.set_cell(probe, found, VALUE, value, expiry_ms, below)
    }

    /// Deletes a cell: the record goes at once where nothing older is on disk, else it becomes a tombstone.
    pub fn delete_cell(
        &mut self,
        probe: &Probe<'_>,
        found: Option<(Record, Place)>,
        below: Below,
    ) -> Result<(), OutOfMemory> {
        self.deletions += 1;
        match found {
            Some((record, place)) if record.has(FRESH) && record.stamp(self.arena()) == self.current => {
                self.discard(probe, place, record);
                Ok(())
            }
            Some((record, _)) if record.kind() == TOMBSTONE => Ok(()),
            None if below == Below::Nothing => Ok(()),
            // Where the layout has room for an expiry it is kept; a tombstone's is never looked at.
            Some((record, _)) => self.set_cell(probe, found, TOMBSTONE, &[], record.has(EXPIRY).then_some(0), below),
            None => self.set_cell(probe, found, TOMBSTONE, &[], None, below),
        }
    }

    #[inline(never)]
    pub(super) fn set_cell(
        &mut self,
        probe: &Probe<'_>,
        found: Option<(Record, Place)>,
        kind: u8,
        value: &[u8],
        expiry_ms: Option<u64>,
        below: Below,
    ) -> Result<(), OutOfMemory> {
        let flags = Self::flags(probe, expiry_ms);
        let Some((mut old, place)) = found else {
            let fresh = if below == Below::Nothing { FRESH } else { 0 };
            let record = self.create(probe, kind | flags | fresh, value, expiry_ms)?;
            return self.add(probe, probe.hash, record);
        };
        let kept = old.tag() & FRESH;
        let same_layout = matches!(old.kind(), VALUE | TOMBSTONE) && old.has(EXPIRY) == expiry_ms.is_some();
        let in_place = same_layout
            && (value.len() <= old.value_len() || value.len() <= old.capacity(&self.memory))
            && self.claim(probe, &mut old)?;
        if in_place {
            let fresh = old.tag() & FRESH;
            self.resized(old.value_len(), value.len());
            old.replace(self.memory.arena(), kind | flags | fresh | USED, expiry_ms, value);
            return Ok(());
        }
        let is_current = old.stamp(self.arena()) == self.current;
        let fresh = if is_current { kept } else { 0 };
        let record = self.create(probe, kind | flags | fresh | USED, value, expiry_ms)?;
        self.supersede_chain(probe, place, old, record)
    }

    pub(super) fn create(
        &mut self,
        probe: &Probe<'_>,
        tag: u8,
        value: &[u8],
        expiry_ms: Option<u64>,
    ) -> Result<Record, OutOfMemory> {
        let parts = Parts {
            tag,
            stamp: self.current,
            link: 0,
            expiry_ms: expiry_ms.unwrap_or(0),
            area: probe.area,
            value: [value, &[]],
            spare: 0,
        };
        Record::create(&mut self.memory, parts).ok_or(OutOfMemory { bytes: value.len() })
    }

    /// Keeps a value that was read from disk, clean; `epoch` is at most the flushed one. Nothing happens where memory
    /// is out: the value can be read again.
    pub fn promote_cell(&mut self, probe: &Probe<'_>, value: &[u8], expiry_ms: Option<u64>, epoch: u32) {
        let parts = Parts {
            tag: VALUE | Self::flags(probe, expiry_ms),
            stamp: epoch.min(self.flushed),
            link: 0,
            expiry_ms: expiry_ms.unwrap_or(0),
            area: probe.area,
            value: [value, &[]],
            spare: 0,
        };
        let Some(record) = Record::create(&mut self.memory, parts) else { return };
        if self.insert(probe, probe.hash, record).is_err() {
            self.memory.retire_record(record.at, record.class());
        }
    }
}
