//! What can be wrong with an intervention that is well written.

/// Why a model cannot be steered so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SteerProblem {
    /// What the model, the dictionary and the operation do not allow together.
    #[error("`{what}`: {problem}")]
    Impossible {
        /// The intervention.
        what: String,
        /// Why not, and what is possible.
        problem: String,
    },
    /// A text that no token is.
    #[error(
        "no token of the model reads `{text}`; it is cut into {pieces}; name one of these",
        pieces = if .pieces.is_empty() { "nothing".to_owned() } else { .pieces.iter().map(|p| format!("'{p}'")).collect::<Vec<_>>().join(" ") }
    )]
    NoSuchToken {
        /// The text.
        text: String,
        /// The tokens that it is cut into.
        pieces: Vec<String>,
    },
    /// A dictionary that is not at hand.
    #[error("{}", no_such_dictionary(.what, .name, .known))]
    NoSuchDictionary {
        /// The intervention.
        what: String,
        /// The name.
        name: String,
        /// Names of those at hand.
        known: Vec<String>,
    },
    /// Two steps of a feature at the same tokens.
    #[error(
        "feature {feature} is steered twice at the same tokens, by `{first}` and `{second}`; give it once, or say with `at` where"
    )]
    Twice {
        /// The feature.
        feature: usize,
        /// The intervention.
        first: String,
        /// The other one.
        second: String,
    },
    /// A step of which nothing stays.
    #[error(
        "`{step}` does nothing: `{later}` comes behind it and sets the same feature at all of these tokens; leave one out, or give \
             the one that is for fewer tokens last"
    )]
    Undone {
        /// The intervention.
        step: String,
        /// The one that undoes it.
        later: String,
    },
    /// A feature's number without its dictionary, where there are several.
    #[error("`{what}` may be of any of {known}; name the dictionary, as in {first}#{what}", known = list(.known), first = .known.first().map_or("name", String::as_str))]
    WhichDictionary {
        /// What was written.
        what: String,
        /// Names of those at hand.
        known: Vec<String>,
    },
    /// A direction for activations of another width.
    #[error(
        "`{what}`: a direction of width {found}, and {point} of this model has width {expected}; take one that was made on it"
    )]
    OtherWidth {
        /// The intervention.
        what: String,
        /// Where it would be taken.
        point: String,
        /// Its width.
        found: usize,
        /// The model's.
        expected: usize,
    },
    /// Sets of steps for another number of texts.
    #[error("there are steps for {sets} texts, and the batch has {batch}")]
    OtherBatch {
        /// Sets of steps.
        sets: usize,
        /// Texts in the batch.
        batch: i64,
    },
}

fn no_such_dictionary(what: &str, name: &str, known: &[String]) -> String {
    match (name, known) {
        (_, []) => format!("`{what}` is a feature, and there is no dictionary; give it with --sae"),
        _ => format!("`{what}`: there is no dictionary `{name}`; at hand are {}", list(known)),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none (give one with --sae)".to_owned() } else { names.join(", ") }
}
