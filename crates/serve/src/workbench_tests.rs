//! The workbench's own words are those of the description.

use crate::tests::{is_described, value};
use crate::wire::dictionaries::{Described, DictionaryInfo, DictionaryList, Origin, Overview, OverviewRequest};
use crate::wire::features::{By, FeatureAnswer, FeatureRequest, Found, Of, SearchRequest, Which};
use crate::wire::read;
use crate::wire::reading::{ActivationsAnswer, ActivationsRequest, FiredText, ReadAnswer, ReadRequest};
use crate::wire::runs::{HeldOutFigures, RunInfo, RunList, RunPoint, RunState};
use crate::wire::toward::{CandidateInfo, Candidates, TowardRequest, Tried};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use untangle_interpret::Summary;
use untangle_interpret::database::{Only, Sort};
use untangle_interpret::page::Tallies;
use untangle_interpret::page::compact::{Tokens, feature};
use untangle_interpret::read::{Active, Likely, ReadToken};
use untangle_schema::{Example, FeatureCard, Histogram, NearMiss};

fn line() -> Summary {
    Summary {
        feature: 1,
        label: None,
        label_kind: None,
        label_source: None,
        label_score: None,
        asked: None,
        held_out_firings: 0,
        density: 0.0,
        max_activation: 0.0,
    }
}

fn card() -> FeatureCard {
    let example = Example {
        row: 0,
        document: 0,
        position: 0,
        activation: 1.0,
        tokens: vec![" a".into()],
        activations: vec![1.0],
        peak: 0,
    };
    let near_misses = vec![NearMiss { by: 2, example: example.clone() }];
    FeatureCard {
        near_misses,
        feature: 0,
        density: 0.0,
        max_activation: 1.0,
        mean_activation: 1.0,
        histogram: Histogram { edges: vec![0.0, 1.0], counts: vec![1] },
        held_out_firings: 0,
        labels: vec![],
        examples: vec![example],
        sampled: vec![],
        banded: Vec::new(),
        top_logits: vec![],
        bottom_logits: vec![],
        neighbours: vec![],
        ..FeatureCard::default()
    }
}

#[test]
fn the_description_has_every_field_of_dictionaries_and_features() {
    let described = Described {
        rows: 1,
        held_out_rows: 1,
        store: String::new(),
        model: None,
        parts: vec![],
        tool_version: String::new(),
        sources: vec![],
        scorers: vec![],
    };
    let info = DictionaryInfo {
        name: String::new(),
        kind: "autoencoder",
        architecture: String::new(),
        k: None,
        features: 1,
        width: 1,
        hook: None,
        writes: None,
        reads: true,
        notes: vec![],
        described: Some(described.clone()),
    };
    is_described("Described", &[value(&described)], &[]);
    is_described("DictionaryInfo", &[value(&info)], &[]);
    is_described("Origin", &[value(&Origin::default())], &[]);
    let (origin, tray) = (Origin::default(), Vec::new());
    let list = DictionaryList { model: String::new(), tool_version: "1", dictionaries: vec![info], origin, tray };
    is_described("DictionaryList", &[value(&list)], &[]);
    is_described("OverviewRequest", &[value(&OverviewRequest::default())], &[]);
    let overview =
        Overview { dictionary: String::new(), tallies: Tallies::default(), mean_f1: None, best: vec![line()] };
    is_described("Overview", &[value(&overview)], &[]);
    is_described("FeatureLine", &[value(&line())], &[]);
    is_described("SearchRequest", &[value(&SearchRequest::default())], &[]);
    is_described("Found", &[value(&Found { dictionary: String::new(), features: vec![], more: false })], &[]);
    is_described("FeatureRequest", &[value(&FeatureRequest::default())], &[]);
    let compact = feature(&card(), &mut Tokens::new());
    is_described("Feature", std::slice::from_ref(&compact), &[]);
    is_described("FeatureExample", &[compact["top"][0].clone(), compact["miss"][0].clone()], &["by"]);
    let answer = FeatureAnswer { dictionary: String::new(), tokens: vec![], feature: compact, names: BTreeMap::new() };
    is_described("FeatureAnswer", &[value(&answer)], &[]);
}

