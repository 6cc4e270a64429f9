//! What a manifest says of migrations: which conversions led to a state's schema, and which values are of an older one.
//!
//! The section is there only if some state was ever migrated; a manifest without it is as it was before there were
//! migrations. A stack entry names a map and, with it, its marks: pairs of the two are numbered on behind the maps.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::check::{Invalid, Section, require};
use super::format::{push_len, push_name, take_name};
use super::{Manifest, NAME_BYTES_MAX, StackEntry, StateInfo, StateMap};
use crate::codec::{DecodeError, Reader};
use crate::convert::STEPS_MAX;
use crate::ids::StateId;

// No item takes fewer bytes: what bounds a count by the bytes left.
const STATE_BYTES_MIN: usize = 14;
const NAME_BYTES_MIN: usize = 2;
const PAIR_BYTES_MIN: usize = 8;
const MARK_BYTES: usize = 4;

/// Which states' values are of an older schema in a segment: how many of the last of the state's conversions
/// ([`StateInfo::conversions`]) they have yet to go through, at least one. Ascending by state, as the store numbers them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Marks(pub Vec<(StateId, u16)>);

/// Whether a manifest says anything of migrations.
pub(super) fn has_marks(manifest: &Manifest) -> bool {
    manifest.marks.len() > 1 || manifest.states.iter().any(was_migrated)
}

fn was_migrated(state: &StateInfo) -> bool {
    state.lineage != 0 || !state.conversions.is_empty()
}

/// The numbers by which stack entries name a map and marks: those below the count of maps are maps without marks.
pub(super) struct Numbered {
    maps: u32,
    pairs: Vec<(u32, u32)>,
    numbers: HashMap<(u32, u32), u32>,
}

impl Numbered {
    /// Without any marks.
    pub(super) fn new(maps: &[StateMap]) -> Self {
        Self { maps: maps.len() as u32, pairs: Vec::new(), numbers: HashMap::new() }
    }

    /// Those that a manifest's stacks use, so ordered that marks keep their numbers.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut numbered = Self::new(&manifest.maps);
        let entries = manifest.slices.iter().flat_map(|slice| &slice.stack).filter(|entry| entry.marks > 0);
        let used: BTreeSet<(u32, u32)> = entries.map(|entry| (entry.marks, entry.map)).collect();
        used.into_iter().for_each(|(marks, map)| numbered.add((map, marks)));
        numbered
    }

    fn add(&mut self, pair: (u32, u32)) {
        let number = self.maps + self.pairs.len() as u32;
        if *self.numbers.entry(pair).or_insert(number) == number {
            self.pairs.push(pair);
        }
    }

    /// How an entry names its map and its marks.
    pub(super) fn number(&self, entry: &StackEntry) -> u32 {
        if entry.marks == 0 { entry.map } else { self.numbers.get(&(entry.map, entry.marks)).copied().unwrap_or(0) }
    }

    /// The map and the marks that a number names; a map that isn't there where it names nothing.
    pub(super) fn pair(&self, number: u32) -> (u32, u32) {
        let marked = number.checked_sub(self.maps).and_then(|at| self.pairs.get(at as usize));
        marked.copied().unwrap_or((number, 0))
    }
}

pub(super) fn push_marks(out: &mut Vec<u8>, manifest: &Manifest, numbered: &Numbered) {
    push_len(out, manifest.states.iter().filter(|state| was_migrated(state)).count());
    for state in manifest.states.iter().filter(|state| was_migrated(state)) {
        out.extend_from_slice(&state.id.0.to_le_bytes());
        out.extend_from_slice(&state.lineage.to_le_bytes());
        push_len(out, state.conversions.len());
        state.conversions.iter().for_each(|name| push_name(out, name));
    }
    push_len(out, numbered.pairs.len());
    for &(map, marks) in &numbered.pairs {
        let Marks(marks) = &manifest.marks[marks as usize];
        out.extend_from_slice(&map.to_le_bytes());
        push_len(out, marks.len());
        for (state, steps) in marks {
            out.extend_from_slice(&state.0.to_le_bytes());
            out.extend_from_slice(&steps.to_le_bytes());
        }
    }
}

