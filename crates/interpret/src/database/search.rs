//! Finds features in a database: by text, by label, by rank.

use super::foreign::count;
use super::labels::Choice;
use super::query::Query;
use super::rank::most_interpretable;
use super::read::{Database, Summary};
use super::read::{summary, summary_query};
use crate::error::InterpretError;
use rusqlite::types::Value;
use std::collections::HashSet;
use untangle_schema::FeatureCard;

impl Database {
    /// Features whose label, example text or raised tokens hold all words of `text` (as beginnings of words), best
    /// match first; those without a label, which hardly ever fire or are not understood, come behind the others. Text
    /// without a letter or digit is looked up as it stands in labels and raised tokens.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn search(&self, text: &str, limit: usize) -> Result<Vec<Summary>, InterpretError> {
        match text.trim() {
            "" => Ok(Vec::new()),
            text => self.query(&Query { text: text.to_owned(), limit: Some(limit), ..Query::default() }),
        }
    }

    /// All features, best label first; those without a label at the end.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn list(&self, limit: usize) -> Result<Vec<Summary>, InterpretError> {
        self.query(&Query { limit: Some(limit), ..Query::default() })
    }

    /// These features, by number; those that there are not are left out.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn summaries_of(&self, features: &[usize]) -> Result<Vec<Summary>, InterpretError> {
        let ids = serde_json::json!(features).to_string();
        self.summaries("WHERE f.id IN (SELECT value FROM json_each(?)) ORDER BY f.id", vec![Value::Text(ids)])
    }

    /// The `n` features that are understood best, with everything about them; see [`most_interpretable`].
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn most_interpretable(&self, n: usize) -> Result<Vec<FeatureCard>, InterpretError> {
        let labelled = self.summaries("WHERE b.value IS NOT NULL", Vec::new())?;
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
        let labelled = self.summaries("WHERE l.text IS NOT NULL ORDER BY b.value DESC NULLS LAST, f.id", Vec::new())?;
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

    /// The features that the rest of a query finds, in its order, each with the label that is shown where nothing is asked for.
    fn summaries(&self, rest: &str, values: Vec<Value>) -> Result<Vec<Summary>, InterpretError> {
        self.summaries_with(&Choice::default(), "", rest, values)
    }

    /// The same with a label of choice: each once, however many labels it has. `join` are further tables.
    pub(super) fn summaries_with(
        &self,
        choice: &Choice<'_>,
        join: &str,
        rest: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Summary>, InterpretError> {
        self.budget.begin();
        let (of_label, named) = choice.join();
        let sql = format!("{} {rest}", summary_query(join, of_label));
        let mut select = self.connection.prepare(&sql).map_err(self.fail())?;
        let values = rusqlite::params_from_iter(named.into_iter().chain(values));
        let rows = select.query_map(values, summary).map_err(self.fail())?;
        rows.collect::<rusqlite::Result<_>>().map_err(self.fail())
    }
}

/// Lower case, without quotation marks.
fn plain(label: &str) -> String {
    label.chars().filter(|c| *c != '"').collect::<String>().trim().to_lowercase()
}
