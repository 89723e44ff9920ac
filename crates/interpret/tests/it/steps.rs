//! Laws of the hook that steers: which tokens are moved, by how much, and that nothing else is.

use crate::planted::{POINT, corpus, model, random_dictionary};
use tch::Tensor;
use untangle_interpret::intervene::Intervention;
use untangle_interpret::steer::edit::{OtherStep, Steer};
use untangle_interpret::steer::{Control, Dictionary, Steering, Step};
use untangle_interpret::{Edit, Operator, Scope, Spec, resolve};
use untangle_model::{Hook, Hooks, LanguageModel, NoHook, Recorder};
use untangle_sae::{Codes, Sae};
use untangle_schema::HookPoint;

const D: usize = 16;

pub(crate) fn tokens() -> Vec<i64> {
    corpus(1, 30).iter().map(|t| i64::from(t.token)).collect()
}

fn forward(model: &LanguageModel, hook: &mut dyn Hook) -> Vec<f32> {
    let logits = model.forward(&Tensor::from_slice(&tokens()).unsqueeze(0), hook).expect("fits").expect("logits");
    Vec::try_from(logits.view(-1)).expect("f32")
}

pub(crate) fn steps(texts: &[&str], model: &LanguageModel, dictionaries: &[Dictionary<'_>]) -> Vec<Step> {
    let specs: Vec<Spec> = texts.iter().map(|text| text.parse().expect("valid")).collect();
    resolve(&specs, model, dictionaries).expect("resolved")
}

fn steered(texts: &[&str], model: &LanguageModel, sae: &Sae) -> Vec<f32> {
    let dictionaries = [Dictionary::only(sae)];
    let steps = steps(texts, model, &dictionaries);
    forward(model, &mut Steering::new(model, &dictionaries, &steps).expect("valid"))
}

/// The rows at `point`, `[tokens, d]`, behind the hook.
fn rows_behind(model: &LanguageModel, hook: &mut dyn Hook, point: HookPoint) -> Vec<Vec<f32>> {
    let mut recorder = Recorder::new(vec![point]);
    forward(model, &mut Hooks::new(vec![hook, &mut recorder]));
    recorder.columns()[0].chunks_exact(D).map(<[f32]>::to_vec).collect()
}

fn moved_rows(texts: &[&str], model: &LanguageModel, sae: &Sae) -> Vec<Vec<f32>> {
    let dictionaries = [Dictionary::only(sae)];
    let steps = steps(texts, model, &dictionaries);
    rows_behind(model, &mut Steering::new(model, &dictionaries, &steps).expect("valid"), POINT)
}

fn codes(model: &LanguageModel, sae: &Sae) -> Codes {
    let rows = rows_behind(model, &mut NoHook, POINT).concat();
    let mut codes = Codes::new();
    sae.encode(&rows, &mut codes).expect("encoded");
    codes
}

fn length(row: &[f32]) -> f32 {
    row.iter().map(|x| x * x).sum::<f32>().sqrt()
}

fn along(row: &[f32], direction: &[f32]) -> f32 {
    row.iter().zip(direction).map(|(x, d)| x * d).sum::<f32>() / length(direction)
}

#[test]
fn features_move_as_in_the_reference_to_the_bit() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let cases: [(&str, Operator); 6] = [
        ("add=2.5", Operator::Add(2.5)),
        ("set=1.5", Operator::Set(1.5)),
        ("ablate", Operator::Set(0.0)),
        ("mul=3", Operator::Mul(3.0)),
        ("min=0.25", Operator::Min(0.25)),
        ("max=0.02", Operator::Max(0.02)),
    ];
    for (text, operator) in cases {
        let edits = [Edit { feature: 4, operator }, Edit { feature: 9, operator }];
        let reference = Steer::new(&sae, &edits).expect("valid");
        let reference = forward(&model, &mut Intervention::new(&model, POINT, D, Scope::All, reference).expect("fits"));
        let found = steered(&[&format!("9:{text}"), &format!("4:{text}")], &model, &sae);
        assert_eq!(found, reference, "{text}");
        assert_ne!(found, forward(&model, &mut NoHook), "{text}");
    }
}

