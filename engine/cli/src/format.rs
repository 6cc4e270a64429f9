//! Numbers as people read them.

/// `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1.2 MiB`; bytes below one KiB are whole.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1_024 {
        return format!("{number} B");
    }
    let mut scaled = number as f64 / 1_024.0;
    let mut unit = 0;
    while scaled >= 1_023.95 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    let digits = if scaled < 99.95 { 1 } else { 0 };
    format!("{scaled:.digits$} {}", UNITS[unit])
}

/// `1.5 ms`, `18 µs`, `400 ns`, `12 s`.
pub fn nanoseconds(number: u64) -> String {
    let (scaled, unit) = match number {
        0..1_000 => return format!("{number} ns"),
        1_000..1_000_000 => (number as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (number as f64 / 1e6, "ms"),
        _ => (number as f64 / 1e9, "s"),
    };
    let digits = if scaled < 9.95 { 1 } else { 0 };
    format!("{scaled:.digits$} {unit}")
}

/// `1 crash`, `3 crashes`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// Lines of equally many cells, as columns: the first one to the left, others to the right.
pub fn columns(lines: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for line in lines {
        for (index, cell) in line.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(index) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut shown = String::new();
        for (index, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            match index {
                0 => shown.push_str(&format!("{cell}{padding}")),
                _ => shown.push_str(&format!("  {padding}{cell}")),
            }
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let sizes = [0, 1_023, 1_024, 1_536, 32 << 20, 1_047_552, (1 << 20) - 1, 1 << 30];
        assert_eq!(
            sizes.map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "32.0 MiB", "1023 KiB", "1.0 MiB", "1.0 GiB"]
        );
        assert_eq!(
            [400, 1_000, 18_400, 1_500_000, 12_000_000_000].map(nanoseconds),
            ["400 ns", "1.0 µs", "18 µs", "1.5 ms", "12 s"]
        );
    }

    #[test]
    fn columns_line_up() {
        let lines = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "1,000".to_owned()]];
        assert_eq!(columns(&lines), "a         1\nlong  1,000\n");
    }
}
