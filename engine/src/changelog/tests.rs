//! Changelogs on a real disk: what is found again of what was written, cut short and damaged.

use super::buffer::Contents;
use super::files::Files;
use super::format::{PAGE_BYTES, TRACED_BLOCK_BYTES};
use super::history::History;
use super::record::{self, Change, Record};
use super::stream::Changelog;
use super::tail::{self, Redo, Tail};
use super::trace::Gathered;
use crate::error::Error;
use crate::ids::{EventId, KeyGroup, KeyGroupRange, StateId};
use crate::key::Key;
use crate::options::ChangelogOptions;
use crate::platform::storage::{self, Fault, LogGroup, PageCache, Storage, StorageChoice, names};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const STORE: u128 = 77;

struct World {
    directory: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    log: Changelog,
    group: LogGroup,
    /// Changes so far: key `n` has value `n`.
    count: u64,
}

fn open(path: &Path) -> Arc<dyn Storage> {
    storage::open(path, StorageChoice::Posix, PageCache::Nothing, true).unwrap()
}

fn options() -> ChangelogOptions {
    ChangelogOptions { file_bytes: 1 << 20, ..ChangelogOptions::default() }
}

/// Where the records begin.
fn positions(history: &History) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    let each = |_: Record<'_>, begin, _| {
        found.push(begin);
        Ok(true)
    };
    history.records(history.from(), history.to(), each)?;
    Ok(found)
}

/// A change: key `n` gets value `n`.
fn push(bytes: &mut Vec<u8>, n: u64) {
    let key = n.to_be_bytes();
    let key = Key { group: KeyGroup((n % 8) as u16), key: &key, namespace: &[] };
    record::push_change(bytes, StateId(0), key, Change::Put(&n.to_le_bytes()), None);
}

/// Writes what was appended, as the log thread does.
fn write(log: &Changelog, group: &mut LogGroup) {
    let mut files = log.files();
    let taken = log.take(usize::MAX);
    files.prepare(&taken).unwrap();
    let mut writes: Vec<_> = files.write(taken.sync).into_iter().collect();
    group.write(&mut writes);
    let outcome = writes.pop().map_or(Ok(()), |write| write.outcome.unwrap());
    files.wrote(taken.sync, &outcome);
    drop(files);
    log.wrote(taken, outcome.map_err(Error::from));
}

impl World {
    fn new(group: LogGroup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = open(directory.path());
        let log =
            Changelog::new(Some(options()), 0, Files::new(&storage, STORE, 1 << 20, Vec::new(), None, Vec::new()));
        Self { directory, storage, log, group, count: 0 }
    }

    /// Appends changes.
    fn change(&mut self, count: u64) {
        let mut bytes = Vec::new();
        (self.count..self.count + count).for_each(|n| push(&mut bytes, n));
        self.count += count;
        self.log.append(|_| Contents { bytes, ..Contents::default() });
    }

    fn commit(&mut self) -> u64 {
        let offsets = [(KeyGroupRange::new(0, 7), self.count.to_le_bytes().to_vec())];
        self.log.commit(&offsets, b"meta", true, Instant::now())
    }

    fn write(&mut self) {
        write(&self.log, &mut self.group);
    }

    fn find(&self, from: u64) -> Result<Tail, Error> {
        let files = self.storage.names().unwrap();
        tail::find(&*self.storage, &files, STORE, from, u64::MAX).map(|tail| tail.unwrap())
    }

    /// The same, where what was durable is checked when it is read.
    fn find_unchecked(&self, from: u64) -> Result<Tail, Error> {
        let files = self.storage.names().unwrap();
        tail::find(&*self.storage, &files, STORE, from, 0).map(|tail| tail.unwrap())
    }

    /// Goes on after a crash, as recovery does; what wasn't committed is lost.
    fn recover(&mut self, from: u64) {
        self.count = committed(&self.recover_at(from));
    }

    /// The same where a checkpoint may have all that was committed.
    fn recover_at(&mut self, from: u64) -> Tail {
        let tail = self.find(from).unwrap();
        let files = Files::new(
            &self.storage,
            STORE,
            1 << 20,
            tail.there.clone(),
            Some((tail.end(), tail.to)),
            tail.void.clone(),
        );
        self.log = Changelog::new(Some(options()), tail.to, files);
        tail
    }

