//! What is turned: `12`, `bridge`, `layer2#12`, `token ' cat' in blocks.1.hook_resid_post`, `vector 'calm.gguf'`.

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
    /// A direction of a file of control vectors.
    Vector {
        /// The file.
        path: String,
        /// Which of its directions; none where it has one.
        point: Option<HookPoint>,
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
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let quoted_behind = |word| text.strip_prefix(word).map(str::trim_start).filter(|rest| rest.starts_with('\''));
        if let Some(rest) = quoted_behind("token ") {
            return token(rest);
        }
        if let Some(rest) = quoted_behind("vector ") {
            return vector(rest);
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
            None if name.bytes().all(|byte| byte.is_ascii_digit()) && name.parse::<usize>().is_err() => {
                return Err(format!("no dictionary has a feature {name}"));
            }
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

/// Reads `'calm.gguf' in blocks.3.hook_resid_post`.
fn vector(text: &str) -> Result<What, String> {
    let (path, point) = match Scan::new(text).split_once(" in ") {
        Some((path, point)) => (path, Some(point.trim().parse::<HookPoint>().map_err(|error| format!("{error}"))?)),
        None => (text, None),
    };
    match unquoted(path.trim()).filter(|path| !path.is_empty()) {
        Some(path) => Ok(What::Vector { path, point }),
        None => Err(format!("`vector {text}` is not read; write vector 'calm.gguf' in blocks.3.hook_resid_post")),
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Token { text, point } => write!(f, "token {} in {point}", quoted(text)),
            What::Vector { path, point: Some(point) } => write!(f, "vector {} in {point}", quoted(path)),
            What::Vector { path, point: None } => write!(f, "vector {}", quoted(path)),
            What::Feature { dictionary, selector } => {
                if let Some(dictionary) = dictionary {
                    // Most are plain words, and are written as users write them.
                    let is_plain = dictionary.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
                    write!(
                        f,
                        "{}#",
                        if is_plain && !dictionary.is_empty() { dictionary.clone() } else { quoted(dictionary) }
                    )?;
                }
                match selector {
                    Selector::Id(id) => write!(f, "{id}"),
                    Selector::Label(label) => f.write_str(&quoted(label)),
                }
            }
        }
    }
}
