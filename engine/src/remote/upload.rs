//! Uploading a checkpoint: what isn't there yet, then the word that it is.
//!
//! ```text
//! listed     what is there, and that the directory is ours
//! brought    the segments that were lacking, several at once
//! seen       every segment that the checkpoint names, by a second listing
//! published  the checkpoint's object, only where none of its number is
//! retained   what isn't kept is deleted
//! ```

use super::Inner;
use super::access::Access;
use super::error::{RemoteError, RemoteFault, RemoteResult};
use super::format::{self, Checkpoint, sums_of};
use super::ledger::{Ledger, Listing, Removed};
use super::runtime::blocking;
use crate::life_cycle::{CheckpointFiles, FileInfo};
use crate::platform::threads;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// What came of an upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The host's label.
    pub label: u64,
    /// The checkpoint's number in the directory.
    pub sequence: u64,
    /// The segments that it names.
    pub segments: usize,
    /// Those of them that were uploaded.
    pub new_segments: usize,
    /// Bytes of all that it names, itself included.
    pub total_bytes: u64,
    /// Bytes that were uploaded.
    pub new_bytes: u64,
    /// What was deleted, or why nothing was: the checkpoint is there all the same.
    pub removed: RemoteResult<Removed>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What one upload works on.
#[derive(Clone)]
struct Job {
    remote: Arc<Inner>,
    files: Arc<CheckpointFiles>,
    /// One for each request with a part in memory.
    permits: Arc<Semaphore>,
}

pub(super) async fn run(remote: Arc<Inner>, files: Arc<CheckpointFiles>) -> RemoteResult<Uploaded> {
    let started = threads::now();
    let permits = Arc::new(Semaphore::new(remote.options.concurrency));
    let job = Job { remote: Arc::clone(&remote), files: Arc::clone(&files), permits };
    let access = &remote.access;
    let mut ledger = remote.ledger.lock().await;

    let listing = Listing::take(access).await?;
    ledger.claim(access, &listing).await?;
    ledger.read(access, &listing).await;
    let segments = files.list().len().saturating_sub(1);
    let mut uploaded = Uploaded {
        label: files.info().label,
        sequence: 0,
        segments,
        new_segments: 0,
        total_bytes: files.list()[..segments].iter().map(|file| file.bytes).sum(),
        new_bytes: 0,
        removed: Ok(Removed::default()),
        elapsed: Duration::ZERO,
    };
    let there = ledger.checkpoints.last_key_value().map(|(_, there)| Arc::clone(there));
    let listing = match there.filter(|there| there.manifest_bytes == files.manifest()) {
        // An upload whose answer was lost, or that is asked for twice.
        Some(there) if check_segments(access, &files, &listing).is_ok() => {
            uploaded.sequence = there.sequence;
            listing
        }
        _ => {
            let sums = job.bring(&mut ledger, &listing, &mut uploaded).await?;
            let seen = Listing::take(access).await?;
            ledger.check_still(access, &seen).await?;
            check_segments(access, &files, &seen)?;
            let sequence = listing.checkpoints.last_key_value().map_or(0, |(&at, _)| at) + 1;
            let checkpoint = job.publish(sequence, &sums, &mut uploaded).await?;
            ledger.checkpoints.insert(sequence, Arc::new(checkpoint));
            seen
        }
    };
    uploaded.removed = ledger.retain(access, &listing, remote.options.keep).await;
    uploaded.elapsed = threads::since(started);
    let (label, bytes) = (uploaded.label, uploaded.new_bytes);
    tracing::info!(label, sequence = uploaded.sequence, bytes, elapsed = ?uploaded.elapsed, "uploaded");
    Ok(uploaded)
}

fn check_segments(access: &Access, files: &CheckpointFiles, listing: &Listing) -> RemoteResult<()> {
    let segments = files.list().split_last().map_or(&[][..], |(_, segments)| segments);
    segments.iter().try_for_each(|file| listing.check_segment(access, &file.name, file.bytes))
}

