//! Looking at a directory without opening its store.

use crate::arguments::{call, give, outside_callback, text};
use crate::buffer;
use crate::types::*;
use alluvium::inspect::{self, Severity};
use alluvium_ffi::Status;
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
            let found = inspect::verify(Path::new(text(path, "path")?))?;
            let is_fault = |finding: &&inspect::Finding| finding.severity == Severity::Fault;
            give(faults, "faults", found.iter().filter(is_fault).count() as u64)?;
            let mut lines = String::new();
            for finding in &found {
                let severity = if is_fault(&finding) { "fault" } else { "note" };
                let (path, problem) = (escaped(&finding.path.to_string_lossy()), escaped(&finding.problem));
                _ = writeln!(lines, "{severity}\t{path}\t{}\t{problem}", finding.offset);
            }
            buffer::answer(findings, Some(lines.as_bytes()))?;
            Ok(Status::Ok)
        })
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}
