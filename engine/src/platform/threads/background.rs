//! What the engine's threads ask of the scheduler.
#![expect(unsafe_code, reason = "calls libc")]

/// For how long a background thread wants to be left alone once it runs, in ns: the scheduler's own slice, 3 ms and more, is
/// how long a writer waits that shares its processor.
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 200_000;

/// Makes the calling thread one for work that nobody waits for (`SCHED_BATCH`): when it wakes it doesn't take the processor
/// from the thread that woke it, which mostly is a writer at a barrier; and where it shares one, it runs for short slices
/// (Linux 6.12 and later; earlier ones take no wish for it). Where the system refuses, all stays as it is.
pub fn work_in_background() {
    #[cfg(target_os = "linux")]
    {
        let attributes = libc::sched_attr {
            size: size_of::<libc::sched_attr>() as u32,
            sched_policy: libc::SCHED_BATCH as u32,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: SLICE_NS,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: the call reads one `sched_attr`, whose size it says; 0 is the calling thread. To become less urgent takes no
        // privilege, and a refusal changes nothing.
        let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}
