//! What the operating system says of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The resident bytes of a kind, from `/proc/self/status`; 0 where there is no such file.
fn resident_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The processor time that this thread has used. On a machine with other work it says more than the time of day of
/// what only computes; on an idle one they are the same.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(Duration);

impl CpuClock {
    pub fn start() -> Self {
        Self(Self::now())
    }

    fn now() -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
    }

    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_sub(self.0)
    }
}

/// Watches the resident memory of this process from a thread of its own.
#[derive(Debug)]
pub struct Watch {
    anonymous: Arc<AtomicU64>,
    file: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks every 10 ms.
    pub fn start() -> Self {
        let (anonymous, file) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (a, f, s) = (Arc::clone(&anonymous), Arc::clone(&file), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !s.load(Ordering::Relaxed) {
                a.fetch_max(resident_bytes("RssAnon"), Ordering::Relaxed);
                f.fetch_max(resident_bytes("RssFile"), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { anonymous, file, stop, thread: Some(thread) }
    }

    /// The most anonymous memory so far, in bytes.
    pub fn anonymous_bytes(&self) -> u64 {
        self.anonymous.load(Ordering::Relaxed)
    }

    /// The most mapped file pages so far, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has said so itself.
            let _ = thread.join();
        }
    }
}
