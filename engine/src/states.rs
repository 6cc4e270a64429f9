//! States: what kinds there are, how their values are merged, when they expire.

use crate::convert::{Convert, is_name};
use crate::error::{Error, Result};
use crate::ids::StateId;
use crate::multiset;
use std::fmt;
use std::sync::Arc;

/// The longest name of a state or of a merge operator, in bytes.
pub const STATE_NAME_BYTES_MAX: usize = 1_024;
/// What the names of the engine's own states begin with.
pub(crate) const RESERVED_PREFIX: &str = "alluvium.";
/// How long the names and schemas of all states of a store may be together, in bytes (64 MiB): each manifest holds them.
pub const STATES_BYTES_MAX: usize = 64 << 20;

/// Which kind of state it is. The number stands in manifests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StateKind {
    /// One value per (key, namespace).
    Value = 0,
    /// A list per (key, namespace), appended to without being read.
    List = 1,
    /// An ordered map per (key, namespace).
    Map = 2,
    /// One value per (key, namespace), changed by a merge operator without being read.
    Merging = 3,
}

impl StateKind {
    /// The kind of this number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Value),
            1 => Some(Self::List),
            2 => Some(Self::Map),
            3 => Some(Self::Merging),
            _ => None,
        }
    }

    /// Whether values expire or not for good: a list's bytes are laid out otherwise, and what operands without expiry
    /// came to on top of a value with one would depend on whether they were folded before it expired.
    pub(crate) const fn settles_expiry(self) -> bool {
        matches!(self, Self::List | Self::Merging)
    }
}

/// When values expire. The clock is the caller's ([`Writer::set_time_ms`](crate::Writer::set_time_ms)).
///
/// For lists it is the elements that expire, each by itself; for maps the entries. A merging state's value expires as a
/// whole: each operand starts its time anew, and begins a new value where the old one has expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ttl {
    /// How long a value lives after it was written, in ms; at least 1.
    pub duration_ms: u64,
    /// Whether reading a value or entry starts its time anew. It is rewritten only where that moves its expiry by
    /// more than a sixteenth of the duration. Elements of lists are never refreshed.
    pub refresh_on_read: bool,
}

impl Ttl {
    /// The bytes that stand in a manifest.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = self.duration_ms.to_le_bytes().to_vec();
        bytes.push(u8::from(self.refresh_on_read));
        bytes
    }

    /// What [`Ttl::encode`] made; `None` for other bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (duration_ms, rest) = bytes.split_first_chunk::<8>()?;
        let refresh_on_read = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Self { duration_ms: u64::from_le_bytes(*duration_ms), refresh_on_read })
    }
}

/// Values that carry the time of their writing themselves, as some hosts' values do: compaction drops what is too old by
/// the caller's clock ([`Writer::set_time_ms`](crate::Writer::set_time_ms)), and reads return what is there. So whoever reads
/// has to look whether a value is too old; purging only gives its room back, some time or other.
///
/// Of lists each element has its own time, of maps each entry; a merging state's value is judged as a whole, when it
/// is whole. A value that is too short for a time stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Purge {
    /// How long after its time a value may go, in ms; at least 1.
    pub duration_ms: u64,
    /// Where in a value (an element, an entry's value) its time begins: ms since 1970 as a big-endian i64.
    pub time_at: u32,
}

impl Purge {
    /// Whether a value may go at `now_ms`.
    pub(crate) fn is_due(self, value: &[u8], now_ms: u64) -> bool {
        let time = value.get(self.time_at as usize..).and_then(|rest| rest.first_chunk::<8>());
        let time_ms = time.map(|bytes| i64::from_be_bytes(*bytes));
        time_ms.is_some_and(|time_ms| i128::from(time_ms) + i128::from(self.duration_ms) <= i128::from(now_ms))
    }
}

/// The bytes that stand in a manifest for when a state's values expire, or may be purged: never both.
pub(crate) fn encode_expiry(ttl: Option<Ttl>, purge: Option<Purge>) -> Option<Vec<u8>> {
    let purge = || {
        purge.map(|purge| {
            let mut bytes = purge.duration_ms.to_le_bytes().to_vec();
            bytes.push(PURGE_MARK);
            bytes.extend_from_slice(&purge.time_at.to_le_bytes());
            bytes
        })
    };
    ttl.map(Ttl::encode).or_else(purge)
}

