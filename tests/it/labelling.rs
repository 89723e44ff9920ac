//! `untangle label` against endpoints on this machine: a good one, and what becomes of labels, scores, budgets and kills.

use crate::chat_server::{Asked, ChatServer, Mishap, completion};
use crate::support::{TinyModel, Untangle, corpus_text, entries, scratch};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;

const INTERRUPTED: i32 = 130;
/// What a label may hold that comes from elsewhere: markup, an escape sequence, a change of direction.
const NASTY: &str = "<img src=x onerror=alert(1)> & \u{1b}]0;x\u{7}\u{202e}";

/// What a database knows of a text: in which document it lies, and what fires in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub(crate) documents: BTreeSet<i64>,
    pub(crate) features: BTreeSet<i64>,
}

/// A database of features to be labelled, made once for all tests.
pub(crate) struct Made {
    pub(crate) folder: TempDir,
    pub(crate) texts: BTreeMap<String, Text>,
    pub(crate) features: Vec<i64>,
}

pub(crate) fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = scratch();
        let (model, text) = (TinyModel::write(folder.path()), corpus_text(folder.path(), 90));
        let path = |name: &str| folder.path().join(name);
        let capture = Untangle::new("capture --context 64 --threads 1 -q").arg(&model.path);
        capture.option("--hook", TinyModel::HOOK).option("--text", &text).option("--out", path("x.h5")).succeed();
        for (seed, out) in [("0", "sae"), ("1", "other")] {
            let train = Untangle::new("train --d-sae 96 --k 4 --batch 512 --tokens 60000 --threads 1 -q");
            train.arg(path("x.h5")).option("--seed", seed).option("--out", path(out)).succeed();
        }
        let features = Untangle::new("features --threads 1 -q").arg(path("sae")).option("--store", path("x.h5"));
        features.option("--model", &model.path).option("--out", path("f.db")).succeed();
        let (texts, features) = known(&Connection::open(path("f.db")).expect("a database"));
        Made { folder, texts, features }
    })
}

/// Every text of the database, and features that fire in some texts and not in others.
fn known(database: &Connection) -> (BTreeMap<String, Text>, Vec<i64>) {
    let mut texts: BTreeMap<String, Text> = BTreeMap::new();
    let mut add = |sql: &str| {
        let mut select = database.prepare(sql).expect("a query");
        let mut rows = select.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let tokens: String = row.get(0).expect("tokens");
            let tokens: Vec<String> = serde_json::from_str(&tokens).expect("a list");
            let text = texts.entry(tokens.concat().replace('\n', "⏎").trim().to_owned()).or_default();
            text.documents.insert(row.get(1).expect("a document"));
            text.features.extend(row.get::<_, Option<i64>>(2).expect("a feature"));
        }
    };
    add("SELECT tokens, document, feature FROM examples");
    add("SELECT tokens, document, firings.feature FROM excerpts LEFT JOIN firings ON firings.excerpt = excerpts.id");
    let sql = "SELECT feature FROM firings GROUP BY feature HAVING count(*) BETWEEN 20 AND 180 ORDER BY feature";
    let mut select = database.prepare(sql).expect("a query");
    let features: Vec<i64> =
        select.query_map([], |row| row.get(0)).expect("rows").map(|id| id.expect("an id")).collect();
    assert!(features.len() >= 4, "{features:?}");
    (texts, features)
}

/// A copy of the database of its own, with the endpoint that a test wants.
pub(crate) struct Case {
    folder: TempDir,
    pub(crate) server: ChatServer,
}

impl Case {
    pub(crate) fn with(server: ChatServer) -> Self {
        let folder = scratch();
        fs::copy(made().folder.path().join("f.db"), folder.path().join("f.db")).expect("copied");
        Case { folder, server }
    }

    /// An endpoint that answers truly.
    pub(crate) fn good() -> Self {
        Self::with(ChatServer::start(|asked| with_odds(asked, &answer(asked, |label| label.to_owned()))))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `label` of the first `n` features that suit the test, with nothing of the environment.
    pub(crate) fn label(&self, n: usize) -> Untangle {
        let list: Vec<String> = made().features.iter().take(n).map(i64::to_string).collect();
        self.ask().option("--features", list.join(","))
    }

    pub(crate) fn ask(&self) -> Untangle {
        let command = Untangle::new("label --llm-model tiny --threads 1").arg(self.path("f.db"));
        clean(command.option("--llm", self.server.url()))
    }

    /// The studied model and its dictionary.
    pub(crate) fn studied(command: Untangle) -> Untangle {
        let folder = made().folder.path();
        command.option("--model", folder.join("tiny")).option("--sae", folder.join("sae"))
    }

    pub(crate) fn shown(&self, feature: i64) -> Value {
        Untangle::new("show").arg(self.path("f.db")).arg(feature.to_string()).json()["features"][0].clone()
    }
}

pub(crate) fn clean(command: Untangle) -> Untangle {
    let proxies = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"];
    proxies.into_iter().chain(["OPENAI_API_KEY"]).fold(command, Untangle::without_env)
}

/// The numbered texts of a prompt, without strength and marks, by what stands before them.
pub(crate) fn listed(prompt: &str) -> Vec<String> {
    let of = |line: &str| {
        let (number, rest) = line.split_once(". ")?;
        number.parse::<usize>().ok()?;
        let rest = match rest.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
            Some((strength, rest)) if strength.parse::<u32>().is_ok() => rest,
            _ => rest,
        };
        Some(rest.replace("<<", "").replace(">>", "").trim().to_owned())
    };
    prompt.lines().filter_map(of).collect()
}

