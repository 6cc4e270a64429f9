//! FASTER (Chandramouli and others, SIGMOD 2018) by the crate `faster-rs`: hashed keys, one log in memory and on disk.
//!
//! Invariants: a [`Faster`] is used by the thread that made it, whose session it is; nothing is pending between two calls.

use alluvium_bench::{Backend, Cell, KeyGroup, Kind, Outcome, Place, Span, Table, wrong};
use faster_rs::{FasterKv, FasterKvBuilder, FasterRmw, status};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

/// A page of FASTER's log.
const PAGE_BYTES: u64 = 32 << 20;
/// Pages at the log's head in memory that don't change any more: FASTER takes no fewer.
const HEAD_PAGES: u64 = 4;
/// FASTER takes no fewer that do.
const MUTABLE_PAGES_MIN: u64 = 2;
/// A bucket of its index, for seven keys.
const BUCKET_BYTES: u64 = 64;
/// The index gets that part of the budget, the log what is left. With 256 MiB a million keys come two to a bucket, as FASTER's
/// authors have it.
const INDEX_SHARE: u64 = 8;
/// Operations between two looks at what other threads and the disk have done, as in FASTER's own benchmark.
const REFRESH_EVERY: u64 = 256;
/// The file that names the newest checkpoint, which FASTER leaves to its host.
const NEWEST: &str = "newest";

/// A cell as FASTER's key: table, key, and window where there is one.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StateKey {
    /// Outside of windows.
    Plain(u8, u128),
    /// In a window.
    InWindow(u8, u128, u64),
}

impl StateKey {
    fn of(table: Table, cell: &Cell) -> Self {
        let (table, key) = (table as u8, u128::from_le_bytes(cell.op.bytes));
        match cell.namespace().first_chunk::<8>() {
            None => Self::Plain(table, key),
            Some(window) => Self::InWindow(table, key, u64::from_le_bytes(*window)),
        }
    }
}

