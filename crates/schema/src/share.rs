//! How many of so many, and how sure is that?
//!
//! With `p = hits / trials` and z = 1.96, Wilson's score interval of 95 % is
//!
//! ```text
//! (p + z^2 / 2n  +-  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
//! ```
//!
//! (Wilson, Journal of the American Statistical Association 22, 1927; unlike p +- z sqrt(p (1 - p) / n) it stays inside
//! 0 and 1 and has a width where p is 0 or 1.)

use serde::{Deserialize, Serialize};

/// A number of hits among trials that are independent of one another. It is written with its interval, which is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written")]
pub struct Share {
    /// Trials in which it happened.
    pub hits: u64,
    /// Trials.
    pub trials: u64,
}

/// A share as it is written.
#[derive(Serialize)]
struct Written {
    hits: u64,
    trials: u64,
    /// Of 95 %, low and high.
    interval: (f64, f64),
}

impl From<Share> for Written {
    fn from(share: Share) -> Self {
        Written { hits: share.hits, trials: share.trials, interval: share.interval() }
    }
}

impl Share {
    /// Counts the trials in which it happened.
    pub fn of(outcomes: impl IntoIterator<Item = bool>) -> Self {
        let mut share = Share::default();
        for hit in outcomes {
            share.hits += u64::from(hit);
            share.trials += 1;
        }
        share
    }

    /// hits / trials; not a number where there were no trials.
    pub fn value(self) -> f64 {
        self.hits as f64 / self.trials as f64
    }

    /// Wilson's interval of 95 %, low and high; from 0 to 1 where there were no trials.
    pub fn interval(self) -> (f64, f64) {
        const Z: f64 = 1.959_963_984_540_054;
        if self.trials == 0 {
            return (0.0, 1.0);
        }
        let (n, p) = (self.trials as f64, self.value());
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let (centre, scale) = (p + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
        (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_by_hand() {
        // n = 10, p = 0.2, z^2 = 3.8415: centre 0.39207, half 0.31285, scale 1.38415
        let (low, high) = Share { hits: 2, trials: 10 }.interval();
        assert!((low - 0.056_68).abs() < 1e-4 && (high - 0.509_84).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn it_is_written_with_its_interval_and_read_without() {
        let share = Share { hits: 2, trials: 10 };
        let text = serde_json::to_string(&share).expect("JSON");
        assert!(text.starts_with(r#"{"hits":2,"trials":10,"interval":[0.0566"#), "{text}");
        assert_eq!(serde_json::from_str::<Share>(&text).expect("read"), share);
        assert_eq!(serde_json::from_str::<Share>(r#"{"hits":2,"trials":10}"#).expect("read"), share);
    }

    #[test]
    fn nothing_and_everything_have_a_width() {
        let (low, high) = Share { hits: 0, trials: 100 }.interval();
        assert!(low < 1e-12 && (0.03..0.04).contains(&high), "{low} {high}");
        let (low, high) = Share::of([true; 100]).interval();
        assert!(high > 1.0 - 1e-12 && (0.96..0.97).contains(&low), "{low} {high}");
        assert_eq!(Share::default().interval(), (0.0, 1.0));
    }
}