#[test]
fn what_changes_nothing_changes_no_bit() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let baseline = forward(&model, &mut NoHook);
    let codes = codes(&model, &sae);
    let fires = |feature: usize| (0..codes.n_rows()).any(|row| codes.activation(row, feature) > 0.0);
    let silent = (0..40).find(|feature| !fires(*feature));
    let (ablated, multiplied) = (silent.map(|f| format!("{f}:ablate")), silent.map(|f| format!("{f}:mul=9")));
    let inactive: Vec<&str> = [&ablated, &multiplied].into_iter().flatten().map(String::as_str).collect();
    let nothing = [
        "3:add=0",
        "3:add=0n",
        "3:mul=1",
        "3:min=-1",
        "3:max=1e9",
        "3:add-direction=0",
        "3:add-direction=0n",
        "3:cap=1e9",
        "3:swap=3",
        "3:add=9 at generated",
        "3:add=9 at prompt[60..], prompt[99]",
        "3:add=9 when 3<0",
        "3:add=9 when along 3>1e9",
        "3:ablate when 3<=0",
    ];
    for text in nothing.into_iter().chain(inactive) {
        assert_eq!(steered(&[text], &model, &sae), baseline, "{text}");
    }
    assert_ne!(steered(&["3:add=9"], &model, &sae), baseline);
}

#[test]
fn an_inactive_feature_is_ablated_without_a_trace() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let (before, codes) = (rows_behind(&model, &mut NoHook, POINT), codes(&model, &sae));
    let after = moved_rows(&["4:ablate"], &model, &sae);
    let mut fired = 0;
    for (row, (before, after)) in before.iter().zip(&after).enumerate() {
        let active = tokens()[row] != 0 && codes.activation(row, 4) > 0.0;
        assert_eq!(active, before != after, "row {row}");
        fired += usize::from(active);
    }
    assert!(fired > 0 && fired < before.len(), "{fired}");
}

/// What is found of a row before and behind a step, and what is expected.
type Law<'a> = dyn Fn(&[f32], &[f32]) -> (f32, f32) + 'a;

#[test]
fn steps_along_directions_do_what_they_say() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let before = rows_behind(&model, &mut NoHook, POINT);
    let (d, t) = (sae.decoder_row(4), sae.decoder_row(17));
    let ordinary = |row: &usize| tokens()[*row] != 0;
    let each = |text: &str, law: &Law<'_>| {
        let after = moved_rows(&[text], &model, &sae);
        for row in (0..before.len()).filter(ordinary) {
            let (found, expected) = law(&before[row], &after[row]);
            assert!(
                (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                "{text} row {row}: {found}, not {expected}"
            );
        }
        assert!(before.iter().zip(&after).enumerate().all(|(row, (b, a))| ordinary(&row) || a == b), "special tokens");
    };
    let moved = |b: &[f32], a: &[f32]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f32>>();
    each("4:add-direction=0.5", &|b, a| (along(&moved(b, a), d), 0.5));
    each("4:add-direction=0.3n", &|b, a| (length(&moved(b, a)), 0.3 * length(b)));
    each("4:add=0.3n", &|b, a| (length(&moved(b, a)), 0.3 * length(b)));
    each("4:project-out", &|_, a| (along(a, d), 0.0));
    each("4:cap=0.1", &|b, a| (along(a, d), along(b, d).min(0.1)));
    each("4:cap=-0.1n", &|b, a| (along(a, d), along(b, d).min(-0.1 * length(b))));
    // What lay along d lies along t now: h + a (t - d).
    let (unit_d, unit_t) = (along(d, d) / length(d), 1.0 / length(t));
    each("4:swap=17", &|b, a| {
        let by = along(b, d);
        let expected: Vec<f32> =
            b.iter().zip(d.iter().zip(t)).map(|(b, (d, t))| b + by * (t * unit_t - d * unit_d)).collect();
        (length(&moved(&expected, a)), 0.0)
    });
    each("token ' dog' in blocks.0.hook_resid_post:project-out", &|_, a| {
        let column = model.unembedding_folded().select(1, 4);
        (along(a, &Vec::<f32>::try_from(column.contiguous()).expect("f32")), 0.0)
    });
}

#[test]
fn only_the_tokens_that_are_meant_are_moved() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let (before, codes, n) = (rows_behind(&model, &mut NoHook, POINT), codes(&model, &sae), tokens().len());
    let expect = |text: &str, meant: &dyn Fn(usize) -> bool| {
        let after = moved_rows(&[text], &model, &sae);
        let found: Vec<usize> = (0..n).filter(|row| before[*row] != after[*row]).collect();
        let expected: Vec<usize> = (0..n).filter(|row| tokens()[*row] != 0 && meant(*row)).collect();
        assert!(found == expected && !expected.is_empty(), "{text}: {found:?}, not {expected:?}");
    };
    expect("3:add=1", &|_| true);
    expect("3:add=1 at prompt[2..5], all[7]", &|row| (2..5).contains(&row) || row == 7);
    expect("3:add=1 at prompt[-3..-1]", &|row| row + 3 >= n && row + 1 < n);
    let word = model.tokenizer().expect("its own").token_text(tokens()[4] as u32);
    expect(&format!("3:add=1 at all['{}']", word.trim()), &|row| tokens()[row] == tokens()[4]);
    expect(&format!("3:add=1 at not all['{word}'], not prompt[1]"), &|row| tokens()[row] != tokens()[4] && row != 1);
    let f = |row: usize, feature: usize| codes.activation(row, feature);
    expect("3:add=1 when 9>0", &|row| f(row, 9) > 0.0);
    expect("3:set=5 when 9>0 and 4<=0.5", &|row| f(row, 9) > 0.0 && f(row, 4) <= 0.5);
    let d = sae.decoder_row(9);
    expect("3:add-direction=1 when along 9>0.1n", &|row| along(&before[row], d) > 0.1 * length(&before[row]));
}

