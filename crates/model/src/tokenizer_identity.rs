//! By what is a tokenizer known again?
//!
//! By the bytes of its `tokenizer.json` and, where other files make it give other ids, texts or special tokens than that
//! file alone would, also by what they make of it. The token that begins a text is no part of it: where there is one, it
//! stands in the text's ids.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// What decides a tokenizer's ids beside its vocabulary and merges.
#[derive(Debug, PartialEq)]
pub(crate) struct Settings {
    /// Of [`parts`].
    pub(crate) parts: Value,
    /// Of [`tokens`].
    pub(crate) tokens: Value,
    /// Whether special tokens that stand in a text are cut like any other word.
    pub(crate) split: bool,
}

impl Settings {
    /// The settings as text; nothing where they are the `plain` ones.
    pub(crate) fn differs_from(&self, plain: &Settings) -> String {
        match self == plain {
            true => String::new(),
            false => json!([self.parts, self.tokens, self.split]).to_string(),
        }
    }
}

/// SHA-256 in hexadecimal of `tokenizer.json`, and of what makes the tokenizer differ from it, where anything does: its
/// settings, and ids that are special although nothing in it says so.
pub(crate) fn sha256(file: &[u8], differs: &str, also_special: &BTreeSet<u32>) -> String {
    let mut digest = Sha256::new();
    digest.update(file);
    if !differs.is_empty() || !also_special.is_empty() {
        digest.update(json!([differs, also_special]).to_string());
    }
    format!("{:x}", digest.finalize())
}

/// The parts of a tokenizer without vocabulary, merges, and what changes neither ids nor texts.
pub(crate) fn parts(
    model: &ModelWrapper,
    normalizer: Option<&NormalizerWrapper>,
    pre_tokenizer: Option<&PreTokenizerWrapper>,
    decoder: Option<&DecoderWrapper>,
) -> Value {
    let model = match model {
        ModelWrapper::BPE(bpe) => json!([
            bpe.unk_token,
            bpe.continuing_subword_prefix.as_deref().unwrap_or_default(),
            bpe.end_of_word_suffix.as_deref().unwrap_or_default(),
            bpe.fuse_unk,
            bpe.byte_fallback,
            bpe.ignore_merges,
            bpe.dropout,
        ]),
        _ => Value::Null,
    };
    let mut pre_tokenizer = serde_json::to_value(pre_tokenizer).unwrap_or_default();
    let mut decoder = serde_json::to_value(decoder).unwrap_or_default();
    forget(&mut pre_tokenizer, &["trim_offsets"]);
    forget(&mut decoder, &["add_prefix_space", "trim_offsets", "use_regex"]);
    json!([model, normalizer, pre_tokenizer, decoder])
}

/// Takes fields that change nothing out of all byte-level parts.
fn forget(value: &mut Value, fields: &[&str]) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|part| forget(part, fields)),
        Value::Object(map) => {
            if map.get("type").is_some_and(|name| name == "ByteLevel") {
                map.retain(|name, _| !fields.contains(&name.as_str()));
            }
            map.values_mut().for_each(|part| forget(part, fields));
        }
        _ => {}
    }
}

/// Added tokens by their ids.
pub(crate) fn tokens<'a>(tokens: impl IntoIterator<Item = (u64, &'a AddedToken)>) -> Value {
    json!(tokens.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect::<Vec<_>>())
}

/// Added tokens of a tokenizer.
pub(crate) fn tokens_of(tokenizer: &Tokenizer) -> Value {
    let added = tokenizer.get_added_tokens_decoder();
    tokens(added.iter().map(|(id, token)| (u64::from(*id), token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_no_id_is_no_part_of_it() {
        let of = |pre_tokenizer: Value, decoder: Value| {
            let bpe = ModelWrapper::BPE(tokenizers::models::bpe::BPE::default());
            let pre_tokenizer = serde_json::from_value(pre_tokenizer).expect("one");
            parts(&bpe, None, Some(&pre_tokenizer), Some(&serde_json::from_value(decoder).expect("one")))
        };
        let bytes = |prefix: bool, trim: bool, regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex});
        let usual = of(bytes(false, true, true), bytes(true, true, true));
        assert_eq!(of(bytes(false, false, true), bytes(false, false, false)), usual);
        assert_ne!(of(bytes(true, true, true), bytes(true, true, true)), usual);
        assert_ne!(of(bytes(false, true, false), bytes(true, true, true)), usual);
    }

    #[test]
    fn a_file_alone_is_known_by_its_bytes() {
        let none = BTreeSet::new();
        let plain = sha256(b"abc", "", &none);
        assert_eq!(plain, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let others = [sha256(b"abc", "x", &none), sha256(b"abc", "", &BTreeSet::from([3])), plain];
        assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), 3);
    }
}
