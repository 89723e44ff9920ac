//! A dictionary's directory, with what its training recorded.

use crate::error::SourceError;
use crate::judges::{JudgingRows, Rows, Seen, judges};
use crate::surroundings::Surroundings;
use crate::world::overlap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use untangle_interpret::point::doubt;
use untangle_sae::Sae;
use untangle_schema::capture::CorpusFile;
use untangle_schema::sae::files;
use untangle_schema::{CaptureManifest, ModelIdentity};
use untangle_store::{ActivationSet, HeldOut};
use untangle_train::{Freeze, TrainingRecord};

/// A dictionary with what its training recorded.
pub struct Dictionary {
    /// The dictionary.
    pub sae: Sae,
    /// Name of its directory.
    pub name: String,
    origin: Origin,
}

/// Where a dictionary of any kind comes from.
pub struct Origin {
    /// Name of its directory.
    pub name: String,
    training: Option<Training>,
}

/// What training did not read, and of which store. Absent beside dictionaries from elsewhere.
#[derive(Debug)]
struct Training {
    held_out: HeldOut,
    content: String,
    /// The texts that were captured; none where the rows came as a matrix.
    corpus: Vec<CorpusFile>,
    /// The capture that gave the rows, or that would have given the same.
    capture: Option<CaptureManifest>,
    /// What stayed as it was drawn.
    freeze: Option<Freeze>,
}

/// What a training wrote beside its dictionary; none beside those from elsewhere. One that cannot be read is an error: taken
/// for none, it would make rows that were trained on judge the dictionary.
///
/// # Errors
/// When there is one that cannot be read.
pub fn training_record(dir: &Path) -> Result<Option<TrainingRecord>, SourceError> {
    let path = dir.join(files::TRAINING);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged_record(dir, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SourceError::io(path.display())(error)),
    }
}

fn damaged_record(dir: &Path, error: &serde_json::Error) -> SourceError {
    SourceError::DamagedRecord { path: dir.join(files::TRAINING), reason: error.to_string() }
}

impl Training {
    fn read(dir: &Path) -> Result<Option<Self>, SourceError> {
        let Some(TrainingRecord { data, plan, .. }) = training_record(dir)? else { return Ok(None) };
        let held_out = serde_json::from_value(data.held_out).map_err(|error| damaged_record(dir, &error))?;
        let corpus = data.capture.as_ref().map(|capture| capture.corpus.clone()).unwrap_or_default();
        Ok(Some(Training { held_out, content: data.content, corpus, capture: data.capture, freeze: plan.freeze }))
    }

    /// Whether the rows of another capture are the same tokens of the same documents, so that the held-out rule divides
    /// both alike: at other hook points, in another type, of another model with this tokenizer.
    fn has_rows_of(&self, other: &CaptureManifest) -> bool {
        self.capture.as_ref().is_some_and(|own| {
            let tokens = own.model.tokenizer_sha256 == other.model.tokenizer_sha256 && own.corpus == other.corpus;
            let counts = (own.n_rows, own.n_documents) == (other.n_rows, other.n_documents);
            let texts = (&own.chat_template_sha256, own.shard) == (&other.chat_template_sha256, other.shard);
            let contexts = (own.context, own.pad, own.bos_token) == (other.context, other.pad, other.bos_token);
            tokens && texts && counts && contexts
        })
    }

    fn seen(&self, content: &str, corpus: &[CorpusFile]) -> Seen {
        let same = |own: &CorpusFile, file: &CorpusFile| own.sha256 == file.sha256 || overlap(&own.name, &file.name);
        let trained_on = |file: &CorpusFile| self.corpus.iter().any(|own| same(own, file));
        match content == self.content {
            true => Seen::ByRule,
            false if self.corpus.is_empty() || corpus.is_empty() || corpus.iter().any(trained_on) => Seen::Perhaps,
            false => Seen::Never,
        }
    }
}

