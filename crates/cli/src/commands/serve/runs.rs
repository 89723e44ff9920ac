//! How do trainings stand, by the files that they write?
//!
//! A training logs into `OUT.partial`, below it in a folder for each dictionary of several, and has its own name when it is
//! finished. A grid is therefore several of them.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use untangle_schema::sae::files;
use untangle_serve::wire::runs::{HeldOutFigures, RunInfo, RunList, RunPoint, RunState, Trainings};
use untangle_train::record::Record;

/// Folders below the one that is looked into: a grid's dictionaries, of trainings in folders of their own.
const DEPTH: usize = 3;
/// Runs that are told of, and points of a curve: more than a page shows.
const RUNS: usize = 200;
const POINTS: usize = 240;
/// Seconds without a step after which a training is taken for stopped, and how many of its usual pauses (chosen).
const QUIET: f64 = 60.0;
const PAUSES: f64 = 5.0;
/// Bytes of a file of figures that is read.
const FIGURES: u64 = 16 << 20;
/// What the folder of an unfinished training ends in.
const PARTIAL: &str = ".partial";

/// Where trainings are.
#[derive(Debug)]
pub(super) struct Watched {
    /// The folder that is looked into.
    pub(super) folder: Option<PathBuf>,
    /// Dictionaries that are served, by name.
    pub(super) served: Vec<(String, PathBuf)>,
}

impl Trainings for Watched {
    fn all(&self) -> RunList {
        let mut found = Vec::new();
        let measured = self.folder.as_deref().map(figures).unwrap_or_default();
        if let Some(folder) = &self.folder {
            look(folder, folder, DEPTH, &mut found);
        }
        for (name, folder) in &self.served {
            let is_there = found.iter().any(|(_, other)| is_same(other, folder));
            if !is_there && folder.join(files::METRICS).is_file() {
                found.push((name.clone(), folder.clone()));
            }
        }
        found.sort();
        found.truncate(RUNS);
        let run = |(name, folder): (String, PathBuf)| {
            let dictionary =
                self.served.iter().find(|(_, served)| is_same(served, &folder)).map(|(name, _)| name.clone());
            run_of(name, &folder, dictionary, &measured)
        };
        let folder = self.folder.as_ref().map(|folder| folder.display().to_string());
        RunList { folder, runs: found.into_iter().map(run).collect() }
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).ok().is_some_and(|a| fs::canonicalize(b).ok() == Some(a))
}

/// Folders with a log, and what they are called from `top`.
fn look(top: &Path, folder: &Path, depth: usize, found: &mut Vec<(String, PathBuf)>) {
    if folder.join(files::METRICS).is_file() {
        let name = folder.strip_prefix(top).unwrap_or(folder).display().to_string();
        let own = || folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = if name.is_empty() { own() } else { name };
        found.push((name.replace(PARTIAL, ""), folder.to_owned()));
    }
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Links are passed over: they may lead anywhere.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && found.len() < RUNS {
            look(top, &entry.path(), depth, found);
        }
    }
}

