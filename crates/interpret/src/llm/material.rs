//! Which texts of a feature are shown to a labeller, and which is its label judged on?
//!
//! A judge that sees what the labeller saw measures memory. So the documents of a feature's examples are dealt out in order
//! of strength, one to be shown, one to be judged on, and what does not fire comes from documents that are not shown either. Beside
//! what fires a labeller sees near misses, so that a label says what the feature is about and not what its neighbours are, too.
//! Windows lie within their document, so that what holds of documents holds of every token.

use crate::excerpts::Excerpt;
use crate::hash::mix;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use untangle_schema::{Example, FeatureCard};

/// Texts that are shown at most (chosen: delphi shows 40 of 32 tokens each, Neuronpedia 10 to 20).
pub const SHOWN: usize = 16;
/// Near misses that are shown at most.
pub const MISSED: usize = 4;
/// Texts of each sort that a label is judged on at most.
pub const JUDGED: usize = 10;
/// With fewer of either sort, or fewer documents to show, a number says nothing.
pub const FEWEST: usize = 4;
/// A token is marked where the feature fires at least so strongly, as a part of the strongest in the text (as in delphi).
const MARKED: f32 = 0.3;

/// A stretch of text with a feature's activation at each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Row of the store in its middle.
    pub row: u64,
    /// Its document.
    pub document: u32,
    /// Index of that row among `tokens`.
    pub peak: usize,
    /// Tokens as text.
    pub tokens: Vec<String>,
    /// Activation at each.
    pub activations: Vec<f32>,
}

/// What is known of a feature by its texts, dealt out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Material {
    /// For the labeller, strongest first.
    pub shown: Vec<Piece>,
    /// For the labeller: a feature that is near fires in them, and this one does not.
    pub missed: Vec<Piece>,
    /// For the judge: the feature fires in them.
    pub fires: Vec<Piece>,
    /// For the judge: it does not.
    pub silent: Vec<Piece>,
    /// How many of the silent ones have a feature firing in them that is near to this one.
    pub near: usize,
}

impl Piece {
    fn of_example(example: &Example) -> Self {
        let (tokens, activations) = (example.tokens.clone(), example.activations.clone());
        Piece { row: example.row, document: example.document, peak: example.peak, tokens, activations }
    }

    fn of_excerpt(excerpt: &Excerpt, activations: Option<&Vec<f32>>) -> Self {
        let silent = || vec![0.0; excerpt.tokens.len()];
        let mut activations = activations.cloned().unwrap_or_else(silent);
        activations.resize(excerpt.tokens.len(), 0.0);
        let (row, document, peak) = (excerpt.row, excerpt.document, excerpt.peak);
        Piece { row, document, peak, tokens: excerpt.tokens.clone(), activations }
    }

    /// The strongest activation.
    pub fn strength(&self) -> f32 {
        self.activations.iter().map(|activation| activation.abs()).fold(0.0, f32::max)
    }

    /// Which tokens are marked.
    pub fn marks(&self) -> Vec<bool> {
        let least = MARKED * self.strength();
        self.activations.iter().map(|activation| *activation != 0.0 && activation.abs() >= least).collect()
    }

    /// The marks of another text, moved so that its middle is that of this one; its middle alone where none fits.
    pub fn marks_of(&self, other: &Piece) -> Vec<bool> {
        let theirs = other.marks();
        let at = |own: usize| (own + other.peak).checked_sub(self.peak).and_then(|at| theirs.get(at).copied());
        let mut marks: Vec<bool> = (0..self.tokens.len()).map(|own| at(own).unwrap_or(false)).collect();
        if !marks.contains(&true)
            && let Some(middle) = marks.get_mut(self.peak)
        {
            *middle = true;
        }
        marks
    }

    /// The text, by which copies are known.
    fn text(&self) -> String {
        self.tokens.concat().trim().to_owned()
    }
}

