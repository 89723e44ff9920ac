//! What does --text name? Files, or documents of the organism's world.
//!
//! | argument | text |
//! |---|---|
//! | `organism` | documents of the world for training, seed 0, as many as are needed |
//! | `organism:validation`, `organism:test`, `organism:all` | the same of another part |
//! | anything else | a file; `./organism` is one, too |

use crate::context::Context;
use crate::exit::Complaint;
use crate::scratch::Scratch;
use crate::world_text::{Amount, Form, Part, WorldText};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use untangle_capture::Corpus;
use untangle_model::LanguageModel;
use untangle_organism::bundled;

/// Seed of the world's documents.
const SEED: u64 = 0;

/// Text files, some of which may have been made for the length of a command.
#[derive(Debug)]
pub(crate) struct Text {
    files: Vec<PathBuf>,
    _scratch: Option<Scratch>,
}

impl Text {
    /// Makes sure that what is named can be had, without making any of it.
    pub(crate) fn check(names: &[PathBuf]) -> anyhow::Result<()> {
        names.iter().try_for_each(|name| world_part(name).map(|_| ()))?;
        let files: Vec<_> = names.iter().filter(|name| !Self::is_world(name)).collect();
        if !files.is_empty() {
            Corpus::open(&files)?;
        }
        Ok(())
    }

    /// Whether an argument names documents of the world.
    pub(crate) fn is_world(name: &Path) -> bool {
        world_part(name).is_ok_and(|part| part.is_some())
    }

    /// The files that are named. Of the world, as many documents are written to a file as have `tokens` tokens of
    /// `model`'s; its name says which they are.
    pub(crate) fn find(
        names: &[PathBuf],
        tokens: u64,
        model: &LanguageModel,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let (mut files, mut scratch) = (Vec::new(), None);
        for name in names {
            match world_part(name)? {
                None => files.push(name.clone()),
                Some(part) => {
                    let scratch: &Scratch = match &scratch {
                        Some(made) => made,
                        None => scratch.insert(Scratch::new()?),
                    };
                    let text = WorldText { seed: SEED, part, amount: Amount::Tokens(tokens) };
                    files.push(write(text, scratch.path(), model, context)?);
                }
            }
        }
        Ok(Text { files, _scratch: scratch })
    }

    /// Where they lie.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// The part of the world that an argument names; none where it names a file.
fn world_part(name: &Path) -> anyhow::Result<Option<Part>> {
    match name.to_str().unwrap_or_default().split_once(':') {
        None if name == Path::new(bundled::NAME) => Ok(Some(Part::Train)),
        Some((bundled::NAME, part)) => match Part::named(part) {
            None => Err(Complaint::usage(format!(
                "the organism's world has no documents `{part}`; it has train, validation, test and all"
            ))),
            part => Ok(part),
        },
        _ => Ok(None),
    }
}

fn write(text: WorldText, folder: &Path, model: &LanguageModel, context: &Context) -> anyhow::Result<PathBuf> {
    let unnamed = folder.join("text");
    let failed = |error| Complaint::io(format!("{}: {error}", unnamed.display()));
    let mut out = BufWriter::new(File::create(&unnamed).map_err(failed)?);
    let documents = text.write(&mut out, Form::Separated, model.tokenizer()?, &context.progress)?;
    out.flush().map_err(failed)?;
    let named = folder.join(text.file_name(documents));
    fs::rename(&unnamed, &named).map_err(failed)?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bare_name_means_the_world() {
        let part = |name: &str| world_part(Path::new(name));
        assert_eq!(part("organism").expect("known"), Some(Part::Train));
        assert_eq!(part("organism:test").expect("known"), Some(Part::Test));
        assert_eq!(part("./organism").expect("a file"), None);
        assert_eq!(part("organisms.txt").expect("a file"), None);
        assert!(part("organism:sft").expect_err("not a part").to_string().contains("validation"));
    }
}
