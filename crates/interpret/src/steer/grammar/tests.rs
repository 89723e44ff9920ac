//! What is written is read as meant, and what is printed is read again.

use super::*;
use crate::intervene::Scope;
use proptest::prelude::*;
use untangle_schema::{HookPoint, Site};

fn amount(value: f32, unit: Unit) -> Amount {
    Amount { value, unit }
}

fn parsed(text: &str) -> (What, Operation) {
    let spec: Spec = text.parse().expect("valid");
    (spec.what, spec.operation)
}

fn label(text: &str) -> What {
    What::Feature { dictionary: None, selector: Selector::Label(text.to_owned()) }
}

#[test]
fn interventions_are_read_as_written() {
    use Unit::{Absolute, OfMaximum, OfNorm};
    let id = What::feature;
    assert_eq!(parsed("12:add=8"), (id(12), Operation::Add(amount(8.0, Absolute))));
    assert_eq!(parsed("12:set=0"), (id(12), Operation::Set(amount(0.0, Absolute))));
    assert_eq!(parsed("12:ablate"), (id(12), Operation::Ablate));
    assert_eq!(parsed("12:mul=-1.5"), (id(12), Operation::Mul(-1.5)));
    assert_eq!(parsed("12:min=2x"), (id(12), Operation::Min(amount(2.0, OfMaximum))));
    assert_eq!(parsed("12:max=3"), (id(12), Operation::Max(amount(3.0, Absolute))));
    assert_eq!(parsed("12:add-direction=0.3n"), (id(12), Operation::AddDirection(amount(0.3, OfNorm))));
    assert_eq!(parsed("12:project-out"), (id(12), Operation::ProjectOut));
    assert_eq!(parsed("12:cap=1x"), (id(12), Operation::Cap(amount(1.0, OfMaximum))));
    assert_eq!(parsed("12:swap=cat: big"), (id(12), Operation::Swap(label("cat: big"))));
    assert_eq!(parsed("bridge:add=2x"), (label("bridge"), Operation::Add(amount(2.0, OfMaximum))));
    assert_eq!(parsed("7"), (id(7), Operation::Add(Amount::MAXIMUM)));
    assert_eq!(parsed("names: Lily, Ben"), (label("names: Lily, Ben"), Operation::Add(Amount::MAXIMUM)));
    assert_eq!(parsed("\":\" / \"=\":add=1"), (label("\":\" / \"=\""), Operation::Add(amount(1.0, Absolute))));
    assert_eq!(parsed("'12':ablate").0, label("12"));
    assert_eq!(parsed("'a cat at home':ablate").0, label("a cat at home"));
    let of = |name: &str| What::Feature { dictionary: Some(name.to_owned()), selector: Selector::Id(3) };
    assert_eq!(parsed("deep#3:ablate").0, of("deep"));
    let point = HookPoint::block(1, Site::ResidPost);
    let cat = What::Token { text: " cat".to_owned(), point };
    assert_eq!(parsed("token ' cat' in blocks.1.hook_resid_post:project-out"), (cat, Operation::ProjectOut));
    assert_eq!(parsed("token ring:ablate").0, label("token ring"));
    let vector = |point| What::Vector { path: "a b.gguf".to_owned(), point };
    assert_eq!(parsed("vector 'a b.gguf'"), (vector(None), Operation::AddDirection(Amount::MAXIMUM)));
    assert_eq!(parsed("vector 'a b.gguf' in blocks.1.hook_resid_post:cap=0").0, vector(Some(point)));
}

