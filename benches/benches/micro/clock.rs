//! The clock of what only computes: the processor's time that a thread took, on an idle machine the same as the time of
//! day, and on one that others use too much nearer to it.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Bencher, Criterion};
use std::time::Duration;

/// See the module's head.
pub struct ProcessorTime;

pub type ProcessorCriterion = Criterion<ProcessorTime>;
pub type ProcessorBencher<'a> = Bencher<'a, ProcessorTime>;

static WALL_TIME: WallTime = WallTime;

/// What this thread took up to now.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        processor_time()
    }

    fn end(&self, start: Duration) -> Duration {
        processor_time() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WALL_TIME.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WALL_TIME.formatter()
    }
}