/// What [`encode_expiry`] made of one of them; `None` for other bytes.
pub(crate) fn decode_expiry(bytes: &[u8]) -> Option<(Option<Ttl>, Option<Purge>)> {
    if let Some(ttl) = Ttl::decode(bytes) {
        return Some((Some(ttl), None));
    }
    let (duration_ms, rest) = bytes.split_first_chunk::<8>()?;
    let (&PURGE_MARK, time_at) = rest.split_first()? else { return None };
    let time_at = u32::from_le_bytes(time_at.try_into().ok()?);
    Some((None, Some(Purge { duration_ms: u64::from_le_bytes(*duration_ms), time_at })))
}

/// The byte behind the duration where values are purged; a time to live has 0 or 1 there.
const PURGE_MARK: u8 = 2;

/// A merge function of a host's own.
///
/// It must be associative: values and operands are folded in groups, oldest first, in memory and in compaction.
pub trait Merge: Send + Sync {
    /// The name that stands in manifests; a store is reopened with an operator of the same name. It has 1 to 1,024 bytes,
    /// always the same, and is not that of a built-in operator.
    fn name(&self) -> &str;

    /// `older` and then `newer`, into one operand. Either may be a full value. `out` is empty.
    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>);

    /// The operand that takes away what `operand` added, at any place in the order of operands; `None` where there is none. With one, a bad
    /// event that only added is taken back by adding it ([`Way::Inverse`](crate::Way::Inverse)).
    fn invert(&self, _operand: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Whether a value says no more than no value: then it goes when all that was added is taken away.
    fn is_identity(&self, _value: &[u8]) -> bool {
        false
    }
}

/// How operands combine.
#[derive(Clone)]
pub enum MergeOperator {
    /// Sum of little-endian u64, wrapping.
    U64Add,
    /// Smallest little-endian u64.
    U64Min,
    /// Greatest little-endian u64.
    U64Max,
    /// Sum of little-endian i64, wrapping.
    I64Add,
    /// Smallest little-endian i64.
    I64Min,
    /// Greatest little-endian i64.
    I64Max,
    /// Sum of little-endian f64. Floating point sums depend on the order of addition in their last digits.
    F64Add,
    /// Smallest little-endian f64 (NaN loses).
    F64Min,
    /// Greatest little-endian f64 (NaN loses).
    F64Max,
    /// Counts of elements; operands and values are [multisets](crate::multiset).
    Multiset,
    /// A host's own.
    User(Arc<dyn Merge>),
}

impl fmt::Debug for MergeOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MergeOperator {
    /// The name that stands in manifests.
    pub fn name(&self) -> &str {
        match self {
            Self::U64Add => "u64-add",
            Self::U64Min => "u64-min",
            Self::U64Max => "u64-max",
            Self::I64Add => "i64-add",
            Self::I64Min => "i64-min",
            Self::I64Max => "i64-max",
            Self::F64Add => "f64-add",
            Self::F64Min => "f64-min",
            Self::F64Max => "f64-max",
            Self::Multiset => "multiset",
            Self::User(operator) => operator.name(),
        }
    }

    /// The built-in operator of this name.
    pub fn built_in(name: &str) -> Option<Self> {
        let all = [
            Self::U64Add,
            Self::U64Min,
            Self::U64Max,
            Self::I64Add,
            Self::I64Min,
            Self::I64Max,
            Self::F64Add,
            Self::F64Min,
            Self::F64Max,
            Self::Multiset,
        ];
        all.into_iter().find(|operator| operator.name() == name)
    }

    /// Whether an operand has a form that the operator takes: multisets, or 8 bytes for the other built-in ones.
    pub fn accepts(&self, operand: &[u8]) -> bool {
        match self {
            Self::User(_) => true,
            Self::Multiset => multiset::elements(operand).is_ok(),
            _ => operand.len() == 8,
        }
    }

