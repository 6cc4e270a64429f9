//! A disk as a crash may leave it: what was synced is there, and any of the rest.
//!
//! The model of faults: a sync of a file makes its own bytes and length durable and nothing else; a sync of a directory its own names.
//! Of everything else each sector of 512 bytes that was written, each length and each name may have reached the disk or not, in any
//! combination; of one sector only a part may have, and what was never written behind a file's durable end may be zeros or garbage. A
//! rename is one step, as POSIX promises. A sync that fails says so once; what wasn't durable then never is, as the system takes it for
//! written.

use super::workload::Rng;
use alluvium::recorder::{Entry, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

const SECTOR_BYTES: usize = 512;

/// All files below a directory.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// By their paths from the directory.
    pub files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    pub directories: BTreeSet<PathBuf>,
}

impl Image {
    /// Tells images apart.
    pub fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for (path, bytes) in &self.files {
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        for path in &self.directories {
            hasher.update(path.as_os_str().as_encoded_bytes());
        }
        hasher.digest()
    }

    /// Makes the files below `root`, which isn't there.
    pub fn write_to(&self, root: &Path) {
        fs::create_dir(root).unwrap();
        for path in &self.directories {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for (path, bytes) in &self.files {
            fs::write(root.join(path), &bytes[..]).unwrap();
        }
    }
}

/// A change of a file that isn't durable.
#[derive(Clone, Debug)]
enum Change {
    /// Of one sector at most.
    Bytes {
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Arc<Vec<u8>>,
    /// Each with its place in the record.
    pending: Vec<(usize, Change)>,
}

type Names = BTreeMap<String, Entry>;
/// Names that change in one step.
type NameChanges = Vec<(String, Option<Entry>)>;

#[derive(Clone, Debug, Default)]
struct Directory {
    durable: Names,
    /// Each with its place in the record.
    pending: Vec<(usize, NameChanges)>,
}

/// What may be lost, or not, by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit<'a> {
    File(usize, usize),
    Name(&'a Path, usize),
}

/// Which of what isn't durable is there after the crash.
#[derive(Clone, Debug)]
pub struct Choice {
    /// For each unit.
    pub kept: Vec<bool>,
    /// What was never written is garbage from this seed, not zeros.
    pub garbage: Option<u64>,
    /// The first so many bytes of the last kept sector of each file are all that is there of it.
    pub torn: Option<usize>,
    /// Files are as long as they were, whatever is lost of them.
    pub full_length: bool,
}

/// The files as they are after a part of a record, with what is durable of them.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    files: BTreeMap<usize, File>,
    directories: BTreeMap<PathBuf, Directory>,
    /// Changes so far, those of earlier records among them.
    done: usize,
    earlier: usize,
}

impl Disk {
    /// Of an image below `root`; its files have numbers in the order of their paths.
    pub fn new(root: &Path, image: &Image) -> Self {
        let (files, directories) = (BTreeMap::new(), BTreeMap::new());
        let mut disk = Self { root: root.to_owned(), files, directories, done: 0, earlier: 0 };
        for path in &image.directories {
            disk.durable_name(path, Entry::Directory);
        }
        for (path, bytes) in &image.files {
            let number = disk.files.len();
            disk.files.insert(number, File { durable: Arc::clone(bytes), pending: Vec::new() });
            disk.durable_name(path, Entry::File(number));
        }
        disk
    }

    fn durable_name(&mut self, path: &Path, entry: Entry) {
        let whole = self.root.join(path);
        let name = whole.file_name().unwrap().to_str().unwrap().to_owned();
        self.directories.entry(whole.parent().unwrap().to_owned()).or_default().durable.insert(name, entry);
    }

    fn file(&mut self, number: usize) -> &mut File {
        self.files.entry(number).or_default()
    }

    /// Goes on by a step of the record.
    pub fn step(&mut self, op: &Op) {
        let at = self.done;
        self.done += 1;
        match op {
            Op::Wrote { file, offset, bytes } => {
                let mut offset = *offset as usize;
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let len = rest.len().min(SECTOR_BYTES - offset % SECTOR_BYTES);
                    self.file(*file).pending.push((at, Change::Bytes { offset, bytes: rest[..len].into() }));
                    (offset, rest) = (offset + len, &rest[len..]);
                }
            }
            Op::Length { file, bytes } => self.file(*file).pending.push((at, Change::Length(*bytes as usize))),
            Op::Synced { file } => {
                let file = self.file(*file);
                let all = Choice { kept: Vec::new(), garbage: None, torn: None, full_length: false };
                let pending = std::mem::take(&mut file.pending);
                let kept = pending.iter().map(|(_, change)| (change, true));
                file.durable = contents(&file.durable, kept, &all);
            }
            Op::Named { names, .. } if names.is_empty() => {}
            Op::Named { directory, names } => {
                self.directories.entry(directory.clone()).or_default().pending.push((at, names.clone()));
            }
            Op::DirectorySynced { directory, before } => {
                let before = self.earlier + before;
                let directory = self.directories.entry(directory.clone()).or_default();
                let pending = std::mem::take(&mut directory.pending);
                let (synced, rest): (Vec<_>, Vec<_>) = pending.into_iter().partition(|(at, _)| *at < before);
                synced.iter().for_each(|(_, names)| apply(&mut directory.durable, names));
                directory.pending = rest;
            }
            Op::SyncFailed { file } => self.file(*file).pending.clear(),
            Op::DirectorySyncFailed { directory, before } => {
                let before = self.earlier + before;
                self.directories.entry(directory.clone()).or_default().pending.retain(|(at, _)| *at >= before);
            }
        }
    }

