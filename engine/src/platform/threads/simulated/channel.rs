//! Channels: `crossbeam`'s, but that a thread of a world waits for them in the world.

use super::world::{What, here};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

pub use crossbeam::channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// Of both ends: what it is waited for at. An end that is dropped, which may have been the last one, wakes who waits there.
#[derive(Debug)]
struct Place(Arc<u8>);

impl Place {
    fn what(&self) -> What {
        What::At(Arc::as_ptr(&self.0).addr())
    }

    fn changed(&self) {
        if let Some(here) = here() {
            here.wake(self.what(), true);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.changed();
    }
}

/// The end that is sent from.
pub struct Sender<T> {
    // In this order: the end is gone, and then who waits is woken.
    channel: crossbeam::channel::Sender<T>,
    place: Place,
}

/// The end that is received from.
pub struct Receiver<T> {
    channel: crossbeam::channel::Receiver<T>,
    place: Place,
}

fn both<T>(
    (sender, receiver): (crossbeam::channel::Sender<T>, crossbeam::channel::Receiver<T>),
) -> (Sender<T>, Receiver<T>) {
    let place = Arc::new(0);
    (Sender { channel: sender, place: Place(Arc::clone(&place)) }, Receiver { channel: receiver, place: Place(place) })
}

/// A channel that holds what there is memory for.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    both(crossbeam::channel::unbounded())
}

/// A channel that holds so many.
pub fn bounded<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    both(crossbeam::channel::bounded(most))
}

impl<T> Sender<T> {
    /// Sends, where the channel has room.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let sent = self.channel.try_send(value);
        self.place.changed();
        sent
    }

    /// Waits for room, and sends.
    #[track_caller]
    pub fn send(&self, mut value: T) -> Result<(), SendError<T>> {
        let Some(here) = here() else { return self.channel.send(value) };
        loop {
            match self.try_send(value) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(value)) => return Err(SendError(value)),
                Err(TrySendError::Full(unsent)) => value = unsent,
            }
            here.spin(Location::caller());
        }
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.channel.is_empty()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), place: Place(Arc::clone(&self.place.0)) }
    }
}

impl<T> Receiver<T> {
    /// Receives what is there.
    #[track_caller]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        if let Some(here) = here() {
            here.point(Location::caller());
        }
        self.channel.try_recv()
    }

    /// Waits for something, and receives it.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        match here() {
            None => self.channel.recv(),
            Some(_) => self.receive(None, Location::caller()).map_err(|_| RecvError),
        }
    }

    /// The same, until then at most.
    #[track_caller]
    pub fn recv_deadline(&self, until: Instant) -> Result<T, RecvTimeoutError> {
        match here() {
            None => self.channel.recv_deadline(until),
            Some(_) => self.receive(Some(until), Location::caller()),
        }
    }

    fn receive(&self, until: Option<Instant>, at: &'static Location<'static>) -> Result<T, RecvTimeoutError> {
        let Some(here) = here() else { return Err(RecvTimeoutError::Disconnected) };
        here.point(at);
        loop {
            match self.channel.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if here.wait(self.place.what(), until, at) {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }

    /// All that comes, until nobody can send any more.
    #[track_caller]
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// All that is there.
    #[track_caller]
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), place: Place(Arc::clone(&self.place.0)) }
    }
}