    /// The operand that takes away what another added; `None` where there is none. Sums of floating point numbers have none: they depend on
    /// the order of addition.
    pub fn invert(&self, operand: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::U64Add | Self::I64Add => {
                let operand = i64::from_le_bytes(*operand.first_chunk::<8>()?);
                Some(operand.wrapping_neg().to_le_bytes().to_vec())
            }
            Self::Multiset => multiset::inverse(operand),
            Self::User(operator) => operator.invert(operand),
            _ => None,
        }
    }

    /// Whether a value says no more than no value: a sum of 0, an empty multiset.
    pub fn is_identity(&self, value: &[u8]) -> bool {
        match self {
            Self::U64Add | Self::I64Add => value == [0; 8],
            Self::Multiset => value.is_empty(),
            Self::User(operator) => operator.is_identity(value),
            _ => false,
        }
    }

    /// `older` and then `newer` into `out`, which is empty. What comes of bytes that the operator doesn't accept is no
    /// value.
    pub fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::User(operator) => return operator.merge(older, newer, out),
            Self::Multiset => return multiset::merge(older, newer, out),
            _ => {}
        }
        let (Some(&a), Some(&b)) = (older.first_chunk::<8>(), newer.first_chunk::<8>()) else {
            // `StateDef::check_operand` lets nothing else into a store.
            out.extend_from_slice(newer);
            return;
        };
        let (ua, ub) = (u64::from_le_bytes(a), u64::from_le_bytes(b));
        let (ia, ib) = (i64::from_le_bytes(a), i64::from_le_bytes(b));
        let (fa, fb) = (f64::from_le_bytes(a), f64::from_le_bytes(b));
        let merged = match self {
            Self::U64Add => ua.wrapping_add(ub).to_le_bytes(),
            Self::U64Min => ua.min(ub).to_le_bytes(),
            Self::U64Max => ua.max(ub).to_le_bytes(),
            Self::I64Add => ia.wrapping_add(ib).to_le_bytes(),
            Self::I64Min => ia.min(ib).to_le_bytes(),
            Self::I64Max => ia.max(ib).to_le_bytes(),
            Self::F64Add => (fa + fb).to_le_bytes(),
            Self::F64Min => fa.min(fb).to_le_bytes(),
            Self::F64Max | Self::Multiset | Self::User(_) => fa.max(fb).to_le_bytes(),
        };
        out.extend_from_slice(&merged);
    }
}

/// How a state is registered.
#[derive(Clone, Debug)]
pub struct StateOptions {
    pub(crate) name: String,
    pub(crate) kind: StateKind,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) purge: Option<Purge>,
    pub(crate) merge: Option<MergeOperator>,
    pub(crate) user: Vec<u8>,
    pub(crate) log: LogMode,
    pub(crate) traced: bool,
    pub(crate) conversions: Vec<Arc<dyn Convert>>,
}

/// How changes that a [`Handler`](crate::Handler) makes for an event get into the changelog. It counts for what is applied from the
/// registration on; others are always logged as what they changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogMode {
    /// As what was changed. An event that changes any such state is logged so as a whole.
    #[default]
    State,
    /// As the event, which recovery applies again.
    Event,
    /// As whatever of both is shorter. So is an event that changes such states and those of [`LogMode::Event`].
    Auto,
}

impl StateOptions {
    fn new(name: &str, kind: StateKind) -> Self {
        let (name, user, conversions) = (name.to_owned(), Vec::new(), Vec::new());
        Self { name, kind, ttl: None, purge: None, merge: None, user, log: LogMode::State, traced: false, conversions }
    }

    /// How changes that a handler makes for an event are logged.
    #[must_use]
    pub fn log(self, log: LogMode) -> Self {
        Self { log, ..self }
    }

    /// Which events read and wrote its keys is logged ([`Writer::apply_event_once`](crate::Writer::apply_event_once)): some bytes for each
    /// event, by which it can be found out what depends on it.
    #[must_use]
    pub fn traced(self) -> Self {
        Self { traced: true, ..self }
    }

    /// One value per (key, namespace).
    pub fn value(name: &str) -> Self {
        Self::new(name, StateKind::Value)
    }