impl Job {
    /// Uploads the segments that aren't there; returns the checksums of all, in the manifest's order.
    async fn bring(
        &self,
        ledger: &mut Ledger,
        listing: &Listing,
        uploaded: &mut Uploaded,
    ) -> RemoteResult<Vec<Arc<[u64]>>> {
        let access = &self.remote.access;
        let mut sums = ledger.sums();
        sums.extend(ledger.uploaded.iter().map(|(name, sums)| (name.clone(), Arc::clone(sums))));
        let segments = &self.files.list()[..uploaded.segments];
        let is_lacking = |file: &FileInfo| {
            !sums.contains_key(&file.name) || listing.check_segment(access, &file.name, file.bytes).is_err()
        };
        let lacking: Vec<usize> = (0..segments.len()).filter(|&index| is_lacking(&segments[index])).collect();
        ledger.ours.extend(lacking.iter().map(|&index| segments[index].name.clone()));
        // After a failure those that are under way are brought to their end, and no others begun.
        let failed = AtomicBool::new(false);
        let put = |index: usize| {
            let failed = &failed;
            async move {
                if failed.load(Ordering::Relaxed) {
                    return None;
                }
                let outcome = self.put_segment(index).await;
                failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                Some((index, outcome))
            }
        };
        let mut puts = stream::iter(lacking).map(put).buffer_unordered(self.remote.options.concurrency);
        let mut first_error = Ok(());
        while let Some(done) = puts.next().await {
            match done {
                Some((index, Ok(of_segment))) => {
                    let file = &segments[index];
                    uploaded.new_segments += 1;
                    uploaded.new_bytes += file.bytes;
                    ledger.uploaded.insert(file.name.clone(), Arc::clone(&of_segment));
                    sums.insert(file.name.clone(), of_segment);
                }
                Some((_, Err(error))) => first_error = first_error.and(Err(error)),
                None => {}
            }
        }
        first_error?;
        let of_file = |file: &FileInfo| {
            let lost = || RemoteError::Thread(format!("the checksums of {} are lost", file.name));
            sums.get(&file.name).cloned().ok_or_else(lost)
        };
        segments.iter().map(of_file).collect()
    }

    /// Uploads a segment, and sees that it is there as it is here.
    async fn put_segment(&self, index: usize) -> RemoteResult<Arc<[u64]>> {
        let access = &self.remote.access;
        let file = &self.files.list()[index];
        let object = access.segment(&file.name);
        let mut altered = 0;
        loop {
            let put = || async {
                if file.bytes <= self.remote.options.part_bytes_of(file.bytes) {
                    self.put_whole(index, file, &object).await
                } else {
                    self.put_in_parts(index, file, &object).await
                }
            };
            let sums = access.retried(put, |_, _| false).await?;
            if !self.remote.options.read_back {
                return Ok(sums);
            }
            match self.read_back(file, &object, &sums).await {
                Err(error) if is_altered(&error) && altered < 2 => altered += 1,
                outcome => return outcome.map(|()| sums),
            }
        }
    }

