//! One entry of a state, as both sides of the comparison name it.

use alluvium::ids::KeyGroup;

use crate::job::table::{Kind, SESSION_BYTES, Table, show_fields, show_hex};

/// An entry of a state: a value, a whole list, a sum, or one entry of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// The key group it lies in.
    pub group: KeyGroup,
    /// The state.
    pub table: Table,
    /// The key.
    pub key: &'a [u8],
    /// The namespace; empty where there is none.
    pub namespace: &'a [u8],
    /// The user key, of a map's entry.
    pub user_key: Option<&'a [u8]>,
    /// The value; of a list its elements, each framed by [`push_element`].
    pub value: &'a [u8],
}

/// Appends a list's element to the list's value: its length in four little-endian bytes, then the element.
pub fn push_element(list: &mut Vec<u8>, element: &[u8]) {
    // The store takes no value of more than 1 GiB.
    list.extend_from_slice(&(element.len() as u32).to_le_bytes());
    list.extend_from_slice(element);
}

/// The elements of a list's value; ends early where the framing is broken.
pub fn elements(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = list.split_first_chunk::<4>()?;
        let (element, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        list = rest;
        Some(element)
    })
}

impl Row<'_> {
    /// Where the entry is, in words: `windows period=3 origin=EWR dest=IAH hour=2013-01-01 10:00`.
    pub fn show_place(&self) -> String {
        let info = self.table.info();
        let mut shown = vec![info.name.to_owned(), show_fields(info.key, self.key, true)];
        if !(info.namespace.is_empty() && self.namespace.is_empty()) {
            shown.push(show_fields(info.namespace, self.namespace, true));
        }
        if let Some(user_key) = self.user_key {
            shown.push(show_fields(info.user_key, user_key, true));
        }
        shown.retain(|part| !part.is_empty());
        shown.join(" ")
    }

    /// A value of this entry, in words.
    pub fn show_value(&self, value: &[u8]) -> String {
        const SHOWN_MAX: usize = 3;
        let info = self.table.info();
        match info.kind {
            _ if self.table == Table::Sessions => {
                let sessions = value.chunks(SESSION_BYTES).map(|session| show_fields(info.value, session, false));
                format!("[{}]", sessions.collect::<Vec<_>>().join("; "))
            }
            Kind::List => {
                let count = elements(value).count();
                let mut shown: Vec<String> =
                    elements(value).take(SHOWN_MAX).map(|element| show_fields(info.value, element, false)).collect();
                if count > SHOWN_MAX {
                    shown.push(format!("{} more", count - SHOWN_MAX));
                }
                format!("[{}]", shown.join("; "))
            }
            _ if value.is_empty() => "(empty)".to_owned(),
            _ if self.table == Table::JoinBuffer => show_hex(value),
            _ => show_fields(info.value, value, false),
        }
    }
}
