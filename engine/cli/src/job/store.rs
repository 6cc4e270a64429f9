//! What the job needs of a store of keyed state.

use std::ops::{Bound, ControlFlow};

use alluvium::error::Result;
use alluvium::key::Key;

use super::table::Table;

/// Part of a map's user keys, and the direction in which to go through it.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Where it begins.
    pub from: Bound<&'a [u8]>,
    /// Where it ends.
    pub to: Bound<&'a [u8]>,
    /// Whether to begin at the end.
    pub reverse: bool,
}

/// Keyed state, owned by one thread: exactly the operations that the job uses, one call each.
pub trait JobStore {
    /// Hands the value under a key to `with`.
    fn read<R>(&mut self, table: Table, key: Key<'_>, with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R>;

    /// Sets a value.
    fn put(&mut self, table: Table, key: Key<'_>, value: &[u8]) -> Result<()>;

    /// Removes a value or a whole list.
    fn delete(&mut self, table: Table, key: Key<'_>) -> Result<()>;

    /// Replaces a value by what `with` makes of it; `None` removes it.
    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        key: Key<'_>,
        with: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()>;

    /// Appends an element to a list without reading it.
    fn append(&mut self, table: Table, key: Key<'_>, element: &[u8]) -> Result<()>;

    /// All elements of a list.
    fn list(&mut self, table: Table, key: Key<'_>) -> Result<Vec<Vec<u8>>>;

    /// Adds to a sum without reading it.
    fn add(&mut self, table: Table, key: Key<'_>, amount: u64) -> Result<()>;

    /// The value of a map's entry.
    fn map_get(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Sets an entry of a map.
    fn map_put(&mut self, table: Table, key: Key<'_>, user_key: &[u8], value: &[u8]) -> Result<()>;

    /// Removes an entry of a map.
    fn map_delete(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<()>;

    /// Removes all entries of a map.
    fn map_clear(&mut self, table: Table, key: Key<'_>) -> Result<()>;

    /// Hands the entries of a span to `visit` in order, until it breaks off.
    fn map_scan(
        &mut self,
        table: Table,
        key: Key<'_>,
        span: Span<'_>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()>;

    /// The entry with the least user key.
    fn map_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>>;

    /// Removes the entry with the least user key, and returns it.
    fn map_pop_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>>;
}
