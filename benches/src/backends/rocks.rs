//! RocksDB: a column family for each table, without a write-ahead log, as Flink uses it.
//!
//! A checkpoint is RocksDB's: memory is flushed, and the files are linked into a directory. Opening links them back, as Flink
//! does with files that are still on the machine; what isn't of a store's key groups is then deleted by range, as Flink clips
//! it. Of several stores the first one is opened so, and the others' entries are written to it in batches, as Flink does by default
//! (`state.backend.rocksdb.use-ingest-db-restore-mode` is off).
//!
//! What is superseded (a checkpoint by the next, a dead process's files by the links to a checkpoint) is deleted by a thread: Flink,
//! too, has others than the task's thread discard state, and starts again in a new directory.

use super::kv::{Kv, bounds, copy};
use super::{Kind, Place, Source, Table};
use crate::harness::{Outcome, wrong};
use alluvium::KeyGroupRange;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, MergeOperands, Options,
    ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// How the directories are called in which a database works, before their number.
const LIVE: &str = "live-";
/// How the directories of checkpoints are called, before their number.
const CHECKPOINT: &str = "checkpoint-";

/// A database; `TUNED` or with Flink's defaults.
pub struct Rocks<const TUNED: bool> {
    db: DB,
    remover: Remover,
    names: Vec<String>,
    write: WriteOptions,
    path: PathBuf,
    checkpoints: u64,
}

/// How Flink splits its managed memory (`state.backend.rocksdb.memory.write-buffer-ratio` is 0.5): the cache of blocks has
/// five sixths, of which memtables take up to a third of the whole.
fn flink_memory(budget_bytes: usize) -> (Cache, WriteBufferManager) {
    let cache = Cache::new_lru_cache(budget_bytes * 5 / 6);
    let manager = WriteBufferManager::new_write_buffer_manager_with_cache(budget_bytes / 3, false, cache.clone());
    (cache, manager)
}

fn family<const TUNED: bool>(kind: Kind, cache: &Cache, budget_bytes: usize) -> Options {
    let mut options = Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Indexes and filters are within the budget, come before blocks of data there, and those of the newest tables stay.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // The rest is what Flink leaves as RocksDB has it, said here for tuning to differ from.
    options.set_compression_type(DBCompressionType::Snappy);
    options.set_write_buffer_size(64 << 20);
    options.set_max_write_buffer_number(2);
    options.set_level_compaction_dynamic_level_bytes(false);
    if TUNED {
        tune(&mut options, &mut table, budget_bytes);
    }
    options.set_block_based_table_factory(&table);
    if matches!(kind, Kind::List(_)) {
        options.set_merge_operator_associative("append", append);
    }
    options
}

/// What its users change first; the rest stays at RocksDB's defaults, the tables' format among them.
fn tune(options: &mut Options, table: &mut BlockBasedOptions, budget_bytes: usize) {
    // A read of a key that a level doesn't have costs no block.
    table.set_bloom_filter(10.0, false);
    // The same for memtables, of which there are several.
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(0.02);
    // Faster to read than Snappy, and about as small.
    options.set_compression_type(DBCompressionType::Lz4);
    // The last level has nine tenths of what there is, whatever that comes to: less space, and less to merge with.
    options.set_level_compaction_dynamic_level_bytes(true);
    // Four of a sixteenth of the budget (16 MiB of 256) are three quarters of what the manager allows (a third of the budget), which
    // flushes at seven eighths. So memtables are full when they are flushed, and writers don't wait for a flush: two fill up
    // meanwhile.
    options.set_write_buffer_size((budget_bytes / 16).max(4 << 20));
    options.set_max_write_buffer_number(4);
    // Of a key that is updated again and again one version of two memtables is written.
    options.set_min_write_buffer_number_to_merge(2);
}

fn append(_: &[u8], old: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut out = old.unwrap_or_default().to_vec();
    operands.iter().for_each(|operand| out.extend_from_slice(operand));
    Some(out)
}

