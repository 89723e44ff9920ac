//! A feature as pages get it: short keys and few digits, because there are many features.
//!
//! | key | holds |
//! |---|---|
//! | `id`, `density`, `max`, `mean`, `held` | number, part of rows, largest and mean activation, held-out firings |
//! | `labels` | `kind`, `source`, `text`, and `scores` of `scorer`, `value`, `interval`, `floor`, `control`, `n` |
//! | `edges`, `counts` | histogram |
//! | `bands` | of each fifth of the range of activations that has some, the uppermost first: its ends `from` and `to`, the `part` of all firings that lie in it, and `examples` |
//! | `top`, `sampled` | examples: `a` activation, `d` document, `p` position, `k` peak, `t` tokens, `v` activations |
//! | `miss` | places where it is silent and a near feature fires: an example each, with that one as `by` |
//! | `parts` | of a crosscoder's features: `kind`, `shares`, `cosines` with the first part |
//! | `up`, `down` | tokens raised and lowered: pairs of token and effect |
//! | `near` | neighbours: kind, feature, value |
//!
//! Tokens are indices into a list that many features share. Activations of an example are pairs of index and value, of the
//! tokens on which the feature fires.

use crate::bands::{self, BANDS};
use serde_json::{Value, json};
use std::collections::HashMap;
use untangle_schema::{Example, FeatureCard, Label, LogitEffect};

/// Texts of tokens, each once.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    texts: Vec<String>,
    indices: HashMap<String, usize>,
}

impl Tokens {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The texts, in the order of their indices.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    fn index(&mut self, text: &str) -> usize {
        if let Some(index) = self.indices.get(text) {
            return *index;
        }
        self.indices.insert(text.to_owned(), self.texts.len());
        self.texts.push(text.to_owned());
        self.texts.len() - 1
    }
}

/// A number with four significant digits.
pub fn short(value: f64) -> Value {
    if value == 0.0 || !value.is_finite() {
        return json!(0);
    }
    let power = 3 - value.abs().log10().floor() as i32;
    // Beyond that a number has no digits to lose, and powers of ten overflow.
    if !(-20..=300).contains(&power) {
        return json!(value);
    }
    // Divided by a whole number and not multiplied by its inverse, so that the digits that are left are the last ones.
    let scale = 10_f64.powi(power.abs());
    let rounded = if power >= 0 { (value * scale).round() / scale } else { (value / scale).round() * scale };
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 { json!(rounded as i64) } else { json!(rounded) }
}

/// Everything about a feature; the texts of its tokens are added to `tokens`.
pub fn feature(card: &FeatureCard, tokens: &mut Tokens) -> Value {
    let mut examples = |all: &[Example]| all.iter().map(|one| example(one, tokens)).collect::<Vec<_>>();
    let (top, sampled) = (examples(&card.examples), examples(&card.sampled));
    let mut by_band: Vec<Vec<Value>> = vec![Vec::new(); BANDS];
    for one in &card.banded {
        by_band[bands::number(one.activation, card.max_activation)].push(example(one, tokens));
    }
    // The uppermost first, and those of which there is something to show.
    let band = |(number, examples): (usize, Vec<Value>)| {
        let [from, to, part] = bands::ends(card, number).map(|value| short(value.into()));
        json!({ "from": from, "to": to, "part": part, "examples": examples })
    };
    let shown = by_band.into_iter().enumerate().rev().filter(|(_, examples)| !examples.is_empty());
    let by_band: Vec<Value> = shown.map(band).collect();
    let misses = card.near_misses.iter().map(|near| {
        let mut one = example(&near.example, tokens);
        one["by"] = json!(near.by);
        one
    });
    let misses: Vec<Value> = misses.collect();
    let parts = card.sharing.as_ref().map(|sharing| {
        let shares: Vec<Value> = sharing.shares.iter().map(|share| short(*share)).collect();
        let cosines: Vec<Value> = sharing.cosines.iter().map(|cosine| cosine.map_or(Value::Null, short)).collect();
        json!({ "kind": sharing.kind, "shares": shares, "cosines": cosines })
    });
    let near = |near: &untangle_schema::Neighbour| json!([near.kind.name(), near.feature, short(near.value.into())]);
    json!({
        "id": card.feature,
        "density": short(card.density),
        "max": short(card.max_activation.into()),
        "mean": short(card.mean_activation.into()),
        "held": card.held_out_firings,
        "labels": card.labels.iter().map(label).collect::<Vec<_>>(),
        "edges": card.histogram.edges.iter().map(|edge| short((*edge).into())).collect::<Vec<_>>(),
        "counts": card.histogram.counts,
        "top": top,
        "sampled": sampled,
        "bands": by_band,
        "miss": misses,
        "parts": parts,
        "up": effects(&card.top_logits),
        "down": effects(&card.bottom_logits),
        "near": card.neighbours.iter().map(near).collect::<Vec<_>>(),
    })
}

fn label(label: &Label) -> Value {
    let score = |score: &untangle_schema::Score| {
        json!({
            "scorer": score.scorer,
            "value": short(score.value),
            "interval": score.interval.map(|(low, high)| [short(low), short(high)]),
            "floor": score.floor.map(short),
            "control": score.control.map(short),
            "n": score.n,
        })
    };
    let scores: Vec<Value> = label.scores.iter().map(score).collect();
    json!({ "kind": label.kind.name(), "source": label.source, "text": label.text, "scores": scores })
}

fn example(example: &Example, tokens: &mut Tokens) -> Value {
    let fires = example.activations.iter().enumerate().filter(|(_, activation)| **activation != 0.0);
    let values: Vec<Value> = fires.flat_map(|(at, activation)| [json!(at), short((*activation).into())]).collect();
    json!({
        "a": short(example.activation.into()),
        "d": example.document,
        "p": example.position,
        "k": example.peak,
        "t": example.tokens.iter().map(|token| tokens.index(token)).collect::<Vec<_>>(),
        "v": values,
    })
}

fn effects(effects: &[LogitEffect]) -> Vec<Value> {
    effects.iter().map(|effect| json!([effect.token, short(effect.effect.into())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        let shown =
            [0.0, 52.104_3, 0.001_298_76, -3.0, 123_456.0, 1e-9, f64::NAN, 0.1 + 0.2].map(short).map(|v| v.to_string());
        assert_eq!(shown, ["0", "52.1", "0.001299", "-3", "123500", "1e-9", "0", "0.3"]);
    }

    #[test]
    fn tokens_are_listed_once_and_only_what_fires_is_kept() {
        let one = Example {
            row: 3,
            document: 7,
            position: 2,
            activation: 4.5,
            tokens: ["a", " b", "a"].map(str::to_owned).to_vec(),
            activations: vec![0.0, 4.5, -1.25],
            peak: 1,
        };
        let mut tokens = Tokens::new();
        let found = example(&one, &mut tokens);
        assert_eq!(found, json!({ "a": 4.5, "d": 7, "p": 2, "k": 1, "t": [0, 1, 0], "v": [1, 4.5, 2, -1.25] }));
        assert_eq!(tokens.texts(), ["a", " b"]);
    }
}
