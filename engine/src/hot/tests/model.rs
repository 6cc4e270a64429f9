//! Everything at random: changes of every kind, barriers, flushes, eviction, promotion, and memory that runs out at
//! every place where it can.

use super::disk::{Address, same};
use super::world::{GROUPS, World};
use super::{Random, with_seeds};
use crate::hot::OutOfMemory;

/// What a run is like.
#[derive(Clone, Copy)]
struct Weather {
    chunks: usize,
    addresses: usize,
    user_keys: usize,
    /// Values are seldom longer than this.
    value_bytes: usize,
    /// One barrier in so many steps.
    seal_every: usize,
    flush_every: usize,
    evict_every: usize,
    starve_every: usize,
    steps: usize,
}

const FAIR: Weather = Weather {
    chunks: 200,
    addresses: 60,
    user_keys: 40,
    value_bytes: 60,
    seal_every: 300,
    flush_every: 200,
    evict_every: 400,
    starve_every: usize::MAX >> 32,
    steps: 10_000,
};

fn addresses(count: usize) -> Vec<Address> {
    let area = |n: usize| match n % 4 {
        0 => (n as u64).to_be_bytes().to_vec(),
        1 => [&n.to_le_bytes()[..2], b"namespace", &9_u16.to_le_bytes()].concat(),
        2 => format!("a somewhat longer key, {n}").into_bytes(),
        _ => vec![n as u8; n % 7],
    };
    let mut all: Vec<Address> = (0..count).map(|n| (n as u16 % GROUPS, area(n), n % 4 == 1)).collect();
    all.sort();
    all.dedup();
    all
}

struct Run {
    world: World,
    random: Random,
    weather: Weather,
    addresses: Vec<Address>,
}

impl Run {
    fn new(seed: u64, weather: Weather) -> Self {
        let addresses = addresses(weather.addresses);
        Self { world: World::new(weather.chunks), random: Random::new(seed), weather, addresses }
    }

    fn address(&mut self) -> Address {
        self.addresses[self.random.below(self.addresses.len())].clone()
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.random.below(100) {
            0 => self.random.below(40_000),
            1..10 => self.random.below(3_000),
            10..40 => 8,
            _ => self.random.below(self.weather.value_bytes) + 1,
        };
        self.random.bytes(len)
    }

    fn expiry(&mut self) -> Option<u64> {
        self.random.once_in(5).then(|| self.random.word() >> 20)
    }

    fn user_key(&mut self) -> Vec<u8> {
        super::order::key(&mut self.random, self.weather.user_keys)
    }

    /// One operation; what it touched reads as the model says, whether there was memory for it or not.
    fn operate(&mut self) -> Result<(), OutOfMemory> {
        let (address, value, expiry_ms) = (self.address(), self.value(), self.expiry());
        match self.random.below(3) {
            0 => {
                let done = match self.random.below(8) {
                    0..5 => self.world.put_cell(&address, &value, expiry_ms),
                    5 => {
                        self.world.promote_cell(&address);
                        Ok(())
                    }
                    _ => self.world.delete_cell(&address),
                };
                same(&address, self.world.read_cell(&address).as_ref(), self.world.model.cells.get(&address));
                done
            }
            1 => {
                let done = match self.random.below(16) {
                    0..10 => self.world.append(&address, &value, expiry_ms),
                    10..12 => self.world.put_list(&address, &value, expiry_ms),
                    12..14 => {
                        self.world.complete_list(&address);
                        Ok(())
                    }
                    _ => self.world.delete_list(&address),
                };
                same(&address, self.world.read_list(&address).as_ref(), self.world.model.lists.get(&address));
                done
            }
            _ => {
                let key = self.user_key();
                let done = match self.random.below(40) {
                    0..20 => self.world.put_entry(&address, &key, &value, expiry_ms),
                    20..25 => {
                        self.world.promote_entry(&address, &key);
                        Ok(())
                    }
                    25..38 => self.world.delete_entry(&address, &key),
                    38 => {
                        let end = self.user_key();
                        let (from, to) = if key <= end { (&key, &end) } else { (&end, &key) };
                        let to = Some(to.as_slice()).filter(|_| !self.random.once_in(8));
                        let from: &[u8] = if self.random.once_in(4) { &[] } else { from };
                        self.world.delete_range(&address, from, to)
                    }
                    _ => self.world.clear_map(&address),
                };
                let place = (address, key);
                same(&place, self.world.read_entry(&place.0, &place.1).as_ref(), self.world.model.maps.get(&place));
                done
            }
        }
    }

