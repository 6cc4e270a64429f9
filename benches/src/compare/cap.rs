//! A limit on all the memory of a process, page cache included: a memory control group, where the machine allows it.

use std::path::{Path, PathBuf};

/// The group, until dropped; no process may be in it then.
#[derive(Debug)]
pub struct Cap {
    path: PathBuf,
}

impl Cap {
    /// A new group with a limit (cgroup v1, else v2). `None` without such a controller, or the right to use it.
    pub fn new(bytes: u64) -> Option<Self> {
        let name = format!("alluvium-compare-{}", std::process::id());
        let v1 = (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes");
        let v2 = (Path::new("/sys/fs/cgroup"), "memory.max");
        for (root, file) in [v1, v2] {
            let path = root.join(&name);
            if std::fs::create_dir(&path).is_err() {
                continue;
            }
            let cap = Self { path };
            if std::fs::write(cap.path.join(file), bytes.to_string()).is_ok() {
                return Some(cap);
            }
        }
        None
    }

    /// Where a process enters by writing its number.
    pub fn entrance(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }
}

/// How many processes of the group whose entrance this is were killed for want of memory, as far as the kernel tells.
pub fn kills(entrance: &Path) -> u64 {
    let count = |file: &str| {
        let text = std::fs::read_to_string(entrance.with_file_name(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
    };
    count("memory.oom_control").or_else(|| count("memory.events")).unwrap_or(0)
}

impl Drop for Cap {
    fn drop(&mut self) {
        // The kernel takes a moment to notice that the last process has gone.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("{}: could not be removed", self.path.display());
    }
}
