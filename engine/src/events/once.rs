//! Events that are known by their ids: each is applied once to a key group, as a whole, and logged with what it read and wrote.
//!
//! Which event of each source was applied last to a key group is a value in a state of the engine's own. It is noted before the handler is
//! called, and taken back where that fails, so it goes wherever the event's changes go: into the same commit, checkpoint, spill or rollback. The
//! record of an event that is logged as such says it as well, so no change of it is logged then.
//!
//! Noting is mostly one store to a word: a shard remembers the [places](crate::hot::places) of these values.

use super::{Applying, Handler, HandlerId};
use crate::changelog::record::Event;
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup};
use crate::key::Key;
use crate::shard::{Core, Shard};
use crate::store::State;
use crate::triggers;
use crate::write;
use crate::writer::Writer;

/// What came of noting that an event is applied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Noted {
    /// It, or one behind it, was applied before.
    Before,
    /// It is noted; the last one before it.
    Since(Option<[u8; 8]>),
}

impl Noted {
    fn after(last: u64, id: EventId) -> Self {
        if id.offset <= last { Self::Before } else { Self::Since(Some(last.to_le_bytes())) }
    }
}

/// Has a handler apply an event once, whole, and logs it with what it read and wrote. False where it was applied before.
pub(crate) fn apply_once(
    writer: &mut Writer,
    (handler_id, handler): (HandlerId, &dyn Handler),
    group: KeyGroup,
    id: EventId,
    event: &[u8],
) -> Result<bool> {
    let applied = writer.store().applied_state()?;
    let (mark, now_ms, quickly) = writer.begin_event_once(applied, group, id)?;
    let noted = quickly.map_or_else(|| note(writer, applied, group, id), Ok);
    let last = match noted {
        Ok(Noted::Since(last)) => last,
        outcome => {
            writer.end_event();
            return outcome.map(|_| false);
        }
    };
    let mut applying = Applying { traces: true, ..Applying::new(writer, group, now_ms, None, None) };
    let outcome = crate::error::catch(|| handler.apply(event, &mut applying));
    let Applying { drawn, modes, .. } = applying;
    if outcome.is_err() {
        let taken_back = put_last(writer, applied, (group, id.source), last);
        if let Err(error) = &taken_back {
            // It would count as applied: the store recovers from what was committed. To try again is no help, whatever it failed for.
            writer.store().fail(&Error::Background(format!("an event that failed could not be taken back: {error}")));
        }
        writer.end_event();
        taken_back?;
    } else if !modes.state || !writer.trace().is_empty() {
        let logged = Event { handler: handler_id.0, group, now_ms, event, determinants: &drawn };
        writer.end_traced(mark, (handler.name(), handler.version()), (id, logged));
    } else {
        // Its changes are logged, and what was noted with them.
        writer.end_logged(quickly.map(|_| (applied, group, id)));
    }
    outcome?;
    triggers::look(writer, (group, now_ms), (id, event))?;
    Ok(true)
}

/// Notes that an event is applied, unless its key group knows that it, or one behind it, was; `None` where there is more to it than a word.
/// Nothing is logged.
#[inline]
pub(crate) fn note_quickly(
    shard: &Shard,
    core: &mut Core,
    applied: State,
    group: KeyGroup,
    id: EventId,
) -> Option<Noted> {
    if write::wants_care(shard, core) {
        return None;
    }
    let place = core.hot.at_place(applied.id().0, group.0 - shard.range.first(), id.source)?;
    let noted = Noted::after(u64::from_le_bytes(place.value()), id);
    if let Noted::Since(_) = noted {
        place.change(|_| Some(id.offset.to_le_bytes())).ok()?;
    }
    core.counts.operations += 1;
    core.counts.hits += 1;
    Some(noted)
}

/// The same whatever there is to it, and logs it as a change. From then on it may be quick.
fn note(writer: &mut Writer, applied: State, group: KeyGroup, id: EventId) -> Result<Noted> {
    let source = id.source.to_be_bytes();
    let key = Key::new(group, &source);
    let last: Option<[u8; 8]> = writer.get(applied, key)?.and_then(|last| last.try_into().ok());
    let noted = last.map_or(Noted::Since(None), |last| Noted::after(u64::from_le_bytes(last), id));
    // What is passed over has changed nothing: nothing is staged by it, nor logged.
    if let Noted::Since(_) = noted {
        writer.put(applied, key, &id.offset.to_le_bytes())?;
    }
    writer.remember_place(applied, group, id.source);
    Ok(noted)
}

/// Makes an event the last of its source that was applied to a key group, or none.
pub(super) fn put_last(
    writer: &mut Writer,
    applied: State,
    (group, source): (KeyGroup, u32),
    last: Option<[u8; 8]>,
) -> Result<()> {
    let source = source.to_be_bytes();
    let key = Key::new(group, &source);
    match last {
        Some(last) => writer.put(applied, key, &last),
        None => writer.delete(applied, key),
    }
}
