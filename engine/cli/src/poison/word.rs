//! What the process that has the poisoned store tells its parent.

use serde::{Deserialize, Serialize};

/// A word of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word {
    /// It is about to apply events, or to go on.
    Began {
        /// The event that it goes on from.
        offset: u64,
        /// Whether there was anything to recover, and from before the engine was opened to here, in microseconds.
        recovered_us: Option<u64>,
    },
    /// How far it is.
    Progress {
        /// The next event.
        offset: u64,
    },
    /// All events are applied, and the commit of the last one lasts.
    Applied(Applied),
    /// What the places that the poison reaches were found to hold, before anything is repaired.
    Found {
        /// Whether they hold what they hold without it: all of them, or none.
        repaired: bool,
    },
    /// What a repair would take.
    Planned(Planned),
    /// It begins to repair.
    Repairing,
    /// The repair is done, and not committed yet.
    Repaired(Repaired),
    /// It is, and that lasts.
    Lasting {
        /// How long that took, in microseconds.
        commit_us: u64,
    },
    /// It has nothing to do but to be killed.
    Waiting,
}

/// What it took to apply the events.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Parts of events, each applied by itself.
    pub parts: u64,
    /// From the first event to the last commit's lasting, in microseconds.
    pub took_us: u64,
    /// Complete checkpoints.
    pub checkpoints: u64,
    /// Bytes of the changelog.
    pub log_bytes: u64,
    /// Bytes of memory for the index of who read and wrote what.
    pub index_bytes: u64,
}

/// What a repair would take: a dry run.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Parts that depend on the poisoned ones, these aside.
    pub dependents: u64,
    /// Parts applied since the first poisoned one.
    pub suffix: u64,
    /// Parts that are to be applied again.
    pub applied_again: u64,
    /// How long it took to say so, in microseconds.
    pub took_us: u64,
}

/// What a repair took.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Repaired {
    /// Key groups that were repaired by adding the inverse.
    pub inverse_groups: u64,
    /// Key groups that were repaired by applying parts again, and of these the ones that all of their parts were applied again in.
    pub reexecuted_groups: (u64, u64),
    /// Parts that were applied again.
    pub applied_again: u64,
    /// Keys and map entries that changed.
    pub changed: u64,
    /// Poisoned parts that had been taken back before.
    pub before: u64,
    /// Until it was done, in microseconds.
    pub took_us: u64,
    /// From then until it lasted, as far as that was said.
    pub commit_us: u64,
}
