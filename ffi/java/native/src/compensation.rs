//! Making up for an event by a function of the host's.

use crate::entry::{self, Outcome, answer};
use crate::repair::{event, put_event, put_events, repaired};
use crate::upcall::{HostCall, NOT_CALLED};
use crate::wire::Response;
use crate::writer::of;
use alluvium::{Applying, BadEvent, Compensation, Dependents, EventId};
use alluvium_ffi::Misuse;
use alluvium_ffi::applying;
use jni::objects::{JObject, JValue};
use jni::sys::{jint, jlong};
use jni::{EnvUnowned, Outcome as EnvOutcome, jni_sig, jni_str};

/// What a failure of the function is told by.
const NAME: &str = "the function that makes up for an event";

/// What is told of an event beside itself.
fn told(bad: &BadEvent<'_>) -> Vec<u8> {
    let mut out = Response::default();
    put_event(&mut out, bad.id);
    out.int(bad.group.0.into()).int(bad.version as i32).long(bad.applied_at_ms).bytes(bad.handler.as_bytes());
    let dependents: Vec<EventId> = bad.dependents.iter().map(|event| event.id).collect();
    put_events(&mut out, &dependents);
    out.0
}

fn compensate(call: &HostCall, (writer, known, id): (jlong, jint, EventId), into: jlong, capacity: jint) -> Outcome {
    let mut object = of(writer)?;
    let key_groups = object.key_groups;
    let dependents = if known == 0 { Dependents::Refuse } else { Dependents::Known };
    let mut undo = |bad: &BadEvent<'_>, applying: &mut Applying<'_>| {
        applying::lend(NAME, applying, key_groups, |id| {
            call.run(NOT_CALLED, |env, call| {
                let event = env.byte_array_from_slice(bad.event)?;
                let told = env.byte_array_from_slice(&told(bad))?;
                let arguments = [JValue::Object(&event), JValue::Object(&told), JValue::Long(id as jlong)];
                env.call_method(call, jni_str!("undo"), jni_sig!("([B[BJ)I"), &arguments)?.i()
            })
        })
    };
    let done = object.writer.compensate(id, Compensation::User(&mut undo, dependents))?;
    answer(repaired(&done), into, capacity)
}

/// Makes up for an event by a function of the host's, which may know of what depends on it.
#[unsafe(export_name = "Java_io_alluvium_Native_writerCompensate")]
pub extern "system" fn writer_compensate<'local>(
    mut env: EnvUnowned<'local>,
    _class: jni::objects::JClass<'local>,
    writer: jlong,
    call: JObject<'local>,
    known: jint,
    source: jint,
    offset: jlong,
    into: jlong,
    capacity: jint,
) -> jlong {
    let found = env.with_env(|env| HostCall::new(env, &call));
    entry::call(|| match found.into_outcome() {
        EnvOutcome::Ok(call) => compensate(&call, (writer, known, event(source, offset)), into, capacity),
        EnvOutcome::Err(_) | EnvOutcome::Panic(_) => {
            Err(Misuse::Argument("a function that can't be referred to").into())
        }
    })
}
