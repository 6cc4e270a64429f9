//! The parts of a chart: scales, ticks, paths, as SVG text.

use std::fmt::Write;

/// Maps values to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The greatest value; the least is 0.
    pub max: f64,
    /// Where 0 is drawn.
    pub zero: f64,
    /// Where the greatest value is drawn.
    pub end: f64,
}

impl Scale {
    /// Where a value is drawn.
    pub fn at(&self, value: f64) -> f64 {
        self.zero + (self.end - self.zero) * (value / self.max).clamp(0.0, 1.0)
    }
}

/// Round values from 0 to at least `max`: about `count` steps, each of them 1, 2 or 5 times a power of `base` (10, or
/// 1,024 for bytes, where steps are powers of 2).
pub fn ticks(max: f64, count: u32, binary: bool) -> Vec<f64> {
    let rough = (max / f64::from(count)).max(if binary { 1.0 } else { 1e-9 });
    let step = if binary {
        2_f64.powf(rough.log2().ceil())
    } else {
        let power = 10_f64.powf(rough.log10().floor());
        let lead = [1.0, 2.0, 5.0, 10.0].into_iter().find(|lead| lead * power >= rough * 0.999);
        lead.unwrap_or(10.0) * power
    };
    let steps = (max / step).ceil().max(1.0) as u32;
    (0..=steps).map(|index| f64::from(index) * step).collect()
}

/// Points as the data of an SVG path.
pub fn path(points: &[(f64, f64)]) -> String {
    let mut data = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        // Writing to a string can't fail.
        let _ = write!(data, "{command}{x:.1} {y:.1}");
    }
    data
}

/// The area between points and a base line, as the data of an SVG path.
pub fn area(points: &[(f64, f64)], base: f64) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    format!("{}L{:.1} {base:.1}L{:.1} {base:.1}Z", path(points), last.0, first.0)
}

/// Text as it may stand in HTML and SVG.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(symbol),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_greatest_value() {
        assert_eq!(ticks(87_000.0, 4, false), [0.0, 50_000.0, 100_000.0]);
        assert_eq!(ticks(9.0, 4, false), [0.0, 5.0, 10.0]);
        let mib = 1024.0 * 1024.0;
        assert_eq!(ticks(70.0 * mib, 4, true), [0.0, 32.0 * mib, 64.0 * mib, 96.0 * mib]);
        for max in [0.0, 1e-12, 0.3, 1.0, 1e9, 7e12] {
            for binary in [false, true] {
                let ticks = ticks(max, 4, binary);
                assert!((2..=9).contains(&ticks.len()) && *ticks.last().unwrap() >= max, "{max} {ticks:?}");
            }
        }
    }

    #[test]
    fn paths_go_from_point_to_point() {
        assert_eq!(path(&[(0.0, 1.0), (2.0, 3.25)]), "M0.0 1.0L2.0 3.2");
        assert_eq!(area(&[(0.0, 1.0), (2.0, 3.0)], 9.0), "M0.0 1.0L2.0 3.0L2.0 9.0L0.0 9.0Z");
        assert_eq!((path(&[]), area(&[], 0.0)), (String::new(), String::new()));
    }

    #[test]
    fn markup_in_names_is_only_text() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
