//! What is to be captured? [`CaptureConfig`] is what the user asked for, [`CapturePlan`] what it means for a model.

use crate::corpus::Corpus;
use crate::error::CaptureError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread::available_parallelism;
use tch::Kind;
use untangle_model::{LanguageModel, ModelError};
use untangle_schema::capture::HookColumn;
use untangle_schema::{
    BosPolicy, CaptureManifest, CorpusFile, HookPoint, ModelIdentity, ShardId, Site, StoreDtype, TOOL_VERSION,
};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureConfig {
    /// Hook points to record, all in one pass.
    pub hooks: Vec<HookPoint>,
    /// The activation file.
    pub output: PathBuf,
    /// Tokens per context; none for 128, or the model's context where that is shorter.
    #[serde(default)]
    pub context: Option<usize>,
    /// Whether every document begins a context of its own, padded in the pass, instead of following the one before.
    #[serde(default)]
    pub pad: bool,
    /// Contexts per forward pass; none for about 2048 tokens. Of padded ones as many as are no more tokens than so many
    /// full ones.
    #[serde(default)]
    pub batch: Option<usize>,
    /// Rows to capture at most, over all shards together; none for the whole corpus.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// Element type of the stored rows.
    #[serde(default)]
    pub store: StoreDtype,
    /// When a beginning-of-sequence token is put before contexts and documents.
    #[serde(default)]
    pub bos: BosPolicy,
    /// Threads to compute with, which do not change the result on a CPU; none for all that the machine offers.
    #[serde(default)]
    pub threads: Option<usize>,
    /// Which part of the corpus' documents to capture; none for all.
    #[serde(default)]
    pub shard: Option<ShardId>,
    /// Whether activations are compressed in the end, losslessly: smaller, and slower to read.
    #[serde(default)]
    pub compress: bool,
    /// Whether a finished output is replaced and an unfinished one of other settings discarded.
    #[serde(default)]
    pub force: bool,
}

impl CaptureConfig {
    /// Everything but hook points and output left to the defaults.
    pub fn new(hooks: Vec<HookPoint>, output: PathBuf) -> Self {
        let (store, bos) = (StoreDtype::default(), BosPolicy::default());
        CaptureConfig {
            hooks,
            output,
            context: None,
            pad: false,
            batch: None,
            tokens: None,
            store,
            bos,
            threads: None,
            shard: None,
            compress: false,
            force: false,
        }
    }
}

/// Tokens per context where none are asked for.
const CONTEXT: usize = 128;
/// Tokens per forward pass where no batch is asked for: enough to keep a processor's matrix products busy, little
/// memory, and of a short text several passes that can run at a time.
const PASS_TOKENS: usize = 2048;

/// Most tokens per forward pass: more than that is a slip of the keyboard, and no machine's memory holds it.
const MOST_PASS_TOKENS: usize = 1 << 24;

/// A checked capture: everything that decides the bytes of the file, but the text.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturePlan {
    pub(crate) output: PathBuf,
    pub(crate) force: bool,
    pub(crate) compress: bool,
    pub(crate) model: ModelIdentity,
    /// In the order of the pass.
    pub(crate) hooks: Vec<HookColumn>,
    pub(crate) context: usize,
    /// Whether every document begins a context.
    pub(crate) pad: bool,
    /// Whether padded contexts pass in the order of the text.
    pub(crate) in_text_order: bool,
    pub(crate) batch: usize,
    /// Rows of this shard at most.
    pub(crate) tokens: Option<u64>,
    pub(crate) shard: Option<ShardId>,
    pub(crate) bos: BosPolicy,
    pub(crate) bos_token: Option<u32>,
    pub(crate) compute_dtype: &'static str,
    pub(crate) store: StoreDtype,
    pub(crate) threads: usize,
}

