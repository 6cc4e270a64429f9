//! A checkpoint's files, and its contents record by record.

use crate::arguments::{call, give, place, slice};
use crate::buffer;
use crate::checkpoint::leave_info;
use crate::lists;
use crate::store::StoreObject;
use crate::types::*;
use alluvium::{CheckpointFiles, StateKind};
use alluvium_ffi::handles::{self, Handle, Many, One};
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};
use std::ffi::c_char;

/// What the handle of a checkpoint's files stands for.
#[derive(Debug)]
pub struct FilesObject {
    files: CheckpointFiles,
    store: Handle,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for FilesObject {
    const KIND: Kind = Kind::Files;
    type Mode = Many;
}

/// What an iterator's handle stands for.
#[derive(Debug)]
pub struct IteratorObject {
    iter: alluvium::checkpoint::Iter,
    item: alluvium::checkpoint::Item,
    kind_of: Vec<(String, StateKind, bool)>,
    list: buffer::Buffer,
}

// SAFETY: the only type of this kind.
unsafe impl Object for IteratorObject {
    const KIND: Kind = Kind::Iterator;
    type Mode = One;
}

/// The files of a checkpoint that is complete, pinned until they are closed with `alluvium_files_close`. `ALLUVIUM_CHECKPOINT` where the store has none of this
/// label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_files(
    store: alluvium_store,
    label: u64,
    files: *mut alluvium_files,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(files, "files")?;
            let found = handles::get::<StoreObject>(store.id)?.store.files(label)?;
            let id = handles::insert(FilesObject { files: found, store: store.id }, store.id)?;
            give(files, "files", alluvium_files { id })?;
            Ok(Status::Ok)
        })
    }
}

/// A file of a checkpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_file {
    /// Its name in the store's directory, which ends with a zero.
    pub name: [c_char; 64],
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether the newest confirmed checkpoint before this one has it too: 0 or 1.
    pub shared: u32,
}

/// A name as a C structure has it.
pub(crate) fn name_out(name: &str) -> [c_char; 64] {
    let mut out = [0; 64];
    // The last one stays zero. Names are of ASCII, and shorter than that.
    for (place, byte) in out[..63].iter_mut().zip(name.bytes()) {
        *place = byte as c_char;
    }
    out
}

/// A checkpoint's file, by its place: the segments, and last the manifest. `ALLUVIUM_NOT_FOUND` where there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_files_get(
    files: alluvium_files,
    index: usize,
    file: *mut alluvium_file,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(file, "file")?;
            let object = handles::get::<FilesObject>(files.id)?;
            let Some(info) = object.files.list().get(index) else { return Ok(Status::NotFound) };
            let out = alluvium_file { name: name_out(&info.name), bytes: info.bytes, shared: u32::from(info.shared) };
            give(file, "file", out)?;
            Ok(Status::Ok)
        })
    }
}

/// What is known of the checkpoint. Close it with `alluvium_info_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_files_info(
    files: alluvium_files,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(info, "info")?;
            let object = handles::get::<FilesObject>(files.id)?;
            leave_info(info, object.files.info().clone(), object.store)
        })
    }
}

/// The manifest's bytes; they stay until the files are closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_files_manifest(
    files: alluvium_files,
    manifest: *mut alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(manifest, "manifest", slice(handles::get::<FilesObject>(files.id)?.files.manifest()))?;
            Ok(Status::Ok)
        })
    }
}

/// Reads `len` bytes of a file, by its place, from `offset`, into `memory`: all of them, `ALLUVIUM_ARGUMENT` where the file ends before. `ALLUVIUM_NOT_FOUND`
/// where there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_files_read(
    files: alluvium_files,
    index: usize,
    offset: u64,
    memory: *mut u8,
    len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let memory = crate::arguments::array_mut(memory, len)?;
            let object = handles::get::<FilesObject>(files.id)?;
            let Some(file) = object.files.list().get(index) else { return Ok(Status::NotFound) };
            if offset.checked_add(len as u64).is_none_or(|end| end > file.bytes) {
                return Err(Misuse::Argument("the file ends before").into());
            }
            memory.copy_from_slice(&object.files.read(index, offset, len)?);
            Ok(Status::Ok)
        })
    }
}

