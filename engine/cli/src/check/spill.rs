//! Expected entries on disk, one set of files for each key group, so that any amount of them is compared in the memory
//! that one key group takes.
//!
//! A file is a sequence of entries: length of the place and of the value (`u32`, little-endian each), place, value. The
//! *place* is state, key, namespace and user key in one byte string.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::row::Row;
use crate::failure::{Failure, Outcome};
use crate::job::table::KEY_GROUPS;

const BUFFER_BYTES: usize = 16 << 10;

/// State, key, namespace and user key of an entry in one byte string; different entries have different ones.
pub fn push_place(out: &mut Vec<u8>, row: &Row<'_>) {
    out.push(row.table as u8);
    for part in [row.key, row.namespace] {
        // The store takes no longer keys and namespaces.
        out.extend_from_slice(&(part.len() as u16).to_le_bytes());
        out.extend_from_slice(part);
    }
    if let Some(user_key) = row.user_key {
        out.push(1);
        out.extend_from_slice(user_key);
    }
}

fn file_name(directory: &Path, group: usize, writer: usize) -> PathBuf {
    directory.join(format!("{group:05}.{writer}"))
}

/// Writes expected entries; several may write into one directory, each under a number of its own.
pub struct Spill {
    directory: PathBuf,
    files: Vec<BufWriter<File>>,
    entry: Vec<u8>,
    failure: Option<std::io::Error>,
}

impl Spill {
    /// The files of writer number `writer` in a directory.
    pub fn create(directory: &Path, writer: usize) -> Outcome<Self> {
        let mut files = Vec::with_capacity(KEY_GROUPS as usize);
        for group in 0..KEY_GROUPS as usize {
            let path = file_name(directory, group, writer);
            let file = File::create(&path).map_err(|error| Failure::io(path.display(), &error))?;
            files.push(BufWriter::with_capacity(BUFFER_BYTES, file));
        }
        Ok(Self { directory: directory.to_owned(), files, entry: Vec::new(), failure: None })
    }

    /// Adds an entry. A failure is kept for [`Spill::finish`].
    pub fn add(&mut self, row: &Row<'_>) {
        self.entry.clear();
        self.entry.extend_from_slice(&[0; 8]);
        push_place(&mut self.entry, row);
        let place_bytes = self.entry.len() - 8;
        self.entry.extend_from_slice(row.value);
        // The store takes no value of more than 1 GiB.
        let lengths = [place_bytes as u32, row.value.len() as u32];
        self.entry[..4].copy_from_slice(&lengths[0].to_le_bytes());
        self.entry[4..8].copy_from_slice(&lengths[1].to_le_bytes());
        if let Err(error) = self.files[usize::from(row.group.0)].write_all(&self.entry) {
            self.failure.get_or_insert(error);
        }
    }

    /// Writes out what is buffered.
    pub fn finish(mut self) -> Outcome<()> {
        for file in &mut self.files {
            if let Err(error) = file.flush() {
                self.failure.get_or_insert(error);
            }
        }
        let fail = |error: std::io::Error| Failure::io(self.directory.display(), &error);
        self.failure.map_or(Ok(()), |error| Err(fail(error)))
    }
}

/// All bytes that `writers` writers spilled for a key group.
pub fn load(directory: &Path, group: usize, writers: usize) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    for writer in 0..writers {
        let path = file_name(directory, group, writer);
        bytes.extend(std::fs::read(&path).map_err(|error| Failure::io(path.display(), &error))?);
    }
    Ok(bytes)
}

/// The entries in such bytes: place and value.
pub fn entries(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (place_bytes, rest) = bytes.split_first_chunk::<4>()?;
        let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (place, rest) = rest.split_at_checked(u32::from_le_bytes(*place_bytes) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_bytes) as usize)?;
        bytes = rest;
        Some((place, value))
    })
}

/// The entry that a place stands for, with `value`.
pub fn row_at<'a>(group: usize, place: &'a [u8], value: &'a [u8]) -> Option<Row<'a>> {
    let (&table, rest) = place.split_first()?;
    let table = crate::job::table::Table::from_index(usize::from(table))?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (namespace, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    let user_key = rest.split_first().map(|(_, user_key)| user_key);
    let group = alluvium::KeyGroup(u16::try_from(group).ok()?);
    Some(Row { group, table, key, namespace, user_key, value })
}
