//! Do the scores of output labels predict what features do? Features of a dictionary of the organism, drawn evenly, are
//! turned up one by one while texts are written from neutral beginnings. The effect of a feature is the share of the
//! written tokens that are among the tokens its direction raises most, beyond the share that the model itself writes.
//!
//! `effects SAE FEATURES.db [TEXTS] [FEATURES]`; the database needs scores of outputs, as `untangle features` makes them.

#![allow(clippy::print_stdout, reason = "a measurement is for its reader")]

use std::collections::BTreeSet;
use std::path::Path;
use untangle_interpret::saying::{AMPLIFIED, CONFIDENCE, OUTPUT, SAID};
use untangle_interpret::steer::{Dictionary, Steering, Step};
use untangle_interpret::{Database, Edit, InterpretError, Operator};
use untangle_model::{GenerateOptions, LanguageModel, LoadOptions, Sampling, generate_rows};
use untangle_organism::{Stage, bundled, stories};
use untangle_sae::Sae;
use untangle_schema::mix::mix;
use untangle_schema::{BosPolicy, FeatureCard, Label};

/// Features that are turned up in one batch.
const TOGETHER: usize = 16;
/// Tokens of a text.
const TOKENS: usize = 30;
/// Features that are chosen by each score.
const CHOSEN: usize = 20;

struct Measured {
    /// S_out, the change of confidence, F1 of the input label.
    scores: [f64; 3],
    /// With twice the largest activation added, as the scores are measured, and held at the largest activation.
    effects: [f64; 2],
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sae, database, rest @ ..] = &arguments[..] else {
        println!("effects SAE FEATURES.db [TEXTS] [FEATURES]");
        return;
    };
    let number = |at: usize, else_: usize| rest.get(at).map_or(else_, |number| number.parse().expect("a number"));
    let (texts, most) = (number(0, 16), number(1, 400));
    let measured = measure(Path::new(sae), Path::new(database), texts, most)
        .expect("a dictionary of the organism and its database");
    println!("{} features with an output label, {texts} texts of {TOKENS} tokens each\n", measured.len());
    println!("rank correlation with the effect       add {AMPLIFIED}x                set 1x");
    for (name, at) in [("S_out", 0), ("change of confidence", 1), ("F1 of the input label", 2)] {
        let of = |effect: usize| {
            let pairs: Vec<(f64, f64)> = measured.iter().map(|m| (m.scores[at], m.effects[effect])).collect();
            let (rho, low, high) = rank_correlation(&pairs);
            format!("{rho:+.2} [{low:+.2}, {high:+.2}]")
        };
        println!("  {name:<32} {:>22} {:>22}", of(0), of(1));
    }
    println!("\nmean effect of the {CHOSEN} features with the highest …");
    for (name, at) in [("S_out", 0), ("change of confidence", 1), ("F1 of the input label", 2)] {
        let mut ordered: Vec<&Measured> = measured.iter().collect();
        ordered.sort_by(|a, b| b.scores[at].total_cmp(&a.scores[at]));
        println!(
            "  {name:<32} {:>22.4} {:>22.4}",
            mean(&ordered[..CHOSEN.min(ordered.len())], 0),
            mean(&ordered[..CHOSEN.min(ordered.len())], 1)
        );
    }
    let all: Vec<&Measured> = measured.iter().collect();
    println!("  {:<32} {:>22.4} {:>22.4}", "of all", mean(&all, 0), mean(&all, 1));
}

fn mean(of: &[&Measured], effect: usize) -> f64 {
    of.iter().map(|measured| measured.effects[effect]).sum::<f64>() / of.len().max(1) as f64
}

