//! Triggers: what a host is told of, its own conditions among them.

use crate::entry::{self, Outcome, answer, count, natives};
use crate::repair::{event, put_event};
use crate::store::StoreObject;
use crate::upcall::HostCall;
use crate::wire::Response;
use alluvium::{Applying, Invariant, Trigger, TriggerId};
use alluvium_ffi::applying;
use alluvium_ffi::handles::{self, Handle};
use alluvium_ffi::{Failure, Misuse};
use jni::objects::{JObject, JValue};
use jni::sys::{jint, jlong};
use jni::{EnvUnowned, Outcome as EnvOutcome, jni_sig, jni_str};
use std::fmt;
use std::sync::Arc;

/// What a failure of an invariant is told by.
const NAME: &str = "an invariant";
/// What an invariant comes to that holds.
const HOLDS: jint = 1;
/// How much an answer of what fired takes, in bytes: before them all,
const HEAD_BYTES: usize = 16;
/// and for each.
const FIRED_BYTES: usize = 24;

/// A host's invariant. Java's store keeps the object that is called, as of handlers, until it is told of it no more.
struct HostInvariant {
    call: HostCall,
    key_groups: u32,
}

impl fmt::Debug for HostInvariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostInvariant")
    }
}

impl Invariant for HostInvariant {
    fn holds(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<bool> {
        applying::lend_asking(NAME, applying, self.key_groups, |id| {
            // It holds where it was let go of while this event was applied.
            self.call.run(HOLDS, |env, call| {
                let event = env.byte_array_from_slice(event)?;
                let arguments = [JValue::Object(&event), JValue::Long(id as jlong)];
                env.call_method(call, jni_str!("holds"), jni_sig!("([BJ)I"), &arguments)?.i()
            })
        })
    }
}

fn watch(call: HostCall, store: jlong) -> Outcome {
    let object = handles::get::<StoreObject>(store as Handle)?;
    let invariant = HostInvariant { call, key_groups: object.store.key_groups() };
    Ok(object.store.watch(Trigger::Invariant(Arc::new(invariant))).number() as jlong)
}

/// Has the host told of events after which something doesn't hold.
#[unsafe(export_name = "Java_io_alluvium_Native_storeWatchInvariant")]
pub extern "system" fn store_watch_invariant<'local>(
    mut env: EnvUnowned<'local>,
    _class: jni::objects::JClass<'local>,
    store: jlong,
    call: JObject<'local>,
) -> jlong {
    let found = env.with_env(|env| HostCall::new(env, &call));
    entry::call(|| match found.into_outcome() {
        EnvOutcome::Ok(call) => watch(call, store),
        EnvOutcome::Err(_) | EnvOutcome::Panic(_) => {
            Err(Misuse::Argument("an invariant that can't be referred to").into())
        }
    })
}

natives! {
    /// Has the host told of stragglers (0) or an event (1).
    fn storeWatch(store: jlong, what: jint, source: jint, offset: jlong) {
        let trigger = match what {
            0 => Trigger::Straggler,
            1 => Trigger::Event(event(source, offset)),
            _ => return Err(Failure::from(Misuse::Argument("an unknown kind of trigger"))),
        };
        Ok(handles::get::<StoreObject>(store as Handle)?.store.watch(trigger).number() as jlong)
    }

    /// Has the host not told of a trigger any more.
    fn storeUnwatch(store: jlong, trigger: jlong) {
        handles::get::<StoreObject>(store as Handle)?.store.unwatch(TriggerId::numbered(trigger as u64));
        Ok(0)
    }

    /// What fired, as much as there is room for, as nobody is told of it twice: `lost i64 | whether there is no room for more i32 | count i32`, and
    /// `trigger i64 | group i32 | source i32 | offset i64` each.
    fn storeFired(store: jlong, into: jlong, capacity: jint) {
        let room = count(capacity.into())?.saturating_sub(HEAD_BYTES) / FIRED_BYTES;
        let (fired, lost) = handles::get::<StoreObject>(store as Handle)?.store.fired_up_to(room);
        let mut out = Response::default();
        out.long(lost).int((fired.len() == room).into()).int(fired.len() as i32);
        for one in &fired {
            out.long(one.trigger.number()).int(one.group.0.into());
            put_event(&mut out, one.event);
        }
        answer(out.0, into, capacity)
    }
}
