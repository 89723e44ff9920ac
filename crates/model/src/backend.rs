//! How the library's tokenizer is made of the files, so that it gives the ids that transformers' `AutoTokenizer` gives.
//!
//! transformers 5 keeps of `tokenizer.json` what the tokenizer's class does not fix: a class like Llama's takes the
//! vocabulary and the merges and brings its own normalizer and pre-tokenizer. Truncation and padding are settings of a
//! call there, so those of the file are not read; then none of their numbers can ask for memory either.

use crate::config::{Family, ModelConfig};
use crate::error::ModelError;
use crate::guard::guarded;
use crate::tokenizer_files::{Declared, TokenizerFiles};
use crate::validate::MAX_SIZE;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{NFC, Replace};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    SplitDelimiterBehavior, Tokenizer,
};

/// Most bytes that the normalizers may make of one: texts grow by a few at most, and a chain of replacements that
/// doubles its text sixty times would take all memory. Chosen.
const MAX_GROWTH: u64 = 4096;
/// Words of text in Qwen's tokenizers, as the class in transformers has them.
const QWEN_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `tokenizer.json` without truncation and padding.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedEntry>,
    #[serde(default)]
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    post_processor: Option<PostProcessorWrapper>,
    #[serde(default)]
    decoder: Option<DecoderWrapper>,
    model: ModelWrapper,
}

#[derive(Deserialize)]
struct AddedEntry {
    id: u64,
    #[serde(flatten)]
    token: AddedToken,
}

/// A class of transformers that takes only vocabulary and merges from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Llama,
    Gemma,
    Gpt2,
    Qwen2,
    GptNeox,
}

impl Class {
    /// The class that `AutoTokenizer` chooses; none for the one that takes the whole file.
    fn of(declared: &Declared, family: Family, file: &[u8]) -> Result<Option<Class>, ModelError> {
        if !declared.is_directory {
            return Ok(None);
        }
        // transformers goes by the model's family here, too, and makes another tokenizer of the file where that does not fit,
        // as of a GPT-2's over single characters. A file that stands alone is what the model was trained with.
        let alone = declared.config().is_none() && declared.class()?.is_none();
        let of_family = match family {
            _ if alone => None,
            Family::Mistral | Family::Olmo2 | Family::Phi3 => return Ok(None),
            Family::Qwen2 => return Ok(Some(Class::Qwen2)),
            Family::Llama => None,
            Family::Qwen3 => Some(Class::Qwen2),
            Family::Gpt2 => Some(Class::Gpt2),
            Family::GptNeox => Some(Class::GptNeox),
            Family::Gemma | Family::Gemma2 | Family::Gemma3 => Some(Class::Gemma),
        };
        Ok(match declared.class()? {
            None => of_family,
            Some("LlamaTokenizer") => {
                let mentioned = b"\"ByteLevel\"";
                (!file.windows(mentioned.len()).any(|part| part == mentioned)).then_some(Class::Llama)
            }
            Some("GemmaTokenizer") => Some(Class::Gemma),
            Some("GPT2Tokenizer") => Some(Class::Gpt2),
            Some("Qwen2Tokenizer") => Some(Class::Qwen2),
            Some("GPTNeoXTokenizer") => Some(Class::GptNeox),
            Some(_) => None,
        })
    }

    /// Special tokens that the class names where the files do not: field and text.
    const fn defaults(self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Class::Llama => &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")],
            Class::Gemma => &[
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Class::Gpt2 => &[("bos_token", END), ("eos_token", END), ("unk_token", END)],
            Class::Qwen2 => &[("eos_token", END), ("unk_token", END), ("pad_token", END)],
            Class::GptNeox => {
                &[("bos_token", END), ("eos_token", END), ("unk_token", END), ("pad_token", "<|padding|>")]
            }
        }
    }

