//! Where a key group's present comes from, where it was rolled back: which stretches of the changelog count.
//!
//! A rollback at position R to a checkpoint at position T leaves out what lies between, and what came before T counts as it did at T, earlier
//! rollbacks included: also one that went *forth* to a checkpoint that another had left behind.

use crate::changelog::trace::RolledBack;
use crate::ids::KeyGroup;

/// Stretches of a stream, from a position up to another, ascending.
pub type Line = Vec<(u64, u64)>;

/// What counts of the stream for a key group as of a position; `rollbacks` are in their order. Those of some states alone leave out nothing:
/// other states have it still.
pub fn line_of(rollbacks: &[RolledBack], group: KeyGroup, to: u64) -> Line {
    let of_group =
        |rollback: &&RolledBack| rollback.whole && rollback.position <= to && rollback.groups.contains(group);
    let Some(last) = rollbacks.iter().rfind(of_group) else { return vec![(0, to)] };
    // Each step goes to an earlier one: a checkpoint lies before the rollback to it.
    let mut line = match last.target.filter(|target| *target < last.position) {
        Some(target) => line_of(rollbacks, group, target),
        None => Line::new(),
    };
    line.push((last.position, to));
    line
}

/// Whether a record at a position counts.
pub fn counts(line: &Line, position: u64) -> bool {
    line.iter().any(|(from, to)| (*from..*to).contains(&position))
}

/// Whether the state as of a position is one that the present came from.
pub fn passes(line: &Line, position: u64) -> bool {
    line.iter().any(|(from, to)| (*from..=*to).contains(&position))
}

/// The first position from another one on that counts; that one itself where nothing does.
pub fn next_of(line: &Line, position: u64) -> u64 {
    line.iter().find(|(_, to)| *to > position).map_or(position, |(from, _)| position.max(*from))
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::ids::KeyGroupRange;

    #[test]
    fn a_line_leaves_out_what_was_undone() {
        let back = |position, target| RolledBack {
            position,
            groups: KeyGroupRange::new(0, 3),
            target: Some(target),
            whole: true,
        };
        let group = KeyGroup(2);
        assert_eq!(line_of(&[], group, 9), [(0, 9)]);
        // Back from 50 to 20, back from 70 to 10, forth from 90 to 60.
        let all = [back(50, 20), back(70, 10), back(90, 60)];
        assert_eq!(line_of(&all[..1], group, 65), [(0, 20), (50, 65)]);
        assert_eq!(line_of(&all[..2], group, 80), [(0, 10), (70, 80)]);
        assert_eq!(line_of(&all, group, 100), [(0, 20), (50, 60), (90, 100)]);
        assert_eq!(line_of(&all, KeyGroup(4), 100), [(0, 100)], "another key group");
        let line = line_of(&all, group, 100);
        assert!(counts(&line, 19) && !counts(&line, 20) && !counts(&line, 60) && counts(&line, 90));
        assert!(passes(&line, 20) && passes(&line, 60) && !passes(&line, 70));
        let next = [0, 19, 20, 30, 59, 60, 95, 100].map(|position| next_of(&line, position));
        assert_eq!(next, [0, 19, 50, 50, 59, 90, 95, 100]);
    }
}
