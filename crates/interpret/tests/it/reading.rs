//! A prompt, read: the same numbers as those that evaluation and steering give, token by token.

use crate::planted::{POINT, axes, corpus, dictionary, model, perfect, perfect_of, random_dictionary};
use tch::Tensor;
use untangle_interpret::ce::Context;
use untangle_interpret::read::{Active, Reader};
use untangle_interpret::steer::SteerProblem;
use untangle_interpret::{Edit, InterpretError, Operator, Scope, SteerOptions, ce_recovered, steer};
use untangle_model::{GenerateOptions, LanguageModel, Recorder, Sampling};
use untangle_sae::Codes;
use untangle_schema::{BosPolicy, Silent};

const D: usize = 16;

/// `<s>` first, and once more in the middle.
fn tokens() -> Vec<u32> {
    corpus(2, 20).iter().map(|token| token.token).take(32).collect()
}

fn rows(model: &LanguageModel, tokens: &[u32]) -> Vec<f32> {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let mut recorder = Recorder::new(vec![POINT]);
    model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut recorder).expect("fits");
    recorder.take_columns().remove(0)
}

#[test]
fn losses_are_those_that_evaluation_finds() {
    let (model, sae, tokens) = (model(), random_dictionary(D, 40), tokens());
    let reading = Reader::new(&model, &sae).expect("fits").read(&tokens).expect("read");
    let context = Context { counts: vec![true; tokens.len()], tokens: tokens.clone() };
    let found = ce_recovered(&model, &sae, &[context], &Silent).expect("measured");
    // Evaluation rounds log-probabilities to f32 before it adds them up.
    assert!((reading.mean_loss.expect("predicted") - found.ce_clean).abs() < 1e-6);
    assert!((reading.mean_spliced_loss.expect("predicted") - found.ce_sae).abs() < 1e-6);
    assert!((found.ce_clean - found.ce_sae).abs() > 1e-4, "the dictionary costs something");
    let predicted = reading.tokens.iter().filter(|token| token.loss.is_some()).count();
    assert_eq!(predicted as u64, found.tokens);
}

#[test]
fn features_are_those_of_the_rows_and_special_tokens_are_left_alone() {
    let (model, sae, tokens) = (model(), random_dictionary(D, 40), tokens());
    let reading = Reader::new(&model, &sae).expect("fits").read(&tokens).expect("read");
    let rows = rows(&model, &tokens);
    let mut codes = Codes::new();
    sae.encode(&rows, &mut codes).expect("encoded");
    assert!(tokens[1..].contains(&0), "a special token in the middle");
    let (mut missing, mut all) = (0.0, 0.0);
    for (at, token) in reading.tokens.iter().enumerate() {
        assert_eq!((token.id, token.special), (tokens[at], tokens[at] == 0));
        if token.special {
            assert!(token.features.is_empty() && token.missing.is_none() && token.loss.is_none());
            continue;
        }
        let of = |active: &Active| codes.activation(at, active.feature);
        assert!(token.features.iter().all(|active| (of(active) - active.activation).abs() < 1e-5), "token {at}");
        assert_eq!(token.features.len(), codes.row(at).0.len());
        assert!(token.features.is_sorted_by(|a, b| a.activation >= b.activation));
        let row = &rows[at * D..(at + 1) * D];
        let mut x_hat = [0.0_f64; D];
        for active in &token.features {
            x_hat
                .iter_mut()
                .zip(sae.decoder_row(active.feature))
                .for_each(|(x, d)| *x += f64::from(active.activation * d));
        }
        let square = |x: f64| x * x;
        let error: f64 = row.iter().zip(x_hat).map(|(x, y)| square(f64::from(*x) - y)).sum();
        let length: f64 = row.iter().map(|x| square(f64::from(*x))).sum();
        assert!((token.missing.expect("ordinary") - error / length).abs() < 1e-5);
        (missing, all) = (missing + error, all + length);
        let probability: f64 = token.next.iter().map(|next| next.probability).sum();
        assert!(token.next.is_sorted_by(|a, b| a.probability >= b.probability) && probability <= 1.0 + 1e-9);
    }
    assert!((reading.missing.expect("tokens") - missing / all).abs() < 1e-5);
    let strongest = reading.strongest();
    let most = |feature| {
        (0..tokens.len()).filter(|at| tokens[*at] != 0).map(|at| codes.activation(at, feature)).fold(0.0, f32::max)
    };
    assert!(strongest.iter().all(|found| (found.activation - most(found.feature)).abs() < 1e-5));
}

#[test]
fn features_alone_are_those_of_the_whole_reading() {
    let (model, sae, tokens) = (model(), random_dictionary(D, 40), tokens());
    let reader = Reader::new(&model, &sae).expect("fits");
    let (whole, alone) = (reader.read(&tokens).expect("read"), reader.features(&tokens).expect("read"));
    assert!(whole.tokens.iter().any(|token| !token.features.is_empty()));
    for (whole, alone) in whole.tokens.iter().zip(&alone.tokens) {
        assert_eq!((whole.id, &whole.text, whole.special), (alone.id, &alone.text, alone.special));
        assert_eq!(whole.features, alone.features);
        assert!(alone.loss.is_none() && alone.next.is_empty());
    }
    assert_eq!(whole.tokens.len(), alone.tokens.len());
    assert!(matches!(reader.features(&[]), Err(InterpretError::NothingToRead)));
}

