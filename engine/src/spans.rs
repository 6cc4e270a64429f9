//! Spans of user keys: what of a map was deleted by range, each with the number of its deletion.
//!
//! The spans of a set are in ascending order and have no key in common: where two deletions overlap, the later one
//! counts. What touches and has the same number is one span. So a range that grows from call to call stays one.
//!
//! Three things are such sets: what a map's marker in memory hides of the segments (the number is the epoch), which entries
//! of a map left its order and aren't freed yet (the number is that of the cut), and the value of a *Clear* in a segment:
//!
//! ```text
//! a Clear's value     nothing: all of the container       else spans, one behind the other
//! a span              len(from) varint | from | end varint: 0 no end, else len(to) + 1 | to
//! a marker's value    the same with the epoch, u32, before each span; never empty
//! ```
//!
//! Pure: bytes to spans and back, no panic on any input.

use crate::codec::{push_varint, u32_at, varint_at};
use crate::key::USER_KEY_BYTES_MAX;

/// The longest end of a span: the first key behind the longest user key.
pub const END_BYTES_MAX: usize = USER_KEY_BYTES_MAX + 1;

/// User keys from one on up to another, left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The first.
    pub from: Vec<u8>,
    /// The first behind it; `None`: there is no end.
    pub to: Option<Vec<u8>>,
    /// Of the deletion; 0 where they aren't told apart.
    pub number: u32,
}

/// A set of spans; see the module's head.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spans {
    spans: Vec<Span>,
}

/// A span where it lies among others' bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanRef<'a> {
    /// See [`Span::from`].
    pub from: &'a [u8],
    /// See [`Span::to`].
    pub to: Option<&'a [u8]>,
    /// See [`Span::number`].
    pub number: u32,
}

impl SpanRef<'_> {
    /// Whether a user key lies in it.
    pub fn has(&self, user_key: &[u8]) -> bool {
        self.from <= user_key && self.to.is_none_or(|to| user_key < to)
    }

    fn to_span(self, number: u32) -> Span {
        Span { from: self.from.to_vec(), to: self.to.map(<[u8]>::to_vec), number }
    }
}

impl Span {
    fn as_ref(&self) -> SpanRef<'_> {
        SpanRef { from: &self.from, to: self.to.as_deref(), number: self.number }
    }
}

/// Takes spans apart where they lie; ends where there are no more, or at bytes that are none.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    bytes: &'a [u8],
    at: usize,
    numbered: bool,
}

impl<'a> Encoded<'a> {
    /// A marker's value.
    pub const fn numbered(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, numbered: true }
    }

    /// A Clear's value that isn't empty.
    pub const fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, numbered: false }
    }

    fn piece(&self, at: usize, len: u64) -> Option<(&'a [u8], usize)> {
        let len = usize::try_from(len).ok().filter(|&len| len <= END_BYTES_MAX)?;
        let piece = self.bytes.get(at..)?.get(..len)?;
        Some((piece, at + len))
    }
}

impl<'a> Iterator for Encoded<'a> {
    type Item = SpanRef<'a>;

    fn next(&mut self) -> Option<SpanRef<'a>> {
        let mut at = self.at;
        let mut number = 0;
        if self.numbered {
            number = u32_at(self.bytes, at)?;
            at += 4;
        }
        let (len, at) = varint_at(self.bytes, at)?;
        let (from, at) = self.piece(at, len)?;
        let (end, at) = varint_at(self.bytes, at)?;
        let (to, at) = match end.checked_sub(1) {
            None => (None, at),
            Some(len) => {
                let (to, at) = self.piece(at, len)?;
                (Some(to), at)
            }
        };
        self.at = at;
        Some(SpanRef { from, to, number })
    }
}

