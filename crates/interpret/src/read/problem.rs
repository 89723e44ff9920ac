//! Why a crosscoder cannot read a text.

/// What is wrong with the models that are named.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadProblem {
    /// A part is of a model that is not among them.
    #[error("the crosscoder reads from {model} as well; name that model, too, with --with")]
    ModelMissing {
        /// The model.
        model: String,
    },
    /// Two models that do not read the same tokens.
    #[error("{found} reads other tokens than {expected}: a crosscoder's rows are of the same tokens in all its models")]
    OtherTokenizer {
        /// The model that is studied.
        expected: String,
        /// The other.
        found: String,
    },
}
