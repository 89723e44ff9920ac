//! Can somebody who knows nothing but the label say how strongly the feature fires on every token?
//!
//! ```text
//! E[a]       = sum over d of d p(d) / sum over d of p(d)
//! simulation = Pearson(E[a], a) over all tokens of all texts together
//! ```
//!
//! with p(d) the judge's probability of the digit d where it says how strongly the feature fires on a token, and a its activation there;
//! -1 to 1, higher is better (Bills et al. 2023, "Language models can explain neurons in language models", whose degrees go to 10: here
//! they go to 9, because many tokenizers have no token `10`). Floor 0, what one answer to everything reaches; control, what the label
//! of another feature reaches. Texts of half of each sort, and none that the labeller saw. A text whose answer cannot be understood is
//! left out, and counted; where too few are left there is no score.

use super::material::{FEWEST, Material, Piece};
use super::prompts;
use super::verdicts::degrees;
use crate::bootstrap::interval;
use std::collections::BTreeMap;
use untangle_endpoint::{Reply, Request};
use untangle_schema::Score;

/// The name of the score.
pub(super) const SIMULATION: &str = "simulation";
/// Texts of each sort (as in Bills et al.).
const TEXTS: usize = 5;

/// The texts; none where there are too few.
pub(super) fn pieces(material: &Material) -> Vec<&Piece> {
    let (fires, silent) = (&material.fires, &material.silent);
    if fires.len().min(silent.len()) < FEWEST {
        return Vec::new();
    }
    spread(fires).chain(spread(silent)).collect()
}

/// From the first to the last, evenly: the weak firings and the easy texts, too.
fn spread(pieces: &[Piece]) -> impl Iterator<Item = &Piece> {
    let n = pieces.len();
    let taken = TEXTS.min(n);
    (0..taken).map(move |at| &pieces[at * n / taken])
}

/// A request for each text.
pub(super) fn requests(label: &str, pieces: &[&Piece]) -> Vec<Request> {
    pieces.iter().map(|piece| prompts::simulate(label, &piece.tokens)).collect()
}

/// What the answers come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Simulated {
    /// The endpoint tells no probabilities.
    WithoutOdds,
    /// Of every text the sums of 1, E, a, E E, a a and E a over its tokens, and how many of the answers could not be understood.
    Sums(Vec<Vec<f64>>, u64),
}

/// Reads the answers to the requests of `pieces`.
pub(super) fn simulated(pieces: &[&Piece], replies: &[Reply]) -> Simulated {
    let (mut sums, mut unparseable) = (Vec::new(), 0);
    for (piece, reply) in pieces.iter().zip(replies) {
        let n = piece.tokens.len();
        let expected = match degrees(reply, n) {
            Some(degrees) => match degrees.expected {
                Some(expected) => expected,
                None => return Simulated::WithoutOdds,
            },
            None => {
                unparseable += 1;
                continue;
            }
        };
        let mut own = vec![0.0; 6];
        for (e, a) in expected.iter().zip(&piece.activations) {
            let a = f64::from(*a);
            own.iter_mut().zip([1.0, *e, a, e * e, a * a, e * a]).for_each(|(sum, x)| *sum += x);
        }
        sums.push(own);
    }
    Simulated::Sums(sums, unparseable)
}

impl Simulated {
    /// Answers that could not be understood.
    pub(super) fn unparseable(&self) -> u64 {
        if let Simulated::Sums(_, unparseable) = self { *unparseable } else { 0 }
    }
}

/// The correlation that sums come to; 0 where the judge says the same of all tokens.
fn pearson(sums: &[f64]) -> f64 {
    let [n, x, y, xx, yy, xy] = [0, 1, 2, 3, 4, 5].map(|at| sums[at]);
    let (of_x, of_y) = (n * xx - x * x, n * yy - y * y);
    match (of_x > 0.0, of_y > 0.0) {
        (_, false) => f64::NAN,
        (false, true) => 0.0,
        _ => ((n * xy - x * y) / (of_x * of_y).sqrt()).clamp(-1.0, 1.0),
    }
}

fn whole(sums: &[Vec<f64>]) -> Vec<f64> {
    (0..6).map(|at| sums.iter().map(|text| text[at]).sum()).collect()
}

