//! `inspect`, `verify` and `stats`: a store's directory from outside, while it is open, closed or damaged.
//!
//! What is shown is gathered into plain structs first, so that `--json` and the text say the same.

use std::fmt::Write;
use std::path::Path;

use alluvium::StateKind;
use alluvium::inspect::{self, DirectoryReport, FileRole, Severity};
use alluvium::manifest::{Manifest, ManifestFile};
use serde::Serialize;

use crate::args::{InspectArguments, StatsArguments, VerifyArguments};
use crate::failure::{EXIT_FAILED, Failure, Outcome};
use crate::format::{bytes, columns, thousands};

#[derive(Serialize)]
struct Directory {
    path: String,
    manifests: Vec<Summary>,
    shown: Option<Details>,
    files: Vec<File>,
}

/// A manifest in one line.
#[derive(Serialize)]
struct Summary {
    number: u64,
    label: Option<u64>,
    created_ms: Option<u64>,
    epoch: Option<u32>,
    segments: Option<usize>,
    bytes: Option<u64>,
    error: Option<String>,
}

/// One manifest in full.
#[derive(Serialize)]
struct Details {
    number: u64,
    label: Option<u64>,
    created_ms: u64,
    epoch: u32,
    purge_clock_ms: u64,
    parent: Option<u64>,
    key_groups: u32,
    range: [u16; 2],
    states: Vec<State>,
    offsets: Vec<Offset>,
    metadata_bytes: usize,
    segments: Vec<Segment>,
    slices: Vec<Slice>,
}

#[derive(Serialize)]
struct State {
    id: u16,
    name: String,
    kind: String,
    merge: String,
    expires: bool,
}

#[derive(Serialize)]
struct Offset {
    range: [u16; 2],
    bytes: usize,
}

#[derive(Serialize)]
struct Segment {
    id: String,
    level: u8,
    epochs: [u32; 2],
    groups: [u16; 2],
    records: u64,
    tombstones: u64,
    bytes: u64,
    logical_bytes: u64,
}

#[derive(Serialize)]
struct Slice {
    range: [u16; 2],
    /// Newest first.
    stack: Vec<String>,
}

#[derive(Serialize)]
struct File {
    name: String,
    bytes: u64,
    role: &'static str,
}

#[derive(Serialize)]
struct Finding {
    severity: &'static str,
    path: String,
    offset: u64,
    problem: String,
}

#[derive(Serialize)]
struct Stats {
    path: String,
    checkpoints: usize,
    segments: usize,
    segment_bytes: u64,
    manifest_bytes: u64,
    orphan_bytes: u64,
    states: Vec<Usage>,
}

#[derive(Serialize)]
struct Usage {
    state: String,
    kind: String,
    level: u8,
    segments: u64,
    records: u64,
    tombstones: u64,
    logical_bytes: u64,
}

/// Shows what a directory holds.
pub fn inspect(arguments: &InspectArguments) -> Outcome<u8> {
    let report = inspect::describe(&arguments.dir)?;
    let shown = match arguments.label {
        Some(label) => {
            let found = report.readable().rev().find(|manifest| manifest.label == Some(label));
            Some(found.ok_or_else(|| Failure::new(format_args!("no readable checkpoint is labelled {label}")))?)
        }
        None => report.readable().next_back(),
    };
    let directory = Directory {
        path: report.path.display().to_string(),
        manifests: report.manifests.iter().map(|manifest| summary(manifest.number, &manifest.content)).collect(),
        shown: shown.map(details),
        files: files(&report),
    };
    print(arguments.json, &directory, &text_of(&directory))?;
    Ok(0)
}

/// Checks a directory; exit code 1 where it has faults.
pub fn verify(arguments: &VerifyArguments) -> Outcome<u8> {
    let found = inspect::verify(&arguments.dir)?;
    let faults = found.iter().filter(|finding| finding.severity == Severity::Fault).count();
    let findings: Vec<Finding> = found
        .into_iter()
        .map(|finding| Finding {
            severity: if finding.severity == Severity::Fault { "fault" } else { "note" },
            path: finding.path.display().to_string(),
            offset: finding.offset,
            problem: finding.problem,
        })
        .collect();
    let mut text = String::new();
    for Finding { severity, path, offset, problem } in &findings {
        line(&mut text, format_args!("{severity}: {path}: at offset {offset}: {problem}"));
    }
    line(&mut text, format_args!("{faults} faults, {} notes", findings.len() - faults));
    print(arguments.json, &findings, &text)?;
    Ok(if faults == 0 { 0 } else { EXIT_FAILED })
}