    /// A list per (key, namespace).
    pub fn list(name: &str) -> Self {
        Self::new(name, StateKind::List)
    }

    /// An ordered map per (key, namespace).
    pub fn map(name: &str) -> Self {
        Self::new(name, StateKind::Map)
    }

    /// One value per (key, namespace), changed by a merge operator.
    pub fn merging(name: &str, operator: MergeOperator) -> Self {
        Self { merge: Some(operator), ..Self::new(name, StateKind::Merging) }
    }

    /// Values expire. Without it they don't, also where the state was registered with a time to live before
    /// ([`Store::state`](crate::Store::state)). Of lists and merging states it is settled when they are made.
    #[must_use]
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Values carry their time themselves, and compaction drops those that are too old. Not together with
    /// [`StateOptions::ttl`].
    #[must_use]
    pub fn purge(self, purge: Purge) -> Self {
        Self { purge: Some(purge), ..self }
    }

    /// The host's schema: opaque bytes that are kept with the state and given back; empty, what is known of it stays. The
    /// names and schemas of a store have 64 MiB together ([`STATES_BYTES_MAX`]).
    #[must_use]
    pub fn user(self, schema: &[u8]) -> Self {
        Self { user: schema.to_vec(), ..self }
    }

    /// A conversion that a migration of the state goes on with ([`Store::migrate`](crate::Store::migrate)): after a store was
    /// opened in the middle of it, the values of the older schema can't be read before the conversion of the same name
    /// is there. One that nothing needs any more does no harm; where several migrations are under way, each has its own.
    #[must_use]
    pub fn conversion(mut self, conversion: Arc<dyn Convert>) -> Self {
        self.conversions.push(conversion);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refused = |problem: &str| Err(Error::State { state: self.name.clone(), problem: problem.to_owned() });
        if self.conversions.iter().any(|conversion| !is_name(conversion.name())) {
            return refused("a conversion's name has 1 to 1,024 bytes");
        }
        if !is_name(&self.name) {
            return refused("a name has 1 to 1,024 bytes");
        }
        if let Some(MergeOperator::User(operator)) = &self.merge {
            if !is_name(operator.name()) {
                return refused("a merge operator's name has 1 to 1,024 bytes");
            }
            // When the store is opened again, the built-in one would take its place.
            if MergeOperator::built_in(operator.name()).is_some() {
                return refused("a merge operator of the host's own has the name of a built-in one");
            }
        }
        if self.name.starts_with(RESERVED_PREFIX) {
            return refused("names that begin with \"alluvium.\" are the engine's own");
        }
        if self.ttl.is_some_and(|ttl| ttl.duration_ms == 0) {
            return refused("a time to live is at least 1 ms");
        }
        if self.purge.is_some_and(|purge| purge.duration_ms == 0) {
            return refused("values are purged after at least 1 ms");
        }
        if self.ttl.is_some() && self.purge.is_some() {
            return refused("values expire, or are purged by their own time, not both");
        }
        Ok(())
    }
}

/// A registered state.
#[derive(Clone, Debug)]
pub struct StateDef {
    /// Its number.
    pub id: StateId,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// When values expire.
    pub ttl: Option<Ttl>,
    /// When compaction drops values that carry their time themselves.
    pub purge: Option<Purge>,
    /// How operands combine; only for merging states.
    pub merge: Option<MergeOperator>,
    /// The name of the merge operator, also while the host has not brought the operator yet.
    pub merge_name: String,
    /// The host's schema.
    pub user: Vec<u8>,
    /// How changes that handlers make are logged; as registered last since the store was opened.
    pub log: LogMode,
    /// Whether it is logged which events read and wrote its keys; as registered last since the store was opened.
    pub traced: bool,
    /// Which conversions led to its schema: 0 for none, else equal only where they were the same
    /// ([`lineage_of`](crate::convert::lineage_of)).
    pub lineage: u64,
}

