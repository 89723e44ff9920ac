//! What can go wrong while capturing.

use std::path::PathBuf;
use untangle_model::ModelError;
use untangle_schema::{Classify, Fault, HookPoint};
use untangle_store::StoreError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The activation file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model or its tokenizer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Reading or writing failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing to record.
    #[error("no hook point was named; name one, such as blocks.0.hook_resid_post")]
    NoHooks,
    /// The same hook point twice.
    #[error("hook point `{0}` is named twice")]
    RepeatedHook(HookPoint),
    /// Attention scores, which no activation file holds.
    #[error(
        "`{0}` is minus infinity where a token cannot be seen, which an activation file does not hold; record \
         attn.hook_pattern, which is its softmax"
    )]
    Scores(HookPoint),
    /// The model's pass never came to a hook point.
    #[error("the model has no `{0}`: its blocks have no such place")]
    NotReached(HookPoint),
    /// An activation computed by the model is NaN or infinite.
    #[error(
        "the model gave a value that is not finite at `{hook}`, row {row}; compute in f32 (--model-dtype f32), or check \
         the weights"
    )]
    NotFinite {
        /// The hook point.
        hook: HookPoint,
        /// The row, numbered as in a capture of the text.
        row: u64,
    },
    /// A context that the model has no positions for, or that has no room for text.
    #[error("a context of {asked} tokens does not fit: this model takes {least} to {most}")]
    Context {
        /// Tokens per context that were asked for.
        asked: usize,
        /// Fewest that make sense.
        least: usize,
        /// The model's positions.
        most: usize,
    },
    /// A batch that no memory holds.
    #[error("a batch of {asked} contexts of {context} tokens is too large; take at most {most}, and usually far fewer")]
    Batch {
        /// Contexts per forward pass that were asked for.
        asked: usize,
        /// Tokens per context.
        context: usize,
        /// Most contexts of that length.
        most: usize,
    },
    /// A number that must be at least one is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// No text file was named.
    #[error("no text file was named")]
    NoText,
    /// A text file does not exist or is a folder.
    #[error("{path}: {problem}", path = .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        problem: &'static str,
    },
    /// The disk is full before the first row.
    #[error(
        "{path}: no space for the token ids; free some, write elsewhere, or capture fewer tokens",
        path = .path.display()
    )]
    NoRoomForTokens {
        /// The side file of token ids.
        path: PathBuf,
    },
    /// Conversations are wanted of a file that cannot hold any.
    #[error(
        "{file}: conversations are read from JSON lines (.jsonl) and tables (.parquet), a list of messages in each"
    )]
    NoConversations {
        /// The file.
        file: String,
    },
    /// A line or row that is not what it should be.
    #[error("{file}: {at} {problem}")]
    Record {
        /// The file.
        file: String,
        /// Which line or row.
        at: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Text that is not UTF-8, where that is not allowed.
    #[error("{file}: {at} is not UTF-8; correct it, or leave out --strict, so that what is no text is replaced")]
    NotUtf8 {
        /// The file.
        file: String,
        /// Where in it.
        at: String,
    },
    /// A file that cannot be read to its end.
    #[error("{file}: {problem}; get the file again")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that is whole, and needs something that is not here.
    #[error("{file}: {what}; {remedy}")]
    Unsupported {
        /// The file.
        file: String,
        /// What it needs.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A table lacks the column that holds the text.
    #[error("{file}: no column `{field}`; it has {found}: choose one with --field")]
    NoColumn {
        /// The file.
        file: String,
        /// The column that was asked for.
        field: String,
        /// Some that there are.
        found: String,
    },
    /// A column that does not hold text.
    #[error("{file}: column `{field}` holds {found}, not text; choose another with --field")]
    ColumnType {
        /// The file.
        file: String,
        /// The column that was asked for.
        field: String,
        /// What it holds.
        found: String,
    },
    /// A column that does not hold conversations.
    #[error(
        "{file}: column `{field}` is no list of messages with text as `role` and `content` (it lacks `{missing}`); choose \
         another with --field"
    )]
    NoMessages {
        /// The file.
        file: String,
        /// The column that was asked for.
        field: String,
        /// What its messages lack.
        missing: &'static str,
    },
    /// There is no text in the files.
    #[error("the corpus is empty: {names} gave no token")]
    EmptyCorpus {
        /// The files.
        names: String,
    },
    /// A text file is not the one that the unfinished capture began with.
    #[error(
        "{file} was changed since this capture began; restore it, remove {partial}*, or pass --force to start \
         afresh",
        partial = .partial.display()
    )]
    CorpusChanged {
        /// The text file.
        file: String,
        /// The unfinished output.
        partial: PathBuf,
    },
    /// The user asked to stop.
    #[error("interrupted at {done} of {total} {unit}; the same command continues from there")]
    Interrupted {
        /// Finished so far.
        done: u64,
        /// Finished when the capture is.
        total: u64,
        /// What is counted.
        unit: &'static str,
    },
}

impl CaptureError {
    /// Turns what the system said about `path` into an error of this crate.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> CaptureError {
        move |source| CaptureError::Io { path: path.to_owned(), source }
    }
}

impl Classify for CaptureError {
    fn fault(&self) -> Fault {
        use CaptureError as E;
        match self {
            E::Store(error) => error.fault(),
            E::Model(error) => error.fault(),
            E::Io { source, .. } => Fault::of_file(source),
            E::NoRoomForTokens { .. } => Fault::Io,
            E::NoHooks | E::RepeatedHook(_) | E::Scores(_) | E::NotReached(_) => Fault::Usage,
            E::Context { .. } | E::Batch { .. } | E::Zero(_) | E::NoText => Fault::Usage,
            E::NotFinite { .. } | E::NotAFile { .. } | E::EmptyCorpus { .. } => Fault::BadInput,
            E::CorpusChanged { .. } | E::Record { .. } | E::NotUtf8 { .. } | E::Damaged { .. } => Fault::BadInput,
            E::NoColumn { .. } | E::ColumnType { .. } | E::NoConversations { .. } => Fault::BadInput,
            E::NoMessages { .. } | E::Unsupported { .. } => Fault::BadInput,
            E::Interrupted { .. } => Fault::Interrupted,
        }
    }
}
