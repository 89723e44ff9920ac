//! Dictionaries whose features are named, each with a name of its own and with what is known of its features.

use super::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use untangle_interpret::database::sae_sha256;
use untangle_interpret::steer::Kind;
use untangle_interpret::{Database, Dictionary};
use untangle_model::LanguageModel;
use untangle_sae::{Crosscoder, Sae};
use untangle_sources::dictionary::{load_sae, say_doubts};

/// All of them.
pub(crate) struct Dictionaries(Vec<Loaded>);

/// A dictionary with its name and what is known of its features.
struct Loaded {
    name: String,
    kind: AnyDictionary,
    database: Option<Database>,
}

/// A dictionary of any kind.
pub(crate) enum AnyDictionary {
    Sae(Sae),
    Crosscoder(Crosscoder),
}

impl AnyDictionary {
    /// Reads a dictionary's directory and says what its files say that a user should know.
    pub(crate) fn load(dir: &Path, belonging: BelongingArgs, context: &Context) -> anyhow::Result<Self> {
        Ok(match Crosscoder::is_at(dir) {
            true => AnyDictionary::Crosscoder(Crosscoder::load(dir)?),
            false => AnyDictionary::Sae(load_sae(dir, belonging.other_model, &context.surroundings())?),
        })
    }

    /// The same for the library.
    pub(crate) fn kind(&self) -> Kind<'_> {
        match self {
            AnyDictionary::Sae(sae) => Kind::Sae(sae),
            AnyDictionary::Crosscoder(crosscoder) => Kind::Crosscoder(crosscoder),
        }
    }

    /// Its tensors; of a crosscoder those of all parts side by side.
    pub(crate) fn sae(&self) -> &Sae {
        match self {
            AnyDictionary::Sae(sae) => sae,
            AnyDictionary::Crosscoder(crosscoder) => crosscoder.joined(),
        }
    }

    /// Refuses stores beside the first where they would not be read.
    pub(crate) fn check_beside(&self, with: &[String]) -> anyhow::Result<()> {
        match (self, with) {
            (AnyDictionary::Sae(_), [_, ..]) => {
                Err(Complaint::usage("--with is for crosscoders, which read the activations of several models"))
            }
            _ => Ok(()),
        }
    }
}

impl Dictionaries {
    /// Reads dictionaries and databases.
    pub(crate) fn load(
        saes: &[PathBuf],
        databases: &[PathBuf],
        belonging: BelongingArgs,
        context: &Context,
    ) -> anyhow::Result<Self> {
        check_once("--sae", saes)?;
        check_once("--features", databases)?;
        let mut loaded = Vec::new();
        for (dir, name) in saes.iter().zip(names(saes)) {
            let kind = AnyDictionary::load(dir, belonging, context)?;
            loaded.push(Loaded { name, kind, database: None });
        }
        for path in databases {
            let database = context.database(path)?;
            let of = owner(&database, path, &loaded, context)?;
            loaded[of].database = Some(database);
        }
        Ok(Dictionaries(loaded))
    }

    /// The same for the library.
    pub(crate) fn all(&self) -> Vec<Dictionary<'_>> {
        self.0.iter().map(Loaded::dictionary).collect()
    }

    /// Says where the model may not be a dictionary's.
    pub(crate) fn say_doubts(&self, model: &LanguageModel, context: &Context) {
        for loaded in &self.0 {
            if let AnyDictionary::Sae(sae) = &loaded.kind {
                say_doubts(sae, Some(&model.identity()), &context.surroundings());
            }
        }
    }
}

/// What dictionaries are called: their directories' names, or where two share one, all of their paths.
fn names(dirs: &[PathBuf]) -> Vec<String> {
    let name =
        |dir: &PathBuf| dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned());
    let short: Vec<String> = dirs.iter().map(name).collect();
    let distinct = short.iter().collect::<HashSet<_>>().len() == short.len();
    if distinct { short } else { dirs.iter().map(|dir| dir.display().to_string()).collect() }
}

/// Refuses what is named twice.
fn check_once(option: &str, paths: &[PathBuf]) -> anyhow::Result<()> {
    let whole = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let twice = |at: &usize| paths[..*at].iter().any(|path| whole(path) == whole(&paths[*at]));
    match (0..paths.len()).find(twice) {
        Some(at) => Err(Complaint::usage(format!("{option} {}: is given twice; give it once", paths[at].display()))),
        None => Ok(()),
    }
}

/// The number of the dictionary that a database describes: by its tensors, or else by the count of features.
fn owner(database: &Database, path: &Path, loaded: &[Loaded], context: &Context) -> anyhow::Result<usize> {
    let run = database.run()?;
    let n_features = database.n_features()?;
    let free = || loaded.iter().enumerate().filter(|(_, one)| one.database.is_none());
    if let Some((of, _)) = free().find(|(_, one)| sae_sha256(one.sae()) == run.sae_sha256) {
        return Ok(of);
    }
    // One that is described already is described twice.
    if let Some(one) = loaded.iter().find(|one| sae_sha256(one.sae()) == run.sae_sha256) {
        let (path, name) = (path.display(), &one.name);
        return Err(Complaint::usage(format!(
            "{path}: describes {name}, which has a database already; give one for each --sae"
        )));
    }
    let alike = free().find(|(_, one)| one.sae().d_sae() == n_features).map(|(of, _)| of);
    // A single dictionary is the one that is meant; whether it can be is said where it is used.
    let Some(of) = alike.or((loaded.len() == 1).then_some(0)) else {
        let problem = format!("{}: describes none of the dictionaries, but {}", path.display(), run.sae);
        return Err(Complaint::bad_input(format!("{problem}; run `untangle features` on them")));
    };
    context.progress.warning(&format!(
        "{}: describes another dictionary than {} ({}); if they are two, its labels and strengths say nothing",
        path.display(),
        loaded[of].name,
        run.sae
    ));
    Ok(of)
}

impl Loaded {
    fn sae(&self) -> &Sae {
        self.kind.sae()
    }

    fn dictionary(&self) -> Dictionary<'_> {
        let kind = self.kind.kind();
        Dictionary { name: &self.name, kind, database: self.database.as_ref() }
    }
}