/// The definition of a state that is registered for the first time.
pub fn definition(id: StateId, options: StateOptions) -> StateDef {
    let StateOptions { name, kind, ttl, purge, merge, user, log, traced, conversions: _ } = options;
    let merge_name = merge.as_ref().map_or_else(String::new, |operator| operator.name().to_owned());
    StateDef { id, name, kind, ttl, purge, merge, merge_name, user, log, traced, lineage: 0 }
}

impl StateDef {
    /// Whether it is a value state whose values don't expire.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.kind == StateKind::Value && self.ttl.is_none()
    }

    /// Whether reading a value moves its expiry.
    #[inline]
    pub(crate) fn refreshes(&self) -> bool {
        self.ttl.is_some_and(|ttl| ttl.refresh_on_read)
    }

    /// How long its names and schema are together, in bytes.
    pub(crate) fn described_bytes(&self) -> usize {
        self.name.len() + self.merge_name.len() + self.user.len()
    }

    /// The operator of a merging state; fails where the host has not brought it yet.
    pub(crate) fn operator(&self) -> Result<&MergeOperator> {
        self.merge.as_ref().ok_or_else(|| {
            let name = &self.merge_name;
            let problem = format!("its merge operator {name:?} was not registered since the store was opened");
            Error::State { state: self.name.clone(), problem }
        })
    }

    /// Fails where values are merged by an operator that the host has not brought yet.
    pub(crate) fn check_operator(&self) -> Result<()> {
        if self.kind == StateKind::Merging { self.operator().map(drop) } else { Ok(()) }
    }

    /// Checks what is about to go into a merging state, as a value or as an operand: what the operator doesn't take
    /// would be lost without a word when it is merged.
    pub(crate) fn check_operand(&self, operand: &[u8]) -> Result<()> {
        let operator = self.operator()?;
        if operator.accepts(operand) {
            return Ok(());
        }
        let form = if matches!(operator, MergeOperator::Multiset) { "that are multisets" } else { "of 8 bytes" };
        let problem = format!("{operator:?} takes values and operands {form}, not these {} bytes", operand.len());
        Err(Error::State { state: self.name.clone(), problem })
    }

    /// Whether compaction may drop a whole value.
    pub(crate) fn is_due(&self, value: &[u8], now_ms: u64) -> bool {
        self.kind != StateKind::List && self.purge.is_some_and(|purge| purge.is_due(value, now_ms))
    }

    /// Drops the elements of a list that compaction may drop.
    pub(crate) fn purge_list(&self, bytes: &mut Vec<u8>, now_ms: u64) {
        let Some(purge) = self.purge.filter(|_| self.kind == StateKind::List) else { return };
        if !frames(bytes, false).any(|(_, element)| purge.is_due(element, now_ms)) {
            return;
        }
        let mut kept = Vec::with_capacity(bytes.len());
        for (_, element) in frames(bytes, false).filter(|(_, element)| !purge.is_due(element, now_ms)) {
            push_framed(&mut kept, element, None);
        }
        *bytes = kept;
    }

    /// Folds operands (oldest first) over a base into one value or operand.
    ///
    /// Lists are put one after another; where their elements expire, those up to `now_ms` are left out.
    pub fn fold<'a>(&self, base: Option<&'a [u8]>, operands: impl Iterator<Item = &'a [u8]>, now_ms: u64) -> Vec<u8> {
        let parts = base.into_iter().chain(operands);
        match (&self.merge, self.kind) {
            (Some(operator), _) => {
                let mut folded: Option<Vec<u8>> = None;
                for part in parts {
                    folded = Some(match folded {
                        None => part.to_vec(),
                        Some(older) => {
                            let mut out = Vec::with_capacity(older.len());
                            operator.merge(&older, part, &mut out);
                            out
                        }
                    });
                }
                folded.unwrap_or_default()
            }
            (None, StateKind::List) if self.ttl.is_some() => {
                let mut out = Vec::new();
                for part in parts {
                    retain_frames(part, now_ms, &mut out);
                }
                out
            }
            _ => joined(parts),
        }
    }

    /// As [`StateDef::fold`], where what comes of it may not be longer than so many bytes: its parts are added without reading the others.
    ///
    /// # Errors
    /// [`Error::TooLong`] where it would be.
    pub fn fold_within<'a>(
        &self,
        base: Option<&'a [u8]>,
        operands: impl Iterator<Item = &'a [u8]> + Clone,
        now_ms: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        let check = |bytes: usize| {
            if bytes > max_bytes { Err(Error::TooLong { what: "value", bytes, max_bytes }) } else { Ok(()) }
        };
        if self.merge.is_none() && self.ttl.is_none() {
            // Before there is one more copy of all of it.
            check(base.into_iter().chain(operands.clone()).map(<[u8]>::len).sum())?;
        }
        let folded = self.fold(base, operands, now_ms);
        check(folded.len())?;
        Ok(folded)
    }
}

