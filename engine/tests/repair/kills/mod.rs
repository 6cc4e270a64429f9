//! SIGKILL at every write: a process that repairs, or rolls back, dies at each of its changes of the file system in turn, and what it leaves is
//! what one of its commits had, at least the last one that it saw last.
//!
//! The process is this test binary again. It is killed as it enters its n-th call that changes anything, for every n up to the end
//! (`durability/support/trace.rs`); what it leaves is looked at as a whole: the state of all key groups, which events are known to be
//! taken back, which retractions are kept. Then it is taken up again, is killed once more while it recovers or soon after, and in the end comes
//! to what an undisturbed one comes to.

mod script;
#[path = "../../durability/support/trace.rs"]
mod trace;

use crate::model::World;
use crate::oracle::fold::all_told;
use crate::oracle::part::directory;
use alluvium::inspect::{self, Severity};
use alluvium::{StorageChoice, Way};
use script::{Groups, Stage, end, engine, models, perform, prepare, stream};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// For a child: the script, the storage, from when on it is counted; and the place.
const WORK: &str = "ALLUVIUM_REPAIR_KILL";
/// Set to `all` for a second kill at each change of a recovery, not at one of them.
const KILLS: &str = "ALLUVIUM_REPAIR_KILLS";
/// So many changes of a process that recovers are looked at: it is at its script again by then.
const SECOND_MAX: u64 = 24;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Script {
    Repairs,
    Rollbacks,
}

impl Script {
    fn stages(self) -> &'static [Stage] {
        match self {
            Self::Repairs => script::REPAIRS,
            Self::Rollbacks => script::ROLLBACKS,
        }
    }
}

/// From when on changes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Since {
    /// The first stage: the store is open.
    Script,
    /// The beginning of the process.
    Recovery,
}

/// A directory with the store, and what processes said.
struct Place(tempfile::TempDir);

impl Place {
    /// A copy of the store before the first stage.
    fn new(prepared: &Path) -> Self {
        let place = Self(directory());
        fs::create_dir(place.store()).unwrap();
        for entry in fs::read_dir(prepared).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), place.store().join(entry.file_name())).unwrap();
        }
        place
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn process(&self, script: Script, storage: StorageChoice, since: Since) -> Command {
        let log = fs::File::create(self.0.path().join("log")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["kills::child", "--exact", "--nocapture", "--test-threads=1"]);
        let (script, since) = (script as u8, since as u8);
        let storage = u8::from(storage == StorageChoice::Posix);
        command.env(WORK, format!("{script}{storage}{since}:{}", self.0.path().display()));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// The last stage that a process saw last, and what the last process had to say.
    fn seen(&self) -> (u64, String) {
        let text = fs::read_to_string(self.0.path().join("seen")).unwrap_or_default();
        // A line that was cut off by a kill doesn't count.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last = whole.lines().map(|line| line.parse().unwrap()).max().unwrap_or(0);
        (last, fs::read_to_string(self.0.path().join("log")).unwrap_or_default())
    }
}

/// Not a test by itself: what is killed.
#[test]
fn child() {
    let Ok(work) = std::env::var(WORK) else { return };
    let (flags, path) = work.split_once(':').unwrap();
    let flag = |at: usize| flags.as_bytes()[at] - b'0';
    let script = if flag(0) == Script::Repairs as u8 { Script::Repairs } else { Script::Rollbacks };
    let storage = if flag(1) == 1 { StorageChoice::Posix } else { StorageChoice::Auto };
    let path = Path::new(path);
    let mut seen = fs::OpenOptions::new().create(true).append(true).open(path.join("seen")).unwrap();
    // Whoever traces the process counts from this call on.
    let count = |since: Since| {
        if flag(2) == since as u8 {
            let _ = std::os::unix::process::parent_id();
        }
    };
    count(Since::Recovery);
    let mut world = script::open(&engine(storage), &path.join("store"));
    count(Since::Script);
    go_on(&mut world, script, |_, number| {
        // In one write, so that a line is there or not.
        seen.write_all(format!("{number}\n").as_bytes()).unwrap();
    });
    let World { store, writer, .. } = world;
    drop(writer);
    store.close().unwrap();
}

/// Does what is left of a script; `done` is told of each stage.
fn go_on(world: &mut World, script: Script, mut done: impl FnMut(&mut World, u64)) {
    let (stages, left) = (script.stages(), stage_of(world));
    let label = (left > 0).then(|| stages[left as usize - 1].1).flatten();
    if let Some(label) = label.filter(|label| world.store.checkpoints().iter().all(|info| info.label != *label)) {
        // It was killed between the commit and its checkpoint.
        end(world, left, Some(label));
    }
    for (number, (deeds, label)) in (1_u64..).zip(stages).skip(left as usize) {
        deeds.iter().for_each(|deed| perform(world, *deed));
        end(world, number, *label);
        done(world, number);
    }
}

/// How many stages a store has behind it, by its last commit.
fn stage_of(world: &World) -> u64 {
    world.store.last_commit().metadata[..].try_into().map_or(0, u64::from_le_bytes)
}