impl CapturePlan {
    /// Checks a configuration against the model that is to be captured.
    ///
    /// # Errors
    /// A hook point that the model lacks or that is named twice; a context that does not fit; a batch that no memory
    /// holds; a zero; a policy that asks for a token that the tokenizer lacks.
    pub fn new(config: &CaptureConfig, model: &LanguageModel) -> Result<Self, CaptureError> {
        let context = config.context.unwrap_or_else(|| CONTEXT.min(model.max_context()));
        let batch = config.batch.unwrap_or_else(|| (PASS_TOKENS / context.max(1)).max(1));
        let tokens = config.tokens.map(|tokens| config.shard.map_or(tokens, |shard| shard.share(tokens)));
        let zero = [("the batch", batch == 0), ("the number of tokens", tokens == Some(0))];
        if let Some((what, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(CaptureError::Zero(what));
        }
        let bos_token = model.tokenizer()?.bos_for(config.bos)?;
        // A context of nothing but the beginning-of-sequence token holds no text.
        let (least, most) = (1 + usize::from(bos_token.is_some()), model.max_context());
        if !(least..=most).contains(&context) {
            return Err(CaptureError::Context { asked: context, least, most });
        }
        if batch.checked_mul(context).is_none_or(|tokens| tokens > MOST_PASS_TOKENS) {
            return Err(CaptureError::Batch { asked: batch, context, most: MOST_PASS_TOKENS / context });
        }
        Ok(CapturePlan {
            output: config.output.clone(),
            force: config.force,
            compress: config.compress,
            model: model.identity(),
            hooks: columns(&config.hooks, model, context)?,
            context,
            pad: config.pad,
            in_text_order: false,
            batch,
            tokens,
            shard: config.shard,
            bos: config.bos,
            bos_token,
            compute_dtype: match model.kind() {
                Kind::BFloat16 => "bf16",
                Kind::Double => "f64",
                _ => "f32",
            },
            store: config.store,
            threads: config.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from)).max(1),
        })
    }

    /// The same where contexts that are padded pass in the order of the text and not with those of their length: the
    /// slow reference, which gives the same rows.
    pub fn in_text_order(self) -> Self {
        CapturePlan { in_text_order: true, ..self }
    }

    /// The hook points and their widths, in the order of the pass.
    pub fn hooks(&self) -> &[HookColumn] {
        &self.hooks
    }

    /// Rows of a full batch, which [`CapturePlan::new`] has limited.
    pub(crate) fn batch_rows(&self) -> u64 {
        (self.context * self.batch) as u64
    }

    /// Everything that decides the bytes of the file, as JSON: the effective configuration, and what an unfinished
    /// capture is compared with.
    pub fn settings(&self, corpus: &Corpus) -> Value {
        let text = corpus.files().iter().map(|file| match corpus.field_of(file) {
            Some(field) => json!({"name": file.name(), "bytes": file.bytes(), "field": field}),
            None => json!({"name": file.name(), "bytes": file.bytes()}),
        });
        json!({
            "tool_version": TOOL_VERSION, "model": self.model, "hooks": self.hooks, "context": self.context,
            "pad": self.pad.then_some(true), "in_text_order": self.in_text_order.then_some(true), "batch": self.batch, "tokens": self.tokens, "shard": self.shard, "bos": self.bos, "bos_token": self.bos_token,
            "compute_dtype": self.compute_dtype, "store_dtype": self.store, "text": text.collect::<Vec<_>>(),
            "chat_template_sha256": corpus.chat_template_sha256(),
        })
    }

    /// The manifest of the file, once the text is known.
    pub(crate) fn manifest(
        &self,
        n_rows: u64,
        n_documents: u64,
        corpus: Vec<CorpusFile>,
        chat_template_sha256: Option<String>,
    ) -> CaptureManifest {
        CaptureManifest {
            tool_version: TOOL_VERSION.to_owned(),
            model: self.model.clone(),
            hooks: self.hooks.clone(),
            n_rows,
            n_documents,
            shard: self.shard,
            context: self.context,
            pad: self.pad,
            batch: self.batch,
            bos: self.bos,
            bos_token: self.bos_token,
            compute_dtype: self.compute_dtype.to_owned(),
            store_dtype: self.store,
            corpus,
            chat_template_sha256,
            seed: 0,
        }
    }
}

fn columns(hooks: &[HookPoint], model: &LanguageModel, context: usize) -> Result<Vec<HookColumn>, CaptureError> {
    if hooks.is_empty() {
        return Err(CaptureError::NoHooks);
    }
    let mut points = BTreeSet::new();
    if let Some(again) = hooks.iter().find(|hook| !points.insert(**hook)) {
        return Err(CaptureError::RepeatedHook(*again));
    }
    let scores = |hook: &&HookPoint| matches!(hook, HookPoint::Block { site: Site::AttnScores, .. });
    if let Some(scores) = hooks.iter().find(scores) {
        return Err(CaptureError::Scores(*scores));
    }
    let column = |hook: HookPoint| match model.width_of(hook) {
        Ok(d_in) => Ok(HookColumn { hook, d_in }),
        // An attention pattern is as wide as the context, which is the same for all rows of a file.
        Err(ModelError::NoFixedWidth { .. }) => {
            Ok(HookColumn { hook, d_in: model.config().attention.n_heads * context })
        }
        Err(other) => Err(other.into()),
    };
    points.into_iter().map(column).collect()
}
