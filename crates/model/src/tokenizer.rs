//! The tokenizer: text to ids and back, with special tokens handled explicitly.
//!
//! Text is encoded without the special tokens that a post-processor would add; a beginning-of-sequence token comes
//! only from [`Tokenizer::encode_with_bos`] and [`Tokenizer::bos_for`], so it is never doubled.

use crate::chat::ChatTemplate;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::fields::Fields;
use crate::language_model::read_optional;
use crate::token_text::TokenStyle;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use untangle_schema::BosPolicy;

/// The files that describe a tokenizer.
#[derive(Clone, Debug)]
pub struct TokenizerFiles {
    path: PathBuf,
    tokenizer: Vec<u8>,
    /// `tokenizer_config.json`, which says which special token is which.
    tokenizer_config: Option<Vec<u8>>,
    /// `generation_config.json`, which may add end-of-sequence tokens.
    generation_config: Option<Vec<u8>>,
    /// `chat_template.jinja`, where the template has a file of its own.
    chat_template: Option<Vec<u8>>,
}

impl TokenizerFiles {
    /// Reads them from a Hugging Face directory; none where it has no `tokenizer.json`.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, ModelError> {
        let path = dir.join("tokenizer.json");
        let Some(tokenizer) = read_optional(&path)? else { return Ok(None) };
        let tokenizer_config = read_optional(&dir.join(CONFIG))?;
        let generation_config = read_optional(&dir.join("generation_config.json"))?;
        let chat_template = read_optional(&dir.join(TEMPLATE))?;
        Ok(Some(Self { path, tokenizer, tokenizer_config, generation_config, chat_template }))
    }

    /// The bytes of a `tokenizer.json` alone.
    pub fn in_memory(tokenizer: &[u8]) -> Self {
        let path = PathBuf::from("tokenizer.json");
        let tokenizer = tokenizer.to_owned();
        Self { path, tokenizer, tokenizer_config: None, generation_config: None, chat_template: None }
    }

    /// The same with a `chat_template.jinja` of these bytes.
    pub fn with_template(self, source: &[u8]) -> Self {
        Self { chat_template: Some(source.to_owned()), ..self }
    }
}

/// A chat template as it stands in a file; it is not understood before it is asked for.
#[derive(Debug)]
struct Template {
    path: PathBuf,
    source: String,
    /// Texts of special tokens by name.
    special: BTreeMap<String, String>,
}

const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// The special tokens that templates may name.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Turns text into token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    style: TokenStyle,
    bos: Option<u32>,
    eos: BTreeSet<u32>,
    special: BTreeSet<u32>,
    chat: Option<Template>,
    sha256: String,
}

impl Tokenizer {
    /// Makes the tokenizer of a model.
    ///
    /// The beginning-of-sequence token is the one that `tokenizer_config.json` names (if only as null); else the one
    /// of `config.json`; else the one that the post-processor of `tokenizer.json` would put first. End-of-sequence
    /// tokens are all that any of the files names.
    ///
    /// # Errors
    /// A file is damaged, or the tokenizer can produce ids that the model's embedding does not have.
    pub fn new(files: &TokenizerFiles, config: &ModelConfig) -> Result<Self, ModelError> {
        let path = files.path.clone();
        let bad = |reason: String| ModelError::Tokenizer { path: path.clone(), reason };
        let inner = tokenizers::Tokenizer::from_bytes(&files.tokenizer).map_err(|error| bad(error.to_string()))?;
        let largest = inner.get_vocab(true).into_values().max().ok_or_else(|| bad("it has no tokens".into()))?;
        if largest as usize >= config.vocab_size {
            return Err(bad(format!(
                "it knows ids up to {largest}, the model's embedding ends at {}; the two belong to different models",
                config.vocab_size - 1
            )));
        }
        let json = Fields::parse(&path, &files.tokenizer)?;
        let mut tokenizer = Self {
            style: TokenStyle::of(&json),
            sha256: format!("{:x}", Sha256::digest(&files.tokenizer)),
            bos: None,
            eos: config.eos_tokens.iter().copied().collect(),
            special: BTreeSet::new(),
            chat: None,
            inner,
            path: path.clone(),
        };
        tokenizer.find_named(files, config)?;
        tokenizer.find_special(&json);
        tokenizer.chat = tokenizer.find_template(files)?;
        Ok(tokenizer)
    }

