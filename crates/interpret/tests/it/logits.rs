//! Logit effects are the products that they claim to be, and a store is only described by its own model.

use crate::planted::{VOCABULARY, corpus, model, nobody, random_dictionary, store};
use untangle_interpret::logits::LogitLens;
use untangle_interpret::steer::Dictionary;
use untangle_interpret::{Corpus, FeaturesPlan, InterpretError, Vocabulary, features};
use untangle_sae::Sae;
use untangle_schema::{HookPoint, Silent, Site};
use untangle_store::HeldOut;

const D: usize = 16;

#[test]
fn effects_are_the_products_with_the_folded_unembedding() {
    let (model, sae) = (model(), random_dictionary(D, 300));
    let vocabulary = Vocabulary::of(&model).expect("has a tokenizer");
    let effects =
        LogitLens::new(Dictionary::only(&sae), &model).expect("fits").effects(3, &vocabulary).expect("computed");
    assert_eq!(effects.len(), 300);
    let unembedding: Vec<f32> = Vec::try_from(model.unembedding_folded().contiguous().view(-1)).expect("f32");
    let n = VOCABULARY.len();
    for (feature, found) in effects.iter().enumerate() {
        let effect = |v: usize| -> f32 {
            sae.decoder_row(feature).iter().enumerate().map(|(i, d)| d * unembedding[i * n + v]).sum()
        };
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| effect(*b).total_cmp(&effect(*a)));
        for (rank, top) in found.top.iter().enumerate() {
            assert!((top.effect - effect(order[rank])).abs() < 1e-5, "feature {feature}: {found:?}");
            assert_eq!(top.token, VOCABULARY[top.id as usize]);
        }
        let lowest: Vec<f32> = found.bottom.iter().map(|bottom| bottom.effect).collect();
        let expected: Vec<f32> = order.iter().rev().take(3).map(|v| effect(*v)).collect();
        assert!(lowest.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{lowest:?} {expected:?}");
    }
}

#[test]
fn directions_outside_the_stream_have_no_effects() {
    let (model, sae) = (model(), random_dictionary(D, 4));
    let vocabulary = Vocabulary::of(&model).expect("has a tokenizer");
    let at = |site| {
        let mut description = sae.description().clone();
        description.provenance.reads[0].hook = Some(HookPoint::block(1, site).to_string());
        let sae = Sae::new(description, sae.parts().clone()).expect("fits");
        LogitLens::new(Dictionary::only(&sae), &model).map(|lens| lens.effects(3, &vocabulary))
    };
    assert!(at(Site::AttnZ).expect("as wide").expect("computed").iter().all(|effects| effects.top.is_empty()));
    assert!(matches!(at(Site::MlpPost), Err(InterpretError::WidthDiffers { found: 64, .. })));
}

#[test]
fn a_store_of_another_model_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, sae) = (model(), random_dictionary(D, 4));
    let set = store(&folder.path().join("x.h5"), &corpus(20, 50), D, nobody(), |_| vec![0.0; D]);
    let corpus = Corpus::new(set, &sae, HeldOut::None).expect("fits");
    let path = folder.path().join("FEATURES.db");
    let refused = features(
        Dictionary { name: "x", ..Dictionary::only(&sae) },
        &corpus,
        Some(&model),
        None,
        &FeaturesPlan::default(),
        &path,
        false,
        &Silent,
    );
    let message = refused.expect_err("nobody's").to_string();
    assert!(message.contains("nobody") && message.contains(&model.identity().name), "{message}");
    assert!(!path.exists());
}
