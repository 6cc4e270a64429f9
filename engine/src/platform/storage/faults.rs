//! Calls that fail when a test wants them to: what the engine makes of every error of every call follows from that.
//!
//! An [`Injector`] counts the calls that concern what lies below a directory, by what is asked about which kind of file, and has one of
//! them, or all from one on, fail, fall short or come late. It is for tests (feature `recorder`): `tests/io_errors` goes through all calls
//! of a run. As each kind of call and file is counted by itself, the numbers hardly depend on which thread of the engine comes first.
//!
//! A call that is to fail is not made. Reads on an io_uring are made, and their results replaced; of its linked writes and syncs those that
//! are to fail, or that the kernel would cancel then, aren't submitted.

pub use super::call::Call;
use super::{files, names};
use crate::platform::threads::{self, Mutex};
use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A kind of file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A segment.
    Segment,
    /// A manifest.
    Manifest,
    /// A file of a changelog.
    Changelog,
    /// A hot list.
    HotList,
    /// The file that is locked.
    Lock,
    /// A directory; and whatever isn't one of the others.
    Directory,
}

impl Kind {
    fn of(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // What the system says of a file that has no name any more.
        let name = name.strip_suffix(" (deleted)").unwrap_or(name);
        let name = name.strip_suffix(".tmp").unwrap_or(name);
        if names::parse_segment_name(name).is_some() {
            Self::Segment
        } else if names::parse_manifest_name(name).is_some() {
            Self::Manifest
        } else if names::parse_changelog_name(name).is_some() {
            Self::Changelog
        } else if names::parse_hot_list_name(name).is_some() {
            Self::HotList
        } else if name == names::LOCK {
            Self::Lock
        } else {
            Self::Directory
        }
    }
}

/// What is asked, about which kind of file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site {
    /// What is asked.
    pub call: Call,
    /// About what.
    pub kind: Kind,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It fails with this error of the system.
    Error(i32),
    /// It transfers fewer bytes than it was asked to; a call that transfers none is left alone.
    Short,
    /// It is made so much later.
    Late(Duration),
}

/// Which call is to go wrong, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Injection {
    /// Calls of this kind.
    pub site: Site,
    /// Of these the one that so many came before.
    pub nth: u64,
    /// How.
    pub outcome: Outcome,
    /// All that come after it, too, until [`Injector::lift`].
    pub lasts: bool,
}

#[derive(Debug)]
struct Injecting {
    root: PathBuf,
    wanted: Option<Injection>,
    counts: BTreeMap<Site, u64>,
    struck: u64,
}

static INJECTING: Mutex<Vec<Injecting>> = Mutex::new(Vec::new());

/// Counts calls, and has some go wrong, until it is dropped.
#[derive(Debug)]
pub struct Injector {
    root: PathBuf,
}

impl Injector {
    /// Begins, for what lies below `root`: an absolute path without links.
    pub fn start(root: &Path, wanted: Option<Injection>) -> Self {
        let counts = BTreeMap::new();
        INJECTING.lock().push(Injecting { root: root.to_owned(), wanted, counts, struck: 0 });
        Self { root: root.to_owned() }
    }

    fn with<R: Default>(&self, look: impl FnOnce(&mut Injecting) -> R) -> R {
        let mut all = INJECTING.lock();
        all.iter_mut().find(|one| one.root == self.root).map(look).unwrap_or_default()
    }

    /// How many calls of each kind there were so far.
    pub fn counts(&self) -> BTreeMap<Site, u64> {
        self.with(|one| one.counts.clone())
    }

    /// How many went wrong so far.
    pub fn struck(&self) -> u64 {
        self.with(|one| one.struck)
    }

    /// From now on nothing goes wrong any more.
    pub fn lift(&self) {
        self.with(|one| one.wanted = None);
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        INJECTING.lock().retain(|one| one.root != self.root);
    }
}

