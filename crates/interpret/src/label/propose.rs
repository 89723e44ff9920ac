//! The best rule for a feature on the rows that the labeller may see.

use super::confusion::Confusion;
use super::counts::{Counts, FeatureCounts};
use super::facts::{Class, Kind};
use super::labeller::{Labeller, SOURCE};
use super::name;
use super::passage::Passages;
use super::rule::{PASSAGES, Rule};
use crate::error::InterpretError;
use crate::vocabulary::Vocabulary;
use std::cmp::Ordering;
use untangle_schema::{FeatureCard, LabelKind};

/// Fewer firings are too few to tell a rule from an accident.
pub const MIN_FIRINGS: u64 = 20;
/// A rule has to beat the F1 of "it always fires" by this much, or there is no label (chosen).
pub const MIN_GAIN: f64 = 0.15;
/// Keys that a label may list.
const MAX_KEYS: usize = 4;
/// What another key has to add to F1 to be worth its place in the label.
const KEY_GAIN: f64 = 0.03;
/// What a rule has to add to F1 to be preferred to a simpler one.
const KIND_GAIN: f64 = 0.02;

/// A rule with its wording.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The rule.
    pub rule: Rule,
    /// Its wording.
    pub text: String,
    /// Its F1 on the rows that it was chosen on, estimated: not the score of the label.
    pub seen_f1: f64,
}

/// The rules of all features, as labels of what makes them fire.
#[derive(Clone, Copy, Debug)]
pub struct RuleLabeller<'a>(pub &'a [Option<Proposal>]);

impl Labeller for RuleLabeller<'_> {
    fn kind(&self) -> LabelKind {
        LabelKind::Input
    }

    fn source(&self) -> &str {
        SOURCE
    }

    fn label(&mut self, card: &FeatureCard) -> Result<Option<String>, InterpretError> {
        let Some(proposal) = &self.0[card.feature] else { return Ok(None) };
        let name = match &proposal.rule {
            Rule::Passage(passage) => name::of_passages(passage, &card.examples),
            _ => None,
        };
        Ok(Some(name.map_or_else(|| proposal.text.clone(), |name| about(&name, &proposal.text))))
    }
}

/// The wording of a passage with what it is about, of whose words the others are left.
fn about(name: &str, text: &str) -> String {
    let words = text.strip_prefix(PASSAGES).and_then(|words| words.strip_prefix("with ")).unwrap_or_default();
    let in_name = |word: &&str| name.split(' ').any(|of_name| of_name.eq_ignore_ascii_case(word));
    let others: Vec<&str> = words.split(", ").filter(|word| !in_name(word)).collect();
    match others[..] {
        [] => format!("{PASSAGES}about {name}"),
        _ => format!("{PASSAGES}about {name}: {}", others.join(", ")),
    }
}

/// The best rule for `feature`, or none where no rule says more than its density does.
pub(crate) fn propose(
    counts: &Counts,
    passages: &Passages,
    feature: usize,
    vocabulary: &Vocabulary,
) -> Option<Proposal> {
    let of_feature = &counts.features[feature];
    if of_feature.firings < MIN_FIRINGS {
        return None;
    }
    let floor = Confusion { named: counts.rows, fires: of_feature.firings, both: of_feature.firings }.f1();
    let passage = passages.best(feature).map(|(passage, f1)| (Rule::Passage(passage), f1));
    let all = candidates(counts, of_feature).into_iter().chain(passage);
    let (rule, seen_f1) = all.reduce(simpler_unless_better)?;
    (seen_f1 >= floor + MIN_GAIN).then(|| Proposal { text: rule.wording(vocabulary, &counts.totals), rule, seen_f1 })
}

/// Simplest first: one token, a class, several tokens, then neighbours, then what needs words.
fn candidates(counts: &Counts, of_feature: &FeatureCounts) -> Vec<(Rule, f64)> {
    let keys = |kind, limit| best_keys(counts, of_feature, kind, limit);
    let classes = Class::ALL.into_iter().enumerate().map(|(at, class)| {
        let confusion =
            Confusion { named: counts.classes[at], fires: of_feature.firings, both: of_feature.classes[at] };
        (Rule::Class(class), confusion.f1())
    });
    // Of classes that say the same, the first: the list goes from the particular to the general.
    let best_class = classes.reduce(|a, b| if b.1 > a.1 { b } else { a });
    let simple = keys(Kind::Token, 1).into_iter().chain(best_class).chain(keys(Kind::Token, MAX_KEYS));
    let others = [Kind::Previous, Kind::Pair, Kind::Spelling, Kind::PreviousWord, Kind::Next];
    let others = others.into_iter().filter_map(|kind| keys(kind, MAX_KEYS));
    // Context words do not exclude one another, so that their counts do not add up.
    simple.chain(others).chain(keys(Kind::ContextWord, 1)).collect()
}

fn simpler_unless_better(simpler: (Rule, f64), other: (Rule, f64)) -> (Rule, f64) {
    if other.1 > simpler.1 + KIND_GAIN { other } else { simpler }
}

/// The set of at most `limit` keys with the best F1, taken greedily. Keys of a kind exclude one another on a row, so
/// their counts add up.
fn best_keys(counts: &Counts, of_feature: &FeatureCounts, kind: Kind, limit: usize) -> Option<(Rule, f64)> {
    let totals = &counts.totals[kind as usize];
    let mut open: Vec<(u64, Confusion)> = of_feature.kinds[kind as usize]
        .at_least()
        .filter_map(|(key, both)| {
            let named = totals.at_most(key)?.max(both);
            Some((key, Confusion { named, fires: of_feature.firings, both: both.min(of_feature.firings) }))
        })
        .collect();
    // The order of a hash map never shows: keys break ties.
    open.sort_by(|a, b| b.1.f1().total_cmp(&a.1.f1()).then(a.0.cmp(&b.0)));
    let mut keys = Vec::new();
    let mut best = Confusion { named: 0, fires: of_feature.firings, both: 0 };
    while keys.len() < limit {
        let joined = |c: &Confusion| Confusion { named: best.named + c.named, both: best.both + c.both, ..best };
        let strongest = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0));
        let each = open.iter().enumerate().map(|(at, (_, c))| (at, joined(c).f1()));
        let Some((at, f1)) = each.max_by(|a, b| -> Ordering { strongest(a, b) }) else { break };
        if f1 < best.f1() + KEY_GAIN {
            break;
        }
        let (key, confusion) = open.swap_remove(at);
        best = joined(&confusion);
        keys.push(key);
    }
    (!keys.is_empty()).then(|| (Rule::Keys { kind, keys }, best.f1()))
}
