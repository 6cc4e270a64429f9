//! A group commit: the writes of many changelogs, each with its sync behind it, handed to the kernel together.
//!
//! With io_uring each file's write and `fdatasync` are linked, and all pairs are submitted in one call: the device sees them
//! together and flushes its cache for all of them at once where it can. Without, they are done one after the other.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "hands memory to the kernel"))]

use super::{Buffer, LogFile, StorageError};

/// What is to be written to one file.
#[derive(Debug)]
pub struct LogWrite<'a> {
    /// The file.
    pub file: &'a mut dyn LogFile,
    /// Where, in bytes: a multiple of a page.
    pub offset: u64,
    /// What: whole pages.
    pub bytes: &'a Buffer,
    /// Whether it, and all that was written to the file before, is to be durable.
    pub sync: bool,
    /// What came of it; `None` before.
    pub outcome: Option<Result<(), StorageError>>,
}

impl LogWrite<'_> {
    fn alone(&mut self) {
        let outcome = self.file.write(self.offset, self.bytes);
        let outcome = outcome.and_then(|()| if self.sync { self.file.sync() } else { Ok(()) });
        self.outcome = Some(outcome);
    }
}

/// Does the writes of many changelogs together. One at a time per process thread: it waits for all of them.
#[derive(Default)]
pub struct LogGroup {
    #[cfg(target_os = "linux")]
    ring: Ring,
}

#[cfg(target_os = "linux")]
#[derive(Default)]
enum Ring {
    #[default]
    Untried,
    Denied,
    Open(Box<io_uring::IoUring>),
}

impl LogGroup {
    /// Without a ring: by plain system calls alone.
    pub fn posix() -> Self {
        #[cfg(target_os = "linux")]
        return Self { ring: Ring::Denied };
        #[cfg(not(target_os = "linux"))]
        Self::default()
    }

    /// Does all writes, and leaves each one's outcome in it.
    pub fn write(&mut self, writes: &mut [LogWrite<'_>]) {
        #[cfg(target_os = "linux")]
        self.write_on_ring(writes);
        writes.iter_mut().filter(|write| write.outcome.is_none()).for_each(LogWrite::alone);
    }
}

#[cfg(target_os = "linux")]
mod on_ring {
    use super::{LogGroup, LogWrite, Ring};
    use crate::platform::storage::faults::{self, Call};
    use crate::platform::storage::{Fault, StorageError, recorder};
    use crate::platform::threads;
    use io_uring::{IoUring, opcode, squeue, types};
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    use std::sync::Arc;

    /// How many files are written together; the ring has room for twice as many entries.
    const FILES: usize = 64;
    /// The longest write that goes through the ring; the result is a 32-bit signed number.
    const WRITE_BYTES_MAX: usize = 1 << 30;

    impl LogGroup {
        /// Does what can be done on the ring. What is left without an outcome was not written, or not in full.
        pub(super) fn write_on_ring(&mut self, writes: &mut [LogWrite<'_>]) {
            if matches!(self.ring, Ring::Untried) {
                let opened = IoUring::builder().dontfork().build(2 * FILES as u32);
                self.ring = opened.map_or(Ring::Denied, |ring| Ring::Open(Box::new(ring)));
            }
            let Ring::Open(ring) = &mut self.ring else { return };
            for round in writes.chunks_mut(FILES) {
                if write_round(ring, round).is_err() {
                    // The kernel refused the ring itself; whatever it had begun has ended.
                    self.ring = Ring::Denied;
                    return;
                }
            }
        }
    }

