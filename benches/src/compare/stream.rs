//! One run of a workload: load, closed loop, open loop, checkpoint, a look at the state, and what it cost.

use super::engines::Job;
use super::figures::{Figures, LatencyNs};
use super::{Sizes, usage};
use crate::backends::{Backend, Place};
use crate::harness::disk::tree_bytes;
use crate::harness::latency::Latency;
use crate::harness::table::Every;
use crate::harness::{Outcome, wrong};
use crate::workloads::{Answers, Workload};
use std::time::{Duration, Instant};

/// Parts that the events come in: a run ends with one of them, and answers are compared at their ends.
pub const SEGMENTS: usize = 480;
/// As many times does [`Pace::Between`] have a checkpoint's place, in all events.
pub const PLACES: usize = SEGMENTS / CHECKPOINT_SEGMENTS;
/// The closed loop leaves the rest to the open one.
const CLOSED_SEGMENTS: usize = 320;
/// Between checkpoints, where all engines have the same time.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(2_500);
/// Between checkpoints, where all engines have the same events.
const CHECKPOINT_SEGMENTS: usize = CLOSED_SEGMENTS / 4;
/// Who takes so many times longer for the same events as others have for theirs ends before them.
const FIXED_TIMES: u32 = 8;
/// Of what the closed loop did.
const OPEN_LOAD: f64 = 0.7;
/// Events of that long come together in the open loop.
const GROUP: Duration = Duration::from_micros(20);

/// What ends the closed loop, and where checkpoints are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// All engines have the same time, and checkpoints by the clock.
    Time,
    /// They have the same events, and checkpoints at the same places: where state grows with every event, engines that are faster would
    /// have more of it.
    Events,
    /// As that, but no checkpoint is anywhere else, so there is no open loop: what is written is what the state between two
    /// of these places costs.
    Between,
}

/// A workload to be measured with some engine.
#[derive(Debug)]
pub struct Stream<'a, W> {
    pub workload: W,
    pub place: Place,
    pub sizes: &'a Sizes,
    pub pace: Pace,
}

/// A run in progress.
struct Running<'a, B, W: Workload> {
    backend: B,
    workload: W,
    sizes: &'a Sizes,
    pace: Pace,
    answers: Answers,
    events: Vec<W::Event>,
    digests: Vec<u64>,
    checkpoints: Every,
    /// Checkpoints of the closed loop.
    begun: u64,
}

impl<W: Workload> Job for Stream<'_, W> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        let mut figures = Figures::default();
        let before_bytes = usage::written_bytes();
        let path = self.place.path.clone();
        let mut run = Running {
            backend: B::open(&Place { tables: self.workload.tables(), ..self.place })?,
            workload: self.workload,
            sizes: self.sizes,
            pace: self.pace,
            answers: Answers::default(),
            events: Vec::new(),
            digests: Vec::new(),
            checkpoints: Every::new(CHECKPOINT_EVERY),
            begun: 0,
        };
        let started = Instant::now();
        run.workload.load(&mut run.backend, &mut run.answers)?;
        run.backend.checkpoint()?;
        figures.load_s = Some(started.elapsed().as_secs_f64());
        run.closed(&mut figures)?;
        if self.pace != Pace::Between {
            run.open(&mut figures)?;
        }
        run.finish(&mut figures, &path, before_bytes)?;
        Ok(figures)
    }
}