/// Reads the section: the states learn their lineages and conversions.
pub(super) fn take_marks(
    reader: &mut Reader<'_>,
    states: &mut [StateInfo],
    mut numbered: Numbered,
) -> Result<(Vec<Marks>, Numbered), DecodeError> {
    let mut next = 0;
    let migrated = reader.count(STATE_BYTES_MIN)?;
    for _ in 0..migrated {
        let at = reader.at();
        let id = usize::from(reader.u16()?);
        let lineage = reader.u64()?;
        let count = reader.count(NAME_BYTES_MIN)?;
        let mut conversions = Vec::with_capacity(count);
        for _ in 0..count {
            conversions.push(take_name(reader)?);
        }
        let ascends = id >= std::mem::replace(&mut next, id + 1);
        match states.get_mut(id).filter(|_| ascends && lineage != 0) {
            Some(state) => (state.lineage, state.conversions) = (lineage, conversions),
            None => return Err(DecodeError::new(at, "not a state that was migrated, in its order")),
        }
    }
    let mut all = vec![Marks::default()];
    let mut known: HashMap<Marks, u32> = HashMap::new();
    for _ in 0..reader.count(PAIR_BYTES_MIN)? {
        let map = reader.u32()?;
        let count = reader.count(MARK_BYTES)?;
        let mut marks = Vec::with_capacity(count);
        for _ in 0..count {
            marks.push((StateId(reader.u16()?), reader.u16()?));
        }
        let marks = Marks(marks);
        let number = *known.entry(marks.clone()).or_insert_with(|| {
            all.push(marks);
            all.len() as u32 - 1
        });
        let before = numbered.pairs.len();
        numbered.add((map, number));
        if map >= numbered.maps || numbered.pairs.len() == before {
            return Err(reader.error("a marked map that is none, or there already"));
        }
    }
    if migrated == 0 {
        return Err(reader.error("a section of marks that says nothing"));
    }
    Ok((all, numbered))
}

impl Manifest {
    pub(super) fn check_marks(&self) -> Result<(), Invalid> {
        for (index, state) in self.states.iter().enumerate() {
            let count = state.conversions.len();
            require!(count <= STEPS_MAX, States, "state {index} has {count} conversions before it");
            require!(count == 0 || state.lineage != 0, States, "state {index} has conversions and was not migrated");
            let too_long = state.conversions.iter().find(|name| name.len() > NAME_BYTES_MAX);
            require!(too_long.is_none(), States, "state {index}: a conversion's name that is too long");
        }
        let count = self.marks.len();
        require!(u32::try_from(count + self.maps.len()).is_ok(), Marks, "{count} marks");
        require!(self.marks.first() == Some(&Marks::default()), Marks, "marks 0 are not empty");
        let mut known = HashSet::new();
        for (index, Marks(marks)) in self.marks.iter().enumerate().skip(1) {
            require!(!marks.is_empty(), Marks, "marks {index} are empty");
            require!(known.insert(marks), Marks, "marks {index} are there twice");
            require!(marks.is_sorted_by(|a, b| a.0 < b.0), Marks, "marks {index} are not in ascending order");
            for &(state, steps) in marks {
                let of = self.states.get(usize::from(state.0)).map_or(0, |state| state.conversions.len());
                require!(
                    (1..=of).contains(&usize::from(steps)),
                    Marks,
                    "marks {index}: {steps} of {of} conversions of state {}",
                    state.0
                );
            }
        }
        let used = |marks| self.slices.iter().flat_map(|slice| &slice.stack).any(|entry| entry.marks as usize == marks);
        let unused = (1..count).find(|&marks| !used(marks));
        require!(unused.is_none(), Marks, "no stack entry has marks {}", unused.unwrap_or(0));
        Ok(())
    }
}
