//! How much memory another process has, by Linux's account.

/// Memory of a process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Memory {
    /// Its own (`RssAnon`).
    pub anon_bytes: u64,
    /// Mapped files (`RssFile`).
    pub file_bytes: u64,
}

/// What a process has now; `None` where it is gone, or the system has no `/proc`.
pub fn of_process(id: u32) -> Option<Memory> {
    parse(&std::fs::read_to_string(format!("/proc/{id}/status")).ok()?)
}

fn parse(status: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
    };
    Some(Memory { anon_bytes: field("RssAnon:")?, file_bytes: field("RssFile:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let status = "Name:\tx\nVmRSS:\t    3000 kB\nRssAnon:\t    1024 kB\nRssFile:\t    2048 kB\nRssShmem:\t0 kB\n";
        assert_eq!(parse(status), Some(Memory { anon_bytes: 1 << 20, file_bytes: 2 << 20 }));
        assert_eq!(parse("Name:\tzombie\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        assert!(of_process(std::process::id()).unwrap().anon_bytes > 0);
    }
}
