//! Can somebody who knows nothing but the label tell where the feature fires?
//!
//! - `detection`: in which of some texts? Balanced accuracy over texts in which it fires and texts in which it does not
//! - `fuzzing`: are the marked tokens those on which it does? The same, where a wrong text has the marks of a right one
//! - `detection-auroc` and so on: the area under the ROC curve of the judge's probability of a yes, where it tells it
//!
//! Their floor is one half, what one answer to everything reaches; their control is what the label of another feature reaches on
//! the same texts. An answer that cannot be understood says nothing of the label: it is left out, and counted, and where too few
//! are left there is no score.

use super::material::{FEWEST, Material};
use super::measures::{area_interval, balanced, f1};
use super::prompts::{PER_REQUEST, Question, judge, line};
use super::verdicts::{Verdict, verdicts};
use crate::bootstrap::{Interval, interval};
use crate::hash::mix;
use crate::truth::auroc::auroc;
use crate::truth::detectors::ranked_column;
use crate::truth::labels::Mark;
use std::collections::BTreeMap;
use untangle_endpoint::{Reply, Request};
use untangle_schema::{Score, Share};

/// What a judge of no knowledge reaches.
const CHANCE: f64 = 0.5;

/// A text that a judge is asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The text, on one line.
    pub text: String,
    /// Whether the right answer is yes.
    pub truth: bool,
}

/// The texts of a question in the order in which they are asked; none where there are too few.
pub fn items(question: Question, material: &Material, seed: u64) -> Vec<Item> {
    let (fires, silent) = (&material.fires, &material.silent);
    if fires.len().min(silent.len()) < FEWEST {
        return Vec::new();
    }
    let no_marks = Vec::new();
    let yes = fires.iter().map(|piece| {
        let marks = if question == Question::Fuzzing { piece.marks() } else { no_marks.clone() };
        Item { text: line(&piece.tokens, &marks), truth: true }
    });
    let no = silent.iter().enumerate().map(|(at, piece)| {
        // As many marks in the same places, so that their pattern alone tells nothing.
        let like = &fires[at % fires.len()];
        let marks = if question == Question::Fuzzing { piece.marks_of(like) } else { no_marks.clone() };
        Item { text: line(&piece.tokens, &marks), truth: false }
    });
    mixed(yes.chain(no).collect(), seed)
}

/// Texts in an order that tells nothing.
pub(super) fn mixed(mut items: Vec<Item>, seed: u64) -> Vec<Item> {
    items.sort_by_cached_key(|item| mix(seed ^ crate::hash::text(&item.text)));
    items
}

/// The requests of a question with a label.
pub fn requests(question: Question, label: &str, items: &[Item]) -> Vec<Request> {
    let texts = |chunk: &[Item]| {
        let texts: Vec<&str> = chunk.iter().map(|item| item.text.as_str()).collect();
        judge(question, label, &texts)
    };
    items.chunks(PER_REQUEST).map(texts).collect()
}

/// What the judge's answers come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The 95 % interval of F1, where there are texts enough for one.
    pub f1_interval: Option<Interval>,
    /// Yes, where that is right, of what was understood.
    pub positives: Share,
    /// No, where that is right, of what was understood.
    pub negatives: Share,
    /// Texts whose answer could not be understood.
    pub unparseable: u64,
    /// The area under the ROC curve, where all that was understood came with probabilities.
    pub area: Option<f64>,
}

impl Outcome {
    /// Whether enough was understood for a score.
    pub fn is_usable(&self) -> bool {
        self.positives.trials.min(self.negatives.trials) >= FEWEST as u64
    }
}

