//! Which files describe a tokenizer, and what those beside `tokenizer.json` declare.
//!
//! What counts is what transformers' `AutoTokenizer` reads of the same directory: `tokenizer_config.json` with its
//! `added_tokens_decoder`, and only where it has none `special_tokens_map.json` and `added_tokens.json`.

use crate::error::ModelError;
use crate::fields::Fields;
use crate::merges;
use crate::optional_file::read_optional;
use crate::order::Order;
use crate::special_tokens::{self, Ordered, SpecialTokens, added_token};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use tokenizers::AddedToken;

pub(crate) const CONFIG: &str = "tokenizer_config.json";
pub(crate) const TEMPLATE: &str = "chat_template.jinja";
/// The field of `tokenizer_config.json` that lists added tokens by their ids.
const ADDED: &str = "added_tokens_decoder";

/// The files that describe a tokenizer.
#[derive(Clone, Debug)]
pub struct TokenizerFiles {
    pub(crate) path: PathBuf,
    pub(crate) tokenizer: Vec<u8>,
    /// Whether it was made of `vocab.json` and `merges.txt`.
    from_merges: bool,
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
    /// Reads them from a Hugging Face directory; none where it has neither `tokenizer.json` nor `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, ModelError> {
        let path = dir.join("tokenizer.json");
        let (path, tokenizer, from_merges) = match read_optional(&path)? {
            Some(tokenizer) => (path, tokenizer, false),
            None => match merges::read(dir)? {
                Some((path, tokenizer)) => (path, tokenizer, true),
                None => return Ok(None),
            },
        };
        let read = |name: &str| read_optional(&dir.join(name));
        Ok(Some(Self {
            path,
            tokenizer,
            from_merges,
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
            from_merges: false,
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
        let ordered = |name, text: &Option<Vec<u8>>| {
            let fields = self.parse(name, text.as_ref())?;
            let order = || text.as_deref().map(Order::of_text).unwrap_or_default();
            Ok::<_, ModelError>(fields.map(|fields| Ordered { fields, order: order() }))
        };
        let config = ordered(CONFIG, &self.tokenizer_config)?;
        let listed = config.as_ref().is_some_and(|file| file.fields.has(ADDED));
        let older = |name, text| if listed { Ok(None) } else { ordered(name, text) };
        Ok(Declared {
            special: older("special_tokens_map.json", &self.special_tokens_map)?,
            added: older("added_tokens.json", &self.added_tokens)?,
            class_of_model: match self.parse("config.json", self.model_config.as_ref())? {
                Some(fields) => fields.text("tokenizer_class")?.map(str::to_owned),
                None => None,
            },
            is_directory: self.model_config.is_some(),
            from_merges: self.from_merges,
            config,
        })
    }
}

/// What the files beside `tokenizer.json` declare.
#[derive(Debug)]
pub(crate) struct Declared {
    config: Option<Ordered>,
    special: Option<Ordered>,
    added: Option<Ordered>,
    class_of_model: Option<String>,
    /// Whether the tokenizer stands in a model's directory, whose class it then has.
    pub(crate) is_directory: bool,
    /// Whether only vocabulary and merges are known, so that the class must say the rest.
    pub(crate) from_merges: bool,
}

impl Declared {
    /// The fields of `tokenizer_config.json`.
    pub(crate) fn config(&self) -> Option<&Fields> {
        self.config.as_ref().map(|file| &file.fields)
    }

    /// The tokenizer's class, without the ending of fast ones.
    pub(crate) fn class(&self) -> Result<Option<&str>, ModelError> {
        let own = self.config().map_or(Ok(None), |fields| fields.text("tokenizer_class"))?;
        let class = own.or(self.class_of_model.as_deref());
        Ok(class.map(|name| if name == "PreTrainedTokenizerFast" { name } else { name.trim_end_matches("Fast") }))
    }

    /// A truth value of `tokenizer_config.json`.
    pub(crate) fn switch(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        self.config().map_or(Ok(default), |fields| fields.bool_or(name, default))
    }

    /// Whether a special token is named, if only as null.
    pub(crate) fn names(&self, name: &str) -> bool {
        [&self.special, &self.config].into_iter().flatten().any(|file| file.fields.has(name))
    }

    /// The text of the special token of this name in the files.
    pub(crate) fn content(&self, name: &str) -> Option<String> {
        let holder = [&self.special, &self.config].into_iter().flatten().find(|file| file.fields.has(name))?;
        Some(added_token(holder.fields.get(name)?, true)?.content)
    }

    /// The special tokens of the files, and of the class where the files say nothing.
    pub(crate) fn special(&self, defaults: &[(&str, &str)]) -> SpecialTokens {
        special_tokens::find(self.config.as_ref(), self.special.as_ref(), defaults)
    }

    /// Whether `tokenizer_config.json` lists all added tokens, so that no other list counts.
    pub(crate) fn lists_added(&self) -> bool {
        self.config().is_some_and(|fields| fields.has(ADDED))
    }

    /// The tokens of `added_tokens_decoder` or `added_tokens.json` by their ids.
    pub(crate) fn added(&self) -> Result<BTreeMap<u64, AddedToken>, ModelError> {
        let mut tokens = BTreeMap::new();
        if let Some(file) = self.config.as_ref().filter(|_| self.lists_added()) {
            let refuse = || file.fields.refuse(ADDED, "an object of ids, each with an object that has a `content`");
            let entries = file.fields.entries(ADDED).ok_or_else(refuse)?;
            for name in file.order.names_in(ADDED) {
                let id = name.parse().map_err(|_| refuse())?;
                tokens.insert(id, entries.get(name).and_then(|value| added_token(value, false)).ok_or_else(refuse)?);
            }
        } else if let Some(file) = &self.added {
            let known = special_tokens::known(self.config.as_ref(), self.special.as_ref());
            let known: HashSet<String> = known.into_iter().collect();
            for content in file.order.names() {
                let id = file.fields.get(content).and_then(Value::as_u64);
                let id = id.ok_or_else(|| file.fields.refuse(content, "the id of this token"))?;
                tokens.insert(id, AddedToken::from(content, known.contains(content)));
            }
        }
        Ok(tokens)
    }
}
