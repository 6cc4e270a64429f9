//! Brings what a restored store asks for: what somebody waits for at once, the rest behind it, in order and within a limit.
//!
//! A thread asks the store ([`Fetches`]) and hands each request to the runtime of the remote that has the segment. It takes
//! what nobody waits for only when it can be brought right away, so that a read which needs it later is never held up by the
//! limit. It ends when everything is here, or the store is closed or gone.

use super::Inner;
use super::error::{RemoteError, RemoteResult};
use super::options::RestoreOptions;
use super::runtime::blocking;
use crate::error::Error;
use crate::platform::storage::{Fault, FetchRequest, Fetches};
use crate::platform::threads::{self, Condvar, Mutex};
use object_store::path::Path;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the thread waits for a request before it looks around.
const TICK: Duration = Duration::from_millis(10);
/// How long it waits before it asks anew for what failed again and again, at first and at last.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Over how long the rate is measured, about.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// What whoever waits is told then.
const CALLED_OFF: &str = "the restore was called off";

/// Where a segment comes from.
#[derive(Debug)]
pub(super) struct Origin {
    pub remote: Arc<Inner>,
    pub object: Path,
    pub len: u64,
    pub sums: Arc<[u64]>,
}

/// A segment that is to be brought.
#[derive(Debug)]
pub(super) struct Piece {
    pub name: String,
    pub len: u64,
    /// Where its filter and index begin, which lie behind its records.
    pub metadata: u64,
}

/// How far a restore is.
#[derive(Clone, Debug)]
pub struct RestoreProgress {
    /// What was to be brought, in bytes.
    pub bytes_total: u64,
    /// What isn't here yet, in bytes.
    pub bytes_left: u64,
    /// How many files aren't here whole.
    pub files_left: usize,
    /// The share that is here, 0 to 1.
    pub share: f64,
    /// What came because somebody waited for it, in bytes.
    pub bytes_on_demand: u64,
    /// How many requests were answered.
    pub requests: u64,
    /// How fast it comes, in bytes a second, over the last seconds.
    pub bytes_per_s: f64,
    /// How long it takes at this rate; `None` while there is none.
    pub time_left: Option<Duration>,
    /// How long it has been going on.
    pub elapsed: Duration,
    /// Whether all of it is here.
    pub done: bool,
    /// What went wrong last and has not gone right since. What can pass is tried again.
    pub problem: Option<RemoteError>,
}

/// A restore that goes on while the store is used. Dropping it calls nothing off: it goes on until all is here, or the
/// store is closed.
#[derive(Debug)]
pub struct Restoring {
    carrier: Arc<Carrier>,
}

#[derive(Debug)]
pub(super) struct Carrier {
    /// The only one held here: when nobody else has one, the store is gone.
    fetches: Arc<Fetches>,
    origins: HashMap<String, Origin>,
    order: Vec<Piece>,
    how: RestoreOptions,
    bytes_total: u64,
    started: Instant,
    state: Mutex<State>,
    /// It ended, or can't.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Requests that are under way, by their ids, those that somebody waits for and the others.
    demanded: HashSet<u64>,
    background: HashSet<u64>,
    bytes_on_demand: u64,
    requests: u64,
    bucket: Bucket,
    meter: Meter,
    /// What can't be had as it was, by the files' names.
    refused: BTreeMap<String, RemoteError>,
    problem: Option<RemoteError>,
    /// When what failed too often is asked for again.
    again: Option<Instant>,
    pause: Duration,
    cancelled: bool,
    ended: bool,
}

/// Bytes that may be brought in the background: they flow in at the limit's rate, and may be overdrawn by one request.
#[derive(Debug)]
struct Bucket {
    limit_bytes_per_s: Option<u64>,
    bytes: f64,
    filled: Instant,
}

impl Bucket {
    fn new(limit_bytes_per_s: Option<u64>, now: Instant) -> Self {
        Self { limit_bytes_per_s, bytes: 1.0, filled: now }
    }

