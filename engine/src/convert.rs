//! Conversions: how the values of a state's older schema become those of a newer one.
//!
//! A state that is migrated changes its schema at once. What is on disk by then stays as it is and is *of an older
//! schema*: the layers of the stacks say so ([`Older`]), and whoever takes a value from such a layer converts it before
//! anything else happens with it. What compaction writes is converted.

use crate::error::{Error, Result};
use crate::ids::StateId;
use crate::key::VALUE_BYTES_MAX;
use crate::platform::threads::{Mutex, RwLock};
use crate::states::{MergeOperator, STATE_NAME_BYTES_MAX, StateDef, StateKind, frames, push_framed};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The most conversions that the values of a state may have before them.
pub const STEPS_MAX: usize = 64;

/// A conversion of a host's own, from one schema of a state's values to the next.
///
/// It is applied to a value state's value, to each element of a list, to the value of each entry of a map, and to the
/// values and operands of a merging state, each by itself and whenever one is read, until none of the old schema is
/// left. So it must be pure: the same bytes give the same bytes, on any thread. Of a merging state it must get on with
/// the operator: to convert what two operands are merged into, and to merge what they are converted into, is the same.
pub trait Convert: Send + Sync {
    /// The name that stands in manifests; a store that is reopened meanwhile is given a conversion of the same name. It has
    /// 1 to 1,024 bytes, always the same, and means the same conversion for ever.
    fn name(&self) -> &str;

    /// The old value in the new schema, put into `out`, which is empty. What it fails with is told to whoever reads the
    /// value; the old value stays where it is.
    fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), String>;
}

impl fmt::Debug for dyn Convert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a name is one of a conversion.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=STATE_NAME_BYTES_MAX).contains(&name.len())
}

/// Which schema values are of that were of the one of `lineage` and go through the conversion of this name: equal only
/// where the same conversions led there. 0 is the schema that a state was registered with.
pub fn lineage_of(lineage: u64, name: &str) -> u64 {
    crate::checksum::checksum(&[&lineage.to_le_bytes(), name.as_bytes()].concat()).max(1)
}

/// A conversion as a store knows it: the name first, and the host's function as soon as it was brought.
pub struct Conversion {
    state: String,
    name: String,
    /// Of a list: whether its elements expire, which is in their frames.
    list: Option<bool>,
    /// What the values are merged by, if it is built in: it takes operands of one length only.
    operator: Option<MergeOperator>,
    function: RwLock<Option<Arc<dyn Convert>>>,
    /// What it failed with last; gone when another function is brought.
    failure: Mutex<Option<Error>>,
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversion").field("state", &self.state).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Conversion {
    /// One of which only the name is known.
    pub fn new(def: &StateDef, name: &str) -> Self {
        Self {
            state: def.name.clone(),
            name: name.to_owned(),
            list: (def.kind == StateKind::List).then_some(def.ttl.is_some()),
            operator: MergeOperator::built_in(&def.merge_name),
            function: RwLock::new(None),
            failure: Mutex::new(None),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the host's function, in the place of one that may have failed.
    pub fn bring(&self, function: Arc<dyn Convert>) {
        let mut known = self.function.write();
        *known = Some(function);
        *self.failure.lock() = None;
    }

    /// Why nothing can be converted for now: the function was not brought, or failed.
    pub fn obstacle(&self) -> Option<Error> {
        let lacking = || self.error("it was not registered since the store was opened".into());
        self.failure.lock().clone().or_else(|| self.function.read().is_none().then(lacking))
    }

    fn error(&self, problem: String) -> Error {
        Error::Conversion { state: self.state.clone(), conversion: self.name.clone(), problem }
    }

    /// A value, operand, list or entry's value in the next schema.
    fn apply(&self, old: &[u8]) -> Result<Vec<u8>> {
        // Not held while it runs: it is the host's code.
        let function = self.function.read().clone();
        let Some(function) = function else {
            return Err(self.obstacle().unwrap_or_else(|| self.error("it is being registered".into())));
        };
        self.run(&*function, old).map_err(|problem| {
            let error = self.error(problem);
            let known = self.function.read();
            // Not where another one was brought meanwhile.
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &function)) {
                *self.failure.lock() = Some(error.clone());
            }
            error
        })
    }

