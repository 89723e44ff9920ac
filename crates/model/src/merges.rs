//! How do `vocab.json` and `merges.txt`, in which tokenizers came before `tokenizer.json`, become one?
//!
//! They hold the vocabulary and the merges of byte-pair encoding and nothing else: how a text is cut is told by the class
//! of the tokenizer (`backend_class.rs`).

use crate::error::ModelError;
use crate::optional_file::read_optional;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

pub(crate) const VOCABULARY: &str = "vocab.json";
pub(crate) const MERGES: &str = "merges.txt";

/// The path of the vocabulary, and a `tokenizer.json` without anything but the model; none where one of the files is absent.
///
/// # Errors
/// A file cannot be read, or is damaged.
pub(crate) fn read(dir: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, ModelError> {
    let path = dir.join(VOCABULARY);
    let (Some(vocabulary), Some(merges)) = (read_optional(&path)?, read_optional(&dir.join(MERGES))?) else {
        return Ok(None);
    };
    let bad = |name: &str, reason: String| ModelError::Tokenizer { path: dir.join(name), reason };
    let vocabulary: Map<String, Value> =
        serde_json::from_slice(&vocabulary).map_err(|error| bad(VOCABULARY, error.to_string()))?;
    let merges = String::from_utf8(merges).map_err(|error| bad(MERGES, error.to_string()))?;
    let lines =
        merges.lines().enumerate().filter(|(at, line)| !line.is_empty() && (*at > 0 || !line.starts_with("#version")));
    let pair = |(at, line): (usize, &str)| match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok([left.to_owned(), right.to_owned()]),
        _ => Err(bad(MERGES, format!("line {} is no pair of tokens", at + 1))),
    };
    let merges = lines.map(pair).collect::<Result<Vec<_>, _>>()?;
    let tokenizer = json!({ "model": { "type": "BPE", "vocab": vocabulary, "merges": merges } });
    Ok(Some((path, tokenizer.to_string().into_bytes())))
}