pub(crate) fn is_judging(asked: &Asked) -> bool {
    asked.all().contains("Answer with one digit for each text")
}

pub(crate) fn is_naming(asked: &Asked) -> bool {
    let all = asked.all();
    all.contains("respond to") && all.contains("\nTexts:\n") && !is_judging(asked)
}

/// What somebody says who knows where every feature fires: feature 7 is called `kind 7`.
pub(crate) fn answer(asked: &Asked, spelled: impl Fn(&str) -> String) -> String {
    let (all, texts) = (asked.all(), &made().texts);
    let fires = |text: &str, feature: i64| texts.get(text).is_some_and(|text| text.features.contains(&feature));
    if is_naming(asked) {
        let lines = listed(&all);
        let of = |feature: &&i64| lines.iter().all(|line| fires(line, **feature));
        let found = made().features.iter().find(of).expect("texts of a feature");
        return format!("They are alike.\nLABEL: {}", spelled(&format!("kind {found}")));
    }
    if all.contains("make it say") {
        return "LABEL: letters".to_owned();
    }
    let phrase = all.lines().find_map(|line| line.strip_prefix("Phrase: ").or(line.strip_prefix("Kind: ")));
    let phrase = phrase.expect("a phrase");
    if all.contains("it was tested") {
        return format!("LABEL: {phrase}");
    }
    if all.contains("Write") {
        let text = |n: usize| {
            format!("{} the red dog sat near tree {}", if n < 10 { '+' } else { '-' }, "abcdefghijklmno".split_at(n).1)
        };
        return (0..15).map(text).collect::<Vec<_>>().join("\n");
    }
    // Of what is called anything else, such as by a rule, this judge knows nothing.
    let feature: Option<i64> = phrase.split("kind ").nth(1).and_then(|id| id.split(' ').next()?.parse().ok());
    let Some(feature) = feature else { return vec!["0"; listed(&all).len()].join(" ") };
    let digit = |text: &String| if fires(text, feature) { "1" } else { "0" };
    listed(&all).iter().map(digit).collect::<Vec<_>>().join(" ")
}

/// The answer with probabilities, where they were asked for.
pub(crate) fn with_odds(asked: &Asked, text: &str) -> Value {
    let mut whole = completion(text);
    if asked.body["logprobs"] == true {
        let odds = |token: &str| {
            let other = if token == "1" { "0" } else { "1" };
            let top = json!([{ "token": token, "logprob": -0.1 }, { "token": other, "logprob": -2.4 }]);
            json!({ "token": token, "logprob": -0.1, "top_logprobs": top })
        };
        whole["choices"][0]["logprobs"] = json!({ "content": text.split(' ').map(odds).collect::<Vec<_>>() });
    }
    whole
}

pub(crate) fn score<'a>(label: &'a Value, name: &str) -> &'a Value {
    let scores = label["scores"].as_array().expect("scores");
    scores.iter().find(|score| score["scorer"] == name).unwrap_or(&Value::Null)
}

pub(crate) fn label_of<'a>(feature: &'a Value, kind: &str, source: &str) -> &'a Value {
    let labels = feature["labels"].as_array().expect("labels");
    labels.iter().find(|label| label["kind"] == kind && label["source"] == source).unwrap_or(&Value::Null)
}

/// A label with its scores in the order of their names, which is no part of it.
fn ordered(label: &Value) -> (Value, BTreeMap<String, Value>) {
    let scores = label["scores"].as_array().expect("scores").iter();
    (label["text"].clone(), scores.map(|score| (score["scorer"].to_string(), score.clone())).collect())
}

