//! What hides entries of one map from those who walk through its segments: what was cleared of it, by span.
//!
//! A Clear hides what lies in strictly older layers, a marker in memory what lies in any: so a mask counts from some
//! layer on downwards.

use crate::key::{ENTRY_MARK, prefix_end};
use crate::spans::{SpanRef, Spans};

/// The masks of one container.
#[derive(Debug, Default)]
pub struct Masks {
    /// The container's sort key, in the store's numbering of states.
    container: Vec<u8>,
    /// Spans, and the first layer that they hide entries of, counted from the newest.
    masks: Vec<(usize, Spans)>,
}

impl Masks {
    /// Nothing of this container is hidden yet.
    pub fn new(container: &[u8]) -> Self {
        Self { container: container.to_vec(), masks: Vec::new() }
    }

    /// Hides these spans in the layer `from` and all older ones.
    pub fn add(&mut self, from: usize, spans: Spans) {
        if !spans.is_empty() {
            self.masks.push((from, spans));
        }
    }

    /// Whether nothing is hidden.
    pub const fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }

    /// The container.
    pub fn container(&self) -> &[u8] {
        &self.container
    }

    /// The user key of an entry of this container.
    pub fn user_key<'a>(&self, sort_key: &'a [u8]) -> Option<&'a [u8]> {
        sort_key.strip_prefix(&self.container[..])?.strip_prefix(&[ENTRY_MARK])
    }

    /// The first layer in which an entry is hidden; `usize::MAX` where it is in none.
    pub fn hidden_from(&self, sort_key: &[u8]) -> usize {
        if self.masks.is_empty() {
            return usize::MAX;
        }
        let Some(user_key) = self.user_key(sort_key) else { return usize::MAX };
        let hiding = self.masks.iter().filter(|(_, spans)| spans.find(user_key).is_some());
        hiding.map(|(from, _)| *from).min().unwrap_or(usize::MAX)
    }

    /// The first sort key behind what hides an entry in a layer: `None` where nothing does, and in it, where nothing more of the
    /// store follows.
    pub fn behind(&self, sort_key: &[u8], layer: usize) -> Option<Option<Vec<u8>>> {
        let span = self.hiding(sort_key, layer)?;
        let mut end = self.container.clone();
        end.push(ENTRY_MARK);
        Some(span.to.map_or_else(|| prefix_end(&end), |to| Some([&end[..], to].concat())))
    }

    /// The span that hides an entry in a layer.
    pub fn hiding(&self, sort_key: &[u8], layer: usize) -> Option<SpanRef<'_>> {
        let user_key = self.user_key(sort_key)?;
        self.masks.iter().filter(|(from, _)| *from <= layer).find_map(|(_, spans)| spans.find(user_key))
    }
}