/// A value, or the elements of a list.
#[derive(Serialize, Deserialize)]
struct Bytes(#[serde(with = "serde_bytes")] Vec<u8>);

impl FasterRmw for Bytes {
    /// A list with elements behind it.
    fn rmw(&self, elements: Self) -> Self {
        Self([&self.0[..], &elements.0].concat())
    }
}

/// A store with one thread's session.
pub struct Faster {
    store: Arc<FasterKv>,
    tables: Vec<Kind>,
    path: PathBuf,
    serial: u64,
    /// Nothing was ever written.
    is_empty: bool,
    /// What is written next; kept for its memory.
    value: Bytes,
}

/// A store without a session.
pub struct Opened {
    store: Arc<FasterKv>,
    place: Place,
    is_empty: bool,
}

impl Opened {
    fn new(place: &Place) -> Outcome<Self> {
        let budget_bytes = place.budget_bytes as u64;
        let buckets = 1 << (budget_bytes / INDEX_SHARE / BUCKET_BYTES).max(1).ilog2();
        let pages = (budget_bytes - buckets * BUCKET_BYTES) / PAGE_BYTES;
        if pages < HEAD_PAGES + MUTABLE_PAGES_MIN {
            // Its constructor would throw, through C.
            return wrong("FASTER's log has at least 192 MiB");
        }
        let Some(path) = place.path.to_str() else { return wrong("FASTER takes paths of UTF-8") };
        let mutable = (pages - HEAD_PAGES) as f64 + 0.5;
        let mut builder = FasterKvBuilder::new(buckets, pages * PAGE_BYTES);
        builder.with_disk(path).with_log_mutable_fraction(mutable / pages as f64);
        let store = builder.build()?;
        let newest = std::fs::read_to_string(place.path.join(NEWEST));
        let is_empty = newest.is_err();
        if let Ok(token) = newest {
            let recovered = store.recover(token.clone(), token).map_err(|error| error.to_string())?;
            if recovered.status != status::OK {
                return wrong(format!("FASTER's recovery ended with status {}", recovered.status));
            }
        }
        Ok(Self { store: Arc::new(store), place: place.clone(), is_empty })
    }

    /// For the thread that asks.
    fn session(&self) -> Faster {
        self.store.start_session();
        Faster {
            store: Arc::clone(&self.store),
            tables: self.place.tables.clone(),
            path: self.place.path.clone(),
            serial: 0,
            is_empty: self.is_empty,
            value: Bytes(Vec::new()),
        }
    }
}

impl Faster {
    /// The next operation's number.
    fn next(&mut self) -> u64 {
        self.serial += 1;
        if self.serial.is_multiple_of(REFRESH_EVERY) {
            self.store.refresh();
        }
        self.serial
    }

    /// Waits for an operation that the disk is needed for; its status tells.
    fn finish(&self, answer: u8) -> Outcome {
        match answer {
            status::OK | status::NOT_FOUND => Ok(()),
            status::PENDING => {
                self.store.complete_pending(true);
                Ok(())
            }
            other => wrong(format!("FASTER answered with status {other}")),
        }
    }

    fn read(&mut self, key: &StateKey) -> Outcome<Option<Bytes>> {
        let serial = self.next();
        let (answer, value) = self.store.read(key, serial);
        self.finish(answer)?;
        match value.try_recv() {
            Ok(value) => Ok(Some(value)),
            // What isn't found lets go of the channel, a failed read leaves it open.
            Err(TryRecvError::Disconnected) => Ok(None),
            Err(TryRecvError::Empty) => wrong("FASTER could not read a record"),
        }
    }

    fn upsert(&mut self, key: &StateKey, value: &[u8]) -> Outcome {
        let serial = self.next();
        self.is_empty = false;
        self.value.0.clear();
        self.value.0.extend_from_slice(value);
        self.finish(self.store.upsert(key, &self.value, serial))
    }

    fn remove(&mut self, key: &StateKey) -> Outcome {
        let serial = self.next();
        self.finish(self.store.delete(key, serial))
    }

    /// A checkpoint that is superseded: FASTER keeps all of them.
    fn forget(&self, token: &str) -> Outcome {
        for kind in ["index-checkpoints", "cpr-checkpoints"] {
            std::fs::remove_dir_all(self.path.join(kind).join(token))?;
        }
        Ok(())
    }
}

impl Backend for Faster {
    /// One store, as FASTER is made for; each thread has a session.
    type Common = Opened;

    fn open(place: &Place) -> Outcome<Self> {
        Ok(Opened::new(place)?.session())
    }

    fn open_common(place: &Place) -> Outcome<Opened> {
        Opened::new(place)
    }

    fn open_half(common: &Opened, _half: u16) -> Outcome<Self> {
        Ok(common.session())
    }

    fn get<R>(&mut self, table: Table, cell: &Cell, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        let value = self.read(&StateKey::of(table, cell))?;
        Ok(use_it(value.as_ref().map(|value| &value.0[..])))
    }

    fn put(&mut self, table: Table, cell: &Cell, value: &[u8]) -> Outcome {
        self.upsert(&StateKey::of(table, cell), value)
    }

    fn delete(&mut self, table: Table, cell: &Cell) -> Outcome {
        self.remove(&StateKey::of(table, cell))
    }

    /// A read and an upsert: the store's own read-modify-write takes data, not a function, and calls its operator several
    /// times or, for a key that isn't there, not at all.
    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cell: &Cell,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        let key = StateKey::of(table, cell);
        let old = self.read(&key)?;
        match change(old.as_ref().map(|old| &old.0[..])) {
            Some(new) => self.upsert(&key, new.as_ref()),
            None => self.remove(&key),
        }
    }

    /// The store's own read-modify-write.
    fn append(&mut self, table: Table, cell: &Cell, element: &[u8]) -> Outcome {
        let serial = self.next();
        self.is_empty = false;
        self.value.0.clear();
        self.value.0.extend_from_slice(element);
        self.finish(self.store.rmw(&StateKey::of(table, cell), &self.value, serial))
    }

    fn list(&mut self, table: Table, cell: &Cell, use_it: impl FnMut(&[u8])) -> Outcome {
        let Kind::List(bytes) = self.tables[table] else { return wrong("not a table of lists") };
        if let Some(list) = self.read(&StateKey::of(table, cell))? {
            list.0.chunks(bytes).for_each(use_it);
        }
        Ok(())
    }

    fn map_put(&mut self, _: Table, _: &Cell, _: &[u8], _: &[u8]) -> Outcome {
        no_order()
    }

    fn map_get<R>(&mut self, _: Table, _: &Cell, _: &[u8], _: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        no_order()
    }

    fn map_delete(&mut self, _: Table, _: &Cell, _: &[u8]) -> Outcome {
        no_order()
    }

    fn map_scan(&mut self, _: Table, _: &Cell, _: Span<'_>, _: impl FnMut(&[u8], &[u8])) -> Outcome {
        no_order()
    }

    fn enqueue(&mut self, _: Table, _: KeyGroup, _: &[u8]) -> Outcome {
        no_order()
    }

    fn dequeue(&mut self, _: Table, _: KeyGroup, _: &[u8], _: impl FnMut(&[u8])) -> Outcome {
        no_order()
    }

    /// All of a checkpoint: FASTER makes it in the background, but the crate doesn't tell when it is complete.
    fn begin_checkpoint(&mut self) -> Outcome {
        if self.is_empty {
            // FASTER would wait for a flush of an empty log, for ever.
            return Ok(());
        }
        let checkpoint = self.store.checkpoint().map_err(|error| error.to_string())?;
        if !checkpoint.checked {
            return wrong("FASTER began no checkpoint");
        }
        self.store.complete_pending(true);
        let newest = self.path.join(NEWEST);
        let superseded = std::fs::read_to_string(&newest);
        replace(&newest, &checkpoint.token)?;
        superseded.map_or(Ok(()), |token| self.forget(&token))
    }

    fn checkpoint_is_complete(&mut self) -> Outcome<bool> {
        Ok(true)
    }

    fn close(self) -> Outcome {
        self.store.complete_pending(true);
        self.store.stop_session();
        Ok(())
    }
}

