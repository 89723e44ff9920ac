//! What does --text name? Files, standard input, data sets of the hub, or documents of the organism's world.
//!
//! | argument | text |
//! |---|---|
//! | `organism` | documents of the world for training, seed 0, as many as are needed |
//! | `organism:validation`, `organism:test`, `organism:all` | the same of another part |
//! | `-` | standard input |
//! | `dataset:owner/name[@REVISION][/PATH]`, `hf://datasets/…` | files of a data set of the hub |
//! | anything else | a file, or the files of a folder; `./organism` is one, too |

use crate::context::Context;
use crate::exit::Complaint;
use crate::models::chat_template;
use crate::scratch::Scratch;
use crate::world_text::{Amount, Form, Part, WorldText};
use clap::Args;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use untangle_capture::corpus::{self, Corpus, Layout, Reading, TextFile};
use untangle_model::LanguageModel;
use untangle_model::hub::{DatasetSpec, list_dataset};
use untangle_organism::bundled;
use untangle_schema::Observer;

/// Seed of the world's documents.
const SEED: u64 = 0;
/// What standard input is called.
const STANDARD_INPUT: &str = "standard input";
/// Bytes of standard input that are read at a time.
const CHUNK: usize = 1 << 20;
/// How often a signal is looked for while standard input is silent.
const LOOK: Duration = Duration::from_millis(100);

/// How text is read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Text")]
pub(crate) struct TextArgs {
    /// Field of JSON lines, or column of parquet files, that holds the text [default: text, or
    /// messages with --chat]
    #[arg(long, value_name = "NAME", requires = "text")]
    field: Option<String>,
    /// Refuse text that is not UTF-8, instead of replacing and counting what is none
    #[arg(long, requires = "text")]
    strict: bool,
    /// The field holds conversations, lists of messages with role and content; the model's chat template makes texts of
    /// them
    #[arg(long, requires = "text")]
    chat: bool,
}

impl TextArgs {
    fn reading(&self, model: &LanguageModel, context: &Context) -> anyhow::Result<Reading> {
        let chat = if self.chat { Some(chat_template(model, context)?) } else { None };
        let usual = if self.chat { corpus::CONVERSATION_FIELD } else { corpus::FIELD };
        let field = self.field.clone().unwrap_or_else(|| usual.to_owned());
        Ok(Reading { field, strict: self.strict, chat })
    }
}

/// What one argument names.
enum Named {
    World(Part),
    StandardInput,
    DataSet(DatasetSpec),
    Path,
}

/// Text that was found. Some of it may have been made, or kept, for the length of a command.
#[derive(Debug)]
pub(crate) struct Text {
    corpus: Corpus,
    _scratch: Option<Scratch>,
}

impl Text {
    /// Makes sure that what is named can be had, without making or fetching any of it.
    pub(crate) fn check(names: &[PathBuf]) -> anyhow::Result<()> {
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
            1 if io::stdin().is_terminal() => {
                Err(Complaint::usage("--text -: standard input is a terminal; pipe a text into it"))
            }
            1 => Ok(()),
            _ => Err(Complaint::usage("--text: `-` is named twice, and standard input can be read once")),
        }
    }

    /// Whether an argument is a path, and not a name of something else.
    pub(crate) fn is_path(name: &Path) -> bool {
        named(name).map_or(true, |named| matches!(named, Named::Path))
    }

    /// Whether an argument names documents of the world.
    pub(crate) fn is_world(name: &Path) -> bool {
        world_part(name).is_ok_and(|part| part.is_some())
    }

    /// What is named. Of the world, as many documents are written to a file as have `tokens` tokens of `model`'s; its
    /// name says which they are. Files of the hub are listed here, and fetched when reading comes to them.
    pub(crate) fn find(
        names: &[PathBuf],
        args: &TextArgs,
        tokens: u64,
        model: &LanguageModel,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let reading = args.reading(model, context)?;
        let (mut found, mut scratch) = (None::<Corpus>, None);
        for name in names {
            let part = match named(name)? {
                Named::Path => Corpus::open(&[name])?,
                Named::DataSet(spec) => data_set(&spec, context)?,
                Named::StandardInput => Corpus::of(vec![standard_input(folder(&mut scratch)?, context)?])?,
                Named::World(part) => {
                    let text = WorldText { seed: SEED, part, amount: Amount::Tokens(tokens) };
                    Corpus::open(&[write(text, folder(&mut scratch)?, model, context)?])?
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
    pub(crate) fn corpus(&self) -> &Corpus {
        &self.corpus
    }
}

fn named(name: &Path) -> anyhow::Result<Named> {
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

/// The folder for what is kept during the command.
fn folder(scratch: &mut Option<Scratch>) -> anyhow::Result<&Path> {
    let made = match scratch.take() {
        Some(made) => made,
        None => Scratch::new()?,
    };
    Ok(scratch.insert(made).path())
}

fn data_set(spec: &DatasetSpec, context: &Context) -> anyhow::Result<Corpus> {
    let options = context.hub()?;
    let files = list_dataset(spec, &options, &context.progress)?;
    let files = files.into_iter().map(|file| TextFile::of_hub(file, options.clone())).collect::<Result<_, _>>()?;
    Ok(Corpus::of(files)?)
}

/// Keeps standard input, which can be read once only: a capture that goes on reads its text from the begin. The same
/// text piped into the same command therefore continues it.
fn standard_input(folder: &Path, context: &Context) -> anyhow::Result<TextFile> {
    let path = folder.join("standard-input");
    let failed = |error: io::Error| Complaint::io(format!("{}: {error}", path.display()));
    let unread = |error: io::Error| Complaint::io(format!("{STANDARD_INPUT}: {error}"));
    let mut kept = File::create(&path).map_err(failed)?;
    let chunks = chunks_of_input();
    loop {
        if context.progress.interrupted() {
            return Err(Complaint::interrupted("standard input was not read to its end"));
        }
        match chunks.recv_timeout(LOOK) {
            Ok(chunk) => kept.write_all(&chunk.map_err(unread)?).map_err(failed)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let form = corpus::Form::of_content(&path)?;
    let file = TextFile::named(&path, STANDARD_INPUT.to_owned(), form)?.labelled(STANDARD_INPUT);
    let kind = match form.layout {
        Layout::Plain => "text",
        Layout::JsonLines => "JSON lines",
        Layout::Parquet => "a parquet table",
    };
    context.progress.note(&format!("{STANDARD_INPUT}: {} bytes, read as {kind}", file.bytes()));
    Ok(file)
}

/// Chunks of standard input as they come, from a thread of its own: a signal is heard while a pipe is silent. The thread
/// ends with the input or with the process.
fn chunks_of_input() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(4);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match input.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => break,
                read => read.map(|n| {
                    chunk.truncate(n);
                    chunk
                }),
            };
            let failed = read.is_err();
            if sender.send(read).is_err() || failed {
                break;
            }
        }
    });
    receiver
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