fn measure(sae: &Path, database: &Path, texts: usize, most: usize) -> Result<Vec<Measured>, InterpretError> {
    let model = bundled::load(Stage::Base, &LoadOptions::default()).expect("is part of the program");
    let (sae, database) = (Sae::load(sae)?, Database::open(database)?);
    let cards = drawn(&database, sae.d_sae(), most)?;
    let own = written(&model, &sae, &[Vec::new()], texts)?.remove(0);
    let mut measured = Vec::new();
    for some in cards.chunks(TOGETHER) {
        let effects = [Operator::Add as fn(f32) -> Operator, Operator::Set].iter().zip([AMPLIFIED, 1.0]);
        let effects = effects.map(|(operator, times)| {
            let step = |(card, _): &(FeatureCard, _)| {
                vec![Step::from(Edit { feature: card.feature, operator: operator(times * card.max_activation) })]
            };
            let sets: Vec<Vec<Step>> = some.iter().map(step).collect();
            written(&model, &sae, &sets, texts)
        });
        let effects: Vec<Vec<Vec<u32>>> = effects.collect::<Result<_, _>>()?;
        for (at, (card, scores)) in some.iter().enumerate() {
            let said: BTreeSet<u32> = card.top_logits.iter().take(SAID).map(|effect| effect.id).collect();
            let share = |tokens: &[u32]| {
                tokens.iter().filter(|id| said.contains(id)).count() as f64 / tokens.len().max(1) as f64
            };
            let effect = |operator: usize| share(&effects[operator][at]) - share(&own);
            measured.push(Measured { scores: *scores, effects: [effect(0), effect(1)] });
        }
    }
    Ok(measured)
}

/// At most so many features that have scores, drawn evenly, in the order of the draw.
fn drawn(database: &Database, d_sae: usize, most: usize) -> Result<Vec<(FeatureCard, [f64; 3])>, InterpretError> {
    let mut order: Vec<usize> = (0..d_sae).collect();
    order.sort_by_key(|feature| mix(*feature as u64));
    let mut drawn = Vec::new();
    for feature in order {
        let card = database.card(feature)?;
        if let Some(scores) = scores(&card) {
            drawn.push((card, scores));
        }
        if drawn.len() == most {
            break;
        }
    }
    Ok(drawn)
}

fn scores(card: &FeatureCard) -> Option<[f64; 3]> {
    let score =
        |name: &str| card.labels.iter().flat_map(|label| &label.scores).find(|s| s.scorer == name).map(|s| s.value);
    Some([score(OUTPUT)?, score(CONFIDENCE)?, card.label().and_then(Label::f1).unwrap_or(0.0)])
}

/// The tokens that are written with each of the sets of steps, all texts together, without their beginnings.
fn written(
    model: &LanguageModel,
    sae: &Sae,
    sets: &[Vec<Step>],
    texts: usize,
) -> Result<Vec<Vec<u32>>, InterpretError> {
    let dictionaries = [Dictionary::only(sae)];
    let options = GenerateOptions { max_new_tokens: TOKENS, sampling: Sampling::at(0.8), seed: 0, stop_at_eos: true };
    let mut tokens = vec![Vec::new(); sets.len()];
    for (number, beginning) in stories::BEGINNINGS.iter().enumerate() {
        let prompt = model.tokenizer()?.encode_with_bos(beginning, BosPolicy::Auto)?;
        let each = (texts / stories::BEGINNINGS.len()).max(1);
        // Every feature meets the same seeds.
        let of_row = |row: usize| (number * each + row % each) as u64;
        let rows = each * sets.len();
        let seeds: Vec<u64> = (0..rows).map(of_row).collect();
        let steps: Vec<&[Step]> = (0..rows).map(|row| &sets[row / each][..]).collect();
        let mut hook = Steering::by_row(model, &dictionaries, &steps)?;
        let texts = generate_rows(model, &prompt, &options, &seeds, &mut hook, &mut |_, _| {})?;
        texts.into_iter().enumerate().for_each(|(row, text)| tokens[row / each].extend(text.tokens));
    }
    Ok(tokens)
}

/// Spearman's rho with its interval of 95 % by Fisher's transformation.
fn rank_correlation(pairs: &[(f64, f64)]) -> (f64, f64, f64) {
    let (x, y) = (ranks(pairs.iter().map(|p| p.0).collect()), ranks(pairs.iter().map(|p| p.1).collect()));
    let n = pairs.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let rho = sum(&x, &y) / (sum(&x, &x) * sum(&y, &y)).sqrt();
    let (z, half) = (rho.atanh(), 1.96 / (n - 3.0).sqrt());
    (rho, (z - half).tanh(), (z + half).tanh())
}

/// From 0 on; equal values share the mean of their ranks.
fn ranks(values: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|at| ranks[*at] = mean);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_hand() {
        assert_eq!(ranks(vec![3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        let (rho, ..) = rank_correlation(&[(1.0, 10.0), (2.0, 30.0), (3.0, 20.0), (4.0, 40.0)]);
        assert!((rho - 0.8).abs() < 1e-12);
    }
}
