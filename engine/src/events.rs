//! Events: changes that a handler of the host makes, logged as what they came from.
//!
//! A handler that changes much for a short event (one event, ten panes of a sliding window) is cheaper to log as the event: recovery
//! applies it again. That needs a handler which does the same each time: it sees nothing but the event, the state of one key group, and
//! what it asks of [`Applying`], whose answers are logged. This is command logging (Malviya et al., "Rethinking main memory OLTP
//! recovery", ICDE 2014), chosen for each event as adaptive logging does (Yao et al., SIGMOD 2016): here by the bytes that either takes.

use crate::changelog::access::{Access, AccessKind, Accesses, cell_hash, entry_hash};
use crate::changelog::buffer::Mark;
use crate::changelog::record::Event;
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup, StateId};
use crate::key::Key;
use crate::scan::MapRange;
use crate::states::LogMode;
use crate::store::{State, StoreInner};
use crate::triggers;
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

impl HandlerId {
    /// The handler of a number, for a host that keeps that: as good as the number is.
    pub const fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// Its number in its store.
    pub const fn number(self) -> u32 {
        self.0
    }
}

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
    trace: Trace,
    reads_only: bool,
    watch: Option<&'a mut (dyn Watch + 'static)>,
}

/// Who is told what a handler is about to read or write.
pub(crate) trait Watch: Debug {
    /// Of a key, and what of it: the writer is that of the handler.
    fn touch(&mut self, writer: &mut Writer, state: State, key: Key<'_>, what: Touched<'_>) -> Result<()>;
}

/// What a handler is about to do with a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touched<'a> {
    /// The value or list.
    Cell(AccessKind),
    /// A map's entry, of this user key.
    Entry(&'a [u8], AccessKind),
    /// A map's entries, as a range.
    Range(AccessKind),
    /// What other namespaces hold is moved to it.
    Namespaces(&'a [&'a [u8]]),
}

/// What an event read and wrote of the states that are traced.
#[derive(Default, Debug)]
pub(crate) struct Trace {
    accesses: Vec<Access>,
    scratch: Vec<u8>,
}

/// So many accesses are looked through for one that is there already; more of the same do no harm.
const LOOKED_THROUGH: usize = 16;

impl Trace {
    fn enter(&mut self, access: Access) {
        let from = self.accesses.len().saturating_sub(LOOKED_THROUGH);
        if !self.accesses[from..].contains(&access) {
            self.accesses.push(access);
        }
    }

    fn touch(&mut self, state: StateId, key: Key<'_>, touched: Touched<'_>) {
        let cell = cell_hash(&mut self.scratch, state, key);
        match touched {
            Touched::Cell(kind) | Touched::Range(kind) => self.enter(Access::of(kind, cell)),
            Touched::Entry(user_key, kind) => {
                let entry = entry_hash(&mut self.scratch, state, key, user_key);
                self.enter(Access::of_entry(kind, entry, cell));
            }
            Touched::Namespaces(sources) => {
                self.enter(Access::of(AccessKind::Update, cell));
                for source in sources {
                    let source = cell_hash(&mut self.scratch, state, key.in_namespace(source));
                    self.enter(Access::of(AccessKind::Update, source));
                }
            }
        }
    }
}

/// What the states that were changed say of how that is to be logged.
#[derive(Clone, Copy, Default, Debug)]
struct Modes {
    state: bool,
    auto: bool,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty, $touched:expr;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&mut self, state: State, key: Key<'_>, $($arg: $type),*) -> Result<$out> {
                self.check(state, key, $touched)?;
                self.writer.$name(state, key, $($arg),*)
            }
        )*
    };
}

impl Touched<'_> {
    const fn changes(self) -> bool {
        match self {
            Self::Cell(kind) | Self::Entry(_, kind) | Self::Range(kind) => kind.writes(),
            Self::Namespaces(_) => true,
        }
    }
}

