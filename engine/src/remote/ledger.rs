//! What is in a remote directory, who may change it, and what of it is kept.

use super::access::{Access, CHECKPOINTS, SEGMENTS, WRITERS, may_come_right, parse_checkpoint, parse_number};
use super::error::{RemoteError, RemoteFault, RemoteResult};
use super::format::{self, Checkpoint, HEADS_BYTES};
use super::{Inner, RemoteCheckpoint};
use crate::platform::random::random;
use crate::platform::storage::names;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::ObjectMeta;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How many checkpoints are read at once.
const READS: usize = 8;
/// What is in the object that says who uploads. Nobody reads it.
const CLAIM: &[u8] = b"whoever has the highest number uploads here\n";

/// The objects of a directory, as they were listed. What isn't ours is left out, and left alone.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub checkpoints: BTreeMap<u64, ObjectMeta>,
    pub segments: HashMap<String, ObjectMeta>,
    pub writers: Vec<u64>,
}

impl Listing {
    pub async fn take(access: &Access) -> RemoteResult<Self> {
        let mut listing = Self::default();
        for meta in access.list(None).await? {
            let Some((folder, name)) = access.place_of(&meta.location) else { continue };
            match folder {
                CHECKPOINTS => {
                    if let Some(sequence) = parse_checkpoint(name) {
                        listing.checkpoints.insert(sequence, meta);
                    }
                }
                SEGMENTS if names::parse_segment_name(name).is_some() => {
                    let name = name.to_owned();
                    listing.segments.insert(name, meta);
                }
                WRITERS => listing.writers.extend(parse_number(name)),
                _ => {}
            }
        }
        Ok(listing)
    }

    /// Fails where a segment isn't there, or not of this length.
    pub fn check_segment(&self, access: &Access, name: &str, bytes: u64) -> RemoteResult<()> {
        let object = || access.object_name(&access.segment(name));
        match self.segments.get(name) {
            Some(meta) if meta.size == bytes => Ok(()),
            Some(meta) => {
                let detail = format!("{} bytes long, but should be {bytes}", meta.size);
                Err(RemoteError::object(object(), RemoteFault::Length, meta.size.min(bytes), detail))
            }
            None => Err(RemoteError::object(object(), RemoteFault::Missing, 0, "not among the directory's segments")),
        }
    }
}

/// That this process uploads.
#[derive(Debug)]
struct Claim {
    number: u64,
    /// The object that says so; its time is by the remote's clock, as are those of all others.
    meta: ObjectMeta,
}

/// What was deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// Checkpoints, by their number in the directory, with the host's labels.
    pub checkpoints: Vec<(u64, Option<u64>)>,
    /// How many segments.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
}

/// What a process that uploads knows of its directory.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    claim: Option<Claim>,
    /// The checkpoints, by their numbers.
    pub checkpoints: BTreeMap<u64, Arc<Checkpoint>>,
    /// What was uploaded and that no checkpoint names yet, with its checksums.
    pub uploaded: HashMap<String, Arc<[u64]>>,
    /// Segments that this process began to upload, or that checkpoints named which have gone since or are to: what of them nothing names goes,
    /// with the next retention where this one fails.
    pub ours: HashSet<String>,
    /// Why one of the checkpoints could not be read: it may name any segment.
    unreadable: Option<RemoteError>,
}

