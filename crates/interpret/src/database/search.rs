//! Finds features in a database: by text, by label, by rank.

use super::foreign::count;
use super::rank::most_interpretable;
use super::read::{Database, Summary};
use super::read::{summary, summary_query};
use crate::error::InterpretError;
use rusqlite::{Params, params};
use std::collections::HashSet;
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
            "JOIN words ON words.rowid = f.id WHERE words MATCH ?1
             ORDER BY l.text IS NULL, bm25(words, {WEIGHTS}), f.id LIMIT ?2"
        );
        self.summaries(&sql, params![query, limit as i64])
    }

    fn search_verbatim(&self, text: &str, limit: usize) -> Result<Vec<Summary>, InterpretError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let found = "WHERE EXISTS (SELECT 1 FROM labels a WHERE a.feature = f.id AND instr(a.text, ?1) > 0)
             OR EXISTS (SELECT 1 FROM logits g WHERE g.feature = f.id AND g.side = 'top' AND instr(g.token, ?1) > 0)
             ORDER BY l.f1 DESC NULLS LAST, f.id LIMIT ?2";
        self.summaries(found, params![text, limit as i64])
    }

    /// All features, best label first; those without a label at the end.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn list(&self, limit: usize) -> Result<Vec<Summary>, InterpretError> {
        self.summaries("ORDER BY l.f1 DESC NULLS LAST, f.id LIMIT ?1", params![limit as i64])
    }

    /// The `n` features that are understood best, with everything about them; see [`most_interpretable`].
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn most_interpretable(&self, n: usize) -> Result<Vec<FeatureCard>, InterpretError> {
        let labelled = self.summaries("WHERE l.f1 IS NOT NULL", [])?;
        most_interpretable(labelled, n).into_iter().map(|feature| self.card(feature.feature)).collect()
    }

    /// Features one of whose labels is `text`, or, where there are none, holds it, or else holds all of its words; case and
    /// quotation marks aside. Best label first.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn by_label(&self, text: &str) -> Result<Vec<Summary>, InterpretError> {
        let wanted = plain(text);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let labels = self.all_labels()?;
        let named = |test: &dyn Fn(&str) -> bool| -> HashSet<usize> {
            labels.iter().filter(|(_, label)| test(&plain(label))).map(|(feature, _)| *feature).collect()
        };
        let mut features = named(&|label| label == wanted);
        if features.is_empty() {
            features = named(&|label| label.contains(&wanted));
        }
        if features.is_empty() {
            features = named(&|label| wanted.split_whitespace().all(|word| label.contains(word)));
        }
        let labelled = self.summaries("WHERE l.text IS NOT NULL ORDER BY l.f1 DESC NULLS LAST, f.id", [])?;
        Ok(labelled.into_iter().filter(|summary| features.contains(&summary.feature)).collect())
    }

    /// Every label with its feature.
    fn all_labels(&self) -> Result<Vec<(usize, String)>, InterpretError> {
        self.budget.begin();
        let read = || {
            let mut select = self.connection.prepare("SELECT feature, text FROM labels")?;
            let rows = select.query_map([], |row| Ok((count(row, 0)? as usize, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(self.fail())
    }

    /// The features that the rest of a query finds, in its order: each once, however many labels it has.
    fn summaries(&self, rest: &str, params: impl Params) -> Result<Vec<Summary>, InterpretError> {
        self.budget.begin();
        let sql = format!("{} {rest}", summary_query());
        let mut select = self.connection.prepare(&sql).map_err(self.fail())?;
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