/// Closes a checkpoint's files: they may be deleted from then on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_files_close(files: alluvium_files, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<FilesObject>(files.id).map(|_| Status::Ok)?)) }
}

/// Goes through everything in a checkpoint, in the order of key groups, then states, then keys. Close it with
/// `alluvium_iterator_close`. `ALLUVIUM_CHECKPOINT` where the store has none of this label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_iterate(
    store: alluvium_store,
    label: u64,
    iterator: *mut alluvium_iterator,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(iterator, "iterator")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let kind =
                |def: &std::sync::Arc<alluvium::states::StateDef>| (def.name.clone(), def.kind, def.ttl.is_some());
            let made = IteratorObject {
                iter: object.store.iterate(label)?,
                item: no_item(),
                kind_of: object.store.states().iter().map(kind).collect(),
                list: buffer::Buffer::default(),
            };
            let id = handles::insert(made, store.id)?;
            give(iterator, "iterator", alluvium_iterator { id })?;
            Ok(Status::Ok)
        })
    }
}

fn no_item() -> alluvium::checkpoint::Item {
    alluvium::checkpoint::Item {
        state: String::new(),
        group: alluvium::KeyGroup(0),
        key: Vec::new(),
        namespace: Vec::new(),
        user_key: None,
        value: Vec::new(),
        expiry_ms: None,
    }
}

/// A record of a checkpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_item {
    /// The state's number.
    pub state: u16,
    /// The key group.
    pub group: u16,
    /// Whether it is a map's entry: 0 or 1.
    pub is_entry: u32,
    /// The key.
    pub key: alluvium_slice,
    /// The namespace.
    pub ns: alluvium_slice,
    /// The user key of a map's entry.
    pub user_key: alluvium_slice,
    /// The value; of a list its elements, packed as by `alluvium_writer_list`.
    pub value: alluvium_slice,
    /// When it expires, in ms; the greatest number: never. Elements of lists have times of their own, which are not told.
    pub expiry_ms: u64,
}

/// The next record of a checkpoint, `ALLUVIUM_NOT_FOUND` at the end. What it points to stays until the next call. An iterator that failed fails
/// again with the same error, whatever its class; begin with a new one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_iterator_next(
    iterator: alluvium_iterator,
    item: *mut alluvium_item,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let mut object = handles::get::<IteratorObject>(iterator.id)?;
            let object = object.as_mut();
            place(item, "item")?;
            let Some(next) = object.iter.next() else { return Ok(Status::NotFound) };
            object.item = next?;
            let found = &object.item;
            let known = object.kind_of.iter().position(|(name, _, _)| *name == found.state);
            let number = known.ok_or_else(|| Failure::Panic("a state that isn't registered".into()))?;
            let (_, kind, expiring) = object.kind_of[number];
            object.list.clear();
            if kind == StateKind::List {
                let elements = alluvium::states::frames(&found.value, expiring);
                elements.for_each(|(_, element)| lists::push(&mut object.list, element));
            }
            let out = alluvium_item {
                state: number as u16,
                group: found.group.0,
                is_entry: u32::from(found.user_key.is_some()),
                key: slice(&found.key),
                ns: slice(&found.namespace),
                user_key: slice(found.user_key.as_deref().unwrap_or_default()),
                value: if kind == StateKind::List { slice(&object.list.bytes) } else { slice(&found.value) },
                expiry_ms: found.expiry_ms.unwrap_or(u64::MAX),
            };
            give(item, "item", out)?;
            Ok(Status::Ok)
        })
    }
}

/// Closes an iterator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_iterator_close(
    iterator: alluvium_iterator,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<IteratorObject>(iterator.id).map(|_| Status::Ok)?)) }
}