    /// The template of `chat_template.jinja`, else of `tokenizer_config.json`.
    fn find_template(&self, files: &TokenizerFiles) -> Result<Option<Template>, ModelError> {
        let config = self.path.with_file_name(CONFIG);
        let declared = files.tokenizer_config.as_ref().map(|text| Fields::parse(&config, text)).transpose()?;
        let (path, source) = match (&files.chat_template, &declared) {
            (Some(own), _) => (self.path.with_file_name(TEMPLATE), String::from_utf8_lossy(own).into_owned()),
            (None, Some(fields)) => match fields.get("chat_template").and_then(default_template) {
                Some(source) => (config, source),
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        let mut special = BTreeMap::new();
        for name in NAMED {
            let own = declared.as_ref().and_then(|fields| token_content(fields.get(name)?));
            let known = match name {
                "bos_token" => self.bos,
                "eos_token" => self.eos.first().copied(),
                _ => None,
            };
            let text = own.or_else(|| self.inner.id_to_token(known?));
            special.extend(text.map(|text| (name.to_owned(), text)));
        }
        Ok(Some(Template { path, source, special }))
    }

    /// The template by which conversations become text.
    ///
    /// # Errors
    /// [`ModelError::NoChatTemplate`] where the model has none, [`ModelError::ChatTemplate`] where it is damaged.
    pub fn chat_template(&self) -> Result<ChatTemplate, ModelError> {
        let chat = self.chat.as_ref().ok_or_else(|| ModelError::NoChatTemplate { path: self.path.clone() })?;
        ChatTemplate::new(&chat.path, &chat.source, &chat.special)
    }

    fn find_named(&mut self, files: &TokenizerFiles, config: &ModelConfig) -> Result<(), ModelError> {
        let sibling = |name: &str| self.path.with_file_name(name);
        let parse =
            |name, text: &Option<Vec<u8>>| text.as_ref().map(|text| Fields::parse(&sibling(name), text)).transpose();
        let declared = parse(CONFIG, &files.tokenizer_config)?;
        let generation = parse("generation_config.json", &files.generation_config)?;
        let id_of = |field| {
            let content = declared.as_ref().and_then(|fields| token_content(fields.get(field)?));
            content.and_then(|content| self.inner.token_to_id(&content))
        };
        let bos = match &declared {
            Some(fields) if fields.has("bos_token") => id_of("bos_token"),
            _ => config.bos_token.or_else(|| self.first_of_post_processor()),
        };
        let eos = id_of("eos_token");
        let more = generation.map_or(Ok(Vec::new()), |fields| fields.ids("eos_token_id"))?;
        self.eos.extend(eos.into_iter().chain(more.into_iter().filter(|id| (*id as usize) < config.vocab_size)));
        self.bos = bos;
        Ok(())
    }

    /// The special token that the post-processor puts before every text, if it puts one.
    fn first_of_post_processor(&self) -> Option<u32> {
        let encoding = self.inner.encode_fast("", true).ok()?;
        let first = *encoding.get_ids().first()?;
        let added = self.inner.get_added_tokens_decoder();
        added.get(&first).is_some_and(|token| token.special).then_some(first)
    }

    fn find_special(&mut self, json: &Fields) {
        let added = self.inner.get_added_tokens_decoder();
        let marked = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id);
        let model = json.get("model");
        let unknown = model.and_then(|model| model.get("unk_token")?.as_str()).and_then(|t| self.inner.token_to_id(t));
        let unknown_id = model.and_then(|model| u32::try_from(model.get("unk_id")?.as_u64()?).ok());
        self.special =
            marked.chain(unknown).chain(unknown_id).chain(self.bos).chain(self.eos.iter().copied()).collect();
    }

    /// The ids of `text`, without any special token that is not written in it.
    ///
    /// # Errors
    /// The tokenizer cannot represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| self.failed(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of [`Tokenizer::encode`] with the bytes of `text` that each stands for, in order. A token that is
    /// part of a character stands for the whole of it; one that the tokenizer adds stands for none.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_ranges(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>, ModelError> {
        let encoding = self.inner.encode(text, false).map_err(|error| self.failed(error.to_string()))?;
        let ranges = encoding.get_offsets().iter().map(|(start, end)| *start..*end);
        Ok(encoding.get_ids().iter().copied().zip(ranges).collect())
    }

    /// The ids of `text`, behind the beginning-of-sequence token where `policy` wants it and the text does not begin
    /// with it.
    ///
    /// # Errors
    /// The policy is `always` and there is no such token, or the tokenizer cannot represent the text.
    pub fn encode_with_bos(&self, text: &str, policy: BosPolicy) -> Result<Vec<u32>, ModelError> {
        let ids = self.encode(text)?;
        let bos = self.bos_for(policy)?.filter(|bos| ids.first() != Some(bos));
        Ok(bos.into_iter().chain(ids).collect())
    }

    /// The beginning-of-sequence token that `policy` puts before a text; none for no token.
    ///
    /// # Errors
    /// The policy is `always` and the tokenizer has no such token.
    pub fn bos_for(&self, policy: BosPolicy) -> Result<Option<u32>, ModelError> {
        match (policy, self.bos) {
            (BosPolicy::Never, _) => Ok(None),
            (BosPolicy::Auto, bos) => Ok(bos),
            (BosPolicy::Always, Some(bos)) => Ok(Some(bos)),
            (BosPolicy::Always, None) => Err(ModelError::NoBos { path: self.path.clone() }),
        }
    }

    /// The text of `ids` without special tokens. A tokenizer may drop the space before the first word, so decode a
    /// prompt together with what follows it.
    ///
    /// # Errors
    /// An id that the tokenizer does not have.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        if let Some(id) = ids.iter().find(|id| self.inner.id_to_token(**id).is_none()) {
            return Err(self.failed(format!("it has no token with id {id}")));
        }
        self.inner.decode(ids, true).map_err(|error| self.failed(error.to_string()))
    }

    /// One token as a reader should see it: leading spaces are spaces, bytes that are no character of their own stand
    /// as `<0xE2>`. An id without a token, as in padded embeddings, stands as `<id 50257>`.
    pub fn token_text(&self, id: u32) -> String {
        let token = self.inner.id_to_token(id);
        match token {
            None => format!("<id {id}>"),
            Some(token) if self.is_special(id) => token,
            Some(token) => self.style.show(&token),
        }
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end-of-sequence tokens.
    pub fn eos(&self) -> &BTreeSet<u32> {
        &self.eos
    }

    /// Whether a token is special: beginning, end, padding, unknown, or marked so.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// SHA-256 of `tokenizer.json`, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    fn failed(&self, reason: String) -> ModelError {
        ModelError::Tokenizer { path: self.path.clone(), reason }
    }
}

/// A template as it is written, or of several the one that is called default.
fn default_template(value: &Value) -> Option<String> {
    let named = || value.as_array()?.iter().find(|one| one["name"] == "default")?.get("template")?.as_str();
    value.as_str().or_else(named).map(str::to_owned)
}

/// The text of a special token: a string, or an object that holds it under `content`.
fn token_content(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}
