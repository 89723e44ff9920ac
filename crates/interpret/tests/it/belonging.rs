//! Stores, models and databases that do not belong to a dictionary are refused, and both sides are named.

use crate::planted::{POINT, Token, axes, corpus, model, nobody, perfect, perfect_at, perfect_of, store};
use std::path::Path;
use std::sync::{Arc, Mutex};
use untangle_interpret::ce::Context;
use untangle_interpret::database::sae_sha256;
use untangle_interpret::steer::Dictionary;
use untangle_interpret::{
    Corpus, Database, Edit, FeaturesPlan, InterpretError, Operator, Scope, SteerOptions, ce_recovered, check_model,
    evaluate, features, sweep,
};
use untangle_model::{GenerateOptions, LanguageModel, LoadOptions, ModelConfig, Sampling};
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, Classify, Event, Fault, Observer, Silent, Unit};
use untangle_store::{ActivationSet, HeldOut, Part};

fn row(token: &Token) -> Vec<f32> {
    vec![f32::from(u8::from(token.token == 3)), -1.0, 0.5]
}

#[test]
fn a_store_of_another_hook_point_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = store(&folder.path().join("x.h5"), &corpus(120, 10), 3, nobody(), row);
    let elsewhere = perfect_at(3, "blocks.2.hook_resid_post");
    let error = Corpus::new(Arc::clone(&set), &elsewhere, HeldOut::None).expect_err("another layer");
    let message = error.to_string();
    assert!(matches!(error, InterpretError::OtherHook { .. }) && error.fault() == Fault::BadInput, "{message}");
    for part in ["blocks.2.hook_resid_post", &POINT.to_string(), "x.h5"] {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
    assert_eq!(Corpus::new(set, &perfect(3), HeldOut::None).expect("its own").columns(), [0]);
}

#[test]
fn a_matrix_has_no_hook_point_to_contradict() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.npy");
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend([1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()));
    std::fs::write(&path, bytes).expect("written");
    let set = Arc::new(ActivationSet::open(&[path.to_str().expect("UTF-8")]).expect("valid"));
    assert_eq!(Corpus::new(set, &perfect(3), HeldOut::None).expect("fits").columns(), [0]);
}

#[test]
fn a_model_that_the_dictionary_was_not_trained_on_is_refused() {
    let model = model();
    let weights = model.identity().weights_sha256;
    check_model(&perfect(16), &model).expect("a dictionary from elsewhere names no weights");
    check_model(&perfect_of(16, &weights), &model).expect("its own");
    let sae = perfect_of(16, "0123456789abcdef");
    let context = Context { tokens: vec![0, 5, 6], counts: vec![true; 3] };
    let spliced = ce_recovered(&model, &sae, &[context], &Silent).expect_err("another model");
    let generate = GenerateOptions { max_new_tokens: 1, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: true };
    let options = SteerOptions { generate, scope: Scope::All, bos: BosPolicy::Auto };
    let edits = [vec![Edit { feature: 0, operator: Operator::Add(1.0) }]];
    let steered = sweep(&model, &sae, &edits, "the dog", &options).expect_err("another model");
    let folder = tempfile::tempdir().expect("a folder");
    let set = store(&folder.path().join("x.h5"), &corpus(120, 10), 16, model.identity(), |_| vec![1.0; 16]);
    let judged = Corpus::new(Arc::clone(&set), &sae, HeldOut::default()).expect_err("rows of another model");
    let of_nobody = store(&folder.path().join("n.h5"), &corpus(120, 10), 16, nobody(), |_| vec![1.0; 16]);
    let described = Corpus::new(of_nobody, &perfect_of(16, &weights), HeldOut::default());
    assert!(matches!(described, Err(InterpretError::OtherModelThanDictionary { .. })), "the model's own dictionary");
    // Where it is asked for, any model will do, and the rows need to be those of the same tokens alone.
    let any = perfect_of(16, "0123456789abcdef").of_any_model();
    let own = Corpus::new(set, &any, HeldOut::default()).expect("asked for");
    own.check_model(&model).expect("its own tokens");
    check_model(&any, &model).expect("asked for");
    for error in [spliced, steered, judged] {
        let message = error.to_string();
        assert!(message.contains("theirs (weights 01234567)") && message.contains(&weights[..8]), "{message}");
        assert_eq!(error.fault(), Fault::BadInput);
    }
}

#[test]
fn no_mean_is_taken_off_rows_of_a_model_with_rms_norm() {
    let json = r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 16, "rms_norm_eps": 1e-5}"#;
    let config = ModelConfig::from_json(Path::new("config.json"), json.as_bytes()).expect("valid");
    let llama = LanguageModel::random(config, 1, None, &LoadOptions::default()).expect("made");
    let plain = perfect(16);
    let (mut description, parts) = (plain.description().clone(), plain.parts().clone());
    description.provenance.centred_weights = true;
    // Whose model it is, it does not say.
    let centred = Sae::new(description, parts).expect("shapes fit");
    check_model(&plain, &llama).expect("takes rows as they are");
    check_model(&centred, &model()).expect("has LayerNorm");
    let error = check_model(&centred, &llama).expect_err("has RMSNorm");
    assert!(matches!(error, InterpretError::CentredWithoutMean { .. }) && error.fault() == Fault::BadInput);
    check_model(&centred.of_any_model(), &llama).expect("asked for");
}

#[test]
fn a_database_knows_its_dictionary_and_its_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let sae = axes(3);
    let set = store(&folder.path().join("x.h5"), &corpus(300, 20), 3, nobody(), row);
    let path = folder.path().join("x.db");
    let corpus_of = |set: &Arc<ActivationSet>| Corpus::new(Arc::clone(set), &sae, HeldOut::default()).expect("fits");
    features(
        Dictionary { name: "x", ..Dictionary::only(&sae) },
        &corpus_of(&set),
        None,
        None,
        &FeaturesPlan::default(),
        &path,
        false,
        &Silent,
    )
    .expect("described");
    let run = Database::open(&path).expect("valid").run().expect("there");
    assert!(run.is_of(&sae, &set));
    let longer = store(&folder.path().join("y.h5"), &corpus(301, 20), 3, nobody(), row);
    assert!(!run.is_of(&sae, &longer), "another store");
    let mut parts = sae.parts().clone();
    parts.b_dec[1] = 1e-3;
    let retrained = untangle_sae::Sae::new(sae.description().clone(), parts).expect("shapes fit");
    assert!(!run.is_of(&retrained, &set), "other weights");
    assert_ne!(sae_sha256(&sae), sae_sha256(&retrained));
}

/// Keeps what is announced and the last count of every task.
#[derive(Default)]
struct Counts(Mutex<Vec<(Unit, u64, u64)>>);

impl Observer for Counts {
    fn event(&self, event: Event<'_>) {
        let mut counts = self.0.lock().expect("no panic");
        match event {
            Event::Started { unit, done, total, .. } => counts.push((unit, total, done)),
            Event::Advanced { done, .. } => counts.last_mut().expect("started").2 = done,
            _ => {}
        }
    }
}

#[test]
fn progress_counts_the_rows_of_the_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let sae = axes(3);
    let set = store(&folder.path().join("x.h5"), &corpus(300, 20), 3, nobody(), row);
    let corpus = Corpus::new(set, &sae, HeldOut::default()).expect("fits");
    for part in [Part::HeldOut, Part::Train, Part::All] {
        let seen = Counts::default();
        let rows = evaluate(&sae, &corpus, part, &seen).expect("evaluated").rows;
        assert_eq!(*seen.0.lock().expect("no panic"), [(Unit::Rows, rows, rows)], "{part:?}");
    }
}