    /// How long it takes until something may be brought; zero: now.
    fn wait(&mut self, now: Instant) -> Duration {
        let Some(limit) = self.limit_bytes_per_s.map(|limit| limit as f64) else { return Duration::ZERO };
        let came = now.saturating_duration_since(self.filled).as_secs_f64() * limit;
        self.filled = now;
        // What was left unused is no reason to flood the network later.
        self.bytes = (self.bytes + came).min(limit / 20.0);
        if self.bytes > 0.0 { Duration::ZERO } else { Duration::from_secs_f64((1.0 - self.bytes) / limit) }
    }

    fn take(&mut self, bytes: usize) {
        if self.limit_bytes_per_s.is_some() {
            self.bytes -= bytes as f64;
        }
    }
}

/// How fast bytes come: a mean that forgets.
#[derive(Debug)]
struct Meter {
    bytes: f64,
    seconds: f64,
    last: Instant,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { bytes: 0.0, seconds: 0.0, last: now }
    }

    fn add(&mut self, bytes: usize, now: Instant) {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        let kept = (-passed / RATE_WINDOW.as_secs_f64()).exp();
        self.bytes = self.bytes * kept + bytes as f64;
        self.seconds = self.seconds * kept + passed;
        self.last = now;
    }

    fn bytes_per_s(&mut self, now: Instant) -> f64 {
        self.add(0, now);
        if self.seconds > 0.0 { self.bytes / self.seconds } else { 0.0 }
    }
}

/// What to ask the store for next.
enum Turn {
    /// Anything: a request of the background can be brought now.
    Any,
    /// At most so many of those that somebody waits for.
    Demanded(usize, Duration),
}

impl Carrier {
    pub fn start(
        fetches: Arc<Fetches>,
        origins: HashMap<String, Origin>,
        order: Vec<Piece>,
        how: RestoreOptions,
    ) -> RemoteResult<Restoring> {
        let now = threads::now();
        let state = State {
            demanded: HashSet::new(),
            background: HashSet::new(),
            bytes_on_demand: 0,
            requests: 0,
            bucket: Bucket::new(how.limit_bytes_per_s, now),
            meter: Meter::new(now),
            refused: BTreeMap::new(),
            problem: None,
            again: None,
            pause: PAUSE,
            cancelled: false,
            ended: false,
        };
        let bytes_total = fetches.bytes_absent();
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let carrier = Arc::new(Self { fetches, origins, order, how, bytes_total, started: now, state, changed });
        carrier.prefer();
        let carries = Arc::clone(&carrier);
        let thread = threads::start("alluvium-restore", move || carries.carry());
        thread.map_err(|error| RemoteError::Thread(error.to_string()))?;
        Ok(Restoring { carrier })
    }

    /// Filters, indexes and first pages come first, as any lookup needs them; then everything, in its order.
    fn prefer(&self) {
        for piece in &self.order {
            self.fetches.prefer(&piece.name, 0, 1);
            self.fetches.prefer(&piece.name, piece.metadata, piece.len.saturating_sub(piece.metadata));
        }
        self.prefer_whole(|_| true);
    }

    fn prefer_whole(&self, which: impl Fn(&str) -> bool) {
        for piece in self.order.iter().filter(|piece| which(&piece.name)) {
            self.fetches.prefer(&piece.name, 0, piece.len);
        }
    }

    fn carry(self: Arc<Self>) {
        while !self.is_over() {
            let (requests, may_bring) = match self.turn() {
                Turn::Any => (self.fetches.wait(1, TICK), true),
                Turn::Demanded(at_most, wait) => (self.fetches.wait_demanded(at_most, wait.min(TICK)), false),
            };
            if requests.is_empty() && may_bring {
                self.ask_anew();
            }
            for request in requests {
                self.dispatch(request);
            }
        }
        self.state.lock().ended = true;
        self.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        self.fetches.files_absent() == 0 || self.fetches.is_closed() || Arc::strong_count(&self.fetches) == 1
    }

