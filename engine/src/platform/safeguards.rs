//! The safeguards by name: what keeps state from being lost, or misread, each at its place in the code.
//!
//! In what ships they all stand, and asking costs nothing. With the feature `recorder` a test can take one away
//! (`ALLUVIUM_WITHOUT=<name>`) and has to find out: `tests/simulation` does so with each of them.
//!
//! Checksums of which nearly each byte is checked by other means as well aren't here, as hardly anything would show without them: of a
//! segment's superblocks, and of the headers of a changelog's files and blocks.

/// One of them. Taken away, it isn't done, or isn't looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Safeguard {
    /// A segment is synced before anything names it.
    SegmentSynced,
    /// A manifest is synced before it has its name.
    ManifestSynced,
    /// The names of segments are synced before the manifest that names them has its own.
    NamesBeforeManifest,
    /// A manifest's name is synced before its checkpoint counts as complete.
    ManifestNamed,
    /// A file of the changelog is synced before it has its name.
    ChangelogMade,
    /// A changelog's name is synced before anything is written to it.
    ChangelogNamed,
    /// A commit is synced before it counts as durable.
    CommitSynced,
    /// A file of the changelog is synced before the next one is begun.
    ChangelogBeforeNext,
    /// What recovery finds at the end of a changelog is synced before it counts as durable.
    FoundSynced,
    /// The manifests of checkpoints that were let go of are gone for good before their segments go.
    ManifestsGoFirst,
    /// The changelog is cut only behind a checkpoint that lasts.
    CutBehindCheckpoint,
    /// After a sync that failed nothing of the directory counts as durable any more.
    FailureStays,
    /// A record that is being flushed isn't changed in place.
    StampRule,
    /// A record that was committed isn't changed in place by a transaction.
    CommittedStamp,
    /// Who borrows a shard waits until its writer is out of it.
    GateWaits,
    /// A block's bytes have their checksum.
    BlockChecksum,
    /// A page of a segment's metadata has its checksum.
    MetadataChecksum,
    /// A manifest has its digest, and its head a checksum.
    ManifestChecksum,
    /// The payload of a changelog's block has its checksum.
    LogPayloadChecksum,
}

/// All of them.
pub const SAFEGUARDS: [Safeguard; 19] = [
    Safeguard::SegmentSynced,
    Safeguard::ManifestSynced,
    Safeguard::NamesBeforeManifest,
    Safeguard::ManifestNamed,
    Safeguard::ChangelogMade,
    Safeguard::ChangelogNamed,
    Safeguard::CommitSynced,
    Safeguard::ChangelogBeforeNext,
    Safeguard::FoundSynced,
    Safeguard::ManifestsGoFirst,
    Safeguard::CutBehindCheckpoint,
    Safeguard::FailureStays,
    Safeguard::StampRule,
    Safeguard::CommittedStamp,
    Safeguard::GateWaits,
    Safeguard::BlockChecksum,
    Safeguard::MetadataChecksum,
    Safeguard::ManifestChecksum,
    Safeguard::LogPayloadChecksum,
];

/// Whether it stands.
#[cfg(not(feature = "recorder"))]
#[inline(always)]
pub const fn stands(_safeguard: Safeguard) -> bool {
    true
}

/// Whether it stands: no test took it away.
#[cfg(feature = "recorder")]
pub fn stands(safeguard: Safeguard) -> bool {
    static WITHOUT: std::sync::LazyLock<Option<Safeguard>> = std::sync::LazyLock::new(|| {
        let name = std::env::var("ALLUVIUM_WITHOUT").ok()?;
        SAFEGUARDS.into_iter().find(|safeguard| format!("{safeguard:?}") == name)
    });
    *WITHOUT != Some(safeguard)
}
