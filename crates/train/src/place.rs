//! The unfinished directory of a run, held under a lock: claimed, continued or discarded, and given its name at the end.

use crate::artefact::{self, DICTIONARY, GRID, stranger};
use crate::error::TrainError;
use crate::job::{Job, Run};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use untangle_schema::sae::files;
use untangle_schema::{Classify, Fault, Observer};
use untangle_store::{Artefact, Lock, StoreError, differences, durable, output};

const CHECKPOINT: &str = "checkpoint.safetensors";
const PLAN: &str = "plan.json";
/// What the rows are read from, as the source knows it again.
const INPUTS: &str = "inputs.json";
const FINISHED: &str = "finished";
/// Where a dictionary that is replaced lies for a moment, where the file system cannot exchange two folders.
const REPLACED: &str = "replaced";

/// The unfinished directory, held under a lock.
pub(crate) struct Place {
    out: PathBuf,
    partial: PathBuf,
    artefact: Artefact,
    lock: Lock,
}

/// The unfinished directory of an output.
fn partial_of(out: &Path) -> PathBuf {
    durable::with_suffix(out, ".partial")
}

/// The checkpoint that an unfinished run of this output would have.
pub(crate) fn checkpoint_of(out: &Path) -> PathBuf {
    partial_of(out).join(CHECKPOINT)
}

/// What the unfinished run of this output was begun with; none where that is not written down.
pub(crate) fn plans_of(out: &Path) -> Result<Option<Value>, TrainError> {
    read_json(&partial_of(out), PLAN)
}

fn read_json(folder: &Path, name: &str) -> Result<Option<Value>, TrainError> {
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| TrainError::Checkpoint { path: folder.to_owned(), reason: format!("{name}: {e}") }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(&path)(error)),
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Io { path, source }
}

