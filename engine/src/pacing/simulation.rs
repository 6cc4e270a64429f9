//! A simulated store for tests: time, disk, input and crashes, all from a seed; nothing of it is measured.

use super::{Completed, Conflict, Learned, Pacer, Policy, Rates};
use std::time::Duration;

pub const MB: f64 = 1e6;

/// Numbers from a seed (splitmix64, Steele et al., OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, up to 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// A factor around 1, whose logarithm is normal with this deviation.
    pub fn factor(&mut self, deviation: f64) -> f64 {
        let normal = (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        (normal * deviation).exp()
    }
}

/// What comes in, in bytes per second.
#[derive(Clone, Copy, Debug)]
pub enum Trace {
    Steady(f64),
    /// One rate and another, each for so long.
    Step(f64, f64, f64),
    /// A rate, and every so often another for a while.
    Burst(f64, f64, f64, f64),
}

impl Trace {
    fn rate(self, at_s: f64) -> f64 {
        match self {
            Self::Steady(rate) => rate,
            Self::Step(low, high, period_s) => {
                if (at_s / period_s).floor() % 2.0 == 0.0 {
                    low
                } else {
                    high
                }
            }
            Self::Burst(base, peak, every_s, lasts_s) => {
                if at_s % every_s < every_s - lasts_s {
                    base
                } else {
                    peak
                }
            }
        }
    }

    /// When the rate may change next.
    fn next_change_s(self, at_s: f64) -> f64 {
        let next = |period_s: f64, from_s: f64| from_s + (((at_s - from_s) / period_s).floor() + 1.0) * period_s;
        match self {
            Self::Steady(_) => f64::INFINITY,
            Self::Step(_, _, period_s) => next(period_s, 0.0),
            Self::Burst(_, _, every_s, lasts_s) => next(every_s, 0.0).min(next(every_s, -lasts_s)),
        }
    }
}

/// What the simulated machine can do.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub open_s: f64,
    /// Bytes per second.
    pub replay: f64,
    pub disk: f64,
    /// What a checkpoint takes however little changed, in seconds.
    pub base_s: f64,
    /// The processing time that a checkpoint costs, and what comes for each second that it takes.
    pub lost_s: f64,
    pub lost_share: f64,
    /// Deviation of the logarithm of everything that takes time.
    pub noise: f64,
    /// From when to when the disk is slower, and by what factor.
    pub slow: (f64, f64, f64),
    /// How many bytes are changed again and again, if it isn't ever new ones.
    pub hot: Option<f64>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            open_s: 0.3,
            replay: 100.0 * MB,
            disk: 200.0 * MB,
            base_s: 0.05,
            lost_s: 0.1,
            lost_share: 0.1,
            noise: 0.07,
            slow: (f64::INFINITY, f64::INFINITY, 1.0),
            hot: None,
        }
    }
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub policy: Policy,
    pub trace: Trace,
    pub machine: Machine,
    /// What can be processed, in bytes per second, where the host says so; else recovery ends when the work is redone.
    pub capacity: Option<f64>,
    pub mtbf_s: f64,
    pub crashes: usize,
    pub until_s: f64,
    /// How often the host looks; `None`: when it was told to.
    pub look_s: Option<f64>,
    /// Whether a crash takes what was learnt along.
    pub forgets: bool,
    /// What was replayed before the beginning, so many times.
    pub replays: usize,
    pub seed: u64,
}

impl Plan {
    pub fn new(policy: Policy, trace: Trace) -> Self {
        Self {
            policy,
            trace,
            machine: Machine::default(),
            capacity: None,
            mtbf_s: 60.0,
            crashes: 240,
            until_s: f64::INFINITY,
            look_s: Some(0.1),
            forgets: false,
            replays: 1,
            seed: 1,
        }
    }

    pub fn run(&self) -> Outcome {
        let mut simulation = Simulation::new(*self);
        while simulation.outcome.crashes.len() < self.crashes && simulation.now_s < self.until_s {
            simulation.step();
        }
        simulation.outcome.lasted_s = simulation.now_s;
        simulation.outcome
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Crash {
    pub at_s: f64,
    pub predicted_s: f64,
    pub took_s: f64,
    /// The disk has just become slower, and nothing that was seen could have said so in time.
    pub blind: bool,
    /// What the pacer said then.
    pub conflict: Option<Conflict>,
}

impl Crash {
    pub fn error(&self) -> f64 {
        (self.predicted_s - self.took_s).abs() / self.took_s
    }
}

#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub crashes: Vec<Crash>,
    /// When checkpoints began.
    pub begun_s: Vec<f64>,
    /// Processing time that checkpoints cost, and that was redone.
    pub lost_s: f64,
    pub redone_s: f64,
    pub logged_bytes: f64,
    pub written_bytes: f64,
    pub lasted_s: f64,
    /// The conflicts that were said, of each kind the last word, and how often one was taken back.
    pub conflicts: Vec<Conflict>,
    pub taken_back: usize,
}

impl Outcome {
    pub fn wasted_s(&self) -> f64 {
        self.lost_s + self.redone_s
    }