/// Deals the texts of a feature out: its examples, and the excerpts with the feature's `firings` in them. `near` are the excerpts in
/// which a neighbour fires; `seed` chooses among those that do not fire.
pub fn material(
    card: &FeatureCard,
    excerpts: &[Excerpt],
    firings: &BTreeMap<usize, Vec<f32>>,
    near: &BTreeSet<usize>,
    seed: u64,
) -> Material {
    let examples = card.examples.iter().chain(&card.sampled).map(Piece::of_example);
    let fired = firings.iter().filter_map(|(id, own)| Some(Piece::of_excerpt(excerpts.get(*id)?, Some(own))));
    let mut pieces: Vec<Piece> = examples.chain(fired).filter(|piece| piece.strength() > 0.0).collect();
    pieces.sort_by(|a, b| b.strength().total_cmp(&a.strength()).then(a.row.cmp(&b.row)));
    let mut texts = HashSet::new();
    pieces.retain(|piece| texts.insert(piece.text()));
    let (shown, judged) = dealt(pieces);
    let fires = spread(one_each(judged), JUDGED);
    let is_free = |piece: &Piece| fires.iter().all(|other| other.document != piece.document);
    let misses = card.near_misses.iter().map(|near| Piece::of_example(&near.example)).filter(is_free);
    let missed: Vec<Piece> = misses.filter(|piece| texts.insert(piece.text())).take(MISSED).collect();
    let of_shown: BTreeSet<u32> = shown.iter().chain(&missed).map(|piece| piece.document).collect();
    let (silent, near) = silent(card.feature, excerpts, firings, near, &of_shown, &mut texts, seed);
    Material { shown, missed, fires, silent, near }
}

/// Every second document, by its strongest text, is shown, and the others are not.
fn dealt(pieces: Vec<Piece>) -> (Vec<Piece>, Vec<Piece>) {
    let mut order: BTreeMap<u32, usize> = BTreeMap::new();
    for piece in &pieces {
        let next = order.len();
        order.entry(piece.document).or_insert(next);
    }
    // Of a single document there is nothing left to judge on; it is shown.
    let (mut shown, judged): (Vec<Piece>, Vec<Piece>) =
        pieces.into_iter().partition(|piece| order[&piece.document].is_multiple_of(2));
    shown = spread(shown, SHOWN);
    (shown, judged)
}

/// The strongest of every document: texts of one document are no independent trials.
fn one_each(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut documents = BTreeSet::new();
    pieces.into_iter().filter(|piece| documents.insert(piece.document)).collect()
}

/// At most so many, evenly from first to last: the weak firings belong to a feature, too.
fn spread(pieces: Vec<Piece>, most: usize) -> Vec<Piece> {
    let n = pieces.len();
    let kept: BTreeSet<usize> = (0..most.min(n)).map(|at| at * n / most.min(n)).collect();
    pieces.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, piece)| piece).collect()
}