/// Reads the answers to the requests of `items`.
pub fn outcome(items: &[Item], replies: &[Reply]) -> Outcome {
    let chunks = items.chunks(PER_REQUEST).zip(replies);
    let said: Vec<Verdict> = chunks.flat_map(|(chunk, reply)| verdicts(reply, chunk.len())).collect();
    // Of what was understood: the right answer, whether it was given, and with which probability of a yes.
    let understood =
        items.iter().zip(&said).filter_map(|(item, verdict)| Some((item.truth, verdict.says?, verdict.odds)));
    let understood: Vec<(bool, bool, Option<f64>)> = understood.collect();
    let of = |truth: bool| {
        let those = understood.iter().filter(|(right, ..)| *right == truth);
        Share::of(those.map(|(right, says, _)| says == right))
    };
    Outcome {
        positives: of(true),
        negatives: of(false),
        unparseable: (items.len() - understood.len()) as u64,
        area: area(&understood),
        f1_interval: f1_interval(&understood),
    }
}

/// F1 over resamples of the texts.
fn f1_interval(understood: &[(bool, bool, Option<f64>)]) -> Option<Interval> {
    // Hits, and mistakes of both kinds.
    let sums = |(truth, says, _): &(bool, bool, Option<f64>)| {
        vec![f64::from(u8::from(*truth && *says)), f64::from(u8::from(truth != says))]
    };
    let texts: Vec<Vec<f64>> = understood.iter().map(sums).collect();
    interval(&texts, 0, |sums| 2.0 * sums[0] / (2.0 * sums[0] + sums[1]))
}

fn area(understood: &[(bool, bool, Option<f64>)]) -> Option<f64> {
    let values: Vec<f32> = understood.iter().map(|(.., odds)| odds.map(|odds| odds as f32)).collect::<Option<_>>()?;
    let mark = |(truth, ..): &(bool, bool, Option<f64>)| if *truth { Mark::Positive } else { Mark::Negative };
    let marks: Vec<Mark> = understood.iter().map(mark).collect();
    auroc(ranked_column(values.into_iter(), &mut Vec::new()), &marks)
}

