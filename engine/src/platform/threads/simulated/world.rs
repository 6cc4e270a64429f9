//! A world of threads that run by a seed: one at a time, each until it waits, or until the schedule has another go on.
//!
//! Its threads are real ones, so thread-locals, identities and stacks are what they always are; but each of them waits for its turn. A
//! turn can end at a *point*: before a lock is taken, before a call about files, where a thread waits, spins or asks what time it is. Who is next follows
//! from the seed, and so does how long a call about files takes. Time stands still while a thread runs, but for a microsecond at each
//! point, and jumps to the next deadline when all of them wait.
//!
//! What isn't decided here is what comes of the atomics between two points (the models of loom go through that) and what the kernel does
//! in an order of its own (io_uring).
//!
//! Two ways of choosing: at random, and by ranks that are drawn and now and then lost (Burckhardt, Kothari, Musuvathi, Nagarakatti, "A
//! Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010), which finds what takes one thread to be late for long.
//!
//! A thread that panics, threads that all wait for each other, and a run without end are findings: they are printed with what each thread
//! waits for and where, and the process ends with [`EXIT_CODE`]. Unwinding would have the engine's threads go on in a world that has none.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// With which a process ends that found something.
pub const EXIT_CODE: i32 = 86;

/// What time a world begins at, since 1970.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// How long a point takes, in ns.
const POINT_NS: u64 = 1_000;
/// A run that has more points than this has no end.
const POINTS_MAX: u64 = 50_000_000;
/// How many of the last turns are printed with a finding.
const TURNS_KEPT: usize = 40;

/// How the next thread is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// At each point it is another's turn with a chance of one in so many.
    Random(u64),
    /// The ready thread of the highest rank; at one in so many points, and where it only looks again and again, it loses its rank.
    Ranked(u64),
}

/// What a world runs by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Of all that is drawn.
    pub seed: u64,
    /// How the next thread is chosen.
    pub style: Style,
}

impl Schedule {
    /// A schedule of which all follows from a seed.
    pub fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed ^ 0x5EED);
        let often = 1 << numbers.below(7);
        let style = match numbers.below(3) {
            0 => Style::Ranked(16 * often),
            _ => Style::Random(often),
        };
        Self { seed, style }
    }
}

/// What a run came to: the same schedule and the same work come to the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ran {
    /// How many points there were.
    pub points: u64,
    /// How often it was another's turn.
    pub turns: u64,
    /// How many threads there were.
    pub threads: usize,
    /// How much time passed in the world.
    pub took: Duration,
    /// Differs where any turn was another's, elsewhere, or at another time.
    pub trace: u64,
}

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Something at this address: a lock, a condition, a channel.
    At(usize),
    /// A thread's end.
    EndOf(usize),
    /// To be unparked.
    Unpark(usize),
    /// Time alone.
    Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ready,
    Waits { what: What, until_ns: Option<u64> },
    Ended,
}

#[derive(Debug)]
struct Member {
    name: String,
    state: State,
    turn: Arc<Condvar>,
    timed_out: bool,
    unparked: bool,
    rank: u64,
    at: &'static Location<'static>,
}

#[derive(Debug)]
struct Inner {
    numbers: Numbers,
    style: Style,
    now_ns: u64,
    running: usize,
    members: Vec<Member>,
    points: u64,
    turns: u64,
    trace: u64,
    /// Ranks that were lost are below all that were drawn, and below each other.
    lowest: u64,
    last: Vec<(usize, &'static Location<'static>, u64)>,
}

/// The threads and what they have in common.
#[derive(Debug)]
pub struct World {
    inner: Mutex<Inner>,
    began: Instant,
}