/// Byte strings, one after another.
pub fn joined<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    parts.for_each(|part| out.extend_from_slice(part));
    out
}

/// The frame before a list's element: its length, and its expiry where the state has a time to live.
pub fn frame(element: &[u8], expiry_ms: Option<u64>) -> Frame {
    let mut bytes = [0; 18];
    let mut len = 0;
    let mut rest = element.len();
    loop {
        let more = rest >= 0x80;
        bytes[len] = (rest & 0x7F) as u8 | if more { 0x80 } else { 0 };
        len += 1;
        rest >>= 7;
        if !more {
            break;
        }
    }
    if let Some(expiry_ms) = expiry_ms {
        bytes[len..len + 8].copy_from_slice(&expiry_ms.to_le_bytes());
        len += 8;
    }
    Frame { bytes, len }
}

/// Elements of a list in their [frames](frame), one after another.
pub fn framed(elements: &[&[u8]], expiry_ms: Option<u64>) -> Vec<u8> {
    // Most frames have one byte of length.
    let expiry_bytes = if expiry_ms.is_some() { 8 } else { 0 };
    let mut bytes = Vec::with_capacity(elements.iter().map(|element| element.len() + 1 + expiry_bytes).sum());
    elements.iter().for_each(|element| push_framed(&mut bytes, element, expiry_ms));
    bytes
}

/// Appends an element in its [frame]. Most are short, and many are one number: those are copied without a call.
#[inline]
pub fn push_framed(out: &mut Vec<u8>, element: &[u8], expiry_ms: Option<u64>) {
    match (u8::try_from(element.len()), expiry_ms) {
        (Ok(len @ ..0x80), None) => out.push(len),
        _ => out.extend_from_slice(frame(element, expiry_ms).as_bytes()),
    }
    match <&[u8; 8]>::try_from(element) {
        Ok(number) => out.extend_from_slice(number),
        Err(_) => out.extend_from_slice(element),
    }
}

/// See [`frame`].
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    bytes: [u8; 18],
    len: usize,
}

