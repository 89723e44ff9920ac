//! Ways to write beside each other, as a table: who wrote about it, and what it cost.

use untangle_interpret::steer::Arm;
use untangle_schema::Share;

/// The head and rows of arms with their names; whether a text names the concept has a column where that is not all that shows it.
pub(crate) fn rows<'a>(arms: impl IntoIterator<Item = (String, &'a Arm)>, named: bool) -> Vec<Vec<String>> {
    let arms: Vec<_> = arms.into_iter().collect();
    let (kl, log_odds) =
        (arms.iter().any(|(_, arm)| arm.kl.is_some()), arms.iter().any(|(_, arm)| arm.log_odds.is_some()));
    let columns =
        [("", true), ("about it", true), ("names it", named), ("repeated 4-grams", true), ("perplexity", true)];
    let columns = columns.into_iter().chain([("nats", kl), ("log-odds", log_odds)]);
    let (head, shown): (Vec<_>, Vec<_>) = columns.map(|(name, is_shown)| (name.to_owned(), is_shown)).unzip();
    let rows = arms.into_iter().map(|(name, arm)| {
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![
            name,
            share(arm.appears),
            share(arm.names),
            or_none(arm.repetition.map(|repetition| format!("{:.1} %", 100.0 * repetition))),
            or_none(arm.perplexity.map(|perplexity| format!("{perplexity:.2}"))),
            or_none(arm.kl.map(|kl| format!("{kl:.3}"))),
            or_none(arm.log_odds.map(|log_odds| format!("{log_odds:+.2}"))),
        ]
    });
    let keep =
        |row: Vec<String>| row.into_iter().zip(&shown).filter(|(_, shown)| **shown).map(|(cell, _)| cell).collect();
    std::iter::once(head).chain(rows).map(keep).collect()
}

fn share(share: Share) -> String {
    let (low, high) = share.interval();
    format!("{} of {} [{:.0}, {:.0} %]", share.hits, share.trials, 100.0 * low, 100.0 * high)
}
