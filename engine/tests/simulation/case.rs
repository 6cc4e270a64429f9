//! What a simulation does: all of it follows from a few numbers, so that it can be done again, and with less.

use super::workload::{Plan, Rng, engine_of_threads, store_options};
use alluvium::{ChangelogOptions, Durability, Engine, KeyGroupRange, StorageChoice, StoreOptions};

/// A store, who works on it, and how its threads take turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// Of what is written and read.
    pub seed: u64,
    /// Of the threads' turns, the time that calls about files take, and everything else that is drawn.
    pub schedule: u64,
    pub writers: u64,
    pub readers: u64,
    /// Threads of the engine for its background work.
    pub threads: u64,
    /// Of each writer.
    pub steps: u64,
    /// Of each writer.
    pub keys: u64,
    pub value_bytes_max: u64,
    /// Between two checkpoints, in microseconds of the world.
    pub pause_us: u64,
    /// Whether the store has a changelog (1), and whether it is transactional (2).
    pub kind: u64,
    /// A writer commits after one in so many steps, where commits mean something.
    pub commit_one_in: u64,
    /// How many crashes are looked at.
    pub crashes: u64,
}

impl Case {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0xCA5E);
        Self {
            seed,
            schedule: rng.next(),
            writers: 1 + rng.below(3),
            readers: rng.below(3),
            threads: 1 + rng.below(2),
            steps: 20 << rng.below(6),
            keys: 1 + rng.below(30),
            value_bytes_max: [100, 2_000, 30_000][rng.below(3) as usize],
            pause_us: 100 << rng.below(9),
            kind: rng.below(4),
            commit_one_in: 4 << rng.below(5),
            crashes: 4,
        }
    }

    /// All of it, in the order of its word.
    fn numbers(&mut self) -> [&mut u64; 12] {
        let Self { seed, schedule, writers, readers, threads, steps, keys, value_bytes_max, pause_us, kind, .. } = self;
        let (commit_one_in, crashes) = (&mut self.commit_one_in, &mut self.crashes);
        [
            seed,
            schedule,
            writers,
            readers,
            threads,
            steps,
            keys,
            value_bytes_max,
            pause_us,
            kind,
            commit_one_in,
            crashes,
        ]
    }

    /// As one word, for an environment variable.
    pub fn to_word(mut self) -> String {
        self.numbers().map(|number| number.to_string()).join(",")
    }

    pub fn from_word(word: &str) -> Self {
        let mut case = Self::new(0);
        let mut given = word.split(',').map(|number| number.parse().expect("a number"));
        for number in case.numbers() {
            *number = given.next().expect("as many numbers as a case has");
        }
        assert_eq!(given.next(), None, "more numbers than a case has: {word}");
        case
    }

    /// Cases that do less, each in one way.
    pub fn smaller(self) -> Vec<Self> {
        let half = |number: u64, least: u64| (number / 2).max(least);
        let all = [
            Self { steps: half(self.steps, 1), ..self },
            Self { steps: (self.steps - self.steps / 8).max(1), ..self },
            Self { crashes: half(self.crashes, 0), ..self },
            Self { readers: 0, ..self },
            Self { writers: half(self.writers, 1), ..self },
            Self { threads: 1, ..self },
            Self { kind: 0, ..self },
            Self { kind: self.kind & 1, ..self },
            Self { keys: half(self.keys, 1), ..self },
            Self { value_bytes_max: half(self.value_bytes_max, 1), ..self },
            Self { pause_us: 2 * self.pause_us.min(1 << 20), ..self },
        ];
        all.into_iter().filter(|smaller| *smaller != self).collect()
    }

    pub const fn has_changelog(self) -> bool {
        self.kind & 1 != 0
    }

    pub const fn is_transactional(self) -> bool {
        self.kind & 2 != 0
    }

    /// Whether transactions are undone now and then: by one writer, whom nobody looks at, as others would have to go back with it.
    pub const fn has_aborts(self) -> bool {
        self.is_transactional() && self.writers == 1 && self.readers == 0
    }

    /// Whether all that can be found is known: what the one writer committed, and when. Of several each is cut where it is.
    pub const fn has_known_commits(self) -> bool {
        self.is_transactional() && self.writers == 1
    }

    /// The key groups of each writer.
    pub fn parts(self) -> Vec<KeyGroupRange> {
        let all = store_options().range.count() as u64;
        let first = |writer: u64| (writer * all / self.writers) as u16;
        (0..self.writers).map(|writer| KeyGroupRange::new(first(writer), first(writer + 1) - 1)).collect()
    }

    /// What a writer does.
    pub fn plan(self, writer: usize) -> Plan {
        let Self { steps, keys, value_bytes_max, .. } = self;
        let seed = self.seed.wrapping_add(writer as u64 * 7_919);
        Plan { seed, steps, every: 1, keys, value_bytes_max, waits: false, migrates: 0 }
    }

    pub fn engine(self) -> Engine {
        engine_of_threads(StorageChoice::Posix, 4 << 20, self.threads as usize)
    }

    pub fn options(self) -> StoreOptions {
        let changelog = ChangelogOptions { file_bytes: 1 << 20, bytes: 64 << 10, ..ChangelogOptions::default() };
        let durability = if self.has_changelog() { Durability::Changelog } else { Durability::Checkpoint };
        StoreOptions { durability, changelog, transactional: self.is_transactional(), ..store_options() }
    }
}