#[test]
fn the_same_feature_may_be_turned_twice_at_other_tokens() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let (a, b) = ("3:add=2 at prompt[0..6]", "3:add=2 at prompt[6..]");
    assert_eq!(moved_rows(&[a, b], &model, &sae), moved_rows(&["3:add=2"], &model, &sae));
    // Where both apply, one follows the other: set, then multiplied.
    let both = moved_rows(&["3:set=2", "3:mul=3 at prompt[5]"], &model, &sae);
    let alone = [moved_rows(&["3:set=2"], &model, &sae), moved_rows(&["3:set=6"], &model, &sae)];
    for row in 0..both.len() {
        let expected = &alone[usize::from(row == 5)][row];
        assert!(both[row].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "row {row}");
    }
    // What a later step finds is what was read and what the earlier ones made of it, also where these did not ask what was read.
    let after = moved_rows(&["3:add=2", "3:set=5 at prompt[2..]"], &model, &sae);
    let alone = [moved_rows(&["3:add=2"], &model, &sae), moved_rows(&["3:set=5"], &model, &sae)];
    for row in 0..after.len() {
        let expected = &alone[usize::from(row >= 2)][row];
        assert!(after[row].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "row {row}");
    }
    let dictionaries = [Dictionary::only(&sae)];
    for (first, last) in [
        ("3:set=1 at generated", "3:set=2"),
        ("3:add=1 at prompt[2]", "3:ablate at prompt"),
        ("3:add=1 when 9>0", "3:set=2 at all"),
    ] {
        let undone = steps(&[first, last], &model, &dictionaries);
        let message = Steering::new(&model, &dictionaries, &undone).expect_err("undone").to_string();
        assert!(message.starts_with(&format!("`{first}` does nothing: `{last}`")), "{message}");
        let turned = steps(&[last, first], &model, &dictionaries);
        Steering::new(&model, &dictionaries, &turned).expect("the one for fewer tokens comes last");
    }
    for last in
        ["3:set=2 at prompt, not prompt[2]", "3:set=2 at prompt when 9>0", "3:add=2 at all", "3:set=1 at prompt[0..9]"]
    {
        let both = steps(&["3:set=1 at prompt[2..]", last], &model, &dictionaries);
        Steering::new(&model, &dictionaries, &both).expect("something stays of the first");
    }
    let twice = steps(&["3:add=2", "3:ablate"], &model, &dictionaries);
    let message = Steering::new(&model, &dictionaries, &twice).expect_err("twice alike").to_string();
    assert!(message.contains("feature 3 is steered twice"), "{message}");
}

#[test]
fn controls_step_as_long_elsewhere() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let edits = [Edit { feature: 4, operator: Operator::Set(2.0) }];
    let reference = OtherStep::random(Steer::new(&sae, &edits).expect("valid"), 3);
    let reference = forward(&model, &mut Intervention::new(&model, POINT, D, Scope::All, reference).expect("fits"));
    let dictionaries = [Dictionary::only(&sae)];
    let control = |control, texts: &[&str]| {
        let steps = steps(texts, &model, &dictionaries);
        Steering::new(&model, &dictionaries, &steps).expect("valid").as_control(control)
    };
    assert_eq!(forward(&model, &mut control(Control::Random(3), &["4:set=2"])), reference);
    let before = rows_behind(&model, &mut NoHook, POINT);
    for other in [Control::Random(5), Control::Along(9)] {
        let after = rows_behind(&model, &mut control(other.clone(), &["4:cap=0.1"]), POINT);
        let steered = moved_rows(&["4:cap=0.1"], &model, &sae);
        for ((b, a), s) in before.iter().zip(&after).zip(&steered) {
            let moved = |to: &[f32]| length(&to.iter().zip(b).map(|(x, y)| x - y).collect::<Vec<_>>());
            assert!((moved(a) - moved(s)).abs() < 1e-5, "{other:?}: {} {}", moved(a), moved(s));
        }
    }
}
