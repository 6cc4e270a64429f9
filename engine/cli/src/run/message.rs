//! What the worker and the check tell the parent: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::check::compare::Comparison;
use crate::poison::word::Word;

/// A line from a child.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// The worker is about to begin, or to go on.
    Started {
        /// The event that it goes on from.
        event: u64,
        /// Whether it recovered from a checkpoint.
        recovered: bool,
        /// From before the engine was opened to the first value read, in microseconds.
        first_read_us: u64,
    },
    /// How far the worker is.
    Progress(Progress),
    /// A barrier was passed.
    Barrier {
        /// The checkpoint's label.
        label: u64,
        /// The event after it.
        event: u64,
        /// How long the barrier held the job up.
        barrier_ns: u64,
    },
    /// A checkpoint is complete.
    Checkpoint {
        /// Its label.
        label: u64,
        /// From the barrier to the end.
        duration_us: u64,
        /// Bytes of the files that it added.
        new_bytes: u64,
        /// Bytes of the files that hold what changed.
        flushed_bytes: u64,
        /// Bytes of the keys and values that changed.
        changed_bytes: u64,
        /// Bytes of all files that it names.
        total_bytes: u64,
    },
    /// A commit lasts: the worker will never go on from before it.
    Lasting {
        /// The event after it.
        event: u64,
        /// From the commit to the word that it lasts, in microseconds.
        took_us: u64,
    },
    /// The worker is through, its last checkpoint is complete and its store closed.
    Finished,
    /// The check has computed what is expected.
    Expected,
    /// The check is through.
    Checked(Comparison),
    /// What the process whose store is poisoned says.
    Poison(Word),
    /// The child gives up.
    Failed {
        /// Why.
        message: String,
    },
}

/// How far the worker is. Counters count from its start.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The next event.
    pub event: u64,
    /// Operations on the state.
    pub state_ops: u64,
    /// Latencies of sampled operations since the last message: nanoseconds and how often.
    pub latencies: Vec<(u64, u64)>,
    /// Bytes written to files.
    pub written_bytes: u64,
    /// Bytes of the keys and values that were flushed.
    pub changed_bytes: u64,
    /// Segments in use.
    pub segments: u64,
    /// How much of the budget is in use.
    pub used_bytes: u64,
}

impl Message {
    /// The message as a line.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|text| text + "\n")
    }

    /// Reads a line.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}
