//! Looking at a directory without opening its store.

use crate::arguments::{Outcome, call, give, one, outside_callback, text};
use crate::buffer;
use crate::types::*;
use alluvium::inspect::{self, FileRole, Severity};
use alluvium::manifest::Manifest;
use alluvium_ffi::inspection::checkpoint;
use alluvium_ffi::{Failure, Status};
use std::ffi::c_char;
use std::fmt::Write;
use std::path::Path;

/// Checks every byte of every manifest in a directory and of every segment that one names, and what they say of each other; no store needs to be
/// open. `*faults` says how many are damaged. What was found goes to the buffer, a line for each: `fault` or `note` (a file that nothing needs),
/// the file, where in it, in bytes, and what is wrong, with tabs between; tabs, line breaks and backslashes in names are written `\\t`, `\\n`,
/// `\\\\`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_verify(
    path: *const c_char,
    faults: *mut u64,
    findings: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            outside_callback()?;
            buffer::filling(findings, |out| {
                let found = inspect::verify(Path::new(text(path, "path")?))?;
                let is_fault = |finding: &&inspect::Finding| finding.severity == Severity::Fault;
                give(faults, "faults", found.iter().filter(is_fault).count() as u64)?;
                let mut lines = String::new();
                for finding in &found {
                    let severity = if is_fault(&finding) { "fault" } else { "note" };
                    let (path, problem) = (escaped(&finding.path.to_string_lossy()), escaped(&finding.problem));
                    _ = writeln!(lines, "{severity}\t{path}\t{}\t{problem}", finding.offset);
                }
                out.fill(lines.as_bytes());
                Ok(Status::Ok)
            })
        })
    }
}

/// Leaves lines in a buffer, and how many they are; nothing where making them fails.
fn answer(buffer: alluvium_buffer, lines: impl FnOnce() -> Result<String, Box<Failure>>) -> Outcome {
    buffer::filling(buffer, |out| {
        let lines = lines()?;
        out.records = lines.lines().count();
        out.bytes = lines.into_bytes();
        Ok(Status::Ok)
    })
}

/// What a directory holds, by its manifests and the lengths of its files; no segment is read, and no store needs to be open. A line for each, with tabs
/// between, and escapes as of `alluvium_verify`:
///
/// - `manifest`, its number, the checkpoint's label (nothing where it is none of the host's), when it was made in ms since 1970, how many key groups the job
///   has, the store's first and last one, how many segments it names, and the position in the changelog before which it has everything; in the order of
///   the numbers;
/// - `state` behind its manifest, the state's number, `ALLUVIUM_KIND_...`, its name, and that of its merge operator (nothing where it has none);
/// - `unreadable` in place of a manifest that is damaged, its number, where in it, in bytes, and what is wrong;
/// - `file`, in the order of names: what it is (`manifest`, `segment`, `orphan`: a segment that no manifest names, `temporary`: never completed, `changelog`,
///   `hot-list`, `lock`, or `other`: not of a store), its length in bytes, and its name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_describe(
    path: *const c_char,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            outside_callback()?;
            answer(buffer, || describe(Path::new(text(path, "path")?)))
        })
    }
}

fn describe(path: &Path) -> Result<String, Box<Failure>> {
    let report = inspect::describe(path)?;
    let mut lines = String::new();
    for manifest in &report.manifests {
        match &manifest.content {
            Ok(file) => describe_manifest(&mut lines, &file.manifest),
            Err(error) => {
                let problem = escaped(&format!("{:?}: {}", error.fault, error.detail));
                _ = writeln!(lines, "unreadable\t{}\t{}\t{problem}", manifest.number, error.offset);
            }
        }
    }
    for file in &report.files {
        _ = writeln!(lines, "file\t{}\t{}\t{}", role(file.role), file.bytes, escaped(&file.name));
    }
    Ok(lines)
}

fn describe_manifest(lines: &mut String, manifest: &Manifest) {
    let Manifest { number, label, created_ms, store, segments, log_position, .. } = manifest;
    let label = label.map_or_else(String::new, |label| label.to_string());
    let (groups, first, last) = (store.key_groups, store.range.first(), store.range.last());
    let segments = segments.len();
    _ = writeln!(
        lines,
        "manifest\t{number}\t{label}\t{created_ms}\t{groups}\t{first}\t{last}\t{segments}\t{log_position}"
    );
    for state in &manifest.states {
        let (name, merge) = (escaped(&state.name), escaped(&state.merge));
        _ = writeln!(lines, "state\t{}\t{}\t{name}\t{merge}", state.id.0, state.kind);
    }
}

const fn role(role: FileRole) -> &'static str {
    match role {
        FileRole::Manifest => "manifest",
        FileRole::Segment => "segment",
        FileRole::Orphan => "orphan",
        FileRole::Temporary => "temporary",
        FileRole::Changelog => "changelog",
        FileRole::HotList => "hot-list",
        FileRole::Lock => "lock",
        FileRole::Other => "other",
    }
}

/// How much each state takes in the segments of a checkpoint, null for the newest that can be read: from the segments' directories, not from their records;
/// what a slice clips away counts too. A line for each state and level of segments, in their order, with tabs between, and escapes as of
/// `alluvium_verify`: the state's name, `ALLUVIUM_KIND_...`, the level (0 as flushed, 1 merged, 2 merged to the bottom), how many segments have anything of it, how
/// many records, tombstones and older versions included, how many of these are tombstones, and the bytes of keys, namespaces, user keys and
/// values. `ALLUVIUM_NO_CHECKPOINT` where there is none, `ALLUVIUM_CHECKPOINT` where none has the label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_usage(
    path: *const c_char,
    label: *const u64,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            outside_callback()?;
            answer(buffer, || {
                let label = if label.is_null() { None } else { Some(*one(label, "label")?) };
                usage(Path::new(text(path, "path")?), label)
            })
        })
    }
}

fn usage(path: &Path, label: Option<u64>) -> Result<String, Box<Failure>> {
    let report = inspect::describe(path)?;
    let mut lines = String::new();
    for used in inspect::usage(path, checkpoint(&report, label)?)? {
        let inspect::Usage { state, kind, level, segments, records, tombstones, logical_bytes } = used;
        let state = escaped(&state);
        _ = writeln!(lines, "{state}\t{kind}\t{level}\t{segments}\t{records}\t{tombstones}\t{logical_bytes}");
    }
    Ok(lines)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}
