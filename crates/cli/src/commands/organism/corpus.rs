//! `untangle organism corpus`: documents of the world as a file.

use crate::context::Context;
use crate::exit::Complaint;
use crate::world_text::{Amount, Form, Part, WorldText, tokenizer};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use untangle_store::durable::place;
use untangle_store::{Partial, StoreError};

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

pub(crate) fn run(args: &CorpusArgs, context: &Context) -> anyhow::Result<()> {
    let form = form_of(&args.out, args.annotated)?;
    let amount = args.tokens.map_or(Amount::Documents(args.documents), Amount::Tokens);
    if matches!(amount, Amount::Documents(0) | Amount::Tokens(0)) {
        return Err(Complaint::usage("a corpus of nothing: --documents and --tokens must be at least 1"));
    }
    let text = WorldText { seed: args.seed, part: args.split, amount };
    let partial = Partial::claim(&args.out, args.force)?;
    let written = write(&text, form, partial.data(), context);
    let (documents, bytes) = match written {
        Ok(written) => written,
        Err(error) => {
            partial.discard()?;
            return Err(error);
        }
    };
    place(partial.data(), &args.out, args.force)?;
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
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(StoreError::io(path))?);
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
