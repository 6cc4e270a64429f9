//! Looking at a directory from outside: what it holds, and whether all of it is right.
//!
//! Read-only, and takes no lock: the directory may be open in another process or be damaged. What a running store
//! deletes while it is looked at is left out of the report, not reported as missing.

use crate::changelog;
use crate::error::{Error, Result};
use crate::hot_list::{self, List};
use crate::ids::{KeyGroupRange, SegmentId, StateId};
use crate::key::SortKey;
use crate::manifest::{self, Manifest, ManifestFile, StateMap};
use crate::platform::storage::{self, Fault, FileEntry, PageCache, Storage, StorageChoice, StorageError, names};
use crate::segment::{Kind, Segment, SegmentMeta};
use crate::states::StateKind;
use crate::store::state_defs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a directory holds.
#[derive(Clone, Debug)]
pub struct DirectoryReport {
    /// The directory's absolute path.
    pub path: PathBuf,
    /// The manifests, in ascending order of their numbers.
    pub manifests: Vec<ManifestReport>,
    /// The files, in ascending order of their names.
    pub files: Vec<FileReport>,
}

/// A manifest of the directory.
#[derive(Clone, Debug)]
pub struct ManifestReport {
    /// The number that its name says.
    pub number: u64,
    /// What it says, or why it can't be read.
    pub content: std::result::Result<ManifestFile, StorageError>,
}

/// What a file is to the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileRole {
    /// A manifest.
    Manifest,
    /// A segment that a readable manifest names.
    Segment,
    /// A segment that no readable manifest names.
    Orphan,
    /// A file that was never completed.
    Temporary,
    /// A file of the changelog: what was committed since the newest checkpoint.
    Changelog,
    /// A hot list: what was used most, for warming up. Nothing depends on it.
    HotList,
    /// The file that is locked while a store is open.
    Lock,
    /// No file of a store.
    Other,
}

/// A file of the directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its length, in bytes.
    pub bytes: u64,
    /// What it is.
    pub role: FileRole,
}

impl DirectoryReport {
    /// The manifests that could be read, in ascending order of their numbers.
    pub fn readable(&self) -> impl DoubleEndedIterator<Item = &Manifest> {
        self.manifests.iter().filter_map(|report| report.content.as_ref().ok().map(|file| &*file.manifest))
    }

    /// The newest checkpoint that can be read.
    pub fn newest_checkpoint(&self) -> Option<&Manifest> {
        self.readable().rev().find(|manifest| manifest.label.is_some())
    }

    /// The bytes of all files of a role.
    pub fn bytes_of(&self, role: FileRole) -> u64 {
        self.files.iter().filter(|file| file.role == role).map(|file| file.bytes).sum()
    }
}

/// How much of a state lies in segments of one level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    /// The state's name.
    pub state: String,
    /// What kind of state it is, as [`StateKind`] numbers them.
    pub kind: u8,
    /// The segments' level: 0 as flushed, 1 merged, 2 merged to the bottom.
    pub level: u8,
    /// How many segments have anything of it.
    pub segments: u64,
    /// How many records, tombstones and older versions included.
    pub records: u64,
    /// How many of them are tombstones, clears included.
    pub tombstones: u64,
    /// Bytes of keys, namespaces, user keys and values.
    pub logical_bytes: u64,
}

/// How much each state takes in the segments that a checkpoint names, by the states' numbers and levels. It is read
/// from the segments' directories, not from their records; what a slice clips away counts too.
pub fn usage(directory: &Path, checkpoint: &Manifest) -> Result<Vec<Usage>> {
    let storage = open(directory)?;
    let mut usage: BTreeMap<(StateId, u8), Usage> = BTreeMap::new();
    for (meta, map) in with_maps(checkpoint) {
        let segment = Segment::open(&*storage, meta.clone())?;
        let mut seen = BTreeSet::new();
        for index in 0..segment.directory_len() {
            let Some(entry) = segment.directory_entry(index)? else { continue };
            let Some(id) = map.to_store(StateId(entry.state)) else { continue };
            let Some(state) = checkpoint.states.get(usize::from(id.0)) else { continue };
            let used = usage.entry((id, meta.level)).or_insert_with(|| Usage {
                state: state.name.clone(),
                kind: state.kind,
                level: meta.level,
                segments: 0,
                records: 0,
                tombstones: 0,
                logical_bytes: 0,
            });
            used.segments += u64::from(seen.insert(id));
            used.records += entry.entries;
            used.tombstones += entry.tombstones;
            used.logical_bytes += entry.logical_bytes;
        }
    }
    Ok(usage.into_values().collect())
}

