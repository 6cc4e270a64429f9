//! Events: changes that a handler of the host makes, logged as what they came from.
//!
//! A handler that changes much for a short event (one event, ten panes of a sliding window) is cheaper to log as the event: recovery
//! applies it again. That needs a handler which does the same each time: it sees nothing but the event, the state of one key group, and
//! what it asks of [`Applying`], whose answers are logged. This is command logging (Malviya et al., "Rethinking main memory OLTP
//! recovery", ICDE 2014), chosen for each event as adaptive logging does (Yao et al., SIGMOD 2016): here by the bytes that either takes.

use crate::changelog::buffer::Mark;
use crate::changelog::record::Event;
use crate::error::{Error, Result};
use crate::ids::KeyGroup;
use crate::key::Key;
use crate::scan::MapRange;
use crate::states::LogMode;
use crate::store::{State, StoreInner};
use crate::writer::Writer;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The longest name of a handler, in bytes.
pub const HANDLER_NAME_BYTES_MAX: usize = 1_024;

/// What a host does with an event. It has to do the same whenever it is given the same event over the same state: clocks, random numbers
/// and everything else that it reads elsewhere come through [`Applying::determinant`].
pub trait Handler: Send + Sync + Debug {
    /// Its name, of 1 to 1,024 bytes.
    fn name(&self) -> &str;

    /// Moves on with every change that makes it do something else for some event: recovery refuses to go on with another one.
    fn version(&self) -> u32;

    /// Does it. What it changed before it fails stays.
    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()>;
}

/// A handler of a store, as [`Store::handler`](crate::Store::handler) returns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandlerId(pub(crate) u32);

/// What a handler may ask for a determinant.
type Draw<'a> = &'a mut dyn FnMut(&mut Vec<u8>);

/// The state as a handler sees it: that of one key group, through its writer.
#[derive(Debug)]
pub struct Applying<'a> {
    writer: &'a mut Writer,
    group: KeyGroup,
    now_ms: u64,
    /// When it is applied again: what is left of what was logged.
    logged: Option<&'a [u8]>,
    /// When it is applied the first time: what is to be logged.
    drawn: Vec<u8>,
    modes: Modes,
}

/// What the states that were changed say of how that is to be logged.
#[derive(Clone, Copy, Default, Debug)]
struct Modes {
    state: bool,
    auto: bool,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty, $changes:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&mut self, state: State, key: Key<'_>, $($arg: $type),*) -> Result<$out> {
                self.check(state, key, $changes)?;
                self.writer.$name(state, key, $($arg),*)
            }
        )*
    };
}

impl Applying<'_> {
    /// The key group of the event: keys of others are refused.
    pub const fn group(&self) -> KeyGroup {
        self.group
    }

    /// The writer's clock, in ms; logged with the event.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Something that isn't the same each time, such as the time or a random number: `draw` appends it to what it is given, and it is
    /// logged. When the event is applied again, what was logged is returned, and `draw` isn't called.
    pub fn determinant(&mut self, draw: Draw<'_>) -> Result<Vec<u8>> {
        if let Some(logged) = &mut self.logged {
            let reader = &mut crate::codec::Reader::new(logged);
            let taken = reader.varint().ok().and_then(|len| reader.bytes(usize::try_from(len).ok()?).ok());
            let taken = taken.ok_or_else(|| Error::Background("a handler asks for more than it did before".into()))?;
            *logged = &logged[reader.at()..];
            return Ok(taken.to_vec());
        }
        let mut drawn = Vec::new();
        draw(&mut drawn);
        crate::codec::push_varint(&mut self.drawn, drawn.len() as u64);
        self.drawn.extend_from_slice(&drawn);
        Ok(drawn)
    }

    fn check(&mut self, state: State, key: Key<'_>, changes: bool) -> Result<()> {
        if key.group != self.group {
            let range = crate::ids::KeyGroupRange::new(self.group.0, self.group.0);
            return Err(Error::OutsideRange { group: key.group, range });
        }
        if changes {
            match self.writer.log_mode(state)? {
                LogMode::State => self.modes.state = true,
                LogMode::Auto => self.modes.auto = true,
                LogMode::Event => {}
            }
        }
        Ok(())
    }

    operations! {
        /// [`Writer::get`].
        get() -> Option<Vec<u8>>, false;
        /// [`Writer::put`].
        put(value: &[u8]) -> (), true;
        /// [`Writer::delete`].
        delete() -> (), true;
        /// [`Writer::append`].
        append(element: &[u8]) -> (), true;
        /// [`Writer::list`].
        list() -> Vec<Vec<u8>>, false;
        /// [`Writer::put_list`].
        put_list(elements: &[&[u8]]) -> (), true;
        /// [`Writer::merge`].
        merge(operand: &[u8]) -> (), true;
        /// [`Writer::merge_namespaces`].
        merge_namespaces(sources: &[&[u8]]) -> (), true;
        /// [`Writer::map_get`].
        map_get(user_key: &[u8]) -> Option<Vec<u8>>, false;
        /// [`Writer::map_contains`].
        map_contains(user_key: &[u8]) -> bool, false;
        /// [`Writer::map_put`].
        map_put(user_key: &[u8], value: &[u8]) -> (), true;
        /// [`Writer::map_delete`].
        map_delete(user_key: &[u8]) -> (), true;
        /// [`Writer::map_delete_range`].
        map_delete_range(range: &MapRange<'_>) -> (), true;
        /// [`Writer::map_clear`].
        map_clear() -> (), true;
        /// [`Writer::map_first`].
        map_first() -> Option<(Vec<u8>, Vec<u8>)>, false;
        /// [`Writer::map_pop_first`].
        map_pop_first() -> Option<(Vec<u8>, Vec<u8>)>, true;
    }

    /// [`Writer::update`].
    pub fn update<V: AsRef<[u8]>>(
        &mut self,
        state: State,
        key: Key<'_>,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        self.check(state, key, true)?;
        self.writer.update(state, key, change)
    }

    /// [`Writer::map_scan`].
    pub fn map_scan(
        &mut self,
        state: State,
        key: Key<'_>,
        range: &MapRange<'_>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.check(state, key, false)?;
        self.writer.map_scan(state, key, range, visit)
    }
}