    fn turn(&self) -> Turn {
        let mut state = self.state.lock();
        if state.cancelled {
            return Turn::Demanded(usize::MAX, TICK);
        }
        let wait = state.bucket.wait(threads::now());
        // What somebody waits for must not queue behind much else; but with reads all the time something else has to come, too. It
        // begins slowly, as the first reads need most.
        let few = self.how.concurrency.div_ceil(4);
        let begun = few.saturating_add(usize::try_from(state.requests).unwrap_or(usize::MAX));
        let at_once = if state.demanded.is_empty() { self.how.concurrency.min(begun) } else { few };
        let free = self.how.on_demand.saturating_sub(state.demanded.len());
        if self.how.background && free > 0 && state.background.len() < at_once && wait.is_zero() {
            return Turn::Any;
        }
        Turn::Demanded(free, if wait.is_zero() { TICK } else { wait })
    }

    /// Nothing is asked for: either it is all on its way, or what is left failed too often, and is asked for anew some time
    /// later.
    fn ask_anew(&self) {
        let mut state = self.state.lock();
        if !state.demanded.is_empty() || !state.background.is_empty() {
            return;
        }
        let now = threads::now();
        match state.again {
            None => state.again = Some(now + state.pause),
            Some(again) if again <= now => {
                state.again = None;
                state.pause = (state.pause * 2).min(PAUSE_MAX);
                let refused: Vec<String> = state.refused.keys().cloned().collect();
                drop(state);
                self.prefer_whole(|name| !refused.iter().any(|refused| refused == name));
                self.changed.notify_all();
            }
            Some(_) => {}
        }
    }

    fn dispatch(self: &Arc<Self>, request: FetchRequest) {
        let Some(origin) = self.origins.get(&request.file) else {
            let detail = "none of the checkpoints that it is restored from names it";
            let error = RemoteError::object(&request.file, super::RemoteFault::Missing, request.offset, detail);
            return self.failed(&request, error);
        };
        {
            let mut state = self.state.lock();
            if state.cancelled {
                drop(state);
                return self.fetches.fail(request.id, CALLED_OFF);
            }
            if request.on_demand {
                state.demanded.insert(request.id);
            } else {
                state.background.insert(request.id);
                state.bucket.take(request.len);
            }
        }
        let under_way = UnderWay { carrier: Arc::clone(self), request };
        origin.remote.runtime.spawn(under_way.bring());
    }

    /// Tells whoever waits, and remembers.
    fn failed(&self, request: &FetchRequest, error: RemoteError) {
        tracing::warn!(%error, on_demand = request.on_demand, "a part of a segment could not be brought");
        let fault = error.as_fault();
        self.fetches.refuse(request.id, fault, &error.to_string());
        let mut state = self.state.lock();
        if fault != Fault::Absent {
            state.refused.insert(request.file.clone(), error.clone());
        }
        state.problem = Some(error);
        drop(state);
        self.changed.notify_all();
    }

    fn came(&self, request: &FetchRequest) {
        let mut state = self.state.lock();
        state.requests += 1;
        if request.on_demand {
            state.bytes_on_demand += request.len as u64;
        }
        state.meter.add(request.len, threads::now());
        (state.pause, state.again) = (PAUSE, None);
        if state.refused.is_empty() {
            state.problem = None;
        }
    }

    /// What can't be had, where nothing else is left to be brought.
    fn stuck(&self, state: &State) -> Option<RemoteError> {
        let refused: Vec<&RemoteError> = state
            .refused
            .iter()
            .filter(|(name, _)| self.fetches.absent(name).is_some())
            .map(|(_, error)| error)
            .collect();
        let rest = self.fetches.files_absent().saturating_sub(refused.len());
        refused.first().filter(|_| rest == 0 && state.background.is_empty()).map(|&error| error.clone())
    }
}

/// A request that is being answered; dropped before that, it failed.
struct UnderWay {
    carrier: Arc<Carrier>,
    request: FetchRequest,
}

