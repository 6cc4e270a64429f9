//! The engines by name.

use crate::backends::{BTree, Backend, Hash, Heap, Ours, PlainHeap};
#[cfg(feature = "peers")]
use crate::backends::{Fjall, Lmdb, Redb, RocksFlink, RocksTuned};
use crate::harness::{Outcome, wrong};
use std::marker::PhantomData;

/// An engine, in the order in which they take turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Engine {
    /// This project's.
    Alluvium,
    /// RocksDB with the defaults of Flink.
    #[cfg(feature = "peers")]
    RocksdbFlink,
    /// RocksDB with filters, LZ4, larger buffers.
    #[cfg(feature = "peers")]
    RocksdbTuned,
    /// fjall 3.
    #[cfg(feature = "peers")]
    Fjall,
    /// redb 4.
    #[cfg(feature = "peers")]
    Redb,
    /// LMDB, by heed.
    #[cfg(feature = "peers")]
    Lmdb,
    /// FASTER, in a program of its own (`benches/faster`).
    Faster,
    /// `hashbrown::HashMap<Box<[u8]>, Box<[u8]>>` with foldhash: nothing of it is durable.
    Hashmap,
    /// `BTreeMap<Box<[u8]>, Vec<u8>>`: nothing of it is durable.
    Btreemap,
    /// A `BinaryHeap` of timers with a set of them: nothing of it is durable.
    Heap,
    /// A `BinaryHeap` of timers and nothing else: nothing of it is durable.
    PlainHeap,
}

/// What can be done with any engine.
pub trait Job {
    /// What comes of it.
    type Out;

    /// Does it.
    fn run<B: Backend>(self) -> Outcome<Self::Out>;
}

/// Who knows which backend a job is done with.
pub trait Runner {
    /// Does a job.
    fn run<J: Job>(&self, job: J) -> Outcome<J::Out>;
}

/// All jobs with one backend: that of a program that has no other.
#[derive(Debug)]
pub struct Only<B>(PhantomData<B>);

impl<B: Backend> Default for Only<B> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<B: Backend> Runner for Only<B> {
    fn run<J: Job>(&self, job: J) -> Outcome<J::Out> {
        job.run::<B>()
    }
}

impl Engine {
    /// Its name in results.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Runner for Engine {
    fn run<J: Job>(&self, job: J) -> Outcome<J::Out> {
        match self {
            Self::Alluvium => job.run::<Ours>(),
            #[cfg(feature = "peers")]
            Self::RocksdbFlink => job.run::<RocksFlink>(),
            #[cfg(feature = "peers")]
            Self::RocksdbTuned => job.run::<RocksTuned>(),
            #[cfg(feature = "peers")]
            Self::Fjall => job.run::<Fjall>(),
            #[cfg(feature = "peers")]
            Self::Redb => job.run::<Redb>(),
            #[cfg(feature = "peers")]
            Self::Lmdb => job.run::<Lmdb>(),
            Self::Faster => wrong("FASTER is run by alluvium-bench-faster"),
            Self::Hashmap => job.run::<Hash>(),
            Self::Btreemap => job.run::<BTree>(),
            Self::Heap => job.run::<Heap>(),
            Self::PlainHeap => job.run::<PlainHeap>(),
        }
    }
}