/// A thread's place in its world.
#[derive(Clone, Debug)]
pub struct Here {
    world: Arc<World>,
    me: usize,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// The calling thread's place; `None` where it is in no world.
pub fn here() -> Option<Here> {
    HERE.try_with(|here| here.borrow().clone()).ok().flatten()
}

/// Runs `work` as the first thread of a new world, and waits until all threads have ended that it started. One world is there at a time.
#[track_caller]
pub fn run(schedule: Schedule, work: impl FnOnce()) -> Ran {
    static HOOK: Once = Once::new();
    // What is the process's, not a store's, would be waited for from one world to another.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            if let Some(here) = here() {
                here.world.lock().fail("a thread panicked");
            }
        }));
    });
    let inner = Inner {
        numbers: Numbers(schedule.seed),
        style: schedule.style,
        now_ns: 0,
        running: 0,
        members: Vec::new(),
        points: 0,
        turns: 0,
        trace: schedule.seed,
        lowest: RANKS,
        last: Vec::new(),
    };
    let world = Arc::new(World { inner: Mutex::new(inner), began: Instant::now() });
    let me = world.lock().join("host", Location::caller());
    let here = Here { world, me };
    HERE.set(Some(here.clone()));
    work();
    here.await_others(Location::caller());
    HERE.set(None);
    let inner = here.world.lock();
    Ran {
        points: inner.points,
        turns: inner.turns,
        threads: inner.members.len(),
        took: Duration::from_nanos(inner.now_ns),
        trace: inner.trace,
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ranks are drawn from here up.
const RANKS: u64 = 1 << 62;

impl Inner {
    fn join(&mut self, name: &str, at: &'static Location<'static>) -> usize {
        let rank = RANKS + self.numbers.below(RANKS);
        let (state, turn) = (State::Ready, Arc::default());
        self.members.push(Member { name: name.to_owned(), state, turn, timed_out: false, unparked: false, rank, at });
        self.members.len() - 1
    }

    /// A point of the running thread, which is `state` from here on.
    fn point(&mut self, me: usize, state: State, at: &'static Location<'static>) {
        self.points += 1;
        self.now_ns += POINT_NS;
        (self.members[me].state, self.members[me].at) = (state, at);
        self.members[me].timed_out = false;
        if self.points > POINTS_MAX {
            self.fail("the run has no end");
        }
    }

    fn lose_rank(&mut self, me: usize) {
        self.lowest -= 1;
        self.members[me].rank = self.lowest;
    }

    /// Whose turn it is: nobody's where all have ended.
    fn choose(&mut self, me: usize, spins: bool) -> Option<usize> {
        let ready = self.ready()?;
        let next = match self.style {
            Style::Random(one_in) => {
                let stays = !spins && ready.contains(&me) && self.numbers.below(one_in) != 0;
                if stays { me } else { ready[self.numbers.below(ready.len() as u64) as usize] }
            }
            Style::Ranked(one_in) => {
                if self.numbers.below(one_in) == 0 {
                    self.lose_rank(me);
                }
                ready.into_iter().max_by_key(|member| self.members[*member].rank)?
            }
        };
        let at = self.members[next].at;
        for word in [next as u64, self.now_ns, u64::from(at.line())] {
            self.trace = (self.trace ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
        if next != me {
            self.turns += 1;
            if self.last.len() == TURNS_KEPT {
                self.last.remove(0);
            }
            self.last.push((next, at, self.now_ns));
        }
        self.running = next;
        Some(next)
    }

    /// Who could go on: when nobody can, time goes on to where somebody can.
    fn ready(&mut self) -> Option<Vec<usize>> {
        loop {
            let now_ns = self.now_ns;
            for member in &mut self.members {
                if matches!(member.state, State::Waits { until_ns: Some(until_ns), .. } if until_ns <= now_ns) {
                    (member.state, member.timed_out) = (State::Ready, true);
                }
            }
            let ready: Vec<usize> =
                (0..self.members.len()).filter(|member| self.members[*member].state == State::Ready).collect();
            if !ready.is_empty() {
                return Some(ready);
            }
            let deadline = |member: &Member| match member.state {
                State::Waits { until_ns, .. } => until_ns,
                _ => None,
            };
            match self.members.iter().filter_map(deadline).min() {
                Some(next) => self.now_ns = next,
                None if self.members.iter().all(|member| member.state == State::Ended) => return None,
                None => self.fail("all threads wait for each other"),
            }
        }
    }

    fn wake(&mut self, what: What, all: bool) {
        let waits = |member: &Member| matches!(member.state, State::Waits { what: found, .. } if found == what);
        let mut waiting: Vec<usize> = (0..self.members.len()).filter(|at| waits(&self.members[*at])).collect();
        if !all && waiting.len() > 1 {
            waiting = vec![waiting[self.numbers.below(waiting.len() as u64) as usize]];
        }
        for member in waiting {
            self.members[member].state = State::Ready;
        }
    }

    /// Says what was found, and ends the process.
    fn fail(&self, what: &str) -> ! {
        let mut text = format!("\nfound in a simulation: {what}\n");
        let _ = writeln!(text, "after {} points, {} turns, {} ns", self.points, self.turns, self.now_ns);
        for (number, member) in self.members.iter().enumerate().filter(|(_, member)| member.state != State::Ended) {
            let runs = if number == self.running { ", runs" } else { "" };
            let _ = writeln!(text, "thread {number} {}{runs}: {:?} at {}", member.name, member.state, member.at);
        }
        text.push_str("the last turns:\n");
        for (member, at, now_ns) in &self.last {
            let _ = writeln!(text, "  {now_ns} ns: {} at {at}", self.members[*member].name);
        }
        // Not by `eprintln`, which tests catch.
        let _ = std::io::stderr().write_all(text.as_bytes());
        std::process::exit(EXIT_CODE);
    }
}

impl Here {
    /// Hands the turn to whoever is next, and waits for the next one of this thread. Says whether that came by a deadline.
    fn hand_over(&self, mut inner: MutexGuard<'_, Inner>, spins: bool) -> bool {
        let Some(next) = inner.choose(self.me, spins) else { return false };
        if next != self.me {
            inner.members[next].turn.notify_one();
            let turn = Arc::clone(&inner.members[self.me].turn);
            while inner.running != self.me {
                inner = turn.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
        }
        inner.members[self.me].timed_out
    }

    /// Another may go on here.
    pub fn point(&self, at: &'static Location<'static>) {
        let mut inner = self.world.lock();
        inner.point(self.me, State::Ready, at);
        self.hand_over(inner, false);
    }

    /// Others may go on: this one only looks again and again for what they do.
    pub fn spin(&self, at: &'static Location<'static>) {
        let mut inner = self.world.lock();
        inner.lose_rank(self.me);
        inner.point(self.me, State::Ready, at);
        self.hand_over(inner, true);
    }

    /// Waits; says whether it was in vain, and the time is over.
    pub fn wait(&self, what: What, until: Option<Instant>, at: &'static Location<'static>) -> bool {
        let mut inner = self.world.lock();
        let until_ns = until.map(|until| until.saturating_duration_since(self.world.began).as_nanos() as u64);
        inner.point(self.me, State::Waits { what, until_ns }, at);
        self.hand_over(inner, false)
    }

    /// Wakes who waits for something: one of them, or all.
    pub fn wake(&self, what: What, all: bool) {
        self.world.lock().wake(what, all);
    }

    /// Waits to be unparked, unless that has come about.
    pub fn park(&self, until: Option<Instant>, at: &'static Location<'static>) {
        if !std::mem::take(&mut self.world.lock().members[self.me].unparked) {
            self.wait(What::Unpark(self.me), until, at);
            self.world.lock().members[self.me].unparked = false;
        }
    }

    /// Wakes a thread of this world that is parked, or is about to be.
    pub fn unpark(&self) {
        let mut inner = self.world.lock();
        inner.members[self.me].unparked = true;
        inner.wake(What::Unpark(self.me), true);
    }

    /// A call about files: it takes a while.
    pub fn pass(&self, at: &'static Location<'static>) {
        let mut inner = self.world.lock();
        let takes_us = match inner.numbers.below(16) {
            0 => 1_000 + inner.numbers.below(19_000),
            1..=3 => inner.numbers.below(2_000),
            _ => inner.numbers.below(100),
        };
        let until_ns = Some(inner.now_ns + takes_us * 1_000);
        inner.point(self.me, State::Waits { what: What::Time, until_ns }, at);
        self.hand_over(inner, false);
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        let mut inner = self.world.lock();
        inner.now_ns += POINT_NS;
        self.world.began + Duration::from_nanos(inner.now_ns)
    }

    /// What time it is, since 1970.
    pub fn unix_time(&self) -> Duration {
        EPOCH + Duration::from_nanos(self.world.lock().now_ns)
    }

    /// Draws a number.
    pub fn draw(&self) -> u64 {
        self.world.lock().numbers.next()
    }

    /// A place for a thread that is about to be started.
    pub fn join(&self, name: &str, at: &'static Location<'static>) -> Self {
        let me = self.world.lock().join(name, at);
        Self { world: Arc::clone(&self.world), me }
    }

    /// Runs a thread's work when its first turn comes.
    pub fn work(self, work: impl FnOnce()) {
        let mut inner = self.world.lock();
        let turn = Arc::clone(&inner.members[self.me].turn);
        while inner.running != self.me {
            inner = turn.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        drop(inner);
        HERE.set(Some(self.clone()));
        work();
        HERE.set(None);
        self.end();
    }

    /// The thread ends, or never began.
    pub fn end(&self) {
        let mut inner = self.world.lock();
        let had_turn = inner.running == self.me;
        inner.members[self.me].state = State::Ended;
        inner.wake(What::EndOf(self.me), true);
        if had_turn && let Some(next) = inner.choose(self.me, false) {
            inner.members[next].turn.notify_one();
        }
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.world.lock().members[self.me].state == State::Ended
    }

    /// Which thread of the world.
    pub const fn number(&self) -> usize {
        self.me
    }

    /// Waits until a thread has ended.
    pub fn await_end(&self, of: &Self, at: &'static Location<'static>) {
        while !of.has_ended() {
            self.wait(What::EndOf(of.me), None, at);
        }
    }

    fn await_others(&self, at: &'static Location<'static>) {
        let mut other = 0;
        while other < self.world.lock().members.len() {
            if other != self.me {
                self.await_end(&Self { world: Arc::clone(&self.world), me: other }, at);
            }
            other += 1;
        }
    }
}

/// Numbers that follow from a seed (splitmix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#[derive(Clone, Copy, Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
