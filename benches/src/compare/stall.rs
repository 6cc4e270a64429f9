//! `ckpt-stall`: what checkpoints cost those who go on.

use super::dip::Dip;
use super::engines::Job;
use super::figures::{Figures, LatencyNs};
use super::{Sizes, usage};
use crate::backends::{Backend, Cell, Kind, Place};
use crate::harness::disk::tree_bytes;
use crate::harness::generate::{Draw, Op, Random};
use crate::harness::latency::Latency;
use crate::harness::{Outcome, median, wrong};
use crate::workloads::EVENTS_PER_S;
use crate::workloads::rmw::{Value, ordered_key};
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
/// Events that are due together in the open loop.
const GROUP: usize = 16;
/// Barriers of the last phase: as many as a p99.9 needs.
const BARRIERS: usize = 1_000;
/// Updates go on for so long between them.
const PAUSE: Duration = Duration::from_millis(5);

/// Zipf updates of values that memory holds, with a checkpoint every second: in a closed loop, then at half of what that did;
/// then slowly, with one checkpoint after the other.
#[derive(Debug)]
pub struct Stall<'a> {
    pub place: Place,
    pub sizes: &'a Sizes,
    pub seed: u64,
}

/// What was going on when.
#[derive(Default)]
struct Times {
    beside: Duration,
    beside_events: u64,
    between: Duration,
    between_events: u64,
    stalls_ns: Vec<u64>,
    until_complete_ms: Vec<f64>,
}

struct Running<B> {
    backend: B,
    keys: u64,
    draw: Draw,
    random: Random,
    /// How often each key was counted: the oracle of every read.
    counts: Vec<u32>,
    wrong_one: Option<u64>,
    begun: Option<Instant>,
    next: Instant,
    every: Duration,
}

impl Job for Stall<'_> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        let keys = if self.sizes.quick { 300_000 } else { 1_200_000 } / self.sizes.part;
        let path = self.place.path.clone();
        let every = if self.sizes.quick { Duration::from_millis(500) } else { Duration::from_secs(1) };
        let backend = B::open(&Place { tables: vec![Kind::Value], ..self.place })?;
        let (draw, random) = (Draw::zipf(keys), Random::new(self.seed));
        let (counts, next) = (vec![0; keys as usize], Instant::now());
        let mut run = Running { backend, keys, draw, random, counts, wrong_one: None, begun: None, next, every };
        let mut figures = Figures::default();
        let started = Instant::now();
        run.load()?;
        figures.load_s = Some(started.elapsed().as_secs_f64());
        let mut closed = Times::default();
        let events_per_s = run.measure_closed(self.sizes, &mut closed, &mut figures)?;
        let mut open = Times::default();
        run.measure_open(self.sizes, events_per_s / 2.0, &mut open, &mut figures)?;
        let mut often = Times::default();
        run.one_after_the_other(self.sizes, EVENTS_PER_S as f64, &mut often)?;
        let apart_ns = [closed.stalls_ns, open.stalls_ns].concat();
        stalls(apart_ns, often.stalls_ns, &mut figures);
        figures.checkpoint_ms = Some(median([closed.until_complete_ms, open.until_complete_ms].concat()));
        run.backend.checkpoint()?;
        figures.space_amplification = Some(tree_bytes(&path)? as f64 / (keys * 116) as f64);
        run.check()?;
        figures.rss_bytes_max = Some(usage::resident_bytes_max());
        figures.correct = true;
        run.backend.close()?;
        Ok(figures)
    }
}

/// What barriers held their caller: those that were far apart, and those that weren't.
fn stalls(mut apart_ns: Vec<u64>, often_ns: Vec<u64>, figures: &mut Figures) {
    apart_ns.sort_unstable();
    figures.stall_ns_p50 = apart_ns.get(apart_ns.len() / 2).copied();
    let mut all_ns = [apart_ns, often_ns].concat();
    all_ns.sort_unstable();
    let rank = (all_ns.len() * 999).div_ceil(1000);
    figures.stall_ns_p999 = rank.checked_sub(1).and_then(|index| all_ns.get(index).copied());
    figures.stall_ns_max = all_ns.last().copied();
    figures.barriers = Some(all_ns.len() as u64);
}

