//! Limits of a process, set from within.
#![expect(unsafe_code, reason = "setrlimit and signal")]

/// Sets the soft limit of a resource; the hard one stays, so that it can be raised again.
pub fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid struct.
    let done = unsafe {
        libc::getrlimit64(resource, &raw mut now);
        now.rlim_cur = value.min(now.rlim_max);
        libc::setrlimit64(resource, &raw const now)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Makes a write past the file size limit an error, as hosts do; else it is a deadly signal.
pub fn survive_file_size_limit() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
