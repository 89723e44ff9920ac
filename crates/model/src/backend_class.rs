//! Which parts does a class of transformers put in the place of those of `tokenizer.json`?
//!
//! A class that builds its tokenizer itself takes vocabulary and merges from the file and brings its own normalizer,
//! pre-tokenizer, decoder and names of special tokens.

use crate::backend::File;
use crate::config::Family;
use crate::error::ModelError;
use crate::tokenizer_files::Declared;
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
use tokenizers::{DecoderWrapper, ModelWrapper, SplitDelimiterBehavior};

/// Words of text in Qwen's tokenizers, as the class in transformers has them.
const QWEN_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Further classes that transformers 5 builds itself. No language model that we read was made with one, so that their
/// parts are not here and the file stands as it is.
const OTHERS: [&str; 39] = [
    "AlbertTokenizer",
    "BarthezTokenizer",
    "BertTokenizer",
    "BigBirdTokenizer",
    "BlenderbotTokenizer",
    "CLIPTokenizer",
    "CamembertTokenizer",
    "CohereTokenizer",
    "DebertaTokenizer",
    "DebertaV2Tokenizer",
    "EsmcTokenizer",
    "FunnelTokenizer",
    "HerbertTokenizer",
    "LasrTokenizer",
    "LayoutLMv2Tokenizer",
    "LayoutLMv3Tokenizer",
    "LayoutXLMTokenizer",
    "LukeTokenizer",
    "MBart50Tokenizer",
    "MBartTokenizer",
    "MLukeTokenizer",
    "MPNetTokenizer",
    "MarkupLMTokenizer",
    "NllbTokenizer",
    "NougatTokenizer",
    "OpenAIGPTTokenizer",
    "PegasusTokenizer",
    "Qwen3_5Tokenizer",
    "ReformerTokenizer",
    "RemBertTokenizer",
    "SeamlessM4TTokenizer",
    "Siglip2Tokenizer",
    "SplinterTokenizer",
    "T5Tokenizer",
    "Tipsv2Tokenizer",
    "UdopTokenizer",
    "WhisperTokenizer",
    "XGLMTokenizer",
    "XLMRobertaTokenizer",
];

/// A class of transformers that takes only vocabulary and merges from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `LlamaTokenizer`.
    Llama,
    /// `CodeLlamaTokenizer`.
    CodeLlama,
    /// `GemmaTokenizer`.
    Gemma,
    /// `GPT2Tokenizer`, and `CodeGenTokenizer`, which has the same parts.
    Gpt2,
    /// `RobertaTokenizer`.
    Roberta,
    /// `Qwen2Tokenizer`.
    Qwen2,
    /// `GPTNeoXTokenizer`.
    GptNeox,
}

/// The class of a tokenizer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// One that builds itself.
    Built(Class),
    /// The one that takes the whole file.
    Whole,
    /// One that builds itself in transformers and not here.
    Other(String),
}

impl Class {
    /// The class that `AutoTokenizer` chooses.
    pub(crate) fn of(declared: &Declared, family: Family, file: &[u8]) -> Result<Chosen, ModelError> {
        if !declared.is_directory && !declared.from_merges {
            return Ok(Chosen::Whole);
        }
        // transformers goes by the model's family here, too, and makes another tokenizer of the file where that does not fit,
        // as of a GPT-2's over single characters. A file that stands alone is what the model was trained with.
        let alone = !declared.from_merges && declared.config().is_none() && declared.class()?.is_none();
        let of_family = match family {
            _ if alone => None,
            Family::Mistral | Family::Olmo2 | Family::Phi3 => return Ok(Chosen::Whole),
            Family::Qwen2 => return Ok(Chosen::Built(Class::Qwen2)),
            Family::Llama => None,
            Family::Qwen3 => Some(Class::Qwen2),
            Family::Gpt2 => Some(Class::Gpt2),
            Family::GptNeox => Some(Class::GptNeox),
            Family::Gemma | Family::Gemma2 | Family::Gemma3 => Some(Class::Gemma),
        };
        let class = match declared.class()? {
            None => of_family,
            Some("LlamaTokenizer") => {
                let mentioned = b"\"ByteLevel\"";
                (!file.windows(mentioned.len()).any(|part| part == mentioned)).then_some(Class::Llama)
            }
            Some("CodeLlamaTokenizer") => Some(Class::CodeLlama),
            Some("GemmaTokenizer") => Some(Class::Gemma),
            Some("GPT2Tokenizer" | "CodeGenTokenizer") => Some(Class::Gpt2),
            Some("RobertaTokenizer") => Some(Class::Roberta),
            Some("Qwen2Tokenizer") => Some(Class::Qwen2),
            Some("GPTNeoXTokenizer") => Some(Class::GptNeox),
            Some(other) if OTHERS.contains(&other) => return Ok(Chosen::Other(other.to_owned())),
            Some(_) => None,
        };
        Ok(class.map_or(Chosen::Whole, Chosen::Built))
    }

