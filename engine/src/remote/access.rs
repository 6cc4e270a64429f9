//! Requests to the objects of one remote directory: named, timed, made again where that can help, and checked.
//!
//! ```text
//! segments/<32 hex>.segment           a segment, as the engine wrote it
//! checkpoints/<16 hex>.checkpoint     a checkpoint, by its number in this directory
//! writers/<16 hex>                    who uploads: the highest number may
//! ```

use super::error::{RemoteError, RemoteFault, RemoteResult};
use super::format::first_difference;
use super::options::{RemoteOptions, RetryOptions};
use crate::platform::random::random;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::{Path, PathPart};
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

pub(super) const SEGMENTS: &str = "segments";
pub(super) const CHECKPOINTS: &str = "checkpoints";
pub(super) const WRITERS: &str = "writers";
const CHECKPOINT_SUFFIX: &str = ".checkpoint";

/// The directory.
#[derive(Debug)]
pub(super) struct Access {
    pub store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What objects' names begin with in errors.
    display: String,
    retry: RetryOptions,
}

impl Access {
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, retry: RetryOptions) -> Self {
        let display = store.to_string();
        Self { store, prefix, display, retry }
    }

    /// The directory that a URL names.
    pub fn of_url(url: &str, options: &RemoteOptions) -> RemoteResult<Self> {
        let unsupported = |detail: String| RemoteError::object(url, RemoteFault::Unsupported, 0, detail);
        let parsed = Url::parse(url).map_err(|error| unsupported(error.to_string()))?;
        let configuration = environment().chain(options.configuration.iter().cloned());
        let (store, prefix) =
            object_store::parse_url_opts(&parsed, configuration).map_err(|error| unsupported(error.to_string()))?;
        let store: Arc<dyn ObjectStore> = if parsed.scheme() == "file" {
            // An object that is there is there for good, as in the other stores.
            Arc::new(object_store::local::LocalFileSystem::new().with_fsync(true))
        } else {
            Arc::from(store)
        };
        let display = parsed[..url::Position::BeforePath].to_owned();
        Ok(Self { store, prefix, display, retry: options.retry })
    }

    /// The directory's name, for errors.
    pub fn name(&self) -> String {
        self.object_name(&self.prefix)
    }

    pub fn object_name(&self, object: &Path) -> String {
        format!("{}/{object}", self.display)
    }

    fn folder(&self, folder: &str) -> Path {
        self.prefix.parts().chain([PathPart::from(folder)]).collect()
    }

    fn within(&self, folder: &str, name: &str) -> Path {
        self.prefix.parts().chain([PathPart::from(folder), PathPart::from(name)]).collect()
    }

    pub fn segment(&self, name: &str) -> Path {
        self.within(SEGMENTS, name)
    }

    pub fn checkpoint(&self, sequence: u64) -> Path {
        self.within(CHECKPOINTS, &format!("{sequence:016x}{CHECKPOINT_SUFFIX}"))
    }

    pub fn writer(&self, number: u64) -> Path {
        self.within(WRITERS, &format!("{number:016x}"))
    }

    /// The folder and name of an object right in a folder of the directory; `None` for any other.
    pub fn place_of<'a>(&self, object: &'a Path) -> Option<(&'a str, &'a str)> {
        let rest = object.as_ref().strip_prefix(self.prefix.as_ref())?.trim_start_matches('/');
        rest.split_once('/').filter(|(_, name)| !name.contains('/'))
    }

    /// Makes a request, again where it fails in passing, or as `worth_it` says of the error and how often it failed.
    pub async fn retried<T, F>(
        &self,
        mut request: impl FnMut() -> F,
        worth_it: impl Fn(&RemoteError, u32) -> bool,
    ) -> RemoteResult<T>
    where
        F: Future<Output = RemoteResult<T>>,
    {
        let mut pause = self.retry.first;
        let mut failed = 0;
        loop {
            match request().await {
                Err(error) if failed + 1 < self.retry.tries && (error.is_passing() || worth_it(&error, failed)) => {
                    failed += 1;
                    tracing::debug!(%error, failed, "a request to a remote failed; it is made again");
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(self.retry.longest);
                }
                outcome => return outcome,
            }
        }
    }

    /// One request, within its time.
    pub async fn timed<T>(
        &self,
        object: &Path,
        offset: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> RemoteResult<T> {
        match tokio::time::timeout(self.retry.timeout, request).await {
            Ok(outcome) => outcome.map_err(|error| RemoteError::of_request(self.object_name(object), offset, &error)),
            Err(_) => {
                let detail = format!("no answer within {:?}", self.retry.timeout);
                Err(RemoteError::object(self.object_name(object), RemoteFault::Unavailable, offset, detail))
            }
        }
    }

    /// The objects of a folder, or of the whole directory.
    pub async fn list(&self, folder: Option<&str>) -> RemoteResult<Vec<ObjectMeta>> {
        let prefix = folder.map_or_else(|| self.prefix.clone(), |folder| self.folder(folder));
        let list = || {
            let listed = self.store.list((!prefix.is_root()).then_some(&prefix)).try_collect();
            self.timed(&prefix, 0, listed)
        };
        self.retried(list, |_, _| false).await
    }

    pub async fn head(&self, object: &Path) -> RemoteResult<ObjectMeta> {
        self.retried(|| self.timed(object, 0, self.store.head(object)), |_, _| false).await
    }

    /// Puts an object of some bytes where none is. One that is there already and has these bytes counts as put: the answer to
    /// an earlier request may have been lost.
    pub async fn put_new(&self, object: &Path, bytes: Bytes) -> RemoteResult<()> {
        let put = || {
            let options = PutOptions::from(PutMode::Create);
            let request = self.store.put_opts(object, PutPayload::from_bytes(bytes.clone()), options);
            self.timed(object, 0, request)
        };
        match self.retried(put, |_, _| false).await {
            Err(error) if error.fault() == Some(RemoteFault::Exists) => {
                if self.holds(object, &bytes).await? {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            outcome => outcome.map(drop),
        }
    }

    /// Whether an object has these bytes. What comes otherwise may have been damaged on its way, so it is looked at again.
    pub async fn holds(&self, object: &Path, bytes: &Bytes) -> RemoteResult<bool> {
        for _ in 0..3 {
            if self.whole(object, None).await? == bytes {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All of an object, of this length if it is known, and at most of what fits a checkpoint.
    pub async fn whole(&self, object: &Path, len: Option<u64>) -> RemoteResult<Bytes> {
        self.retried(|| self.get(object, len, None), may_come_right).await
    }

    /// Bytes of an object of `len` bytes, compared with its checksums where there are any; the range begins and ends with
    /// a chunk then, or with the object.
    pub async fn range(&self, object: &Path, len: u64, range: Range<u64>, sums: Option<&[u64]>) -> RemoteResult<Bytes> {
        let get = || async {
            let bytes = self.get(object, Some(len), Some(range.clone())).await?;
            match sums.and_then(|sums| first_difference(sums, range.start, &bytes)) {
                None => Ok(bytes),
                Some(at) => {
                    let (name, fault) = (self.object_name(object), RemoteFault::Corrupt);
                    Err(RemoteError::object(name, fault, at, "altered: its checksum differs"))
                }
            }
        };
        self.retried(get, may_come_right).await
    }

    async fn get(&self, object: &Path, len: Option<u64>, range: Option<Range<u64>>) -> RemoteResult<Bytes> {
        let offset = range.as_ref().map_or(0, |range| range.start);
        let options = GetOptions { range: range.clone().map(Into::into), ..GetOptions::default() };
        let request = async {
            let result = self.store.get_opts(object, options).await?;
            let object_bytes = result.meta.size;
            Ok((object_bytes, result.bytes().await?))
        };
        let (object_bytes, bytes) = match self.timed(object, offset, request).await {
            Ok(got) => got,
            // Some remotes don't say that the object ends before; ask.
            Err(error) if error.is_passing() && len.is_some() => {
                let meta = self.timed(object, 0, self.store.head(object)).await;
                return match (meta, len) {
                    (Ok(meta), Some(len)) if meta.size != len => Err(self.wrong_length(object, meta.size, len)),
                    (Err(missing), _) if missing.fault() == Some(RemoteFault::Missing) => Err(missing),
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        if let Some(len) = len.filter(|&len| len != object_bytes) {
            return Err(self.wrong_length(object, object_bytes, len));
        }
        let wanted = range.map_or(object_bytes, |range| range.end - range.start);
        if bytes.len() as u64 != wanted {
            let detail = format!("{} bytes came of {wanted}", bytes.len());
            let at = offset + (bytes.len() as u64).min(wanted);
            return Err(RemoteError::object(self.object_name(object), RemoteFault::Corrupt, at, detail));
        }
        Ok(bytes)
    }

    fn wrong_length(&self, object: &Path, found: u64, wanted: u64) -> RemoteError {
        let detail = format!("{found} bytes long, but should be {wanted}");
        RemoteError::object(self.object_name(object), RemoteFault::Length, found.min(wanted), detail)
    }

    /// Deletes objects, in order; one that isn't there counts as deleted.
    pub async fn delete(&self, objects: &[Path]) -> RemoteResult<()> {
        // As many as S3 takes at once.
        for some in objects.chunks(1_000) {
            let first = some.first().unwrap_or(&self.prefix);
            let delete = || {
                let paths: Vec<object_store::Result<Path>> = some.iter().cloned().map(Ok).collect();
                let mut deleted = self.store.delete_stream(stream::iter(paths).boxed());
                self.timed(first, 0, async move {
                    while let Some(outcome) = deleted.next().await {
                        match outcome {
                            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Ok(())
                })
            };
            self.retried(delete, |_, _| false).await?;
        }
        Ok(())
    }
}

/// The number in a checkpoint's name.
pub(super) fn parse_checkpoint(name: &str) -> Option<u64> {
    parse_number(name.strip_suffix(CHECKPOINT_SUFFIX)?)
}

/// The number that 16 hexadecimal digits are.
pub(super) fn parse_number(digits: &str) -> Option<u64> {
    let plain = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// How often what comes altered is asked for again: more often than not it is altered where it lies.
const ALTERED_TRIES: u32 = 4;

/// Whether what came in pieces or altered is worth asking for again: it may have been damaged on its way.
pub(super) fn may_come_right(error: &RemoteError, failed: u32) -> bool {
    matches!(error.fault(), Some(RemoteFault::Corrupt | RemoteFault::Foreign)) && failed < ALTERED_TRIES
}

/// Variables of the environment that configure remotes.
fn environment() -> impl Iterator<Item = (String, String)> {
    let names = ["AWS_", "GOOGLE_", "AZURE_"];
    let texts =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(move |(key, _)| names.iter().any(|name| key.starts_with(name)))
}

/// From half of a pause to all of it, so that those that failed together don't come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + 0.5 * (random() % 1_024) as f64 / 1_024.0)
}
