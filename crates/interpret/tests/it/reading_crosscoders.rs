//! A text read by a crosscoder: of several places of one model, and of several models.

use crate::planted::{POINT, corpus, model, model_of, random_dictionary};
use std::collections::BTreeMap;
use tch::Tensor;
use untangle_interpret::InterpretError;
use untangle_interpret::corpus::side_by_side;
use untangle_interpret::read::Reader;
use untangle_interpret::read::problem::ReadProblem;
use untangle_interpret::steer::Kind;
use untangle_model::{Hook, LanguageModel, ModelError, Pass, Recorder};
use untangle_sae::{Codes, Crosscoder, Description, Place, Provenance};
use untangle_schema::{HookPoint, Site};

const D: usize = 16;
const OTHER: HookPoint = HookPoint::block(1, Site::ResidPost);

fn tokens() -> Vec<u32> {
    corpus(2, 20).iter().map(|token| token.token).take(32).collect()
}

fn ids(tokens: &[u32]) -> Tensor {
    Tensor::from_slice(&tokens.iter().map(|id| i64::from(*id)).collect::<Vec<_>>()).unsqueeze(0)
}

/// A crosscoder of two places, each of a model.
fn crosscoder(places: [(&LanguageModel, HookPoint); 2]) -> Crosscoder {
    let plain = random_dictionary(2 * D, 24);
    let place = |(model, point): (&LanguageModel, HookPoint)| Place {
        hook: Some(point.to_string()),
        model: Some(model.identity().name),
        model_weights: Some(model.identity().weights_sha256),
        ..Place::default()
    };
    let provenance = Provenance { reads: places.map(place).to_vec(), ..Provenance::default() };
    Crosscoder::new(Description { provenance, ..plain.description().clone() }, plain.parts().clone()).expect("fits")
}

/// What passes two places, side by side; special tokens with them.
fn rows(places: [(&LanguageModel, HookPoint); 2], tokens: &[u32]) -> Vec<f32> {
    let column = |(model, point): (&LanguageModel, HookPoint)| {
        let mut recorder = Recorder::new(vec![point]);
        model.forward(&ids(tokens), &mut recorder).expect("fits");
        recorder.take_columns().remove(0)
    };
    let mut rows = Vec::new();
    side_by_side(&places.map(column), tokens.len(), &mut rows);
    rows
}

/// Puts rows into the places of a pass, or adds them, special tokens left alone.
struct By<'a> {
    tokens: &'a [u32],
    rows: BTreeMap<HookPoint, Vec<f32>>,
    adds: bool,
}

impl Hook for By<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        self.rows.contains_key(&point)
    }

    fn visit(&mut self, point: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        let mut all = Vec::<f32>::try_from(acts.contiguous().view(-1)).expect("f32");
        for (at, _) in self.tokens.iter().enumerate().filter(|(_, token)| **token != 0) {
            let put = &self.rows[&point][at * D..][..D];
            for (x, y) in all[at * D..][..D].iter_mut().zip(put) {
                *x = if self.adds { *x + y } else { *y };
            }
        }
        Ok(Tensor::from_slice(&all).view(&acts.size()[..]))
    }
}

/// Mean loss of the ordinary tokens in a pass with a hook.
fn mean_loss(model: &LanguageModel, tokens: &[u32], hook: &mut dyn Hook) -> f64 {
    let logits = model.forward(&ids(tokens), hook).expect("fits").expect("logits").squeeze_dim(0);
    let log = logits.to_kind(tch::Kind::Double).log_softmax(-1, tch::Kind::Double);
    let losses: Vec<f64> = (1..tokens.len())
        .filter(|at| tokens[*at] != 0)
        .map(|at| -log.double_value(&[at as i64 - 1, i64::from(tokens[at])]))
        .collect();
    losses.iter().sum::<f64>() / losses.len() as f64
}

/// One of two parts of rows.
fn part(rows: &[f32], part: usize) -> Vec<f32> {
    rows.chunks_exact(2 * D).flat_map(|row| row[part * D..][..D].to_vec()).collect()
}

