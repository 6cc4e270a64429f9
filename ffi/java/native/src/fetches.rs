//! What a store wants of its host: segments that are elsewhere.

use crate::entry::{NOT_FOUND, Outcome, Place, answer, bytes, count, natives};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use alluvium::platform::storage::Fault;
use alluvium::{FetchRequest, Fetches};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Failure, Kind, Misuse, Object};
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

/// No request takes more, in bytes: a segment's name is one of 40.
const REQUEST_BYTES_MAX: usize = 128;

/// Asks what is wanted: `id i64 | file | offset i64 | len i64 | on demand i32` each. Each is given out once, so there are no more than there is room for.
fn wanted(
    fetches: jlong,
    max: jint,
    ask: impl FnOnce(&Fetches, usize) -> Vec<FetchRequest>,
    into: jlong,
    capacity: jint,
) -> Outcome {
    let max = count(max.into())?.min(count(capacity.into())? / REQUEST_BYTES_MAX);
    let mut out = Response::default();
    for request in &ask(&handles::get::<FetchesObject>(fetches as Handle)?.0, max) {
        out.long(request.id).bytes(request.file.as_bytes()).long(request.offset).long(request.len as u64);
        out.int(request.on_demand.into());
    }
    answer(out.0, into, capacity)
}

natives! {
    /// What a store wants of its host.
    fn storeFetches(store: jlong, out: jlong) {
        let place = Place::at(out)?;
        let Some(wants) = handles::get::<StoreObject>(store as Handle)?.store.fetches() else { return Ok(NOT_FOUND) };
        place.insert(FetchesObject(wants), store as Handle)
    }

    /// What is wanted now.
    fn fetchesWait(fetches: jlong, timeout_ms: jlong, max: jint, into: jlong, capacity: jint) {
        let patience = Duration::from_millis(count(timeout_ms)? as u64);
        let ask = |fetches: &Fetches, max| match timeout_ms {
            0 => fetches.poll(max),
            _ => fetches.wait(max, patience),
        };
        wanted(fetches, max, ask, into, capacity)
    }

    /// What somebody waits for.
    fn fetchesWaitDemanded(fetches: jlong, timeout_ms: jlong, max: jint, into: jlong, capacity: jint) {
        let patience = Duration::from_millis(count(timeout_ms)? as u64);
        wanted(fetches, max, |fetches, max| fetches.wait_demanded(max, patience), into, capacity)
    }

    /// Has the threads return that wait for something to be wanted.
    fn fetchesWake(fetches: jlong) {
        handles::get::<FetchesObject>(fetches as Handle)?.0.wake();
        Ok(0)
    }

    /// Has bytes of a file wanted before others.
    fn fetchesPrefer(fetches: jlong, file: jlong, file_len: jint, offset: jlong, len: jlong) {
        let file = Request(bytes(file, file_len)?).text()?;
        let (offset, len) = (count(offset)? as u64, count(len)? as u64);
        handles::get::<FetchesObject>(fetches as Handle)?.0.prefer(file, offset, len);
        Ok(0)
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

    /// Says that it will never have it as it was: missing (0), of another length (1), of other bytes (2).
    fn fetchesRefuse(fetches: jlong, id: jlong, fault: jint, problem: jlong, len: jint) {
        let problem = Request(bytes(problem, len)?).text()?;
        let fault = match fault {
            0 => Fault::Missing,
            1 => Fault::Length,
            2 => Fault::Corrupt,
            _ => return Err(Misuse::Argument("an unknown fault of a file").into()),
        };
        handles::get::<FetchesObject>(fetches as Handle)?.0.refuse(id as u64, fault, problem);
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

    /// How many bytes are not here yet.
    fn fetchesAbsentBytes(fetches: jlong) {
        Ok(handles::get::<FetchesObject>(fetches as Handle)?.0.bytes_absent() as jlong)
    }
}
