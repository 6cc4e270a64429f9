//! What a store wants of its host: segments that are elsewhere.

use crate::entry::{NOT_FOUND, Place, answer, bytes, count, natives};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use alluvium::Fetches;
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Failure, Kind, Object};
use jni::sys::{jint, jlong};
use std::sync::Arc;
use std::time::Duration;

/// What the handle of a store's wants stands for.
#[derive(Debug)]
pub struct FetchesObject(Arc<Fetches>);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for FetchesObject {
    const KIND: Kind = Kind::Fetches;
    type Mode = Many;
}

natives! {
    /// What a store wants of its host.
    fn storeFetches(store: jlong, out: jlong) {
        let place = Place::at(out)?;
        let Some(wants) = handles::get::<StoreObject>(store as Handle)?.store.fetches() else { return Ok(NOT_FOUND) };
        place.insert(FetchesObject(wants), store as Handle)
    }

    /// What is wanted now: `id i64 | file | offset i64 | len i64 | on demand i32` each.
    fn fetchesWait(fetches: jlong, timeout_ms: jlong, max: jint, into: jlong, capacity: jint) {
        let (max, timeout_ms) = (count(max.into())?, count(timeout_ms)? as u64);
        let object = handles::get::<FetchesObject>(fetches as Handle)?;
        let wanted = match timeout_ms {
            0 => object.0.poll(max),
            _ => object.0.wait(max, Duration::from_millis(timeout_ms)),
        };
        let mut out = Response::default();
        for request in &wanted {
            out.long(request.id).bytes(request.file.as_bytes()).long(request.offset).long(request.len as u64);
            out.int(request.on_demand.into());
        }
        answer(out.0, into, capacity)
    }

    /// Brings what a request asked for.
    fn fetchesComplete(fetches: jlong, id: jlong, data: jlong, len: jint) {
        let brought = handles::get::<FetchesObject>(fetches as Handle)?.0.complete(id as u64, bytes(data, len)?);
        brought.map_err(|error| Failure::from(alluvium::Error::from(error)))?;
        Ok(0)
    }

    /// Says that the host can't bring it.
    fn fetchesFail(fetches: jlong, id: jlong, problem: jlong, len: jint) {
        let problem = Request(bytes(problem, len)?).text()?;
        handles::get::<FetchesObject>(fetches as Handle)?.0.fail(id as u64, problem);
        Ok(0)
    }

    /// Has everybody who waits now fail.
    fn fetchesCancel(fetches: jlong) {
        handles::get::<FetchesObject>(fetches as Handle)?.0.cancel_waits();
        Ok(0)
    }

    /// How many files are not here yet.
    fn fetchesAbsent(fetches: jlong) {
        Ok(handles::get::<FetchesObject>(fetches as Handle)?.0.files_absent() as jlong)
    }
}