#[test]
fn labels_are_given_tested_judged_and_shown() {
    let case = Case::good();
    let told = Case::studied(case.label(4)).json();
    assert_eq!((&told["finished"], &told["report"]["source"]), (&json!(true), &json!("llm:tiny")));
    let features = told["report"]["features"].as_array().expect("a list");
    for (feature, id) in features.iter().zip(&made().features) {
        let label = label_of(feature, "input", "llm:tiny");
        assert_eq!((&label["text"], &feature["feature"]), (&json!(format!("kind {id}")), &json!(id)));
        assert!(feature["tested"].as_u64().expect("a number") > 0 && feature["before"].is_null());
        for name in ["detection", "fuzzing", "detection-auroc", "fuzzing-auroc"] {
            let score = score(label, name);
            assert_eq!((score["value"].as_f64(), score["floor"].as_f64()), (Some(1.0), Some(0.5)), "{name} {label}");
            assert!(score["interval"][0].as_f64().expect("an interval") < 1.0, "twenty texts leave a doubt");
            assert!(score["control"].as_f64().expect("a control") < 1.0, "{name} of another label: {label}");
        }
        let detail = &score(label, "detection")["detail"];
        assert_eq!((detail["f1"].as_f64(), detail["unparseable"].as_f64()), (Some(1.0), Some(0.0)));
        let sensitivity = score(label, "sensitivity-written");
        assert_eq!(sensitivity["n"], 10);
        assert!(sensitivity["floor"].as_f64().is_some() && sensitivity["control"].as_f64().is_some(), "{sensitivity}");
        assert_eq!(label_of(feature, "output", "llm:tiny")["text"], "letters");
        let shown = case.shown(*id);
        assert_eq!(ordered(label_of(&shown, "input", "llm:tiny")), ordered(label), "the database has what was told");
    }
    let named = format!("kind {}", made().features[2]);
    let found = Untangle::new("search").arg(case.path("f.db")).arg(&named).json();
    assert_eq!(found["features"][0]["feature"], json!(made().features[2]));
    let text = Untangle::new("show").arg(case.path("f.db")).arg(made().features[2].to_string()).succeed();
    assert!(text.contains(&named) && text.contains("detection 1.00"), "{text}");
    let sorted = Untangle::new("search --sort score:detection --source llm:tiny").arg(case.path("f.db")).json();
    assert_eq!(sorted["features"].as_array().map(Vec::len), Some(4));
    assert_eq!(entries(case.folder.path()), ["f.db", "f.db.answers"], "nothing else is left");
}

#[test]
fn no_document_is_shown_to_the_labeller_and_to_the_judge() {
    let case = Case::good();
    let feature = made().features[0];
    Case::studied(case.label(1)).words("--no-controls").succeed();
    let asked = case.server.requests();
    let documents = |judging: bool| -> BTreeSet<i64> {
        let prompts = asked.iter().filter(|asked| is_judging(asked) == judging).map(Asked::all);
        let texts: Vec<String> = prompts.flat_map(|prompt| listed(&prompt)).collect();
        // Of the texts that the labeller sees, those that it wrote itself are in no document.
        texts.iter().filter_map(|text| made().texts.get(text)).flat_map(|text| text.documents.clone()).collect()
    };
    let (shown, judged) = (documents(false), documents(true));
    assert!(shown.len() >= 4 && judged.len() >= 8, "{shown:?} {judged:?}");
    assert!(shown.is_disjoint(&judged), "feature {feature}: {shown:?} and {judged:?}");
}

#[test]
fn what_a_label_says_is_text_wherever_it_is_shown() {
    let server = ChatServer::start(|asked| completion(&answer(asked, |label| format!("{label} {NASTY}"))));
    let case = Case::with(server);
    let told = case.label(1).words("--no-scores").succeed();
    let seen = format!("kind {} <img src=x onerror=alert(1)> & ]0;x", made().features[0]);
    assert!(told.contains(&seen) && !told.contains('\u{1b}') && !told.contains('\u{202e}'), "{told}");
    let label = label_of(&case.shown(made().features[0]), "input", "llm:tiny").clone();
    assert_eq!(label["text"], json!(seen));
    Untangle::new("dashboard -q").arg(case.path("f.db")).option("--out", case.path("page")).succeed();
    for name in entries(&case.path("page/data")) {
        let text = fs::read_to_string(case.path("page/data").join(&name)).expect("text");
        assert_eq!(text.lines().count(), 1, "{name}");
        if name.starts_with("features") && text.contains("onerror") {
            assert!(text.starts_with("untangle.load('features', "), "{name}: data, and the page makes text of it");
            assert!(text.contains("llm:tiny"), "{name}");
        }
    }
    let page = fs::read_to_string(case.path("page/index.html")).expect("text");
    assert!(!page.contains("onerror"), "a label is no part of the page itself");
}