    async fn permit(&self) -> RemoteResult<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|error| RemoteError::Thread(error.to_string()))
    }

    /// Bytes of a segment here, with their checksums.
    async fn read(&self, index: usize, range: Range<u64>) -> RemoteResult<(Bytes, Vec<u64>)> {
        let files = Arc::clone(&self.files);
        blocking(move || {
            let bytes = files.read(index, range.start, (range.end - range.start) as usize)?;
            let sums = sums_of(&bytes).collect();
            Ok((Bytes::from(bytes), sums))
        })
        .await
    }

    async fn put_whole(&self, index: usize, file: &FileInfo, object: &Path) -> RemoteResult<Arc<[u64]>> {
        let _permit = self.permit().await?;
        let (bytes, sums) = self.read(index, 0..file.bytes).await?;
        let access = &self.remote.access;
        let request = access.store.put_opts(object, PutPayload::from_bytes(bytes), PutOptions::default());
        access.timed(object, 0, request).await?;
        Ok(sums.into())
    }

    /// Uploads a segment in parts; it appears when all of them are there.
    async fn put_in_parts(&self, index: usize, file: &FileInfo, object: &Path) -> RemoteResult<Arc<[u64]>> {
        let access = &self.remote.access;
        let begin = access.store.put_multipart_opts(object, PutMultipartOptions::default());
        let mut upload = access.timed(object, 0, begin).await?;
        let outcome = match self.put_parts(index, file, object, &mut *upload).await {
            Ok(sums) => access.timed(object, 0, upload.complete()).await.map(|_| sums.into()),
            Err(error) => Err(error),
        };
        if outcome.is_err()
            && let Err(error) = access.timed(object, 0, upload.abort()).await
        {
            // The remote's own rules for uploads that were never completed have to see to it.
            tracing::warn!(%error, "parts of an upload are left in the remote");
        }
        outcome
    }

    async fn put_parts(
        &self,
        index: usize,
        file: &FileInfo,
        object: &Path,
        upload: &mut dyn MultipartUpload,
    ) -> RemoteResult<Vec<u64>> {
        let (access, part_bytes) = (&self.remote.access, self.remote.options.part_bytes_of(file.bytes));
        let mut parts: JoinSet<RemoteResult<()>> = JoinSet::new();
        let mut sums = Vec::new();
        for range in ranges(file.bytes, part_bytes) {
            let permit = self.permit().await?;
            let (bytes, of_part) = self.read(index, range.clone()).await?;
            sums.extend(of_part);
            let part = upload.put_part(PutPayload::from_bytes(bytes));
            let (remote, object) = (Arc::clone(&self.remote), object.clone());
            parts.spawn(async move {
                let outcome = remote.access.timed(&object, range.start, part).await;
                drop(permit);
                outcome
            });
            while let Some(done) = parts.try_join_next() {
                joined(done)?;
            }
        }
        while let Some(done) = parts.join_next().await {
            joined(done)?;
        }
        debug_assert_eq!(sums.len() as u64, format::sums_count(file.bytes), "{}", access.object_name(object));
        Ok(sums)
    }

    async fn read_back(&self, file: &FileInfo, object: &Path, sums: &[u64]) -> RemoteResult<()> {
        let part_bytes = self.remote.options.part_bytes_of(file.bytes);
        for range in ranges(file.bytes, part_bytes) {
            let _permit = self.permit().await?;
            self.remote.access.range(object, file.bytes, range, Some(sums)).await?;
        }
        Ok(())
    }

    /// Puts the checkpoint's own object, under a number that nobody used.
    async fn publish(&self, sequence: u64, sums: &[Arc<[u64]>], uploaded: &mut Uploaded) -> RemoteResult<Checkpoint> {
        let access = &self.remote.access;
        let object = access.checkpoint(sequence);
        let name = access.object_name(&object);
        let bytes = Bytes::from(format::encode(sequence, self.files.manifest(), sums));
        let checkpoint = format::decode(&bytes, &name)?;
        match access.put_new(&object, bytes.clone()).await {
            Err(error) if error.fault() == Some(RemoteFault::Exists) => {
                let detail = format!("checkpoint {sequence} was published by another");
                return Err(RemoteError::Superseded { remote: access.name(), detail });
            }
            outcome => outcome?,
        }
        if self.remote.options.read_back && !access.holds(&object, &bytes).await? {
            // Nobody knows of it yet; the newest one must be good.
            access.delete(&[object]).await?;
            return Err(RemoteError::object(name, RemoteFault::Corrupt, 0, "what is there is not what was put"));
        }
        uploaded.sequence = sequence;
        uploaded.total_bytes += bytes.len() as u64;
        uploaded.new_bytes += bytes.len() as u64;
        Ok(checkpoint)
    }
}

fn is_altered(error: &RemoteError) -> bool {
    matches!(error.fault(), Some(RemoteFault::Corrupt | RemoteFault::Length | RemoteFault::Missing))
}

fn joined(done: Result<RemoteResult<()>, tokio::task::JoinError>) -> RemoteResult<()> {
    done.unwrap_or_else(|error| Err(RemoteError::Thread(error.to_string())))
}

/// The parts of a file, in order.
fn ranges(bytes: u64, part_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    (0..bytes.div_ceil(part_bytes)).map(move |part| part * part_bytes..bytes.min((part + 1) * part_bytes))
}
