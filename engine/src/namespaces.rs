//! Merging namespaces: what lists and merging states hold under several namespaces of a key moves to one of them, as
//! session windows do when they grow together.

use crate::change;
use crate::error::{Error, Result};
use crate::hot::{OutOfMemory, Probe};
use crate::key::Key;
use crate::read;
use crate::shard::Core;
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use crate::write::Halt;

/// What a record takes beside its parts, about, in bytes.
const RECORD_BYTES: usize = 64;

/// How far a merge has come: memory may run out on the way, and what is done is not done again.
#[derive(Debug, Default)]
pub struct Progress {
    /// The sources' values, oldest source first, once they are read.
    values: Option<Vec<Vec<u8>>>,
    added: bool,
    deleted: usize,
}

/// States whose namespaces can be merged.
pub const KINDS: [StateKind; 2] = [StateKind::List, StateKind::Merging];

/// Runs a merge to its end. One that can't come to it when it has added something would, if it were tried again, add that twice: without a
/// transaction to undo nothing leads back, and the store fails.
pub fn whole(store: &StoreInner, run: impl FnOnce(&mut Progress) -> Result<()>) -> Result<()> {
    let mut progress = Progress::default();
    let outcome = run(&mut progress);
    if let Err(error) = &outcome
        && progress.added
        && !store.options.transactional
    {
        let failed = Error::Background(format!("namespaces were merged half-way: {error}"));
        store.fail(&failed);
        return Err(failed);
    }
    outcome
}

/// Adds what the sources hold to the target, in their order, and deletes it there. A source that is the target stays.
pub fn merge(
    core: &mut Core,
    def: &StateDef,
    group: u16,
    target: Key<'_>,
    sources: &[&[u8]],
    progress: &mut Progress,
) -> Result<(), Halt> {
    let is_first = |index: usize, source: &[u8]| !sources[..index].contains(&source);
    let sources = || {
        let others = sources.iter().copied().enumerate().filter(|(_, source)| *source != target.namespace);
        others.filter(|(index, source)| is_first(*index, source)).map(|(_, source)| source)
    };
    if progress.values.is_none() {
        let mut values = Vec::new();
        for source in sources() {
            let key = target.in_namespace(source);
            values.extend(at(core, def, group, key, |core, probe| read::folded(core, def, key, probe))?);
        }
        let bytes: usize = values.iter().map(Vec::len).sum();
        // What is left to do is a few records; were there no room for the last of them, a barrier could come in between.
        let bytes = bytes + sources().map(|source| RECORD_BYTES + target.key.len() + source.len()).sum::<usize>();
        if !core.hot.memory.has_room(bytes) {
            return Err(OutOfMemory { bytes }.into());
        }
        progress.values = Some(values);
    }
    if !progress.added {
        let values = progress.values.as_deref().unwrap_or_default();
        at(core, def, group, target, |core, probe| add(core, def, target, probe, values))?;
        progress.added = true;
    }
    for source in sources().skip(progress.deleted) {
        let key = target.in_namespace(source);
        let deleted = at(core, def, group, key, |core, probe| change::delete(core, def, key, probe));
        core.hot.set_unfinished(matches!(deleted, Err(Halt::Memory(_))));
        deleted?;
        progress.deleted += 1;
    }
    Ok(())
}

/// Adds values to what is there, which isn't read unless it has to be.
fn add(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>, values: &[Vec<u8>]) -> Result<(), Halt> {
    if values.is_empty() {
        return Ok(());
    }
    let all = def.fold_within(None, values.iter().map(Vec::as_slice), core.hot.now_ms, core.hot.value_bytes_max)?;
    if def.kind == StateKind::Merging {
        return change::merge(core, def, key, probe, &all);
    }
    if all.is_empty() {
        return Ok(());
    }
    change::append_frames(core, def, key, probe, [&all, &[]])
}

/// Runs an operation on one key.
fn at<R>(
    core: &mut Core,
    def: &StateDef,
    group: u16,
    key: Key<'_>,
    operation: impl FnOnce(&mut Core, &Probe<'_>) -> Result<R, Halt>,
) -> Result<R, Halt> {
    let mut scratch = Vec::new();
    let (area, namespaced) = read::area(key, &mut scratch);
    let probe = core.hot.probe(def.id.0, group, area, namespaced);
    operation(core, &probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use crate::{Engine, EngineOptions, Store, StoreOptions};

    #[test]
    fn a_merge_that_ends_half_way_fails_a_store_that_has_no_transaction_to_undo() {
        for (transactional, added) in [(false, false), (false, true), (true, true)] {
            let directory = tempfile::tempdir().unwrap();
            let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
            let options = StoreOptions { transactional, ..Default::default() };
            let store = Store::create(&engine, directory.path(), options).unwrap();
            let full = |progress: &mut Progress| {
                progress.added = added;
                Err(Error::Budget { bytes: 1, budget_bytes: 4 << 20 })
            };
            let failed = whole(&store.inner, full).unwrap_err();
            let is_lost = added && !transactional;
            assert_eq!(failed.class() == Class::Retry, !is_lost, "{failed:?}");
            assert_eq!(store.snapshot().is_err(), is_lost);
        }
    }
}
