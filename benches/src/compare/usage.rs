//! What the process has used so far.

use std::time::Duration;

/// Processor time of all threads.
pub fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Processor time of this thread.
pub fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// A number behind a name in a file of `/proc`; 0 where there is none.
fn number(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Memory that the machine has left, what caches would give up included.
pub fn available_bytes() -> u64 {
    number("/proc/meminfo", "MemAvailable") * 1024
}

/// Bytes that the process has caused to be written to disks.
pub fn written_bytes() -> u64 {
    number("/proc/self/io", "write_bytes")
}

/// The most memory that was resident.
pub fn resident_bytes_max() -> u64 {
    number("/proc/self/status", "VmHWM") * 1024
}