/// Deletes directories in a thread of its own.
struct Remover {
    paths: Sender<PathBuf>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Remover {
    fn start() -> Self {
        let (paths, superseded) = channel::<PathBuf>();
        let thread = std::thread::spawn(move || superseded.iter().try_for_each(std::fs::remove_dir_all));
        Self { paths, thread }
    }

    fn remove(&self, path: PathBuf) -> Outcome {
        match self.paths.send(path) {
            Ok(()) => Ok(()),
            Err(path) => wrong(format!("no directory is deleted any more, nor is {}", path.0.display())),
        }
    }

    /// Waits until everything is deleted.
    fn finish(self) -> Outcome {
        drop(self.paths);
        match self.thread.join() {
            Ok(outcome) => Ok(outcome?),
            Err(_) => wrong("the thread that deletes directories panicked"),
        }
    }
}

/// Links all files of a directory into a new one.
fn link_all(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        // Tables are never changed; the few small files beside them are.
        if name.to_string_lossy().ends_with(".sst") {
            std::fs::hard_link(entry.path(), to.join(name))?;
        } else {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

impl<const TUNED: bool> Rocks<TUNED> {
    fn family(&self, table: Table) -> Outcome<&ColumnFamily> {
        match self.db.cf_handle(&self.names[table]) {
            Some(family) => Ok(family),
            None => wrong("a column family is missing"),
        }
    }

    fn checkpoint_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{CHECKPOINT}{number}"))
    }
}

impl<const TUNED: bool> Rocks<TUNED> {
    /// Opens a checkpoint's files, linked into a new directory, or nothing; what else is in the place goes.
    fn open_live(place: &Place, checkpoint: Option<&Path>, checkpoints: u64) -> Outcome<Self> {
        let lives = numbered(&place.path, LIVE)?;
        let live = place.path.join(format!("{LIVE}{}", lives.iter().max().unwrap_or(&0) + 1));
        if let Some(checkpoint) = checkpoint {
            link_all(checkpoint, &live)?;
        }
        let (cache, manager) = flink_memory(place.budget_bytes);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_background_jobs(2);
        options.set_max_open_files(-1);
        options.set_write_buffer_manager(&manager);
        let names: Vec<String> = (0..place.tables.len()).map(|index| format!("table-{index}")).collect();
        let families = names.iter().zip(&place.tables);
        let families = families
            .map(|(name, kind)| ColumnFamilyDescriptor::new(name, family::<TUNED>(*kind, &cache, place.budget_bytes)));
        let db = DB::open_cf_descriptors(&options, &live, families)?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        let rocks = Self { db, remover: Remover::start(), names, write, path: place.path.clone(), checkpoints };
        for live in lives {
            rocks.remover.remove(place.path.join(format!("{LIVE}{live}")))?;
        }
        // A process that was killed may have left one that it had superseded.
        for older in numbered(&place.path, CHECKPOINT)?.into_iter().filter(|&number| number < checkpoints) {
            rocks.remover.remove(rocks.checkpoint_path(older))?;
        }
        Ok(rocks)
    }

    /// Deletes what isn't in a range of key groups.
    fn clip(&mut self, range: KeyGroupRange) -> Outcome {
        let (first, end) = bounds(range);
        for table in 0..self.names.len() {
            let family = self.family(table)?;
            self.db.delete_range_cf_opt(family, &[0; 2][..], &first[..], &self.write)?;
            self.db.delete_range_cf_opt(family, &end[..], &[u8::MAX; 2][..], &self.write)?;
        }
        Ok(())
    }
}

/// The numbers of a directory's entries with a name that begins so.
fn numbered(path: &Path, prefix: &str) -> Outcome<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// The number of the newest checkpoint in a directory; 0 where there is none.
fn newest_checkpoint(path: &Path) -> Outcome<u64> {
    Ok(numbered(path, CHECKPOINT)?.into_iter().max().unwrap_or(0))
}

impl<const TUNED: bool> Kv for Rocks<TUNED> {
    fn open(place: &Place) -> Outcome<Self> {
        let number = newest_checkpoint(&place.path)?;
        let checkpoint = place.path.join(format!("{CHECKPOINT}{number}"));
        Self::open_live(place, (number > 0).then_some(&checkpoint), number)
    }

    fn get<R>(&mut self, table: Table, key: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        Ok(use_it(self.db.get_pinned_cf(self.family(table)?, key)?.as_deref()))
    }

    fn get_many(&mut self, table: Table, keys: &[Vec<u8>]) -> Outcome<Vec<Option<Vec<u8>>>> {
        let values = self.db.batched_multi_get_cf(self.family(table)?, keys, false);
        values.into_iter().map(|value| Ok(value?.map(|value| value.to_vec()))).collect()
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Outcome {
        Ok(self.db.put_cf_opt(self.family(table)?, key, value, &self.write)?)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Outcome {
        Ok(self.db.delete_cf_opt(self.family(table)?, key, &self.write)?)
    }

    fn write_many<'a>(&mut self, table: Table, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Outcome {
        let family = self.family(table)?;
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn append(&mut self, table: Table, key: &[u8], element: &[u8]) -> Outcome {
        Ok(self.db.merge_cf_opt(self.family(table)?, key, element, &self.write)?)
    }

    fn scan(&mut self, table: Table, from: &[u8], below: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(below);
        let mut at = self.db.raw_iterator_cf_opt(self.family(table)?, options);
        at.seek(from);
        while let Some((key, value)) = at.item() {
            visit(key, value);
            at.next();
        }
        Ok(at.status()?)
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        self.checkpoints += 1;
        Checkpoint::new(&self.db)?.create_checkpoint(self.checkpoint_path(self.checkpoints))?;
        match self.checkpoints - 1 {
            0 => Ok(()),
            superseded => self.remover.remove(self.checkpoint_path(superseded)),
        }
    }

    fn keep_to_checkpoints(&mut self) -> bool {
        true
    }

    fn close(self) -> Outcome {
        drop(self.db);
        self.remover.finish()
    }

    fn rescale(sources: Vec<Source<Self>>, to: &[(Place, KeyGroupRange)]) -> Outcome<Vec<Self>> {
        let place = |source| match source {
            Source::Checkpoint(place) => Ok(place),
            Source::Memory(_) => wrong("a store is made of checkpoints"),
        };
        let sources = sources.into_iter().map(place).collect::<Outcome<Vec<Place>>>()?;
        let Some((base, others)) = sources.split_first() else { return wrong("there is nothing to make a store of") };
        let base = base.path.join(format!("{CHECKPOINT}{}", newest_checkpoint(&base.path)?));
        let mut stores = Vec::new();
        for (place, range) in to {
            let mut store = Self::open_live(place, Some(&base), 0)?;
            store.clip(*range)?;
            for other in others {
                let mut other = Self::open(other)?;
                copy(&mut other, &mut store, place.tables.len(), *range)?;
                other.close()?;
            }
            stores.push(store);
        }
        Ok(stores)
    }
}
