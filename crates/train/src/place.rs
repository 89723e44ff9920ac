//! The unfinished directory of a run, held under a lock: claimed, continued or discarded, and given its name at the end.

use crate::error::TrainError;
use crate::run::Job;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use untangle_schema::sae::files;
use untangle_store::{Lock, differences, durable};

const CHECKPOINT: &str = "checkpoint.safetensors";
const PLAN: &str = "plan.json";
const FINISHED: &str = "finished";

/// The unfinished directory, held under a lock.
pub(crate) struct Place {
    out: PathBuf,
    partial: PathBuf,
    _lock: Lock,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Io { path, source }
}

impl Place {
    pub(crate) fn claim(job: &Job<'_>) -> Result<Self, TrainError> {
        let (out, partial) = (job.out.to_owned(), durable::with_suffix(job.out, ".partial"));
        if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(io(folder))?;
        }
        let lock = Lock::take(&durable::with_suffix(&partial, ".lock"), &out)?;
        if out.exists() && !job.force {
            return Err(TrainError::Exists { path: out });
        }
        let place = Place { out, partial, _lock: lock };
        place.clear_remains()?;
        place.keep_or_discard(&settings(job), job.force)?;
        for run in job.runs {
            let folder = place.partial.join(&run.name);
            fs::create_dir_all(&folder).map_err(io(&folder))?;
        }
        Ok(place)
    }

    /// The checkpoint of all dictionaries.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.partial.join(CHECKPOINT)
    }

    /// The log of a dictionary.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.partial.join(name).join(files::METRICS)
    }

    /// The event file of a dictionary.
    pub(crate) fn events(&self, name: &str) -> PathBuf {
        self.partial.join(name).join(files::EVENTS)
    }

    /// Removes what a run that was killed while finishing left behind.
    fn clear_remains(&self) -> Result<(), TrainError> {
        let replaced = self.replaced();
        if replaced.exists() && self.out.exists() {
            fs::remove_dir_all(&replaced).map_err(io(&replaced))?;
        }
        durable::remove(&durable::with_suffix(&self.checkpoint(), ".new"))?;
        let finished = self.partial.join(FINISHED);
        match fs::remove_dir_all(&finished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&finished)(error)),
            _ => Ok(()),
        }
    }

    /// Makes sure that the partial directory is one of these settings: continued, or empty.
    fn keep_or_discard(&self, settings: &Value, force: bool) -> Result<(), TrainError> {
        let plan_path = self.partial.join(PLAN);
        match fs::read_to_string(&plan_path) {
            Ok(text) => {
                let found: Value = serde_json::from_str(&text)
                    .map_err(|e| TrainError::Checkpoint { path: plan_path.clone(), reason: e.to_string() })?;
                let differing = differences(&found, settings);
                if differing.is_empty() {
                    return Ok(());
                }
                if !force {
                    let differing = differing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    return Err(TrainError::OtherRun { path: self.partial.clone(), differing });
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(&plan_path)(error)),
        }
        // The checkpoint goes first: a kill in between must not leave one whose settings are unknown or others.
        durable::remove(&self.checkpoint())?;
        if self.partial.exists() {
            fs::remove_dir_all(&self.partial).map_err(io(&self.partial))?;
        }
        fs::create_dir_all(&self.partial).map_err(io(&self.partial))?;
        durable::sync_folder(&plan_path)?;
        let text = serde_json::to_string_pretty(settings).map_err(|e| io(&plan_path)(e.into()))?;
        Ok(durable::replace(&plan_path, text.as_bytes())?)
    }

    fn replaced(&self) -> PathBuf {
        durable::with_suffix(&self.out, ".replaced")
    }

    /// The directory that becomes the output, with the folder of dictionary `name` and its log: within the partial one, so
    /// that checkpoint and plan stay usable until the output has its name.
    pub(crate) fn prepare_output(&self, name: &str) -> Result<PathBuf, TrainError> {
        let finished = self.partial.join(FINISHED).join(name);
        fs::create_dir_all(&finished).map_err(io(&finished))?;
        let log = finished.join(files::METRICS);
        fs::copy(self.log(name), &log).map_err(io(&log))?;
        let events = finished.join(files::EVENTS);
        if self.events(name).exists() {
            fs::copy(self.events(name), &events).map_err(io(&events))?;
        }
        Ok(finished)
    }

    /// A file of the output that is being prepared.
    pub(crate) fn prepared(&self, file: &str) -> PathBuf {
        self.partial.join(FINISHED).join(file)
    }

    /// Gives the output its name, then removes what only a continuation needs. A finished dictionary that is replaced goes
    /// first to a name of its own, because a folder cannot be renamed over another.
    pub(crate) fn finish(self, force: bool) -> Result<(), TrainError> {
        let replaced = self.replaced();
        if force && self.out.exists() {
            fs::rename(&self.out, &replaced).map_err(io(&self.out))?;
        }
        durable::place(&self.partial.join(FINISHED), &self.out, false)?;
        if replaced.exists() {
            fs::remove_dir_all(&replaced).map_err(io(&replaced))?;
        }
        fs::remove_dir_all(&self.partial).map_err(io(&self.partial))
    }
}

/// What decides the result. A single dictionary's settings stand at the top, those of several under their names.
fn settings(job: &Job<'_>) -> Value {
    let of = |run: &crate::run::Run| json!({"plan": run.plan, "data": run.data});
    match job.runs {
        [single] if single.name.is_empty() => of(single),
        several => several.iter().map(|run| (run.name.clone(), of(run))).collect(),
    }
}
