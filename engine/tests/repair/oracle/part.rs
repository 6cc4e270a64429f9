//! One store of a job, and what it has to hold: at the moment, at the last commit, at each checkpoint, and at positions of its changelog.

use super::fold::{Change, Moment, all_told, difference};
use super::positions::Positions;
use super::sink::{Outputs, Sink};
use crate::histories::Random;
use crate::model::{Event, World, options};
use alluvium::{
    Barrier, ChangelogOptions, Class, Commit, Committed, Engine, Error, EventId, KeyGroup, KeyGroupRange, Pending,
    Rewound, Scope, Store, StoreOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

/// So many of the newest checkpoints the history begins at.
pub const HISTORY: usize = 3;

/// A commit or checkpoint that isn't known to last.
struct Doubt {
    moment: Moment,
    label: Option<u64>,
    pending: Option<Pending>,
    committed: Option<Committed>,
    /// Whether downstream isn't told what it has.
    is_untold: bool,
}

pub struct Part {
    /// None only while it is being opened again.
    world: Option<World>,
    pub directory: tempfile::TempDir,
    pub now: Moment,
    committed: Moment,
    /// What an abort goes back to.
    base: Moment,
    /// The key groups of which something is staged.
    pub staged: BTreeSet<u16>,
    pub positions: Positions,
    /// Whether the changelog has all that was committed, or a checkpoint has it alone.
    is_logged: bool,
    pub checkpoints: BTreeMap<u64, Moment>,
    doubts: Vec<Doubt>,
    outputs: Outputs,
    /// Checkpoints that are kept until the store is opened again, besides the newest.
    retained: BTreeSet<u64>,
    /// Downstream saw more than what was gone back to, and will hear of that with the next commit.
    is_ahead: bool,
    /// The changelog has nothing from before this checkpoint.
    begin: u64,
    pub range: KeyGroupRange,
    pub is_transactional: bool,
    pub seed: u64,
}

pub fn options_of(range: KeyGroupRange, transactional: bool) -> StoreOptions {
    let options = options(HISTORY);
    // What a file has room for is taken when it is made.
    let changelog = ChangelogOptions { file_bytes: 1 << 20, ..options.changelog.clone() };
    StoreOptions { range, changelog, transactional, ..options }
}

/// In memory, where there is such a place: nothing here is about disks.
pub fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Waits until nobody has the directory any more.
pub fn patiently(mut open: impl FnMut() -> alluvium::Result<Store>) -> Store {
    for _ in 0..5_000 {
        match open() {
            Err(error) if error.class() == Class::Retry => crate::turns::sleep(std::time::Duration::from_millis(1)),
            outcome => return outcome.unwrap(),
        }
    }
    panic!("the directory stayed locked");
}

impl Part {
    /// One that begins with nothing. Stores of one job may number their states differently.
    pub fn new(engine: &Engine, options: StoreOptions, seed: u64, numbers_otherwise: bool) -> Self {
        let directory = directory();
        let (range, transactional) = (options.range, options.transactional);
        let store = Store::create(engine, directory.path(), options).unwrap();
        if numbers_otherwise {
            store.state(alluvium::StateOptions::map("another")).unwrap();
        }
        let nothing = Moment::of_nothing(range.iter().map(|group| group.0));
        Self::over((store, transactional), directory, (nothing, None), seed, 0)
    }

    /// One that is opened, with what it has to hold; `label` is that of the checkpoint that it comes from.
    pub fn over(
        (store, is_transactional): (Store, bool),
        directory: tempfile::TempDir,
        (mut now, label): (Moment, Option<u64>),
        seed: u64,
        draws: u64,
    ) -> Self {
        let range = store.range();
        let mut checkpoints = BTreeMap::new();
        if let Some(label) = label {
            for group in now.groups.values_mut() {
                (group.path, group.unlogged) = (vec![label], group.events.len());
            }
            checkpoints.insert(label, now.clone());
        }
        let (committed, base, begin) = (now.clone(), now.clone(), label.unwrap_or(0));
        let part = Self {
            world: Some(World::over(store, draws)),
            directory,
            now,
            committed,
            base,
            staged: BTreeSet::new(),
            positions: Positions::default(),
            is_logged: false,
            checkpoints,
            doubts: Vec::new(),
            outputs: Outputs::default(),
            retained: BTreeSet::new(),
            is_ahead: false,
            begin,
            range,
            is_transactional,
            seed,
        };
        part.check_commit();
        part
    }

    pub fn world(&mut self) -> &mut World {
        self.world.as_mut().unwrap()
    }

    pub fn store(&self) -> &Store {
        &self.world.as_ref().unwrap().store
    }

    pub fn draws(&self) -> u64 {
        self.world.as_ref().unwrap().programs.draws.load(Ordering::Relaxed)
    }

    pub fn groups(&self) -> Vec<u16> {
        self.range.iter().map(|group| group.0).collect()
    }

    /// Withholds outputs until what they came from lasts.
    pub fn withhold(&mut self, changes: Vec<Change>) {
        self.outputs.withhold(changes, true);
    }

    /// Applies an event, which counts unless it, or one of its source behind it, was applied.
    pub fn apply(&mut self, mut event: Event) {
        let group = event.group;
        let first = self.draws();
        let (bytes, handler) = (event.bytes(), self.world().handler);
        let applied = self.world().writer.apply_event_once(handler, KeyGroup(group), event.id, &bytes).unwrap();
        event.drawn = (first..self.draws()).collect();
        let model = self.now.groups.get_mut(&group).unwrap();
        assert_eq!(applied, !model.knows(event.id), "{event:?}, seed {}", self.seed);
        if applied {
            let before = model.content();
            model.events.push(event);
            let changes = difference(group, &before, &model.content());
            self.outputs.withhold(changes, true);
            self.staged.insert(group);
        }
    }

    fn offsets(&self, next: u64) -> Vec<(KeyGroupRange, Vec<u8>)> {
        vec![(self.range, next.to_le_bytes().to_vec())]
    }

    /// Commits; whether it lasts is known later.
    pub fn commit(&mut self, epoch: u64, next: u64) {
        (self.now.epoch, self.now.next) = (epoch, next);
        self.outputs.write(epoch);
        let commit =
            Commit { offsets: self.offsets(next), metadata: epoch.to_le_bytes().to_vec(), ..Commit::default() };
        let committed = self.world().writer.commit(commit).unwrap();
        self.base = self.now.clone();
        self.staged.clear();
        self.positions.undone.clear();
        self.positions.note(committed.position, &self.now);
        let (moment, committed) = (self.now.clone(), Some(committed));
        self.doubts.push(Doubt { moment, label: None, pending: None, committed, is_untold: false });
    }

    /// Undoes what was staged since the last commit.
    pub fn abort(&mut self) {
        self.world().writer.abort_transaction().unwrap();
        self.now = self.base.clone();
        self.staged.clear();
        self.outputs.abort();
        self.check();
    }

    /// Begins a checkpoint; of a transactional store it is of what was committed.
    pub fn checkpoint(&mut self, label: u64, epoch: u64, next: u64) {
        // It has what was rolled back since the commit that it is of.
        let undone = if self.is_transactional { self.positions.undone.clone() } else { BTreeSet::new() };
        for moment in [&mut self.now, &mut self.base] {
            let groups = moment.groups.iter_mut().filter(|(group, _)| !undone.contains(group));
            groups.for_each(|(_, model)| model.path.push(label));
        }
        let mut barrier = Barrier::new(label);
        if !self.is_transactional {
            (self.now.epoch, self.now.next) = (epoch, next);
            self.outputs.write(epoch);
            (barrier.offsets, barrier.metadata) = (self.offsets(next), epoch.to_le_bytes().to_vec());
        }
        let pending = Some(self.world().writer.barrier(barrier).unwrap());
        let mut moment = if self.is_transactional { self.base.clone() } else { self.now.clone() };
        moment.has_rollbacks = !undone.is_empty();
        let is_untold = self.outputs.is_behind();
        self.doubts.push(Doubt { moment, label: Some(label), pending, committed: None, is_untold });
    }

    /// Waits until all commits and checkpoints last; downstream sees what was written with them.
    pub fn settle(&mut self, sink: &mut Sink) {
        let what = format!("seed {}", self.seed);
        for doubt in std::mem::take(&mut self.doubts) {
            if let Some(committed) = doubt.committed {
                committed.wait().unwrap();
            }
            if let Some(pending) = doubt.pending {
                let position = pending.wait().unwrap().position;
                if !self.is_transactional {
                    self.positions.note(position, &doubt.moment);
                }
            }
            self.lasts(doubt.moment, doubt.label, doubt.is_untold);
            self.outputs.lasts(sink, self.committed.epoch, &what);
            self.check_seen(sink);
        }
    }

    fn lasts(&mut self, moment: Moment, label: Option<u64>, is_untold: bool) {
        self.is_logged = label.is_none();
        if let Some(label) = label {
            self.checkpoints.insert(label, moment.clone());
        }
        self.committed = moment;
        self.is_ahead = is_untold;
    }

    /// Downstream sees what the last commit has, no more and no less.
    fn check_seen(&self, sink: &Sink) {
        for (group, model) in &self.committed.groups {
            let lacks = sink.lacks(*group, &model.content());
            assert!(lacks.is_empty() || self.is_ahead, "downstream: {lacks:?}, seed {}", self.seed);
        }
    }

    /// The process dies, whatever was on its way, and another one takes the store over.
    pub fn crash(&mut self, engine: &Engine, sink: &mut Sink, random: &mut Random) {
        let draws = self.draws();
        let doubts = std::mem::take(&mut self.doubts);
        let doubts: Vec<(Moment, Option<u64>, bool)> =
            doubts.into_iter().map(|doubt| (doubt.moment, doubt.label, doubt.is_untold)).collect();
        self.world = None;
        let (path, options) = (self.directory.path().to_owned(), options_of(self.range, self.is_transactional));
        let store = patiently(|| Store::open(engine, &path, options.clone()));
        let found = epoch_of(&store.last_commit().metadata);
        let found_at: BTreeMap<u64, u64> = store.checkpoints().iter().map(|info| (info.label, info.position)).collect();
        let kept: BTreeSet<u64> = found_at.keys().copied().collect();
        let position = store.last_commit().position;
        self.world = Some(World::over(store, draws));
        for (moment, label, is_untold) in doubts {
            if let Some(label) = label.filter(|label| kept.contains(label)) {
                self.checkpoints.insert(label, moment.clone());
                if !self.is_transactional {
                    self.positions.note(found_at[&label], &moment);
                }
                assert!(moment.epoch <= found, "checkpoint {label} is complete, seed {}", self.seed);
            }
            let is_there = label.is_none_or(|label| kept.contains(&label));
            if !is_there && !self.is_transactional {
                self.positions.forget(moment.epoch);
            }
            // A checkpoint of a transactional store has what was rolled back since the commit that it is of.
            if moment.epoch <= found && (is_there || !self.is_transactional) {
                self.lasts(moment, label, is_untold);
            }
        }
        self.positions.end_at(position, self.is_logged);
        assert_eq!(self.committed.epoch, found, "what was committed, seed {}", self.seed);
        if !self.is_logged {
            let newest = self.checkpoints.keys().rev().find(|label| kept.contains(label)).copied();
            self.nothing_is_logged_before(newest.unwrap_or(0));
        }
        self.begin_anew();
        if self.is_transactional {
            // What was rolled back since the commit lasts by a checkpoint; the changelog has nothing of it.
            self.positions.note(position, &self.now);
        }
        self.check_commit();
        let what = format!("after a crash, seed {}", self.seed);
        self.outputs.lasts(sink, found, &what);
        self.outputs.drop_what_did_not_last();
        self.check_seen(sink);
        self.is_told_again(sink);
        self.retain_some(random);
        self.check();
    }

    /// The changelog may lack all that was applied up to now: a checkpoint has it.
    fn nothing_is_logged_before(&mut self, label: u64) {
        let moments = self.checkpoints.values_mut().chain([&mut self.committed]).chain(self.positions.before_the_gap());
        for group in moments.flat_map(|moment| moment.groups.values_mut()) {
            group.unlogged = group.events.len();
        }
        self.begin = label;
    }

    /// What was committed is what there is.
    fn begin_anew(&mut self) {
        self.committed.has_rollbacks = false;
        (self.now, self.base) = (self.committed.clone(), self.committed.clone());
        self.staged.clear();
    }

    /// Who takes over compares with what is seen downstream, and tells what it lacks; whether it lacks anything.
    pub fn is_told_again(&mut self, sink: &Sink) -> bool {
        for (group, model) in &self.now.groups {
            let lacks = sink.lacks(*group, &model.content());
            self.is_ahead |= !lacks.is_empty();
            self.outputs.withhold(lacks, false);
        }
        self.is_ahead
    }

    /// The process ends, and the store is opened at an earlier checkpoint: what came after it is void.
    pub fn open_at(&mut self, engine: &Engine, label: u64, sink: &mut Sink, random: &mut Random) {
        self.settle(sink);
        let draws = self.draws();
        let position = self.store().checkpoints().iter().find(|info| info.label == label).unwrap().position;
        self.world = None;
        let (path, options) = (self.directory.path().to_owned(), options_of(self.range, self.is_transactional));
        let store = patiently(|| Store::open_checkpoint(engine, &path, label, options.clone()));
        self.world = Some(World::over(store, draws));
        self.checkpoints.retain(|kept, _| *kept <= label);
        self.committed = self.checkpoints[&label].clone();
        self.is_logged = false;
        self.positions.end_at(position, false);
        self.nothing_is_logged_before(label);
        self.begin_anew();
        self.check_commit();
        self.outputs.drop_what_did_not_last();
        self.is_told_again(sink);
        self.retain_some(random);
        self.check();
    }

    /// The checkpoints that it can go back to, oldest first: not those of a history that was left, nor those that are just being let go of.
    pub fn kept(&self) -> Vec<u64> {
        let all = self.store().checkpoints();
        let labels: BTreeSet<u64> = all.iter().rev().take(HISTORY).map(|info| info.label).collect();
        let kept = labels.union(&self.retained).copied();
        kept.filter(|label| self.checkpoints.contains_key(label)).collect()
    }

    /// Keeps one of them.
    pub fn retain(&mut self, label: u64) {
        self.store().retain(label).unwrap();
        self.retained.insert(label);
    }

    /// Of the checkpoints that are found when it is opened some are kept, however many there are.
    fn retain_some(&mut self, random: &mut Random) {
        self.retained.clear();
        let labels: BTreeSet<u64> = self.store().checkpoints().iter().map(|info| info.label).collect();
        for label in labels {
            if self.checkpoints.contains_key(&label) && random.below(2) == 0 {
                self.retain(label);
            }
        }
    }

    /// Rolls some of its key groups back; false where something of them is staged.
    pub fn roll_back(&mut self, groups: KeyGroupRange, label: u64) -> bool {
        let then = self.checkpoints[&label].clone();
        let outcome = self.store().rollback(&Scope::groups(groups), label);
        self.is_rolled_back(groups, &then, outcome)
    }

    /// The same to a position; where the store may refuse that it may be refused.
    pub fn roll_back_to(&mut self, groups: KeyGroupRange, position: u64) -> bool {
        let then = self.positions.known[&position].clone();
        match self.store().rollback_to_position(&Scope::groups(groups), position) {
            Err(Error::Position { .. } | Error::Checkpoint { .. })
                if self.positions.may_be_refused(self.store(), position, self.is_transactional) =>
            {
                false
            }
            outcome => self.is_rolled_back(groups, &then, outcome),
        }
    }

    /// Remembers what is found at the present position.
    pub fn note_position(&mut self) {
        // What was rolled back since the last commit counts, and isn't committed.
        if !self.is_transactional || self.positions.undone.is_empty() {
            let position = self.store().position().unwrap();
            let moment = if self.is_transactional { &self.base } else { &self.now };
            self.positions.note(position, moment);
        }
    }

    fn is_rolled_back(&mut self, groups: KeyGroupRange, then: &Moment, outcome: alluvium::Result<Rewound>) -> bool {
        if self.is_transactional && groups.iter().any(|group| self.staged.contains(&group.0)) {
            assert!(matches!(outcome, Err(Error::Busy { .. })), "{outcome:?}, seed {}", self.seed);
            return false;
        }
        let rewound = outcome.unwrap_or_else(|error| panic!("{error}, seed {}", self.seed));
        let position = self.store().position().unwrap();
        self.positions.rolled_back(position, groups.iter().map(|group| group.0));
        for group in groups.iter() {
            let offset = offset_of(&rewound.offsets, group);
            assert_eq!(
                offset,
                Some(then.next).filter(|_| then.epoch > 0),
                "where its source stood, seed {}",
                self.seed
            );
            let model = self.now.groups.get_mut(&group.0).unwrap();
            let before = model.content();
            *model = then.groups[&group.0].clone();
            if then.has_rollbacks {
                // Nothing says what of the changelog it comes from.
                model.unlogged = model.events.len();
            }
            let changes = difference(group.0, &before, &model.content());
            self.base.groups.insert(group.0, model.clone());
            self.outputs.withhold(changes, false);
        }
        true
    }

    /// Whether some events are sure to be taken back in a key group: the changelog has them, and a checkpoint from before them is kept.
    pub fn is_sure(&self, group: u16, bad: &BTreeSet<EventId>) -> bool {
        let model = &self.now.groups[&group];
        let fresh = model.fresh(bad);
        let Some(first) = model.events.iter().position(|event| fresh.contains(&event.id)) else { return true };
        // A checkpoint that becomes complete just then moves the frontier.
        // Of a transactional store it isn't told here which of its checkpoints count as of what, once it was rolled back.
        let is_open = self.is_transactional && self.positions.has_rollbacks();
        if is_open || first < model.unlogged || self.doubts.iter().any(|doubt| doubt.label.is_some()) {
            return false;
        }
        let kept = self.store().checkpoints();
        if kept.is_empty() {
            return true;
        }
        let recent: BTreeSet<u64> = kept.iter().rev().take(HISTORY).map(|info| info.label).collect();
        let mut on_the_way = model.path.iter().filter(|label| recent.contains(label) && **label >= self.begin);
        on_the_way.any(|label| {
            let kept = self.checkpoints.get(label).filter(|moment| !moment.has_rollbacks);
            let kept = kept.and_then(|moment| moment.groups.get(&group));
            kept.is_some_and(|kept| model.begins_at(kept, first))
        })
    }

    /// Says that the host has what a repair changed, of one that it committed.
    pub fn acknowledge(&mut self, random: &mut Random) -> bool {
        let mut owed = Vec::new();
        for (group, model) in &self.now.groups {
            owed.extend(model.owed.keys().map(|id| (*group, *id)));
        }
        owed.retain(|(group, id)| self.committed.groups[group].owed.contains_key(id));
        if owed.is_empty() {
            return false;
        }
        let (group, id) = owed[random.below(owed.len() as u64) as usize];
        self.world().writer.acknowledge(KeyGroup(group), id).unwrap();
        self.now.groups.get_mut(&group).unwrap().owed.remove(&id);
        self.staged.insert(group);
        true
    }

    /// The store holds what it has to, and owes what it has to.
    pub fn check(&mut self) {
        let (seed, now, base) = (self.seed, self.now.clone(), self.is_transactional.then(|| self.base.clone()));
        let world = self.world();
        let states = world.programs.states;
        let mut owed = BTreeMap::new();
        for (id, retractions) in world.writer.retractions().unwrap() {
            let group = retractions[0].group.0;
            let twice = owed.insert((group, id), all_told(&retractions, states));
            assert_eq!(twice, None, "{id:?} of key group {group} is retracted twice, seed {seed}");
        }
        for (group, model) in &now.groups {
            assert_eq!(world.content(*group), model.content(), "key group {group}, seed {seed}");
            if let Some(base) = &base {
                let committed = base.groups[group].content();
                assert_eq!(world.committed(*group), committed, "committed of key group {group}, seed {seed}");
            }
            for (id, changes) in &model.owed {
                let found = owed.remove(&(*group, *id));
                assert_eq!(found.as_ref(), Some(changes), "retractions of {id:?} of key group {group}, seed {seed}");
            }
            if let Some(last) = model.events.last() {
                assert!(world.store.already_applied(KeyGroup(*group), last.id).unwrap(), "{last:?}, seed {seed}");
            }
        }
        assert!(owed.is_empty(), "nobody is owed {owed:?}, seed {seed}");
    }

    /// Offsets and state were committed together.
    fn check_commit(&self) {
        let last = self.store().last_commit();
        assert_eq!(epoch_of(&last.metadata), self.now.epoch, "seed {}", self.seed);
        for group in self.range.iter().filter(|_| self.now.epoch > 0) {
            let offset = offset_of(&last.offsets, group);
            assert_eq!(offset, Some(self.now.next), "the offset of key group {group:?}, seed {}", self.seed);
        }
    }

    /// Ends it, as a host does or as a crash does; its directory stays.
    pub fn end(mut self, closes: bool) -> (tempfile::TempDir, BTreeMap<u64, Moment>) {
        if let Some(World { store, writer, .. }) = self.world.take() {
            drop(writer);
            if closes {
                store.close().unwrap();
            }
        }
        (self.directory, self.checkpoints)
    }
}

fn epoch_of(metadata: &[u8]) -> u64 {
    metadata.try_into().map_or(0, u64::from_le_bytes)
}

fn offset_of(offsets: &[(KeyGroupRange, Vec<u8>)], group: KeyGroup) -> Option<u64> {
    let of = offsets.iter().find(|(range, _)| range.contains(group));
    of.map(|(_, bytes)| u64::from_le_bytes(bytes[..].try_into().unwrap()))
}