/// The score; none without probabilities, or where the feature is equally strong everywhere.
pub(super) fn score(own: &Simulated, control: Option<&Simulated>) -> Option<Score> {
    let is_enough = |sums: &[Vec<f64>]| sums.len() >= FEWEST;
    let (sums, unparseable) = match own {
        Simulated::Sums(sums, unparseable) if is_enough(sums) => (sums, unparseable),
        _ => return None,
    };
    let value = Some(pearson(&whole(sums))).filter(|value| value.is_finite())?;
    let control = control.and_then(|control| match control {
        Simulated::Sums(sums, _) if is_enough(sums) => Some(pearson(&whole(sums))).filter(|value| value.is_finite()),
        _ => None,
    });
    let detail =
        BTreeMap::from([("texts".to_owned(), sums.len() as f64), ("unparseable".to_owned(), *unparseable as f64)]);
    Some(Score {
        judge: None,
        scorer: SIMULATION.to_owned(),
        value,
        interval: interval(sums, 0, pearson).map(|interval| (interval.low, interval.high)),
        floor: Some(0.0),
        control,
        n: whole(sums)[0] as u64,
        detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_endpoint::Odds;

    fn piece(activations: &[f32]) -> Piece {
        let tokens = vec![" a".to_owned(); activations.len()];
        Piece { row: 0, document: 0, peak: 0, tokens, activations: activations.to_vec() }
    }

    /// A judge that is sure of these degrees.
    fn reply(degrees: &[u8]) -> Reply {
        let token = |token: String| Odds { likely: vec![(token.clone(), 0.0)], token };
        let lines = degrees.iter().enumerate();
        let odds =
            lines.flat_map(|(at, d)| [token(format!("{}:", at + 1)), token(format!(" {d}")), token("\n".to_owned())]);
        let odds: Vec<Odds> = odds.collect();
        Reply { text: odds.iter().map(|odds| odds.token.as_str()).collect(), odds, ..Reply::default() }
    }

    #[test]
    fn correlation_is_over_all_tokens_of_all_texts_together() {
        let silent = || piece(&[0.0, 0.0, 0.0]);
        let pieces = [piece(&[0.0, 2.0, 4.0]), silent(), silent(), silent(), silent()];
        let pieces: Vec<&Piece> = pieces.iter().collect();
        let score_of = |replies: &[Reply]| score(&simulated(&pieces, replies), None).expect("a score");
        let and_nothing = |first: Reply, last: Reply| [vec![first], vec![reply(&[0, 0, 0]); 3], vec![last]].concat();
        assert!((score_of(&and_nothing(reply(&[0, 4, 8]), reply(&[0, 0, 0]))).value - 1.0).abs() < 1e-12);
        assert_eq!(score_of(&vec![reply(&[3, 3, 3]); 5]).value, 0.0, "one answer to everything");
        // What is not understood is left out. x = 0 9 0 and nine 0, y = 0 2 4 and nine 0: covariance 12 * 18 - 9 * 6 = 162, variances
        // 12 * 81 - 81 = 891 and 12 * 20 - 36 = 204.
        let unclear = Reply { text: "I do not know".to_owned(), ..Reply::default() };
        let some = score_of(&and_nothing(reply(&[0, 9, 0]), unclear.clone()));
        assert!((some.value - 162.0 / f64::sqrt(891.0 * 204.0)).abs() < 1e-12, "{some:?}");
        assert_eq!((some.detail["unparseable"], some.n, some.floor), (1.0, 12, Some(0.0)));
        assert_eq!(score(&simulated(&pieces, &vec![unclear; 5]), None), None, "nothing was measured");
        let without = Reply { odds: Vec::new(), ..reply(&[0, 4, 8]) };
        assert_eq!(simulated(&pieces, &[without, reply(&[0, 0, 0])]), Simulated::WithoutOdds);
        assert_eq!(score(&Simulated::WithoutOdds, None), None);
    }

    #[test]
    fn intervals_are_over_texts() {
        let pieces: Vec<Piece> = (0..10).map(|at| piece(&[0.0, at as f32, 1.0])).collect();
        let pieces: Vec<&Piece> = pieces.iter().collect();
        let replies: Vec<Reply> = (0..10).map(|at| reply(&[0, at as u8, (at % 3) as u8])).collect();
        let own = score(&simulated(&pieces, &replies), None).expect("a score");
        let (low, high) = own.interval.expect("ten texts");
        assert!(low < own.value && own.value < high && high <= 1.0, "{own:?}");
    }
}
