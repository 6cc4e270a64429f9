//! to be written
use crate::support::child::Report;
use crate::support::workload::Plan;
use alluvium::StorageChoice;
use std::path::Path;
pub fn role(role: &str, _store: &Path, _report: &mut Report, _plan: Plan, _storage: StorageChoice) {
    panic!("{role}")
}
