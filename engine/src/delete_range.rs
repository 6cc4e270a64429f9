//! Deleting a range of a map's entries as a whole: memory cuts it out of the map's order, and a marker hides what the
//! segments have of it; neither depends on how many entries there are.

use crate::changelog::record::Change;
use crate::error::{Error, Result};
use crate::hot::Probe;
use crate::hot::cell::Below;
use crate::key::Key;
use crate::read;
use crate::scan::{self, MapRange};
use crate::shard::Core;
use crate::spans::END_BYTES_MAX;
use crate::states::StateDef;
use crate::write::Halt;
use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

/// How many entries are deleted at once where that is done one by one.
const AT_ONCE: usize = 256;

/// The first user key of a range and the first one behind it; `None` where no entry can lie in it.
#[expect(clippy::type_complexity, reason = "two ends, of which one may be missing")]
pub(crate) fn ends(range: &MapRange<'_>) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>> {
    let (from, to) = range.ends();
    let (from, to) = (from.into_owned(), to.map(Cow::into_owned));
    let bytes = from.len().max(to.as_ref().map_or(0, Vec::len));
    if bytes > END_BYTES_MAX {
        return Err(Error::TooLong { what: "end of a range", bytes, max_bytes: END_BYTES_MAX });
    }
    Ok(to.as_ref().is_none_or(|to| from < *to).then_some((from, to)))
}

/// Deletes a range. False, and nothing was done, where it has to be done with [`one_by_one`].
pub(crate) fn at_once(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    range: (&[u8], Option<&[u8]>),
) -> Result<bool, Halt> {
    core.hot.spread(probe)?;
    delete(core, def, key, probe, range)
}

/// Deletes what lies below `to`, which is no further than what is loaded of the front. False, and nothing was done, where it has to be done
/// entry by entry.
pub(crate) fn front(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>, to: &[u8]) -> Result<bool, Halt> {
    delete(core, def, key, probe, (&[], Some(to)))
}

fn delete(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    (from, to): (&[u8], Option<&[u8]>),
) -> Result<bool, Halt> {
    let below = below(core, def, key, probe)?;
    let done = core.hot.delete_range(probe, from, to, below)?;
    if done {
        core.log(def.id, key, Change::MapDeleteRange(from, to), None);
    }
    Ok(done)
}

/// Whether the segments may have anything of the map. A map that is older than the epoch mostly is on disk: the filters,
/// which may have to be read, are asked for others alone.
fn below(core: &Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Below, Halt> {
    // What was put far may be on its way to the disk.
    if core.hot.find_root(probe).is_some_and(|(root, _)| core.hot.has_far(root)) {
        return Ok(Below::Perhaps);
    }
    let is_old = core.hot.find_root(probe).is_some_and(|(root, _)| root.stamp(core.hot.arena()) != core.hot.current);
    if is_old && core.hot.head(probe).is_spilled() && !core.hot.is_cleared(probe) {
        return Ok(Below::Perhaps);
    }
    read::below_map(core, def, key, probe)
}

/// Deletes the next entries of a range, and moves its start behind them; false where there are no more.
pub(crate) fn one_by_one(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    from: &mut Vec<u8>,
    to: Option<&[u8]>,
) -> Result<bool, Halt> {
    let range = MapRange::between(Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
    let mut keys: Vec<Vec<u8>> = Vec::with_capacity(AT_ONCE);
    scan::map(core, def, key, probe, &range, &mut |user_key, _| {
        keys.push(user_key.to_vec());
        if keys.len() < AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for user_key in &keys {
        crate::change::map_delete(core, def, key, probe, user_key)?;
        // Where memory runs out the rest is done the next time.
        from.clone_from(user_key);
    }
    Ok(keys.len() == AT_ONCE)
}
