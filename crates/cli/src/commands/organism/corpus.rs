//! `untangle organism corpus`: documents of the world as a file.

use crate::context::Context;
use crate::exit::Complaint;
use crate::world_text::{Amount, Form, Part, WorldText, tokenizer};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use untangle_capture::corpus::SEPARATOR;
use untangle_schema::AnnotatedHeader;
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
    /// Part of the documents
    #[arg(long, value_enum, default_value = "train")]
    split: Part,
    /// Write JSON lines with the table of concepts first, then each document with its split and annotations
    #[arg(long)]
    annotated: bool,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

/// A corpus, as an output.
const CORPUS: Artefact = Artefact { name: "a text that was written here", is_folder: false, is_at: is_corpus };

/// Longest first line that is looked at; the table of concepts takes some tens of KiB.
const LONGEST_LINE: u64 = 4 << 20;

/// Whether a file is one of the forms that are written here: JSON lines that begin with a text and nothing else, or with the
/// table of concepts; plain text whose last document ends with a separator.
fn is_corpus(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut line = Vec::new();
    BufReader::new((&mut file).take(LONGEST_LINE)).read_until(b'\n', &mut line)?;
    if let Ok(object) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&line) {
        let is_text = object.len() == 1 && object.get("text").is_some_and(serde_json::Value::is_string);
        return Ok(is_text || serde_json::from_slice::<AnnotatedHeader>(&line).is_ok());
    }
    let end = [b"\n", SEPARATOR, b"\n"].concat();
    let length = file.metadata()?.len();
    let mut last = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(end.len() as u64)))?;
    file.read_to_end(&mut last)?;
    Ok(last == end)
}

pub(crate) fn run(args: &CorpusArgs, context: &Context) -> anyhow::Result<()> {
    let form = form_of(&args.out, args.annotated)?;
    let amount = args.tokens.map_or(Amount::Documents(args.documents), Amount::Tokens);
    if matches!(amount, Amount::Documents(0) | Amount::Tokens(0)) {
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
fn form_of(out: &Path, annotated: bool) -> anyhow::Result<Form> {
    let extension = out.extension().unwrap_or_default().to_str();
    match (extension, annotated) {
        (Some("jsonl"), true) => Ok(Form::Annotated),
        (Some("jsonl"), false) => Ok(Form::JsonLines),
        (Some("txt"), false) => Ok(Form::Separated),
        (Some("txt"), true) => Err(Complaint::usage(format!(
            "{}: plain text has no place for annotations; give a name that ends in .jsonl",
            out.display()
        ))),
        _ => Err(Complaint::usage(format!("{}: give a name that ends in .txt or .jsonl", out.display()))),
    }
}

/// Writes and syncs; returns documents and bytes.
fn write(text: &WorldText, form: Form, path: &Path, context: &Context) -> anyhow::Result<(u64, u64)> {
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
        assert_eq!(form("a.txt", false), Some(Form::Separated));
        assert_eq!(form("a.jsonl", false), Some(Form::JsonLines));
        assert_eq!(form("a.jsonl", true), Some(Form::Annotated));
        assert_eq!([form("a.txt", true), form("a", false), form("a.csv", true)], [None, None, None]);
    }
}