    /// How far off predictions were, at this quantile.
    pub fn error(&self, quantile: f64) -> f64 {
        let mut errors: Vec<f64> = self.crashes.iter().filter(|crash| !crash.blind).map(Crash::error).collect();
        errors.sort_by(f64::total_cmp);
        errors[((errors.len() - 1) as f64 * quantile) as usize]
    }

    /// The crashes that took longer than this, of those that somebody could have seen coming.
    pub fn missed(&self, target_s: f64) -> Vec<Crash> {
        self.crashes.iter().filter(|crash| !crash.blind && crash.took_s > target_s).copied().collect()
    }

    pub fn longest_s(&self) -> f64 {
        self.crashes.iter().filter(|crash| !crash.blind).map(|crash| crash.took_s).fold(0.0, f64::max)
    }

    pub fn write_amplification(&self) -> f64 {
        1.0 + self.written_bytes / self.logged_bytes
    }
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    number: u64,
    end_s: f64,
    position: f64,
    completed: Completed,
    /// It began when the disk's speed had been seen.
    sighted: bool,
}

/// What is known of how slow the disk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    Clear,
    Blind,
    /// Something that was measured has shown it.
    Seen,
}

struct Simulation {
    plan: Plan,
    random: Random,
    gaps: Random,
    pacer: Pacer,
    now_s: f64,
    /// Bytes processed, those before the newest complete checkpoint, and those before the last barrier.
    position: f64,
    usable: f64,
    cut: f64,
    flight: Option<Flight>,
    number: u64,
    backlog: f64,
    crash_at_s: f64,
    /// The crash that is being recovered from.
    open_crash: Option<Crash>,
    said: Option<Conflict>,
    sight: Sight,
    slowness: f64,
    outcome: Outcome,
}