impl Frame {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The elements of a list's bytes: (expiry in ms, element). It ends early where the bytes are no frames.
pub fn frames(mut bytes: &[u8], expiring: bool) -> impl Iterator<Item = (Option<u64>, &[u8])> {
    std::iter::from_fn(move || {
        let mut len = 0_usize;
        let mut shift = 0;
        loop {
            let (&byte, rest) = bytes.split_first()?;
            bytes = rest;
            len |= usize::from(byte & 0x7F).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 35 {
                return None;
            }
        }
        let expiry_ms = if expiring {
            let (expiry_ms, rest) = bytes.split_first_chunk::<8>()?;
            bytes = rest;
            Some(u64::from_le_bytes(*expiry_ms))
        } else {
            None
        };
        let (element, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        Some((expiry_ms, element))
    })
}

fn retain_frames(bytes: &[u8], now_ms: u64, out: &mut Vec<u8>) {
    for (expiry_ms, element) in frames(bytes, true) {
        if expiry_ms.is_none_or(|at| at > now_ms) {
            push_framed(out, element, expiry_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_out_of_their_frames() {
        let long = vec![3_u8; 70_000];
        for expiry_ms in [None, Some(7)] {
            // Around what is copied without a call, and what has one byte of length.
            let all: [&[u8]; 8] = [b"", b"a", &[4; 7], &[5; 8], &[6; 9], &[7; 0x7F], &[8; 0x80], &long];
            let bytes = framed(&all, expiry_ms);
            let one_by_one: Vec<u8> =
                all.iter().flat_map(|element| [frame(element, expiry_ms).as_bytes(), element].concat()).collect();
            assert_eq!(bytes, one_by_one);
            let elements: Vec<_> = frames(&bytes, expiry_ms.is_some()).collect();
            assert_eq!(elements, all.map(|element| (expiry_ms, element)));
        }
    }

    /// An older version let operators have empty names.
    #[test]
    fn whether_an_operator_is_missing_is_told_by_the_kind() {
        let mut def = StateDef {
            id: StateId(0),
            name: "sum".into(),
            kind: StateKind::Merging,
            ttl: None,
            purge: None,
            merge: None,
            merge_name: String::new(),
            user: Vec::new(),
            log: LogMode::State,
            traced: false,
            lineage: 0,
        };
        assert!(def.check_operator().is_err() && def.check_operand(b"12345678").is_err());
        def.merge = Some(MergeOperator::U64Add);
        assert!(def.check_operator().is_ok() && def.check_operand(b"12345678").is_ok());
        assert!(def.check_operand(b"1234567").is_err());
        def = StateDef { kind: StateKind::Value, merge: None, ..def };
        assert!(def.check_operator().is_ok());
    }

    #[test]
    fn a_fold_leaves_expired_elements_out() {
        let def = StateDef {
            id: StateId(0),
            name: "list".into(),
            kind: StateKind::List,
            ttl: Some(Ttl { duration_ms: 1, refresh_on_read: false }),
            purge: None,
            merge: None,
            merge_name: String::new(),
            user: Vec::new(),
            log: LogMode::State,
            traced: false,
            lineage: 0,
        };
        let part = |element: &[u8], at| [frame(element, Some(at)).as_bytes(), element].concat();
        let (old, new) = (part(b"old", 5), part(b"new", 15));
        assert_eq!(def.fold(Some(&old), [&new[..]].into_iter(), 10), new);
        assert_eq!(def.fold(Some(&old), [&new[..]].into_iter(), 4), [old, new].concat());
    }

    #[test]
    fn built_in_operators_do_what_their_names_say() {
        let merge = |operator: MergeOperator, a: [u8; 8], b: [u8; 8]| {
            let mut out = Vec::new();
            operator.merge(&a, &b, &mut out);
            out
        };
        assert_eq!(merge(MergeOperator::U64Add, 3_u64.to_le_bytes(), 4_u64.to_le_bytes()), 7_u64.to_le_bytes());
        assert_eq!(merge(MergeOperator::U64Min, 3_u64.to_le_bytes(), 4_u64.to_le_bytes()), 3_u64.to_le_bytes());
        assert_eq!(merge(MergeOperator::U64Max, 3_u64.to_le_bytes(), 4_u64.to_le_bytes()), 4_u64.to_le_bytes());
        assert_eq!(merge(MergeOperator::I64Add, (-3_i64).to_le_bytes(), 4_i64.to_le_bytes()), 1_i64.to_le_bytes());
        assert_eq!(merge(MergeOperator::I64Min, (-3_i64).to_le_bytes(), 4_i64.to_le_bytes()), (-3_i64).to_le_bytes());
        assert_eq!(merge(MergeOperator::I64Max, (-3_i64).to_le_bytes(), 4_i64.to_le_bytes()), 4_i64.to_le_bytes());
        assert_eq!(merge(MergeOperator::F64Add, 0.5_f64.to_le_bytes(), 4_f64.to_le_bytes()), 4.5_f64.to_le_bytes());
        assert_eq!(merge(MergeOperator::F64Min, 0.5_f64.to_le_bytes(), 4_f64.to_le_bytes()), 0.5_f64.to_le_bytes());
        assert_eq!(merge(MergeOperator::F64Max, 0.5_f64.to_le_bytes(), 4_f64.to_le_bytes()), 4_f64.to_le_bytes());
        for name in ["u64-add", "i64-min", "f64-max"] {
            assert_eq!(MergeOperator::built_in(name).map(|operator| operator.name().to_owned()).as_deref(), Some(name));
        }
    }
}