/// Shows how much each state takes in the newest checkpoint.
pub fn stats(arguments: &StatsArguments) -> Outcome<u8> {
    let report = inspect::describe(&arguments.dir)?;
    let newest = report.newest_checkpoint();
    let newest = newest.ok_or_else(|| Failure::new(format_args!("{}: no readable checkpoint", shown(&report.path))))?;
    let usage = inspect::usage(&arguments.dir, newest)?;
    let stats = Stats {
        path: shown(&report.path),
        checkpoints: report.readable().filter(|manifest| manifest.label.is_some()).count(),
        segments: newest.segments.len(),
        segment_bytes: newest.segments.iter().map(|meta| meta.file_bytes).sum(),
        manifest_bytes: report.bytes_of(FileRole::Manifest),
        orphan_bytes: report.bytes_of(FileRole::Orphan) + report.bytes_of(FileRole::Temporary),
        states: usage
            .into_iter()
            .map(|used| Usage {
                state: used.state,
                kind: kind(used.kind),
                level: used.level,
                segments: used.segments,
                records: used.records,
                tombstones: used.tombstones,
                logical_bytes: used.logical_bytes,
            })
            .collect(),
    };
    print(arguments.json, &stats, &text_of_stats(&stats))?;
    Ok(0)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn print(json: bool, value: &impl Serialize, text: &str) -> Outcome<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(value).map_err(Failure::new)?);
    } else {
        print!("{text}");
    }
    Ok(())
}

/// Adds a line; writing to a string can't fail.
fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{words}");
}

fn summary(number: u64, content: &Result<ManifestFile, alluvium::platform::storage::StorageError>) -> Summary {
    let file = content.as_ref().ok();
    let manifest = file.map(|file| &file.manifest);
    Summary {
        number,
        label: manifest.and_then(|manifest| manifest.label),
        created_ms: manifest.map(|manifest| manifest.created_ms),
        epoch: manifest.map(|manifest| manifest.epoch.0),
        segments: manifest.map(|manifest| manifest.segments.len()),
        bytes: file.map(|file| file.file_bytes),
        error: content.as_ref().err().map(ToString::to_string),
    }
}

fn kind(number: u8) -> String {
    StateKind::from_u8(number).map_or_else(|| format!("unknown {number}"), |kind| format!("{kind:?}").to_lowercase())
}

fn range(range: alluvium::KeyGroupRange) -> [u16; 2] {
    [range.first(), range.last()]
}

fn details(manifest: &Manifest) -> Details {
    let id = |index: u32| manifest.segments.get(index as usize).map_or_else(String::new, |meta| meta.id.to_string());
    Details {
        number: manifest.number,
        label: manifest.label,
        created_ms: manifest.created_ms,
        epoch: manifest.epoch.0,
        purge_clock_ms: manifest.purge_clock_ms,
        parent: manifest.parent.map(|parent| parent.number),
        key_groups: manifest.store.key_groups,
        range: range(manifest.store.range),
        states: manifest
            .states
            .iter()
            .map(|state| State {
                id: state.id.0,
                name: state.name.clone(),
                kind: kind(state.kind),
                merge: state.merge.clone(),
                expires: state.ttl.is_some(),
            })
            .collect(),
        offsets: manifest.offsets.iter().map(|(of, at)| Offset { range: range(*of), bytes: at.len() }).collect(),
        metadata_bytes: manifest.metadata.len(),
        segments: manifest
            .segments
            .iter()
            .map(|meta| Segment {
                id: meta.id.to_string(),
                level: meta.level,
                epochs: [meta.epoch_low.0, meta.epoch_high.0],
                groups: range(meta.groups),
                records: meta.entries,
                tombstones: meta.tombstones,
                bytes: meta.file_bytes,
                logical_bytes: meta.logical_bytes,
            })
            .collect(),
        slices: manifest
            .slices
            .iter()
            .map(|slice| Slice {
                range: range(slice.range),
                stack: slice.stack.iter().map(|entry| id(entry.segment)).collect(),
            })
            .collect(),
    }
}

