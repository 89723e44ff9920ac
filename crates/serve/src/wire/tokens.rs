//! `/tokenize`, `/detokenize` and `/tokenizer_info`: texts as tokens and back, in the words of vLLM, by which harnesses
//! count tokens without having the tokenizer themselves.

use serde::{Deserialize, Serialize};

/// A text that is to be cut into tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct TokenizeRequest {
    /// The text.
    pub prompt: Option<String>,
    /// Whether a beginning-of-sequence token comes first, where the server has prompts begin with one.
    pub add_special_tokens: Option<bool>,
}

/// Its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tokenized {
    /// Their ids.
    pub tokens: Vec<u32>,
    /// Their number.
    pub count: usize,
    /// Tokens that a text may have.
    pub max_model_len: usize,
}

/// Tokens that are to become text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct DetokenizeRequest {
    /// Their ids.
    pub tokens: Option<Vec<u32>>,
}

/// Their text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detokenized {
    /// The text, without special tokens.
    pub prompt: String,
}

/// The tokens that begin and end texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenizerInfo {
    /// That at the beginning, where there is one.
    pub bos_token: Option<String>,
    /// One of those at the end, where there is one.
    pub eos_token: Option<String>,
}
