//! What a store knows of its states: as they are registered, as manifests list them, and as the changelog has them.

use crate::error::{Error, Result};
use crate::ids::StateId;
use crate::manifest::format::decode_state;
use crate::manifest::{Manifest, StateInfo};
use crate::states::{
    LogMode, MergeOperator, STATES_BYTES_MAX, StateDef, StateKind, StateOptions, decode_expiry, definition,
    encode_expiry,
};
use std::sync::Arc;

/// What a manifest says of a state.
pub fn state_info(state: &StateDef) -> StateInfo {
    StateInfo {
        name: state.name.clone(),
        id: state.id,
        kind: state.kind as u8,
        ttl: encode_expiry(state.ttl, state.purge),
        merge: state.merge_name.clone(),
        user: state.user.clone(),
        lineage: state.lineage,
        conversions: Vec::new(),
    }
}

/// The definition of a state that is registered for the first time.
pub fn new_state(states: &[Arc<StateDef>], options: StateOptions) -> Result<StateDef> {
    let Ok(id) = u16::try_from(states.len()) else {
        return Err(Error::State { state: options.name, problem: "a store has at most 65,536 states".into() });
    };
    Ok(definition(StateId(id), options))
}

/// Checks that manifests have room for a state, in the place of the one of its number if there is one. What doesn't
/// grow has its room: a store may have been put together from several that are described at length.
pub fn check_room(states: &[Arc<StateDef>], def: &StateDef) -> Result<()> {
    let bytes_of = |state: &Arc<StateDef>| state.described_bytes();
    let before = states.get(usize::from(def.id.0)).map_or(0, bytes_of);
    let bytes = states.iter().map(bytes_of).sum::<usize>() - before + def.described_bytes();
    if bytes > STATES_BYTES_MAX && def.described_bytes() > before {
        let problem = format!("names and schemas of all states of {bytes} bytes are longer than {STATES_BYTES_MAX}");
        return Err(Error::State { state: def.name.clone(), problem });
    }
    Ok(())
}

pub fn check_same(known: &StateDef, options: &StateOptions) -> Result<()> {
    let problem = |problem: String| Err(Error::State { state: options.name.clone(), problem });
    if known.kind != options.kind {
        return problem(format!("registered as {:?}, asked for as {:?}", known.kind, options.kind));
    }
    let asked = options.merge.as_ref().map_or("", |operator| operator.name());
    if known.merge_name != asked {
        return problem(format!("merges by {:?}, asked for with {asked:?}", known.merge_name));
    }
    if known.kind.settles_expiry() && known.ttl.is_some() != options.ttl.is_some() {
        return problem(format!("whether the values of a {:?} state expire is settled when it is made", known.kind));
    }
    Ok(())
}

/// The states that a manifest lists.
pub fn state_defs(manifest: &Manifest) -> Result<Vec<Arc<StateDef>>> {
    manifest.states.iter().map(state_def).collect()
}

fn state_def(info: &StateInfo) -> Result<Arc<StateDef>> {
    let problem = |problem: String| Error::State { state: info.name.clone(), problem };
    let kind = StateKind::from_u8(info.kind).ok_or_else(|| problem(format!("unknown kind {}", info.kind)))?;
    let (ttl, purge) = match &info.ttl {
        None => (None, None),
        Some(bytes) => decode_expiry(bytes).ok_or_else(|| problem("unreadable time to live".into()))?,
    };
    Ok(Arc::new(StateDef {
        id: info.id,
        name: info.name.clone(),
        kind,
        ttl,
        purge,
        merge: MergeOperator::built_in(&info.merge),
        merge_name: info.merge.clone(),
        user: info.user.clone(),
        log: LogMode::State,
        traced: false,
        lineage: info.lineage,
    }))
}

/// Adds what a changelog says of a state to those of the checkpoint that comes before it.
pub fn add_logged_state(states: &mut Vec<Arc<StateDef>>, described: &[u8]) -> Result<()> {
    let info =
        decode_state(described).map_err(|error| Error::Background(format!("a state in the changelog: {error}")))?;
    let def = state_def(&info)?;
    match states.iter().position(|known| known.name == def.name) {
        Some(at) if states[at].kind == def.kind => {
            let (id, lineage) = (states[at].id, states[at].lineage);
            states[at] = Arc::new(StateDef { id, lineage, ..(*def).clone() });
        }
        None if usize::from(def.id.0) == states.len() => states.push(def),
        _ => {
            let problem = "the changelog and the checkpoint before it disagree on it".into();
            return Err(Error::State { state: def.name.clone(), problem });
        }
    }
    Ok(())
}