/// The segments of a manifest, each with the map of its first place in a stack.
fn with_maps(manifest: &Manifest) -> impl Iterator<Item = (&SegmentMeta, &StateMap)> {
    let mut maps = vec![0; manifest.segments.len()];
    for entry in manifest.slices.iter().rev().flat_map(|slice| &slice.stack) {
        if let Some(map) = maps.get_mut(entry.segment as usize) {
            *map = entry.map as usize;
        }
    }
    manifest.segments.iter().zip(maps).filter_map(|(meta, map)| Some((&**meta, manifest.maps.get(map)?)))
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Worth knowing: a file that the store doesn't need.
    Note,
    /// Damage: some checkpoint of the directory is not what it was.
    Fault,
}

/// Something that [`verify`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub path: PathBuf,
    /// Where in the file, in bytes; 0 where no place can be told.
    pub offset: u64,
    /// What is wrong.
    pub problem: String,
}

impl Finding {
    fn of(error: StorageError) -> Self {
        let problem = format!("{:?}: {}", error.fault, error.detail);
        Self { severity: Severity::Fault, path: error.path, offset: error.offset, problem }
    }
}

fn open(directory: &Path) -> Result<Arc<dyn Storage>> {
    // Through the page cache and with plain calls: nothing here is in a hurry, and nothing has to be set up.
    Ok(storage::open(directory, StorageChoice::Posix, PageCache::Everything, false)?)
}

/// Describes a directory from its manifests and the lengths of its files; no segment is read.
pub fn describe(directory: &Path) -> Result<DirectoryReport> {
    describe_in(&*open(directory)?)
}

fn describe_in(storage: &dyn Storage) -> Result<DirectoryReport> {
    let mut manifests = Vec::new();
    for number in manifest::reader::numbers(storage)? {
        let content = manifest::reader::read(storage, number);
        // Deleted since it was listed.
        if !matches!(&content, Err(error) if error.fault == Fault::Missing) {
            manifests.push(ManifestReport { number, content });
        }
    }
    // After the manifests: each segment that they name is listed, unless it is missing or a store deletes just now.
    let mut listed = storage.list()?;
    listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut report = DirectoryReport { path: storage.root().to_owned(), manifests, files: Vec::new() };
    let named: BTreeSet<SegmentId> =
        report.readable().flat_map(|manifest| manifest.segments.iter().map(|meta| meta.id)).collect();
    report.files = listed.into_iter().map(|file| classify(file, &named)).collect();
    Ok(report)
}

fn classify(file: FileEntry, named: &BTreeSet<SegmentId>) -> FileReport {
    let role = match names::parse_segment_name(&file.name).map(SegmentId) {
        Some(id) if named.contains(&id) => FileRole::Segment,
        Some(_) => FileRole::Orphan,
        None if names::parse_manifest_name(&file.name).is_some() => FileRole::Manifest,
        None if names::is_temporary_name(&file.name) => FileRole::Temporary,
        None if names::parse_changelog_name(&file.name).is_some() => FileRole::Changelog,
        None if names::parse_hot_list_name(&file.name).is_some() => FileRole::HotList,
        None if file.name == names::LOCK => FileRole::Lock,
        None => FileRole::Other,
    };
    FileReport { name: file.name, bytes: file.len, role }
}

/// Checks every byte of every manifest, and of every segment that one names, and what they say of each other, and of the changelog all that its
/// files have that was committed.
///
/// Checked are all checksums; that names, numbers, identities and lengths agree; that a manifest's parent is the one
/// that it was made from; that what a manifest says of a segment is what the segment says of itself; and that its
/// records are of states that the manifest knows and of the kinds that these states have. One fault is reported for
/// each file and reference; files that nothing needs are notes. An error means that the directory can't be listed.
pub fn verify(directory: &Path) -> Result<Vec<Finding>> {
    let opened = open(directory)?;
    let storage = &*opened;
    let report = describe_in(storage)?;
    let mut findings = Vec::new();
    for manifest in &report.manifests {
        match &manifest.content {
            Ok(file) => verify_manifest(storage, &report, file, &mut findings),
            Err(error) => findings.push(Finding::of(error.clone())),
        }
    }
    verify_segments(storage, &report, &mut findings)?;
    findings.extend(verify_changelog(&opened, &report)?);
    for file in &report.files {
        let problem = match file.role {
            FileRole::Orphan => "a segment that no manifest names",
            FileRole::Temporary => "a file that was never completed",
            FileRole::Other => "not a file of a store",
            FileRole::HotList => match verify_hot_list(storage, &report, &file.name) {
                Ok(()) => continue,
                Err(_) => "a hot list that is damaged: what it has is in segments as well",
            },
            FileRole::Manifest | FileRole::Segment | FileRole::Changelog | FileRole::Lock => continue,
        };
        let path = report.path.join(&file.name);
        findings.push(Finding { severity: Severity::Note, path, offset: 0, problem: problem.to_owned() });
    }
    Ok(findings)
}

