//! What does --text name? Files, standard input, data sets of the hub, or documents of the organism's world.
//!
//! | argument | text |
//! |---|---|
//! | `organism` | documents of the world for training, seed 0, as many as are needed |
//! | `organism:validation`, `organism:test`, `organism:all` | the same of another part |
//! | `-` | standard input |
//! | `dataset:owner/name[@REVISION][/PATH]`, `hf://datasets/…` | files of a data set of the hub |
//! | anything else | a file, or the files of a folder; `./organism` is one, too |

use crate::error::SourceError;
use crate::models::chat_template;
use crate::scratch::Scratch;
use crate::standard_input::standard_input;
use crate::surroundings::Surroundings;
use crate::world::{Length, WorldForm, WorldPart, WorldText};
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use untangle_capture::corpus::{self, Corpus, Reading, TextFile};
use untangle_model::LanguageModel;
use untangle_model::hub::{DatasetSpec, list_dataset};
use untangle_organism::bundled;

/// Seed of the world's documents.
const SEED: u64 = 0;

/// How text is read.
#[derive(Clone, Debug, Default)]
pub struct TextReading {
    /// Field of JSON lines, or column of parquet files, that holds the text; none for the usual one.
    pub field: Option<String>,
    /// Refuse text that is not UTF-8, instead of replacing and counting what is none.
    pub strict: bool,
    /// The field holds conversations, of which the model's own chat template makes texts.
    pub chat: bool,
}

impl TextReading {
    fn with(&self, model: &LanguageModel, surroundings: &Surroundings<'_>) -> Result<Reading, SourceError> {
        let chat = if self.chat { Some(chat_template(model, surroundings)?) } else { None };
        let usual = if self.chat { corpus::CONVERSATION_FIELD } else { corpus::FIELD };
        let field = self.field.clone().unwrap_or_else(|| usual.to_owned());
        Ok(Reading { field, strict: self.strict, chat })
    }
}

/// What one argument names.
enum Named {
    World(WorldPart),
    StandardInput,
    DataSet(DatasetSpec),
    Path,
}

/// Text that was found. Some of it may have been made, or kept, for the length of a command.
#[derive(Debug)]
pub struct Text {
    corpus: Corpus,
    _scratch: Option<Scratch>,
}

impl Text {
    /// Makes sure that what is named can be had, without making or fetching any of it.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(names: &[PathBuf]) -> Result<(), SourceError> {
        let mut inputs = 0;
        for name in names {
            match named(name)? {
                Named::Path => drop(Corpus::open(&[name])?),
                Named::StandardInput => inputs += 1,
                Named::World(_) | Named::DataSet(_) => {}
            }
        }
        match inputs {
            0 => Ok(()),
            1 if io::stdin().is_terminal() => Err(SourceError::Terminal),
            1 => Ok(()),
            _ => Err(SourceError::InputTwice),
        }
    }

    /// Whether an argument is a path, and not a name of something else.
    pub fn is_path(name: &Path) -> bool {
        named(name).map_or(true, |named| matches!(named, Named::Path))
    }

    /// Whether an argument names documents of the world.
    pub fn is_world(name: &Path) -> bool {
        world_part(name).is_ok_and(|part| part.is_some())
    }

    /// What is named. Of the world, as many documents are written to a file as have `tokens` tokens of `model`'s; its
    /// name says which they are. Files of the hub are listed here, and fetched when reading comes to them.
    ///
    /// # Errors
    /// When something named is not there or cannot be read, a transfer fails, or the observer asks to stop.
    pub fn find(
        names: &[PathBuf],
        reading: &TextReading,
        tokens: u64,
        model: &LanguageModel,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, SourceError> {
        let reading = reading.with(model, surroundings)?;
        let (mut found, mut scratch) = (None::<Corpus>, None);
        for name in names {
            let part = match named(name)? {
                Named::Path => Corpus::open(&[name])?,
                Named::DataSet(spec) => data_set(&spec, surroundings)?,
                Named::StandardInput => Corpus::of(vec![standard_input(folder(&mut scratch)?, surroundings)?])?,
                Named::World(part) => {
                    let text = WorldText { seed: SEED, part, amount: Length::Tokens(tokens) };
                    Corpus::open(&[write(text, folder(&mut scratch)?, model, surroundings)?])?
                }
            };
            found = Some(match found {
                Some(before) => before.and(part),
                None => part,
            });
        }
        let corpus = found.map_or_else(|| Corpus::of(Vec::new()), Ok)?;
        Ok(Text { corpus: corpus.read_as(reading)?, _scratch: scratch })
    }

    /// Its files.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }
}