fn json_at(path: &Path) -> Value {
    let bytes = fs::metadata(path).ok().filter(|about| about.len() <= FIGURES).and_then(|_| fs::read(path).ok());
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn run_of(name: String, folder: &Path, dictionary: Option<String>, measured: &[(String, HeldOutFigures)]) -> RunInfo {
    let training = json_at(&folder.join(files::TRAINING));
    let is_finished = training["plan"].is_object();
    let told = if is_finished { training } else { begun_with(folder) };
    let plan = &told["plan"];
    let records = untangle_train::log::read(&folder.join(files::METRICS));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    let quiet_for = records.last().map(|last| (now - last.time).max(0.0));
    let pause = match &records[..] {
        [.., before, last] => last.time - before.time,
        _ => 0.0,
    };
    let state = match quiet_for {
        _ if is_finished => RunState::Finished,
        Some(quiet) if quiet > QUIET.max(PAUSES * pause) => RunState::Stopped,
        _ => RunState::Running,
    };
    let own = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let held_out = measured.iter().find(|(sae, _)| *sae == own).map(|(_, figures)| *figures);
    RunInfo {
        name,
        dictionary,
        state,
        subject: told["data"]["column"].as_str().map(str::to_owned),
        summary: summary(plan),
        frozen: plan["freeze"].as_str().map(str::to_owned),
        steps: plan["schedule"]["steps"].as_u64(),
        quiet_for,
        curve: curve(&records),
        held_out,
    }
}

/// What an unfinished training was begun with: beside its log, or, of one of several, in the folder above.
fn begun_with(folder: &Path) -> Value {
    /// Where a training keeps it.
    const PLAN: &str = "plan.json";
    let own = json_at(&folder.join(PLAN));
    if own["plan"].is_object() {
        return own;
    }
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    folder.parent().map(|above| json_at(&above.join(PLAN))[name.as_str()].clone()).unwrap_or_default()
}

fn summary(plan: &Value) -> Option<String> {
    let (architecture, features) = (plan["architecture"].as_str()?, plan["d_sae"].as_u64()?);
    let k = plan["k"].as_u64().map(|k| format!(", k {k}")).unwrap_or_default();
    Some(format!("{architecture}, {features} features{k}"))
}

/// As many records as a chart has room for, the last among them.
fn curve(records: &[Record]) -> Vec<RunPoint> {
    let every = records.len().div_ceil(POINTS).max(1);
    let shown = records.iter().enumerate().filter(|(at, _)| (records.len() - 1 - at).is_multiple_of(every));
    let point =
        |(_, r): (usize, &Record)| RunPoint { step: r.step, loss: r.loss, fvu: r.fvu, l0: r.l0, dead: r.dead as u64 };
    shown.map(point).collect()
}

/// What files in a folder say that `untangle evaluate --json` measured, by dictionary.
fn figures(folder: &Path) -> Vec<(String, HeldOutFigures)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = entries.filter(|path| path.extension().is_some_and(|ending| ending == "json") && path.is_file());
    let of = |one: &Value| {
        let figures =
            HeldOutFigures { fvu: one["fvu"].as_f64()?, l0: one["l0"].as_f64()?, dead: one["dead"].as_u64()? };
        Some((one["sae"].as_str()?.to_owned(), figures))
    };
    let all = |path: PathBuf| json_at(&path)["dictionaries"].as_array().cloned().unwrap_or_default();
    named.flat_map(all).filter_map(|one| of(&one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &Path, time: f64, steps: u64) {
        fs::create_dir_all(folder).expect("made");
        let line = |step| {
            format!(
                "{}\n",
                serde_json::to_string(&Record { step, fvu: 1.0 / step as f64, l0: 8.0, time, ..Record::default() })
                    .expect("JSON")
            )
        };
        fs::write(folder.join(files::METRICS), (1..=steps).map(line).collect::<String>()).expect("written");
    }

    #[test]
    fn runs_are_found_with_their_state_and_their_figures() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        log(&at("grid/small"), 5.0, 1000);
        let training = r#"{"plan": {"architecture": "topk", "d_sae": 64, "k": 8, "freeze": "decoder", "schedule": {"steps": 1000}}, "data": {"column": "x"}}"#;
        fs::write(at("grid/small").join(files::TRAINING), training).expect("written");
        log(&at("live.partial"), now, 3);
        let plans =
            r#"{"plan": {"architecture": "relu", "d_sae": 32, "schedule": {"steps": 9}}, "data": {"column": "x"}}"#;
        fs::write(at("live.partial").join("plan.json"), plans).expect("written");
        log(&at("old.partial"), now - 3600.0, 3);
        let measured = r#"{"dictionaries": [{"sae": "small", "fvu": 0.2, "l0": 8.0, "dead": 3}]}"#;
        fs::write(at("figures.json"), measured).expect("written");
        let watched =
            Watched { folder: Some(folder.path().to_owned()), served: vec![("mine".into(), at("grid/small"))] };
        let list = watched.all();
        let told: Vec<_> =
            list.runs.iter().map(|run| (run.name.as_str(), run.state, run.curve.last().map(|p| p.step))).collect();
        let expected = [
            ("grid/small", RunState::Finished, Some(1000)),
            ("live", RunState::Running, Some(3)),
            ("old", RunState::Stopped, Some(3)),
        ];
        assert_eq!(told, expected);
        let first = &list.runs[0];
        assert_eq!(
            (first.dictionary.as_deref(), first.frozen.as_deref(), first.steps),
            (Some("mine"), Some("decoder"), Some(1000))
        );
        assert_eq!(first.summary.as_deref(), Some("topk, 64 features, k 8"));
        assert_eq!((list.runs[1].steps, list.runs[1].subject.as_deref()), (Some(9), Some("x")), "of one that goes on");
        assert!(first.curve.len() <= POINTS && first.held_out.is_some_and(|figures| figures.dead == 3));
    }
}
