//! Looking at a directory without opening its store.

use crate::entry::{answer, bytes, natives};
use crate::wire::{Request, Response};
use alluvium::inspect::{self, FileRole, Severity};
use alluvium::manifest::Manifest;
use alluvium_ffi::inspection::checkpoint;
use jni::sys::{jint, jlong};
use std::path::Path;

/// As `DirectoryReport.Role` counts them.
const fn role(role: FileRole) -> i32 {
    match role {
        FileRole::Manifest => 0,
        FileRole::Segment => 1,
        FileRole::Orphan => 2,
        FileRole::Temporary => 3,
        FileRole::Changelog => 4,
        FileRole::HotList => 5,
        FileRole::Lock => 6,
        FileRole::Other => 7,
    }
}

fn put_manifest(out: &mut Response, manifest: &Manifest) {
    let Manifest { label, created_ms, store, segments, log_position, states, .. } = manifest;
    out.int(label.is_some().into()).long(label.unwrap_or_default()).long(*created_ms).int(store.key_groups as i32);
    out.int(store.range.first().into()).int(store.range.last().into()).long(segments.len() as u64).long(*log_position);
    out.int(states.len() as i32);
    for state in states {
        out.int(state.id.0.into()).int(state.kind.into()).bytes(state.name.as_bytes()).bytes(state.merge.as_bytes());
    }
}

natives! {
    /// What is wrong with a directory: whether it is a fault, the file, where in it, and the problem, one after another.
    fn verify(address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut request = Request(bytes(address, len)?);
        let mut response = Response::default();
        for finding in inspect::verify(Path::new(request.text()?))? {
            response.int((finding.severity == Severity::Fault).into());
            response.bytes(finding.path.to_string_lossy().as_bytes()).long(finding.offset).bytes(finding.problem.as_bytes());
        }
        answer(response.0, into, capacity)
    }

    /// What a directory holds: its path, its manifests, each its number, whether it can be read, and its content or what is wrong; and its files, each what it
    /// is, its length and its name.
    fn describe(address: jlong, len: jint, into: jlong, capacity: jint) {
        let report = inspect::describe(Path::new(Request(bytes(address, len)?).text()?))?;
        let mut out = Response::default();
        out.bytes(report.path.to_string_lossy().as_bytes()).int(report.manifests.len() as i32);
        for manifest in &report.manifests {
            out.long(manifest.number).int(manifest.content.is_ok().into());
            match &manifest.content {
                Ok(file) => put_manifest(&mut out, &file.manifest),
                Err(error) => {
                    out.bytes(format!("{:?}: {}", error.fault, error.detail).as_bytes());
                }
            }
        }
        out.int(report.files.len() as i32);
        for file in &report.files {
            out.int(role(file.role)).long(file.bytes).bytes(file.name.as_bytes());
        }
        answer(out.0, into, capacity)
    }

    /// How much each state takes in a checkpoint: the directory, whether there is a label, and the label.
    fn usage(address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut request = Request(bytes(address, len)?);
        let (path, has_label, label) = (Path::new(request.text()?), request.flag()?, request.long()? as u64);
        let report = inspect::describe(path)?;
        let used = inspect::usage(path, checkpoint(&report, has_label.then_some(label))?)?;
        let mut out = Response::default();
        out.int(used.len() as i32);
        for used in &used {
            out.bytes(used.state.as_bytes()).int(used.kind.into()).int(used.level.into()).long(used.segments);
            out.long(used.records).long(used.tombstones).long(used.logical_bytes);
        }
        answer(out.0, into, capacity)
    }
}