fn named(name: &Path) -> Result<Named, SourceError> {
    if let Some(part) = world_part(name)? {
        return Ok(Named::World(part));
    }
    if name == Path::new("-") {
        return Ok(Named::StandardInput);
    }
    match name.to_str().and_then(DatasetSpec::parse) {
        Some(spec) => Ok(Named::DataSet(spec?)),
        None => Ok(Named::Path),
    }
}

/// The part of the world that an argument names; none where it names something else.
fn world_part(name: &Path) -> Result<Option<WorldPart>, SourceError> {
    match name.to_str().unwrap_or_default().split_once(':') {
        None if name == Path::new(bundled::NAME) => Ok(Some(WorldPart::Train)),
        Some((bundled::NAME, part)) => match WorldPart::named(part) {
            None => Err(SourceError::NoSuchPart { part: part.to_owned() }),
            part => Ok(part),
        },
        _ => Ok(None),
    }
}

/// The folder for what is kept during the command.
fn folder(scratch: &mut Option<Scratch>) -> Result<&Path, SourceError> {
    let made = match scratch.take() {
        Some(made) => made,
        None => Scratch::new()?,
    };
    Ok(scratch.insert(made).path())
}

fn data_set(spec: &DatasetSpec, surroundings: &Surroundings<'_>) -> Result<Corpus, SourceError> {
    let options = surroundings.hub()?;
    let files = list_dataset(spec, &options, surroundings.observer)?;
    let files = files.into_iter().map(|file| TextFile::of_hub(file, options.clone())).collect::<Result<_, _>>()?;
    Ok(Corpus::of(files)?)
}

fn write(
    text: WorldText,
    folder: &Path,
    model: &LanguageModel,
    surroundings: &Surroundings<'_>,
) -> Result<PathBuf, SourceError> {
    let unnamed = folder.join("text");
    let failed = || SourceError::io(unnamed.display());
    let mut out = BufWriter::new(File::create(&unnamed).map_err(failed())?);
    let documents = text.write(&mut out, WorldForm::Separated, model.tokenizer()?, surroundings.observer)?;
    out.flush().map_err(failed())?;
    let named = folder.join(text.file_name(documents));
    fs::rename(&unnamed, &named).map_err(failed())?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bare_name_means_the_world() {
        let part = |name: &str| world_part(Path::new(name));
        assert_eq!(part("organism").expect("known"), Some(WorldPart::Train));
        assert_eq!(part("organism:test").expect("known"), Some(WorldPart::Test));
        assert_eq!(part("./organism").expect("a file"), None);
        assert_eq!(part("organisms.txt").expect("a file"), None);
        assert!(part("organism:sft").expect_err("not a part").to_string().contains("validation"));
    }

    #[test]
    fn data_sets_and_standard_input_are_told_from_files() {
        let is = |name: &str| named(Path::new(name)).expect("named");
        assert!(matches!(is("-"), Named::StandardInput));
        assert!(matches!(is("dataset:o/n"), Named::DataSet(_)));
        assert!(matches!(is("hf://datasets/o/n/data/train-*"), Named::DataSet(_)));
        assert!(matches!(is("./-"), Named::Path) && matches!(is("o/n"), Named::Path));
        assert!(named(Path::new("dataset:o")).is_err());
    }
}