    /// Whether vocabulary and merges are all that the class needs.
    pub(crate) const fn cuts_by_itself(self) -> bool {
        matches!(self, Class::Gpt2 | Class::Roberta | Class::Qwen2 | Class::GptNeox)
    }

    /// Special tokens that the class names where the files do not: field and text.
    pub(crate) const fn defaults(self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Class::Llama => &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")],
            Class::CodeLlama => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
                ("prefix_token", "\u{2581}<PRE>"),
                ("middle_token", "\u{2581}<MID>"),
                ("suffix_token", "\u{2581}<SUF>"),
                ("eot_token", "\u{2581}<EOT>"),
                ("fill_token", "<FILL_ME>"),
            ],
            Class::Roberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
                ("sep_token", "</s>"),
                ("pad_token", "<pad>"),
                ("cls_token", "<s>"),
                ("mask_token", "<mask>"),
            ],
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

    /// Whether the class says itself what pads, if only nothing.
    pub(crate) const fn names_padding(self) -> bool {
        !matches!(self, Class::Llama | Class::CodeLlama)
    }

    /// Puts the class's own parts in the place of the file's.
    pub(crate) fn apply(self, file: &mut File, declared: &Declared) -> Result<(), tokenizers::Error> {
        let ModelWrapper::BPE(bpe) = &mut file.model else { return Ok(()) };
        let switch = |name, default| declared.switch(name, default).map_err(|error| error.to_string());
        let prefix = switch("add_prefix_space", matches!(self, Class::Llama | Class::CodeLlama))?;
        set(bpe, matches!(self, Class::Llama | Class::CodeLlama | Class::Gemma));
        let unknown = || declared.content("unk_token").unwrap_or_else(|| "<unk>".into());
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
            Class::CodeLlama => {
                bpe.unk_token = Some(unknown());
                let scheme = if prefix { PrependScheme::First } else { PrependScheme::Never };
                file.normalizer = None;
                file.pre_tokenizer = Some(Metaspace::new('\u{2581}', scheme, false).into());
                file.decoder = Some(metaspace_decoder(true)?);
            }
            Class::Gemma => {
                bpe.unk_token = Some(unknown());
                let spaces = SplitPattern::String(" ".into());
                file.normalizer = Some(Replace::new(" ", "\u{2581}")?.into());
                file.pre_tokenizer =
                    Some(Split::new(spaces, SplitDelimiterBehavior::MergedWithPrevious, false)?.into());
                file.decoder = Some(metaspace_decoder(false)?);
            }
            Class::Gpt2 | Class::Roberta => {
                file.normalizer = None;
                file.pre_tokenizer = Some(ByteLevel::new(prefix, true, true).into());
                file.decoder = Some(ByteLevel::default().into());
                // Roberta's own step behind the model is not in `vocab.json` and `merges.txt`; what a text without special
                // tokens sees of it is that offsets leave out the space before a word.
                if self == Class::Roberta && file.post_processor.is_none() {
                    let trimmed = switch("trim_offsets", true)?;
                    file.post_processor = Some(ByteLevel::new(prefix, trimmed, true).into());
                }
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