    /// Puts the class's own parts in the place of the file's.
    fn apply(self, file: &mut File, declared: &Declared) -> Result<(), tokenizers::Error> {
        let ModelWrapper::BPE(bpe) = &mut file.model else { return Ok(()) };
        let switch = |name, default| declared.switch(name, default).map_err(|error| error.to_string());
        let prefix = switch("add_prefix_space", self == Class::Llama)?;
        set(bpe, matches!(self, Class::Llama | Class::Gemma));
        match self {
            Class::Llama => {
                let scheme = match (prefix, switch("legacy", false)?) {
                    (false, _) => PrependScheme::Never,
                    (true, false) => PrependScheme::First,
                    (true, true) => PrependScheme::Always,
                };
                file.normalizer = None;
                file.pre_tokenizer = Some(Metaspace::new('\u{2581}', scheme, false).into());
                file.decoder = Some(metaspace_decoder(prefix)?);
            }
            Class::Gemma => {
                bpe.unk_token = Some(declared.content("unk_token").unwrap_or_else(|| "<unk>".into()));
                let spaces = SplitPattern::String(" ".into());
                file.normalizer = Some(Replace::new(" ", "\u{2581}")?.into());
                file.pre_tokenizer =
                    Some(Split::new(spaces, SplitDelimiterBehavior::MergedWithPrevious, false)?.into());
                file.decoder = Some(metaspace_decoder(false)?);
            }
            Class::Gpt2 => {
                file.normalizer = None;
                file.pre_tokenizer = Some(ByteLevel::new(prefix, true, true).into());
                file.decoder = Some(ByteLevel::default().into());
            }
            Class::GptNeox => {
                file.normalizer = Some(NFC.into());
                let trimmed = switch("trim_offsets", true)?;
                file.pre_tokenizer = Some(ByteLevel::new(prefix, trimmed, true).into());
                file.decoder = Some(ByteLevel::default().into());
            }
            Class::Qwen2 => {
                let pattern = SplitPattern::Regex(QWEN_WORDS.into());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
                file.normalizer = Some(NFC.into());
                let bytes = ByteLevel::new(prefix, true, false);
                file.pre_tokenizer = Some(Sequence::new(vec![split.into(), bytes.into()]).into());
                file.decoder = Some(ByteLevel::default().into());
            }
        }
        Ok(())
    }
}

/// The settings of a model that a class makes anew; `pieces` is whether it is one of SentencePiece's.
fn set(bpe: &mut BPE, pieces: bool) {
    (bpe.dropout, bpe.unk_token) = (None, None);
    (bpe.continuing_subword_prefix, bpe.end_of_word_suffix) = (None, None);
    (bpe.fuse_unk, bpe.byte_fallback, bpe.ignore_merges) = (pieces, pieces, false);
}

fn metaspace_decoder(strip: bool) -> Result<DecoderWrapper, tokenizers::Error> {
    let mut steps: Vec<DecoderWrapper> =
        vec![Replace::new("\u{2581}", " ")?.into(), ByteFallback::default().into(), Fuse::default().into()];
    if strip {
        steps.push(Strip::new(' ', 1, 0).into());
    }
    Ok(Decoders::new(steps).into())
}

/// The tokenizer of the files.
///
/// # Errors
/// `tokenizer.json` is damaged, or what it asks for has no bounds.
pub(crate) fn tokenizer(
    files: &TokenizerFiles,
    declared: &Declared,
    config: &ModelConfig,
) -> Result<Tokenizer, ModelError> {
    let bad = |reason: String| ModelError::Tokenizer { path: files.path.clone(), reason };
    let class = Class::of(declared, config.family, &files.tokenizer)?;
    let added = declared.added()?;
    let parsed = guarded(|| serde_json::from_slice::<File>(&files.tokenizer));
    let panicked = || bad("it contradicts itself, so that it cannot be used; fetch it again".into());
    let mut file = parsed.ok_or_else(panicked)?.map_err(|error| bad(error.to_string()))?;
    check_growth(file.normalizer.as_ref()).map_err(bad)?;
    let rebuilt = class.filter(|_| matches!(file.model, ModelWrapper::BPE(_)));
    let made = guarded(|| -> Result<Tokenizer, tokenizers::Error> {
        if let Some(class) = rebuilt {
            class.apply(&mut file, declared)?;
        }
        let own = std::mem::take(&mut file.added_tokens);
        let mut tokenizer = bare(file);
        add(&mut tokenizer, own, added, rebuilt, declared);
        Ok(tokenizer)
    });
    let tokenizer = made.ok_or_else(panicked)?.map_err(|error| bad(error.to_string()))?;
    check_ids(&tokenizer).map_err(bad)?;
    Ok(tokenizer)
}