impl Injecting {
    fn ask(&mut self, site: Site) -> Option<Outcome> {
        let count = self.counts.entry(site).or_default();
        let number = *count;
        *count += 1;
        let wanted = self.wanted.filter(|wanted| wanted.site == site)?;
        let strikes = number == wanted.nth || wanted.lasts && number > wanted.nth;
        self.struck += u64::from(strikes);
        strikes.then_some(wanted.outcome)
    }
}

/// What is to become of a call, which is counted.
fn ask(call: Call, path: &Path) -> Option<Outcome> {
    let mut all = INJECTING.lock();
    let one = all.iter_mut().find(|one| path.starts_with(&one.root))?;
    let outcome = one.ask(Site { call, kind: Kind::of(path) });
    drop(all);
    if let Some(Outcome::Late(by)) = outcome {
        threads::sleep(by);
    }
    outcome
}

/// Asked before a call about a name.
pub fn at(call: Call, path: &Path) -> Result<()> {
    threads::pass();
    match ask(call, path) {
        // The standard library calls again.
        Some(Outcome::Error(libc::EINTR)) => Ok(()),
        Some(Outcome::Error(code)) => Err(Error::from_raw_os_error(code)),
        _ => Ok(()),
    }
}

/// Asked before a call about an open file.
pub fn on(call: Call, file: BorrowedFd<'_>) -> Result<()> {
    transfer(call, file, 0).map(drop)
}

/// Asked before a call that is to transfer so many bytes: how many it is to transfer.
pub fn transfer(call: Call, file: BorrowedFd<'_>, bytes: usize) -> Result<usize> {
    threads::pass();
    if INJECTING.lock().is_empty() {
        return Ok(bytes);
    }
    let Some(path) = files::path_of(file) else { return Ok(bytes) };
    match ask(call, &path) {
        Some(Outcome::Error(code)) => Err(Error::from_raw_os_error(code)),
        Some(Outcome::Short) => Ok(fewer(bytes)),
        _ => Ok(bytes),
    }
}

/// Asked when a read on an io_uring has come back: what its result is to be.
pub fn landed(file: BorrowedFd<'_>, result: i32) -> i32 {
    match transfer(Call::Read, file, usize::try_from(result).unwrap_or(0)) {
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        Ok(bytes) => i32::try_from(bytes).unwrap_or(result).min(result),
    }
}

/// About half, whole pages where it is several, as of a direct transfer, and not nothing, which would mean a file's end.
fn fewer(bytes: usize) -> usize {
    const PAGE: usize = super::ALIGNMENT;
    match bytes {
        0 | 1 => bytes,
        _ if bytes <= PAGE => bytes / 2,
        _ => (bytes / 2).next_multiple_of(PAGE).min(bytes - 1) / PAGE * PAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_bytes_are_fewer() {
        assert_eq!([0, 1, 2, 4096, 4097, 8192, 9000].map(fewer), [0, 1, 1, 2048, 4096, 4096, 8192]);
    }

    #[test]
    fn the_call_that_was_meant_goes_wrong() {
        let (root, elsewhere) = (Path::new("/nowhere/a"), Path::new("/nowhere/b"));
        let site = Site { call: Call::Open, kind: Kind::Manifest };
        let injection = Injection { site, nth: 1, outcome: Outcome::Error(libc::EIO), lasts: false };
        let injector = Injector::start(root, Some(injection));
        let open = |root: &Path| at(Call::Open, &root.join(names::temporary_manifest_name(3))).is_ok();
        assert_eq!([open(root), open(elsewhere), open(root), open(root)], [true, true, false, true]);
        assert_eq!((injector.struck(), injector.counts()), (1, BTreeMap::from([(site, 3)])));
        drop(injector);
        let injector = Injector::start(root, Some(Injection { lasts: true, ..injection }));
        assert_eq!([open(root), open(root), open(root)], [true, false, false]);
        injector.lift();
        assert!(open(root));
    }
}