#[test]
fn several_places_of_a_model_are_read_replaced_and_changed_together() {
    let (model, tokens) = (model(), tokens());
    let places = [(&model, POINT), (&model, OTHER)];
    let both = crosscoder(places);
    let reader = Reader::of(&model, Kind::Crosscoder(&both), &[]).expect("fits");
    let (reading, alone) = (reader.read(&tokens).expect("read"), reader.features(&tokens).expect("read"));
    let rows = rows(places, &tokens);
    let mut codes = Codes::new();
    both.encode(&rows, &mut codes).expect("encoded");
    assert!(tokens[1..].contains(&0), "a special token in the middle");
    for (at, token) in reading.tokens.iter().enumerate() {
        assert_eq!(token.features, alone.tokens[at].features);
        let n = if token.special { 0 } else { codes.row(at).0.len() };
        assert_eq!(token.features.len(), n, "token {at}");
        let is_same = |feature: usize, activation: f32| (codes.activation(at, feature) - activation).abs() < 1e-4;
        assert!(token.features.iter().all(|active| is_same(active.feature, active.activation)), "token {at}");
    }
    // The reconstructions of both parts stand in their places.
    let mut x_hat = vec![0.0; rows.len()];
    both.joined().reconstruct(&rows, &codes, &mut x_hat).expect("decoded");
    let columns = BTreeMap::from([(POINT, part(&x_hat, 0)), (OTHER, part(&x_hat, 1))]);
    let spliced = mean_loss(&model, &tokens, &mut By { tokens: &tokens, rows: columns, adds: false });
    let found = reading.mean_spliced_loss.expect("predicted");
    assert!((found - spliced).abs() < 1e-5 && (found - reading.mean_loss.expect("predicted")).abs() > 1e-4);
    // A feature is taken out of both, as strong as it is.
    let strongest = reading.strongest()[0].feature;
    let ablation = reader.ablate(&tokens, &[strongest]).expect("taken out");
    let step = |part: usize| -> Vec<f32> {
        let row = |at: usize| {
            let activation = codes.activation(at, strongest);
            both.decoder_row(strongest, part).iter().map(move |x| -activation * x)
        };
        (0..tokens.len()).flat_map(row).collect()
    };
    let columns = BTreeMap::from([(POINT, step(0)), (OTHER, step(1))]);
    let out = mean_loss(&model, &tokens, &mut By { tokens: &tokens, rows: columns, adds: true });
    let found = ablation.mean_ablated_loss.expect("predicted");
    assert!((found - out).abs() < 1e-5 && ablation.mean_kl > 1e-6, "{found} {out}");
    assert_eq!(ablation.mean_loss, reading.mean_loss);
    let firing = reader.firings(&tokens, &[strongest]).expect("read");
    let taken: Vec<_> = ablation.tokens.into_iter().map(|token| token.taken).collect();
    assert_eq!(firing, taken);
}

#[test]
fn a_part_of_another_model_is_read_there_and_must_be_named() {
    let (model, other, tokens) = (model(), model_of(1), tokens());
    let places = [(&model, POINT), (&other, POINT)];
    let both = crosscoder(places);
    let missing = Reader::of(&model, Kind::Crosscoder(&both), &[]).expect_err("the other is not there");
    assert!(
        matches!(missing, InterpretError::Read(ReadProblem::ModelMissing { .. }))
            && missing.to_string().contains("--with")
    );
    let reader = Reader::of(&model, Kind::Crosscoder(&both), &[&other]).expect("both are there");
    let reading = reader.read(&tokens).expect("read");
    let mut codes = Codes::new();
    both.encode(&rows(places, &tokens), &mut codes).expect("encoded");
    for (at, token) in reading.tokens.iter().enumerate().filter(|(_, token)| !token.special) {
        let is_same = |feature: usize, activation: f32| (codes.activation(at, feature) - activation).abs() < 1e-4;
        assert!(token.features.iter().all(|active| is_same(active.feature, active.activation)), "token {at}");
    }
    // Losses are those of the model that is named first, in which its own part alone is replaced.
    let swapped = Reader::of(&other, Kind::Crosscoder(&both), &[&model]).expect("both are there");
    let swapped = swapped.read(&tokens).expect("read");
    assert_ne!(swapped.mean_loss, reading.mean_loss);
    let features = |reading: &untangle_interpret::read::Reading| {
        reading.tokens.iter().map(|token| token.features.clone()).collect::<Vec<_>>()
    };
    assert_eq!(features(&swapped), features(&reading));
    let strange = model_of(2);
    let neither = Reader::of(&strange, Kind::Crosscoder(&both), &[&model, &other]).expect_err("not of it");
    assert!(matches!(neither, InterpretError::OtherModelThanDictionary { .. }), "{neither}");
}
