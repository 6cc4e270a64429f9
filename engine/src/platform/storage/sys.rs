//! System calls that the standard library lacks or only offers with initialised memory.
//!
//! Every function is safe to call with any descriptor; interrupted calls are repeated here.
#![expect(unsafe_code, reason = "calls libc")]

use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::faults::{self, Call};
use super::{Buffer, recorder};

/// The longest single transfer that Linux does, rounded down to whole pages.
const MAX_TRANSFER_BYTES: usize = 0x7fff_f000;

/// Reads from `offset` to the end of `buffer`'s window until the window is `limit` bytes long, the file ends or the
/// kernel stops short, and shows what was read. Returns how many bytes that were.
pub fn read_at(file: BorrowedFd<'_>, buffer: &mut Buffer, limit: usize, offset: u64) -> Result<usize> {
    let count = limit.saturating_sub(buffer.len()).min(buffer.room()).min(MAX_TRANSFER_BYTES);
    let offset = signed(offset)?;
    let read = repeat(|| {
        let count = faults::transfer(Call::Read, file, count)?.min(count);
        // SAFETY: `spare` is valid for writes of `room()` bytes, and `count` is not more.
        counted(unsafe { libc::pread64(file.as_raw_fd(), buffer.spare().cast(), count, offset) })
    })?;
    // SAFETY: the kernel has initialised the first `read` of the bytes, and is done with them.
    unsafe { buffer.extend(read) };
    Ok(read)
}

/// Writes bytes at `offset`; returns how many were written.
pub fn write_at(file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<usize> {
    let count = bytes.len().min(MAX_TRANSFER_BYTES);
    let at = offset;
    let offset = signed(offset)?;
    let written = repeat(|| {
        let count = faults::transfer(Call::Write, file, count)?.min(count);
        // SAFETY: `bytes` is readable for `count` bytes.
        counted(unsafe { libc::pwrite64(file.as_raw_fd(), bytes.as_ptr().cast(), count, offset) })
    })?;
    recorder::wrote(file, at, &bytes[..written]);
    Ok(written)
}

/// Makes a file's bytes and length durable.
///
/// Not repeated when interrupted or failed: a second sync can succeed although bytes were lost.
pub fn sync_data(file: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes a descriptor only.
    let synced = faults::on(Call::Sync, file).and_then(|()| check(unsafe { libc::fdatasync(file.as_raw_fd()) }));
    match synced {
        Ok(()) => recorder::synced(file),
        Err(_) => recorder::sync_failed(file),
    }
    synced
}

/// Makes a directory's entries durable.
pub fn sync_all(file: BorrowedFd<'_>) -> Result<()> {
    faults::on(Call::Sync, file)?;
    // SAFETY: takes a descriptor only.
    check(unsafe { libc::fsync(file.as_raw_fd()) })
}

/// Takes `O_DIRECT` off an open file: later reads and writes go through the page cache, of any alignment.
pub fn stop_direct(file: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes a descriptor and numbers only.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    check(flags)?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_DIRECT) })
}

/// Tells the system that reads come here and there: nothing is to be read ahead. It may not listen.
pub fn expect_random_reads(file: BorrowedFd<'_>) {
    // SAFETY: takes a descriptor and numbers only.
    let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
}

/// Locks an open file for this open of it alone, or fails at once with `EWOULDBLOCK`.
pub fn lock_exclusive(file: BorrowedFd<'_>) -> Result<()> {
    faults::on(Call::Lock, file)?;
    // SAFETY: takes a descriptor and a number only.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
}

/// Gives up a lock of [`lock_exclusive`], for every descriptor of this open of the file.
pub fn unlock(file: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes a descriptor and a number only.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) })
}

/// How many descriptors the process may have; 1024, the usual limit, where it can't be told.
pub fn descriptors_max() -> usize {
    let mut found = MaybeUninit::<libc::rlimit64>::zeroed();
    // SAFETY: the call writes one `rlimit64` to a place for one.
    let outcome = check(unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, found.as_mut_ptr()) });
    // SAFETY: zeroed, then perhaps written by the call; every bit pattern of its integers is valid.
    let found = unsafe { found.assume_init() };
    outcome.map_or(1024, |()| usize::try_from(found.rlim_cur).unwrap_or(usize::MAX))
}

/// How many bytes an unprivileged user can still write to the file system that holds `file`;
/// `u64::MAX` where it doesn't say.
pub fn free_bytes(file: BorrowedFd<'_>) -> Result<u64> {
    faults::on(Call::Space, file)?;
    let mut found = MaybeUninit::<libc::statvfs64>::zeroed();
    // SAFETY: the call writes one `statvfs64` to a place for one.
    check(unsafe { libc::fstatvfs64(file.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: zeroed, then written by the call; every bit pattern of its integers is valid.
    let found = unsafe { found.assume_init() };
    if found.f_blocks == 0 {
        // A file system that has no size of its own.
        return Ok(u64::MAX);
    }
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Cuts a file that was never complete, and so is neither mapped nor referred to, to nothing.
pub fn empty(file: BorrowedFd<'_>) -> Result<()> {
    faults::on(Call::Cut, file)?;
    // SAFETY: takes a descriptor and a number only.
    check(unsafe { libc::ftruncate64(file.as_raw_fd(), 0) })?;
    recorder::length(file, 0);
    Ok(())
}

/// Takes the room for a file of `len` bytes, and makes it so long.
pub fn allocate(file: BorrowedFd<'_>, len: u64) -> Result<()> {
    let bytes = len;
    let len = signed(len)?;
    faults::on(Call::Allocate, file)?;
    // SAFETY: takes a descriptor and numbers only.
    check(unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, len) })?;
    recorder::length(file, bytes);
    Ok(())
}

/// How long a file is now, in bytes.
pub fn len(file: BorrowedFd<'_>) -> Result<u64> {
    faults::on(Call::Stat, file)?;
    Ok(u64::try_from(stat(file)?.st_size).unwrap_or(0))
}

/// Which file it is: device and inode.
#[cfg(feature = "recorder")]
pub fn identity(file: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let found = stat(file)?;
    Ok((found.st_dev, found.st_ino))
}

fn stat(file: BorrowedFd<'_>) -> Result<libc::stat64> {
    let mut found = MaybeUninit::<libc::stat64>::zeroed();
    // SAFETY: the call writes one `stat64` to a place for one.
    check(unsafe { libc::fstat64(file.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: zeroed, then written by the call; every bit pattern of its integers is valid.
    Ok(unsafe { found.assume_init() })
}

fn signed(offset: u64) -> Result<i64> {
    i64::try_from(offset).map_err(|_| Error::from_raw_os_error(libc::EFBIG))
}

fn check(result: libc::c_int) -> Result<()> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn counted(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::last_os_error())
}

/// Calls until it isn't interrupted by a signal.
fn repeat(mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            outcome => return outcome,
        }
    }
}
