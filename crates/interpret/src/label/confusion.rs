//! How well named rows are those on which something holds: precision, recall and F1, each in 0..1, higher is better.

/// Rows named by a rule, rows on which the feature fires, and rows of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Rows that the rule names.
    pub named: u64,
    /// Rows on which the feature fires.
    pub fires: u64,
    /// Rows that the rule names and on which the feature fires.
    pub both: u64,
}

impl Confusion {
    /// `both / named`; 0 where the rule names nothing.
    pub fn precision(self) -> f64 {
        self.both as f64 / self.named.max(1) as f64
    }

    /// `both / fires`; 0 where the feature never fires.
    pub fn recall(self) -> f64 {
        self.both as f64 / self.fires.max(1) as f64
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(self) -> f64 {
        2.0 * self.both as f64 / (self.named + self.fires).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confusion_gives_the_numbers_computed_by_hand() {
        let c = Confusion { named: 4, fires: 6, both: 3 };
        assert_eq!((c.precision(), c.recall(), c.f1()), (0.75, 0.5, 0.6));
        assert_eq!(Confusion::default().f1(), 0.0);
    }
}