/// Whether a Clear may have this value: nothing, or spans in order that are apart from each other and not everything.
pub fn is_clear_value(bytes: &[u8]) -> bool {
    let mut spans = Encoded::plain(bytes);
    let mut last: Option<SpanRef<'_>> = None;
    for span in &mut spans {
        let follows = last.is_none_or(|last| last.to.is_some_and(|to| to < span.from));
        let is_all = span.from.is_empty() && span.to.is_none();
        if !follows || is_all || span.to.is_some_and(|to| to <= span.from) {
            return false;
        }
        last = Some(span);
    }
    spans.at == bytes.len()
}

/// Whether a Clear of this value hides a user key.
pub fn clears(value: &[u8], user_key: &[u8]) -> bool {
    value.is_empty() || Encoded::plain(value).take_while(|span| span.from <= user_key).any(|span| span.has(user_key))
}

/// Whether the spans of a marker with numbers above `above` hide a user key.
pub fn hides(marker: &[u8], above: u32, user_key: &[u8]) -> bool {
    let mut spans = Encoded::numbered(marker).take_while(|span| span.from <= user_key);
    spans.any(|span| span.number > above && span.has(user_key))
}

/// Whether they hide every user key.
pub fn hides_all(marker: &[u8], above: u32) -> bool {
    let mut end: &[u8] = &[];
    for span in Encoded::numbered(marker) {
        if span.number <= above || span.from != end {
            return false;
        }
        match span.to {
            Some(to) => end = to,
            None => return true,
        }
    }
    false
}

impl Spans {
    /// Those of a marker with numbers above `above`.
    pub fn of_marker(value: &[u8], above: u32) -> Self {
        let spans = Encoded::numbered(value).filter(|span| span.number > above);
        Self { spans: spans.map(|span| span.to_span(span.number)).collect() }
    }

    /// Those of a Clear whose value isn't empty.
    pub fn of_clear(value: &[u8]) -> Self {
        Self { spans: Encoded::plain(value).map(|span| span.to_span(0)).collect() }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of their keys.
    pub fn key_bytes(&self) -> usize {
        self.spans.iter().map(|span| span.from.len() + span.to.as_ref().map_or(0, Vec::len)).sum()
    }

    /// Whether they are everything, in one.
    pub fn is_all(&self) -> bool {
        matches!(&self.spans[..], [Span { from, to: None, .. }] if from.is_empty())
    }

    /// Adds a span. Whatever others have of it is its from now on.
    pub fn insert(&mut self, from: &[u8], to: Option<&[u8]>, number: u32) {
        if to.is_some_and(|to| to <= from) {
            return;
        }
        let first = self.spans.partition_point(|span| span.to.as_deref().is_some_and(|end| end < from));
        let behind = self.spans[first..].iter().position(|span| to.is_some_and(|to| span.from.as_slice() > to));
        let end = behind.map_or(self.spans.len(), |behind| first + behind);
        // What overlaps it or touches it: of the outermost two something may be left, on either side.
        let mut new = SpanRef { from, to, number }.to_span(number);
        let (mut left, mut right) = (None, None);
        for old in self.spans.drain(first..end) {
            if old.number == number {
                new.to = if old.to.is_none() || new.to.is_none() { None } else { new.to.max(old.to) };
                new.from = new.from.min(old.from);
                continue;
            }
            if old.from.as_slice() < from {
                let to = old.to.as_deref().filter(|&end| end < from).unwrap_or(from).to_vec();
                left = Some(Span { from: old.from.clone(), to: Some(to), number: old.number });
            }
            if let Some(to) = to
                && old.to.as_deref().is_none_or(|end| end > to)
            {
                right = Some(Span { from: to.max(&old.from).to_vec(), to: old.to, number: old.number });
            }
        }
        self.spans.splice(first..first, left.into_iter().chain([new]).chain(right));
    }

    /// The spans, in order.
    pub fn iter(&self) -> impl Iterator<Item = SpanRef<'_>> {
        self.spans.iter().map(Span::as_ref)
    }

    /// Adds all of another set under one number.
    pub fn insert_all(&mut self, other: &Self, number: u32) {
        for span in &other.spans {
            self.insert(&span.from, span.to.as_deref(), number);
        }
    }