/// The scores of a question of this name: balanced accuracy, and the area where there is one; none where too little was understood.
/// `further` are numbers to be kept with the first.
pub fn scores(name: &str, own: &Outcome, control: Option<&Outcome>, further: &[(&str, f64)]) -> Vec<Score> {
    if !own.is_usable() {
        return Vec::new();
    }
    let control = control.filter(|control| control.is_usable());
    let (positives, negatives) = (own.positives, own.negatives);
    let n = positives.trials + negatives.trials;
    let (value, interval) = balanced(positives, negatives);
    let named = positives.hits + negatives.trials - negatives.hits;
    let mut detail = vec![
        ("precision", positives.hits as f64 / named.max(1) as f64),
        ("recall", positives.value()),
        ("specificity", negatives.value()),
        ("f1", f1(positives, negatives)),
        ("fires", positives.trials as f64),
        ("unparseable", own.unparseable as f64),
    ];
    detail.extend(further);
    if let Some(Interval { low, high }) = own.f1_interval {
        detail.extend([("f1_low", low), ("f1_high", high)]);
    }
    let control_of = |of: &dyn Fn(&Outcome) -> Option<f64>| control.and_then(of);
    let score = |scorer: String, value, interval, control, detail: &[(&str, f64)]| Score {
        judge: None,
        scorer,
        value,
        interval: Some(interval),
        floor: Some(CHANCE),
        control,
        n,
        detail: BTreeMap::from_iter(detail.iter().map(|(name, value)| ((*name).to_owned(), *value))),
    };
    let other = control_of(&|other| Some(balanced(other.positives, other.negatives).0));
    let mut scores = vec![score(name.to_owned(), value, interval, other, &detail)];
    if let Some(area) = own.area {
        let interval = area_interval(area, positives.trials as usize, negatives.trials as usize);
        let detail = [("unparseable", own.unparseable as f64)];
        scores.push(score(format!("{name}-auroc"), area, interval, control_of(&|other| other.area), &detail));
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::super::material::Piece;
    use super::*;
    use untangle_endpoint::Odds;

    fn piece(at: u32, activations: [f32; 3]) -> Piece {
        let tokens = vec![format!("{at}"), " b".to_owned(), " c".to_owned()];
        Piece { row: at.into(), document: at, peak: 1, tokens, activations: activations.to_vec() }
    }

    fn material(n: u32) -> Material {
        Material {
            fires: (0..n).map(|at| piece(at, [0.0, 2.0, 0.0])).collect(),
            silent: (0..n).map(|at| piece(100 + at, [0.0; 3])).collect(),
            ..Material::default()
        }
    }

    /// A judge that knows the truth, but for some of the items.
    fn replies(items: &[Item], wrong: &[usize], odds: bool) -> Vec<Reply> {
        let says = |at: usize| items[at].truth != wrong.contains(&at);
        let mut replies = Vec::new();
        for chunk in (0..items.len()).collect::<Vec<_>>().chunks(PER_REQUEST) {
            let digits: Vec<&str> = chunk.iter().map(|at| if says(*at) { "1" } else { "0" }).collect();
            let odd = |digit: &&str| Odds { token: (*digit).to_owned(), likely: vec![((*digit).to_owned(), -0.1)] };
            let odds = if odds { digits.iter().map(odd).collect() } else { Vec::new() };
            replies.push(Reply { text: digits.join(" "), odds, ..Reply::default() });
        }
        replies
    }

    #[test]
    fn every_item_is_asked_once_and_marks_tell_nothing() {
        let material = material(10);
        let detection = items(Question::Detection, &material, 0);
        assert_eq!(detection.iter().filter(|item| item.truth).count(), 10);
        assert!(detection.iter().all(|item| !item.text.contains("<<")));
        assert_ne!(
            detection.iter().map(|item| item.truth).collect::<Vec<_>>(),
            [vec![true; 10], vec![false; 10]].concat()
        );
        let fuzzing = items(Question::Fuzzing, &material, 0);
        assert!(fuzzing.iter().all(|item| item.text.contains(" <<b>> c")), "{fuzzing:?}");
        assert!(items(Question::Detection, &self::material(FEWEST as u32 - 1), 0).is_empty());
        let requests = requests(Question::Detection, "dogs", &detection);
        assert_eq!(requests.len(), 2);
        assert!(
            requests.iter().all(|request| request.odds > 0 && request.user.contains("Phrase: dogs\n\n10 texts:\n1. "))
        );
    }

    #[test]
    fn outcomes_are_counted_and_what_is_not_understood_is_left_out() {
        let items = items(Question::Detection, &material(10), 0);
        let perfect = outcome(&items, &replies(&items, &[], true));
        assert_eq!((perfect.positives.hits, perfect.negatives.hits, perfect.area), (10, 10, Some(1.0)));
        let chance = outcome(&items, &replies(&items, &(0..20).step_by(2).collect::<Vec<_>>(), false));
        assert_eq!((chance.positives.hits + chance.negatives.hits, chance.area), (10, None));
        let mut half = replies(&items, &[], true);
        half[1].text = "I would say the first one".to_owned();
        let half = outcome(&items, &half);
        let inside = |outcome: &Outcome| {
            let (f1, interval) = (f1(outcome.positives, outcome.negatives), outcome.f1_interval.expect("twenty texts"));
            interval.low <= f1 && f1 <= interval.high && interval.low < interval.high
        };
        assert!(inside(&chance), "{chance:?}");
        assert_eq!((half.unparseable, half.positives.trials + half.negatives.trials), (10, 10));
        assert_eq!((half.positives.value(), half.area), (1.0, Some(1.0)));
        let nothing = outcome(&items, &[0, 1].map(|_| Reply { text: "I cannot tell".to_owned(), ..Reply::default() }));
        assert_eq!((nothing.unparseable, scores("detection", &nothing, None, &[])), (20, Vec::new()));
        let scores = scores("detection", &perfect, Some(&chance), &[("near", 3.0)]);
        let names: Vec<&str> = scores.iter().map(|score| score.scorer.as_str()).collect();
        assert_eq!(names, ["detection", "detection-auroc"]);
        assert_eq!((scores[0].value, scores[0].n, scores[0].floor, scores[1].control), (1.0, 20, Some(0.5), None));
        assert!(scores[0].control.expect("a control") < 0.8 && scores[0].interval.expect("an interval").0 < 0.9);
    }
}
