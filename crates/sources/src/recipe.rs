//! A set-up for steering in a small file, which every command that steers can read and people can pass on.
//!
//! ```toml
//! model = "organism"
//! sae = ["sae"]
//! features = ["features.db"]
//! steer = ["193:set=1x", "'rude':ablate at generated"]
//! at = "all"
//! when = "193>0.1x"
//! ```
//!
//! `steer` has the words of `untangle steer --feature`; the other keys are those of the options of the same names. Only `steer` is
//! needed. `other_model = true` is `--other-model`. Paths are relative to the file's folder, those of vectors within `steer` and `when` too.

use crate::error::SourceError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use untangle_interpret::steer::grammar::{Condition, Positions, What};
use untangle_interpret::{InterpretError, Spec};
use untangle_schema::whole;
use untangle_store::Artefact;

/// Bytes of a recipe at most (chosen): what is longer is something else.
const LARGEST: u64 = 1 << 20;

/// A recipe, as an output.
pub const RECIPE: Artefact = Artefact {
    name: "a recipe of `untangle steer`",
    is_folder: false,
    is_at: |path| match Recipe::read(path) {
        Ok(_) => Ok(true),
        Err(SourceError::NoRecipe { .. }) => Ok(false),
        Err(_) => File::open(path).map(|_| false),
    },
};

/// What is steered, of which model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// A model as the command line names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Dictionaries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sae: Vec<PathBuf>,
    /// Feature databases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<PathBuf>,
    /// Interventions.
    pub steer: Vec<String>,
    /// At which tokens, where an intervention does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What must hold there, where an intervention does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Whether dictionaries may be of another model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_model: bool,
}

impl Recipe {
    /// Reads a file; paths come out as they are from here.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML of this form, or an intervention in it cannot be understood.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let wrong = |reason: String| SourceError::NoRecipe { path: path.to_owned(), reason };
        let file = File::open(path).map_err(SourceError::io(path.display()))?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(SourceError::io(path.display()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(wrong(format!("it is longer than {LARGEST} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is no text".to_owned()))?;
        let mut recipe: Recipe =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().replace('\n', " ")))?;
        recipe.check().map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let from_here = |path: &PathBuf| folder.join(path);
        recipe.sae = recipe.sae.iter().map(from_here).collect();
        recipe.features = recipe.features.iter().map(from_here).collect();
        recipe.move_vectors(&from_here);
        // What names no directory beside the file is a name.
        recipe.model =
            recipe.model.map(|model| Some(folder.join(&model)).filter(|path| path.is_dir()).unwrap_or(model));
        Ok(recipe)
    }

    /// The interventions, each with where and when it is made.
    ///
    /// # Errors
    /// When one cannot be understood.
    pub fn specs(&self) -> Result<Vec<Spec>, InterpretError> {
        let place = |text: &str, problem: String| InterpretError::Spec { spec: text.to_owned(), problem };
        let at = self.at.as_deref().map(|text| Positions::parse(text).map_err(|problem| place(text, problem)));
        let when = self.when.as_deref().map(|text| Condition::parse(text).map_err(|problem| place(text, problem)));
        let (at, when) = (at.transpose()?, when.transpose()?);
        let mut specs = self.steer.iter().map(|text| text.parse()).collect::<Result<Vec<Spec>, _>>()?;
        for spec in &mut specs {
            spec.positions = spec.positions.take().or_else(|| at.clone());
            spec.condition = spec.condition.take().or_else(|| when.clone());
        }
        Ok(specs)
    }

