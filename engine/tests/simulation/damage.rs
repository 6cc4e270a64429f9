//! Files that a disk gives back otherwise than they were written: what is read is right, or an error.

use super::case::Case;
use super::disk::Image;
use super::look::{check_commit, contents_of};
use super::notes::Notes;
use super::play::{Played, play};
use super::workload::{Model, Rng, Subject, assert_same};
use alluvium::simulated::world::{self, Schedule};
use alluvium::{Result, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many times the files of one moment are damaged.
const DAMAGES: u64 = 6;

const PAGE: usize = 4096;
/// Headers of the changelog are no longer than this.
const HEADER: u64 = 72;

/// Plays a case, and reads all that its process would have left by dying at some moments of it, from files that were damaged in one place each.
pub fn play_damages(case: Case, path: &Path) {
    let played = play(case, path);
    let mut rng = Rng(case.schedule ^ 5);
    played.at_moments(case, path, &mut rng, |moment, disk, rng| {
        let (whole, _) = disk.outlived();
        for _ in 0..DAMAGES {
            let mut image = whole.clone();
            let (Some(what), schedule) = (damage(&mut image, rng), rng.next()) else { break };
            println!("after {moment} changes, {what}, schedule {schedule}");
            image.write_to(path);
            world::run(Schedule::new(schedule), || {
                if let Err(error) = read(case, path, &played) {
                    println!("{error}");
                }
            });
            std::fs::remove_dir_all(path).unwrap();
        }
    });
}

/// Damages a file, and says how.
fn damage(image: &mut Image, rng: &mut Rng) -> Option<String> {
    let names: Vec<PathBuf> =
        image.files.iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(name, _)| name.clone()).collect();
    let name = names.get(rng.below(names.len().max(1) as u64) as usize)?;
    let mut bytes = image.files[name].to_vec();
    // Where there is something: changelogs have room in them that nothing was written to.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = match rng.below(2) {
        0 => rng.below(used as u64) as usize,
        // Much is said where pages begin.
        _ => (rng.below(used as u64) as usize / PAGE * PAGE + rng.below(HEADER) as usize).min(used - 1),
    };
    let what = match rng.below(4) {
        0 => {
            bytes.truncate(at);
            format!("cut to {at}")
        }
        1 => {
            let sector = at / 512 * 512;
            let end = (sector + 512).min(bytes.len());
            bytes[sector..end].fill_with(|| rng.next() as u8);
            format!("garbage from {sector}")
        }
        _ => {
            let bit = rng.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
    };
    let what = format!("{}: {what} of {used}", name.display());
    image.files.insert(name.clone(), Arc::new(bytes));
    Some(what)
}

/// Reads all that there is: each writer has what it had after some number of steps.
fn read(case: Case, path: &Path, played: &Played) -> Result<()> {
    let store = Store::open(&case.engine(), path, case.options())?;
    for (writer, part) in case.parts().into_iter().enumerate() {
        let plan = case.plan(writer);
        let mut subject = Subject::over_part(store.clone(), part)?;
        let noted = Notes::of(&store)?.noted(&mut subject)?;
        assert!(noted <= case.steps, "writer {writer} is at step {noted} of {}", case.steps);
        let contents = contents_of(&mut subject, plan)?;
        check_commit(case, noted, &contents, &played.commits);
        let mut model = Model::new(plan);
        if contents != *model.at(noted) {
            assert_same(&contents, model.at(noted + 1), &format!("writer {writer} after {noted} steps"));
        }
    }
    store.close()
}
