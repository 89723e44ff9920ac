//! How labels are judged, end to end: what a feature makes the model say, how strongly it fires on every token, labels of others, and
//! what a small budget pays for.

use crate::chat_server::{Asked, ChatServer, completion};
use crate::labelling::{Case, answer, clean, is_naming, label_of, listed, made, score, with_odds};
use crate::support::{Untangle, scratch};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const USAGE: i32 = 2;
const INTERRUPTED: i32 = 130;

/// The activations of a feature at the tokens of a text.
type Activations = BTreeMap<(i64, String), Vec<f32>>;

/// What the database knows of every text that it shows, by feature.
fn activations(path: &Path) -> Activations {
    let database = Connection::open(path).expect("a database");
    let mut found = Activations::new();
    for sql in [
        "SELECT feature, tokens, activations FROM examples",
        "SELECT f.feature, e.tokens, f.activations FROM firings f JOIN excerpts e ON e.id = f.excerpt",
    ] {
        let mut select = database.prepare(sql).expect("a query");
        let mut rows = select.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let (feature, tokens): (i64, String) = (row.get(0).expect("a number"), row.get(1).expect("a text"));
            let bytes: Vec<u8> = row.get(2).expect("bytes");
            let tokens: Vec<String> = serde_json::from_str(&tokens).expect("a list");
            let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            found.insert((feature, tokens.concat().replace('\n', "⏎").trim().to_owned()), values);
        }
    }
    found
}

fn is_simulating(asked: &Asked) -> bool {
    asked.all().contains("For every token of a text")
}

/// An answer whose tokens are these, each certain.
fn certain(tokens: Vec<String>, tells: bool) -> Value {
    let mut whole = completion(&tokens.concat());
    let odds = |token: &String| {
        let top = json!([{ "token": token, "logprob": 0.0 }, { "token": " 0", "logprob": -30.0 }]);
        json!({ "token": token, "logprob": 0.0, "top_logprobs": top })
    };
    if tells {
        whole["choices"][0]["logprobs"] = json!({ "content": tokens.iter().map(odds).collect::<Vec<_>>() });
    }
    whole
}

/// What somebody says of every token who knows where the feature that is called `kind N` fires.
fn simulated(asked: &Asked, known: &Activations) -> Value {
    let all = asked.all();
    let of = |begin: &str| all.lines().find_map(|line| line.strip_prefix(begin)).expect("a line").to_owned();
    let feature: i64 = of("Phrase: ").strip_prefix("kind ").and_then(|id| id.parse().ok()).unwrap_or(-1);
    let n: usize =
        all.lines().filter(|line| line.split_once(": \"").is_some_and(|(at, _)| at.parse::<u32>().is_ok())).count();
    let silent = vec![0.0; n];
    let values = known.get(&(feature, of("Text: "))).unwrap_or(&silent);
    let most = known
        .iter()
        .filter(|((of, _), _)| *of == feature)
        .flat_map(|(_, values)| values)
        .fold(0.0f32, |a, b| a.max(*b));
    let lines = values.iter().enumerate();
    let tokens = lines.flat_map(|(at, value)| {
        [(at + 1).to_string(), ":".to_owned(), format!(" {}", (9.0 * value / most).round()), "\n".to_owned()]
    });
    certain(tokens.collect(), asked.body["logprobs"] == true)
}

fn case(tells: bool) -> Case {
    let known = activations(&made().folder.path().join("f.db"));
    Case::with(ChatServer::start(move |asked| match is_simulating(asked) {
        true => simulated(asked, &known),
        false if tells => with_odds(asked, &answer(asked, str::to_owned)),
        false => completion(&answer(asked, str::to_owned)),
    }))
}

#[test]
fn simulation_is_a_correlation_over_tokens_and_needs_probabilities() {
    let told = case(true).label(3).words("--simulate").json();
    for feature in told["report"]["features"].as_array().expect("a list") {
        let simulation = score(label_of(feature, "input", "llm:tiny"), "simulation");
        // Degrees are rounded, so that a judge who knows everything is nearly right.
        assert!(simulation["value"].as_f64() > Some(0.9), "{simulation}");
        assert_eq!(
            (simulation["floor"].as_f64(), simulation["detail"]["unparseable"].as_f64()),
            (Some(0.0), Some(0.0))
        );
        assert!(simulation["control"].as_f64() < Some(0.8), "another label: {simulation}");
        let interval = &simulation["interval"];
        assert!(
            interval[0].as_f64() <= simulation["value"].as_f64() && interval[1].as_f64() <= Some(1.0),
            "{simulation}"
        );
    }
    assert_eq!(told["report"]["without_odds"], false);
    let silent = case(false);
    let outcome = silent.label(3).words("--simulate").run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("tells no probabilities") && !outcome.stdout.contains("simulation "),
        "{}",
        outcome.stderr
    );
    assert!(!silent.server.requests().iter().any(is_simulating), "what cannot be used is not asked");
    let plain = case(true).label(1).json();
    assert!(
        score(label_of(&plain["report"]["features"][0], "input", "llm:tiny"), "simulation").is_null(),
        "not asked for"
    );
}