/// Checks every byte of a hot list.
fn verify_hot_list(storage: &dyn Storage, report: &DirectoryReport, name: &str) -> Result<()> {
    let (Some(number), Some(manifest)) = (names::parse_hot_list_name(name), report.readable().last()) else {
        return Ok(());
    };
    let list = List::open(storage, number, manifest.store.uuid)?;
    for chunk in list.chunks() {
        let bytes = list.read(chunk)?;
        hot_list::format::entries(chunk, &bytes).map_err(|error| {
            StorageError::new(Fault::Corrupt, storage.root().join(name), chunk.offset, error.to_string())
        })?;
    }
    Ok(())
}

/// So often it is looked again where a store has taken a checkpoint, and cut its changelog, meanwhile.
const CUT_MEANWHILE_MAX: usize = 8;

/// What is wrong with the changelog behind the newest manifest that can be read, and with what there is of it before.
fn verify_changelog(storage: &Arc<dyn Storage>, report: &DirectoryReport) -> Result<Option<Finding>> {
    let mut newest = report.readable().last().cloned();
    for _ in 0..CUT_MEANWHILE_MAX {
        let Some(manifest) = newest else { return Ok(None) };
        let files: Vec<String> = storage.list()?.into_iter().map(|file| file.name).collect();
        let checked = changelog::check::check(storage, &files, manifest.store.uuid, manifest.log_position);
        let Err(error) = checked else { return Ok(None) };
        newest = describe_in(&**storage)?.readable().last().cloned();
        if newest.as_ref().is_some_and(|newest| newest.number == manifest.number) {
            return Ok(Some(match error {
                Error::Storage(error) => Finding::of(error),
                error => {
                    let (severity, path) = (Severity::Fault, report.path.clone());
                    Finding { severity, path, offset: 0, problem: format!("the changelog: {error}") }
                }
            }));
        }
    }
    Ok(None)
}

fn manifest_path(storage: &dyn Storage, number: u64) -> PathBuf {
    storage.root().join(names::manifest_name(number))
}

fn verify_manifest(storage: &dyn Storage, report: &DirectoryReport, file: &ManifestFile, findings: &mut Vec<Finding>) {
    let manifest = &file.manifest;
    let mut fault = |problem: String| {
        let path = manifest_path(storage, manifest.number);
        findings.push(Finding { severity: Severity::Fault, path, offset: 0, problem });
    };
    if let Some(parent) = manifest.parent {
        let found = report.manifests.iter().find(|other| other.number == parent.number);
        let digest = found.and_then(|found| found.content.as_ref().ok()).map(|found| found.digest);
        if parent.number >= manifest.number {
            fault(format!("its parent is manifest {}, which is not older", parent.number));
        } else if digest.is_some_and(|digest| digest != parent.digest) {
            fault(format!("manifest {} is not the one that it was made from", parent.number));
        }
    }
    if let Some(first) = report.readable().next()
        && (first.store.uuid, first.store.key_groups) != (manifest.store.uuid, manifest.store.key_groups)
    {
        fault(format!("belongs to another store than manifest {}", first.number));
    }
    if let Err(error) = state_defs(manifest) {
        fault(error.to_string());
    }
    for state in &manifest.states {
        let merges = state.kind == StateKind::Merging as u8;
        if merges == state.merge.is_empty() {
            fault(format!("state {:?} of kind {} merges by {:?}", state.name, state.kind, state.merge));
        }
    }
}

/// How a manifest sees a segment.
struct Use<'a> {
    manifest: &'a Manifest,
    maps: BTreeSet<u32>,
    ranges: Vec<KeyGroupRange>,
}

/// A segment, and everything that names it.
struct Named<'a> {
    meta: &'a SegmentMeta,
    uses: Vec<Use<'a>>,
}