    /// Writes the file, with paths relative to its folder where they lie below it, else whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), SourceError> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = fs::canonicalize(&folder).map_err(SourceError::io(folder.display()))?;
        let from_there = |path: &PathBuf| match fs::canonicalize(path) {
            Ok(whole) => relative(&whole, &folder).unwrap_or(whole),
            Err(_) => path.clone(),
        };
        let mut placed = Recipe {
            // `organism` is a name, whatever lies beside; a directory is a path.
            model: self.model.as_ref().map(|model| if model.is_dir() { from_there(model) } else { model.clone() }),
            sae: self.sae.iter().map(from_there).collect(),
            features: self.features.iter().map(from_there).collect(),
            ..self.clone()
        };
        placed.move_vectors(&from_there);
        let text = toml::to_string(&placed)
            .map_err(|error| SourceError::NoRecipe { path: path.to_owned(), reason: error.to_string() })?;
        whole::replace(path, text.as_bytes()).map_err(SourceError::io(path.display()))
    }

    /// Names the files of vectors otherwise. What cannot be understood, or names none, stays as it is written.
    fn move_vectors(&mut self, moved: &dyn Fn(&PathBuf) -> PathBuf) {
        for text in &mut self.steer {
            if let Ok(mut spec) = text.parse::<Spec>()
                && move_all(spec.names_mut(), moved)
            {
                *text = spec.to_string();
            }
        }
        if let Some(text) = &mut self.when
            && let Ok(mut condition) = Condition::parse(text)
            && move_all(condition.0.iter_mut().map(|test| &mut test.what), moved)
        {
            *text = condition.to_string();
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.steer.is_empty() {
            return Err("steer: it has no intervention, such as \"12:add=2x\"".to_owned());
        }
        for text in &self.steer {
            text.parse::<Spec>().map_err(|error: InterpretError| format!("steer: {error}"))?;
        }
        self.at
            .as_deref()
            .map_or(Ok(()), |text| Positions::parse(text).map(drop))
            .map_err(|problem| format!("at: {problem}"))?;
        self.when
            .as_deref()
            .map_or(Ok(()), |text| Condition::parse(text).map(drop))
            .map_err(|problem| format!("when: {problem}"))
    }
}

/// Names the files of vectors among these otherwise; whether there was one.
fn move_all<'a>(names: impl Iterator<Item = &'a mut What>, moved: &dyn Fn(&PathBuf) -> PathBuf) -> bool {
    let mut any = false;
    for name in names {
        // A path that is no text cannot stand in one, and stays as it is.
        if let What::Vector { path, .. } = name
            && let Some(text) = moved(&PathBuf::from(&*path)).to_str()
        {
            text.clone_into(path);
            any = true;
        }
    }
    any
}

/// The way to `path` from a folder that holds it at any depth.
fn relative(path: &Path, folder: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(folder).ok()?;
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && rest != Path::new("")).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_moves_with_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("here");
        fs::create_dir_all(here.join("sae")).unwrap();
        let recipe = Recipe {
            model: Some("organism".into()),
            sae: vec![here.join("sae")],
            steer: vec![
                "12:add=2x at generated".to_owned(),
                "'a \"b\"':ablate".to_owned(),
                format!("vector '{}':project-out", here.join("calm.gguf").display()),
            ],
            other_model: true,
            ..Recipe::default()
        };
        fs::write(here.join("calm.gguf"), "a vector").unwrap();
        recipe.write(&here.join("calm.toml")).unwrap();
        let text = fs::read_to_string(here.join("calm.toml")).unwrap();
        assert!(text.contains("sae = [\"sae\"]") && text.contains("vector 'calm.gguf'"), "{text}");
        let there = folder.path().join("there");
        fs::rename(&here, &there).unwrap();
        let read = Recipe::read(&there.join("calm.toml")).unwrap();
        let vector = format!("vector '{}':project-out", there.join("calm.gguf").display());
        let steer = [recipe.steer[0].clone(), recipe.steer[1].clone(), vector];
        assert_eq!(read, Recipe { sae: vec![there.join("sae")], steer: steer.into(), ..recipe });
    }

    #[test]
    fn what_is_wrong_with_a_recipe_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.toml");
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            Recipe::read(&path).unwrap_err().to_string()
        };
        for (text, words) in [
            ("steer = []", "no intervention"),
            ("steer = [\"12:tickle=3\"]", "tickle"),
            ("steer = [\"12:ablate\"]\nat = \"nowhere\"", "at: "),
            ("steer = [\"12:ablate\"]\nfeature = 3", "unknown field"),
            ("steer: 12", "r.toml"),
            (&"#".repeat(1 << 21), "longer than"),
        ] {
            let said = said(text);
            assert!(said.contains(words) && said.contains("r.toml"), "{text}: {said}");
        }
    }
}