    fn run(&self, function: &dyn Convert, old: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let mut converted = Vec::with_capacity(old.len());
        match self.list {
            None => call(function, old, &mut converted)?,
            Some(expiring) => {
                let mut element = Vec::new();
                for (expiry_ms, old) in frames(old, expiring) {
                    element.clear();
                    call(function, old, &mut element)?;
                    push_framed(&mut converted, &element, expiry_ms);
                }
            }
        }
        if converted.len() > VALUE_BYTES_MAX {
            return Err(format!("it made a value of {} bytes, longer than {VALUE_BYTES_MAX}", converted.len()));
        }
        match &self.operator {
            Some(operator) if !operator.accepts(&converted) => {
                Err(format!("it made {} bytes, which {operator:?} doesn't take", converted.len()))
            }
            _ => Ok(converted),
        }
    }
}

/// Calls the host's function; a panic in it is a failure like any other.
fn call(function: &dyn Convert, old: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| function.convert(old, out))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(format!("it panicked: {said}"))
    })
}

/// What a layer holds of older schemas: for each such state, the conversions that its values have yet to go through.
#[derive(Clone, Debug, Default)]
pub struct Older {
    /// Ascending by state; the conversions are never none, and in the order in which they are applied.
    states: Vec<(StateId, Vec<Arc<Conversion>>)>,
}

impl Older {
    /// The same with one more conversion for a state's values, to be applied last.
    #[must_use]
    pub fn with(&self, state: StateId, conversion: &Arc<Conversion>) -> Self {
        let mut states = self.states.clone();
        match states.binary_search_by_key(&state, |(of, _)| *of) {
            Ok(at) => states[at].1.push(Arc::clone(conversion)),
            Err(at) => states.insert(at, (state, vec![Arc::clone(conversion)])),
        }
        Self { states }
    }

    /// What it says of the states that `keeps` names, together with what another says of the rest.
    #[must_use]
    pub fn joined(&self, other: &Self, keeps: impl Fn(StateId) -> bool) -> Self {
        let own = self.states.iter().filter(|(state, _)| keeps(*state));
        let rest = other.states.iter().filter(|(state, _)| !keeps(*state));
        let mut states: Vec<_> = own.chain(rest).cloned().collect();
        states.sort_unstable_by_key(|(state, _)| *state);
        Self { states }
    }

    /// Whether another says the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Arc<Conversion>, &Arc<Conversion>)| Arc::ptr_eq(a, b);
        let are_same =
            |a: &[Arc<Conversion>], b: &[Arc<Conversion>]| a.len() == b.len() && a.iter().zip(b).all(is_same);
        self.states.len() == other.states.len()
            && self.states.iter().zip(&other.states).all(|((a, one), (b, two))| a == b && are_same(one, two))
    }

    /// The states, and what their values have yet to go through.
    pub fn states(&self) -> &[(StateId, Vec<Arc<Conversion>>)] {
        &self.states
    }

    /// What a state's values have yet to go through.
    pub fn of(&self, state: StateId) -> &[Arc<Conversion>] {
        let at = self.states.binary_search_by_key(&state, |(of, _)| *of);
        at.map_or(&[], |at| &self.states[at].1)
    }

    /// A value of a state, as the layer has it, in the state's schema; `None` where it is in it already.
    pub fn convert(&self, state: StateId, value: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut converted: Option<Vec<u8>> = None;
        for conversion in self.of(state) {
            converted = Some(conversion.apply(converted.as_deref().unwrap_or(value))?);
        }
        Ok(converted)
    }

    /// Why something of it can't be converted for now.
    pub fn obstacle(&self) -> Option<Error> {
        self.states.iter().flat_map(|(_, conversions)| conversions).find_map(|conversion| conversion.obstacle())
    }
}

/// A value as a layer has it, in the state's schema.
pub fn in_schema(older: Option<&Older>, state: StateId, value: &[u8]) -> Result<Vec<u8>> {
    let converted = older.map_or(Ok(None), |older| older.convert(state, value))?;
    Ok(converted.unwrap_or_else(|| value.to_vec()))
}