#[test]
fn tokens_and_conditions_stand_behind() {
    let spec: Spec =
        "bridge:add=2x when rude>0.5x and along 3<=2n at prompt[-1], not all['cat']".parse().expect("valid");
    let positions = spec.positions.expect("said");
    assert_eq!(positions.taken, [Span { scope: Scope::Prompt, which: Which::At(-1) }]);
    assert_eq!(positions.left_out, [Span { scope: Scope::All, which: Which::Text("cat".to_owned()) }]);
    let Condition(comparisons) = spec.condition.expect("said");
    let [first, second] = &comparisons[..] else { panic!("two: {comparisons:?}") };
    assert_eq!((first.along, first.sign, first.amount), (false, Sign::Above, amount(0.5, Unit::OfMaximum)));
    assert_eq!((second.along, second.sign, second.amount), (true, Sign::AtMost, amount(2.0, Unit::OfNorm)));
    let ranges: Spec = "3 at prompt[2..], generated[..-0], all[1..4]".parse().expect("valid");
    let which: Vec<Which> = ranges.positions.expect("said").taken.into_iter().map(|span| span.which).collect();
    assert_eq!(which, [Which::Range(Some(2), None), Which::Range(None, Some(0)), Which::Range(Some(1), Some(4))]);
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_reason() {
    for (text, reason) in [
        ("12:add=", "finite"),
        ("12:add=nan", "finite"),
        ("12:add=1e99", "absurd"),
        ("12:add=2e9", "absurd"),
        ("12:add", "`add` needs a strength, as in add=2x"),
        ("12:mul", "needs a factor"),
        ("12:swap", "needs what is laid in its place"),
        ("12:ablate=3", "`ablate` takes no strength"),
        ("99999999999999999999:ablate", "no dictionary has a feature 9999"),
        ("12:cap=infn", "finite"),
        ("12:mul=2x", "without x"),
        ("12:clamp=3", "no operator `clamp`"),
        (":add=3", "no feature"),
        ("", "no feature"),
        ("a#:add=3", "no feature"),
        ("12:swap=", "no feature"),
        ("12 at promt", "`promt` says no tokens"),
        ("a cat at home", "stands in quotation marks"),
        ("12 at prompt[", "says no tokens"),
        ("12 at prompt[5..2]", "empty"),
        ("12 at generated[-1]", "only a prompt has an end"),
        ("12 at prompt at generated", "twice"),
        ("12:", "after the colon stands what is done"),
        ("12:add=inf", "finite"),
        ("12 when 3", "compares nothing; there are >, >=, < and <="),
        ("12 when 3>0 or 4>0", "there is no `or`"),
        ("12 when 3>x", "finite"),
        ("12 when 3>1n", "share of a length"),
        ("token ' cat' in blocks.1.hook_resid_post", "no strength"),
        ("token ' cat' in blocks.1.hook_resid_post:add=3", "is for features"),
        ("token ' cat' in the end:project-out", "hook"),
        ("token ' cat':project-out", "is not read"),
        ("vector 'v.gguf':ablate", "is for features"),
        ("vector 'v.gguf' in the middle", "hook"),
    ] {
        let message = text.parse::<Spec>().expect_err(text).to_string();
        assert!(message.contains(reason), "{text}: {message}");
    }
}

#[test]
fn a_sweep_changes_numbers_and_leaves_the_rest_alone() {
    let specs = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("valid")).collect::<Vec<Spec>>();
    let found = swept(&specs(&["1:ablate", "2:add=2x", "3:mul=4", "4", "5:cap=1n", "6:project-out"]), 0.5);
    let found: Vec<String> = found.expect("some are swept").iter().map(Spec::to_string).collect();
    assert_eq!(found, ["1:ablate", "2:add=0.5x", "3:mul=0.5", "4:add=0.5x", "5:cap=0.5n", "6:project-out"]);
    let message = swept(&specs(&["1:ablate", "bridge:ablate"]), 0.5).expect_err("nothing is swept").to_string();
    assert!(["1:ablate, 'bridge':ablate", "add", "set", "mul"].iter().all(|part| message.contains(part)), "{message}");
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z' \":#=<>,\\[\\]]{1,12}", ".{1,8}"].prop_filter("a name has a letter", |t| !t.trim().is_empty())
}

fn whats() -> impl Strategy<Value = What> {
    let selector = prop_oneof![any::<usize>().prop_map(Selector::Id), texts().prop_map(Selector::Label)];
    let feature = (proptest::option::of(texts()), selector)
        .prop_map(|(dictionary, selector)| What::Feature { dictionary, selector });
    let token = (texts(), 0usize..40)
        .prop_map(|(text, layer)| What::Token { text, point: HookPoint::block(layer, Site::ResidPost) });
    let vector = (texts(), proptest::option::of(0usize..40)).prop_map(|(path, layer)| What::Vector {
        path,
        point: layer.map(|layer| HookPoint::block(layer, Site::ResidPost)),
    });
    prop_oneof![3 => feature, 1 => token, 1 => vector]
}

