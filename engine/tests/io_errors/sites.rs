//! What can go wrong with which call, and what the host may be told then.

use super::host::Kind as Run;
use alluvium::faults::{Call, Injection, Kind, Outcome, Site};
use alluvium::{Class, StorageChoice};
use std::fmt;
use std::time::Duration;

/// A run in which one call goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub kind: Run,
    pub storage: StorageChoice,
    pub injection: Injection,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Injection { site, nth, outcome, lasts } = self.injection;
        let lasts = if lasts { " and on" } else { "" };
        let outcome = match outcome {
            Outcome::Error(libc::EIO) => "EIO".to_owned(),
            Outcome::Error(libc::ENOSPC) => "ENOSPC".to_owned(),
            Outcome::Error(libc::EACCES) => "EACCES".to_owned(),
            Outcome::Error(libc::EMFILE) => "EMFILE".to_owned(),
            Outcome::Error(libc::ENOMEM) => "ENOMEM".to_owned(),
            Outcome::Error(libc::EINTR) => "EINTR".to_owned(),
            other => format!("{other:?}"),
        };
        write!(f, "{:?}, {:?}: {:?} of {:?} #{nth}{lasts}: {outcome}", self.kind, self.storage, site.call, site.kind)
    }
}

impl Case {
    /// What cases of one sort have in common: all but which of the calls it is.
    pub fn sort(&self) -> String {
        let Injection { site, outcome, lasts, .. } = self.injection;
        format!("{:?} {:?} {site:?} {outcome:?} {lasts}", self.kind, self.storage)
    }
}

const LATE: Outcome = Outcome::Late(Duration::from_millis(15));

/// What can go wrong with a call, and whether it goes on doing so.
pub fn outcomes(site: Site) -> Vec<(Outcome, bool)> {
    let error = Outcome::Error;
    let (eio, full) = (error(libc::EIO), error(libc::ENOSPC));
    let (denied, files, memory) = (error(libc::EACCES), error(libc::EMFILE), error(libc::ENOMEM));
    let interrupted = error(libc::EINTR);
    let (once, on) = (false, true);
    let found: &[(Outcome, bool)] = match site.call {
        Call::Read => {
            &[(eio, once), (eio, on), (interrupted, once), (Outcome::Short, once), (Outcome::Short, on), (LATE, once)]
        }
        Call::Write => &[
            (eio, once),
            (eio, on),
            (full, once),
            (full, on),
            (interrupted, once),
            (Outcome::Short, once),
            (Outcome::Short, on),
            (LATE, once),
        ],
        Call::Sync => &[(eio, once), (full, once), (interrupted, once), (LATE, once)],
        Call::Create => {
            &[(eio, once), (full, once), (full, on), (denied, once), (files, once), (files, on), (LATE, once)]
        }
        Call::Open => &[(eio, once), (eio, on), (denied, once), (files, once), (files, on)],
        Call::Rename | Call::MakeDirectory => &[(eio, once), (full, once), (denied, once), (LATE, once)],
        Call::Remove => &[(eio, once), (eio, on), (denied, once), (LATE, once)],
        Call::Link => &[(eio, once), (full, once), (full, on), (denied, once)],
        Call::List => &[(eio, once), (denied, once), (files, once)],
        Call::Map => &[(memory, once), (memory, on), (eio, once)],
        Call::Allocate => &[(eio, once), (full, once), (full, on)],
        Call::Stat | Call::Space | Call::Cut | Call::Lock => &[(eio, once)],
    };
    found.to_vec()
}

/// The classes of the errors that may come of it.
pub fn classes(Injection { site, outcome, .. }: Injection) -> &'static [Class] {
    match outcome {
        Outcome::Short | Outcome::Late(_) => &[],
        Outcome::Error(libc::EINTR) if site.call != Call::Sync => &[],
        // A file that nothing refers to yet may be written once more, as another one; nothing else is tried again.
        Outcome::Error(libc::ENOSPC) if site.call == Call::Sync && site.kind == Kind::Segment => {
            &[Class::Retry, Class::Fail]
        }
        Outcome::Error(libc::ENOSPC) if site.call == Call::Sync && site.kind == Kind::Manifest => {
            &[Class::Retry, Class::Fail]
        }
        Outcome::Error(libc::ENOSPC | libc::EMFILE | libc::ENOMEM) if site.call != Call::Sync => &[Class::Retry],
        Outcome::Error(_) => &[Class::Fail],
    }
}

/// Whether it is about reading alone: the same call, asked again, answers rightly, whatever the error was.
pub fn only_reads(site: Site) -> bool {
    matches!(site.call, Call::Read | Call::Open | Call::Stat | Call::Map)
}