    /// Drops those with numbers up to `number`.
    pub fn drop_up_to(&mut self, number: u32) {
        self.spans.retain(|span| span.number > number);
    }

    /// The span that a user key lies in.
    pub fn find(&self, user_key: &[u8]) -> Option<SpanRef<'_>> {
        let after = self.spans.partition_point(|span| span.from.as_slice() <= user_key);
        let span = self.spans[..after].last()?.as_ref();
        span.has(user_key).then_some(span)
    }

    /// A marker's value.
    pub fn to_marker(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() * 12 + self.key_bytes());
        for span in &self.spans {
            out.extend_from_slice(&span.number.to_le_bytes());
            push_span(&mut out, span.as_ref());
        }
        out
    }

    /// A Clear's value; `None` where there are no spans.
    pub fn to_clear(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if !self.is_all() {
            self.spans.iter().for_each(|span| push_span(&mut out, span.as_ref()));
        }
        (!self.is_empty()).then_some(out)
    }
}

/// What a Clear says of the spans of a marker that are of epochs after one up to another; `None` where there are none.
pub fn clear_of_epochs(marker: &[u8], after: u32, up_to: u32) -> Option<Vec<u8>> {
    let mut spans = Spans::default();
    for span in Encoded::numbered(marker).filter(|span| span.number > after && span.number <= up_to) {
        spans.insert(span.from, span.to, 0);
    }
    spans.to_clear()
}