/// Everything that a store holds and says is what it has to be.
fn check(world: &mut World, groups: &Groups, what: &str) {
    let states = world.programs.states;
    let mut owed = BTreeMap::new();
    for (id, retractions) in world.writer.retractions().unwrap() {
        let twice = owed.insert((retractions[0].group.0, id), all_told(&retractions, states));
        assert_eq!(twice, None, "{what}: {id:?} is retracted twice");
    }
    let mut wanted = BTreeMap::new();
    for (group, model) in groups {
        assert_eq!(world.content(*group), model.content(), "{what}: key group {group}");
        wanted.extend(model.owed.iter().map(|(id, changes)| ((*group, *id), changes.clone())));
    }
    assert_eq!(owed, wanted, "{what}: retractions");
    for event in stream().into_iter().filter(|event| script::BAD.contains(&event.id.offset)) {
        let plan = world.writer.plan_repair(&[event.id], Way::Reexecute);
        if groups[&event.group].void.contains(&event.id) {
            assert_eq!(plan.unwrap().before, [event.id], "{what}");
        } else {
            assert!(plan.is_err() || plan.is_ok_and(|plan| plan.before.is_empty()), "{what}: {event:?}");
        }
    }
}

/// Looks at what is left, and says how many stages that are; goes on to the end from there, where it is to.
fn check_left(place: &Place, script: Script, models: &[Groups], goes_on: bool, what: &str) -> u64 {
    let (seen, log) = place.seen();
    assert!(!log.contains("panicked"), "{what}: {log}");
    let findings = inspect::verify(&place.store()).unwrap();
    let faults: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
    assert!(faults.is_empty(), "{what}: {faults:?}");
    let mut world = script::open(&engine(StorageChoice::Posix), &place.store());
    let left = stage_of(&world);
    assert!(left >= seen, "{what}: stage {left} is left, and {seen} was seen to last");
    check(&mut world, &models[left as usize], &format!("{what}, stage {left}"));
    let entries = fs::read_dir(place.store()).unwrap().map(|entry| entry.unwrap().file_name());
    let scratches: Vec<_> = entries.filter(|name| name.to_str().unwrap().starts_with("scratch-")).collect();
    assert!(scratches.is_empty(), "{what}: {scratches:?} are left");
    if goes_on {
        go_on(&mut world, script, |world, number| {
            check(world, &models[number as usize], &format!("{what}, then stage {number}"));
        });
    }
    let World { store, writer, .. } = world;
    drop(writer);
    store.close().unwrap();
    left
}

/// Which changes of its recovery a process is killed at that was killed before.
fn second_kills(first: u64) -> Vec<u64> {
    match std::env::var(KILLS).as_deref() {
        Ok("all") => (1..=SECOND_MAX).collect(),
        _ => vec![1 + first * 7 % SECOND_MAX],
    }
}

fn killed_at_every_write(script: Script, storage: StorageChoice) {
    let prepared = directory();
    prepare(prepared.path());
    let models = models(script.stages());
    let place = Place::new(prepared.path());
    let whole = trace::run(&mut place.process(script, storage, Since::Script), None);
    assert_eq!(whole.code, Some(0), "{}", place.seen().1);
    assert_eq!(check_left(&place, script, &models, false, "undisturbed") as usize, script.stages().len());
    let (mut reached, mut kills) = (BTreeMap::<u64, u64>::new(), 0);
    for first in 1.. {
        for second in second_kills(first) {
            let place = Place::new(prepared.path());
            let what = format!("{script:?} on {storage:?}, killed at change {first}");
            let killed = trace::run(&mut place.process(script, storage, Since::Script), Some(first));
            if !killed.killed {
                assert_eq!(killed.code, Some(0), "{what}: {}", place.seen().1);
                println!(
                    "{script:?} on {storage:?}: {kills} kills, each followed by another; stages left: {reached:?}"
                );
                let all = (0..script.stages().len() as u64).all(|stage| reached.contains_key(&stage));
                assert!(all, "not every stage was interrupted: {reached:?}");
                return;
            }
            *reached.entry(check_left(&place, script, &models, false, &what)).or_default() += 1;
            kills += 1;
            let what = format!("{what}, then at {second}");
            let again = trace::run(&mut place.process(script, storage, Since::Recovery), Some(second));
            assert!(again.killed || again.code == Some(0), "{what}: {again:?}, {}", place.seen().1);
            check_left(&place, script, &models, true, &what);
        }
    }
}

#[test]
fn a_repair_killed_at_every_write() {
    killed_at_every_write(Script::Repairs, StorageChoice::Posix);
}

#[test]
fn a_repair_killed_at_every_write_on_io_uring() {
    killed_at_every_write(Script::Repairs, StorageChoice::Auto);
}

#[test]
fn a_rollback_killed_at_every_write() {
    killed_at_every_write(Script::Rollbacks, StorageChoice::Posix);
}

#[test]
fn a_rollback_killed_at_every_write_on_io_uring() {
    killed_at_every_write(Script::Rollbacks, StorageChoice::Auto);
}

#[test]
fn an_undisturbed_script_comes_to_what_the_model_says() {
    for script in [Script::Repairs, Script::Rollbacks] {
        let prepared = directory();
        prepare(prepared.path());
        let place = Place::new(prepared.path());
        check_left(&place, script, &models(script.stages()), true, "undisturbed");
    }
}
