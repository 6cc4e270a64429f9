//! An object store that is far away and fails: requests take time, share a line, get lost, come cut or altered, or the process that
//! makes them dies.

use alluvium::remote::object_store::path::Path;
use alluvium::remote::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What goes wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// It isn't done.
    Refused,
    /// It is done, and the answer gets lost.
    AnswerLost,
    /// What it brings is cut.
    Cut,
    /// A bit of what it brings is flipped.
    Flipped,
}

/// What is to go wrong, and how slow it all is.
#[derive(Debug, Default)]
pub struct Plan {
    calls: AtomicU64,
    settings: Mutex<Settings>,
    /// Until when the line is taken.
    line: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// How long a request takes before its first byte.
    pub latency: Duration,
    /// How fast the line is that all requests share, in bytes a second; 0: it takes no time.
    pub line_bytes_per_s: u64,
    /// From which request on none is done; with the flag, the first of them is done all the same.
    pub dead_from: Option<(u64, bool)>,
    /// One in so many requests goes wrong, by chance from this seed.
    pub one_in: Option<(u64, u64)>,
}

impl Plan {
    pub fn set(&self, settings: Settings) {
        *self.settings.lock() = settings;
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn settings(&self) -> Settings {
        *self.settings.lock()
    }

    /// What becomes of the next request.
    fn next(&self) -> Option<Wrong> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let settings = self.settings();
        if let Some((from, first_is_done)) = settings.dead_from.filter(|(from, _)| call >= *from) {
            return Some(if call == from && first_is_done { Wrong::AnswerLost } else { Wrong::Refused });
        }
        let (seed, one_in) = settings.one_in?;
        let mut random = (seed ^ call).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        random = (random ^ (random >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        random ^= random >> 32;
        let all = [Wrong::Refused, Wrong::AnswerLost, Wrong::Cut, Wrong::Flipped];
        random.is_multiple_of(one_in).then(|| all[(random / one_in % 4) as usize])
    }

    async fn wait(&self, bytes: u64) {
        let settings = self.settings();
        if !settings.latency.is_zero() {
            tokio::time::sleep(settings.latency).await;
        }
        if settings.line_bytes_per_s > 0 && bytes > 0 {
            let takes = Duration::from_secs_f64(bytes as f64 / settings.line_bytes_per_s as f64);
            let until = {
                let mut line = self.line.lock();
                let from = line.unwrap_or_else(Instant::now).max(Instant::now());
                *line.insert(from + takes)
            };
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

fn lost(what: &str) -> Error {
    Error::Generic { store: "Faulty", source: format!("{what} was lost").into() }
}

/// See the module's head.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    pub plan: Arc<Plan>,
}

impl Faulty {
    pub fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, plan: Arc::default() }
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let wrong = self.plan.next();
        self.plan.wait(payload.content_length() as u64).await;
        match wrong {
            None => self.inner.put_opts(location, payload, options).await,
            Some(Wrong::Refused) => Err(lost("a put")),
            Some(_) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(lost("the answer to a put"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let wrong = self.plan.next();
        self.plan.wait(0).await;
        let upload = self.inner.put_multipart_opts(location, options).await?;
        if wrong.is_some() {
            return Err(lost("the beginning of an upload"));
        }
        Ok(Box::new(FaultyUpload { inner: upload, plan: Arc::clone(&self.plan) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let wrong = self.plan.next();
        let is_head = options.head;
        if matches!(wrong, Some(Wrong::Refused | Wrong::AnswerLost)) {
            self.plan.wait(0).await;
            return Err(lost("a get"));
        }
        let GetResult { payload, meta, range, attributes, extensions } = self.inner.get_opts(location, options).await?;
        let got = GetResult { payload, meta: meta.clone(), range: range.clone(), attributes, extensions };
        if is_head {
            self.plan.wait(0).await;
            return Ok(got);
        }
        let (attributes, extensions) = (got.attributes.clone(), got.extensions.clone());
        let mut bytes = got.bytes().await?;
        self.plan.wait(bytes.len() as u64).await;
        match wrong {
            Some(Wrong::Cut) => bytes.truncate(bytes.len() / 2),
            Some(Wrong::Flipped) if !bytes.is_empty() => {
                let mut altered = bytes.to_vec();
                let at = altered.len() / 3;
                altered[at] ^= 4;
                bytes = Bytes::from(altered);
            }
            _ => {}
        }
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, plan) = (Arc::clone(&self.inner), Arc::clone(&self.plan));
        let delete = move |location: Result<Path>| {
            let (inner, plan) = (Arc::clone(&inner), Arc::clone(&plan));
            async move {
                let wrong = plan.next();
                plan.wait(0).await;
                if wrong == Some(Wrong::Refused) {
                    return Err(lost("a delete"));
                }
                let location = location?;
                let one = stream::once(async move { Ok(location) }).boxed();
                let deleted = inner.delete_stream(one).next().await.unwrap_or_else(|| Err(lost("a delete")));
                if wrong.is_some() { Err(lost("the answer to a delete")) } else { deleted }
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let plan = Arc::clone(&self.plan);
        let listed = self.inner.list(prefix);
        let first = async move {
            let wrong = plan.next();
            plan.wait(0).await;
            if wrong.is_some() { stream::once(async { Err(lost("a list")) }).boxed() } else { listed }
        };
        first.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    plan: Arc<Plan>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (plan, wrong, bytes) = (Arc::clone(&self.plan), self.plan.next(), data.content_length() as u64);
        let part = self.inner.put_part(data);
        async move {
            plan.wait(bytes).await;
            if wrong == Some(Wrong::Refused) {
                return Err(lost("a part"));
            }
            part.await?;
            if wrong.is_some() { Err(lost("the answer to a part")) } else { Ok(()) }
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let wrong = self.plan.next();
        self.plan.wait(0).await;
        if wrong == Some(Wrong::Refused) {
            return Err(lost("a completion"));
        }
        let done = self.inner.complete().await?;
        if wrong.is_some() { Err(lost("the answer to a completion")) } else { Ok(done) }
    }

    async fn abort(&mut self) -> Result<()> {
        if self.plan.next() == Some(Wrong::Refused) {
            return Err(lost("an abort"));
        }
        self.inner.abort().await
    }
}