#[test]
fn labels_of_any_source_are_judged_and_stay_as_they_are() {
    let case = case(true);
    let features: Vec<i64> = made().features.iter().take(4).copied().collect();
    // Two of the explanations are right, two are those of each other.
    let said = [features[0], features[1], features[3], features[2]];
    let line = |(feature, kind): (&i64, &i64)| json!({ "index": feature.to_string(), "description": format!("kind {kind}"), "explanationModelName": "other" });
    let lines: Vec<String> = features.iter().zip(&said).map(|pair| line(pair).to_string()).collect();
    fs::write(case.path("np.jsonl"), lines.join("\n")).expect("written");
    Untangle::new("import").arg(case.path("f.db")).arg(case.path("np.jsonl")).succeed();
    let told = Case::studied(case.ask().option("--score", "neuronpedia:other")).json();
    assert_eq!(told["report"]["source"], "neuronpedia:other");
    let judged = told["report"]["features"].as_array().expect("a list");
    assert_eq!(judged.len(), 4, "those that have such a label, and no other");
    assert!(!case.server.requests().iter().any(is_naming), "nobody is asked for a label");
    for (feature, kind) in features.iter().zip(&said) {
        let shown = case.shown(*feature);
        let label = label_of(&shown, "input", "neuronpedia:other");
        assert_eq!(label["text"], format!("kind {kind}"));
        let detection = score(label, "detection");
        let value = detection["value"].as_f64().expect("a number");
        assert!(if feature == kind { value == 1.0 } else { value < 0.8 }, "{feature} as {kind}: {detection}");
        // Where two have each other's labels, another's label may be the right one.
        assert!(feature != kind || detection["control"].as_f64() < Some(1.0), "{label}");
        assert!(!score(label, "sensitivity-written").is_null(), "{label}");
        assert!(label_of(&shown, "input", "llm:tiny").is_null());
    }
    // A list has the label of the source that is asked for, with the score of that label.
    let listed =
        Untangle::new("search --source neuronpedia:other --sort score:detection").arg(case.path("f.db")).json();
    for line in listed["features"].as_array().expect("a list") {
        let shown = case.shown(line["feature"].as_i64().expect("a number"));
        let label = label_of(&shown, "input", "neuronpedia:other");
        assert_eq!((&line["label"], &line["label_source"]), (&label["text"], &json!("neuronpedia:other")));
        assert_eq!(line["score"]["value"], score(label, "detection")["value"], "{line}");
    }
    let refused = case.ask().option("--score", "nobody").run();
    refused.fails_with(USAGE, &["--score nobody", "neuronpedia:other", "tokens"]);
    case.label(1).option("--score", "tokens").words("--no-scores").run().fails_with(USAGE, &["--no-scores"]);
}

#[test]
fn a_small_budget_labels_what_it_pays_for_and_pays_for_nothing_twice() {
    let whole = case(true);
    whole.label(6).words("--parallel 1").succeed();
    let all: BTreeSet<String> = whole.server.requests().iter().map(|asked| asked.body.to_string()).collect();
    let each = all.len() / 6;
    let small = case(true);
    let mut labelled = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    for _ in 0..8 {
        let outcome =
            small.label(6).words("--parallel 1 --json").option("--max-requests", (2 * each + 2).to_string()).run();
        asked.extend(small.server.requests().iter().map(|asked| asked.body.to_string()));
        let told: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        labelled.push(told["report"]["features"].as_array().expect("a list").len());
        if outcome.code == Some(0) {
            break;
        }
        assert_eq!(outcome.code, Some(INTERRUPTED), "{}", outcome.stderr);
        let told = ["features are done", "requests that were allowed are sent", "the same command goes on"];
        assert!(told.iter().all(|part| outcome.stderr.contains(part)), "{}", outcome.stderr);
    }
    assert!(labelled[0] >= 1, "the first budget holds two features: {labelled:?}");
    assert!(labelled.windows(2).all(|pair| pair[0] < pair[1]) && labelled.last() == Some(&6), "{labelled:?}");
    assert_eq!(asked.len(), asked.iter().collect::<BTreeSet<_>>().len(), "nothing is paid for twice");
    assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), all, "what is asked does not depend on the budget");
}

#[test]
fn the_unlabelled_are_those_that_no_language_model_has_labelled() {
    let case = Case::with(ChatServer::saying("LABEL: dogs"));
    case.label(2).words("--no-scores").succeed();
    let told = case.ask().words("--only unlabelled --no-scores --limit 1000").json();
    let now: BTreeSet<i64> = told["report"]["features"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|feature| feature["feature"].as_i64())
        .collect();
    assert!(made().features[..2].iter().all(|feature| !now.contains(feature)), "{now:?}");
    let database = Connection::open(case.path("f.db")).expect("a database");
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, usize>(0)).expect("a count");
    assert_eq!(now.len() + 2, count("SELECT count(*) FROM features WHERE density > 0"));
    let by_rule = "SELECT count(DISTINCT feature) FROM labels WHERE source = 'tokens' AND kind = 'input'";
    assert!(count(by_rule) > 0, "rules are there, and keep nobody from asking");
    let found = Untangle::new("search --only labelled --limit 1").arg(case.path("f.db")).json();
    assert_eq!(
        (&found["features"][0]["label_kind"], found["features"][0]["label_source"].is_string()),
        (&json!("input"), true)
    );
}

