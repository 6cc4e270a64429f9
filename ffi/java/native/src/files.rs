//! A checkpoint's files, and its contents record by record.

use crate::checkpoint::info;
use crate::entry::{NOT_FOUND, Place, answer, count, memory, natives};
use crate::store::StoreObject;
use crate::wire::Response;
use alluvium::{CheckpointFiles, StateKind};
use alluvium_ffi::handles::{self, Handle, Many, One};
use alluvium_ffi::{Failure, Kind, Object};
use jni::sys::{jint, jlong};

/// What the handle of a checkpoint's files stands for.
#[derive(Debug)]
pub struct FilesObject(CheckpointFiles);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for FilesObject {
    const KIND: Kind = Kind::Files;
    type Mode = Many;
}

/// What an iterator's handle stands for.
#[derive(Debug)]
pub struct IteratorObject {
    iter: alluvium::checkpoint::Iter,
    /// Name, kind, and whether values expire, by the states' numbers.
    states: Vec<(String, StateKind, bool)>,
}

// SAFETY: the only type of this kind.
unsafe impl Object for IteratorObject {
    const KIND: Kind = Kind::Iterator;
    type Mode = One;
}

impl IteratorObject {
    /// The next records, up to about so many bytes of them; those before a failure come before it.
    fn next(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut out = Response::default();
        while out.0.len() < bytes_max {
            let item = match self.iter.next() {
                Some(Ok(item)) => item,
                // The next call gets the same.
                Some(Err(_)) if !out.0.is_empty() => break,
                Some(Err(error)) => return Err(error.into()),
                None => break,
            };
            let known = self.states.iter().position(|(name, _, _)| *name == item.state);
            let number = known.ok_or_else(|| Failure::Panic("a state that isn't registered".into()))?;
            let (_, kind, expiring) = self.states[number];
            out.int(number as i32).int(item.group.0.into()).bytes(&item.key).bytes(&item.namespace);
            out.int(item.user_key.is_some().into()).bytes(item.user_key.as_deref().unwrap_or_default());
            out.long(item.expiry_ms.unwrap_or(i64::MAX as u64).min(i64::MAX as u64));
            if kind == StateKind::List {
                let mut list = Response::default();
                alluvium::states::frames(&item.value, expiring).for_each(|(_, element)| {
                    list.bytes(element);
                });
                out.bytes(&list.0);
            } else {
                out.bytes(&item.value);
            }
        }
        Ok(Some(out.0).filter(|out| !out.is_empty()))
    }
}

natives! {
    /// The files of a checkpoint that is complete, pinned until they are closed.
    fn storeFiles(store: jlong, label: jlong, out: jlong) {
        let place = Place::at(out)?;
        let files = handles::get::<StoreObject>(store as Handle)?.store.files(label as u64)?;
        place.insert(FilesObject(files), store as Handle)
    }

    /// Their names, lengths, and whether the checkpoint before has them.
    fn filesList(files: jlong, into: jlong, capacity: jint) {
        let object = handles::get::<FilesObject>(files as Handle)?;
        let mut out = Response::default();
        out.int(object.0.list().len() as i32);
        for file in object.0.list() {
            out.bytes(file.name.as_bytes()).long(file.bytes).int(file.shared.into());
        }
        answer(out.0, into, capacity)
    }

    /// What is known of the checkpoint.
    fn filesInfo(files: jlong, into: jlong, capacity: jint) {
        answer(info(handles::get::<FilesObject>(files as Handle)?.0.info()), into, capacity)
    }

    /// The manifest.
    fn filesManifest(files: jlong, into: jlong, capacity: jint) {
        let manifest = handles::get::<FilesObject>(files as Handle)?.0.manifest().to_vec();
        answer(manifest, into, capacity)
    }

    /// Reads bytes of a file, by its place.
    fn filesRead(files: jlong, index: jint, offset: jlong, into: jlong, len: jint) {
        let memory = memory(into, len)?;
        let object = handles::get::<FilesObject>(files as Handle)?;
        memory.copy_from_slice(&object.0.read(count(index.into())?, count(offset)? as u64, memory.len())?);
        Ok(0)
    }

    /// Goes through everything in a checkpoint.
    fn storeIterate(store: jlong, label: jlong, out: jlong) {
        let place = Place::at(out)?;
        let object = handles::get::<StoreObject>(store as Handle)?;
        let iter = object.store.iterate(label as u64)?;
        let states = object.store.states();
        let states = states.iter().map(|def| (def.name.clone(), def.kind, def.ttl.is_some())).collect();
        place.insert(IteratorObject { iter, states }, store as Handle)
    }

    /// The next records: `state i32 | group i32 | key | namespace | is entry i32 | user key | expiry i64 | value` each.
    fn iteratorNext(iterator: jlong, bytes_max: jint, into: jlong, capacity: jint) {
        let mut object = handles::get::<IteratorObject>(iterator as Handle)?;
        match object.as_mut().next(count(bytes_max.into())?)? {
            None => Ok(NOT_FOUND),
            Some(records) => answer(records, into, capacity),
        }
    }
}