impl<B: Backend, W: Workload> Running<'_, B, W> {
    /// Makes the next segment's events; whether there are any.
    fn next_segment(&mut self) -> bool {
        let all = self.workload.events();
        let made = self.digests.len() as u64;
        let end = |segment: u64| all * segment / SEGMENTS as u64;
        let count = end(made + 1) - end(made);
        self.events.clear();
        if made == SEGMENTS as u64 || count == 0 {
            return false;
        }
        self.workload.generate(count as usize, &mut self.events);
        true
    }

    /// Whether a checkpoint is to begin, in the closed loop.
    fn is_checkpoint_due(&mut self, is_first_of_segment: bool) -> bool {
        match self.pace {
            Pace::Time => self.checkpoints.is_due(),
            Pace::Events => is_first_of_segment && self.is_at_place(),
            Pace::Between => false,
        }
    }

    /// Whether all segments before one of the places where checkpoints are were done, and no other.
    fn is_at_place(&self) -> bool {
        let made = self.digests.len();
        made > 0 && made.is_multiple_of(CHECKPOINT_SEGMENTS)
    }

    /// [`Pace::Between`]: a checkpoint of what is there between two segments.
    fn checkpoint_between(&mut self) -> Outcome {
        if self.workload.live_bytes() > 0 {
            return wrong("something is left where a checkpoint is");
        }
        while !self.backend.checkpoint_is_complete()? {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.backend.begin_checkpoint()?;
        self.begun += 1;
        Ok(())
    }

    /// As fast as it goes.
    fn closed(&mut self, figures: &mut Figures) -> Outcome {
        let mut latency = Latency::new()?;
        let (mut time, mut events) = (Duration::ZERO, 0_u64);
        let batch = self.workload.batch();
        let (operations, cpu) = (self.answers.operations, usage::cpu());
        let (mut generating, mut index) = (Duration::ZERO, 0);
        let limit = self.sizes.closed * if self.pace == Pace::Time { 1 } else { FIXED_TIMES };
        self.checkpoints = Every::new(CHECKPOINT_EVERY);
        let is_over = |run: &Self, time| time >= limit && (run.pace != Pace::Between || run.is_at_place());
        while self.digests.len() < CLOSED_SEGMENTS && !is_over(self, time) {
            let making = usage::thread_cpu();
            self.next_segment();
            generating += usage::thread_cpu() - making;
            let segment = std::mem::take(&mut self.events);
            let started = Instant::now();
            latency.resume();
            for (chunk, at) in segment.chunks(batch).zip(0_usize..) {
                let (workload, backend, answers) = (&mut self.workload, &mut self.backend, &mut self.answers);
                // Of batches there are few.
                let turn = if batch == 1 { index } else { 0 };
                latency.sample(turn, || workload.process(backend, chunk, answers))?;
                index += 1;
                // A look at the clock costs: not after each event.
                if at % 1024 == 0 && self.is_checkpoint_due(at == 0) && self.backend.checkpoint_is_complete()? {
                    latency.pause();
                    self.backend.begin_checkpoint()?;
                    latency.resume();
                    self.begun += 1;
                }
            }
            latency.pause();
            self.digests.push(self.answers.digest());
            if self.pace == Pace::Between && self.is_at_place() {
                self.checkpoint_between()?;
            }
            time += started.elapsed();
            self.events = segment;
            events += self.events.len() as u64;
        }
        let cpu = usage::cpu() - cpu - generating;
        (figures.events, figures.checkpoints) = (Some(events), Some(self.begun));
        figures.closed_s = Some(time.as_secs_f64());
        figures.events_per_s = Some(events as f64 / time.as_secs_f64());
        figures.ops_per_s = Some((self.answers.operations - operations) as f64 / time.as_secs_f64());
        figures.cpu_s_per_million_events = Some(cpu.as_secs_f64() * 1e6 / events as f64);
        figures.latency_ns = LatencyNs::of(&latency);
        Ok(())
    }

    /// Events are due at fixed times; their latency counts from there. Those of [`GROUP`] come together, so that looking at the
    /// clock isn't what is measured. The clock stands while events are made, and who is late then is late behind it.
    fn open(&mut self, figures: &mut Figures) -> Outcome {
        let mut latency = Latency::new()?;
        let Some(closed_per_s) = figures.events_per_s else { return wrong("no closed loop to open") };
        let rate = closed_per_s * OPEN_LOAD;
        let batch = self.workload.batch();
        let group = batch * ((rate * GROUP.as_secs_f64()) as usize / batch).max(1);
        let (mut spent, mut done) = (Duration::ZERO, 0);
        while spent < self.sizes.open && self.next_segment() {
            let started = Instant::now();
            let now = || spent + started.elapsed();
            for (index, together) in self.events.chunks(group).enumerate() {
                let due = Duration::from_secs_f64((done + index * group) as f64 / rate);
                while now() < due {
                    std::hint::spin_loop();
                }
                for chunk in together.chunks(batch) {
                    self.workload.process(&mut self.backend, chunk, &mut self.answers)?;
                }
                latency.add(now().saturating_sub(due).as_nanos() as u64);
                if self.checkpoints.is_due() && self.backend.checkpoint_is_complete()? {
                    self.backend.begin_checkpoint()?;
                }
            }
            spent += started.elapsed();
            done += self.events.len();
            self.digests.push(self.answers.digest());
        }
        figures.open_latency_ns = LatencyNs::of(&latency);
        Ok(())
    }

    fn finish(mut self, figures: &mut Figures, path: &std::path::Path, before_bytes: u64) -> Outcome {
        while !self.backend.checkpoint_is_complete()? {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.backend.checkpoint()?;
        std::thread::sleep(self.sizes.settle);
        let written_bytes = usage::written_bytes() - before_bytes;
        figures.written_bytes = Some(written_bytes);
        figures.write_amplification = Some(written_bytes as f64 / (self.answers.logical_bytes as f64).max(1.0));
        // Where nothing lives there is no ratio.
        if self.workload.live_bytes() > 0 {
            let disk_bytes = tree_bytes(path)? as f64;
            figures.space_amplification = Some(disk_bytes / self.workload.live_bytes() as f64);
        }
        let mut seen = Answers::default();
        self.workload.check(&mut self.backend, &mut seen)?;
        figures.checks = vec![seen.digest()];
        figures.digests = std::mem::take(&mut self.digests);
        if self.workload.drain(&mut self.backend, &mut self.answers)? {
            self.backend.checkpoint()?;
            std::thread::sleep(self.sizes.settle);
            self.backend.checkpoint()?;
            // What the checkpoint doesn't need is removed behind it.
            std::thread::sleep(self.sizes.settle);
            figures.drained_bytes = Some(tree_bytes(path)?);
            if self.workload.live_bytes() != 0 {
                return wrong("windows are left after all were closed");
            }
        }
        figures.rss_bytes_max = Some(usage::resident_bytes_max());
        self.backend.close()
    }
}

/// What the answers should be: all segments, with a look at the state after each.
#[derive(Debug)]
pub struct Oracle<W> {
    pub workload: W,
    pub place: Place,
}

impl<W: Workload> Job for Oracle<W> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        let tables = self.workload.tables();
        let mut run = Running {
            backend: B::open(&Place { tables, ..self.place })?,
            workload: self.workload,
            sizes: &Sizes::QUICK,
            pace: Pace::Time,
            answers: Answers::default(),
            events: Vec::new(),
            digests: Vec::new(),
            checkpoints: Every::new(CHECKPOINT_EVERY),
            begun: 0,
        };
        let mut figures = Figures::default();
        run.workload.load(&mut run.backend, &mut run.answers)?;
        while run.next_segment() {
            for chunk in run.events.chunks(run.workload.batch()) {
                run.workload.process(&mut run.backend, chunk, &mut run.answers)?;
            }
            run.digests.push(run.answers.digest());
            let mut seen = Answers::default();
            run.workload.check(&mut run.backend, &mut seen)?;
            figures.checks.push(seen.digest());
        }
        figures.digests = run.digests;
        Ok(figures)
    }
}
