//! The tokenizer: text to ids and back, with special tokens handled explicitly.
//!
//! Text is encoded without the special tokens that a post-processor would add; a beginning-of-sequence token comes
//! only from [`Tokenizer::encode_with_bos`] and [`Tokenizer::bos_for`], so it is never doubled.

use crate::backend;
use crate::chat::{ChatTemplate, Sources};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::guard::guarded;
use crate::special_tokens::SpecialTokens;
use crate::token_text::TokenStyle;
use crate::tokenizer_files::{CONFIG, Declared, TEMPLATE, TokenizerFiles};
use crate::tokenizer_identity;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use tokenizers::models::ModelWrapper;
use untangle_schema::BosPolicy;

/// A chat template as it stands in a file; it is not understood before it is asked for.
#[derive(Debug)]
struct Template {
    path: PathBuf,
    named: Sources,
    /// Texts of special tokens by name.
    special: BTreeMap<String, String>,
}

/// Turns text into token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    style: TokenStyle,
    bos: Option<u32>,
    eos: BTreeSet<u32>,
    special: BTreeSet<u32>,
    /// One more than the largest id.
    end: u32,
    /// Rows of the model's embedding.
    embedded: usize,
    chat: Option<Template>,
    sha256: String,
    note: Option<String>,
}

impl Tokenizer {
    /// Makes the tokenizer of a model.
    ///
    /// The beginning-of-sequence token is the one that `tokenizer_config.json` names (if only as null); else the one
    /// of `config.json`; else the one that the post-processor of `tokenizer.json` would put first. End-of-sequence
    /// tokens are all that any of the files names.
    ///
    /// Tokens that the model's embedding lacks are usual; a text that contains one is refused.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn new(files: &TokenizerFiles, config: &ModelConfig) -> Result<Self, ModelError> {
        let declared = files.declared()?;
        let made = backend::tokenizer(files, &declared, config)?;
        let inner = made.tokenizer;
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        let mut tokenizer = Self {
            style: TokenStyle::of(&inner),
            sha256: String::new(),
            note: made.note,
            bos: None,
            eos: config.eos_tokens.iter().copied().collect(),
            special: BTreeSet::new(),
            chat: None,
            end: largest + 1,
            embedded: config.vocab_size,
            inner,
            path: files.path.clone(),
        };
        tokenizer.find_named(files, &declared, config)?;
        let also_special = tokenizer.find_special();
        tokenizer.sha256 = tokenizer_identity::sha256(&files.tokenizer, &made.differs, &also_special);
        tokenizer.chat = tokenizer.find_template(files, &declared, made.special);
        Ok(tokenizer)
    }

    /// The template of `chat_template.jinja`, else of `tokenizer_config.json`.
    fn find_template(&self, files: &TokenizerFiles, declared: &Declared, named: SpecialTokens) -> Option<Template> {
        let (path, sources) = match &files.chat_template {
            Some(own) => {
                (self.path.with_file_name(TEMPLATE), Sources::of_one(String::from_utf8_lossy(own).into_owned()))
            }
            None => (self.path.with_file_name(CONFIG), Sources::of(declared.config()?.get("chat_template")?)?),
        };
        let mut special: BTreeMap<String, String> =
            named.named.into_iter().map(|(name, token)| (name, token.content)).collect();
        if !declared.is_directory {
            // No file beside it could name them.
            let ids = [("bos_token", self.bos), ("eos_token", self.eos.first().copied())];
            let known = ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), self.inner.id_to_token(id?)?)));
            for (name, token) in known {
                special.entry(name).or_insert(token);
            }
        }
        Some(Template { path, named: sources, special })
    }

    /// The template by which conversations become text.
    ///
    /// # Errors
    /// [`ModelError::NoChatTemplate`] where the model has none, [`ModelError::ChatTemplate`] where it is damaged.
    pub fn chat_template(&self) -> Result<ChatTemplate, ModelError> {
        let chat = self.chat.as_ref().ok_or_else(|| ModelError::NoChatTemplate { path: self.path.clone() })?;
        let (path, Sources { default, with_tools }) = (&chat.path, &chat.named);
        let default = default.as_deref().ok_or_else(|| ModelError::ChatTemplate {
            path: path.clone(),
            reason: "it has several chat templates, and none is called `default`; give the one that is meant this name"
                .to_owned(),
        })?;
        ChatTemplate::of_both(path, default, with_tools.as_deref(), &chat.special)
    }

    fn find_named(
        &mut self,
        files: &TokenizerFiles,
        declared: &Declared,
        config: &ModelConfig,
    ) -> Result<(), ModelError> {
        let id_of = |field| declared.content(field).and_then(|content| self.inner.token_to_id(&content));
        let bos = match declared.names("bos_token") {
            true => id_of("bos_token"),
            false => config.bos_token.or_else(|| self.first_of_post_processor()),
        };
        let eos = id_of("eos_token");
        let more = files.generation_eos()?;
        self.eos.extend(eos.into_iter().chain(more.into_iter().filter(|id| (*id as usize) < config.vocab_size)));
        self.bos = bos;
        Ok(())
    }

    /// The special token that the post-processor puts before every text, if it puts one.
    fn first_of_post_processor(&self) -> Option<u32> {
        let encoding = guarded(|| self.inner.encode_fast("", true))?.ok()?;
        let first = *encoding.get_ids().first()?;
        let added = self.inner.get_added_tokens_decoder();
        added.get(&first).is_some_and(|token| token.special).then_some(first)
    }

    /// Finds the special tokens; says which of them neither a mark nor the model makes so.
    fn find_special(&mut self) -> BTreeSet<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let marked = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id);
        let unknown = match self.inner.get_model() {
            ModelWrapper::BPE(model) => model.unk_token.clone(),
            ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
            // The library does not hand out the id.
            model @ ModelWrapper::Unigram(_) => unknown_piece(model),
        };
        let unknown = unknown.and_then(|token| self.inner.token_to_id(&token));
        let marked: BTreeSet<u32> = marked.chain(unknown).collect();
        let named: BTreeSet<u32> = self.bos.into_iter().chain(self.eos.iter().copied()).collect();
        let also = named.difference(&marked).copied().filter(|id| *id < self.end).collect();
        self.special = marked.union(&named).copied().collect();
        also
    }

    /// The ids of `text`, without any special token that is not written in it.
    ///
    /// # Errors
    /// The tokenizer cannot represent the text, or the text has a token that the model's embedding lacks.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self.guarded("this text", || self.inner.encode_fast(text, false))?;
        self.check_ids(encoding.get_ids())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of [`Tokenizer::encode`] with the bytes of `text` that each stands for, in order. A token that is
    /// part of a character stands for the whole of it; one that the tokenizer adds stands for none.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_ranges(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>, ModelError> {
        let encoding = self.guarded("this text", || self.inner.encode(text, false))?;
        self.check_ids(encoding.get_ids())?;
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
    /// The policy is `always` and the tokenizer has no such token, or the model's embedding lacks it.
    pub fn bos_for(&self, policy: BosPolicy) -> Result<Option<u32>, ModelError> {
        if let (BosPolicy::Auto | BosPolicy::Always, Some(bos)) = (policy, self.bos) {
            self.check_ids(&[bos])?;
        }
        match (policy, self.bos) {
            (BosPolicy::Never, _) => Ok(None),
            (BosPolicy::Auto, bos) => Ok(bos),
            (BosPolicy::Always, Some(bos)) => Ok(Some(bos)),
            (BosPolicy::Always, None) => Err(ModelError::NoBos { path: self.path.clone() }),
        }
    }

    /// The text of `ids` without special tokens, and without ids that have no token, as a model with a padded embedding
    /// may choose them. A tokenizer may drop the space before the first word, so decode a prompt together with what
    /// follows it.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.guarded("these tokens", || self.inner.decode(ids, true))
    }

    /// What the library gives; whatever it complains of, in whatever way, is the tokenizer's fault.
    fn guarded<T>(&self, what: &str, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, ModelError> {
        match guarded(work) {
            Some(done) => done.map_err(|error| self.failed(error.to_string())),
            None => Err(self.failed(format!("it contradicts itself and cannot be used on {what}; fetch it again"))),
        }
    }

    /// An error for the first of `ids` that the model's embedding lacks.
    fn check_ids(&self, ids: &[u32]) -> Result<(), ModelError> {
        if self.end as usize <= self.embedded {
            return Ok(());
        }
        let Some(&id) = ids.iter().find(|id| **id as usize >= self.embedded) else { return Ok(()) };
        let (path, last) = (self.path.clone(), self.embedded - 1);
        let remedy = if self.bos == Some(id) { ", or give --bos never" } else { "" };
        Err(ModelError::TokenBeyondEmbedding { path, token: self.token_text(id), id, last, remedy })
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

    /// One more than the largest id; not every id below it has a token.
    pub fn vocab_size(&self) -> usize {
        self.end as usize
    }

    /// SHA-256 in hexadecimal of `tokenizer.json` and, where other files make it give other ids, texts or special tokens
    /// than it would alone, of what they make of it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What a user should know of how its files were read.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    fn failed(&self, reason: String) -> ModelError {
        ModelError::Tokenizer { path: self.path.clone(), reason }
    }
}

/// The token that a Unigram model has for what it does not know.
fn unknown_piece(model: &ModelWrapper) -> Option<String> {
    let ModelWrapper::Unigram(unigram) = model else { return None };
    let id = serde_json::to_value(unigram).ok()?.get("unk_id")?.as_u64()?;
    unigram.iter().nth(usize::try_from(id).ok()?).map(|(piece, _)| piece.clone())
}
