//! Which checkpoint of a directory is asked for that nobody has open.

use alluvium::inspect::DirectoryReport;
use alluvium::manifest::Manifest;
use alluvium::{Error, Result};

/// The newest checkpoint of a label that can be read, or the newest of all.
///
/// # Errors
/// [`Error::NoCheckpoint`] where there is none, [`Error::Checkpoint`] where none has the label.
pub fn checkpoint(report: &DirectoryReport, label: Option<u64>) -> Result<&Manifest> {
    match label {
        None => report.newest_checkpoint().ok_or_else(|| Error::NoCheckpoint { directory: report.path.clone() }),
        Some(label) => {
            let found = report.readable().rev().find(|manifest| manifest.label == Some(label));
            found.ok_or_else(|| Error::Checkpoint {
                label,
                problem: "there is none of this label that can be read".into(),
            })
        }
    }
}