fn no_order<T>() -> Outcome<T> {
    wrong("FASTER has no order")
}

/// Replaces a file, durably.
fn replace(path: &Path, text: &str) -> Outcome {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text)?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alluvium_bench::Op;

    const VALUES: Table = 0;
    const LISTS: Table = 1;

    fn cells() -> impl Iterator<Item = (u64, Cell)> {
        (0..1000).map(|i| (i, if i % 2 == 0 { Cell::of(Op::of(i)) } else { Cell::in_window(Op::of(i), i) }))
    }

    fn expect_what_was_written(faster: &mut Faster) -> Outcome {
        for (i, cell) in cells() {
            let value = faster.get(VALUES, &cell, |value| value.map(<[u8]>::to_vec))?;
            assert_eq!(value, (i % 3 != 0).then(|| (i + 1).to_le_bytes().to_vec()), "value {i}");
            let mut list = Vec::new();
            faster.list(LISTS, &cell, |element| list.push(element.to_vec()))?;
            assert_eq!(list, [b"first", b"later"], "list {i}");
        }
        Ok(())
    }

    #[test]
    fn what_was_written_is_there_before_and_after_reopening() -> Outcome {
        let directory = tempfile::tempdir()?;
        let tables = vec![Kind::Value, Kind::List(5)];
        let place = Place { path: directory.path().to_owned(), budget_bytes: 256 << 20, tables };
        let mut faster = Faster::open(&place)?;
        faster.checkpoint()?;
        for (i, cell) in cells() {
            faster.put(VALUES, &cell, &i.to_le_bytes())?;
            faster.append(LISTS, &cell, b"first")?;
            faster.append(LISTS, &cell, b"later")?;
        }
        faster.checkpoint()?;
        for (i, cell) in cells() {
            faster.update(VALUES, &cell, |old| {
                assert_eq!(old, Some(&i.to_le_bytes()[..]));
                (i % 3 != 0).then(|| (i + 1).to_le_bytes())
            })?;
        }
        expect_what_was_written(&mut faster)?;
        faster.checkpoint()?;
        faster.close()?;
        expect_what_was_written(&mut Faster::open(&place)?)
    }

    #[test]
    fn a_budget_below_its_log_is_an_error() {
        let place = Place { path: ".".into(), budget_bytes: 128 << 20, tables: vec![Kind::Value] };
        assert!(Faster::open(&place).is_err());
    }
}