#[test]
fn the_description_has_every_field_of_readings_and_of_searches_for_a_topic() {
    let likely = Likely { token: String::new(), id: 1, probability: 1.0 };
    let active = Active { feature: 1, activation: 1.0 };
    let token = ReadToken {
        id: 1,
        text: String::new(),
        special: false,
        loss: None,
        spliced_loss: None,
        missing: None,
        features: vec![active],
        next: vec![likely.clone()],
    };
    is_described("LikelyToken", &[value(&likely)], &[]);
    is_described("ActiveFeature", &[value(&active)], &[]);
    is_described("ReadToken", &[value(&token)], &[]);
    is_described("ReadRequest", &[value(&ReadRequest::default())], &[]);
    let answer = ReadAnswer {
        dictionary: String::new(),
        tokens: vec![token],
        mean_loss: None,
        mean_spliced_loss: None,
        missing: None,
        features: vec![],
    };
    is_described("ReadAnswer", &[value(&answer)], &[]);
    is_described("ActivationsRequest", &[value(&ActivationsRequest::default())], &[]);
    let fired = FiredText { tokens: vec![], activations: vec![] };
    is_described("FiredText", &[value(&fired)], &[]);
    let answer = ActivationsAnswer { dictionary: String::new(), feature: 1, texts: vec![fired] };
    is_described("ActivationsAnswer", &[value(&answer)], &[]);
    is_described("TowardRequest", &[value(&TowardRequest::default())], &[]);
    let candidate = CandidateInfo { feature: 1, label: None, raises: None, density: 0.0 };
    is_described("CandidateInfo", &[value(&candidate)], &[]);
    let candidates =
        Candidates { stage: "candidates", topic: String::new(), sign: String::new(), candidates: vec![candidate] };
    is_described("Candidates", &[value(&candidates)], &[]);
    is_described("Tried", &[value(&Tried::of(None, vec![], &[], 0.0))], &[]);
}

#[test]
fn the_description_has_every_field_of_trainings() {
    let held_out = HeldOutFigures { fvu: 0.1, l0: 8.0, dead: 1 };
    let run = RunInfo {
        name: String::new(),
        dictionary: None,
        state: RunState::Running,
        subject: None,
        summary: None,
        frozen: None,
        steps: None,
        quiet_for: None,
        curve: vec![RunPoint::default()],
        held_out: Some(held_out),
    };
    assert_eq!(value(&run)["state"], json!("running"));
    is_described("HeldOutFigures", &[value(&held_out)], &[]);
    is_described("RunPoint", &[value(&RunPoint::default())], &[]);
    is_described("RunInfo", &[value(&run)], &[]);
    is_described("RunList", &[value(&RunList::default())], &[]);
}

#[test]
fn what_is_tried_is_summed_up_by_what_it_brought() {
    let texts = [("a dog", false), ("a bridge", true), ("the bridge", true)].map(|(text, is)| (text.to_owned(), is));
    let tried = Tried::of(Some(3), vec!["3:set=1x".to_owned()], &texts, 0.25);
    assert_eq!((tried.hits, tried.trials, tried.sample.as_str()), (2, 3, "a bridge"), "a text about it is shown");
    assert!(tried.interval[0] > 0.1 && tried.interval[1] < 1.0);
    assert_eq!(Tried::of(None, vec![], &texts[..1], 0.0).sample, "a dog", "where none is, the first");
}

/// The field at which a body is at fault.
fn fault<T: serde::de::DeserializeOwned, U: std::fmt::Debug>(
    body: &Value,
    check: impl Fn(T) -> Result<U, crate::problem::Problem>,
) -> Value {
    let problem = read::<T>(body.to_string().as_bytes()).and_then(check).expect_err("at fault");
    assert_eq!(problem.status.as_u16(), 400);
    value(&problem.body())["error"]["param"].clone()
}

#[test]
fn requests_become_queries_or_say_where_they_are_wrong() {
    let asked = json!({"text": "cat", "sort": "density", "reversed": true, "only": "dead", "limit": 3, "offset": 6});
    let query = read::<SearchRequest>(asked.to_string().as_bytes()).and_then(|asked| asked.query()).expect("a query");
    assert_eq!((query.text.as_str(), &query.sort, query.reversed), ("cat", &Sort::Density, true));
    assert_eq!(
        (query.only, query.limit, query.offset),
        (Some(Only::Dead), Some(4), 6),
        "one more says whether there are"
    );
    let all = SearchRequest {
        sort: Some(By::Match),
        only: Some(Which::Alive),
        kind: Some(Of::Output),
        ..SearchRequest::default()
    };
    assert_eq!(value(&all)["kind"], json!("output"));
    assert_eq!(fault(&json!({"limit": 0}), |asked: SearchRequest| asked.query()), json!("limit"));
    assert_eq!(fault(&json!({"limit": 501}), |asked: SearchRequest| asked.query()), json!("limit"));
    assert_eq!(fault(&json!({"sort": "beauty"}), |asked: SearchRequest| asked.query()), json!("sort"));
    assert_eq!(fault(&json!({"top": 0}), |asked: ReadRequest| asked.top()), json!("top"));
    let texts = |asked: ActivationsRequest| asked.texts().map(<[String]>::len);
    assert_eq!(fault(&json!({"texts": []}), texts), json!("texts"));
    assert_eq!(fault(&json!({"texts": vec!["a"; 65]}), texts), json!("texts"));
    let concept = |asked: TowardRequest| asked.concept().map(str::to_owned);
    assert_eq!(fault(&json!({"concept": " ?"}), concept), json!("concept"));
    assert_eq!(fault(&json!({"texts": 129}), |asked: TowardRequest| asked.texts()), json!("texts"));
    assert_eq!(fault(&json!({"temperature": -1}), |asked: TowardRequest| asked.sampling()), json!("temperature"));
}
