//! The manifest of an activation file, and the flags of its rows.

use crate::hook_point::HookPoint;
use crate::shard::ShardId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which model produced activations: enough to notice that another one is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Last component of the directory, or the hub id; never a path of a machine.
    pub name: String,
    /// Revision of the hub id, where there is one.
    pub revision: Option<String>,
    /// `model_type` of `config.json`.
    pub model_type: String,
    /// SHA-256 over the weight files, in hexadecimal.
    pub weights_sha256: String,
    /// SHA-256 of `tokenizer.json`, in hexadecimal; where other files make the tokenizer another than that file alone would,
    /// of it and of what they make of it.
    pub tokenizer_sha256: String,
}

/// One captured hook point: a dataset of `d_in` columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookColumn {
    /// The hook point, which is also the dataset's name.
    pub hook: HookPoint,
    /// Width of a row.
    pub d_in: usize,
}

/// When a beginning-of-sequence token is put at the head of contexts and between documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BosPolicy {
    /// As the tokenizer declares it: always where the model has such a token, else never.
    #[default]
    Auto,
    /// Always; an error where the model has no such token.
    Always,
    /// Never.
    Never,
}

/// Element type of stored activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreDtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision: 11 significant bits, largest value 65,504.
    #[default]
    F16,
    /// The upper half of a single: 8 significant bits, full range; on file as `u16`.
    Bf16,
}

impl StoreDtype {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            StoreDtype::F32 => 4,
            StoreDtype::F16 | StoreDtype::Bf16 => 2,
        }
    }
}

impl fmt::Display for StoreDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreDtype::F32 => "f32",
            StoreDtype::F16 => "f16",
            StoreDtype::Bf16 => "bf16",
        })
    }
}

/// One file of the corpus that was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusFile {
    /// File name without its folder, behind its way from there where a folder was given; or its place on a hub.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    /// The field of its records that was read; none where its text has no fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// What an activation file holds and where it came from. Written before the first row, so it has no clock, host, path or
/// attempt count: the same command gives the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureManifest {
    /// Version of the tool that wrote the file.
    pub tool_version: String,
    /// The model.
    pub model: ModelIdentity,
    /// The captured hook points.
    pub hooks: Vec<HookColumn>,
    /// Number of rows: one per captured token, special tokens included.
    pub n_rows: u64,
    /// Number of documents.
    pub n_documents: u64,
    /// Which part of the corpus' documents these are; none where they are all.
    pub shard: Option<ShardId>,
    /// Tokens per context; only the last context may be shorter, unless `pad`.
    pub context: usize,
    /// Whether every document begins a context of its own, so that contexts may be shorter; the positions with which
    /// they were padded in the pass are no rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pad: bool,
    /// Contexts per forward pass, where `pad` as many full ones: batches, and with them the floating-point result, are a
    /// function of the plan.
    pub batch: usize,
    /// The policy that was asked for.
    pub bos: BosPolicy,
    /// The token put at the head of contexts and between documents; none where the policy or the model has none.
    pub bos_token: Option<u32>,
    /// Arithmetic of the forward pass: `f32` or `bf16`.
    pub compute_dtype: String,
    /// Element type of the stored rows.
    pub store_dtype: StoreDtype,
    /// The corpus, in reading order.
    pub corpus: Vec<CorpusFile>,
    /// SHA-256 of the chat template that made texts of conversations; none where the corpus holds texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template_sha256: Option<String>,
    /// Seed of whatever was random in the capture; nothing is at present, so always 0.
    pub seed: u64,
}

/// Flags of a row, bits of one byte.
pub mod row_flags {
    /// The row's token is the beginning-of-sequence token.
    pub const BOS: u8 = 1;
    /// The row's token is special to the tokenizer (beginning, end, padding, unknown, chat markers).
    pub const SPECIAL: u8 = 2;
    /// The row's token is one of those that carry no text: what files know of a row.
    pub const ANY_SPECIAL: u8 = BOS | SPECIAL;
    /// The row's norm is an outlier at a hook point that is read. Never stored: readers set it, because one token may be
    /// an outlier at one hook point and ordinary at another.
    pub const OUTLIER: u8 = 4;
    /// A row with any of these bits is kept out of training and counts as no ordinary row.
    pub const EXCLUDED: u8 = ANY_SPECIAL | OUTLIER;

    /// Whether a row is an ordinary one, of the kind that every headline figure is of.
    pub fn is_ordinary(flags: u8) -> bool {
        flags & EXCLUDED == 0
    }
}