    /// A process died, and the system goes on: everything is there, and what wasn't durable isn't. The image, and the disk for the record of
    /// who opens it, in which its files have numbers in the order of their paths.
    pub fn outlived(&self) -> (Image, Self) {
        let all = Choice { kept: vec![true; self.unit_count()], garbage: None, torn: None, full_length: true };
        let image = self.image(&all);
        let mut now: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for (path, directory) in &self.directories {
            let mut names = directory.durable.clone();
            directory.pending.iter().for_each(|(_, changes)| apply(&mut names, changes));
            let files = names.into_iter().filter_map(|(name, entry)| match entry {
                Entry::File(number) => Some((path.join(name), number)),
                Entry::Directory => None,
            });
            now.extend(files);
        }
        let found = image.files.keys().map(|path| now[&self.root.join(path)]);
        let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
        found.enumerate().for_each(|(new, old)| _ = numbers.entry(old).or_insert(new));
        // Those that nothing leads to any more but a name that may come back: numbers that no record comes to.
        let rest: Vec<usize> = self.files.keys().copied().filter(|old| !numbers.contains_key(old)).collect();
        numbers.extend(rest.into_iter().map(|old| (old, usize::MAX - old)));
        let mut disk = self.clone();
        disk.earlier = disk.done;
        disk.files = self.files.iter().map(|(old, file)| (numbers[old], file.clone())).collect();
        let renumbered = |entry: &mut Entry| {
            if let Entry::File(number) = entry {
                *number = numbers.get(number).copied().unwrap_or(usize::MAX - *number);
            }
        };
        for directory in disk.directories.values_mut() {
            directory.durable.values_mut().for_each(renumbered);
            let changes = directory.pending.iter_mut().flat_map(|(_, names)| names);
            changes.filter_map(|(_, entry)| entry.as_mut()).for_each(renumbered);
        }
        (image, disk)
    }

    /// The units in the order in which they came about.
    fn units(&self) -> Vec<Unit<'_>> {
        let mut units = Vec::new();
        for (path, directory) in &self.directories {
            units.extend(directory.pending.iter().enumerate().map(|(index, (at, _))| (*at, Unit::Name(path, index))));
        }
        for number in self.reachable() {
            let pending = self.files.get(&number).map_or(&[][..], |file| &file.pending);
            units.extend(pending.iter().enumerate().map(|(index, (at, _))| (*at, Unit::File(number, index))));
        }
        units.sort_by_key(|(at, unit)| (*at, matches!(unit, Unit::File(_, index) if *index > 0)));
        units.into_iter().map(|(_, unit)| unit).collect()
    }

    /// The files that some image has a name for.
    fn reachable(&self) -> BTreeSet<usize> {
        let file = |entry: &Entry| if let Entry::File(number) = entry { Some(*number) } else { None };
        let mut found = BTreeSet::new();
        for directory in self.directories.values() {
            found.extend(directory.durable.values().filter_map(file));
            let names = directory.pending.iter().flat_map(|(_, names)| names);
            found.extend(names.filter_map(|(_, entry)| file(entry.as_ref()?)));
        }
        found
    }

    /// Of each unit, whether it is of names.
    pub fn are_names(&self) -> Vec<bool> {
        self.units().iter().map(|unit| matches!(unit, Unit::Name(..))).collect()
    }

    /// How many units there are.
    pub fn unit_count(&self) -> usize {
        self.units().len()
    }

    /// What is there after a crash.
    pub fn image(&self, choice: &Choice) -> Image {
        let units = self.units();
        let kept: BTreeSet<(Option<&Path>, usize, usize)> = units
            .iter()
            .zip(&choice.kept)
            .filter(|(_, kept)| **kept)
            .map(|(unit, _)| match *unit {
                Unit::File(number, index) => (None, number, index),
                Unit::Name(path, index) => (Some(path), 0, index),
            })
            .collect();
        let mut image = Image::default();
        self.gather(&self.root, &kept, choice, &mut image);
        image
    }

    fn gather(&self, path: &Path, kept: &BTreeSet<(Option<&Path>, usize, usize)>, choice: &Choice, image: &mut Image) {
        let Some(directory) = self.directories.get(path) else { return };
        let mut names = directory.durable.clone();
        for (index, (_, changes)) in directory.pending.iter().enumerate() {
            if kept.contains(&(Some(path), 0, index)) {
                apply(&mut names, changes);
            }
        }
        for (name, entry) in names {
            let whole = path.join(name);
            let relative = whole.strip_prefix(&self.root).unwrap().to_owned();
            match entry {
                Entry::Directory => {
                    image.directories.insert(relative);
                    self.gather(&whole, kept, choice, image);
                }
                Entry::File(number) => {
                    let Some(file) = self.files.get(&number) else {
                        image.files.insert(relative, Arc::default());
                        continue;
                    };
                    let is_kept = |index| kept.contains(&(None, number, index));
                    let changes = file.pending.iter().enumerate().map(|(index, (_, change))| (change, is_kept(index)));
                    image.files.insert(relative, contents(&file.durable, changes, choice));
                }
            }
        }
    }
}