#[test]
fn a_run_that_is_killed_goes_on_and_pays_for_nothing_twice() {
    let case = Case::good();
    let whole = case.label(4).words("--parallel 1").json();
    let n = case.server.requests().len();
    let killed = Case::good();
    killed.server.mishap(usize::MAX, Mishap::Slow(Duration::from_millis(30)));
    let mut child = killed.label(4).words("--parallel 1 -q").start();
    while killed.server.asked() < n / 2 {
        assert!(child.try_wait().expect("our own child").is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("our own child can be killed");
    child.wait().expect("our own child can be waited for");
    let again = killed.label(4).words("--parallel 1").json();
    let asked: Vec<String> = killed.server.requests().iter().map(|asked| asked.body.to_string()).collect();
    let different: BTreeSet<&String> = asked.iter().collect();
    assert_eq!(different.len(), n, "the same is asked");
    assert!(asked.len() <= n + 1, "{} for {n}: what was answered is asked once", asked.len());
    assert!(again["report"]["spent"]["kept"].as_u64().expect("a number") >= (n / 2) as u64 - 1);
    for feature in made().features.iter().take(4) {
        assert_eq!(killed.shown(*feature), case.shown(*feature));
    }
    assert_eq!(again["report"]["features"], whole["report"]["features"]);
    let third = killed.label(4).json();
    assert_eq!((&third["report"]["spent"]["requests"], killed.server.requests().len()), (&json!(0), 0));
}

#[test]
fn a_spent_budget_ends_the_run_with_what_is_done() {
    let case = Case::good();
    let outcome = case.label(4).words("--max-requests 10").run();
    assert_eq!(outcome.code, Some(INTERRUPTED), "{}", outcome.stderr);
    let line = outcome.stderr.lines().find(|line| line.starts_with("interrupted: ")).unwrap_or_default();
    assert!(
        line.contains("of 4 features are done")
            && line.contains("all 10 requests that were allowed are sent (10 requests"),
        "{line}"
    );
    assert!(line.contains("where more is allowed, the same command goes on"), "{line}");
    assert_eq!(case.server.requests().len(), 10);
    case.label(4).words("--max-requests 1000").succeed();
    assert_ne!(label_of(&case.shown(made().features[3]), "input", "llm:tiny"), &Value::Null);
    let case = Case::good();
    case.label(4).words("--budget 100 --parallel 1").run().stderr.lines().for_each(|line| {
        assert!(!line.starts_with("error"), "{line}");
    });
    // Answers of the server count 15 tokens each, and prompts as many as they are long.
    assert!(case.server.requests().len() <= 7, "100 tokens are soon spent");
}

#[test]
fn a_refusal_is_no_label_and_asked_about_again_where_that_is_wished() {
    let is_willing = Arc::new(AtomicBool::new(false));
    let willing = Arc::clone(&is_willing);
    let case = Case::with(ChatServer::start(move |_| {
        completion(if willing.load(Ordering::Relaxed) {
            "LABEL: dogs"
        } else {
            "I'm sorry, but I can't help with that."
        })
    }));
    let feature = made().features[0];
    let refused = case.label(1).words("--no-scores").run();
    assert!(!refused.stdout.contains("sorry"), "{} {}", refused.stdout, refused.stderr);
    assert_eq!(label_of(&case.shown(feature), "input", "llm:tiny"), &Value::Null);
    assert!(
        refused.stderr.contains("could not be understood") && refused.stderr.contains("--again"),
        "{}",
        refused.stderr
    );
    is_willing.store(true, Ordering::Relaxed);
    case.label(1).words("--no-scores").run();
    assert_eq!(label_of(&case.shown(feature), "input", "llm:tiny"), &Value::Null, "it was answered");
    case.label(1).words("--no-scores --again").succeed();
    assert_eq!(label_of(&case.shown(feature), "input", "llm:tiny")["text"], "dogs");
}

#[test]
fn features_of_a_prompt_are_those_that_fire_on_it() {
    let case = Case::with(ChatServer::start(|asked| {
        completion(if is_judging(asked) { "no idea" } else { "LABEL: <think>dogs</think> dogs" })
    }));
    let text = "the red dog";
    let told = Case::studied(case.ask().option("--for-prompt", text)).words("--limit 5 --no-scores").json();
    let labelled: BTreeSet<u64> =
        told["report"]["features"].as_array().expect("a list").iter().filter_map(|f| f["feature"].as_u64()).collect();
    let folder = made().folder.path();
    let read = Untangle::new("read").arg(folder.join("tiny")).option("--sae", folder.join("sae"));
    let read = read.option("--prompt", text).json();
    let tokens = read["readings"][0]["tokens"].as_array().expect("tokens").clone();
    let of = |token: &Value| token["features"].as_array().expect("a list").clone();
    let firing: BTreeSet<u64> = tokens.iter().flat_map(of).filter_map(|active| active["feature"].as_u64()).collect();
    assert!(labelled.len() == 5 && labelled.is_subset(&firing), "{labelled:?} and {firing:?}");
}