    fn make_room(&mut self, hard: bool) {
        self.world.refused += 1;
        if hard {
            self.world.feed();
            self.world.flush_all(&mut self.random);
            self.world.hot.evict(usize::MAX);
            self.world.hot.give_back(usize::MAX);
            return;
        }
        match self.random.below(6) {
            0 => {
                self.world.hot.evict(self.random.below(200_000));
            }
            1 => {
                self.world.seal(&mut self.random);
            }
            2 => {
                self.world.flush();
            }
            3 => while self.world.hot.work() {},
            4 => {
                self.world.hot.give_back(self.random.below(8));
            }
            _ => self.world.hot.memory.collect(),
        }
    }

    fn background(&mut self) {
        let Weather { seal_every, flush_every, evict_every, starve_every, .. } = self.weather;
        if self.random.once_in(seal_every) {
            self.world.seal(&mut self.random);
        }
        if self.random.once_in(flush_every) {
            self.world.flush();
        }
        if self.random.once_in(8) {
            self.world.hot.work();
        }
        if self.random.once_in(evict_every) {
            let bytes = self.random.below(100_000);
            self.world.hot.evict(bytes);
        }
        if self.random.once_in(evict_every * 2) {
            let chunks = self.random.below(4);
            self.world.hot.give_back(chunks);
        }
        if self.random.once_in(starve_every) {
            self.world.starve(&mut self.random);
        }
    }

    fn run(&mut self) {
        let mut failures = 0;
        for step in 0..self.weather.steps {
            if self.operate().is_err() {
                failures += 1;
                self.make_room(failures > 12);
            } else {
                failures = 0;
            }
            self.background();
            if step % 1_000 == 0 {
                self.world.check(&self.addresses);
            }
        }
        self.world.check(&self.addresses);
        self.empty();
    }

    /// Deletes everything in the ways that there are; then nothing is left in memory, nor on disk.
    fn empty(&mut self) {
        self.world.feed();
        for address in self.addresses.clone() {
            for _ in 0..20 {
                let keys: Vec<_> = self.world.read_map(&address).into_keys().collect();
                let cleared = if self.random.once_in(2) {
                    self.world.clear_map(&address)
                } else {
                    keys.iter().try_for_each(|key| self.world.delete_entry(&address, key))
                };
                let done = cleared
                    .and_then(|()| self.world.delete_cell(&address))
                    .and_then(|()| self.world.delete_list(&address));
                if done.is_ok() {
                    break;
                }
                self.make_room(true);
            }
        }
        assert!(self.world.model.is_empty());
        self.world.flush_all(&mut self.random);
        assert!(self.world.disk.is_empty());
        self.world.check(&self.addresses);
        self.world.hot.evict(usize::MAX);
        self.world.hot.memory.collect();
        assert_eq!(self.world.hot.memory.used_bytes(), 0, "something was left over");
        self.world.hot.give_back_empty();
        assert_eq!((self.world.hot.memory.held_bytes(), self.world.arena.used_bytes()), (0, 0));
    }
}

#[test]
fn fair_weather() {
    with_seeds(0..6, |seed| Run::new(seed, FAIR).run());
}

#[test]
fn few_keys_and_many_barriers() {
    let weather = Weather { addresses: 6, user_keys: 6, seal_every: 20, flush_every: 25, evict_every: 60, ..FAIR };
    with_seeds(100..108, |seed| Run::new(seed, weather).run());
}

#[test]
fn large_maps() {
    let weather = Weather { addresses: 5, user_keys: 5_000, value_bytes: 20, evict_every: 2_000, ..FAIR };
    with_seeds(200..206, |seed| Run::new(seed, Weather { steps: 25_000, ..weather }).run());
}

#[test]
fn a_small_budget() {
    with_seeds(300..308, |seed| {
        let weather = Weather { chunks: 14 + seed as usize % 4 * 6, seal_every: 600, flush_every: 600, ..FAIR };
        let mut run = Run::new(seed, weather);
        run.run();
        assert!(run.world.refused > 0, "the budget never ran out");
    });
}

#[test]
fn starved_at_every_place() {
    with_seeds(400..408, |seed| {
        let weather = Weather { chunks: 24, addresses: 20, starve_every: 40, steps: 6_000, ..FAIR };
        let mut run = Run::new(seed, weather);
        run.run();
        assert!(run.world.refused > 100, "the budget never ran out");
    });
}