fn ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl Simulation {
    fn new(plan: Plan) -> Self {
        let mut random = Random(plan.seed);
        let mut pacer = Pacer::new(plan.policy, true, 0);
        pacer.observe_open(0, Duration::from_secs_f64(plan.machine.open_s));
        for _ in 0..plan.replays {
            let took_s = random.factor(plan.machine.noise) / plan.machine.replay * 100.0 * MB;
            pacer.observe_replay(0, (100.0 * MB) as u64, Duration::from_secs_f64(took_s));
        }
        let mut gaps = Random(plan.seed ^ 0x5eed);
        let crash_at_s = gaps.exponential(plan.mtbf_s);
        Self {
            plan,
            random,
            gaps,
            pacer,
            now_s: 0.0,
            position: 0.0,
            usable: 0.0,
            cut: 0.0,
            flight: None,
            number: 0,
            backlog: 0.0,
            crash_at_s,
            open_crash: None,
            said: None,
            sight: Sight::Clear,
            slowness: 1.0,
            outcome: Outcome::default(),
        }
    }

    fn dirty(&self) -> f64 {
        let changed = self.position - self.cut;
        self.plan.machine.hot.map_or(changed, |hot| hot * (1.0 - (-changed / hot).exp()))
    }

    fn tell(&mut self) {
        let now = ns(self.now_s);
        self.pacer.observe_log(now, (self.position - self.usable) as u64);
        self.pacer.observe_dirty(now, self.dirty() as u64);
        if let Some(capacity) = self.plan.capacity {
            let input = Some(self.plan.trace.rate(self.now_s));
            self.pacer.observe_rates(now, Rates { input, capacity: Some(capacity) });
        }
    }

    fn step(&mut self) {
        self.look_at_disk();
        self.tell();
        let decision = self.pacer.next_checkpoint(ns(self.now_s));
        let due = decision.is_some_and(|decision| decision.is_due());
        self.listen();
        if due {
            assert!(self.flight.is_none(), "two at once");
            self.begin();
        }
        let told_s = decision.map_or(1.0, |decision| decision.due_in.as_secs_f64().max(0.001));
        let mut next_s = self.now_s + self.plan.look_s.unwrap_or(told_s);
        next_s = next_s.min(self.flight.map_or(f64::INFINITY, |flight| flight.end_s)).min(self.crash_at_s);
        next_s = next_s.min(self.plan.trace.next_change_s(self.now_s)).min(self.caught_up_s());
        self.advance(next_s);
        if let Some(flight) = self.flight.filter(|flight| flight.end_s <= self.now_s) {
            self.complete(flight);
        }
        if self.backlog == 0.0
            && let Some(crash) = self.open_crash.take()
        {
            self.outcome.crashes.push(Crash { took_s: self.now_s - crash.at_s, ..crash });
            self.crash_at_s = self.now_s + self.gaps.exponential(self.plan.mtbf_s);
        }
        if self.now_s >= self.crash_at_s {
            self.crash();
        }
    }

    fn listen(&mut self) {
        let conflict = self.pacer.conflict();
        match (self.said, conflict) {
            (Some(_), None) => self.outcome.taken_back += 1,
            (Some(said), Some(now)) if (said.cause, said.kept) == (now.cause, now.kept) => {
                if let Some(last) = self.outcome.conflicts.last_mut() {
                    *last = now;
                }
            }
            (_, Some(now)) => self.outcome.conflicts.push(now),
            (None, None) => {}
        }
        self.said = conflict;
    }

    fn look_at_disk(&mut self) {
        let (from_s, until_s, factor) = self.plan.machine.slow;
        let slowness = if (from_s..until_s).contains(&self.now_s) { factor } else { 1.0 };
        if slowness > self.slowness {
            self.sight = Sight::Blind;
        }
        self.slowness = slowness;
    }

    fn measured(&mut self) {
        if self.sight == Sight::Blind {
            self.sight = Sight::Seen;
        }
    }

    fn caught_up_s(&self) -> f64 {
        let spare = self.plan.capacity.unwrap_or(0.0) - self.plan.trace.rate(self.now_s);
        if self.backlog > 0.0 && spare > 0.0 { self.now_s + self.backlog / spare } else { f64::INFINITY }
    }

    fn advance(&mut self, to_s: f64) {
        let elapsed_s = to_s - self.now_s;
        let came = self.plan.trace.rate(self.now_s) * elapsed_s;
        let done = match self.plan.capacity {
            Some(capacity) if self.backlog > 0.0 => {
                let done = (capacity * elapsed_s).min(self.backlog + came);
                self.backlog += came - done;
                if self.backlog < 1.0 {
                    self.backlog = 0.0;
                }
                done
            }
            _ => came,
        };
        self.position += done;
        self.outcome.logged_bytes += done;
        self.now_s = to_s;
    }

    fn begin(&mut self) {
        let machine = self.plan.machine;
        let dirty = self.dirty();
        let took_s = (machine.base_s + dirty / machine.disk) * self.slowness * self.random.factor(machine.noise);
        let lost_s = machine.lost_s * self.random.factor(machine.noise) + machine.lost_share * took_s;
        let completed = Completed {
            took: Duration::from_secs_f64(took_s),
            lost: Duration::from_secs_f64(lost_s),
            written_bytes: (dirty * 1.02) as u64 + (64 << 10),
            changed_bytes: dirty as u64,
        };
        self.number += 1;
        self.pacer.checkpoint_begun(ns(self.now_s), self.number);
        let (number, end_s, position) = (self.number, self.now_s + took_s, self.position);
        self.flight = Some(Flight { number, end_s, position, completed, sighted: self.sight != Sight::Blind });
        self.cut = self.position;
        self.outcome.begun_s.push(self.now_s);
        self.outcome.lost_s += lost_s;
        self.outcome.written_bytes += completed.written_bytes as f64;
    }

    fn complete(&mut self, flight: Flight) {
        self.flight = None;
        self.usable = flight.position;
        self.pacer.checkpoint_completed(ns(self.now_s), flight.number, flight.completed);
        if self.sight == Sight::Seen && flight.sighted {
            self.sight = Sight::Clear;
        }
        self.measured();
    }

    fn crash(&mut self) {
        self.tell();
        let at_s = self.now_s;
        let predicted_s = self.pacer.predicted_recovery(ns(at_s)).as_secs_f64();
        let (blind, conflict) = (self.sight != Sight::Clear, self.pacer.conflict());
        let machine = self.plan.machine;
        let work = self.position - self.usable;
        let open_s = machine.open_s * self.slowness * self.random.factor(machine.noise);
        let redone_s = work / machine.replay * self.slowness * self.random.factor(machine.noise);
        self.outcome.redone_s += redone_s;
        self.flight = None;
        self.cut = self.usable;
        let back_s = at_s + open_s + redone_s;
        if self.plan.capacity.is_some() {
            while self.now_s < back_s {
                let to_s = self.plan.trace.next_change_s(self.now_s).min(back_s);
                self.backlog += self.plan.trace.rate(self.now_s) * (to_s - self.now_s);
                self.now_s = to_s;
            }
        }
        self.now_s = back_s;
        self.crash_at_s = f64::INFINITY;
        self.open_crash = Some(Crash { at_s, predicted_s, took_s: 0.0, blind, conflict });
        let learned = if self.plan.forgets { Learned::default() } else { self.pacer.learned() };
        let now = ns(back_s);
        self.pacer = Pacer::resume(self.plan.policy, true, learned, now);
        self.said = None;
        self.pacer.observe_open(now, Duration::from_secs_f64(open_s));
        self.pacer.observe_replay(now, work as u64, Duration::from_secs_f64(redone_s));
        self.measured();
        if self.plan.capacity.is_none() {
            let crash = self.open_crash.take().unwrap();
            self.outcome.crashes.push(Crash { took_s: back_s - at_s, ..crash });
            self.crash_at_s = back_s + self.gaps.exponential(self.plan.mtbf_s);
        }
    }
}