/// Reads a dictionary and says what its files say that a user should know. With `other_model` it may be used on another model
/// than it was trained on.
///
/// # Errors
/// When it cannot be read.
pub fn load_sae(dir: &Path, other_model: bool, surroundings: &Surroundings<'_>) -> Result<Sae, SourceError> {
    if !dir.exists() {
        return Err(SourceError::NoDictionary { names: dir.display().to_string() });
    }
    let sae = Sae::load(dir)?;
    let name = dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned());
    sae.notes().iter().for_each(|note| surroundings.warning(&format!("{name}: {note}")));
    Ok(if other_model { sae.of_any_model() } else { sae })
}

/// Says where a model, or the one that a store was captured from, may not be the dictionary's. What certainly is not is refused
/// where it is used.
pub fn say_doubts(sae: &Sae, given: Option<&ModelIdentity>, surroundings: &Surroundings<'_>) {
    match given.and_then(|given| doubt(sae, given)) {
        // Whoever asked for it knows it; that it is so is said all the same.
        Some(doubt) if sae.is_of_any_model() => {
            surroundings.note(&format!("{doubt}; used all the same, by --other-model"))
        }
        Some(doubt) => surroundings.warning(&doubt),
        None => {}
    }
}

/// The dictionaries that arguments name, each a dictionary's directory or one that holds several, as grids do. Other files
/// that training leaves, `report.html` among them, are passed over beside dictionaries, so that `GRID/*` names those of a
/// grid.
///
/// # Errors
/// When a folder cannot be listed, or there is no dictionary.
pub fn dictionaries_at(names: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let is_one = |dir: &Path| dir.join(files::CONFIG).is_file();
    let others = [files::REPORT, files::EVENTS, files::METRICS, files::TRAINING, files::GRID];
    let is_other = |path: &Path| path.is_file() && others.iter().any(|file| path.ends_with(file));
    let mut found = Vec::new();
    for name in names {
        let mut within = Vec::new();
        if !is_one(name) && name.is_dir() {
            let failed = || SourceError::io(name.display());
            for entry in fs::read_dir(name).map_err(failed())? {
                within.push(entry.map_err(failed())?.path());
            }
            within.retain(|path| is_one(path));
            within.sort();
        }
        match within.is_empty() {
            false => found.extend(within),
            // What is none says why when it is read.
            true if !is_other(name) => found.push(name.clone()),
            true => {}
        }
    }
    if found.is_empty() {
        let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
        return Err(SourceError::NoDictionary { names: names.join(", ") });
    }
    Ok(found)
}

/// What dictionaries in these folders are called where several are at hand: the last part of each path, and as many parts before it as
/// tell those that end alike apart.
pub fn names_of(dirs: &[PathBuf]) -> Vec<String> {
    let named = |dir: &PathBuf, parts: usize| {
        let all: Vec<_> = dir.components().collect();
        let last: PathBuf = all[all.len().saturating_sub(parts)..].iter().collect();
        last.display().to_string()
    };
    let most = dirs.iter().map(|dir| dir.components().count()).max().unwrap_or(1);
    let name = |dir: &PathBuf| {
        let is_own =
            |parts: &usize| dirs.iter().all(|other| other == dir || named(other, *parts) != named(dir, *parts));
        named(dir, (1..=most).find(is_own).unwrap_or(most))
    };
    dirs.iter().map(name).collect()
}

impl Dictionary {
    /// Reads the directory of one's own making.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(dir: &Path) -> Result<Self, SourceError> {
        Self::of(Sae::load(dir)?, dir)
    }

    /// Reads the directory of anyone's making, see [`load_sae`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load_any(dir: &Path, other_model: bool, surroundings: &Surroundings<'_>) -> Result<Self, SourceError> {
        Self::of(load_sae(dir, other_model, surroundings)?, dir)
    }

    fn of(sae: Sae, dir: &Path) -> Result<Self, SourceError> {
        let origin = Origin::read(dir)?;
        Ok(Dictionary { sae, name: origin.name.clone(), origin })
    }

    /// See [`Origin::unknown_training`].
    pub fn unknown_training(&self) -> Option<String> {
        self.origin.unknown_training()
    }

    /// Whether it was trained on documents that begin contexts of their own.
    pub fn padded(&self) -> bool {
        self.origin.padded()
    }

    /// Which part of `store` is meant, and what its rows are to the dictionary.
    pub fn rows_of(&self, store: &ActivationSet, rows: Rows) -> JudgingRows {
        self.origin.rows_of(store, rows)
    }
}