/// The conversions that a store knows of, by state and name: those that are under way, and those that older checkpoints
/// may need.
#[derive(Debug, Default)]
pub struct Conversions(Mutex<HashMap<(StateId, String), Arc<Conversion>>>);

impl Conversions {
    /// The one of this name, with or without its function.
    pub fn find(&self, def: &StateDef, name: &str) -> Arc<Conversion> {
        let mut known = self.0.lock();
        let conversion = known.entry((def.id, name.to_owned())).or_insert_with(|| Arc::new(Conversion::new(def, name)));
        Arc::clone(conversion)
    }

    /// The host brings conversions of a state. What isn't under way may be what an older checkpoint needs.
    pub fn bring(&self, def: &StateDef, functions: &[Arc<dyn Convert>]) {
        for function in functions {
            self.find(def, function.name()).bring(Arc::clone(function));
        }
    }

    /// A migration begins. Snapshots may still go by an earlier conversion of the name.
    pub fn replace(&self, def: &StateDef, function: Arc<dyn Convert>) -> Arc<Conversion> {
        let conversion = Arc::new(Conversion::new(def, function.name()));
        conversion.bring(function);
        self.0.lock().insert((def.id, conversion.name.clone()), Arc::clone(&conversion));
        conversion
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::frame;
    use crate::states::{StateOptions, Ttl};

    struct Named(&'static str, fn(&[u8], &mut Vec<u8>) -> std::result::Result<(), String>);

    impl Convert for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), String> {
            self.1(old, out)
        }
    }

    fn twice(old: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), String> {
        out.extend_from_slice(old);
        out.extend_from_slice(old);
        Ok(())
    }

    fn def(options: StateOptions) -> StateDef {
        crate::states::definition(StateId(0), options)
    }

    fn brought(def: &StateDef, function: Named) -> Older {
        let conversion = Conversions::default().replace(def, Arc::new(function));
        Older::default().with(StateId(0), &conversion)
    }

    #[test]
    fn elements_are_converted_inside_their_frames() {
        let ttl = Ttl { duration_ms: 1, refresh_on_read: false };
        let older = brought(&def(StateOptions::list("l").ttl(ttl)), Named("twice", twice));
        let list = |elements: [(&[u8], u64); 2]| {
            let framed = elements.map(|(element, at)| [frame(element, Some(at)).as_bytes(), element].concat());
            framed.concat()
        };
        let converted = older.convert(StateId(0), &list([(b"a", 7), (b"bc", 9)])).unwrap().unwrap();
        assert_eq!(converted, list([(b"aa", 7), (b"bcbc", 9)]));
        assert_eq!(older.convert(StateId(1), b"another state").unwrap(), None);
    }

    #[test]
    fn what_a_built_in_operator_does_not_take_is_refused() {
        let older = brought(&def(StateOptions::merging("m", MergeOperator::U64Add)), Named("twice", twice));
        let refused = older.convert(StateId(0), &7_u64.to_le_bytes()).unwrap_err();
        assert!(refused.to_string().contains("16 bytes"), "{refused}");
        assert!(older.obstacle().is_some(), "it is left alone until another function is brought");
    }

    #[test]
    fn panics_are_failures_and_another_function_clears_them() {
        let def = def(StateOptions::value("v"));
        let known = Conversions::default();
        let conversion = known.replace(&def, Arc::new(Named("f", |_, _| panic!("no way"))));
        let older = Older::default().with(StateId(0), &conversion);
        let failed = older.convert(StateId(0), b"1").unwrap_err();
        assert!(failed.to_string().contains("no way"), "{failed}");
        known.bring(&def, &[Arc::new(Named("f", twice))]);
        assert!(older.obstacle().is_none());
        assert_eq!(older.convert(StateId(0), b"1").unwrap().unwrap(), b"11");
    }

    #[test]
    fn lineages_tell_which_conversions_led_there() {
        let one = lineage_of(0, "a");
        assert_ne!(lineage_of(one, "b"), lineage_of(lineage_of(0, "b"), "a"));
        assert_eq!(lineage_of(one, "b"), lineage_of(lineage_of(0, "a"), "b"));
    }
}
