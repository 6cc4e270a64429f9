//! What the engine's threads ask of the scheduler.
#![expect(unsafe_code, reason = "calls libc")]

/// Makes the calling thread one for work that nobody waits for (`SCHED_BATCH`): when it wakes it doesn't take the processor
/// from the thread that woke it, which mostly is a writer at a barrier. Where the system refuses, all stays as it is.
pub fn work_in_background() {
    #[cfg(target_os = "linux")]
    {
        let normal = libc::sched_param { sched_priority: 0 };
        // SAFETY: the call reads one `sched_param`; 0 is the calling thread. To become less urgent takes no privilege, and
        // a refusal changes nothing.
        let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const normal) };
    }
}
