//! What the points within norms and before the MLP are, and what a change there does.

use crate::support::{Recorder, Replace, assert_close, fixture, tokens};
use tch::{Kind, Tensor};
use untangle_model::{Hook, Hooks, NoHook, Pass};
use untangle_schema::{HookPoint, Site};

#[test]
fn a_norm_is_what_its_two_points_say_and_a_changed_scale_goes_on() {
    for name in ["gpt2", "llama", "gemma2"] {
        let model = fixture(name);
        let tokens = tokens(&model, 2, 7);
        let at = |site| HookPoint::block(1, site);
        let mut seen = Recorder::of(&[at(Site::MlpIn), at(Site::Ln2Scale), at(Site::Ln2Normalized)]);
        model.forward(&tokens, &mut seen).unwrap();
        let [read, scale, normalized] =
            [Site::MlpIn, Site::Ln2Scale, Site::Ln2Normalized].map(|site| &seen.found[&at(site)]);
        let mean = read.mean_dim(-1, true, None::<Kind>);
        let centred = if name == "gpt2" { read - mean } else { read.shallow_clone() };
        assert_close(name, &(normalized * scale), &centred, 1e-6);
        // Twice the scale is half of what is normalised.
        let mut doubled = Replace { at: at(Site::Ln2Scale), with: |_: &Pass<'_>, acts: Tensor| acts * 2.0 };
        let mut halved = Replace { at: at(Site::Ln2Normalized), with: |_: &Pass<'_>, acts: Tensor| acts * 0.5 };
        let one = model.forward(&tokens, &mut doubled).unwrap().unwrap();
        let other = model.forward(&tokens, &mut halved).unwrap().unwrap();
        assert_close(name, &one, &other, 1e-5);
    }
}

#[test]
fn what_is_changed_where_the_mlp_reads_leaves_the_stream_beside_it() {
    let model = fixture("gpt2");
    let tokens = tokens(&model, 1, 6);
    let at = |site| HookPoint::block(1, site);
    let stream = |hook: &mut dyn Hook| {
        let mut seen = Recorder::of(&[Site::MlpIn, Site::MlpOut, Site::ResidMid, Site::ResidPost].map(at));
        model.forward(&tokens, &mut Hooks::new(vec![hook, &mut seen])).unwrap();
        let post = &seen.found[&at(Site::ResidPost)] - &seen.found[&at(Site::MlpOut)];
        (post, seen.found.remove(&at(Site::MlpIn)).unwrap())
    };
    let mut overwrite = Replace { at: at(Site::MlpIn), with: |_: &Pass<'_>, mut acts: Tensor| acts.fill_(1.0) };
    let (beside, read) = stream(&mut overwrite);
    assert_eq!(read.min().double_value(&[]), 1.0);
    assert_close("the stream", &beside, &stream(&mut NoHook).0, 1e-5);
}

#[test]
fn gradients_reach_what_a_hook_puts_in_the_place_of_a_scale() {
    let model = fixture("llama");
    let tokens = tokens(&model, 1, 5);
    for point in [HookPoint::block(0, Site::Ln1Scale), HookPoint::block(1, Site::Ln2Scale), HookPoint::FinalScale] {
        let mut put = None;
        let leaf = |_: &Pass<'_>, acts: Tensor| put.insert(acts.detach().set_requires_grad(true)).shallow_clone();
        let logits = model.forward(&tokens, &mut Replace { at: point, with: leaf }).unwrap().unwrap();
        let gradients = Tensor::run_backward(&[logits.square().sum(Kind::Float)], &[put.unwrap()], false, false);
        assert!(gradients[0].defined(), "{point}: nothing depends on it");
        assert!(gradients[0].abs().min().double_value(&[]) > 0.0, "{point}");
    }
}
