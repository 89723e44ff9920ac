//! `untangle organism corpus`: documents of the world as a file.

use crate::commands::words;
use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use serde_json::json;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use untangle_capture::corpus::SEPARATOR;
use untangle_organism::World;
use untangle_schema::AnnotatedHeader;
use untangle_sources::world::{Length, WorldForm, WorldPart, WorldText, tokenizer};
use untangle_store::durable::create;
use untangle_store::{Artefact, Partial, StoreError};

/// Write documents of the world to a file; the same command gives the same bytes
#[derive(Debug, Args)]
pub(crate) struct CorpusArgs {
    /// File to write: .txt, separated by <|endoftext|> lines, or .jsonl, one {"text": …} to a line
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Documents to write
    #[arg(long, value_name = "N", conflicts_with = "tokens", default_value_t = 10_000)]
    documents: u64,
    /// Write as many documents as have N tokens of the organism's
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// Seed of the documents
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// WorldPart of the documents
    #[arg(long, value_parser = words::part(), default_value = "train")]
    split: WorldPart,
    /// Write JSON lines with the table of concepts first, then each document with its split and annotations
    #[arg(long)]
    annotated: bool,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

/// A corpus, as an output.
const CORPUS: Artefact = Artefact { name: "a text that was written here", is_folder: false, is_at: is_corpus };

/// Bytes at either end of a file that are looked at. The table of concepts takes some tens of KiB.
const END: u64 = 1 << 18;
/// Documents whose words are taken for all that the world has.
const DOCUMENTS: u64 = 4000;

/// Whether a file is one of the forms that are written here: JSON lines with a text and nothing else, or behind the table
/// of concepts; plain text whose documents end with a separator. Texts carry no mark of their own, so their first and last
/// documents must consist of the world's words.
fn is_corpus(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    (&mut file).take(END).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    file.read_to_end(&mut tail)?;
    let (Ok(head), Ok(tail)) = (str::from_utf8(&head), str::from_utf8(&tail)) else { return Ok(false) };
    let separator = String::from_utf8_lossy(SEPARATOR);
    let separator = format!("\n{separator}\n");
    let (first, last) = (head.lines().next().unwrap_or_default(), tail.lines().next_back().unwrap_or_default());
    if serde_json::from_str::<AnnotatedHeader>(first).is_ok() {
        return Ok(true);
    }
    let texts = match (text_of_line(first), text_of_line(last)) {
        (Some(first), Some(last)) => [first, last],
        _ => {
            let Some(ended) = tail.strip_suffix(&separator) else { return Ok(false) };
            let first = head.split(&separator).next().unwrap_or_default();
            [first, ended.rsplit(&separator).next().unwrap_or_default()].map(str::to_owned)
        }
    };
    let known = words_of_the_world();
    Ok(texts.iter().all(|text| words(text).next().is_some() && words(text).all(|word| known.contains(word))))
}

/// The text of a line `{"text": …}`.
fn text_of_line(line: &str) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    let text = object.get("text")?.as_str()?;
    (object.len() == 1).then(|| text.to_owned())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn words_of_the_world() -> HashSet<String> {
    let world = World::standard();
    let documents = (0..DOCUMENTS).map(|index| world.document(0, index));
    documents.flat_map(|document| words(&document.text).map(str::to_owned).collect::<Vec<_>>()).collect()
}

pub(crate) fn run(args: &CorpusArgs, context: &Context) -> anyhow::Result<()> {
    let form = form_of(&args.out, args.annotated)?;
    let amount = args.tokens.map_or(Length::Documents(args.documents), Length::Tokens);
    if matches!(amount, Length::Documents(0) | Length::Tokens(0)) {
        return Err(Complaint::usage("a corpus of nothing: --documents and --tokens must be at least 1"));
    }
    let text = WorldText { seed: args.seed, part: args.split, amount };
    let partial = Partial::claim_for(&args.out, CORPUS, args.force)?;
    let written = write(&text, form, partial.data(), context);
    let (documents, bytes) = match written {
        Ok(written) => written,
        Err(error) => {
            partial.discard()?;
            return Err(error);
        }
    };
    partial.finish()?;
    let result = json!({
        "corpus": args.out, "documents": documents, "bytes": bytes, "split": args.split.name(), "seed": args.seed,
        "annotated": args.annotated,
    });
    context.output.result(&result, |out| {
        writeln!(
            out,
            "{}: {documents} documents ({}, seed {}), {bytes} bytes",
            args.out.display(),
            args.split.name(),
            args.seed
        )
    })
}

/// The form that the name asks for.
fn form_of(out: &Path, annotated: bool) -> anyhow::Result<WorldForm> {
    let extension = out.extension().unwrap_or_default().to_str();
    match (extension, annotated) {
        (Some("jsonl"), true) => Ok(WorldForm::Annotated),
        (Some("jsonl"), false) => Ok(WorldForm::JsonLines),
        (Some("txt"), false) => Ok(WorldForm::Separated),
        (Some("txt"), true) => Err(Complaint::usage(format!(
            "{}: plain text has no place for annotations; give a name that ends in .jsonl",
            out.display()
        ))),
        _ => Err(Complaint::usage(format!("{}: give a name that ends in .txt or .jsonl", out.display()))),
    }
}

/// Writes and syncs; returns documents and bytes.
fn write(text: &WorldText, form: WorldForm, path: &Path, context: &Context) -> anyhow::Result<(u64, u64)> {
    let mut out = BufWriter::with_capacity(1 << 20, create(path).map_err(StoreError::io(path))?);
    let documents = text.write(&mut out, form, &tokenizer()?, &context.progress)?;
    let file = out.into_inner().map_err(|error| StoreError::io(path)(error.into_error()))?;
    file.sync_all().map_err(StoreError::io(path))?;
    Ok((documents, file.metadata().map_err(StoreError::io(path))?.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_the_form() {
        let form = |name: &str, annotated| form_of(Path::new(name), annotated).ok();
        assert_eq!(form("a.txt", false), Some(WorldForm::Separated));
        assert_eq!(form("a.jsonl", false), Some(WorldForm::JsonLines));
        assert_eq!(form("a.jsonl", true), Some(WorldForm::Annotated));
        assert_eq!([form("a.txt", true), form("a", false), form("a.csv", true)], [None, None, None]);
    }

    #[test]
    fn only_texts_of_the_world_are_texts_that_were_written_here() {
        let folder = tempfile::tempdir().expect("a folder");
        let is = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            is_corpus(&path).expect("read")
        };
        let world = World::standard();
        let (one, other) = (world.document(7, 90_001).text, world.document(8, 5).text);
        let separator = String::from_utf8_lossy(SEPARATOR);
        let plain = |one: &str, other: &str| format!("{one}\n{separator}\n{other}\n{separator}\n");
        let lines = |one: &str, other: &str| format!("{}\n{}\n", json!({ "text": one }), json!({ "text": other }));
        assert!(is("a.txt", &plain(&one, &other)) && is("a.jsonl", &lines(&one, &other)));
        let mine = "My own precious corpus.";
        assert!(!is("a.txt", &plain(mine, &one)) && !is("a.jsonl", &lines(mine, mine)));
        assert!(!is("a.txt", &plain(&one, mine)) && !is("a.jsonl", &lines(&one, mine)));
        assert!(!is("a.txt", "") && !is("a.txt", &one) && !is("a.jsonl", "{}\n"));
    }
}
