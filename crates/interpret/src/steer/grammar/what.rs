//! What is turned: `12`, `bridge`, `layer2#12`, `token ' cat' in blocks.1.hook_resid_post`.

use super::scan::{Scan, quoted, unquoted};
use std::fmt;
use untangle_schema::HookPoint;

/// A feature or a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A feature of a dictionary; as a direction, what it writes.
    Feature {
        /// The dictionary's name; none where only one is meant.
        dictionary: Option<String>,
        /// Which of its features.
        selector: Selector,
    },
    /// The direction that raises a token's logit.
    Token {
        /// The token's text.
        text: String,
        /// Where in the residual stream.
        point: HookPoint,
    },
}

/// Which feature is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Its index.
    Id(usize),
    /// Its label or a part of it.
    Label(String),
}

impl What {
    /// Feature `feature` of the only dictionary.
    pub fn feature(feature: usize) -> Self {
        What::Feature { dictionary: None, selector: Selector::Id(feature) }
    }

    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("token ").filter(|rest| rest.trim_start().starts_with('\'')) {
            return token(rest.trim());
        }
        let (dictionary, name) = match Scan::new(text).split_once("#") {
            Some((dictionary, name)) => (Some(dictionary.trim()), name.trim()),
            None => (None, text),
        };
        if name.is_empty() || dictionary == Some("") {
            return Err("no feature is named".to_owned());
        }
        let selector = match unquoted(name) {
            Some(label) if label.trim().is_empty() => return Err("no feature is named".to_owned()),
            Some(label) => Selector::Label(label),
            None => name.parse().map_or_else(|_| Selector::Label(name.to_owned()), Selector::Id),
        };
        let dictionary = dictionary.map(|name| unquoted(name).unwrap_or_else(|| name.to_owned()));
        Ok(What::Feature { dictionary, selector })
    }
}

/// Reads `' cat' in blocks.1.hook_resid_post`.
fn token(text: &str) -> Result<What, String> {
    let shape = || format!("`token {text}` is not read; write token ' cat' in blocks.1.hook_resid_post");
    let (token, point) = Scan::new(text).split_once(" in ").ok_or_else(shape)?;
    let token = unquoted(token.trim()).filter(|token| !token.is_empty()).ok_or_else(shape)?;
    let point = point.trim().parse().map_err(|error| format!("{error}"))?;
    Ok(What::Token { text: token, point })
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Token { text, point } => write!(f, "token {} in {point}", quoted(text)),
            What::Feature { dictionary, selector } => {
                if let Some(dictionary) = dictionary {
                    write!(f, "{}#", quoted(dictionary))?;
                }
                match selector {
                    Selector::Id(id) => write!(f, "{id}"),
                    Selector::Label(label) => f.write_str(&quoted(label)),
                }
            }
        }
    }
}