fn amounts() -> impl Strategy<Value = Amount> {
    let finite = prop_oneof![-Amount::MOST..Amount::MOST, Just(Amount::MOST), -1e-3f32..1e-3];
    let units = prop_oneof![Just(Unit::Absolute), Just(Unit::OfMaximum), Just(Unit::OfNorm)];
    (finite, units).prop_map(|(value, unit)| Amount { value, unit })
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        amounts().prop_map(Operation::Add),
        amounts().prop_map(Operation::Set),
        amounts().prop_map(Operation::Min),
        amounts().prop_map(Operation::Max),
        amounts().prop_map(|amount| Operation::Mul(amount.value)),
        Just(Operation::Ablate),
        directions(),
    ]
}

fn directions() -> impl Strategy<Value = Operation> {
    prop_oneof![
        amounts().prop_map(Operation::AddDirection),
        amounts().prop_map(Operation::Cap),
        Just(Operation::ProjectOut),
        whats().prop_map(Operation::Swap),
    ]
}

fn spans() -> impl Strategy<Value = Span> {
    let which = prop_oneof![
        Just(Which::Every),
        (0i64..99).prop_map(Which::At),
        (0i64..50, 1i64..50).prop_map(|(first, n)| Which::Range(Some(first), Some(first + n))),
        proptest::option::of(0i64..50).prop_map(|end| Which::Range(None, end)),
        texts().prop_map(Which::Text),
    ];
    let negative = (-9i64..0).prop_map(|at| Span { scope: Scope::Prompt, which: Which::At(at) });
    let scope = prop_oneof![Just(Scope::All), Just(Scope::Prompt), Just(Scope::Generated)];
    prop_oneof![4 => (scope, which).prop_map(|(scope, which)| Span { scope, which }), 1 => negative]
}

fn positions() -> impl Strategy<Value = Positions> {
    let spans = || proptest::collection::vec(spans(), 0..3);
    let some = |positions: &Positions| !(positions.taken.is_empty() && positions.left_out.is_empty());
    (spans(), spans()).prop_map(|(taken, left_out)| Positions { taken, left_out }).prop_filter("not empty", some)
}

fn comparisons() -> impl Strategy<Value = Comparison> {
    let signs = prop_oneof![Just(Sign::Above), Just(Sign::AtLeast), Just(Sign::Below), Just(Sign::AtMost)];
    (whats(), any::<bool>(), signs, amounts()).prop_map(|(what, along, sign, amount)| {
        let along = along || amount.unit == Unit::OfNorm || !matches!(what, What::Feature { .. });
        Comparison { what, along, sign, amount }
    })
}

fn specs() -> impl Strategy<Value = Spec> {
    let condition = proptest::collection::vec(comparisons(), 1..3).prop_map(Condition);
    let turned = whats().prop_flat_map(|what| match what {
        What::Token { .. } | What::Vector { .. } => {
            directions().prop_map(move |operation| (what.clone(), operation)).boxed()
        }
        What::Feature { .. } => operations().prop_map(move |operation| (what.clone(), operation)).boxed(),
    });
    (turned, proptest::option::of(positions()), proptest::option::of(condition))
        .prop_map(|((what, operation), positions, condition)| Spec { what, operation, positions, condition })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(spec in specs()) {
        let text = spec.to_string();
        let again: Spec = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        prop_assert_eq!(&again, &spec, "{}", text);
        let json = serde_json::to_string(&spec).expect("a text");
        prop_assert_eq!(serde_json::from_str::<Spec>(&json).expect("the same"), spec);
    }

    #[test]
    fn no_text_is_too_odd_to_be_answered(text in ".{0,40}", odd in "[0-9a-z'\":#=<>,\\[\\] .at\u{e9}]{0,40}") {
        for text in [text, odd] {
            if let Ok(spec) = text.parse::<Spec>() {
                prop_assert_eq!(spec.to_string().parse::<Spec>().expect("printed"), spec);
            }
        }
    }
}