impl UnderWay {
    async fn bring(self) {
        let Self { carrier, request } = &self;
        let Some(origin) = carrier.origins.get(&request.file) else { return };
        let range = request.offset..request.offset + request.len as u64;
        let access = &origin.remote.access;
        let outcome = match access.range(&origin.object, origin.len, range, Some(&origin.sums)).await {
            Ok(bytes) => {
                let (carrier, id) = (Arc::clone(carrier), request.id);
                blocking(move || Ok(carrier.fetches.complete(id, &bytes).map_err(Error::from)?)).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => carrier.came(request),
            Err(error) => carrier.failed(request, error),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Answered already, unless it panicked or its runtime ended.
        self.carrier.fetches.fail(self.request.id, "it was given up");
        {
            let mut state = self.carrier.state.lock();
            state.demanded.remove(&self.request.id);
            state.background.remove(&self.request.id);
        }
        self.carrier.fetches.wake();
    }
}

impl Restoring {
    /// How far it is.
    pub fn progress(&self) -> RestoreProgress {
        let carrier = &self.carrier;
        let (bytes_left, files_left) = (carrier.fetches.bytes_absent(), carrier.fetches.files_absent());
        let mut state = carrier.state.lock();
        let bytes_per_s = state.meter.bytes_per_s(threads::now());
        let bytes_total = carrier.bytes_total.max(bytes_left);
        let time_left = (bytes_per_s >= 1.0).then(|| Duration::try_from_secs_f64(bytes_left as f64 / bytes_per_s).ok());
        RestoreProgress {
            bytes_total,
            bytes_left,
            files_left,
            share: if bytes_total == 0 { 1.0 } else { 1.0 - bytes_left as f64 / bytes_total as f64 },
            bytes_on_demand: state.bytes_on_demand,
            requests: state.requests,
            bytes_per_s,
            time_left: if files_left == 0 { Some(Duration::ZERO) } else { time_left.flatten() },
            elapsed: threads::since(carrier.started),
            done: files_left == 0,
            problem: state.problem.clone(),
        }
    }

    /// Waits until all of it is here. Without [`RestoreOptions::background`] that is when everything was read.
    ///
    /// # Errors
    /// What can't be had, where nothing else is left: an object that is missing, truncated or altered, by its name.
    /// [`RemoteError::Cancelled`]; [`Error::Closed`] where the store was closed or dropped. A remote that can't be reached is
    /// waited for.
    pub fn wait(&self) -> RemoteResult<()> {
        let carrier = &self.carrier;
        let mut state = carrier.state.lock();
        loop {
            if carrier.fetches.files_absent() == 0 {
                return Ok(());
            }
            if state.cancelled {
                return Err(RemoteError::Cancelled);
            }
            if state.ended {
                return Err(Error::Closed.into());
            }
            if let Some(error) = carrier.stuck(&state) {
                return Err(error);
            }
            carrier.changed.wait_for(&mut state, 5 * TICK);
        }
    }

    /// Brings at most so much in the background from now on, in bytes a second; `None`: as fast as it comes.
    pub fn set_limit_bytes_per_s(&self, limit: Option<u64>) {
        self.carrier.state.lock().bucket = Bucket::new(limit.map(|limit| limit.max(1)), threads::now());
        self.carrier.fetches.wake();
    }

    /// Calls it off: nothing more is brought. Reads that wait for what isn't here fail, and so do those to come, with
    /// [`Fault::Absent`]; what is here can still be read. A store that is to be used again is opened anew, and its restore
    /// [resumed](super::resume).
    pub fn cancel(&self) {
        let under_way: Vec<u64> = {
            let mut state = self.carrier.state.lock();
            state.cancelled = true;
            state.demanded.iter().chain(&state.background).copied().collect()
        };
        self.carrier.fetches.cancel_waits();
        // Nor is anybody to wait for what is still on its way.
        under_way.into_iter().for_each(|id| self.carrier.fetches.fail(id, CALLED_OFF));
        self.carrier.fetches.wake();
        self.carrier.changed.notify_all();
    }
}
