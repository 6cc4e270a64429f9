//! States: registering and describing them.

use crate::entry::{NOT_FOUND, answer, bytes, natives, state};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use alluvium::{LogMode, MergeOperator, Purge, StateOptions, Ttl};
use alluvium_ffi::Misuse;
use alluvium_ffi::handles::{self, Handle};
use jni::sys::{jint, jlong};

fn state_options(request: &mut Request<'_>) -> Result<StateOptions, Misuse> {
    let (kind, name, operator) = (request.int()?, request.text()?, request.text()?);
    let mut options = match kind {
        0 => StateOptions::value(name),
        1 => StateOptions::list(name),
        2 => StateOptions::map(name),
        3 => {
            let built_in = MergeOperator::built_in(operator);
            let unknown = Misuse::Argument("no merge operator of this name is built in");
            StateOptions::merging(name, built_in.ok_or(unknown)?)
        }
        _ => return Err(Misuse::Argument("an unknown kind of state")),
    };
    let (ttl_ms, refresh_on_read) = (request.long()? as u64, request.flag()?);
    if ttl_ms > 0 {
        options = options.ttl(Ttl { duration_ms: ttl_ms, refresh_on_read });
    }
    let (purge_ms, time_at) = (request.long()? as u64, request.int()?);
    if purge_ms > 0 {
        let time_at = u32::try_from(time_at).map_err(|_| Misuse::Argument("a place below 0"))?;
        options = options.purge(Purge { duration_ms: purge_ms, time_at });
    }
    options = options.user(request.bytes()?).log(match request.int()? {
        0 => LogMode::State,
        1 => LogMode::Event,
        2 => LogMode::Auto,
        _ => return Err(Misuse::Argument("how a state's changes are logged is unknown")),
    });
    Ok(if request.flag()? { options.traced() } else { options })
}

natives! {
    /// Registers a state, or finds it, and says its number.
    fn storeState(store: jlong, address: jlong, len: jint) {
        let options = state_options(&mut Request(bytes(address, len)?))?;
        Ok(handles::get::<StoreObject>(store as Handle)?.store.state(options)?.id().0.into())
    }

    /// A state's kind, name and schema, the name of its operator, how its changes are logged, whether it is
    /// traced, and when its values expire.
    fn storeDescribe(store: jlong, number: jint, into: jlong, capacity: jint) {
        let states = handles::get::<StoreObject>(store as Handle)?.store.states();
        let Some(def) = states.get(usize::from(state(number)?.id().0)) else { return Ok(NOT_FOUND) };
        let mut out = Response::default();
        out.int(def.kind as i32).bytes(def.name.as_bytes()).bytes(&def.user).bytes(def.merge_name.as_bytes());
        out.int(match def.log {
            LogMode::State => 0,
            LogMode::Event => 1,
            LogMode::Auto => 2,
        });
        out.int(def.traced.into());
        let (ttl, purge) = (def.ttl.as_ref(), def.purge.as_ref());
        out.long(ttl.map_or(0, |ttl| ttl.duration_ms)).int(ttl.is_some_and(|ttl| ttl.refresh_on_read).into());
        out.long(purge.map_or(0, |purge| purge.duration_ms)).int(purge.map_or(0, |purge| purge.time_at as i32));
        answer(out.0, into, capacity)
    }
}