    /// One submission. An error says that the ring is of no use any more; nothing is in flight then.
    fn write_round(ring: &mut IoUring, round: &mut [LogWrite<'_>]) -> std::io::Result<()> {
        let mut files: Vec<Option<Arc<OwnedFd>>> = Vec::with_capacity(round.len());
        let mut results = vec![None; 2 * round.len()];
        let mut expected = 0;
        for ((index, write), results) in round.iter().enumerate().zip(results.as_chunks_mut::<2>().0) {
            let file = write.file.descriptor().filter(|_| (1..WRITE_BYTES_MAX).contains(&write.bytes.len()));
            if let Some(file) = &file {
                expected += queue(ring, write, file, 2 * index as u64, results)?;
            }
            files.push(file);
        }
        let outcome = wait_for(ring, expected, &mut results);
        for ((write, file), results) in round.iter_mut().zip(&files).zip(results.as_chunks::<2>().0) {
            if let Some(file) = file {
                note(write, file, *results);
                settle(write, *results);
            }
        }
        outcome
    }

    /// Queues a write with its sync behind it; how many entries those are. What a test has fail isn't queued: its result is there at once.
    fn queue(
        ring: &mut IoUring,
        write: &LogWrite<'_>,
        file: &OwnedFd,
        number: u64,
        [written, synced]: &mut [Option<i32>; 2],
    ) -> std::io::Result<usize> {
        let result_of = |error: std::io::Error| Some(-error.raw_os_error().unwrap_or(libc::EIO));
        let (fd, whole) = (types::Fd(file.as_raw_fd()), write.bytes.len());
        let len = match faults::transfer(Call::Write, file.as_fd(), whole) {
            Ok(len) => len.min(whole),
            Err(error) => {
                (*written, *synced) = (result_of(error), Some(-libc::ECANCELED));
                return Ok(0);
            }
        };
        if len < whole {
            *synced = Some(-libc::ECANCELED);
        } else if write.sync
            && let Err(error) = faults::on(Call::Sync, file.as_fd())
        {
            *synced = result_of(error);
        }
        let syncs = write.sync && synced.is_none();
        let entry = opcode::Write::new(fd, write.bytes.as_ptr(), len as u32).offset(write.offset).build();
        let entry = entry.user_data(number);
        push(ring, &if syncs { entry.flags(squeue::Flags::IO_LINK) } else { entry })?;
        if syncs {
            let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
            push(ring, &sync.user_data(number + 1))?;
        }
        Ok(1 + usize::from(syncs))
    }

    fn push(ring: &mut IoUring, entry: &squeue::Entry) -> std::io::Result<()> {
        // SAFETY: buffer and descriptor outlive the entry: `write_round` holds both, and `wait_for` returns when all that was
        // submitted has completed.
        unsafe { ring.submission().push(entry) }.map_err(|_| std::io::Error::other("the ring is full"))
    }

    /// Submits, and waits until all has completed; notes what completed with which result, by user data. Memory that the kernel may still
    /// read from is never given up: while entries are in flight it waits on, whatever the system call says.
    fn wait_for(ring: &mut IoUring, expected: usize, results: &mut [Option<i32>]) -> std::io::Result<()> {
        let (mut done, mut refused, mut submitted) = (0, None, 0);
        while done < expected {
            match ring.submit_and_wait(1) {
                Ok(count) => submitted += count,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR)) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => threads::yield_now(),
                Err(error) => {
                    refused = Some(error);
                    if submitted == done {
                        break;
                    }
                    threads::sleep(std::time::Duration::from_millis(1));
                }
            }
            for completed in ring.completion() {
                if let Some(result) = usize::try_from(completed.user_data()).ok().and_then(|at| results.get_mut(at)) {
                    *result = Some(completed.result());
                }
                done += 1;
            }
            if refused.is_some() && submitted == done {
                break;
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Notes what was written, and synced.
    fn note(write: &LogWrite<'_>, file: &OwnedFd, [written, synced]: [Option<i32>; 2]) {
        let written = written.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        recorder::wrote(file.as_fd(), write.offset, &write.bytes[..written.min(write.bytes.len())]);
        match synced {
            Some(0) => recorder::synced(file.as_fd()),
            Some(result) if result != -libc::ECANCELED => recorder::sync_failed(file.as_fd()),
            _ => {}
        }
    }

    /// Tells what the results of a write and its sync mean. No outcome where the write is to be done again: it was short or refused,
    /// and its sync was cancelled with it.
    fn settle(write: &mut LogWrite<'_>, [written, synced]: [Option<i32>; 2]) {
        let len = write.bytes.len();
        let whole = written.is_some_and(|count| usize::try_from(count).is_ok_and(|count| count == len));
        if !whole {
            return;
        }
        if !write.sync {
            write.file.wrote(len as u64, false);
            write.outcome = Some(Ok(()));
            return;
        }
        match synced {
            Some(0) => {
                write.file.wrote(len as u64, true);
                write.outcome = Some(Ok(()));
            }
            // Never begun.
            Some(result) if result == -libc::ECANCELED => {}
            None => {}
            Some(result) => {
                // A second sync could succeed although bytes were lost.
                write.file.poison();
                let error = std::io::Error::from_raw_os_error(-result);
                let failed = StorageError::new(Fault::Io, write.file.path(), write.offset, error.to_string());
                write.outcome = Some(Err(failed));
            }
        }
    }
}
