//! Who can't be run with what, and why: everyone else can, whether it was or not.
//!
//! By names, as `report` is built without most engines.

use super::cases::{TIMERS_ALONE, is_about_disk};

/// Whether an engine is there to show what memory alone could do.
pub fn keeps_nothing(engine: &str) -> bool {
    matches!(engine, "hashmap" | "btreemap" | "heap" | "plain-heap")
}

/// Whether a case has maps or timers.
pub fn has_order(case: &str) -> bool {
    let starts = ["interval-join", "nexmark", "real-replay", "timers", "state-ops-map", "map-scan"];
    starts.iter().any(|start| case.starts_with(start))
}

/// Why an engine has no part in a case; `None`: it has.
pub fn why_not(case: &str, engine: &str) -> Option<&'static str> {
    match engine {
        "heap" | "plain-heap" if case != TIMERS_ALONE => Some("it has timers in memory, and nothing else"),
        _ if keeps_nothing(engine) && is_about_disk(case) => Some("nothing of it is durable"),
        "faster" if has_order(case) => Some("it has no order, so neither maps nor timers"),
        "faster" if case == "rescale" => {
            Some("its crate can't go through all keys, so nothing can be made of some of them")
        }
        "faster" if case == "growth-keys-1m" => Some("its log takes 192 MiB at least, and there are 132"),
        "fjall" if case == "real-replay-killed" => {
            Some("its journal, which can't be turned off, brings back what came after the checkpoint")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cases::{budget_bytes, names};

    #[test]
    fn reasons_are_those_of_cases_that_there_are() {
        let engines = ["hashmap", "btreemap", "heap", "plain-heap", "faster", "fjall"];
        for engine in engines {
            assert!(names().iter().any(|case| why_not(case, engine).is_some()), "{engine}");
            assert!(names().iter().any(|case| why_not(case, engine).is_none()), "{engine}");
        }
        for engine in ["alluvium", "rocksdb-flink", "rocksdb-tuned", "redb", "lmdb"] {
            assert!(names().iter().all(|case| why_not(case, engine).is_none()), "{engine}");
        }
    }

    /// An eighth of a budget is FASTER's index, and what is left has to have six pages of 32 MiB.
    #[test]
    fn faster_has_room_for_its_log_but_where_it_is_said() {
        for case in names() {
            let budget_bytes = budget_bytes(case, 256 << 20);
            let has_room = budget_bytes / 8 * 7 >= 6 * (32 << 20);
            assert_eq!(has_room, case != "growth-keys-1m", "{case}: {budget_bytes}");
        }
    }
}