/// The segments that readable manifests name. What a later manifest says of one otherwise than an earlier is a fault.
fn named_segments<'a>(
    storage: &dyn Storage,
    report: &'a DirectoryReport,
    findings: &mut Vec<Finding>,
) -> BTreeMap<SegmentId, Named<'a>> {
    let mut segments: BTreeMap<SegmentId, Named<'a>> = BTreeMap::new();
    for manifest in report.readable() {
        let mut uses: Vec<Use<'a>> =
            manifest.segments.iter().map(|_| Use { manifest, maps: BTreeSet::new(), ranges: Vec::new() }).collect();
        for slice in &manifest.slices {
            for entry in &slice.stack {
                if let Some(used) = uses.get_mut(entry.segment as usize) {
                    used.maps.insert(entry.map);
                    used.ranges.push(slice.range);
                }
            }
        }
        for (meta, used) in manifest.segments.iter().zip(uses) {
            let named = segments.entry(meta.id).or_insert_with(|| Named { meta, uses: Vec::new() });
            if *named.meta != **meta {
                let problem = format!("describes segment {} otherwise than an older manifest", meta.id);
                let path = manifest_path(storage, manifest.number);
                findings.push(Finding { severity: Severity::Fault, path, offset: 0, problem });
            }
            named.uses.push(used);
        }
    }
    segments
}

fn verify_segments(storage: &dyn Storage, report: &DirectoryReport, findings: &mut Vec<Finding>) -> Result<()> {
    let segments = named_segments(storage, report, findings);
    for named in segments.values() {
        let mut seen = Seen::default();
        let checked = Segment::open(storage, named.meta.clone())
            .and_then(|segment| segment.verify(&mut |entry| seen.add(entry.sort_key, entry.kind)));
        if let Err(error) = checked {
            if error.fault == Fault::Missing && !still_named(storage, named)? {
                continue;
            }
            findings.push(Finding::of(error));
            continue;
        }
        let path = storage.root().join(names::segment_name(named.meta.id.0));
        for used in &named.uses {
            for problem in seen.problems(used) {
                findings.push(Finding { severity: Severity::Fault, path: path.clone(), offset: 0, problem });
            }
        }
    }
    Ok(())
}

/// Whether a manifest that names the segment is still there.
fn still_named(storage: &dyn Storage, named: &Named<'_>) -> Result<bool> {
    let numbers = manifest::reader::numbers(storage)?;
    Ok(named.uses.iter().any(|used| numbers.contains(&used.manifest.number)))
}

/// Which kinds of records a segment has of a state.
#[derive(Clone, Copy, Default)]
struct Records {
    cells: bool,
    entries: bool,
    merges: bool,
    clears: bool,
}

/// What was seen in a segment.
#[derive(Default)]
struct Seen {
    /// By key group and the segment's number of the state.
    records: BTreeMap<(u16, StateId), Records>,
}

impl Seen {
    fn add(&mut self, sort_key: &[u8], kind: Kind) {
        // What is no sort key was refused before.
        let Some(parts) = SortKey::decode(sort_key) else { return };
        let records = self.records.entry((parts.key.group.0, parts.state)).or_default();
        match kind {
            Kind::Clear => records.clears = true,
            _ if parts.user_key.is_some() => records.entries = true,
            _ => records.cells = true,
        }
        records.merges |= kind == Kind::Merge;
    }

    /// What doesn't fit how a manifest sees the segment. Records outside its slices are clipped, those of states that
    /// a map leaves out are hidden: neither is looked at.
    fn problems(&self, used: &Use<'_>) -> Vec<String> {
        let mut problems = BTreeSet::new();
        let inside = |group: u16| used.ranges.iter().any(|range| range.first() <= group && group <= range.last());
        for (&(group, state), records) in &self.records {
            if !inside(group) {
                continue;
            }
            for map in &used.maps {
                let map = used.manifest.maps.get(*map as usize).unwrap_or(&StateMap::Identity);
                let Some(known_as) = map.to_store(state) else { continue };
                if let Some(problem) = records.problem(used.manifest, known_as) {
                    problems.insert(problem);
                }
            }
        }
        let number = used.manifest.number;
        problems.into_iter().map(|problem| format!("as manifest {number} sees it: {problem}")).collect()
    }
}

impl Records {
    fn problem(self, manifest: &Manifest, state: StateId) -> Option<String> {
        let Some(info) = manifest.states.get(usize::from(state.0)) else {
            return Some(format!("a record of state {}, which is unknown", state.0));
        };
        let kind = StateKind::from_u8(info.kind)?;
        let is_map = kind == StateKind::Map;
        let operands = matches!(kind, StateKind::List | StateKind::Merging);
        let wrong = if is_map && self.cells {
            "a value without a user key"
        } else if !is_map && self.entries {
            "a map entry"
        } else if !is_map && self.clears {
            "a clear"
        } else if !operands && self.merges {
            "an operand"
        } else {
            return None;
        };
        Some(format!("{wrong} in state {:?} of kind {kind:?}", info.name))
    }
}
