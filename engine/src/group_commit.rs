//! Group commit: one thread writes the changelogs of all stores of an engine.
//!
//! A commit waits a little for others. When the first one's time is up, what all stores have is written and synced together: the
//! device is asked once, however many stores there are.

use crate::changelog::files::Files;
use crate::changelog::stream::Taken;
use crate::error::{Error, Result};
use crate::platform::storage::{Backend, LogGroup, StorageError};
use crate::platform::threads::{self, MutexGuard, Receiver, RecvTimeoutError};
use crate::store::StoreInner;
use std::sync::{Arc, Weak};

/// How much of a store's changelog is written at once, about, in bytes.
const TAKEN_BYTES: usize = 4 << 20;

/// Writes changelogs until the queue says `None`. A store in the queue has something that is to be written, now or soon.
///
/// It holds them weakly but while it writes: a store that is dropped meanwhile gives its directory up.
pub(crate) fn run(queue: &Receiver<Option<Weak<StoreInner>>>) {
    crate::platform::threads::work_in_background();
    let (mut rings, mut plain) = (LogGroup::default(), LogGroup::posix());
    let mut stores: Vec<Weak<StoreInner>> = Vec::new();
    let add = |stores: &mut Vec<Weak<StoreInner>>, store: Weak<StoreInner>| {
        if !stores.iter().any(|known| Weak::ptr_eq(known, &store)) {
            stores.push(store);
        }
    };
    loop {
        let now = threads::now();
        let due_of = |store: &Weak<StoreInner>| store.upgrade().and_then(|store| store.log.due(now));
        stores.retain(|store| due_of(store).is_some());
        let due = stores.iter().filter_map(due_of).min();
        let next = match due {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => queue.recv_deadline(due),
        };
        match next {
            Ok(Some(store)) => add(&mut stores, store),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        while let Ok(next) = queue.try_recv() {
            let Some(store) = next else { return };
            add(&mut stores, store);
        }
        let now = threads::now();
        let there: Vec<Arc<StoreInner>> = stores.iter().filter_map(Weak::upgrade).collect();
        if there.iter().filter_map(|store| store.log.due(now)).any(|due| due <= now) {
            let (on_rings, others): (Vec<_>, Vec<_>) =
                there.iter().partition(|store| store.storage.backend() == Backend::Uring);
            write(&mut rings, &on_rings);
            write(&mut plain, &others);
        }
    }
}

/// What is to be written for a store.
struct Batch<'a> {
    store: &'a Arc<StoreInner>,
    files: MutexGuard<'a, Files>,
    taken: Taken,
}

/// Writes what stores have, together.
fn write(group: &mut LogGroup, stores: &[&Arc<StoreInner>]) {
    let mut batches: Vec<Batch<'_>> = Vec::with_capacity(stores.len());
    let mut failed = Vec::new();
    for store in stores {
        let mut files = store.log.files();
        if store.log.has_ended() {
            // Its directory may be another's as soon as we let go of its files.
            continue;
        }
        let taken = store.log.take(TAKEN_BYTES);
        // The checkpoint that it goes on from has to last as well.
        let is_founded = store.unsynced.sync(&*store.storage).map_err(Error::from);
        match is_founded.and_then(|()| files.prepare(&taken)) {
            Ok(()) => batches.push(Batch { store, files, taken }),
            // Told when no lock is held: the host may be called.
            Err(error) => failed.push((*store, taken, error)),
        }
    }
    let mut outcomes: Vec<Result<(), StorageError>> = batches.iter().map(|_| Ok(())).collect();
    {
        // Those that have nothing to write are done.
        let (mut writes, mut whose) = (Vec::with_capacity(batches.len()), Vec::with_capacity(batches.len()));
        for (batch, outcome) in batches.iter_mut().zip(&mut outcomes) {
            if let Some(write) = batch.files.write(batch.taken.sync) {
                writes.push(write);
                whose.push(outcome);
            }
        }
        group.write(&mut writes);
        for (write, outcome) in writes.into_iter().zip(whose) {
            *outcome = write.outcome.unwrap_or(Ok(()));
        }
    }
    for (mut batch, outcome) in batches.into_iter().zip(outcomes) {
        batch.files.wrote(batch.taken.sync, &outcome);
        drop(batch.files);
        ended(batch.store, batch.taken, outcome.map_err(Error::from));
    }
    failed.into_iter().for_each(|(store, taken, error)| ended(store, taken, Err(error)));
}

fn ended(store: &Arc<StoreInner>, taken: Taken, outcome: Result<()>) {
    if let Err(error) = &outcome {
        tracing::error!(%error, "writing the changelog");
        if error.class() != crate::error::Class::Retry {
            store.fail(error);
        }
    }
    store.log.wrote(taken, outcome);
}
