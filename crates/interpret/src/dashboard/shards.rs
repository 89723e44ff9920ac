//! Lists and features, a file for a number of them each.

use super::place::{FEATURE_SHARD, INDEX_SHARD, Place};
use crate::error::InterpretError;
use crate::page::compact::{Tokens, feature, short};
use serde::Serialize;
use serde_json::{Value, json};
use untangle_schema::{FeatureCard, LabelKind};

/// Bytes of a label in the list; the page of the feature has all of it.
const LABEL_BYTES: usize = 400;
/// Raised tokens that the list is searched by, and bytes of each.
const WORDS: usize = 5;
const WORD_BYTES: usize = 24;

/// What was written so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) files: usize,
    pub(super) index_bytes: u64,
    pub(super) feature_bytes: u64,
}

/// Writes features as they come.
pub(super) struct Shards<'a> {
    place: &'a Place,
    n: usize,
    /// As JSON, those of the file that comes next.
    lines: Vec<String>,
    features: Vec<String>,
    tokens: Tokens,
    added: usize,
    written: Written,
}

impl<'a> Shards<'a> {
    /// For `n` features.
    pub(super) fn new(place: &'a Place, n: usize) -> Self {
        let (lines, features, tokens) = (Vec::new(), Vec::new(), Tokens::new());
        Shards { place, n, lines, features, tokens, added: 0, written: Written::default() }
    }

    /// Adds the next feature.
    pub(super) fn add(&mut self, card: &FeatureCard) -> Result<(), InterpretError> {
        self.lines.push(text(&line(card)));
        self.features.push(text(&feature(card, &mut self.tokens)));
        self.added += 1;
        let last = self.added == self.n;
        if self.features.len() == FEATURE_SHARD || last {
            let shard = (self.added - 1) / FEATURE_SHARD;
            let (features, tokens) = (std::mem::take(&mut self.features), std::mem::take(&mut self.tokens));
            let value = format!("{{\"tokens\":{},\"features\":[{}]}}", text(&tokens.texts()), features.join(","));
            self.written.feature_bytes +=
                self.write(&format!("data/features-{shard:05}.js"), "features", shard, &value)?;
        }
        if self.lines.len() == INDEX_SHARD || last {
            let shard = (self.added - 1) / INDEX_SHARD;
            let lines = format!("[{}]", std::mem::take(&mut self.lines).join(","));
            self.written.index_bytes += self.write(&format!("data/index-{shard:04}.js"), "index", shard, &lines)?;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, kind: &str, shard: usize, value: &str) -> Result<u64, InterpretError> {
        let text = format!("untangle.load('{kind}', {shard}, {value});\n");
        self.place.write(name, &text)?;
        self.written.files += 1;
        Ok(text.len() as u64)
    }

    pub(super) fn written(&self) -> Written {
        self.written
    }
}

/// A line of the list: label, its F1, density, largest activation, what it has labels of (1 input, 2 output, 3 both), and
/// tokens that it raises.
fn line(card: &FeatureCard) -> Value {
    let label = card.label();
    let kinds = |kind| u8::from(card.labels.iter().any(|label| label.kind == kind));
    let words: Vec<&str> =
        card.top_logits.iter().take(WORDS).map(|effect| cut(effect.token.trim(), WORD_BYTES)).collect();
    json!([
        label.map(|label| cut(&label.text, LABEL_BYTES)),
        label.and_then(|label| label.f1()).map(short),
        short(card.density),
        short(card.max_activation.into()),
        kinds(LabelKind::Input) + 2 * kinds(LabelKind::Output),
        words.join(" "),
    ])
}

/// JSON of what has no keys but text and no numbers but finite ones, and so always has one.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// At most so many bytes of a text.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!([cut("abc", 5), cut("abc", 2), cut("aéb", 2), cut("é", 1), cut("", 3)], ["abc", "ab", "a", "", ""]);
    }
}
