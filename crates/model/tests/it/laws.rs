//! Caches, padding, batches, early stops and hooks change only what they should.

use crate::support::{FIXTURES, Recorder, Replace, assert_close, explicit, fixture, tokens};
use tch::{Kind, Tensor};
use untangle_model::{Input, KvCache, LanguageModel, LoadOptions, Logits, ModelError, NoHook, Pass, Phase};
use untangle_schema::{HookPoint, Site};

fn logits(model: &LanguageModel, tokens: &Tensor) -> Tensor {
    model.forward(tokens, &mut NoHook).unwrap().unwrap()
}

fn masked(model: &LanguageModel, tokens: &Tensor, mask: &Tensor) -> Tensor {
    let input = Input { mask: Some(mask), ..Input::new(tokens) };
    model.forward_with(&input, None, &mut NoHook).unwrap().unwrap()
}

/// Bound where the passes compared have rows of different number or length: the processor's kernels for such shapes sum
/// in another order, which adds up over the blocks.
const OTHER_KERNELS: f64 = 5e-5;

#[test]
fn a_cache_changes_no_logits_however_the_tokens_are_cut() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 2, 12);
        let whole = logits(&model, &tokens);
        for cuts in [vec![12], vec![1; 12], vec![5, 1, 6], vec![11, 1]] {
            let mut cache = KvCache::for_length(model.config(), 12);
            let mut parts = Vec::new();
            for seq in cuts {
                let part = tokens.narrow(1, cache.len() as i64, seq);
                let logits = model.forward_with(&Input::new(&part), Some(&mut cache), &mut NoHook).unwrap();
                parts.push(logits.unwrap());
            }
            assert_eq!(cache.len(), 12);
            assert_close(name, &Tensor::cat(&parts, 1), &whole, 1e-5);
        }
    }
}

#[test]
fn padding_changes_no_real_token_on_either_side_with_and_without_a_cache() {
    for name in FIXTURES {
        let model = fixture(name);
        let real = tokens(&model, 2, 9);
        let whole = logits(&model, &real);
        for (left, right) in [(3, 0), (0, 3), (2, 2)] {
            let padded = real.constant_pad_nd([left, right]);
            let mask = real.ones_like().constant_pad_nd([left, right]).to_kind(Kind::Bool);
            let found = masked(&model, &padded, &mask).narrow(1, left, 9);
            assert_close(&format!("{name}, {left} left, {right} right"), &found, &whole, OTHER_KERNELS);
        }
        // Left padding, then the last three tokens one by one behind a cache.
        let (padded, mask) =
            (real.constant_pad_nd([4, 0]), real.ones_like().constant_pad_nd([4, 0]).to_kind(Kind::Bool));
        let mut cache = KvCache::for_length(model.config(), 9);
        let head = (padded.narrow(1, 0, 10), mask.narrow(1, 0, 10));
        let input = Input { mask: Some(&head.1), ..Input::new(&head.0) };
        model.forward_with(&input, Some(&mut cache), &mut NoHook).unwrap();
        for column in 10..13 {
            let token = padded.narrow(1, column, 1);
            let found = model.forward_with(&Input::new(&token), Some(&mut cache), &mut NoHook).unwrap().unwrap();
            assert_close(name, &found, &whole.narrow(1, column - 4, 1), OTHER_KERNELS);
        }
    }
}

#[test]
fn texts_padded_behind_are_at_every_hook_point_those_alone() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 3, 9);
        // From the whole row to a single token: within and beyond windows and the border of LongRoPE.
        let lengths = [9i64, 6, 1];
        let mask = Tensor::arange(9, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0);
        let mask = mask.lt_tensor(&Tensor::from_slice(&lengths).unsqueeze(1));
        for not in [Vec::new(), explicit(&model)] {
            let mut together = Recorder { not: not.clone(), ..Recorder::default() };
            let input = Input { mask: Some(&mask), ..Input::new(&tokens) };
            model.forward_with(&input, None, &mut together).unwrap();
            for (row, seq) in (0..).zip(lengths) {
                let mut alone = Recorder { not: not.clone(), ..Recorder::default() };
                model.forward(&tokens.narrow(0, row, 1).narrow(1, 0, seq), &mut alone).unwrap();
                for (point, expected) in &alone.found {
                    let found = together.found[point].narrow(0, row, 1);
                    let found = if point.is_of_pairs() {
                        let queries = found.narrow(2, 0, seq);
                        let padding = queries.narrow(3, seq, 9 - seq).flatten(0, -1);
                        let unseen = if point.to_string().ends_with("hook_pattern") { 0.0 } else { f64::NEG_INFINITY };
                        assert!(padding.equal(&padding.full_like(unseen)), "{name}: {point}");
                        queries.narrow(3, 0, seq)
                    } else {
                        found.narrow(1, 0, seq)
                    };
                    assert_close(&format!("{name}, {seq} tokens, {point}"), &found, expected, OTHER_KERNELS);
                }
            }
        }
    }
}

