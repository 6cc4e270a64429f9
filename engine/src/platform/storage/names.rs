//! The names of all files of a store, and how they are read back.
//!
//! The grammar is fixed: lower-case hexadecimal digits of a fixed count and a suffix. Parsing is strict, so that one
//! number has one name and a file of another program is never taken for ours.

/// The file that is locked while a store is open.
pub const LOCK: &str = "LOCK";

/// What a file that is not complete yet ends with.
const TEMPORARY: &str = ".tmp";
const SEGMENT: &str = ".segment";
const MANIFEST: &str = ".manifest";
const CHANGELOG: &str = ".changelog";
const HOT_LIST: &str = ".hotlist";
/// What the directory of a scratch store begins with.
const SCRATCH: &str = "scratch-";

/// Numbers of files end here, which counting up never comes to: a name with a higher one is none of ours, and so there is always a next
/// number, whatever files somebody has put into the directory.
pub const NUMBER_END: u64 = 1 << 62;

/// The longest name that a file may have, in bytes; file systems allow 255.
const MAX_BYTES: usize = 200;

/// The name of the segment with this id: `<32 hex>.segment`.
pub fn segment_name(id: u128) -> String {
    format!("{id:032x}{SEGMENT}")
}

/// The id in a segment's name.
pub fn parse_segment_name(name: &str) -> Option<u128> {
    let digits = name.strip_suffix(SEGMENT)?;
    is_hex(digits, 32).then(|| u128::from_str_radix(digits, 16).ok())?
}

/// The name of the manifest with this number: `<16 hex>.manifest`.
pub fn manifest_name(number: u64) -> String {
    format!("{number:016x}{MANIFEST}")
}

/// The number in a manifest's name.
pub fn parse_manifest_name(name: &str) -> Option<u64> {
    parse_number(name.strip_suffix(MANIFEST)?)
}

/// The name of the changelog's file with this number: `<16 hex>.changelog`.
pub fn changelog_name(number: u64) -> String {
    format!("{number:016x}{CHANGELOG}")
}

/// The number in the name of a changelog's file.
pub fn parse_changelog_name(name: &str) -> Option<u64> {
    parse_number(name.strip_suffix(CHANGELOG)?)
}

/// The name of the hot list with this number: `<16 hex>.hotlist`.
pub fn hot_list_name(number: u64) -> String {
    format!("{number:016x}{HOT_LIST}")
}

/// The number in a hot list's name.
pub fn parse_hot_list_name(name: &str) -> Option<u64> {
    parse_number(name.strip_suffix(HOT_LIST)?)
}

fn parse_number(digits: &str) -> Option<u64> {
    let number = is_hex(digits, 16).then(|| u64::from_str_radix(digits, 16).ok())?;
    number.filter(|number| *number < NUMBER_END)
}

/// The name under which a manifest is written before it is renamed: `<16 hex>.manifest.tmp`.
pub fn temporary_manifest_name(number: u64) -> String {
    temporary_name(&manifest_name(number))
}

/// The name under which any file is written before it is renamed to `name`.
pub fn temporary_name(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// Whether a file of this name never became complete; it can be removed whenever the store is locked.
pub fn is_temporary_name(name: &str) -> bool {
    let Some(whole) = name.strip_suffix(TEMPORARY) else { return false };
    let numbered = [parse_manifest_name(whole), parse_changelog_name(whole), parse_hot_list_name(whole)];
    parse_segment_name(whole).is_some() || numbered.iter().any(Option::is_some)
}

/// The name of a scratch store's directory: `scratch-<16 hex>`.
pub fn scratch_name(number: u64) -> String {
    format!("{SCRATCH}{number:016x}")
}

/// Whether a directory of this name is a scratch store's; it can be removed whenever the store is opened.
pub fn is_scratch_name(name: &str) -> bool {
    name.strip_prefix(SCRATCH).is_some_and(|digits| is_hex(digits, 16))
}

/// Whether `name` names a file of the directory itself: letters, digits, `.`, `_` and `-`, and no dot at the start.
///
/// Anything else (a separator, `..`, an empty name) could lead out of the directory and is refused.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= MAX_BYTES && !name.starts_with('.') && name.bytes().all(plain)
}

fn is_hex(digits: &str, count: usize) -> bool {
    digits.len() == count && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for id in [0, 1, u128::MAX, 0xdead_beef_0000_0001] {
            assert_eq!(parse_segment_name(&segment_name(id)), Some(id));
            let number = id as u64 % NUMBER_END;
            assert_eq!(parse_manifest_name(&manifest_name(number)), Some(number));
            assert_eq!(parse_changelog_name(&changelog_name(number)), Some(number));
            assert_eq!(parse_hot_list_name(&hot_list_name(number)), Some(number));
        }
        for beyond in [NUMBER_END, u64::MAX] {
            assert_eq!(parse_manifest_name(&manifest_name(beyond)), None);
            assert_eq!(parse_changelog_name(&changelog_name(beyond)), None);
            assert_eq!(parse_hot_list_name(&hot_list_name(beyond)), None);
        }
        assert_eq!(segment_name(10), "0000000000000000000000000000000a.segment");
        assert_eq!(manifest_name(255), "00000000000000ff.manifest");
        assert_eq!(temporary_manifest_name(1), "0000000000000001.manifest.tmp");
        assert!(is_temporary_name(&temporary_manifest_name(1)));
        assert!(is_temporary_name(&temporary_name(&segment_name(7))));
        assert!(is_temporary_name(&temporary_name(&hot_list_name(7))));
        assert!(!is_temporary_name("notes.tmp"));
        assert_eq!(scratch_name(255), "scratch-00000000000000ff");
        assert!(is_scratch_name(&scratch_name(7)) && !is_scratch_name("scratch-7") && !is_scratch_name("scratch"));
    }

    #[test]
    fn only_the_exact_form_is_a_name() {
        let refused =
            ["", ".segment", "1.segment", "0000000000000000000000000000000A.segment", "+00000000000000f.manifest"];
        for name in refused {
            assert_eq!(parse_segment_name(name), None, "{name}");
            assert_eq!(parse_manifest_name(name), None, "{name}");
        }
        assert_eq!(parse_manifest_name(&temporary_manifest_name(3)), None);
    }

    #[test]
    fn a_plain_name_stays_in_its_directory() {
        for name in [LOCK, "a", "0.segment", "x-y_z.1"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "/a", ".hidden", "a\0b", "é", &"x".repeat(201)] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