#[test]
fn a_perfect_dictionary_misses_nothing_and_one_of_half_the_axes_what_is_negative() {
    let (model, tokens) = (model(), tokens());
    let exact = perfect(D);
    let reading = Reader::new(&model, &exact).expect("fits").read(&tokens).expect("read");
    for token in reading.tokens.iter().filter(|token| !token.special) {
        assert!(token.missing.expect("ordinary") < 1e-12, "{token:?}");
        let more = token.spliced_loss.zip(token.loss).map_or(0.0, |(spliced, loss)| spliced - loss);
        assert!(more.abs() < 1e-5, "{token:?}");
    }
    let half = axes(D);
    let reading = Reader::new(&model, &half).expect("fits").read(&tokens).expect("read");
    let rows = rows(&model, &tokens);
    let sum = |row: &[f32], negative: bool| -> f64 {
        row.iter().filter(|x| !negative || **x < 0.0).map(|x| f64::from(*x).powi(2)).sum()
    };
    let row = &rows[D..2 * D];
    assert!((reading.tokens[1].missing.expect("ordinary") - sum(row, true) / sum(row, false)).abs() < 1e-6);
}

#[test]
fn an_ablation_moves_predictions_as_steering_says() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let prompt = "the dog saw Tom and a little boat . Lily ran home";
    let tokens = model.tokenizer().expect("has one").encode_with_bos(prompt, BosPolicy::Auto).expect("encoded");
    let reader = Reader::new(&model, &sae).expect("fits");
    let reading = reader.read(&tokens).expect("read");
    let strongest = reading.strongest();
    let (first, second) = (strongest[0].feature, strongest[1].feature);
    let ablation = reader.ablate(&tokens, &[first, second]).expect("taken out");
    let sampling = Sampling::GREEDY;
    let generate = GenerateOptions { max_new_tokens: 1, sampling, seed: 0, stop_at_eos: true };
    let edits = [first, second].map(|feature| Edit { feature, operator: Operator::Set(0.0) });
    let options = SteerOptions { generate, scope: Scope::All, bos: BosPolicy::Auto };
    let steered = steer(&model, &sae, &edits, prompt, &options).expect("steered");
    assert!(ablation.mean_kl > 1e-6 && (ablation.mean_kl - steered.effect.kl).abs() < 1e-9, "{ablation:?}");
    assert_eq!(ablation.mean_loss, reading.mean_loss);
    for (read, ablated) in reading.tokens.iter().zip(&ablation.tokens) {
        let taken: Vec<usize> = ablated.taken.iter().map(|active| active.feature).collect();
        let active = |feature: &usize| read.features.iter().any(|active| active.feature == *feature);
        assert_eq!(taken, [first, second].into_iter().filter(|feature| active(feature)).collect::<Vec<_>>());
        assert_eq!(ablated.loss, read.loss);
        let before = |id| ablated.next.iter().find(|change| change.id == id).map(|change| change.before);
        assert!(read.next.iter().all(|next| before(next.id).is_some_and(|p| (p - next.probability).abs() < 1e-12)));
        let moved = |change: &untangle_interpret::read::Change| (change.after - change.before).abs();
        assert!(ablated.next.is_sorted_by(|a, b| moved(a) >= moved(b)));
    }
}

#[test]
fn a_feature_that_fires_nowhere_is_missed_by_nobody() {
    let model = model();
    // Feature 0 reads nothing.
    let silent = dictionary(D, &[0.0; D], &[1.0; D]);
    let reader = Reader::new(&model, &silent).expect("fits");
    let ablation = reader.ablate(&tokens(), &[0]).expect("taken out");
    assert!(
        ablation
            .tokens
            .iter()
            .all(|token| token.taken.is_empty() && token.kl == 0.0 && token.loss == token.ablated_loss)
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let reader = Reader::new(&model, &sae).expect("fits");
    assert!(matches!(reader.read(&[]), Err(InterpretError::NothingToRead)));
    assert!(matches!(reader.ablate(&[], &[0]), Err(InterpretError::NothingToRead)));
    assert!(matches!(reader.ablate(&[1], &[40]), Err(InterpretError::NoSuchFeature { feature: 40, d_sae: 40 })));
    assert!(matches!(reader.ablate(&[1], &[3, 3]), Err(InterpretError::Steer(SteerProblem::Twice { feature: 3, .. }))));
    assert!(matches!(reader.read(&[1; 65]), Err(InterpretError::Model(_))), "the model has 64 positions");
    let others = perfect_of(D, "77");
    assert!(matches!(Reader::new(&model, &others), Err(InterpretError::OtherModelThanDictionary { .. })));
    let alone = Reader::new(&model, &sae).expect("fits").read(&[5]).expect("one token, nothing to predict");
    assert!(alone.mean_loss.is_none() && alone.tokens[0].loss.is_none() && !alone.tokens[0].features.is_empty());
}