/// Registers a handler; one of the same name takes the place of the earlier.
pub(crate) fn register(store: &StoreInner, handler: Arc<dyn Handler>) -> Result<HandlerId> {
    store.check()?;
    let bytes = handler.name().len();
    if bytes == 0 || bytes > HANDLER_NAME_BYTES_MAX {
        return Err(Error::Options { option: "handler", problem: "a name has 1 to 1,024 bytes".into() });
    }
    let mut handlers = store.handlers.write();
    let at = handlers.iter().position(|known| known.name() == handler.name());
    let at = at.unwrap_or(handlers.len());
    match handlers.get_mut(at) {
        Some(known) => *known = handler,
        None => handlers.push(handler),
    }
    Ok(HandlerId(at as u32))
}

/// Has a handler apply an event, and logs whatever of both is shorter.
pub(crate) fn apply(writer: &mut Writer, id: HandlerId, group: KeyGroup, event: &[u8]) -> Result<()> {
    let store = Arc::clone(writer.store());
    let handler = store.handlers.read().get(id.0 as usize).cloned();
    let handler = handler.ok_or_else(|| unknown(&format!("number {}", id.0)))?;
    let mark = writer.log_mark();
    let now_ms = writer.time_ms();
    let (drawn, modes) = (Vec::new(), Modes::default());
    let mut applying = Applying { writer, group, now_ms, logged: None, drawn, modes };
    let outcome = handler.apply(event, &mut applying);
    let Applying { drawn, modes, .. } = applying;
    if let (Some(mark), Ok(())) = (mark, &outcome) {
        let (name, version) = (handler.name(), handler.version());
        let event = Event { handler: id.0, group, now_ms, event, determinants: &drawn };
        // What failed is logged as what it changed: it might do otherwise the next time.
        writer.log_event(mark, (name, version), event, modes.state, modes.auto);
    }
    outcome
}

/// Applies an event again, as the changelog has it.
pub(crate) fn again(writer: &mut Writer, (name, version): (&str, u32), event: Event<'_>) -> Result<()> {
    let store = Arc::clone(writer.store());
    let handler = find(&store, name, version)?;
    writer.set_time_ms(event.now_ms);
    let Event { group, now_ms, event, determinants, .. } = event;
    let (drawn, modes) = (Vec::new(), Modes::default());
    let mut applying = Applying { writer, group, now_ms, logged: Some(determinants), drawn, modes };
    let outcome = handler.apply(event, &mut applying);
    let left = applying.logged.is_some_and(|left| !left.is_empty());
    writer.set_time_ms(0);
    outcome?;
    if left {
        return Err(Error::Background(format!("handler {name:?} asks for less than it did before")));
    }
    Ok(())
}

/// A handler of this name and version.
pub(crate) fn find(store: &StoreInner, name: &str, version: u32) -> Result<Arc<dyn Handler>> {
    let handlers = store.handlers.read();
    let Some(handler) = handlers.iter().find(|handler| handler.name() == name) else { return Err(unknown(name)) };
    if handler.version() == version {
        return Ok(Arc::clone(handler));
    }
    let problem = format!("version {} is registered, the changelog has events of version {version}", handler.version());
    Err(Error::Handler { handler: name.to_owned(), problem })
}

fn unknown(name: &str) -> Error {
    Error::Handler { handler: name.to_owned(), problem: "not registered since the store was opened".into() }
}

/// Where a buffer of the changelog stood before an event was applied.
pub(crate) type LogMark = Mark;