#[test]
fn scores_are_shown_with_their_intervals() {
    let case = case(true);
    case.label(1).succeed();
    let shown = Untangle::new("show").arg(case.path("f.db")).arg(made().features[0].to_string()).succeed();
    assert!(shown.contains("detection 1.00 [0.") && shown.contains("fuzzing 1.00 [0."), "{shown}");
}

/// Features of the organism: a dictionary of which features make the model say something.
fn of_the_organism() -> (TempDir, PathBuf, PathBuf) {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (store, sae, database) = (path("store.h5"), path("sae"), path("f.db"));
    let capture = "capture organism --text organism --hook blocks.2.hook_resid_post --tokens 30000 -q";
    Untangle::new(capture).option("--out", &store).succeed();
    let train = "train --d-sae 300 --k 8 --tokens 60000 --batch 1024 -q";
    Untangle::new(train).arg(&store).option("--out", &sae).succeed();
    let features = Untangle::new("features --no-outputs --model organism -q").arg(&sae).option("--store", &store);
    features.option("--out", &database).succeed();
    (folder, sae, database)
}

/// Somebody who calls what a feature makes the model say by the tokens that it raises, and finds these in texts.
fn by_raised_tokens(asked: &Asked) -> String {
    let all = asked.all();
    if let Some(likelier) = all.lines().find_map(|line| line.strip_prefix("Likelier: ")) {
        return format!("LABEL: {}", likelier.replace('"', ""));
    }
    if let Some(phrase) =
        all.lines().find_map(|line| line.strip_prefix("Phrase: ")).filter(|_| all.contains("turned up"))
    {
        let tokens: Vec<&str> = phrase.split(',').map(str::trim).filter(|token| token.len() > 1).collect();
        let says = |text: &String| if tokens.iter().any(|token| text.contains(token)) { "1" } else { "0" };
        return listed(&all).iter().map(says).collect::<Vec<_>>().join(" ");
    }
    if all.contains("Answer with one digit for each text") {
        return vec!["0"; listed(&all).len()].join(" ");
    }
    "LABEL: mixed".to_owned()
}

#[test]
fn what_a_feature_makes_the_model_say_is_judged_on_texts_that_the_model_writes() {
    let (folder, sae, database) = of_the_organism();
    let server = ChatServer::start(|asked| completion(&by_raised_tokens(asked)));
    let label = || {
        let label = Untangle::new("label --llm-model tiny --limit 12 --model organism").arg(&database);
        clean(label.option("--llm", server.url()).option("--sae", &sae))
    };
    let told = label().json();
    let features = told["report"]["features"].as_array().expect("a list");
    let scores: Vec<&Value> =
        features.iter().map(|feature| score(label_of(feature, "output", "llm:tiny"), "intervention")).collect();
    let mean = |of: &str| {
        let values: Vec<f64> = scores.iter().filter_map(|score| score[of].as_f64()).collect();
        assert!(values.len() >= 10, "{of}: {scores:?}");
        values.iter().sum::<f64>() / values.len() as f64
    };
    let (own, other) = (mean("value"), mean("control"));
    assert!(own > 0.7, "turned up, features say what they raise: {own}, others {other}");
    assert!((other - 0.5).abs() < 0.15, "the label of another feature says nothing: {other}");
    assert!(
        scores
            .iter()
            .all(|score| score["floor"] == 0.5 && score["n"].as_u64() >= Some(8) && score["interval"].is_array()),
        "{scores:?}"
    );
    let agreement = score(label_of(&features[0], "output", "llm:tiny"), "agreement-judged");
    assert_eq!(
        (agreement["value"].as_f64(), agreement["floor"].as_f64()),
        (Some(0.5), Some(0.5)),
        "this judge says no"
    );
    // Openings are not shown to the judge, and neither is what was turned up.
    let judged: Vec<Asked> =
        server.requests().into_iter().filter(|asked| asked.all().contains("was turned up")).collect();
    // Ten texts in each request; where copies of a text were left out, the last has fewer.
    let counts: Vec<usize> = judged.iter().map(|asked| listed(&asked.all()).len()).collect();
    assert!(counts.iter().all(|n| (1..=10).contains(n)), "{counts:?}");
    assert!(counts.iter().filter(|n| **n == 10).count() * 2 > counts.len(), "{counts:?}");
    let text = label().succeed();
    assert!(text.contains("makes the model say") && text.contains("intervention"), "{text}");
    assert_eq!(server.requests().len(), 0, "all answers are kept: the model writes the same texts again");
    drop(folder);
}
