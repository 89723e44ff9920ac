//! Which files describe a tokenizer, and what those beside `tokenizer.json` declare.
//!
//! What counts is what transformers' `AutoTokenizer` reads of the same directory: `tokenizer_config.json` with its
//! `added_tokens_decoder`, and only where it has none `special_tokens_map.json` and `added_tokens.json`.

use crate::error::ModelError;
use crate::fields::Fields;
use crate::language_model::read_optional;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::AddedToken;

pub(crate) const CONFIG: &str = "tokenizer_config.json";
pub(crate) const TEMPLATE: &str = "chat_template.jinja";
/// The special tokens that have a name of their own, in the order in which transformers adds them.
pub(crate) const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The files that describe a tokenizer.
#[derive(Clone, Debug)]
pub struct TokenizerFiles {
    pub(crate) path: PathBuf,
    pub(crate) tokenizer: Vec<u8>,
    /// `tokenizer_config.json`, which says which special token is which.
    tokenizer_config: Option<Vec<u8>>,
    /// `special_tokens_map.json`, which said so before.
    special_tokens_map: Option<Vec<u8>>,
    /// `added_tokens.json`, tokens behind the vocabulary.
    added_tokens: Option<Vec<u8>>,
    /// `config.json`, which may name the tokenizer's class.
    model_config: Option<Vec<u8>>,
    /// `generation_config.json`, which may add end-of-sequence tokens.
    generation_config: Option<Vec<u8>>,
    /// `chat_template.jinja`, where the template has a file of its own.
    pub(crate) chat_template: Option<Vec<u8>>,
}

impl TokenizerFiles {
    /// Reads them from a Hugging Face directory; none where it has no `tokenizer.json`.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, ModelError> {
        let path = dir.join("tokenizer.json");
        let Some(tokenizer) = read_optional(&path)? else { return Ok(None) };
        let read = |name: &str| read_optional(&dir.join(name));
        Ok(Some(Self {
            path,
            tokenizer,
            tokenizer_config: read(CONFIG)?,
            special_tokens_map: read("special_tokens_map.json")?,
            added_tokens: read("added_tokens.json")?,
            model_config: read("config.json")?,
            generation_config: read("generation_config.json")?,
            chat_template: read(TEMPLATE)?,
        }))
    }

    /// The bytes of a `tokenizer.json` alone.
    pub fn in_memory(tokenizer: &[u8]) -> Self {
        Self {
            path: PathBuf::from("tokenizer.json"),
            tokenizer: tokenizer.to_owned(),
            tokenizer_config: None,
            special_tokens_map: None,
            added_tokens: None,
            model_config: None,
            generation_config: None,
            chat_template: None,
        }
    }

    /// The same with a `chat_template.jinja` of these bytes.
    pub fn with_template(self, source: &[u8]) -> Self {
        Self { chat_template: Some(source.to_owned()), ..self }
    }

    fn parse(&self, name: &str, text: Option<&Vec<u8>>) -> Result<Option<Fields>, ModelError> {
        text.map(|text| Fields::parse(&self.path.with_file_name(name), text)).transpose()
    }

    /// End-of-sequence tokens of `generation_config.json`.
    pub(crate) fn generation_eos(&self) -> Result<Vec<u32>, ModelError> {
        let fields = self.parse("generation_config.json", self.generation_config.as_ref())?;
        fields.map_or(Ok(Vec::new()), |fields| fields.ids("eos_token_id"))
    }

    /// What the files beside `tokenizer.json` declare.
    pub(crate) fn declared(&self) -> Result<Declared, ModelError> {
        let config = self.parse(CONFIG, self.tokenizer_config.as_ref())?;
        let listed = config.as_ref().is_some_and(|fields| fields.has("added_tokens_decoder"));
        let older = |name, text: &Option<Vec<u8>>| if listed { Ok(None) } else { self.parse(name, text.as_ref()) };
        Ok(Declared {
            special: older("special_tokens_map.json", &self.special_tokens_map)?,
            added: older("added_tokens.json", &self.added_tokens)?,
            class_of_model: match self.parse("config.json", self.model_config.as_ref())? {
                Some(fields) => fields.text("tokenizer_class")?.map(str::to_owned),
                None => None,
            },
            is_directory: self.model_config.is_some(),
            config,
        })
    }
}