fn apply(names: &mut Names, changes: &[(String, Option<Entry>)]) {
    for (name, entry) in changes {
        match entry {
            Some(entry) => names.insert(name.clone(), *entry),
            None => names.remove(name),
        };
    }
}

/// A file's bytes: the durable ones, changed by those of the changes that are kept.
fn contents<'a>(
    durable: &Arc<Vec<u8>>,
    changes: impl Iterator<Item = (&'a Change, bool)> + Clone,
    choice: &Choice,
) -> Arc<Vec<u8>> {
    if changes.clone().next().is_none() {
        return Arc::clone(durable);
    }
    let mut bytes = durable.to_vec();
    let mut garbage = choice.garbage.map(Rng);
    let mut lengthen = |bytes: &mut Vec<u8>, len: usize| {
        while bytes.len() < len {
            bytes.push(garbage.as_mut().map_or(0, |rng| rng.next() as u8));
        }
    };
    let last =
        changes.clone().enumerate().filter(|(_, (change, kept))| *kept && matches!(change, Change::Bytes { .. }));
    let last = last.last().map(|(index, _)| index);
    let mut length = bytes.len();
    for (index, (change, kept)) in changes.enumerate() {
        match change {
            Change::Bytes { offset, bytes: new } => {
                let torn = choice.torn.filter(|_| Some(index) == last).unwrap_or(new.len()).min(new.len());
                length = length.max(offset + new.len());
                if kept {
                    lengthen(&mut bytes, offset + torn);
                    bytes[*offset..offset + torn].copy_from_slice(&new[..torn]);
                }
            }
            Change::Length(len) => {
                length = *len;
                if kept {
                    bytes.truncate(*len);
                    // The room that a file system gives has zeros in it.
                    bytes.resize(*len, 0);
                }
            }
        }
    }
    if choice.full_length {
        lengthen(&mut bytes, length);
    }
    Arc::new(bytes)
}

/// The most units whose every combination is looked at.
const EXHAUSTIVE_UNITS: usize = 12;

/// Combinations of what `units` units leave: all of them where there are few and `most` allows it; else nothing, everything, what was written up to some
/// moment, all but one, one alone, and random ones.
pub fn choices(units: usize, most: usize, rng: &mut Rng) -> Vec<Choice> {
    let plain = |kept: Vec<bool>| Choice { kept, garbage: None, torn: None, full_length: false };
    if units <= EXHAUSTIVE_UNITS && 1 << units <= most {
        let all = (0..1_usize << units).map(|set| plain((0..units).map(|unit| set >> unit & 1 == 1).collect()));
        return all.collect();
    }
    let mut found = vec![plain(vec![false; units]), plain(vec![true; units])];
    while found.len() < most {
        let one = rng.below(units as u64) as usize;
        let kept: Vec<bool> = match rng.below(5) {
            0 => (0..units).map(|unit| unit < one).collect(),
            1 => (0..units).map(|unit| unit != one).collect(),
            2 => (0..units).map(|unit| unit == one).collect(),
            _ => {
                let share = 1 + rng.below(15);
                (0..units).map(|_| rng.below(16) < share).collect()
            }
        };
        let garbage = (rng.below(3) == 0).then(|| rng.next());
        let torn = (rng.below(3) == 0).then(|| rng.below(SECTOR_BYTES as u64) as usize);
        found.push(Choice { kept, garbage, torn, full_length: rng.below(2) == 0 });
    }
    found
}
