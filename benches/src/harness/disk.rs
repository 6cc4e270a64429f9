//! The disk under the stores: what is on it, an empty page cache, what it can do, and a slower one.

use super::generate::Random;
use super::{Outcome, Run, wrong};
use alluvium::platform::storage::{self, ReadFile, ReadRequest, Storage};
use alluvium::{PageCache, StorageChoice};
use rustix::fs::{Advice, fadvise};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a random read.
const PAGE_BYTES: usize = 4096;

/// The bytes of all files in a directory.
pub fn directory_bytes(path: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        // A file may be reclaimed between the listing and the look.
        bytes += entry?.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

/// What the files below a directory take on disk, each counted once however often it is linked.
pub fn tree_bytes(path: &Path) -> Outcome<u64> {
    let mut seen = std::collections::HashMap::new();
    visit_files(path, &mut |path| {
        // A file may be reclaimed between the listing and the look.
        if let Ok(metadata) = path.metadata() {
            seen.insert(metadata.ino(), metadata.blocks() * 512);
        }
        Ok(())
    })?;
    Ok(seen.values().sum())
}

fn visit_files(path: &Path, visit: &mut impl FnMut(&Path) -> Outcome) -> Outcome {
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() { visit_files(&path, visit)? } else { visit(&path)? }
    }
    Ok(())
}

/// Has the page cache forget the files below a directory.
pub fn drop_cache(path: &Path) -> Outcome {
    visit_files(path, &mut |path| {
        // A file may be reclaimed between the listing and the opening.
        let Ok(file) = std::fs::File::open(path) else { return Ok(()) };
        file.sync_all()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    })
}

/// The same; of the whole machine, where that was asked for.
pub fn drop_caches(run: &Run, path: &Path) -> Outcome {
    drop_cache(path)?;
    if run.settings().drop_caches {
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    }
    Ok(())
}

/// The process in a control group whose writes to a directory's device are limited (cgroup v1, `blkio`), until dropped.
#[derive(Debug)]
pub struct SlowDisk {
    group: PathBuf,
}

/// Where the groups of `blkio` are.
const BLKIO: &str = "/sys/fs/cgroup/blkio";

impl SlowDisk {
    /// Limits all threads of the process. Fails where there is no such controller, or without the right to use it.
    pub fn start(directory: &Path, write_bytes_per_s: u64) -> Outcome<Self> {
        let device = std::fs::metadata(directory)?.dev();
        let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        // Only whole disks can be limited.
        let entry = Path::new("/sys/dev/block").join(&number).canonicalize()?;
        let is_part = entry.join("partition").exists();
        let disk = if is_part { entry.parent().unwrap_or(&entry) } else { &entry };
        let disk = std::fs::read_to_string(disk.join("dev"))?;
        let group = Path::new(BLKIO).join(format!("alluvium-bench-{}", std::process::id()));
        std::fs::create_dir(&group)?;
        let slow = Self { group };
        let limit = format!("{} {write_bytes_per_s}", disk.trim());
        std::fs::write(slow.group.join("blkio.throttle.write_bps_device"), limit)?;
        std::fs::write(slow.group.join("cgroup.procs"), std::process::id().to_string())?;
        Ok(slow)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let back = std::fs::write(Path::new(BLKIO).join("cgroup.procs"), std::process::id().to_string());
        if let Err(error) = back.and_then(|()| std::fs::remove_dir(&self.group)) {
            eprintln!("{}: {error}", self.group.display());
        }
    }
}

/// Random reads of 4 KiB from the segments of a directory, past the engine.
#[derive(Debug)]
pub struct RawReads {
    storage: Arc<dyn Storage>,
    files: Vec<Arc<dyn ReadFile>>,
    /// Where each file's pages end in the numbering of all pages.
    ends: Vec<u64>,
    random: Random,
}

impl RawReads {
    pub fn open(path: &Path, seed: u64) -> Outcome<Self> {
        let storage = storage::open(path, StorageChoice::Auto, PageCache::Nothing, false)?;
        let (mut files, mut ends, mut pages) = (Vec::new(), Vec::new(), 0);
        for entry in storage.list()? {
            let count = entry.len / PAGE_BYTES as u64;
            if entry.name.ends_with(".segment") && count > 0 {
                // It may be reclaimed between the listing and the opening.
                let Ok(file) = storage.open(&entry.name) else { continue };
                files.push(file);
                pages += count;
                ends.push(pages);
            }
        }
        if files.is_empty() {
            return wrong("no segments to read from");
        }
        Ok(Self { storage, files, ends, random: Random::new(seed) })
    }

    /// Reads `count` pages, `depth` at once; gives reads/s.
    pub fn rate(&mut self, count: usize, depth: usize) -> Outcome<f64> {
        let pages = self.ends.last().copied().unwrap_or(1);
        let draw = |random: &mut Random| {
            let page = random.below(pages);
            let file = self.ends.partition_point(|&end| end <= page);
            let first = if file == 0 { 0 } else { self.ends[file - 1] };
            ReadRequest::new(Arc::clone(&self.files[file]), (page - first) * PAGE_BYTES as u64, PAGE_BYTES)
        };
        let mut ns = 0;
        let mut left = count;
        while left > 0 {
            let mut batch: Vec<ReadRequest> = (0..left.min(depth)).map(|_| draw(&mut self.random)).collect();
            let started = Instant::now();
            self.storage.read_batch(&mut batch);
            ns += started.elapsed().as_nanos();
            left -= batch.len();
            for request in batch {
                match request.outcome {
                    Some(outcome) => drop(outcome?),
                    None => return wrong("a read was left undone"),
                }
            }
        }
        Ok(count as f64 * 1e9 / ns as f64)
    }
}