impl Ledger {
    /// Takes the directory over, or sees that nobody took it since.
    pub async fn claim(&mut self, access: &Access, listing: &Listing) -> RemoteResult<()> {
        let highest = listing.writers.iter().copied().max().unwrap_or(0);
        if self.claim.is_some() {
            return self.check_claim(access, highest);
        }
        // Others may take it over just now: the last one has it.
        let mut number = highest.saturating_add(1);
        let meta = loop {
            let object = access.writer(number);
            // A name of ours alone, so that another's claim is never taken for ours.
            let bytes = [CLAIM, &random().to_le_bytes()].concat();
            match access.put_new(&object, Bytes::from(bytes)).await {
                Ok(()) => break access.head(&object).await?,
                Err(error) if error.fault() == Some(RemoteFault::Exists) && number < highest.saturating_add(16) => {
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        };
        self.claim = Some(Claim { number, meta });
        let old: Vec<_> = listing.writers.iter().map(|&number| access.writer(number)).collect();
        access.delete(&old).await
    }

    fn check_claim(&self, access: &Access, highest: u64) -> RemoteResult<()> {
        match &self.claim {
            Some(claim) if claim.number >= highest => Ok(()),
            _ => {
                let detail = format!("writer {highest} took the directory over");
                Err(RemoteError::Superseded { remote: access.name(), detail })
            }
        }
    }

    /// Sees that nobody took the directory over.
    pub async fn check_still(&self, access: &Access, listing: &Listing) -> RemoteResult<()> {
        self.check_claim(access, listing.writers.iter().copied().max().unwrap_or(0))
    }

    /// Reads the checkpoints that were not read yet. One that can't be read is remembered: nothing is deleted then.
    pub async fn read(&mut self, access: &Access, listing: &Listing) {
        let gone = self.checkpoints.iter().filter(|(sequence, _)| !listing.checkpoints.contains_key(sequence));
        self.ours.extend(gone.flat_map(|(_, checkpoint)| checkpoint.segments().map(|(name, _)| name)));
        self.checkpoints.retain(|sequence, _| listing.checkpoints.contains_key(sequence));
        self.unreadable = None;
        let unread: Vec<(u64, u64)> = listing
            .checkpoints
            .iter()
            .filter(|(sequence, _)| !self.checkpoints.contains_key(sequence))
            .map(|(&sequence, meta)| (sequence, meta.size))
            .collect();
        let mut reads = stream::iter(unread).map(|(at, bytes)| read(access, at, bytes)).buffer_unordered(READS);
        while let Some(outcome) = reads.next().await {
            match outcome {
                Ok(checkpoint) => {
                    self.checkpoints.insert(checkpoint.sequence, Arc::new(checkpoint));
                }
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint of a remote can't be read");
                    self.unreadable = Some(error);
                }
            }
        }
    }

    /// The checksums of every segment that some checkpoint names.
    pub fn sums(&self) -> HashMap<String, Arc<[u64]>> {
        let named = self.checkpoints.values().flat_map(|checkpoint| checkpoint.segments());
        named.map(|(name, sums)| (name, Arc::clone(sums))).collect()
    }

    /// Deletes all checkpoints but the newest, then the segments that none names. Safe to be stopped anywhere: a segment is
    /// never gone before the checkpoints that name it, and what is left over goes the next time.
    ///
    /// `listing` was taken when all that is named was there. Left alone is what others may just be uploading: what no checkpoint
    /// ever named, and came after the directory was taken over, and not from here.
    pub async fn retain(&mut self, access: &Access, listing: &Listing, keep: usize) -> RemoteResult<Removed> {
        if let Some(error) = &self.unreadable {
            return Err(error.clone());
        }
        let writers = access.list(Some(WRITERS)).await?;
        let numbers = writers.iter().filter_map(|meta| parse_number(access.place_of(&meta.location)?.1));
        self.check_claim(access, numbers.max().unwrap_or(0))?;

        let surplus = self.checkpoints.len().saturating_sub(keep.max(1));
        let doomed: Vec<Arc<Checkpoint>> = self.checkpoints.values().take(surplus).cloned().collect();
        self.ours.extend(doomed.iter().flat_map(|checkpoint| checkpoint.segments().map(|(name, _)| name)));
        let objects: Vec<_> = doomed.iter().map(|checkpoint| access.checkpoint(checkpoint.sequence)).collect();
        access.delete(&objects).await?;
        let mut removed = Removed::default();
        for checkpoint in &doomed {
            self.checkpoints.remove(&checkpoint.sequence);
            removed.checkpoints.push((checkpoint.sequence, checkpoint.manifest.label));
        }

        let named: HashSet<String> = self.sums().into_keys().collect();
        let claimed = self.claim.as_ref().map(|claim| claim.meta.last_modified);
        let is_ours = |name: &str, meta: &ObjectMeta| {
            let before = claimed.is_some_and(|claimed| meta.last_modified < claimed);
            before || self.ours.contains(name)
        };
        let dead = listing.segments.iter().filter(|(name, meta)| !named.contains(*name) && is_ours(name, meta));
        let dead: Vec<(&String, &ObjectMeta)> = dead.collect();
        let objects: Vec<_> = dead.iter().map(|(name, _)| access.segment(name)).collect();
        access.delete(&objects).await?;
        removed.segments = dead.len();
        removed.segment_bytes = dead.iter().map(|(_, meta)| meta.size).sum();
        self.uploaded.clear();
        self.ours.clear();
        Ok(removed)
    }
}

impl Checkpoint {
    /// The names of the segments, with their checksums.
    pub fn segments(&self) -> impl Iterator<Item = (String, &Arc<[u64]>)> {
        self.manifest.segments.iter().map(|meta| names::segment_name(meta.id.0)).zip(&self.sums)
    }
}

/// A checkpoint of the directory, checked in full; `bytes` is the length that was listed.
pub(super) async fn read(access: &Access, sequence: u64, bytes: u64) -> RemoteResult<Checkpoint> {
    let object = access.checkpoint(sequence);
    let name = access.object_name(&object);
    if bytes > format::OBJECT_BYTES_MAX {
        let detail = format!("{bytes} bytes are more than a checkpoint has");
        return Err(RemoteError::object(name, RemoteFault::Length, format::OBJECT_BYTES_MAX, detail));
    }
    let read = || async {
        let checkpoint = format::decode(&access.whole(&object, Some(bytes)).await?, &name)?;
        check_sequence(checkpoint.sequence, sequence, &name)?;
        Ok(checkpoint)
    };
    access.retried(read, may_come_right).await
}

fn check_sequence(found: u64, wanted: u64, object: &str) -> RemoteResult<()> {
    if found == wanted {
        return Ok(());
    }
    let detail = format!("the object holds checkpoint {found}, its name says {wanted}");
    Err(RemoteError::object(object, RemoteFault::Corrupt, 16, detail))
}

/// The checkpoints of a directory, oldest first, from their first bytes.
pub(super) async fn heads(access: &Access) -> RemoteResult<Vec<RemoteCheckpoint>> {
    let listed = access.list(Some(CHECKPOINTS)).await?;
    let place = |meta: ObjectMeta| Some((parse_checkpoint(access.place_of(&meta.location)?.1)?, meta.size));
    let mut numbers: Vec<(u64, u64)> = listed.into_iter().filter_map(place).collect();
    numbers.sort_unstable();
    let read = |(sequence, bytes): (u64, u64)| async move {
        let object = access.checkpoint(sequence);
        let name = access.object_name(&object);
        let head = || async {
            let shown = bytes.min(HEADS_BYTES as u64);
            let read = access.range(&object, bytes, 0..shown, None).await?;
            let (found, head) = format::decode_heads(&read, bytes, &name)?;
            check_sequence(found, sequence, &name).map(|()| head)
        };
        let head = access.retried(head, may_come_right).await;
        RemoteCheckpoint { sequence, object: name, object_bytes: bytes, head }
    };
    Ok(stream::iter(numbers).map(read).buffered(READS).collect().await)
}

/// The number of the checkpoint with this label, or of the newest, and its length.
pub(super) async fn find(inner: &Inner, listing: &Listing, label: Option<u64>) -> RemoteResult<(u64, u64)> {
    let none = || RemoteError::NoCheckpoint { remote: inner.access.name(), label };
    let Some(label) = label else {
        return listing.checkpoints.last_key_value().map(|(&at, meta)| (at, meta.size)).ok_or_else(none);
    };
    let mut damaged = None;
    for checkpoint in heads(&inner.access).await?.into_iter().rev() {
        match checkpoint.head {
            Ok(head) if head.label == Some(label) => return Ok((checkpoint.sequence, checkpoint.object_bytes)),
            Ok(_) => {}
            // It may have been the one.
            Err(error) => damaged = damaged.or(Some(error)),
        }
    }
    Err(damaged.unwrap_or_else(none))
}
