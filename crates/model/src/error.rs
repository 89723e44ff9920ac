//! What can go wrong with models.

use crate::hub::error::HubError;
use crate::wording::{gibibytes, pickled};
use std::error::Error;
use std::path::PathBuf;
use untangle_schema::hook_pattern::NoSuchHooks;
use untangle_schema::{Classify, Fault, HookPoint};

/// An error of this crate. Files are named by path, or by their usual name where a model came from memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A model or data set could not be fetched from a hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Reading a file failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory that is no model.
    #[error(
        "{}: no `{missing}` in this directory; a model is a Hugging Face directory with config.json, \
         model.safetensors (or model.safetensors.index.json) and tokenizer.json{}",
        .path.display(), pickled(.path)
    )]
    NoModel {
        /// The directory.
        path: PathBuf,
        /// The file that it lacks.
        missing: &'static str,
    },
    /// A JSON file that cannot be parsed.
    #[error("{}: not valid JSON: {source}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// What Git left in the place of a file that it did not fetch.
    #[error("{} {}", .path.display(), untangle_schema::git_lfs::REMEDY)]
    Pointer {
        /// The file.
        path: PathBuf,
    },
    /// A field whose value is missing, wrong or not supported.
    #[error("{}: `{field}` is {found}; supported: {supported}", .path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        supported: String,
    },
    /// A safetensors file whose header or length is wrong.
    #[error("{}: not a complete safetensors file: {reason}; fetch it again", .path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Weights for which there is not enough memory.
    #[error(
        "{}: the model takes {} in {kind} and {} can be had; {remedy}", .path.display(), gibibytes(*.needed), gibibytes(*.free)
    )]
    TooLarge {
        /// The weight file or the index of the shards.
        path: PathBuf,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that can be had.
        free: u64,
        /// Kind of its numbers.
        kind: &'static str,
        /// What to do.
        remedy: String,
    },
    /// A tensor that the model needs and no weight file holds.
    #[error("{}: tensor `{name}` {expected:?} is missing", .path.display())]
    MissingTensor {
        /// The weight file or the index of the shards.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The shape that it should have.
        expected: Vec<i64>,
    },
    /// A tensor that the model described by config.json does not have.
    #[error("{}: tensor `{name}` has no place in the model that config.json describes", .path.display())]
    UnexpectedTensor {
        /// The weight file.
        path: PathBuf,
        /// Its name.
        name: String,
    },
    /// A tensor of an adapter, which changes what others compute.
    #[error(
        "{}: tensor `{name}` is one of an adapter (PEFT, LoRA), which is not applied here; merge it into its model \
         (`merge_and_unload` of PEFT) and give that one",
        .path.display()
    )]
    Adapter {
        /// The weight file.
        path: PathBuf,
        /// Its name.
        name: String,
    },
    /// A directory that holds an adapter and no model.
    #[error(
        "{}: this directory holds an adapter (PEFT, LoRA) and not its model; merge it into the model \
         (`merge_and_unload` of PEFT) and give that one",
        .path.display()
    )]
    AdapterAlone {
        /// Its configuration.
        path: PathBuf,
    },
    /// An adapter beside a whole model.
    #[error(
        "{}: there is an adapter (PEFT, LoRA) beside the model, which other tools apply and this one does not; merge it \
         into the model (`merge_and_unload` of PEFT), or move it to another directory to use the model without it",
        .path.display()
    )]
    AdapterBeside {
        /// Its configuration.
        path: PathBuf,
    },
    /// A shard that the index names and the directory lacks.
    #[error(
        "{}: this shard is missing, {} names it; fetch it again, or all files of the model",
        .path.display(), .index.display()
    )]
    MissingShard {
        /// The shard.
        path: PathBuf,
        /// The index.
        index: PathBuf,
    },
    /// Logits were asked of a model whose files have no unembedding.
    #[error(
        "model `{model}` has no unembedding (lm_head), so that it gives no logits; its activations can be captured, for \
         anything else give the model with its head"
    )]
    NoHead {
        /// Name of the model.
        model: String,
    },
    /// A tensor that two weight files hold.
    #[error("{}: tensor `{name}` is in {} too", .path.display(), .other.display())]
    DuplicateTensor {
        /// The weight file.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The other weight file.
        other: PathBuf,
    },
    /// Two stored names of which one is the other with a wrapper's prefix.
    #[error(
        "{}: tensors `{name}` and `{other}` mean the same parameter; take one of them out, or save the model anew",
        .path.display()
    )]
    SameTensor {
        /// The weight file of the one.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The name of the other.
        other: String,
    },
    /// A tensor of another shape than config.json asks for.
    #[error("{}: tensor `{name}` has shape {found:?}, config.json asks for {expected:?}", .path.display())]
    WrongShape {
        /// The weight file.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The shape that it should have.
        expected: Vec<i64>,
        /// The shape that it has.
        found: Vec<i64>,
    },
    /// A tensor whose elements are of an unsupported type.
    #[error("{}: tensor `{name}` is of type {found}, not F64, F32, F16 or BF16; \
         `AutoModelForCausalLM.from_pretrained(DIR, dtype=\"float32\").save_pretrained(DIR)` of transformers converts it", .path.display())]
    WrongDtype {
        /// The weight file.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The type that it has.
        found: String,
    },
    /// A tokenizer that cannot be read or used.
    #[error("{}: {reason}", .path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A text with a token for which the model has no embedding.
    #[error(
        "{}: the text has the token `{token}` (id {id}), and the model's embedding ends at {last}; take it out of the \
         text{remedy}",
        .path.display()
    )]
    TokenBeyondEmbedding {
        /// The tokenizer.
        path: PathBuf,
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The last id with an embedding.
        last: usize,
        /// What else helps.
        remedy: &'static str,
    },
    /// A model without a tokenizer was asked for text.
    #[error(
        "model `{model}` has no tokenizer; put its tokenizer.json beside config.json (where there is another form of it, \
         `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` of transformers makes one)"
    )]
    NoTokenizer {
        /// Name of the model.
        model: String,
    },
    /// A beginning-of-sequence token was asked for where there is none.
    #[error("{}: it has no beginning-of-sequence token; use the policy `auto` or `never`", .path.display())]
    NoBos {
        /// The tokenizer.
        path: PathBuf,
    },
    /// A model that was not tuned on conversations was asked for one.
    #[error(
        "{}: the model has no chat template, neither a chat_template.jinja nor one in tokenizer_config.json; give a model \
         that was tuned on conversations, or leave out --chat",
        .path.display()
    )]
    NoChatTemplate {
        /// The tokenizer.
        path: PathBuf,
    },
    /// A chat template that is none.
    #[error("{}: its chat template cannot be read: {reason}", .path.display())]
    ChatTemplate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Somebody asked to stop while a conversation was being rendered.
    #[error("interrupted while the chat template was at work on a conversation; the same command begins it anew")]
    Interrupted,
    /// A conversation that the chat template refuses.
    #[error("the chat template of {} refuses the conversation: {reason}", .path.display())]
    Conversation {
        /// Where the template stands.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// A hook point that the model does not have.
    #[error("the model has no hook point `{point}`: {reason}")]
    NoSuchHook {
        /// The point.
        point: HookPoint,
        /// Why not: which blocks there are, or what these blocks do instead.
        reason: String,
    },
    /// A pattern that means no hook point of the model.
    #[error(transparent)]
    NoSuchHooks(#[from] NoSuchHooks),
    /// A hook point whose rows have no fixed width.
    #[error("`{point}` has as many columns as there are keys in the pass, so it has no fixed width")]
    NoFixedWidth {
        /// The point.
        point: HookPoint,
    },
    /// A hook failed; use [`ModelError::hook`] to make it.
    #[error("at {point}: {source}")]
    Hook {
        /// The point that it was visiting.
        point: HookPoint,
        /// The kind of failure.
        fault: Fault,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A hook returned a tensor that cannot go on.
    #[error("at {point}: the hook returned {found}, the pass needs {expected}")]
    HookShape {
        /// The point.
        point: HookPoint,
        /// Kind and shape that it was given.
        expected: String,
        /// Kind and shape that it returned.
        found: String,
    },
    /// A hook that ends the pass early was given to something that needs logits.
    #[error("generation needs logits, and the hook ends the pass after {last}")]
    NoLogits {
        /// The point after which the hook ends the pass.
        last: HookPoint,
    },
    /// A pass was given tokens, a mask or a cache that do not fit.
    #[error("{what} is {found}; expected {expected}")]
    Input {
        /// Which argument.
        what: &'static str,
        /// What was given.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// More tokens than the model has positions.
    #[error("{tokens} tokens do not fit into the model's context of {max_context}")]
    ContextExceeded {
        /// Tokens of the pass and those before it.
        tokens: usize,
        /// Positions of the model.
        max_context: usize,
    },
    /// The logits hold NaN or infinity, so there is nothing to choose from.
    #[error("the logits after {n_tokens} tokens are not finite; a hook that scales activations is too strong")]
    NotFinite {
        /// Tokens before the choice.
        n_tokens: usize,
    },
    /// libtorch refused; a missing device or exhausted memory.
    #[error("{doing}: {source}")]
    Torch {
        /// What was being done.
        doing: &'static str,
        /// What libtorch said.
        source: tch::TchError,
    },
}

impl ModelError {
    /// The error of a hook: `error` happened while visiting `point`.
    pub fn hook(point: HookPoint, error: impl Error + Classify + Send + Sync + 'static) -> Self {
        ModelError::Hook { point, fault: error.fault(), source: Box::new(error) }
    }
}

impl Classify for ModelError {
    fn fault(&self) -> Fault {
        match self {
            ModelError::Hub(error) => error.fault(),
            ModelError::Io { source, .. } => Fault::of_file(source),
            ModelError::Interrupted => Fault::Interrupted,
            ModelError::Hook { fault, .. } => *fault,
            ModelError::HookShape { .. } | ModelError::Torch { .. } => Fault::Internal,
            ModelError::NoBos { .. }
            | ModelError::NoFixedWidth { .. }
            | ModelError::NoLogits { .. }
            | ModelError::Input { .. }
            | ModelError::ContextExceeded { .. } => Fault::Usage,
            ModelError::NoModel { .. }
            | ModelError::NoSuchHook { .. }
            | ModelError::NoSuchHooks(_)
            | ModelError::Json { .. }
            | ModelError::Pointer { .. }
            | ModelError::Field { .. }
            | ModelError::Weights { .. }
            | ModelError::TooLarge { .. }
            | ModelError::MissingTensor { .. }
            | ModelError::UnexpectedTensor { .. }
            | ModelError::Adapter { .. }
            | ModelError::AdapterAlone { .. }
            | ModelError::AdapterBeside { .. }
            | ModelError::MissingShard { .. }
            | ModelError::NoHead { .. }
            | ModelError::DuplicateTensor { .. }
            | ModelError::SameTensor { .. }
            | ModelError::WrongShape { .. }
            | ModelError::WrongDtype { .. }
            | ModelError::Tokenizer { .. }
            | ModelError::TokenBeyondEmbedding { .. }
            | ModelError::NoTokenizer { .. }
            | ModelError::NoChatTemplate { .. }
            | ModelError::ChatTemplate { .. }
            | ModelError::Conversation { .. }
            | ModelError::NotFinite { .. } => Fault::BadInput,
        }
    }
}