impl<'a> Applying<'a> {
    fn new(
        writer: &'a mut Writer,
        group: KeyGroup,
        now_ms: u64,
        logged: Option<&'a [u8]>,
        watch: Option<&'a mut (dyn Watch + 'static)>,
    ) -> Self {
        let (drawn, modes, trace) = (Vec::new(), Modes::default(), Trace::default());
        Self { writer, group, now_ms, logged, drawn, modes, trace, watch, reads_only: false }
    }

    /// The state for who only reads.
    pub(crate) fn reading(writer: &'a mut Writer, group: KeyGroup, now_ms: u64) -> Self {
        Self { reads_only: true, ..Self::new(writer, group, now_ms, None, None) }
    }
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

    fn check(&mut self, state: State, key: Key<'_>, touched: Touched<'_>) -> Result<()> {
        if key.group != self.group {
            let range = crate::ids::KeyGroupRange::new(self.group.0, self.group.0);
            return Err(Error::OutsideRange { group: key.group, range });
        }
        if self.reads_only && touched.changes() {
            return Err(Error::Options { option: "trigger", problem: "an invariant changes nothing".into() });
        }
        let def = self.writer.def_of(state)?;
        let touched = match touched {
            // Its expiry moves.
            Touched::Cell(AccessKind::Read) if def.refreshes() => Touched::Cell(AccessKind::Update),
            Touched::Entry(user_key, AccessKind::Read) if def.refreshes() => {
                Touched::Entry(user_key, AccessKind::Update)
            }
            touched => touched,
        };
        if touched.changes() {
            match def.log {
                LogMode::State => self.modes.state = true,
                LogMode::Auto => self.modes.auto = true,
                LogMode::Event => {}
            }
        }
        if def.traced {
            self.trace.touch(state.id(), key, touched);
        }
        match &mut self.watch {
            Some(watch) => watch.touch(self.writer, state, key, touched),
            None => Ok(()),
        }
    }

    operations! {
        /// [`Writer::get`].
        get() -> Option<Vec<u8>>, Touched::Cell(AccessKind::Read);
        /// [`Writer::put`].
        put(value: &[u8]) -> (), Touched::Cell(AccessKind::Write);
        /// [`Writer::delete`].
        delete() -> (), Touched::Cell(AccessKind::Write);
        /// [`Writer::append`].
        append(element: &[u8]) -> (), Touched::Cell(AccessKind::Add);
        /// [`Writer::list`].
        list() -> Vec<Vec<u8>>, Touched::Cell(AccessKind::Read);
        /// [`Writer::put_list`].
        put_list(elements: &[&[u8]]) -> (), Touched::Cell(AccessKind::Write);
        /// [`Writer::merge`].
        merge(operand: &[u8]) -> (), Touched::Cell(AccessKind::Add);
        /// [`Writer::merge_namespaces`].
        merge_namespaces(sources: &[&[u8]]) -> (), Touched::Namespaces(sources);
        /// [`Writer::map_get`].
        map_get(user_key: &[u8]) -> Option<Vec<u8>>, Touched::Entry(user_key, AccessKind::Read);
        /// [`Writer::map_contains`].
        map_contains(user_key: &[u8]) -> bool, Touched::Entry(user_key, AccessKind::Read);
        /// [`Writer::map_put`].
        map_put(user_key: &[u8], value: &[u8]) -> (), Touched::Entry(user_key, AccessKind::Write);
        /// [`Writer::map_delete`].
        map_delete(user_key: &[u8]) -> (), Touched::Entry(user_key, AccessKind::Write);
        /// [`Writer::map_delete_range`].
        map_delete_range(range: &MapRange<'_>) -> (), Touched::Range(AccessKind::RangeWrite);
        /// [`Writer::map_clear`].
        map_clear() -> (), Touched::Range(AccessKind::RangeWrite);
        /// [`Writer::map_first`].
        map_first() -> Option<(Vec<u8>, Vec<u8>)>, Touched::Range(AccessKind::RangeRead);
        /// [`Writer::map_pop_first`].
        map_pop_first() -> Option<(Vec<u8>, Vec<u8>)>, Touched::Range(AccessKind::RangeUpdate);
    }

    /// [`Writer::update`].
    pub fn update<V: AsRef<[u8]>>(
        &mut self,
        state: State,
        key: Key<'_>,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        self.check(state, key, Touched::Cell(AccessKind::Update))?;
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
        self.check(state, key, Touched::Range(AccessKind::RangeRead))?;
        self.writer.map_scan(state, key, range, visit)
    }
}

/// Registers a handler; one of the same name takes the place of the earlier, which is kept for events that it applied.
pub(crate) fn register(store: &StoreInner, handler: Arc<dyn Handler>) -> Result<HandlerId> {
    store.check()?;
    let bytes = handler.name().len();
    if bytes == 0 || bytes > HANDLER_NAME_BYTES_MAX {
        return Err(Error::Options { option: "handler", problem: "a name has 1 to 1,024 bytes".into() });
    }
    let mut handlers = store.handlers.write();
    let is_named = |versions: &Vec<Arc<dyn Handler>>| versions.iter().any(|known| known.name() == handler.name());
    let at = handlers.iter().position(is_named).unwrap_or(handlers.len());
    match handlers.get_mut(at) {
        Some(versions) => {
            versions.retain(|known| known.version() != handler.version());
            versions.push(handler);
        }
        None => handlers.push(vec![handler]),
    }
    Ok(HandlerId(at as u32))
}