impl<B: Backend> Running<B> {
    fn load(&mut self) -> Outcome {
        for i in 0..self.keys {
            let key = ordered_key(i, self.keys);
            self.backend.put(0, &Cell::of(key), Value::of(&key, 0, VALUE_BYTES).as_ref())?;
        }
        self.backend.checkpoint()
    }

    /// As fast as it goes; gives events/s.
    fn measure_closed(&mut self, sizes: &Sizes, times: &mut Times, figures: &mut Figures) -> Outcome<f64> {
        let mut latency = Latency::new()?;
        self.closed(sizes.closed, times, &mut latency)?;
        let (seconds, events) =
            ((times.beside + times.between).as_secs_f64(), times.beside_events + times.between_events);
        let events_per_s = events as f64 / seconds;
        (figures.events, figures.closed_s) = (Some(events), Some(seconds));
        (figures.events_per_s, figures.ops_per_s) = (Some(events_per_s), Some(events_per_s * 2.0));
        (figures.latency_ns, figures.checkpoints) = (LatencyNs::of(&latency), Some(times.stalls_ns.len() as u64));
        let rate = |events: u64, time: Duration| events as f64 / time.as_secs_f64().max(1e-9);
        if times.between_events > 0 && times.beside_events > 0 {
            let (beside, between) =
                (rate(times.beside_events, times.beside), rate(times.between_events, times.between));
            figures.checkpoint_dip = Some(1.0 - beside / between);
        }
        Ok(events_per_s)
    }

    /// With so many events in a second.
    fn measure_open(&mut self, sizes: &Sizes, rate: f64, times: &mut Times, figures: &mut Figures) -> Outcome {
        let (mut late, mut dip) = (Latency::new()?, Dip::default());
        let written = usage::written_bytes();
        self.open(sizes.closed, rate, times, &mut late, &mut dip)?;
        figures.checkpoint_bytes = Some((usage::written_bytes() - written) / times.stalls_ns.len().max(1) as u64);
        figures.open_latency_ns = LatencyNs::of(&late);
        figures.worst_op_ns = figures.open_latency_ns.map(|latency| latency.max);
        figures.half_load_dip_worst = dip.worst(rate);
        let due = times.beside.as_secs_f64() * rate;
        figures.half_load_dip = (due > 0.0).then(|| (1.0 - times.beside_events as f64 / due).max(0.0));
        Ok(())
    }

    fn make(&mut self, count: usize) -> Vec<(u64, Op)> {
        let next = |_| {
            let i = self.draw.next(&mut self.random);
            (i, ordered_key(i, self.keys))
        };
        (0..count).map(next).collect()
    }

    /// Compares the count that was read; the rest of a value is compared in the end, as making one again would be much of the time.
    fn update(&mut self, (i, key): (u64, Op)) -> Outcome {
        let count = &mut self.counts[i as usize];
        let mut is_right = false;
        self.backend.update(0, &Cell::of(key), |old| {
            is_right = old.and_then(<[u8]>::first_chunk) == Some(&u64::from(*count).to_le_bytes());
            Some(Value::after(&key, old, VALUE_BYTES))
        })?;
        *count += 1;
        if !is_right {
            self.wrong_one = Some(i);
        }
        Ok(())
    }

    /// Begins a checkpoint when it is time, and sees when it is complete. Gives whether one is under way.
    fn look_after_checkpoints(&mut self, times: &mut Times) -> Outcome<bool> {
        if let Some(begun) = self.begun {
            if self.backend.checkpoint_is_complete()? {
                times.until_complete_ms.push(begun.elapsed().as_secs_f64() * 1e3);
                self.begun = None;
            }
        } else if Instant::now() >= self.next {
            let begun = Instant::now();
            self.backend.begin_checkpoint()?;
            times.stalls_ns.push(begun.elapsed().as_nanos() as u64);
            (self.begun, self.next) = (Some(begun), begun + self.every);
        }
        Ok(self.begun.is_some())
    }

