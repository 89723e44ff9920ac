//! Where a value stands along an axis, and which values are written at it.

/// An axis from one value to another, linear or in decades.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    decades: bool,
}

/// Ticks of a linear axis, about.
const TICKS: f64 = 5.0;

impl Scale {
    /// An axis that holds all finite values; in decades only positive ones count.
    pub fn around(values: impl Iterator<Item = f64>, decades: bool) -> Self {
        let finite = values.filter(|v| v.is_finite() && (!decades || *v > 0.0));
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let scale = match (low <= high, decades) {
            (false, _) => Scale { low: 0.1, high: 1.0, decades },
            (_, true) => Scale { low: low / 1.1, high: high * 1.1, decades },
            (_, false) => Scale { low: low.min(0.0), high, decades },
        };
        if scale.low < scale.high { scale } else { Scale { high: scale.low + 1.0, ..scale } }
    }

    /// An axis between two values.
    pub fn between(low: f64, high: f64) -> Self {
        Scale { low, high, decades: false }
    }

    /// Its lower end.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Its upper end.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// The place of a value, from 0 to 1; none where it has none.
    pub fn place(&self, value: f64) -> Option<f64> {
        let of = |v: f64| if self.decades { v.log10() } else { v };
        let place = (of(value) - of(self.low)) / (of(self.high) - of(self.low));
        place.is_finite().then(|| place.clamp(0.0, 1.0))
    }

    /// The values to be written.
    pub fn ticks(&self) -> Vec<f64> {
        if !self.decades {
            return self.equal_steps();
        }
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let within = |factors: &[f64]| -> Vec<f64> {
            let all = (first..=last).flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power)));
            all.filter(|v| *v >= self.low && *v <= self.high).collect()
        };
        let decades = within(&[1.0]);
        let finer = if decades.len() >= 3 { decades } else { within(&[1.0, 2.0, 5.0]) };
        // Between 7.3 and 9.9 there is none of these, and an axis with a single number says nothing either.
        if finer.len() >= 2 { finer } else { self.equal_steps() }
    }

    fn equal_steps(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / TICKS;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }
}

/// A number with three significant digits and no zeros at its end.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "–".to_owned() };
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..7).contains(&magnitude) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let digits = (2 - magnitude).max(0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(Scale::around([0.0, 97.0].into_iter(), false).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        let decades = |low, high| Scale::around([low, high].into_iter(), true).ticks().into_iter().map(number);
        assert_eq!(decades(0.0012, 7.0).collect::<Vec<_>>(), ["0.01", "0.1", "1"]);
        assert_eq!(decades(0.2, 0.9).collect::<Vec<_>>(), ["0.2", "0.5"]);
        assert_eq!(decades(8.0, 9.0).collect::<Vec<_>>(), ["8", "9"]);
        assert_eq!(decades(16.0, 16.0).collect::<Vec<_>>(), ["15", "16", "17"]);
        assert!(Scale::around([f64::NAN].into_iter(), true).place(0.5).is_some());
        assert_eq!(Scale::between(-2.0, 0.0).place(-1.0), Some(0.5));
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [0.061_66, 16.0, 0.0, 1e-9, 2_048.0, 0.5, 3.0e8].map(number),
            ["0.0617", "16", "0", "1e-9", "2048", "0.5", "3e8"]
        );
    }
}
