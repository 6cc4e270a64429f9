//! Cells in memory: full values and their tombstones.

use crate::hot::record::{
    ENTRY, EXPIRY, FRESH, LONE, NAMESPACE, Parts, Record, TOMBSTONE, USED, VALUE, first_flags, is_cell,
};
use crate::hot::table::Place;
use crate::hot::{Hot, OutOfMemory, Probe};

/// What a write knows about older versions on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Below {
    /// Nothing older is on disk, or it is masked.
    Nothing,
    /// Memory has nothing older, and the disk wasn't asked.
    Unasked,
    /// There may be something.
    Perhaps,
}

impl Below {
    /// What a record says of it that is new.
    pub(super) const fn flag(self) -> u8 {
        match self {
            Self::Nothing => FRESH,
            Self::Unasked => LONE,
            Self::Perhaps => 0,
        }
    }
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
            Some((record, place)) if self.goes_at_once(record, below) => {
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

    /// Whether the disk is to be asked before this record is deleted: it wasn't when it was written.
    #[inline]
    pub fn is_unasked(&self, record: Record) -> bool {
        matches!(record.kind(), VALUE | ENTRY) && record.has(LONE) && record.stamp(self.arena()) == self.current
    }

    /// Whether deleting the record takes no tombstone; `below` is what the disk said, where it is to be asked.
    pub(super) fn goes_at_once(&self, record: Record, below: Below) -> bool {
        record.has(FRESH) && record.stamp(self.arena()) == self.current
            || below == Below::Nothing && self.is_unasked(record)
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
            let record = self.create(probe, kind | flags | below.flag() & first_flags(kind), value, expiry_ms)?;
            return self.add(probe, probe.hash, record);
        };
        let kept = |old: Record| old.tag() & first_flags(old.kind()) & first_flags(kind);
        let same_layout = matches!(old.kind(), VALUE | TOMBSTONE) && old.has(EXPIRY) == expiry_ms.is_some();
        let in_place = same_layout
            && (value.len() <= old.value_len() || value.len() <= old.capacity(&self.memory))
            && self.claim(probe, &mut old)?;
        if in_place {
            self.resized(old.value_len(), value.len());
            old.replace(self.memory.arena(), kind | flags | kept(old) | USED, expiry_ms, value);
            return Ok(());
        }
        let is_current = old.stamp(self.arena()) == self.current;
        let fresh = if is_current { kept(old) } else { 0 };
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
