//! How far throughput falls while a checkpoint is under way and events come at a steady rate.

use std::collections::VecDeque;
use std::time::Duration;

/// How long throughput is averaged: as in `barrier`. A pause of a tenth of it is a dip of 10 %, which is what is asked for; ten times that, the
/// shortest of the peers' pauses (200 ms), can't hide in it; and a checkpoint of 300 ms has several.
pub const WINDOW: Duration = Duration::from_millis(100);

/// The events done in each [`WINDOW`] that has a moment of a checkpoint in it, wherever it begins: at fixed places a pause could lie across two of
/// them, half in each, and what is caught up with behind it could make up for it.
#[derive(Default, Debug)]
pub struct Dip {
    /// Where windows begin that aren't over: when, how many events had been done at that moment, and whether a checkpoint is under way.
    begins: VecDeque<(Duration, u64, bool)>,
    /// When the last checkpoint began: in all windows that were not over then.
    begun: Option<Duration>,
    done: u64,
    fewest: Option<u64>,
}

impl Dip {
    /// The clock begins anew: windows that aren't over are no windows.
    pub fn restart(&mut self) {
        self.begins.clear();
        self.begun = None;
    }

    /// A checkpoint begins. What it holds its caller comes after this moment.
    pub fn begin(&mut self, at: Duration) {
        self.end_windows(at);
        self.begun = Some(at);
        self.begins.push_back((at, self.done, true));
    }

    /// Events were done, up to this moment.
    pub fn add(&mut self, at: Duration, events: u64, is_under_way: bool) {
        self.end_windows(at);
        self.done += events;
        self.begins.push_back((at, self.done, is_under_way));
    }

    /// Those windows that are over by now have all events that were done before.
    fn end_windows(&mut self, now: Duration) {
        while let Some(&(at, done_before, is_under_way)) = self.begins.front() {
            if at + WINDOW >= now {
                break;
            }
            if is_under_way || self.begun >= Some(at) {
                let done = self.done - done_before;
                self.fewest = Some(self.fewest.map_or(done, |fewest| fewest.min(done)));
            }
            self.begins.pop_front();
        }
    }

    /// What the worst window lacks of the events that were due in it, as a share; `None` where there was no window.
    pub fn worst(&self, rate: f64) -> Option<f64> {
        let due = rate * WINDOW.as_secs_f64();
        Some((1.0 - self.fewest? as f64 / due).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten events each ms, those of a pause one after the other behind it; a checkpoint between two moments.
    fn dip(pause_ms: std::ops::Range<u64>, checkpoint_ms: std::ops::Range<u64>) -> Option<f64> {
        let mut dip = Dip::default();
        let mut behind = 0;
        for ms in 0..1000 {
            let at = Duration::from_millis(ms);
            if ms == checkpoint_ms.start {
                dip.begin(at);
            }
            behind += 10;
            if pause_ms.contains(&ms) {
                continue;
            }
            // Who is late does twice as much.
            let events = behind.min(20);
            behind -= events;
            dip.add(at, events, checkpoint_ms.contains(&ms));
        }
        dip.worst(10_000.0)
    }

    fn is_about(dip: Option<f64>, share: f64) -> bool {
        // The last group before a window isn't in it.
        dip.is_some_and(|dip| (dip - share).abs() <= 0.02)
    }

    #[test]
    fn a_pause_is_found_wherever_it_is() {
        assert!(is_about(dip(0..0, 300..600), 0.0), "{:?}", dip(0..0, 300..600));
        // At its begin, as of those who stop their caller; in the middle; of which there is no end.
        assert!(is_about(dip(300..330, 300..600), 0.3), "{:?}", dip(300..330, 300..600));
        for begin in 400..450 {
            assert!(is_about(dip(begin..begin + 30, 300..600), 0.3), "{begin}: {:?}", dip(begin..begin + 30, 300..600));
        }
        assert_eq!(dip(300..700, 300..600), Some(1.0));
    }

    #[test]
    fn what_is_beside_a_checkpoint_is_not_its() {
        assert!(is_about(dip(100..150, 300..600), 0.0), "{:?}", dip(100..150, 300..600));
        assert!(is_about(dip(710..800, 300..600), 0.0), "{:?}", dip(710..800, 300..600));
        assert_eq!(dip(100..150, 2000..2001), None);
    }

    /// The clock stands between two parts of a run.
    #[test]
    fn windows_end_with_the_clock() {
        let mut dip = Dip::default();
        dip.begin(Duration::from_millis(950));
        dip.restart();
        (0..500).for_each(|ms| dip.add(Duration::from_millis(ms), 10, ms < 100));
        assert!(is_about(dip.worst(10_000.0), 0.0), "{dip:?}");
    }
}