#[test]
fn patterns_of_padded_passes_are_distributions_over_real_keys() {
    let model = fixture("llama");
    let real = tokens(&model, 1, 5);
    let (padded, mask) = (real.constant_pad_nd([3, 0]), real.ones_like().constant_pad_nd([3, 0]).to_kind(Kind::Bool));
    let point = HookPoint::block(0, Site::AttnPattern);
    let (mut with, mut without) = (Recorder::of(&[point]), Recorder::of(&[point]));
    let input = Input { mask: Some(&mask), ..Input::new(&padded) };
    let found = model.forward_with(&input, None, &mut with).unwrap().unwrap();
    model.forward(&real, &mut without).unwrap();
    let inner = with.found[&point].narrow(2, 3, 5).narrow(3, 3, 5);
    assert_close("pattern", &inner, &without.found[&point], 1e-5);
    let sums = with.found[&point].sum_dim_intlist(-1, false, None::<Kind>);
    assert_close("sums", &sums, &sums.ones_like(), 1e-5);
    assert_close("explicit and fused", &found, &masked(&model, &padded, &mask), 1e-5);
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 4, 10);
        let all = logits(&model, &tokens);
        for row in 0..4 {
            assert_close(name, &logits(&model, &tokens.narrow(0, row, 1)), &all.narrow(0, row, 1), 1e-5);
        }
    }
}

#[test]
fn logits_of_the_last_column_are_the_last_of_all() {
    let model = fixture("gpt2");
    let tokens = tokens(&model, 2, 7);
    let input = Input { logits: Logits::Last, ..Input::new(&tokens) };
    let last = model.forward_with(&input, None, &mut NoHook).unwrap().unwrap();
    assert_close("last", &last, &logits(&model, &tokens).narrow(1, 6, 1), 1e-6);
}

#[test]
fn wanting_every_pattern_changes_nothing_beyond_rounding() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 3, 11);
        let explicit = model.forward(&tokens, &mut Recorder::default()).unwrap().unwrap();
        assert_close(name, &explicit, &logits(&model, &tokens), 1e-5);
    }
}

#[test]
fn a_hook_that_returns_its_input_changes_no_bit() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 2, 9);
        let plain = logits(&model, &tokens);
        let explicit = explicit(&model);
        for point in model.hook_points().into_iter().filter(|point| !explicit.contains(point)) {
            let hooked = model.forward(&tokens, &mut Recorder::of(&[point])).unwrap().unwrap();
            assert!(hooked.equal(&plain), "{name}: looking at {point} changes the logits");
        }
    }
}

#[test]
fn what_a_hook_returns_goes_on_at_every_point() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 1, 6);
        let plain = logits(&model, &tokens);
        for point in model.hook_points() {
            // Not a multiple, which a norm would undo; a norm's scale is one number, so its tokens get several.
            let several = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).view([1, 6, 1]) + 1.0;
            let change = |acts: Tensor| if acts.size().last() == Some(&1) { acts * &several } else { acts.flip([-1]) };
            let mut flip = Replace { at: point, with: |_: &Pass<'_>, acts: Tensor| change(acts) };
            let changed = model.forward(&tokens, &mut flip).unwrap().unwrap();
            assert!(crate::support::error(&changed, &plain) > 1e-3, "{name}: flipping {point} changes nothing");
        }
    }
}

#[test]
fn a_pass_ends_after_the_last_point_and_visits_nothing_later() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 1, 5);
        let points = model.hook_points();
        for (index, last) in points.iter().enumerate() {
            let mut recorder = Recorder { last: Some(*last), ..Recorder::default() };
            assert!(model.forward(&tokens, &mut recorder).unwrap().is_none(), "{name}: logits after {last}");
            assert_eq!(recorder.order, points[..=index], "{name}: the pass ended elsewhere than at {last}");
            // Nothing wanted at the last point itself: the pass ends all the same.
            let mut blind = Recorder { last: Some(*last), points: Some(vec![HookPoint::Embed]), ..Recorder::default() };
            assert!(model.forward(&tokens, &mut blind).unwrap().is_none());
        }
    }
}

#[test]
fn a_pass_that_ends_early_leaves_the_cache_as_it_was() {
    let model = fixture("llama");
    let tokens = tokens(&model, 1, 8);
    let whole = logits(&model, &tokens);
    let mut cache = KvCache::new(model.config());
    let stopping = || Recorder { last: Some(HookPoint::block(1, Site::AttnZ)), ..Recorder::default() };
    for (start, seq) in [(0, 5), (5, 3)] {
        let part = tokens.narrow(1, start, seq);
        assert!(model.forward_with(&Input::new(&part), Some(&mut cache), &mut stopping()).unwrap().is_none());
        assert_eq!(cache.len() as i64, start);
        let found = model.forward_with(&Input::new(&part), Some(&mut cache), &mut NoHook).unwrap().unwrap();
        assert_close("after an early stop", &found, &whole.narrow(1, start, seq), 1e-5);
    }
}