    fn closed(&mut self, time: Duration, times: &mut Times, latency: &mut Latency) -> Outcome {
        self.next = Instant::now() + self.every;
        while times.beside + times.between < time {
            let ops = self.make(50_000);
            for group in ops.chunks(256) {
                let started = Instant::now();
                let is_beside = self.look_after_checkpoints(times)?;
                latency.resume();
                for (index, op) in group.iter().enumerate() {
                    latency.sample(index, || self.update(*op))?;
                }
                latency.pause();
                let spent = started.elapsed();
                let (all, events) = if is_beside {
                    (&mut times.beside, &mut times.beside_events)
                } else {
                    (&mut times.between, &mut times.between_events)
                };
                *all += spent;
                *events += group.len() as u64;
            }
        }
        Ok(())
    }

    /// Events come in groups, due at fixed times: their latency counts from there, the pause of a checkpoint included.
    fn open(&mut self, time: Duration, rate: f64, times: &mut Times, latency: &mut Latency, dip: &mut Dip) -> Outcome {
        let mut spent = Duration::ZERO;
        while spent < time {
            // For about a second, made while the clock stands.
            let ops = self.make((rate as usize).max(GROUP));
            let started = Instant::now();
            self.next = started + self.every / 2;
            dip.restart();
            let mut last = Duration::ZERO;
            for (index, group) in ops.chunks(GROUP).enumerate() {
                let due = Duration::from_secs_f64((index * GROUP) as f64 / rate);
                while started.elapsed() < due {
                    std::hint::spin_loop();
                }
                let (was_under_way, before) = (self.begun.is_some(), started.elapsed());
                let is_under_way = self.look_after_checkpoints(times)?;
                if is_under_way && !was_under_way {
                    dip.begin(before);
                    last = before;
                }
                for op in group {
                    self.update(*op)?;
                }
                let now = started.elapsed();
                latency.add(now.saturating_sub(due).as_nanos() as u64);
                dip.add(now, group.len() as u64, is_under_way);
                if is_under_way {
                    times.beside += now - last;
                    times.beside_events += group.len() as u64;
                }
                last = now;
            }
            spent += started.elapsed();
        }
        Ok(())
    }

    /// Many barriers, each once the one before is complete and updates went on for a moment: few of these, so that a checkpoint
    /// is soon complete.
    fn one_after_the_other(&mut self, sizes: &Sizes, rate: f64, times: &mut Times) -> Outcome {
        let count = if sizes.quick { BARRIERS / 10 } else { BARRIERS };
        let time = sizes.closed * 15 / 4;
        let started = Instant::now();
        self.next = started;
        for index in 0.. {
            let due = Duration::from_secs_f64((index * GROUP) as f64 / rate);
            if times.stalls_ns.len() >= count || due >= time || started.elapsed() >= time {
                break;
            }
            let group = self.make(GROUP);
            while started.elapsed() < due {
                std::hint::spin_loop();
            }
            let was_under_way = self.begun.is_some();
            if !self.look_after_checkpoints(times)? && was_under_way {
                self.next = Instant::now() + PAUSE;
            }
            for op in group {
                self.update(op)?;
            }
        }
        Ok(())
    }

    /// All that was read was what was counted, and so is every byte of what is there.
    fn check(&mut self) -> Outcome {
        if let Some(i) = self.wrong_one {
            return wrong(format!("the value of key {i} was wrong when it was updated"));
        }
        for i in 0..self.keys {
            let key = ordered_key(i, self.keys);
            let right = Value::of(&key, u64::from(self.counts[i as usize]), VALUE_BYTES);
            if !self.backend.get(0, &Cell::of(key), |value| value == Some(right.as_ref()))? {
                return wrong(format!("the value of key {i} is wrong"));
            }
        }
        Ok(())
    }
}
