//! The report of a run.
use crate::run::record::Record;
/// The page.
pub fn page(_record: &Record) -> String {
    String::new()
}
