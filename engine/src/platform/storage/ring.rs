//! One io_uring, with the reads that are in flight on it.
//!
//! Invariants: a buffer belongs to the ring from [`Ring::push`] until its completion is taken, and a ring that is
//! dropped sooner leaks the buffers in flight, as the kernel may still write to them. At most [`DEPTH`] reads are in
//! flight, and the completion queue is twice as long, so it can't overflow.
#![expect(unsafe_code, reason = "hands memory to the kernel")]

use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode, types};

use super::reading::Plan;
use super::{Buffer, ReadRequest, faults};

/// The most reads in flight on one ring.
pub const DEPTH: usize = 128;

/// The longest read that goes through a ring, in bytes; the result is a 32-bit signed number.
pub const MAX_READ_BYTES: usize = 1 << 30;

/// An io_uring for reads.
pub struct Ring {
    uring: IoUring,
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
}

/// A read in flight.
struct Flight {
    request: ReadRequest,
    plan: Plan,
    buffer: Buffer,
    /// Open until then.
    file: Arc<OwnedFd>,
}

/// A read that came back.
pub struct Landing {
    /// What was asked for.
    pub request: ReadRequest,
    /// How it was to be done.
    pub plan: Plan,
    /// What was read, perhaps less than planned.
    pub outcome: Result<Buffer>,
}

impl Ring {
    /// Sets a ring up; fails where the system doesn't allow it or is too old to read.
    pub fn new() -> Result<Self> {
        // Completions are handled in our own calls rather than by interrupting the thread; Linux before 5.19 doesn't
        // know that flag, and is asked again without it.
        let modern = IoUring::builder().dontfork().setup_coop_taskrun().build(DEPTH as u32);
        let uring = match modern {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                IoUring::builder().dontfork().build(DEPTH as u32)?
            }
            outcome => outcome?,
        };
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Read::CODE) {
            return Err(Error::from_raw_os_error(libc::ENOSYS));
        }
        Ok(Self { uring, slots: (0..DEPTH).map(|_| None).collect(), free: (0..DEPTH).rev().collect() })
    }

    /// How many reads were pushed and not taken yet.
    pub fn in_flight(&self) -> usize {
        DEPTH - self.free.len()
    }

    /// How many reads were pushed that the kernel wasn't told of.
    pub fn queued(&mut self) -> usize {
        self.uring.submission().len()
    }

    /// Queues a read. Gives the request back where the ring is full.
    pub fn push(
        &mut self,
        request: ReadRequest,
        file: Arc<OwnedFd>,
        plan: Plan,
        mut buffer: Buffer,
    ) -> std::result::Result<(), ReadRequest> {
        let Some(slot) = self.free.pop() else { return Err(request) };
        let len = plan.len.min(buffer.room()).min(MAX_READ_BYTES) as u32;
        let read = opcode::Read::new(types::Fd(file.as_raw_fd()), buffer.spare(), len).offset(plan.offset).build();
        let read = read.user_data(slot as u64);
        // SAFETY: the memory stays valid until the completion, as the slot owns it and `drop` leaks it.
        if unsafe { self.uring.submission().push(&read) }.is_err() {
            self.free.push(slot);
            return Err(request);
        }
        self.slots[slot] = Some(Flight { request, plan, buffer, file });
        Ok(())
    }

    /// Submits what is queued, and waits for nothing.
    pub fn submit(&mut self) -> Result<()> {
        self.uring.submit().map(drop)
    }

    /// Submits what is queued and waits until `want` reads have come back, or fewer where it is interrupted.
    pub fn wait(&mut self, want: usize) -> Result<()> {
        self.uring.submit_and_wait(want).map(drop)
    }

    /// Takes a read that came back.
    pub fn take(&mut self) -> Option<Landing> {
        let done = self.uring.completion().next()?;
        let slot = usize::try_from(done.user_data()).ok()?;
        let Flight { request, plan, mut buffer, file } = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        let result = faults::landed(file.as_fd(), done.result());
        let outcome = match usize::try_from(result) {
            Ok(count) => {
                // SAFETY: the kernel has initialised `count` bytes, or more, from where `push` pointed, and is done with them.
                unsafe { buffer.extend(count) };
                Ok(buffer)
            }
            Err(_) => Err(Error::from_raw_os_error(-result)),
        };
        Some(Landing { request, plan, outcome })
    }

    /// Gives up what is in flight and can't be waited for any more: the requests, whose buffers are leaked.
    pub fn abandon(mut self) -> Vec<ReadRequest> {
        let flights = self.slots.drain(..).flatten();
        flights
            .map(|flight| {
                std::mem::forget(flight.buffer);
                flight.request
            })
            .collect()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for flight in self.slots.drain(..).flatten() {
            std::mem::forget(flight.buffer);
        }
    }
}
