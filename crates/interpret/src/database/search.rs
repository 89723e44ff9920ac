//! Finds features in a database: by text, by label, by rank.

use super::read::{SUMMARY, summary};
use super::{Database, Summary};
use crate::error::InterpretError;
use crate::label::most_interpretable;
use rusqlite::{Params, params};
use untangle_schema::FeatureCard;

/// Weights of label, examples and logits in the ranking of a search (chosen: a label says most).
const WEIGHTS: &str = "10.0, 2.0, 1.0";

impl Database {
    /// Features whose label, example text or raised tokens hold all words of `text` (as beginnings of words), best
    /// match first; those without a label, which hardly ever fire or are not understood, come behind the others. Text
    /// without a letter or digit is looked up as it stands in labels and raised tokens.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn search(&self, text: &str, limit: usize) -> Result<Vec<Summary>, InterpretError> {
        let query = fts_query(text);
        if query.is_empty() {
            return self.search_verbatim(text.trim(), limit);
        }
        let sql = format!(
            "{SUMMARY} JOIN words ON words.rowid = f.id WHERE words MATCH ?1
             ORDER BY l.text IS NULL, bm25(words, {WEIGHTS}), f.id LIMIT ?2"
        );
        self.summaries(&sql, params![query, limit as i64])
    }

    fn search_verbatim(&self, text: &str, limit: usize) -> Result<Vec<Summary>, InterpretError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "{SUMMARY} WHERE instr(l.text, ?1) > 0 OR EXISTS (SELECT 1 FROM logits g WHERE g.feature = f.id
             AND g.side = 'top' AND instr(g.token, ?1) > 0) ORDER BY l.f1 DESC NULLS LAST, f.id LIMIT ?2"
        );
        self.summaries(&sql, params![text, limit as i64])
    }

    /// All features, best label first; those without a label at the end.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn list(&self, limit: usize) -> Result<Vec<Summary>, InterpretError> {
        self.summaries(&format!("{SUMMARY} ORDER BY l.f1 DESC NULLS LAST, f.id LIMIT ?1"), params![limit as i64])
    }

    /// The `n` features that are understood best, with everything about them; see [`most_interpretable`].
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn most_interpretable(&self, n: usize) -> Result<Vec<FeatureCard>, InterpretError> {
        let labelled = self.summaries(&format!("{SUMMARY} WHERE l.f1 IS NOT NULL"), [])?;
        most_interpretable(labelled, n).into_iter().map(|feature| self.card(feature.feature)).collect()
    }

    /// Features whose label is `text`, or, where there are none, whose label holds it; case and quotation marks aside.
    /// Best label first.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn by_label(&self, text: &str) -> Result<Vec<Summary>, InterpretError> {
        let wanted = plain(text);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let labelled =
            self.summaries(&format!("{SUMMARY} WHERE l.text IS NOT NULL ORDER BY l.f1 DESC NULLS LAST, f.id"), [])?;
        let matching = |test: &dyn Fn(&str) -> bool| -> Vec<Summary> {
            labelled.iter().filter(|f| f.label.as_deref().is_some_and(|label| test(&plain(label)))).cloned().collect()
        };
        let same = matching(&|label| label == wanted);
        Ok(if same.is_empty() { matching(&|label| label.contains(&wanted)) } else { same })
    }

    fn summaries(&self, sql: &str, params: impl Params) -> Result<Vec<Summary>, InterpretError> {
        self.budget.begin();
        let mut select = self.connection.prepare(sql).map_err(self.fail())?;
        let rows = select.query_map(params, summary).map_err(self.fail())?;
        rows.collect::<rusqlite::Result<_>>().map_err(self.fail())
    }
}

/// Lower case, without quotation marks.
fn plain(label: &str) -> String {
    label.chars().filter(|c| *c != '"').collect::<String>().trim().to_lowercase()
}

/// `two words` becomes `"two"* "words"*`, so that nothing in the text is read as an operator.
fn fts_query(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| format!("\"{word}\"*")).collect::<Vec<_>>().join(" ")
}