fn push_span(out: &mut Vec<u8>, span: SpanRef<'_>) {
    push_varint(out, span.from.len() as u64);
    out.extend_from_slice(span.from);
    push_varint(out, span.to.map_or(0, |to| to.len() as u64 + 1));
    out.extend_from_slice(span.to.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spans: &[(&str, &str, u32)]) -> Spans {
        let mut set = Spans::default();
        for &(from, to, number) in spans {
            set.insert(from.as_bytes(), (!to.is_empty()).then_some(to.as_bytes()), number);
        }
        set
    }

    fn shown(spans: &Spans) -> Vec<(&str, &str, u32)> {
        let parts = spans.spans.iter().map(|span| {
            let to = span.to.as_deref().unwrap_or_default();
            (str::from_utf8(&span.from).unwrap(), str::from_utf8(to).unwrap(), span.number)
        });
        parts.collect()
    }

    #[test]
    fn a_range_that_grows_stays_one() {
        assert_eq!(shown(&set(&[("", "b", 1), ("", "d", 1), ("", "c", 1)])), [("", "d", 1)]);
        assert_eq!(shown(&set(&[("a", "b", 1), ("b", "c", 1)])), [("a", "c", 1)]);
        assert_eq!(shown(&set(&[("b", "c", 1), ("a", "b", 1)])), [("a", "c", 1)]);
        assert_eq!(shown(&set(&[("", "b", 1), ("", "d", 2)])), [("", "d", 2)]);
        assert_eq!(shown(&set(&[("a", "b", 1), ("c", "d", 1), ("b", "c", 1)])), [("a", "d", 1)]);
        assert_eq!(shown(&set(&[("c", "", 1), ("a", "d", 1)])), [("a", "", 1)]);
        assert!(set(&[("c", "", 1), ("", "d", 1)]).is_all());
    }

    #[test]
    fn where_two_overlap_the_later_one_counts() {
        assert_eq!(shown(&set(&[("a", "m", 1), ("c", "d", 2)])), [("a", "c", 1), ("c", "d", 2), ("d", "m", 1)]);
        assert_eq!(shown(&set(&[("a", "", 1), ("c", "", 2)])), [("a", "c", 1), ("c", "", 2)]);
        assert_eq!(shown(&set(&[("a", "c", 1), ("c", "e", 2)])), [("a", "c", 1), ("c", "e", 2)]);
        assert_eq!(shown(&set(&[("c", "e", 1), ("a", "c", 2)])), [("a", "c", 2), ("c", "e", 1)]);
        assert_eq!(
            shown(&set(&[("a", "c", 1), ("e", "g", 1), ("b", "f", 2)])),
            [("a", "b", 1), ("b", "f", 2), ("f", "g", 1)]
        );
    }

    /// Beside one number for each of 40 keys.
    #[test]
    fn spans_hold_what_a_table_of_all_keys_holds() {
        let seed = std::env::var("ALLUVIUM_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
        println!("ALLUVIUM_TEST_SEED={seed}");
        let mut state = seed;
        let mut below = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        for _ in 0..500 {
            let (mut table, mut spans) = ([0_u32; 40], Spans::default());
            for number in 1..=below(20) as u32 {
                // Often the same number twice, as in one epoch.
                let number = number / 2 + 1;
                let (from, to) = (below(40) as u8, below(44) as u8);
                let end = [to];
                spans.insert(&[from], (to < 40).then_some(&end[..]), number);
                let range = usize::from(from)..usize::from(to.min(40)).max(usize::from(from));
                table[range].fill(number);
                let marker = spans.to_marker();
                assert_eq!(Spans::of_marker(&marker, 0), spans);
                for (key, &wanted) in (0..).zip(&table) {
                    assert_eq!(spans.find(&[key]).map_or(0, |span| span.number), wanted, "{key} in {spans:?}");
                    for above in 0..4 {
                        assert_eq!(hides(&marker, above, &[key]), wanted > above);
                    }
                    let clear = clear_of_epochs(&marker, number - 1, number);
                    assert!(clear.as_ref().is_none_or(|clear| is_clear_value(clear)), "{clear:?}");
                    assert_eq!(clear.is_some_and(|clear| clears(&clear, &[key])), wanted == number);
                }
            }
        }
    }

    #[test]
    fn everything_is_hidden_in_pieces_too() {
        let whole = set(&[("", "", 3), ("b", "c", 4)]).to_marker();
        assert!(hides_all(&whole, 2) && !hides_all(&whole, 3));
        assert!(!hides_all(&set(&[("", "b", 3), ("c", "", 3)]).to_marker(), 0));
        assert!(!hides_all(&set(&[("", "b", 3)]).to_marker(), 0));
        assert!(!hides_all(&[], 0));
        assert_eq!(clear_of_epochs(&whole, 4, 5), None);
        assert_eq!(clear_of_epochs(&set(&[("", "", 3)]).to_marker(), 2, 3), Some(Vec::new()));
    }

    #[test]
    fn spans_of_random_keys_come_back() {
        let mut state = 7_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        for len in 0..300 {
            let mut spans = Spans::default();
            for _ in 0..=byte() % 20 {
                let from: Vec<u8> = (0..len).map(|_| byte()).collect();
                spans.insert(&from, Some(&[&from[..], b"to"].concat()), 0);
            }
            let clear = spans.to_clear().unwrap();
            assert!(is_clear_value(&clear), "{spans:?}");
            assert_eq!(Spans::of_clear(&clear), spans);
        }
    }

    #[test]
    fn what_no_clear_is_written_with_is_refused() {
        let plain = |spans: &[(&str, &str)]| {
            let mut out = Vec::new();
            for &(from, to) in spans {
                let to = (!to.is_empty()).then_some(to.as_bytes());
                push_span(&mut out, SpanRef { from: from.as_bytes(), to, number: 0 });
            }
            out
        };
        assert!(is_clear_value(&plain(&[("a", "b"), ("c", "")])));
        for broken in [
            plain(&[("", "")]),
            plain(&[("b", "a")]),
            plain(&[("a", "a")]),
            plain(&[("a", "b"), ("b", "c")]),
            plain(&[("c", "d"), ("a", "b")]),
            plain(&[("a", ""), ("b", "c")]),
            plain(&[("a", "b")])[..3].to_vec(),
            vec![0xFF; 20],
        ] {
            assert!(!is_clear_value(&broken), "{broken:?}");
        }
    }
}
