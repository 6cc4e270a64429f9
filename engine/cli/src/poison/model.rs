//! The job's states in a map: the simplest thing that can be right.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::job::{self, Places, Table};
use super::stream::Stream;
use crate::failure::{Failure, Outcome};
use crate::job::bytes::{Fields, ShortBytes};

/// Where something lies: state, key, namespace, and the user key of a map's entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The state.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// The namespace.
    pub namespace: Vec<u8>,
    /// The user key.
    pub user_key: Option<Vec<u8>>,
}

/// What lies where.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Model(pub HashMap<Place, Vec<u8>>);

impl Places for Model {
    type Error = Infallible;

    fn update(
        &mut self,
        table: Table,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> ShortBytes,
    ) -> Result<(), Infallible> {
        let place = Place { table, key: key.to_vec(), namespace: Vec::new(), user_key: None };
        let new = change(self.0.get(&place).map(Vec::as_slice)).to_vec();
        self.0.insert(place, new);
        Ok(())
    }

    fn add(&mut self, table: Table, key: &[u8], namespace: &[u8], amount: i64) -> Result<(), Infallible> {
        let place = Place { table, key: key.to_vec(), namespace: namespace.to_vec(), user_key: None };
        let sum = self.0.entry(place).or_insert_with(|| 0_i64.to_le_bytes().to_vec());
        *sum = (Fields(sum).i64() + amount).to_le_bytes().to_vec();
        Ok(())
    }

    fn map_put(
        &mut self,
        table: Table,
        key: &[u8],
        namespace: &[u8],
        user_key: &[u8],
        value: &[u8],
    ) -> Result<(), Infallible> {
        let (key, namespace, user_key) = (key.to_vec(), namespace.to_vec(), Some(user_key.to_vec()));
        self.0.insert(Place { table, key, namespace, user_key }, value.to_vec());
        Ok(())
    }
}

/// What the events at some offsets come to, with the poisoned ones or without.
pub fn fold(stream: &Stream, offsets: std::ops::Range<u64>, sees_poison: bool) -> Model {
    let mut model = Model::default();
    for offset in offsets {
        let (is_poison, parts) = stream.parts(offset);
        if is_poison && !sees_poison {
            continue;
        }
        for part in parts {
            let Ok(()) = job::take(&part, &mut model);
        }
    }
    model
}

/// What a place holds with the poisoned events and without.
pub type Differences = BTreeMap<Place, [Option<Vec<u8>>; 2]>;

/// All places that hold something else with the poisoned events than without. Periods share no keys, so only theirs are gone through.
pub fn differences(stream: &Stream) -> Differences {
    let mut periods: Vec<u16> = stream.poisons().iter().map(|poison| stream.period(poison.flight)).collect();
    periods.dedup();
    let mut found = Differences::new();
    for period in periods {
        let [with, without] = [true, false].map(|sees_poison| fold(stream, stream.offsets(period), sees_poison).0);
        for place in with.keys().chain(without.keys()) {
            let contents = [&with, &without].map(|model| model.get(place).cloned());
            if contents[0] != contents[1] {
                found.insert(place.clone(), contents);
            }
        }
    }
    found
}

/// Writes them down for the process that repairs: a process that has folded millions of events is slow to give memory back, and that time
/// isn't the repair's.
pub fn write(path: &Path, differences: &Differences) -> Outcome<()> {
    let text = serde_json::to_string(&differences.iter().collect::<Vec<_>>()).map_err(Failure::new)?;
    std::fs::write(path, text).map_err(|error| Failure::io(path.display(), &error))
}

/// Reads what [`write()`] wrote.
pub fn read(path: &Path) -> Outcome<Differences> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io(path.display(), &error))?;
    let differences: Vec<(Place, [Option<Vec<u8>>; 2])> = serde_json::from_str(&text).map_err(Failure::new)?;
    Ok(differences.into_iter().collect())
}