impl Place {
    pub(crate) fn claim(job: &Job<'_>, observer: &dyn Observer) -> Result<Self, TrainError> {
        let (out, partial) = (output::plain(job.out), partial_of(job.out));
        let artefact = match job.runs {
            [single] if single.name.is_empty() => DICTIONARY,
            _ => GRID,
        };
        // A run that was killed while it put the new folder in place of the old one is told below.
        let replacing = partial.join(REPLACED).exists();
        if !replacing {
            check(&out, &artefact, job.force)?;
        }
        if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(io(folder))?;
        }
        let lock = Lock::take(&durable::with_suffix(&partial, ".lock"), &out)?;
        let place = Place { out, partial, artefact, lock };
        place.refuse_strangers(job)?;
        place.clear_remains()?;
        check(&place.out, &artefact, job.force)?;
        if !place.is_kept(job, observer)? {
            place.begin_anew(job, observer)?;
        }
        place.make_folders(job)?;
        Ok(place)
    }

    fn make_folders(&self, job: &Job<'_>) -> Result<(), TrainError> {
        job.runs.iter().try_for_each(|run| {
            let folder = self.partial.join(&run.name);
            fs::create_dir_all(&folder).map_err(io(&folder))
        })
    }

    /// Makes sure that everything in the partial directory is of a training: it is going to be written over or removed.
    fn refuse_strangers(&self, job: &Job<'_>) -> Result<(), TrainError> {
        let found = match fs::symlink_metadata(&self.partial) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io(&self.partial)(error)),
            Ok(about) if !about.is_dir() => Some(self.partial.clone()),
            Ok(_) => {
                let earlier = fs::read_to_string(self.partial.join(PLAN)).unwrap_or_default();
                let earlier: Value = serde_json::from_str(&earlier).unwrap_or_default();
                let earlier = earlier.as_object().into_iter().flat_map(|runs| runs.keys().cloned());
                let runs = job.runs.iter().map(|run| run.name.clone()).chain(earlier);
                let folders = runs.chain([FINISHED, REPLACED].map(str::to_owned)).collect();
                let found =
                    stranger(&self.partial, &[CHECKPOINT, PLAN, INPUTS], &folders).map_err(io(&self.partial))?;
                found.or_else(|| (!self.is_known()).then(|| self.partial.clone()))
            }
        };
        let Some(path) = found else { return Ok(()) };
        let out = self.out.display();
        let problem = format!("is not of an unfinished training, but lies where that of {out} would; move it away");
        Err(StoreError::Refused { path, problem, fault: Fault::BadInput }.into())
    }

    /// Whether something says that the partial directory, which holds no stranger's names, is of a training: the files
    /// that each begins with, or the lock of one that was killed before. An empty one is as good as none.
    fn is_known(&self) -> bool {
        let has = |name: &str| self.partial.join(name).is_file();
        let is_empty = fs::read_dir(&self.partial).is_ok_and(|mut entries| entries.next().is_none());
        has(PLAN) || has(INPUTS) || self.lock.was_left() || is_empty
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

    /// Removes what a run that was killed while finishing left behind, and puts back what it had moved.
    fn clear_remains(&self) -> Result<(), TrainError> {
        let replaced = self.partial.join(REPLACED);
        if replaced.exists() {
            match self.out.exists() {
                true => artefact::remove(&replaced).map_err(io(&replaced))?,
                false => durable::place(&replaced, &self.out, false)?,
            }
        }
        durable::remove(&durable::with_suffix(&self.checkpoint(), ".new"))?;
        self.remove_finished()
    }

    fn remove_finished(&self) -> Result<(), TrainError> {
        let finished = self.partial.join(FINISHED);
        match fs::remove_dir_all(&finished) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io(&finished)(error)),
            _ => Ok(()),
        }
    }

    /// Whether the partial directory is one of these settings and of these inputs, and is to be gone on with.
    fn is_kept(&self, job: &Job<'_>, observer: &dyn Observer) -> Result<bool, TrainError> {
        match self.check_unfinished(job, &settings(job), observer) {
            Err(error) if job.force && is_replaceable(&error) => Ok(false),
            checked => checked,
        }
    }

    /// What `restore` reads of the unfinished work; where that is damaged and `--force` says so, the work is begun anew.
    pub(crate) fn restored<T>(
        &self,
        job: &Job<'_>,
        observer: &dyn Observer,
        restore: impl FnOnce() -> Result<Option<T>, TrainError>,
    ) -> Result<Option<T>, TrainError> {
        match restore() {
            Err(error) if job.force && is_replaceable(&error) => {
                self.begin_anew(job, observer)?;
                self.make_folders(job)?;
                Ok(None)
            }
            restored => restored,
        }
    }

    /// Empties the partial directory and writes down what is trained, on what.
    fn begin_anew(&self, job: &Job<'_>, observer: &dyn Observer) -> Result<(), TrainError> {
        // The checkpoint goes first: a kill in between must not leave one whose settings are unknown or others.
        durable::remove(&self.checkpoint())?;
        if self.partial.exists() {
            fs::remove_dir_all(&self.partial).map_err(io(&self.partial))?;
        }
        fs::create_dir_all(&self.partial).map_err(io(&self.partial))?;
        durable::sync_folder(&self.partial)?;
        self.write_json(INPUTS, &job.source.recognise(None, observer)?)?;
        self.write_json(PLAN, &settings(job))
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<(), TrainError> {
        let path = self.partial.join(name);
        let text = serde_json::to_string_pretty(value).map_err(|e| io(&path)(e.into()))?;
        Ok(durable::replace(&path, text.as_bytes())?)
    }

    /// Whether there is unfinished work, of these settings and of inputs that are what they were.
    fn check_unfinished(&self, job: &Job<'_>, settings: &Value, observer: &dyn Observer) -> Result<bool, TrainError> {
        // Before the first checkpoint nothing is lost by beginning anew, whatever was asked for before.
        if !self.checkpoint().exists() {
            return Ok(false);
        }
        let Some(found) = read_json(&self.partial, PLAN)? else { return Ok(false) };
        // A store that was changed is told as that, not as another value of a setting.
        let inputs = read_json(&self.partial, INPUTS)?;
        let now = job.source.recognise(inputs.as_ref(), observer)?;
        let differing = differences(&found, settings);
        if !differing.is_empty() {
            let differing = differing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(TrainError::OtherRun { path: self.partial.clone(), differing });
        }
        if inputs.is_none() && !now.is_null() {
            let reason = format!("{INPUTS} beside it is missing, so that nobody knows which rows it was trained on");
            return Err(TrainError::Checkpoint { path: self.checkpoint(), reason });
        }
        if inputs.as_ref().is_some_and(|inputs| *inputs != now) {
            // The same content under new marks, after a copy: the next time need not read all of it again.
            self.write_json(INPUTS, &now)?;
        }
        Ok(inputs.is_some())
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

    /// Gives the output its name, then removes what only a continuation needs. A finished dictionary that is replaced
    /// changes places with it, and goes with the partial directory.
    pub(crate) fn finish(self, force: bool) -> Result<(), TrainError> {
        check(&self.out, &self.artefact, force)?;
        let (finished, replaced) = (self.partial.join(FINISHED), self.partial.join(REPLACED));
        // An empty folder is free, but no rename that replaces nothing goes onto it.
        let _ = fs::remove_dir(&self.out);
        if self.out.exists() {
            durable::exchange(&finished, &self.out, &replaced)?;
            artefact::remove(&finished).map_err(io(&finished))?;
        } else {
            durable::place(&finished, &self.out, false)?;
        }
        fs::remove_dir_all(&self.partial).map_err(io(&self.partial))
    }
}

/// Whether an error is about what an earlier run left, which `--force` replaces.
fn is_replaceable(error: &TrainError) -> bool {
    matches!(error.fault(), Fault::BadInput | Fault::Usage)
}

/// Whether the output may be written; see [`output::check`].
fn check(out: &Path, artefact: &Artefact, force: bool) -> Result<(), TrainError> {
    match output::check(out, artefact, force) {
        Err(StoreError::Exists { path }) => Err(TrainError::Exists { path }),
        checked => Ok(checked?),
    }
}

/// What decides the result. A single dictionary's settings stand at the top, those of several under their names.
fn settings(job: &Job<'_>) -> Value {
    let of = |run: &Run| json!({"plan": run.plan, "data": run.data});
    match job.runs {
        [single] if single.name.is_empty() => of(single),
        several => several.iter().map(|run| (run.name.clone(), of(run))).collect(),
    }
}
