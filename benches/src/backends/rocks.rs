//! RocksDB: a column family for each table, without a write-ahead log, as Flink uses it.
//!
//! A checkpoint is RocksDB's: memory is flushed, and the files are linked into a directory. Opening links them back, as Flink
//! does with files that are still on the machine.

use super::kv::Kv;
use super::{Kind, Place, Table};
use crate::harness::{Outcome, wrong};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, MergeOperands, Options,
    ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};
use std::path::{Path, PathBuf};

/// A database; `TUNED` or with Flink's defaults.
pub struct Rocks<const TUNED: bool> {
    db: DB,
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

fn family<const TUNED: bool>(kind: Kind, cache: &Cache) -> Options {
    let mut options = Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    options.set_compression_type(DBCompressionType::Snappy);
    options.set_write_buffer_size(64 << 20);
    options.set_max_write_buffer_number(2);
    options.set_level_compaction_dynamic_level_bytes(false);
    if TUNED {
        table.set_bloom_filter(10.0, false);
        table.set_format_version(5);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_max_write_buffer_number(4);
        options.set_min_write_buffer_number_to_merge(2);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
    }
    options.set_block_based_table_factory(&table);
    if matches!(kind, Kind::List(_)) {
        options.set_merge_operator_associative("append", append);
    }
    options
}

fn append(_: &[u8], old: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut out = old.unwrap_or_default().to_vec();
    operands.iter().for_each(|operand| out.extend_from_slice(operand));
    Some(out)
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
        self.path.join(format!("checkpoint-{number}"))
    }
}

impl<const TUNED: bool> Kv for Rocks<TUNED> {
    fn open(place: &Place) -> Outcome<Self> {
        let live = place.path.join("live");
        let numbers = std::fs::read_dir(&place.path)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("checkpoint-")?.parse::<u64>().ok());
        let checkpoints = numbers.max().unwrap_or(0);
        if live.exists() {
            std::fs::remove_dir_all(&live)?;
        }
        if checkpoints > 0 {
            link_all(&place.path.join(format!("checkpoint-{checkpoints}")), &live)?;
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
        let families = families.map(|(name, kind)| ColumnFamilyDescriptor::new(name, family::<TUNED>(*kind, &cache)));
        let db = DB::open_cf_descriptors(&options, &live, families)?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        Ok(Self { db, names, write, path: place.path.clone(), checkpoints })
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
        let older = self.checkpoint_path(self.checkpoints - 1);
        if older.exists() {
            std::fs::remove_dir_all(older)?;
        }
        Ok(())
    }

    fn close(self) -> Outcome {
        drop(self.db);
        Ok(())
    }
}