/// What the files beside `tokenizer.json` declare.
#[derive(Debug)]
pub(crate) struct Declared {
    config: Option<Fields>,
    special: Option<Fields>,
    added: Option<Fields>,
    class_of_model: Option<String>,
    /// Whether the tokenizer stands in a model's directory, whose class it then has.
    pub(crate) is_directory: bool,
}

impl Declared {
    /// The fields of `tokenizer_config.json`.
    pub(crate) fn config(&self) -> Option<&Fields> {
        self.config.as_ref()
    }

    /// The tokenizer's class, without the ending of fast ones.
    pub(crate) fn class(&self) -> Result<Option<&str>, ModelError> {
        let own = self.config.as_ref().map_or(Ok(None), |fields| fields.text("tokenizer_class"))?;
        let class = own.or(self.class_of_model.as_deref());
        Ok(class.map(|name| if name == "PreTrainedTokenizerFast" { name } else { name.trim_end_matches("Fast") }))
    }

    /// A truth value of `tokenizer_config.json`.
    pub(crate) fn switch(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        self.config.as_ref().map_or(Ok(default), |fields| fields.bool_or(name, default))
    }

    /// Whether a special token is named, if only as null.
    pub(crate) fn names(&self, name: &str) -> bool {
        [&self.special, &self.config].into_iter().flatten().any(|fields| fields.has(name))
    }

    /// The text of the special token of this name.
    pub(crate) fn content(&self, name: &str) -> Option<String> {
        self.value(name).and_then(token_content)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let holder = [&self.special, &self.config].into_iter().flatten().find(|fields| fields.has(name))?;
        holder.get(name)
    }

    /// The tokens of `added_tokens_decoder` or `added_tokens.json` in the order of their ids; none where neither is there.
    pub(crate) fn added(&self) -> Result<Option<Vec<(u64, AddedToken)>>, ModelError> {
        const FIELD: &str = "added_tokens_decoder";
        let mut tokens = Vec::new();
        if let Some(fields) = self.config.as_ref().filter(|fields| fields.has(FIELD)) {
            let refuse = || fields.refuse(FIELD, "an object of ids, each with an object that has a `content`");
            for (id, token) in fields.entries(FIELD).ok_or_else(refuse)? {
                let id = id.parse().map_err(|_| refuse())?;
                tokens.push((id, added_token(token, false).ok_or_else(refuse)?));
            }
        } else if let Some(fields) = &self.added {
            let special = self.contents();
            for (content, id) in fields.iter() {
                let id = id.as_u64().ok_or_else(|| fields.refuse(content, "the id of this token"))?;
                tokens.push((id, AddedToken::from(content.clone(), special.contains(content))));
            }
        } else {
            return Ok(None);
        }
        tokens.sort_by_key(|(id, _)| *id);
        Ok(Some(tokens))
    }

    /// Texts of all named and further special tokens.
    fn contents(&self) -> Vec<String> {
        self.special().into_iter().map(|token| token.content).collect()
    }

    /// The named special tokens, then those of names that only this tokenizer has, then further ones.
    pub(crate) fn special(&self) -> Vec<AddedToken> {
        let mut tokens: Vec<AddedToken> =
            NAMED.iter().filter_map(|name| added_token(self.value(name)?, true)).collect();
        for fields in [&self.config, &self.special].into_iter().flatten() {
            let own = fields.iter().filter(|(name, _)| name.ends_with("_token") && !NAMED.contains(&name.as_str()));
            tokens.extend(own.filter(|(_, value)| value.is_string()).filter_map(|(_, value)| added_token(value, true)));
        }
        for field in ["extra_special_tokens", "additional_special_tokens"] {
            let further = match self.value(field) {
                Some(Value::Array(list)) => list.iter().collect::<Vec<_>>(),
                Some(Value::Object(map)) => map.values().collect(),
                _ => continue,
            };
            tokens.extend(further.into_iter().filter_map(|value| added_token(value, true)));
            break;
        }
        tokens
    }
}

/// A token as a string, or as an object that holds it under `content`.
fn added_token(value: &Value, special: bool) -> Option<AddedToken> {
    let content = token_content(value)?;
    let is = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = special || is("special").unwrap_or(false);
    Some(AddedToken {
        content,
        single_word: is("single_word").unwrap_or(false),
        lstrip: is("lstrip").unwrap_or(false),
        rstrip: is("rstrip").unwrap_or(false),
        normalized: is("normalized").unwrap_or(!special),
        special,
    })
}

/// The text of a special token: a string, or an object that holds it under `content`.
fn token_content(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}