fn bare(file: File) -> Tokenizer {
    let mut tokenizer = Tokenizer::new(file.model);
    tokenizer.with_normalizer(file.normalizer);
    tokenizer.with_pre_tokenizer(file.pre_tokenizer);
    tokenizer.with_post_processor(file.post_processor);
    tokenizer.with_decoder(file.decoder);
    tokenizer
}

/// Adds the file's tokens, then those of the other files, then special tokens that are in none of the lists. A class that
/// makes its tokenizer anew takes the file's list only where no other file has one.
fn add(
    tokenizer: &mut Tokenizer,
    own: Vec<AddedEntry>,
    added: Option<Vec<(u64, AddedToken)>>,
    class: Option<Class>,
    declared: &Declared,
) {
    let listed = declared.config().is_some_and(|fields| fields.has("added_tokens_decoder"));
    let mut tokens: Vec<AddedToken> = Vec::new();
    if class.is_none() || !listed {
        let mut own: Vec<(u64, AddedToken)> = own.into_iter().map(|entry| (entry.id, entry.token)).collect();
        if class.is_some() {
            own.sort_by_key(|(id, _)| *id);
        }
        tokens.extend(own.into_iter().map(|(_, token)| token));
    }
    tokens.extend(added.into_iter().flatten().map(|(_, token)| token));
    let defaults = class.map_or(&[][..], Class::defaults);
    let named = defaults.iter().filter(|(field, _)| !declared.names(field));
    let named = named.map(|(_, content)| AddedToken::from(*content, true).normalized(true));
    for token in declared.special().into_iter().chain(named) {
        if !tokens.iter().any(|known| known.content == token.content) {
            tokens.push(token);
        }
    }
    let _: usize = tokenizer.add_tokens(&tokens);
    tokenizer.set_encode_special_tokens(declared.switch("split_special_tokens", false).unwrap_or(false));
}

/// Ids are used as sizes of tables.
fn check_ids(tokenizer: &Tokenizer) -> Result<(), String> {
    let largest = tokenizer.get_vocab(true).into_values().max().ok_or("it has no tokens")?;
    if largest as usize >= MAX_SIZE {
        return Err(format!("it has a token with the id {largest}; supported: ids below {MAX_SIZE}"));
    }
    Ok(())
}

/// Refuses normalizers that make much text of little.
fn check_growth(normalizer: Option<&NormalizerWrapper>) -> Result<(), String> {
    let value = serde_json::to_value(normalizer).unwrap_or_default();
    if growth(&value) > MAX_GROWTH {
        return Err(format!("its normalizers make more than {MAX_GROWTH} bytes of one; fetch it again"));
    }
    Ok(())
}

/// Bytes that a normalizer makes of one, at most.
fn growth(value: &Value) -> u64 {
    let len = |value: &Value| value.as_str().map_or(0, str::len) as u64;
    match value["type"].as_str() {
        Some("Sequence") => {
            let parts = value["normalizers"].as_array().map_or(&[][..], Vec::as_slice);
            parts.iter().map(growth).fold(1, u64::saturating_mul)
        }
        Some("Replace") => len(&value["content"]).div_ceil(len(&value["pattern"]["String"]).max(1)).max(1),
        Some("Prepend") => 1 + len(&value["prepend"]),
        _ => 1,
    }
}
