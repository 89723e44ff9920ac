//! How fast a task runs and when it will be done.

use std::time::{Duration, Instant};
use untangle_sae::metrics::fraction_text;
use untangle_schema::Unit;

/// Counts of one running task. Work that an earlier, interrupted run did counts as done but not as speed.
#[derive(Debug)]
pub(super) struct Rate {
    started: Instant,
    at_start: u64,
    total: u64,
    unit: Unit,
}

impl Rate {
    pub(super) fn new(unit: Unit, done: u64, total: u64) -> Self {
        Rate { started: Instant::now(), at_start: done, total, unit }
    }

    /// Units per second since the start, and the time that the rest will take at this speed.
    fn at(&self, done: u64, elapsed: Duration) -> Option<(f64, Duration)> {
        let speed = done.saturating_sub(self.at_start) as f64 / elapsed.as_secs_f64();
        let left = self.total.saturating_sub(done) as f64 / speed;
        (speed.is_finite() && speed > 0.0).then(|| (speed, Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX)))
    }

    /// `51.2 k tokens/s, 12 s left`, empty as long as nothing was done.
    pub(super) fn describe(&self, done: u64) -> String {
        match self.at(done, self.started.elapsed()) {
            Some((speed, left)) => {
                format!("{} {}/s, {} left", scaled(speed), unit_name(self.unit), duration(left))
            }
            None => String::new(),
        }
    }

    /// `3.1 s, 51.2 k tokens/s`: how the task went that ended with `done`.
    pub(super) fn conclude(&self, done: u64) -> String {
        self.conclusion(done, self.started.elapsed())
    }

    fn conclusion(&self, done: u64, elapsed: Duration) -> String {
        match self.at(done, elapsed) {
            Some((speed, _)) => format!("{}, {} {}/s", duration(elapsed), scaled(speed), unit_name(self.unit)),
            None => "nothing was left to do".to_owned(),
        }
    }

    /// `412,672 of 1,000,000 tokens`.
    pub(super) fn counts(&self, done: u64) -> String {
        format!("{} of {} {}", grouped(done), grouped(self.total), unit_name(self.unit))
    }
}

/// The figures beside a bar: `loss 0.0712  l0 16.0`. Speeds are left out, since [`Rate`] shows one.
pub(super) fn figures_text(figures: &[(&str, f64)]) -> String {
    let shown = figures.iter().filter(|(name, _)| !name.ends_with("/s"));
    let text = |(name, value): &(&str, f64)| match *name {
        // Of no variance there is no fraction.
        "fvu" if !value.is_finite() => format!("{name} {}", fraction_text(*value, 4)),
        _ => format!("{name} {}", significant(*value)),
    };
    shown.map(text).collect::<Vec<_>>().join("  ")
}

const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Tokens => "tokens",
        Unit::Steps => "steps",
        Unit::Bytes => "bytes",
        Unit::Rows => "rows",
        Unit::Examples => "examples",
        Unit::Documents => "documents",
        Unit::Features => "features",
    }
}

/// Three significant digits, without an exponent where the number is of ordinary size.
fn significant(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        _ if value == 0.0 || !value.is_finite() => format!("{value}"),
        _ if !(1e-4..1e6).contains(&magnitude) => format!("{value:.2e}"),
        _ => {
            let digits = (2 - magnitude.log10().floor() as i32).clamp(0, 7) as usize;
            format!("{value:.digits$}")
        }
    }
}

fn scaled(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1} G", v / 1e9),
        v if v >= 1e6 => format!("{:.1} M", v / 1e6),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_counts_only_what_this_run_did() {
        let rate = Rate::new(Unit::Tokens, 1000, 2000);
        let (speed, left) = rate.at(1500, Duration::from_secs(5)).expect("a speed");
        assert_eq!((speed, left), (100.0, Duration::from_secs(5)));
        assert!(rate.at(1000, Duration::from_secs(5)).is_none());
    }

    #[test]
    fn the_end_speaks_of_what_was_done_and_not_of_what_was_announced() {
        let rate = Rate::new(Unit::Rows, 0, 2000);
        assert_eq!(rate.conclusion(1500, Duration::from_secs(5)), "5.0 s, 300 rows/s");
        assert_eq!(rate.conclusion(0, Duration::from_secs(5)), "nothing was left to do");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.061_63, 16.0, 0.0, 1e-9, 312_345.0].map(significant),
            ["0.0616", "16.0", "0", "1.00e-9", "312345"]
        );
        assert_eq!([51_234.0, 7.25, 321.4].map(scaled), ["51.2 k", "7.2", "321"]);
        assert_eq!(
            [3, 75, 200, 9000].map(|s| duration(Duration::from_secs(s))),
            ["3.0 s", "75 s", "3 min 20 s", "2 h 30 min"]
        );
    }
}
