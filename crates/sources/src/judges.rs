//! Which rows of a store may judge a dictionary?

use untangle_store::{HeldOut, Part};

/// What is known of the rows of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The store that training read, whole: its held-out rule says which rows it did not read.
    ByRule,
    /// Captured from other texts than those of training, or nothing is known of the training.
    Never,
    /// From a text of training, or a matrix, whose origin nobody knows.
    Perhaps,
}

/// The rows that judge a dictionary.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgingRows {
    /// The rule that divides the store.
    pub held_out: HeldOut,
    /// The part of it.
    pub part: Part,
    /// What the rows are, in words that are true.
    pub name: &'static str,
    /// Whether training may have read some of them although nobody asked for such rows.
    pub in_doubt: bool,
}

/// Rows of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The held-out part of the store that the dictionary was trained on, all rows of any other.
    Auto,
    /// Every row.
    All,
    /// Rows that training may read.
    Train,
    /// Rows that it may not.
    HeldOut,
}

/// `recorded` is the rule of the training, where the store is the one that it read.
pub(crate) fn judges(seen: Seen, recorded: Option<HeldOut>, rows: Rows) -> JudgingRows {
    let split = recorded.unwrap_or_default();
    let nothing_held_out = split == HeldOut::None;
    let (held_out, part, name) = match (rows, seen) {
        (Rows::Auto, Seen::ByRule) if nothing_held_out => (split, Part::All, "all (training rows)"),
        (Rows::Auto | Rows::HeldOut, Seen::ByRule) => (split, Part::HeldOut, "held-out"),
        (Rows::Train, Seen::ByRule) => (split, Part::Train, "train"),
        (Rows::All, Seen::ByRule) => (split, Part::All, "all (training rows included)"),
        (Rows::Auto | Rows::All, Seen::Never) => (HeldOut::None, Part::All, "all"),
        (Rows::Auto | Rows::All, Seen::Perhaps) => (HeldOut::None, Part::All, "all (may hold training rows)"),
        (Rows::HeldOut, Seen::Never) => (split, Part::HeldOut, "5 % by the default split"),
        (Rows::Train, Seen::Never) => (split, Part::Train, "95 % by the default split"),
        (Rows::HeldOut, Seen::Perhaps) => (split, Part::HeldOut, "5 % by the default split (may hold training rows)"),
        (Rows::Train, Seen::Perhaps) => (split, Part::Train, "95 % by the default split (may hold training rows)"),
    };
    let in_doubt = match rows {
        Rows::Auto => seen == Seen::Perhaps || (seen == Seen::ByRule && nothing_held_out),
        Rows::HeldOut => seen == Seen::Perhaps,
        Rows::All | Rows::Train => false,
    };
    JudgingRows { held_out, part, name, in_doubt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_rule_holds_only_for_the_store_that_was_read_whole() {
        let rule = HeldOut::LastRows(9);
        let own = judges(Seen::ByRule, Some(rule.clone()), Rows::Auto);
        assert_eq!((own.held_out, own.part, own.name, own.in_doubt), (rule, Part::HeldOut, "held-out", false));
        let perhaps = judges(Seen::Perhaps, None, Rows::Auto);
        assert_eq!((perhaps.part, perhaps.name, perhaps.in_doubt), (Part::All, "all (may hold training rows)", true));
        let never = judges(Seen::Never, None, Rows::Auto);
        assert_eq!((never.held_out, never.part, never.name, never.in_doubt), (HeldOut::None, Part::All, "all", false));
        let nothing = judges(Seen::ByRule, Some(HeldOut::None), Rows::Auto);
        assert_eq!((nothing.part, nothing.name, nothing.in_doubt), (Part::All, "all (training rows)", true));
        for rows in [Rows::HeldOut, Rows::Train] {
            assert!(!["held-out", "train"].contains(&judges(Seen::Perhaps, None, rows).name), "{rows:?}");
        }
    }
}