impl Origin {
    /// Reads what lies beside a dictionary.
    ///
    /// # Errors
    /// When the record of its training cannot be read.
    pub fn read(dir: &Path) -> Result<Self, SourceError> {
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = real.file_name().map_or_else(|| "sae".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Origin { name, training: Training::read(dir)? })
    }

    /// Whether a part of it stayed as it was drawn, as far as its training says.
    pub fn is_frozen(&self) -> bool {
        self.training.as_ref().is_some_and(|training| training.freeze.is_some())
    }

    /// What to say where nobody knows what the dictionary was trained on.
    pub fn unknown_training(&self) -> Option<String> {
        self.training.is_none().then(|| {
            format!(
                "{} has no {}: what it was trained on is not known, and every row is taken as one that it has not seen",
                self.name,
                files::TRAINING
            )
        })
    }

    /// See [`Dictionary::padded`].
    fn padded(&self) -> bool {
        self.training.as_ref().and_then(|training| training.capture.as_ref()).is_some_and(|capture| capture.pad)
    }

    /// Which part of `store` is meant, and what its rows are to the dictionary.
    pub fn rows_of(&self, store: &ActivationSet, rows: Rows) -> JudgingRows {
        let corpus = store.manifest().map_or(&[][..], |manifest| &manifest.corpus);
        let same_rows = |training: &Training| store.manifest().is_some_and(|manifest| training.has_rows_of(manifest));
        let seen = match &self.training {
            None => Seen::Never,
            Some(training) if same_rows(training) => Seen::ByRule,
            Some(training) => training.seen(&store.content_identity(), corpus),
        };
        let recorded = self.training.as_ref().filter(|_| seen == Seen::ByRule).map(|t| t.held_out.clone());
        judges(seen, recorded, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sha256: &str) -> CorpusFile {
        CorpusFile { name: "a.txt".into(), bytes: 1, sha256: sha256.into(), field: None }
    }

    #[test]
    fn rows_of_a_store_that_shares_a_text_with_the_training_are_in_doubt() {
        let training = Training {
            held_out: HeldOut::LastRows(9),
            content: "ab".into(),
            corpus: vec![file("1"), file("2")],
            capture: None,
            freeze: None,
        };
        assert_eq!(training.seen("ab", &[file("1"), file("2")]), Seen::ByRule);
        assert_eq!(training.seen("ba", &[file("2"), file("1")]), Seen::Perhaps, "in another order");
        assert_eq!(training.seen("a", &[file("1")]), Seen::Perhaps, "one of the two");
        assert_eq!(training.seen("c", &[file("3")]), Seen::Never, "the same name, another text");
        assert_eq!(training.seen("m", &[]), Seen::Perhaps, "a matrix");
        let world = |name: &str| CorpusFile { name: name.into(), ..file(name) };
        let of_the_world = Training { corpus: vec![world("organism-train-seed0-documents9.txt")], ..training };
        assert_eq!(of_the_world.seen("w", &[world("organism-train-seed0-documents99.txt")]), Seen::Perhaps);
        assert_eq!(of_the_world.seen("w", &[world("organism-test-seed0-documents99.txt")]), Seen::Never);
        let of_a_matrix = Training { corpus: Vec::new(), ..of_the_world };
        assert_eq!(of_a_matrix.seen("renamed", &[]), Seen::Perhaps);
        assert_eq!(of_a_matrix.seen("ab", &[]), Seen::ByRule);
    }
}