fn files(report: &DirectoryReport) -> Vec<File> {
    let role = |role| match role {
        FileRole::Manifest => "manifest",
        FileRole::Segment => "segment",
        FileRole::Orphan => "orphan",
        FileRole::Temporary => "temporary",
        FileRole::Changelog => "changelog",
        FileRole::HotList => "hot list",
        FileRole::Lock => "lock",
        FileRole::Other => "other",
    };
    let file = |file: &inspect::FileReport| File { name: file.name.clone(), bytes: file.bytes, role: role(file.role) };
    report.files.iter().map(file).collect()
}

fn cells<const N: usize>(cells: [&dyn std::fmt::Display; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}

fn text_of(directory: &Directory) -> String {
    let mut text = format!("{}\n\n", directory.path);
    let mut table = vec![cells([&"manifest", &"label", &"epoch", &"segments", &"size"])];
    for manifest in &directory.manifests {
        if let Some(error) = &manifest.error {
            line(&mut text, format_args!("manifest {} can't be read: {error}", manifest.number));
            continue;
        }
        let label = manifest.label.map_or_else(|| "-".to_owned(), |label| label.to_string());
        let (epoch, segments) = (manifest.epoch.unwrap_or(0), manifest.segments.unwrap_or(0));
        table.push(cells([&manifest.number, &label, &epoch, &segments, &bytes(manifest.bytes.unwrap_or(0))]));
    }
    text.push_str(&columns(&table));
    if let Some(details) = &directory.shown {
        text_of_details(&mut text, details);
    }
    let rest: Vec<_> =
        directory.files.iter().filter(|file| !["manifest", "segment", "lock"].contains(&file.role)).collect();
    if !rest.is_empty() {
        line(&mut text, format_args!("\nnot needed"));
        text.push_str(&columns(
            &rest.iter().map(|file| cells([&file.name, &file.role, &bytes(file.bytes)])).collect::<Vec<_>>(),
        ));
    }
    text
}

fn text_of_details(text: &mut String, details: &Details) {
    let [first, last] = details.range;
    let label = details.label.map_or_else(|| "no label".to_owned(), |label| format!("label {label}"));
    line(
        text,
        format_args!("\nmanifest {} ({label}): key groups {first} to {last} of {}", details.number, details.key_groups),
    );
    let mut table = vec![cells([&"state", &"number", &"kind", &"merges by", &"expires"])];
    for state in &details.states {
        let merge = if state.merge.is_empty() { "-" } else { &state.merge };
        table.push(cells([&state.name, &state.id, &state.kind, &merge, &if state.expires { "yes" } else { "no" }]));
    }
    line(text, format_args!("\n{}", columns(&table)));
    let head = ["segment", "level", "epochs", "key groups", "records", "tombstones", "size", "keys and values"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for segment in &details.segments {
        table.push(cells([
            &segment.id,
            &segment.level,
            &format!("{}-{}", segment.epochs[0], segment.epochs[1]),
            &format!("{}-{}", segment.groups[0], segment.groups[1]),
            &thousands(segment.records),
            &thousands(segment.tombstones),
            &bytes(segment.bytes),
            &bytes(segment.logical_bytes),
        ]));
    }
    text.push_str(&columns(&table));
    for slice in &details.slices {
        line(text, format_args!("\nkey groups {} to {}, newest first", slice.range[0], slice.range[1]));
        for id in &slice.stack {
            line(text, format_args!("  {id}"));
        }
    }
    for offset in &details.offsets {
        line(
            text,
            format_args!("\noffsets of {} to {}: {}", offset.range[0], offset.range[1], bytes(offset.bytes as u64)),
        );
    }
}

fn text_of_stats(stats: &Stats) -> String {
    let mut text = format!("{}\n\n", stats.path);
    text.push_str(&columns(&[
        cells([&"checkpoints", &thousands(stats.checkpoints as u64)]),
        cells([&"segments of the newest", &thousands(stats.segments as u64)]),
        cells([&"their size", &bytes(stats.segment_bytes)]),
        cells([&"manifests", &bytes(stats.manifest_bytes)]),
        cells([&"not needed", &bytes(stats.orphan_bytes)]),
    ]));
    let head = ["state", "kind", "level", "segments", "records", "tombstones", "keys and values"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for used in &stats.states {
        table.push(cells([
            &used.state,
            &used.kind,
            &used.level,
            &thousands(used.segments),
            &thousands(used.records),
            &thousands(used.tombstones),
            &bytes(used.logical_bytes),
        ]));
    }
    line(&mut text, format_args!("\n{}", columns(&table).trim_end()));
    text
}