/// Excerpts in which the feature does not fire, up to half of them with a neighbour firing, and how many these are.
fn silent(
    feature: usize,
    excerpts: &[Excerpt],
    firings: &BTreeMap<usize, Vec<f32>>,
    near: &BTreeSet<usize>,
    of_shown: &BTreeSet<u32>,
    texts: &mut HashSet<String>,
    seed: u64,
) -> (Vec<Piece>, usize) {
    let mut free: Vec<usize> = (0..excerpts.len())
        .filter(|id| !firings.contains_key(id) && !of_shown.contains(&excerpts[*id].document))
        .collect();
    free.sort_by_key(|id| mix(seed ^ mix(feature as u64 + 1) ^ excerpts[*id].row));
    let (hard, easy): (Vec<usize>, Vec<usize>) = free.into_iter().partition(|id| near.contains(id));
    let mut documents = BTreeSet::new();
    let mut take = |ids: &[usize], most: usize| -> Vec<Piece> {
        let pieces = ids.iter().map(|id| Piece::of_excerpt(&excerpts[*id], None));
        let fresh = pieces.filter(|piece| !piece.text().is_empty() && texts.insert(piece.text()));
        fresh.filter(|piece| documents.insert(piece.document)).take(most).collect()
    };
    let mut taken = take(&hard, JUDGED / 2);
    let n_hard = taken.len();
    taken.extend(take(&easy, JUDGED - n_hard));
    (taken, n_hard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use untangle_schema::{Histogram, NearMiss};

    fn card(examples: Vec<Example>) -> FeatureCard {
        FeatureCard {
            feature: 3,
            labels: Vec::new(),
            held_out_firings: 0,
            density: 0.1,
            max_activation: 9.0,
            mean_activation: 1.0,
            sampled: examples.iter().skip(2).cloned().collect(),
            banded: Vec::new(),
            examples,
            histogram: Histogram::default(),
            top_logits: Vec::new(),
            bottom_logits: Vec::new(),
            neighbours: Vec::new(),
            ..FeatureCard::default()
        }
    }

    fn example(row: u64, document: u32, text: u8, activation: f32) -> Example {
        let tokens = vec!["a".to_owned(), format!(" {text}")];
        Example { row, document, position: 1, activation, tokens, activations: vec![0.0, activation], peak: 1 }
    }

    fn excerpt(row: u64, document: u32, text: u8) -> Excerpt {
        Excerpt { row, document, position: 1, peak: 1, tokens: vec!["a".to_owned(), format!(" {text}")] }
    }

    proptest! {
        #[test]
        fn nothing_is_shown_and_judged_and_nothing_is_both_example_and_negative(
            examples in proptest::collection::vec((0u64..200, 0u32..30, 0u8..60, 1u8..9), 0..40),
            others in proptest::collection::vec((200u64..400, 0u32..40, 0u8..90, proptest::bool::ANY), 0..60),
            misses in proptest::collection::vec((400u64..500, 0u32..50, 0u8..99), 0..8),
            seed in 0u64..9,
        ) {
            let examples = examples.into_iter().map(|(r, d, t, a)| example(r, d, t, f32::from(a))).collect();
            let excerpts: Vec<Excerpt> = others.iter().map(|(r, d, t, _)| excerpt(*r, *d, *t)).collect();
            let fires = others.iter().enumerate().filter(|(_, (_, _, _, fires))| *fires);
            let firings = fires.map(|(id, _)| (id, vec![0.0, 2.0])).collect();
            let near = (0..excerpts.len()).step_by(3).collect();
            let misses = misses.into_iter().map(|(r, d, t)| NearMiss { by: 1, example: example(r, d, t, 0.0) });
            let card = FeatureCard { near_misses: misses.collect(), ..card(examples) };
            let found = material(&card, &excerpts, &firings, &near, seed);
            let documents = |pieces: &[Piece]| pieces.iter().map(|piece| piece.document).collect::<BTreeSet<_>>();
            let texts = |pieces: &[Piece]| pieces.iter().map(Piece::text).collect::<BTreeSet<_>>();
            let judged = [&found.fires[..], &found.silent].concat();
            let seen = [&found.shown[..], &found.missed].concat();
            prop_assert!(documents(&seen).is_disjoint(&documents(&judged)), "documents shown and judged");
            prop_assert!(texts(&seen).is_disjoint(&texts(&judged)), "copies of a text shown and judged");
            prop_assert!(texts(&found.shown).is_disjoint(&texts(&found.missed)), "a text on both sides");
            prop_assert!(found.missed.iter().all(|piece| piece.strength() == 0.0) && found.missed.len() <= MISSED);
            prop_assert!(texts(&found.fires).is_disjoint(&texts(&found.silent)), "a text on both sides");
            prop_assert!(found.silent.iter().all(|piece| piece.strength() == 0.0));
            prop_assert!(found.fires.iter().chain(&found.shown).all(|piece| piece.strength() > 0.0));
            prop_assert_eq!(documents(&found.fires).len(), found.fires.len(), "one of each document");
            prop_assert!(found.shown.len() <= SHOWN && found.fires.len() <= JUDGED && found.silent.len() <= JUDGED);
        }
    }

    #[test]
    fn documents_are_dealt_in_order_of_strength() {
        let examples = (0..6).map(|n| example(n, n as u32, n as u8, 9.0 - n as f32)).collect();
        let found = material(&card(examples), &[], &BTreeMap::new(), &BTreeSet::new(), 0);
        let documents = |pieces: &[Piece]| pieces.iter().map(|piece| piece.document).collect::<Vec<_>>();
        assert_eq!((documents(&found.shown), documents(&found.fires)), (vec![0, 2, 4], vec![1, 3, 5]));
    }

    #[test]
    fn marks_are_where_it_fires_and_move_with_the_middle() {
        let piece = |peak, activations: &[f32]| Piece {
            row: 0,
            document: 0,
            peak,
            tokens: vec![String::new(); activations.len()],
            activations: activations.to_vec(),
        };
        let fires = piece(2, &[0.0, 1.0, 4.0, -2.0]);
        assert_eq!(fires.marks(), [false, false, true, true]);
        assert_eq!(piece(1, &[0.0; 5]).marks_of(&fires), [false, true, true, false, false]);
        assert_eq!(piece(0, &[0.0; 1]).marks_of(&piece(0, &[0.0, 5.0])), [true], "none fits");
    }
}