/// Has a handler apply an event, and logs whatever of both is shorter.
pub(crate) fn apply(writer: &mut Writer, id: HandlerId, group: KeyGroup, event: &[u8]) -> Result<()> {
    let handler = numbered(writer.store(), id)?;
    let mark = writer.log_mark();
    let now_ms = writer.time_ms();
    let mut applying = Applying::new(writer, group, now_ms, None, None);
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

/// The same with an event that is known by its id: once, whole, and logged with what it read and wrote. False where it was applied before.
pub(crate) fn apply_once(
    writer: &mut Writer,
    (handler_id, handler): (HandlerId, &dyn Handler),
    group: KeyGroup,
    id: EventId,
    event: &[u8],
) -> Result<bool> {
    let applied = writer.store().applied_state()?;
    let mark = writer.begin_event()?;
    // In one step: that it is applied is taken back where it fails.
    let last = match note_applied(writer, applied, group, id) {
        Ok(Noted::Since(last)) => last,
        outcome => {
            writer.end_event();
            return outcome.map(|_| false);
        }
    };
    let now_ms = writer.time_ms();
    let trace = writer.take_trace();
    let mut applying = Applying { trace, ..Applying::new(writer, group, now_ms, None, None) };
    let outcome = crate::error::catch(|| handler.apply(event, &mut applying));
    let Applying { drawn, modes, mut trace, .. } = applying;
    if outcome.is_ok() && (!modes.state || !trace.accesses.is_empty()) {
        let accesses = &mut trace.scratch;
        accesses.clear();
        trace.accesses.iter().for_each(|access| access.push(accesses));
        let accesses = Accesses::new(accesses).unwrap_or_default();
        let logged = Event { handler: handler_id.0, group, now_ms, event, determinants: &drawn };
        writer.log_traced(mark, (handler.name(), handler.version()), (id, logged), accesses);
    }
    trace.accesses.clear();
    writer.put_trace(trace);
    let outcome = outcome.or_else(|error| {
        put_applied(writer, applied, (group, id.source), last)?;
        Err(error)
    });
    writer.end_event();
    outcome?;
    triggers::look(writer, (group, now_ms), (id, event))?;
    Ok(true)
}

/// What came of noting that an event is applied.
enum Noted {
    /// It, or one behind it, was applied before.
    Before,
    /// It is noted; the last one before it.
    Since(Option<[u8; 8]>),
}

/// Notes that an event is applied, unless its key group knows that it, or one behind it, was.
fn note_applied(writer: &mut Writer, applied: State, group: KeyGroup, id: EventId) -> Result<Noted> {
    let (source, mut noted) = (id.source.to_be_bytes(), Noted::Before);
    writer.update(applied, Key::new(group, &source), |last| {
        let last: Option<[u8; 8]> = last.and_then(|last| last.try_into().ok());
        if last.is_some_and(|last| id.offset <= u64::from_le_bytes(last)) {
            return last;
        }
        noted = Noted::Since(last);
        Some(id.offset.to_le_bytes())
    })?;
    Ok(noted)
}

/// Puts what an event noted back to what it was.
fn put_applied(writer: &mut Writer, applied: State, at: (KeyGroup, u32), last: Option<[u8; 8]>) -> Result<()> {
    let source = at.1.to_be_bytes();
    let key = Key::new(at.0, &source);
    match last {
        Some(last) => writer.put(applied, key, &last),
        None => writer.delete(applied, key),
    }
}

/// The handler of a number.
pub(crate) fn numbered(store: &StoreInner, id: HandlerId) -> Result<Arc<dyn Handler>> {
    let handler = store.handlers.read().get(id.0 as usize).and_then(|versions| versions.last().cloned());
    handler.ok_or_else(|| unknown(&format!("number {}", id.0)))
}

/// Applies an event again, as the changelog has it; whether it asked for all determinants that it asked for then.
pub(crate) fn again(
    writer: &mut Writer,
    handler: &dyn Handler,
    id: Option<EventId>,
    event: Event<'_>,
    watch: Option<&mut (dyn Watch + 'static)>,
) -> Result<bool> {
    writer.set_time_ms(event.now_ms);
    let Event { group, now_ms, event, determinants, .. } = event;
    let mut applying = Applying::new(writer, group, now_ms, Some(determinants), watch);
    let outcome = crate::error::catch(|| handler.apply(event, &mut applying));
    let asked_all = applying.logged.is_none_or(<[u8]>::is_empty);
    writer.set_time_ms(0);
    outcome?;
    if let Some(id) = id {
        let applied = writer.store().applied_state()?;
        put_applied(writer, applied, (group, id.source), Some(id.offset.to_le_bytes()))?;
    }
    Ok(asked_all)
}

/// What is said of a handler that did something else than the first time.
pub(crate) fn asks_less(handler: &dyn Handler) -> Error {
    Error::Background(format!("handler {:?} asks for less than it did before", handler.name()))
}

/// A handler of this name and version.
pub(crate) fn find(store: &StoreInner, name: &str, version: u32) -> Result<Arc<dyn Handler>> {
    let handlers = store.handlers.read();
    let named = handlers.iter().flatten().filter(|handler| handler.name() == name);
    let mut latest = None;
    for handler in named {
        if handler.version() == version {
            return Ok(Arc::clone(handler));
        }
        latest = Some(handler.version());
    }
    let Some(latest) = latest else { return Err(unknown(name)) };
    let problem = format!("version {latest} is registered, the changelog has events of version {version}");
    Err(Error::Handler { handler: name.to_owned(), problem })
}

fn unknown(name: &str) -> Error {
    Error::Handler { handler: name.to_owned(), problem: "not registered since the store was opened".into() }
}

/// Where a buffer of the changelog stood before an event was applied.
pub(crate) type LogMark = Mark;
