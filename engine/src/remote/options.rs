//! Options of remote directories and restores.

use super::error::{RemoteError, RemoteResult};
use super::format::SUM_CHUNK_BYTES;
use crate::ids::KeyGroupRange;
use std::time::Duration;

/// The smallest part of an upload in several parts that all remotes take, in bytes.
pub const PART_BYTES_MIN: usize = 5 << 20;

/// How requests that fail in passing are made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryOptions {
    /// How often a request is made, at least once.
    pub tries: u32,
    /// How long is waited before the second time, about: the pause doubles each time, and is drawn from half of it to all of it.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// After how long a request counts as failed.
    pub timeout: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            tries: 6,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
        }
    }
}

/// Options of a [`Remote`](super::Remote).
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// How many checkpoints are kept, the newest; older ones go when a new one is complete. At least 1.
    pub keep: usize,
    /// How many requests of an upload are under way at once; each holds a part in memory.
    pub concurrency: usize,
    /// The length of the parts in which large segments are uploaded and read back, in bytes; at least [`PART_BYTES_MIN`]. Longer
    /// ones are taken for segments that would have too many.
    pub part_bytes: usize,
    /// Whether everything is read back and compared before a checkpoint that names it is published. Without it lengths alone
    /// are.
    pub read_back: bool,
    /// Whether a store is told ([`Store::confirm`](crate::Store::confirm), [`Store::subsume`](crate::Store::subsume)) that a
    /// checkpoint is complete when it is here. A host with several stores to a checkpoint says so itself.
    pub confirm: bool,
    /// How requests are made again.
    pub retry: RetryOptions,
    /// What a remote that is opened by its URL is configured with: keys of `object_store`, such as `aws_region`,
    /// `aws_endpoint` or `azure_storage_account_name`. They go before what the environment says (`AWS_...`, `GOOGLE_...`,
    /// `AZURE_...`).
    pub configuration: Vec<(String, String)>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            keep: 3,
            concurrency: 4,
            part_bytes: 8 << 20,
            read_back: true,
            confirm: true,
            retry: RetryOptions::default(),
            configuration: Vec::new(),
        }
    }
}

fn problem<T>(option: &'static str, problem: &str) -> RemoteResult<T> {
    Err(RemoteError::Options { option, problem: problem.into() })
}

impl RemoteOptions {
    pub(super) fn validate(&self) -> RemoteResult<()> {
        if self.keep == 0 {
            return problem("keep", "less than 1");
        }
        if self.concurrency == 0 || self.concurrency > 256 {
            return problem("concurrency", "not in 1 to 256");
        }
        if self.part_bytes < PART_BYTES_MIN || self.part_bytes > 1 << 30 {
            return problem("part_bytes", "not in 5 MiB to 1 GiB");
        }
        if self.retry.tries == 0 {
            return problem("retry", "no try at all");
        }
        Ok(())
    }

    /// The length of the parts of an object: all alike but the last, and few enough for every remote.
    pub(super) fn part_bytes_of(&self, object_bytes: u64) -> u64 {
        const PARTS_MAX: u64 = 9_000;
        let least = object_bytes.div_ceil(PARTS_MAX).max(self.part_bytes as u64);
        least.next_multiple_of(4 * SUM_CHUNK_BYTES)
    }
}

/// Options of a restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// How many requests that nobody waits for are under way at once; a quarter of that while there are any that somebody waits for.
    pub concurrency: usize,
    /// How many requests that somebody waits for are under way at once.
    pub on_demand: usize,
    /// How much is brought in the background at most, in bytes a second, on average; what somebody waits for is not held up,
    /// and not counted. `None`: as fast as it comes.
    pub limit_bytes_per_s: Option<u64>,
    /// What is brought first: what holds these key groups, in this order.
    pub first: Vec<KeyGroupRange>,
    /// Whether what nobody waits for is brought at all.
    pub background: bool,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self { concurrency: 8, on_demand: 16, limit_bytes_per_s: None, first: Vec::new(), background: true }
    }
}

impl RestoreOptions {
    pub(super) fn validate(&self) -> RemoteResult<()> {
        if self.concurrency == 0 || self.concurrency > 256 {
            return problem("concurrency", "not in 1 to 256");
        }
        if self.on_demand == 0 || self.on_demand > 256 {
            return problem("on_demand", "not in 1 to 256");
        }
        if self.limit_bytes_per_s == Some(0) {
            return problem("limit_bytes_per_s", "0; to bring nothing is `background: false`");
        }
        Ok(())
    }
}