    fn history(&self, from: u64, to: u64) -> Result<History, Error> {
        let (there, written) = self.log.files().known();
        // Both ways to find the blocks come to the same.
        let looked_for = History::open(&*self.storage, STORE, (&there, &[]), from, to);
        let known = History::open(&*self.storage, STORE, (&there, &written), from, to);
        if let (Ok(a), Ok(b)) = (&looked_for, &known)
            && let (Ok(a), Ok(b)) = (positions(a), positions(b))
        {
            assert_eq!(a, b);
        }
        looked_for
    }

    fn file(&self, number: u64) -> std::path::PathBuf {
        self.directory.path().join(names::changelog_name(number))
    }
}

/// How many changes are committed, by the last commit's offset.
fn committed(tail: &Tail) -> u64 {
    let (offsets, metadata) = tail.last.as_ref().unwrap();
    assert_eq!(metadata, b"meta");
    u64::from_le_bytes(offsets[0].1[..].try_into().unwrap())
}

/// Checks that the changes from one on to another are what is replayed.
fn assert_replays(tail: &Tail, from: u64, to: u64) {
    let mut next = from;
    tail.replay(|redo, _| {
        let Redo::Change { state, key, change, expiry_ms } = redo else { panic!("{redo:?}") };
        assert_eq!((state, key.key, expiry_ms), (StateId(0), &next.to_be_bytes()[..], None));
        assert_eq!(change, Change::Put(&next.to_le_bytes()));
        next += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(next, to);
}

/// The numbers of the changes of some key groups, block by block, and the positions where they begin, from a position on.
fn of_groups(tail: &Tail, from: u64, wanted: &[u16]) -> Result<Vec<(u64, u64)>, Error> {
    let (mut place, mut found) = (tail::Place::default(), Vec::new());
    while let Some(block) = tail.next_block(&mut place, from) {
        let payload = block.read()?;
        let mut lot = Vec::new();
        let is_wanted = |group: KeyGroup, begin: u64| wanted.contains(&group.0) && begin >= from;
        block.changes(&payload, is_wanted, &mut lot)?;
        for change in lot {
            assert!(block.position() <= change.begin && change.begin < block.end() && block.end() <= tail.to);
            let number = u64::from_be_bytes(change.key.key.try_into().unwrap());
            assert_eq!(change.change, Change::Put(&number.to_le_bytes()));
            found.push((number, change.begin));
        }
    }
    Ok(found)
}

#[test]
fn the_changes_of_some_key_groups_are_found_from_any_position_on() {
    for group in groups() {
        let mut world = World::new(group);
        for _ in 0..40 {
            world.change(5_000);
            world.commit();
            world.write();
        }
        // What isn't committed is left out.
        world.change(5_000);
        world.write();
        for tail in [world.find(0).unwrap(), world.find_unchecked(0).unwrap()] {
            assert!(tail.is_by_group() && committed(&tail) == 200_000);
            for wanted in [&[0][..], &[7], &[1, 2, 6], &[8], &[0, 1, 2, 3, 4, 5, 6, 7]] {
                let all = of_groups(&tail, 0, wanted).unwrap();
                let expected = (0..200_000).filter(|n| wanted.contains(&((n % 8) as u16)));
                assert!(all.iter().map(|(number, _)| *number).eq(expected), "{wanted:?}");
                for at in (0..all.len()).step_by(7_777) {
                    assert_eq!(of_groups(&tail, all[at].1, wanted).unwrap(), all[at..]);
                }
            }
        }
    }
}

/// The numbers of the changes between two positions, and the position behind each.
fn changes(history: &History, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Error> {
    let mut found = Vec::new();
    let mut at = from;
    history.records(from, to, |record, begin, end| {
        assert!(at <= begin && begin < end && end <= to, "{at} {begin} {end} {to}");
        at = end;
        if let Record::Change { key, change, .. } = record {
            assert_eq!(change, Change::Put(&u64::from_be_bytes(key.key.try_into().unwrap()).to_le_bytes()));
            found.push((u64::from_be_bytes(key.key.try_into().unwrap()), end));
        }
        Ok(true)
    })?;
    Ok(found)
}

fn numbers(history: &History, from: u64, to: u64) -> Vec<u64> {
    changes(history, from, to).unwrap().into_iter().map(|(number, _)| number).collect()
}

#[test]
fn the_past_is_read_between_any_two_positions() {
    for group in groups() {
        let mut world = World::new(group);
        let mut commits = vec![0];
        for _ in 0..40 {
            world.change(5_000);
            commits.push(world.commit());
            world.write();
        }
        let end = world.log.position();
        let all = changes(&world.history(0, end).unwrap(), 0, end).unwrap();
        assert_eq!(all.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..200_000).collect::<Vec<_>>());
        for (round, &from) in commits.iter().enumerate().step_by(9) {
            let number = (round as u64 * 5_000 + 7_777).min(199_999);
            let to = all[number as usize].1;
            // To the end of a change, in the middle of the next one, and just short of it.
            for (to, last) in [(to, number), (to + 1, number), (to - 1, number - 1)] {
                let history = world.history(from, to.min(end)).unwrap();
                let expected: Vec<u64> = (round as u64 * 5_000..=last).collect();
                assert_eq!(numbers(&history, from, to.min(end)), expected);
                let commit = commits.iter().rev().find(|commit| **commit <= to.min(end) && **commit > from);
                assert_eq!(history.last_commit(to).unwrap().as_ref(), commit);
            }
        }
        // Blocks that aren't wanted aren't looked into.
        let history = world.history(0, end).unwrap();
        let mut seen = 0;
        history
            .records_of(
                0,
                end,
                |header| header.has_aborts,
                |_, _, _| {
                    seen += 1;
                    Ok(true)
                },
            )
            .unwrap();
        assert_eq!(seen, 0);
        world.log.files().cut(commits[20]).unwrap();
        assert!(matches!(world.history(0, end), Err(Error::Position { position: 0, .. })));
        assert_eq!(numbers(&world.history(commits[20], end).unwrap(), commits[20], end).len(), 100_000);
    }
}

#[test]
fn the_past_leaves_out_what_was_undone_and_what_was_lost() {
    let mut world = World::new(LogGroup::posix());
    world.change(10);
    world.commit();
    world.change(5);
    world.write();
    world.log.abort();
    world.count = 10;
    world.change(3);
    let second = world.commit();
    world.change(9);
    world.write();
    let end = world.log.position();
    assert_eq!(
        numbers(&world.history(0, end).unwrap(), 0, end),
        (0..10).chain(10..13).chain(13..22).collect::<Vec<_>>()
    );
    // What wasn't committed is lost, and its positions are used again.
    world.recover(0);
    assert_eq!((world.count, world.log.position()), (13, second));
    assert_eq!(numbers(&world.history(0, second).unwrap(), 0, second), (0..13).collect::<Vec<_>>());
    world.count = 100;
    world.change(4);
    world.commit();
    world.write();
    let end = world.log.position();
    assert_eq!(numbers(&world.history(0, end).unwrap(), 0, end), (0..13).chain(100..104).collect::<Vec<_>>());
    // The store was opened at an older checkpoint: it goes on behind all that there can be.
    let files = world.log.files().known().0;
    let far = tail::bound(&*world.storage, &world.storage.names().unwrap()).unwrap();
    world.log = Changelog::new(
        Some(options()),
        far,
        Files::new(&world.storage, STORE, 1 << 20, files, Some((end, far)), Vec::new()),
    );
    world.change(6);
    world.commit();
    world.write();
    let new_end = world.log.position();
    assert_eq!(numbers(&world.history(far, new_end).unwrap(), far, new_end), (104..110).collect::<Vec<_>>());
    assert_eq!(numbers(&world.history(0, end).unwrap(), 0, end), (0..13).chain(100..104).collect::<Vec<_>>());
    for to in [end + 1, far, new_end] {
        assert!(matches!(world.history(0, to), Err(Error::Position { .. })), "{to}");
    }
}

#[test]
fn what_has_traced_events_is_written_in_blocks_that_are_read_soon() {
    let mut world = World::new(LogGroup::posix());
    world.change(3);
    let (mut bytes, mut gathered) = (Vec::new(), Gathered::default());
    for n in world.count..world.count + 20_000 {
        gathered.add(bytes.len() as u64, EventId { source: 1, offset: n }, std::iter::empty());
        push(&mut bytes, n);
    }
    let len = bytes.len();
    assert!(len > 5 * TRACED_BLOCK_BYTES, "{len}");
    world.count += 20_000;
    world.log.append(|_| Contents { bytes, has_events: true, gathered });
    world.change(5);
    let end = world.commit();
    world.write();
    let blocks = Arc::clone(&world.log.files().known().1[0].blocks);
    let lens: Vec<usize> = blocks.iter().map(|(_, header)| header.len as usize).collect();
    assert!(lens.len() > len / TRACED_BLOCK_BYTES && lens.iter().all(|len| *len <= TRACED_BLOCK_BYTES), "{lens:?}");
    assert_eq!(lens.iter().sum::<usize>() as u64, end);
    let ends: Vec<u64> = blocks.iter().map(|(_, header)| header.position + u64::from(header.commit_end)).collect();
    assert_eq!(ends.last(), Some(&end));
    assert!(blocks[..blocks.len() - 1].iter().all(|(_, header)| header.commit_end == 0));
    assert_replays(&world.find(0).unwrap(), 0, 20_008);
    // One of them that is damaged is told from its neighbours.
    let whole = std::fs::read(world.file(1)).unwrap();
    let mut damaged = whole.clone();
    damaged[blocks[2].0 as usize + 100] ^= 1;
    std::fs::write(world.file(1), damaged).unwrap();
    let (from, to) = (blocks[3].1.position, blocks[3].1.end());
    let history = world.history(0, end).unwrap();
    let mut found = 0;
    history
        .stretch(from, to, |_, _, _| {
            found += 1;
            Ok(true)
        })
        .unwrap();
    assert!(found > 1_000, "{found}");
    let error = history.stretch(blocks[2].1.position, from, |_, _, _| Ok(true)).unwrap_err();
    assert!(matches!(&error, Error::Storage(error) if error.fault == Fault::Corrupt), "{error}");
}

/// Checks it from outside, with a checkpoint that has everything.
fn check(world: &World) -> Result<(), Error> {
    let files = world.storage.names().unwrap();
    super::check::check(&world.storage, &files, STORE, world.log.position())
}

#[test]
fn a_file_of_one_block_that_is_damaged_is_not_one_that_was_never_written() {
    let mut world = World::new(LogGroup::posix());
    for _ in 0..4 {
        world.change(30_000);
        world.write();
    }
    world.commit();
    world.write();
    let written = world.log.files().known().1;
    assert_eq!(
        written.iter().map(|of| (of.file, of.blocks.len())).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 1), (4, 2)]
    );
    check(&world).unwrap();
    for number in 1..4 {
        let path = world.file(number);
        let whole = std::fs::read(&path).unwrap();
        for at in [20, PAGE_BYTES + 20, PAGE_BYTES + 64 + 1_000] {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, damaged).unwrap();
            let Err(Error::Storage(error)) = check(&world) else { panic!("{at} of {path:?}") };
            assert_eq!((error.fault, &error.path), (Fault::Corrupt, &path), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        // Without the first one it is a changelog that begins later.
        assert_eq!(check(&world).is_err(), number > 1, "{number}");
        std::fs::write(&path, whole).unwrap();
    }
    // A checkpoint became durable that has more than was written of the last file: its end is cut short, and the store goes on behind it.
    let (path, checkpoint) = (world.file(4), world.log.position());
    let mut torn = std::fs::read(&path).unwrap();
    let used = torn.iter().rposition(|byte| *byte != 0).unwrap();
    torn[used - 100..].fill(0);
    std::fs::write(&path, torn).unwrap();
    let begins = world.recover_at(checkpoint).end();
    check(&world).unwrap();
    assert!(begins < checkpoint, "{begins}");
    let assert_gap = |world: &World| {
        assert_eq!(world.history(0, begins).and_then(|history| changes(&history, 0, begins)).unwrap().len(), 120_000);
        for (from, to) in [(0, checkpoint), (begins, checkpoint), (begins + 5, checkpoint), (0, begins + 1)] {
            let error = world.history(from, to).unwrap_err();
            assert!(matches!(error, Error::Position { .. }), "from {from} to {to}: {error}");
        }
    };
    assert_gap(&world);
    for _ in 0..2 {
        world.change(30_000);
        world.commit();
        world.write();
        check(&world).unwrap();
        assert_gap(&world);
    }
}

#[test]
fn the_past_is_refused_where_it_is_damaged_or_missing() {
    let mut world = World::new(LogGroup::posix());
    let mut commits = Vec::new();
    for _ in 0..6 {
        world.change(200);
        commits.push(world.commit());
        world.write();
    }
    let (path, end) = (world.file(1), world.log.position());
    let bytes = std::fs::read(&path).unwrap();
    let used = (bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(PAGE_BYTES);
    let mut refused = 0;
    for at in (0..used).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        match world.history(0, end).and_then(|history| changes(&history, 0, end)) {
            Err(Error::Storage(error)) => {
                assert!(matches!(error.fault, Fault::Corrupt | Fault::Foreign), "{error}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
            Ok(found) => assert_eq!(found.len(), 1_200, "padding, which no one reads"),
        }
    }
    assert!(refused > 0);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(numbers(&world.history(0, end).unwrap(), 0, end).len(), 1_200);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(world.history(0, end), Err(Error::Storage(error)) if error.fault == Fault::Missing));
}

fn groups() -> [LogGroup; 2] {
    [LogGroup::posix(), LogGroup::default()]
}

#[test]
fn what_is_committed_is_found() {
    for group in groups() {
        let mut world = World::new(group);
        world.change(10);
        let first = world.commit();
        world.change(7);
        world.write();
        assert!(matches!(world.log.poll(first), Some(Ok(()))));
        let tail = world.find(0).unwrap();
        assert_eq!((committed(&tail), tail.to), (10, first));
        assert_replays(&tail, 0, 10);
        let second = world.commit();
        assert!(world.log.poll(second).is_none());
        world.write();
        let tail = world.find(first).unwrap();
        assert_eq!((committed(&tail), tail.to, tail.bytes()), (17, second, second - first));
        assert_replays(&tail, 10, 17);
        assert!(world.find(second).unwrap().is_empty());
    }
}

#[test]
fn many_files_are_one_stream_and_go_when_a_checkpoint_has_them() {
    for group in groups() {
        let mut world = World::new(group);
        let mut positions = vec![0];
        for _ in 0..40 {
            world.change(5_000);
            positions.push(world.commit());
            world.write();
        }
        let files = world.storage.names().unwrap().len();
        assert!(files > 4, "{files}");
        for (rounds, &position) in positions.iter().enumerate().step_by(7) {
            let tail = world.find(position).unwrap();
            assert_eq!(committed(&tail), 200_000);
            assert_replays(&tail, rounds as u64 * 5_000, 200_000);
        }
        world.log.files().cut(positions[20]).unwrap();
        assert!(world.storage.names().unwrap().len() < files);
        assert_replays(&world.find(positions[20]).unwrap(), 100_000, 200_000);
        let error = world.find(0).unwrap_err();
        assert!(matches!(&error, Error::Storage(error) if error.fault == Fault::Missing), "{error}");
    }
}

#[test]
fn a_torn_tail_is_cut_and_gone_on_from() {
    for group in groups() {
        let mut world = World::new(group);
        world.change(1_000);
        world.commit();
        world.write();
        for round in 1..=5_u64 {
            // Written, and never committed; then a commit whose block is torn.
            world.change(300 + round);
            world.write();
            world.change(300);
            world.commit();
            world.write();
            let path = world.file(round);
            let bytes = std::fs::read(&path).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            let last = used.div_ceil(PAGE_BYTES) - 1;
            let mut torn = bytes.clone();
            torn[last * PAGE_BYTES + 9 * round as usize..].fill(0);
            std::fs::write(&path, &torn).unwrap();
            world.recover(0);
            assert_eq!(world.count, 1_000 + 10 * (round - 1), "round {round}");
            assert_replays(&world.find(0).unwrap(), 0, world.count);
            world.change(10);
            world.commit();
            world.write();
            assert_replays(&world.find(0).unwrap(), 0, 1_000 + 10 * round);
        }
    }
}

#[test]
fn files_that_were_begun_behind_the_last_commit_are_void() {
    let mut world = World::new(LogGroup::posix());
    world.change(100);
    world.commit();
    world.write();
    for round in 1..=3 {
        for _ in 0..6 {
            world.change(20_000);
            world.write();
        }
        assert!(world.storage.names().unwrap().len() >= 3);
        let left: Vec<_> =
            world.storage.names().unwrap().into_iter().map(|name| world.directory.path().join(name)).collect();
        let left: Vec<_> = left.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        world.recover(0);
        assert_eq!(world.count, 90 + 10 * round);
        world.change(10);
        world.commit();
        world.write();
        assert_replays(&world.find(0).unwrap(), 0, 100 + 10 * round);
        let names = world.storage.names().unwrap();
        assert!(round > 1 || names.len() == 2, "void files are gone: {names:?}");
        // Should they be there still, they are void all the same.
        for (bytes, path) in left.iter().filter(|(_, path)| !path.exists()) {
            std::fs::write(path, bytes).unwrap();
        }
        assert_replays(&world.find(0).unwrap(), 0, 100 + 10 * round);
        left.iter().skip(1).for_each(|(_, path)| assert!(path.exists()));
        world.recover(0);
        world.change(0);
    }
}

/// A checkpoint became durable before anything of the run's own was written: what an earlier one had left behind its last commit was read
/// for what the checkpoint has.
#[test]
fn what_was_left_is_no_past_of_a_checkpoint_that_comes_before_the_first_write() {
    // Within the file of the last commit, and in files behind it.
    for (rounds, changes) in [(1, 10_000), (6, 50_000)] {
        let mut world = World::new(LogGroup::posix());
        world.change(100);
        let end = world.commit();
        world.write();
        for _ in 0..rounds {
            world.change(20_000);
            world.write();
        }
        world.recover(0);
        world.change(changes);
        let checkpoint = world.log.position();
        world.log.files().cut_overhang().unwrap();
        let tail = world.recover_at(checkpoint);
        assert_eq!((tail.end(), tail.to, tail.void.len()), (end, checkpoint, 0));
        check(&world).unwrap();
        assert_eq!(numbers(&world.history(0, end).unwrap(), 0, end), (0..100).collect::<Vec<_>>());
        for to in [end + 1, checkpoint - 1, checkpoint] {
            assert!(matches!(world.history(0, to), Err(Error::Position { .. })), "{to}");
        }
    }
}

#[test]
fn damage_where_it_was_durable_is_refused_and_nothing_wrong_is_replayed() {
    let mut world = World::new(LogGroup::posix());
    for _ in 0..6 {
        world.change(200);
        world.commit();
        world.write();
    }
    let path = world.file(1);
    let bytes = std::fs::read(&path).unwrap();
    let used = (bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(PAGE_BYTES);
    let whole = world.find(0).unwrap().to;
    let (mut refused, mut cut) = (0, 0);
    for at in (0..used).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        // What is checked when it is read is refused then, whatever is asked for.
        let later = world.find_unchecked(0).and_then(|tail| Ok((of_groups(&tail, 0, &[3])?, tail)));
        match world.find(0) {
            Err(Error::Storage(error)) => {
                assert!(matches!(error.fault, Fault::Corrupt | Fault::Foreign), "{error}");
                assert!(matches!(later, Err(Error::Storage(later)) if later.fault == error.fault));
                refused += 1;
            }
            Err(error) => panic!("{error}"),
            Ok(tail) => {
                let (of_group, later) = later.unwrap();
                assert_eq!((later.to, of_group.len() as u64), (tail.to, committed(&tail) / 8));
                // Padding, which no one reads, or the last block, which nothing behind it vouches for.
                cut += usize::from(tail.to < whole);
                assert_replays(&tail, 0, committed(&tail));
            }
        }
    }
    assert!(refused > cut && cut > 0, "{refused} refused, {cut} cut");
    std::fs::write(&path, &bytes).unwrap();
    assert_replays(&world.find(0).unwrap(), 0, 1_200);
}

#[test]
fn a_file_that_is_missing_or_anothers_is_refused() {
    let mut world = World::new(LogGroup::posix());
    for _ in 0..20 {
        world.change(10_000);
        world.commit();
        world.write();
    }
    let (one, two, three) = (world.file(1), world.file(2), world.file(3));
    let spare = world.directory.path().join("spare");
    std::fs::rename(&two, &spare).unwrap();
    assert!(matches!(world.find(0), Err(Error::Storage(error)) if error.fault == Fault::Corrupt));
    std::fs::copy(&three, &two).unwrap();
    assert!(matches!(world.find(0), Err(Error::Storage(error)) if error.fault == Fault::Foreign));
    std::fs::rename(&spare, &two).unwrap();
    assert_replays(&world.find(0).unwrap(), 0, 200_000);
    let files = world.storage.names().unwrap();
    let error = tail::find(&*world.storage, &files, STORE + 1, 0, u64::MAX).unwrap_err();
    assert!(matches!(&error, Error::Storage(error) if error.fault == Fault::Foreign), "{error}");
    std::fs::remove_file(one).unwrap();
    assert!(matches!(world.find(0), Err(Error::Storage(error)) if error.fault == Fault::Missing));
}

#[test]
fn what_was_undone_is_not_replayed() {
    let mut world = World::new(LogGroup::posix());
    world.change(10);
    world.commit();
    world.change(5);
    world.write();
    world.log.abort();
    world.count = 10;
    world.change(3);
    world.commit();
    world.change(9);
    world.log.abort();
    world.write();
    let tail = world.find(0).unwrap();
    assert_eq!(committed(&tail), 13);
    assert_replays(&tail, 0, 13);
}

#[test]
fn commits_behind_what_the_stream_lacks_wait_for_a_checkpoint() {
    let mut world = World::new(LogGroup::posix());
    world.change(10);
    let first = world.commit();
    world.log.skip();
    world.change(5);
    let second = world.commit();
    world.write();
    assert!(matches!(world.log.poll(first), Some(Ok(()))));
    assert!(world.log.poll(second).is_none());
    assert_eq!(committed(&world.find(0).unwrap()), 10);
    world.log.checkpointed(world.log.position());
    assert!(matches!(world.log.poll(second), Some(Ok(()))));
    world.change(1);
    world.commit();
    world.write();
    assert_eq!(committed(&world.find(0).unwrap()), 16);
}

/// Such a commit has no record: one that came behind the cut of the checkpoint with the load was said to last once that was complete and the
/// stream synced, and a recovery found nothing of it.
#[test]
fn a_commit_without_a_record_lasts_with_one_that_has_one_or_a_checkpoint_behind_it() {
    for by_checkpoint in [false, true] {
        let mut world = World::new(LogGroup::posix());
        world.change(1);
        world.commit();
        world.log.skip();
        let cut = world.log.position();
        world.change(4);
        let hollow = world.commit();
        world.log.checkpointed(cut);
        let (told, heard) = std::sync::mpsc::channel();
        world.log.when(hollow, Box::new(move |outcome| told.send(outcome.is_ok()).unwrap()));
        world.write();
        assert!(world.find(cut).unwrap().last.is_none());
        assert!(world.log.poll(hollow).is_none() && heard.try_recv().is_err());
        let refused = world.log.wait(hollow, || panic!("nobody writes what isn't there"));
        assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
        if by_checkpoint {
            world.log.checkpointed(world.log.position());
        } else {
            world.change(2);
            let offsets = [(KeyGroupRange::new(0, 7), world.count.to_le_bytes().to_vec())];
            world.log.commit(&offsets, b"meta", false, Instant::now());
            assert!(world.log.poll(hollow).is_none());
            // It lasts with the later one, which is synced for it.
            let World { log, group, .. } = &mut world;
            log.wait(hollow, || write(log, group)).unwrap();
            assert_eq!(committed(&world.find(cut).unwrap()), 7);
        }
        assert!(matches!(world.log.poll(hollow), Some(Ok(()))) && heard.try_recv().unwrap());
        world.log.wait(hollow, || panic!("it lasts already")).unwrap();
    }
}

/// A checkpoint that was cut before the second of two loads was has the first one alone.
#[test]
fn a_checkpoint_makes_up_for_what_was_left_out_before_it_alone() {
    let mut world = World::new(LogGroup::posix());
    world.change(1);
    world.log.skip();
    let cut = world.log.position();
    world.log.skip();
    world.log.checkpointed(cut);
    let commit = world.commit();
    world.write();
    assert!(world.log.poll(commit).is_none());
    world.log.checkpointed(world.log.position());
    let commit = world.commit();
    world.write();
    assert!(matches!(world.log.poll(commit), Some(Ok(()))));
}

#[test]
fn who_waits_is_told() {
    let mut world = World::new(LogGroup::posix());
    world.change(1);
    let first = world.commit();
    let (told, heard) = std::sync::mpsc::channel();
    let tell = told.clone();
    world.log.when(first, Box::new(move |outcome| tell.send(outcome.is_ok()).unwrap()));
    assert!(heard.try_recv().is_err());
    assert!(world.log.due(Instant::now()).is_some());
    world.write();
    assert!(heard.recv().unwrap());
    assert!(world.log.due(Instant::now()).is_none());
    world.log.wait(first, || panic!("it lasts already")).unwrap();
    world.change(1);
    let second = world.commit();
    world.log.when(second, Box::new(move |outcome| told.send(outcome.is_ok()).unwrap()));
    world.log.end(Error::Closed);
    assert!(!heard.recv().unwrap());
    assert!(matches!(world.log.wait(second, || ()), Err(Error::Closed)));
    assert!(world.log.wait(first, || ()).is_ok());
}