#[test]
fn a_hook_is_told_tokens_positions_mask_and_phase() {
    let model = fixture("gpt2");
    let tokens = tokens(&model, 2, 6);
    let mask = tokens.ge(0);
    let mut cache = KvCache::new(model.config());
    for (start, seq, phase) in [(0, 5, Phase::Prompt), (5, 1, Phase::Generated)] {
        let part = tokens.narrow(1, start, seq);
        let part_mask = mask.narrow(1, start, seq);
        let mut calls = 0;
        let mut look = Replace {
            at: HookPoint::block(1, Site::ResidPost),
            with: |pass: &Pass<'_>, acts: Tensor| {
                assert!(pass.tokens.equal(&part) && pass.mask.unwrap().equal(&part_mask));
                assert_eq!(Vec::<i64>::try_from(pass.positions).unwrap(), (start..start + seq).collect::<Vec<_>>());
                assert_eq!(pass.phase, phase);
                calls += 1;
                acts
            },
        };
        let input = Input { mask: Some(&part_mask), phase, ..Input::new(&part) };
        model.forward_with(&input, Some(&mut cache), &mut look).unwrap();
        assert_eq!(calls, 1);
    }
}

#[test]
fn hooks_that_fail_or_return_another_shape_end_the_pass() {
    let model = fixture("gpt2");
    let tokens = tokens(&model, 1, 4);
    let at = HookPoint::block(1, Site::MlpPost);
    let error = model.forward(&tokens, &mut Replace { at, with: |_: &Pass<'_>, x: Tensor| x.narrow(2, 0, 3) });
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "at blocks.1.mlp.hook_post: the hook returned Float [1, 4, 3], the pass needs Float [1, 4, 37]");
    let error = model.forward(&tokens, &mut Replace { at, with: |_: &Pass<'_>, x: Tensor| x.to_kind(Kind::Double) });
    assert!(matches!(error, Err(ModelError::HookShape { .. })));
}

#[test]
fn the_folded_unembedding_gives_the_effect_of_a_direction() {
    for name in FIXTURES {
        let model = fixture(name);
        let tokens = tokens(&model, 1, 4);
        let last = HookPoint::block(model.n_layers() - 1, Site::ResidPost);
        let mut recorder = Recorder::of(&[last]);
        model.forward(&tokens, &mut recorder).unwrap();
        let stream = &recorder.found[&last];
        // logits = scale * stream W + constant, so differences between tokens are too, with a scale for every token.
        let direct = logits(&model, &tokens);
        let direct = match model.config().logit_softcap {
            Some(cap) => (direct / cap).atanh() * cap,
            None => direct,
        };
        let folded = stream.matmul(&model.unembedding_folded());
        let bias = model.parameters().into_iter().find(|(n, _)| n == "ln_final.bias");
        let constant = bias.map_or_else(
            || Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)),
            |(_, b)| b.unsqueeze(0).matmul(&model.unembedding()),
        );
        let ratio = (direct - constant) / &folded; // the same over the vocabulary, where the denominator is not tiny
        let sure = folded.abs().gt(0.5);
        let mean =
            (&ratio * &sure).sum_dim_intlist(-1, true, None::<Kind>) / sure.sum_dim_intlist(-1, true, Kind::Float);
        let spread = ((ratio / mean - 1.0) * &sure).abs().max().double_value(&[]);
        assert!(spread < 1e-4, "{name}: logits are not a multiple of the folded unembedding ({spread:.1e})");
    }
}

#[test]
fn blocks_with_a_window_see_its_keys_and_no_others() {
    for name in ["mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"] {
        let model = fixture(name);
        let windows = model.config().windows.clone().unwrap();
        let real = tokens(&model, 2, 9);
        let (padded, mask) =
            (real.constant_pad_nd([2, 1]), real.ones_like().constant_pad_nd([2, 1]).to_kind(Kind::Bool));
        for layer in 0..model.n_layers() {
            let point = HookPoint::block(layer, Site::AttnPattern);
            let (mut plain, mut with_padding) = (Recorder::of(&[point]), Recorder::of(&[point]));
            model.forward(&real, &mut plain).unwrap();
            let input = Input { mask: Some(&mask), ..Input::new(&padded) };
            model.forward_with(&input, None, &mut with_padding).unwrap();
            let size = if windows.layers[layer] { windows.size as i64 } else { 9 };
            let ones = Tensor::ones([9, 9], (Kind::Bool, tch::Device::Cpu));
            let seen = ones.tril(0).logical_and(&ones.triu(1 - size));
            let pattern = &plain.found[&point];
            assert!(
                pattern.gt(0.0).equal(&seen.expand_as(pattern)),
                "{name}: block {layer} does not see its {size} keys"
            );
            let inner = with_padding.found[&point].narrow(2, 2, 9).narrow(3, 2, 9);
            assert_close(&format!("{name} block {layer}, padded"), &inner, pattern, 1e-5);
        }
    }
}

#[test]
fn embeddings_are_scaled_by_a_number_of_the_activations_kind() {
    let mut config = fixture("gemma").config().clone();
    (config.d_model, config.embed_scale) = (18, Some(18f64.sqrt())); // 4.2426 in f32, 4.25 in bf16
    for (kind, scale) in [(Kind::Float, 18f64.sqrt()), (Kind::BFloat16, 4.25)] {
        let options = LoadOptions { kind, ..LoadOptions::default() };
        let model = LanguageModel::random(config.clone(), 1, None, &options).unwrap();
        let tokens = tokens(&model, 1, 5);
        let mut recorder = Recorder::of(&[HookPoint::Embed]);
        model.forward(&tokens, &mut recorder).unwrap();
        let table = model.parameters().remove(0).1;
        let rows = Tensor::embedding(&table, &tokens, -1, false, false).to_kind(Kind::Double);
        let expected = (rows * scale).to_kind(kind);
        assert_close(&format!("{kind:?}"), &recorder.found[&HookPoint::Embed], &expected, 1e-6);
    }
}

#[test]
fn soft_caps_bound_logits_and_patterns() {
    let model = fixture("gemma2");
    let tokens = tokens(&model, 1, 9);
    let cap = model.config().logit_softcap.unwrap();
    assert!(logits(&model, &tokens).abs().max().double_value(&[]) <= cap);
    // Capped scores lie within 2 cap of each other, so no weight is below exp(-2 cap) times another.
    let least = (-2.0 * model.config().attention.softcap.unwrap()).exp() / 9.0;
    let point = HookPoint::block(1, Site::AttnPattern);
    let mut recorder = Recorder::of(&[point]);
    model.forward(&tokens, &mut recorder).unwrap();
    let found = &recorder.found[&point];
    let smallest = found.where_scalarother(&found.gt(0.0), 1.0).min().double_value(&[]);
    assert!(smallest >= least, "{smallest} is below {least}");
}

#[test]
fn a_cache_of_short_texts_is_not_continued_into_a_long_one() {
    let model = fixture("phi3"); // other angles beyond 6 tokens
    let tokens = tokens(&model, 1, 8);
    let whole = logits(&model, &tokens);
    let go = |cache: &mut KvCache, start, seq, mask: Option<&Tensor>| {
        let part = tokens.narrow(1, start, seq);
        let input = Input { mask, ..Input::new(&part) };
        model.forward_with(&input, Some(cache), &mut NoHook)
    };
    let mut cache = KvCache::new(model.config());
    go(&mut cache, 0, 5, None).unwrap();
    go(&mut cache, 5, 1, None).unwrap();
    let error = go(&mut cache, 6, 1, None).unwrap_err().to_string();
    assert!(error.starts_with("cache is made for texts of at most 6 tokens; expected KvCache::for_length"), "{error}");
    assert_eq!(cache.len(), 6);
    let padding = Tensor::zeros([1, 1], (Kind::Bool, tch::Device::Cpu));
    go(&mut cache, 6, 1, Some(&padding)).expect("padding makes no text longer");

    let mut cache = KvCache::for_length(model.config(), 7);
    go(&mut cache, 0, 5, None).unwrap();
    let found = go(&mut cache, 5, 3, None).unwrap().unwrap();
    assert_close("long", &found, &whole.narrow(1, 5, 3), 5e-5);
    let mut cache = KvCache::new(model.config());
    go(&mut cache, 0, 7, None).unwrap();
    let found = go(&mut cache, 7, 1, None).unwrap().unwrap();
    assert_close("long from the start", &found, &whole.narrow(1, 7, 1), 5e-5);
}

#[test]
fn a_row_turns_by_its_own_length_whatever_rows_it_is_padded_with() {
    let model = fixture("phi3");
    let tokens = tokens(&model, 2, 8);
    let lengths = Tensor::from_slice(&[5i64, 8]).unsqueeze(1);
    let mask = Tensor::arange(8, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0).lt_tensor(&lengths);
    let found = masked(&model, &tokens, &mask);
    for (row, seq) in [(0, 5), (1, 8)] {
        let alone = logits(&model, &tokens.narrow(0, row, 1).narrow(1, 0, seq));
        assert_close("row", &found.narrow(0, row, 1).narrow(1, 0, seq), &alone, 5e-5);
    }
}
