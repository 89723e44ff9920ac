//! Which features are asked for, and in which order?

use super::foreign::{count, finite};
use super::format::Frozen;
use super::labels::Choice;
use super::read::{Database, Summary};
use crate::error::InterpretError;
use rusqlite::types::Value;
use std::collections::{BTreeMap, HashSet};
use untangle_schema::LabelKind;

/// Different words of a search that are heeded (chosen: more make a sentence, and SQLite takes no expression of any depth).
const MOST_WORDS: usize = 256;

/// Weights of label, examples and logits in the ranking of a search (chosen: a label says most).
const WEIGHTS: &str = "10.0, 2.0, 1.0";

/// What features are ordered by; the largest comes first, but of numbers of features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// How well the text that is looked for fits; by the label's score, where none is.
    #[default]
    Match,
    /// The score of a scorer, that of the label of which it thinks best, which then is the one that is shown; none means the F1 of
    /// the label that is shown otherwise.
    Score(Option<String>),
    /// Part of the rows on which it fires.
    Density,
    /// Largest activation that was seen.
    Activation,
    /// Its number.
    Number,
}

/// What features may be narrowed down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Those with a label of what makes them fire.
    Labelled,
    /// Those without one, though they fire: of what they have in common no rule says enough.
    Unlabelled,
    /// Those that fire and of which nobody but rules says when: what a language model could still label.
    ByRulesAlone,
    /// Those that never fired.
    Dead,
    /// Those that did.
    Alive,
}

/// Features that are asked for; without anything else, all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Words in labels, examples and raised tokens, all of which are there as beginnings of words; text without a letter or
    /// digit stands in a label or a raised token as it is.
    pub text: String,
    /// In which order.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
    /// Those that have a label of this kind, which is then shown.
    pub kind: Option<LabelKind>,
    /// Those that have a label of this source, which is then shown.
    pub source: Option<String>,
    /// Those whose score, the one that [`Sort::Score`] names or else the label's F1, is at least that.
    pub min_score: Option<f64>,
    /// Those that fire on at least this part of the rows.
    pub min_density: Option<f64>,
    /// Those that fire on at most this part of the rows.
    pub max_density: Option<f64>,
    /// Those of a crosscoder that are shared in this way, see [`untangle_schema::PartShares::kind`].
    pub shared: Option<String>,
    /// Those of a crosscoder that are in this part, numbered from 0, and in none before it.
    pub appeared_in: Option<usize>,
    /// Further narrowing.
    pub only: Option<Only>,
    /// At most so many; none for all.
    pub limit: Option<usize>,
    /// So many that would come first are passed over.
    pub offset: usize,
}

/// A statement in the making: conditions, and the values that they name by `?`, in order.
#[derive(Default)]
struct Statement {
    join: &'static str,
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Statement {
    fn require(&mut self, condition: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.into());
        self.values.extend(values);
    }
}

impl Database {
    /// The features that a query asks for, in its order.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn query(&self, query: &Query) -> Result<Vec<Summary>, InterpretError> {
        let text = query.text.trim();
        let words = fts_query(text);
        let mut statement = Statement::default();
        if !words.is_empty() {
            statement.join = "JOIN words ON words.rowid = f.id";
            statement.require("words MATCH ?", [Value::Text(words.clone())]);
        } else if !text.is_empty() {
            let verbatim = "(EXISTS (SELECT 1 FROM labels a WHERE a.feature = f.id AND instr(a.text, ?) > 0)
                 OR EXISTS (SELECT 1 FROM logits g WHERE g.feature = f.id AND g.side = 'top' AND instr(g.token, ?) > 0))";
            statement.require(verbatim, [Value::Text(text.to_owned()), Value::Text(text.to_owned())]);
        }
        narrow(&mut statement, query);
        let order = order(query, !words.is_empty());
        statement.values.push(Value::Integer(query.limit.map_or(-1, |limit| limit as i64)));
        statement.values.push(Value::Integer(i64::try_from(query.offset).unwrap_or(i64::MAX)));
        let Statement { join, conditions, values } = statement;
        let wanted = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
        let sql = format!("WHERE {wanted} ORDER BY {order} LIMIT ? OFFSET ?");
        let scorer = if let Sort::Score(Some(scorer)) = &query.sort { Some(scorer.as_str()) } else { None };
        let choice = Choice { source: query.source.as_deref(), kind: query.kind, scorer };
        self.summaries_with(&choice, join, &sql, values)
    }

    /// How many features there are of which nothing is asked but what `only` says.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn count(&self, only: Only) -> Result<u64, InterpretError> {
        self.budget.begin();
        let sql = format!("SELECT count(*) FROM features f WHERE {}", condition(only));
        self.connection.query_row(&sql, [], |row| count(row, 0)).map_err(self.fail())
    }
}

impl Database {
    /// Every scorer that has scored a label.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn scorers(&self) -> Result<Vec<String>, InterpretError> {
        self.names("SELECT DISTINCT scorer FROM scores ORDER BY scorer")
    }

    /// Every source of labels.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn sources(&self) -> Result<Vec<String>, InterpretError> {
        self.names("SELECT DISTINCT source FROM labels ORDER BY source")
    }

    /// Whether tokens have texts, and not only numbers: it was made with a model, of which raised tokens tell.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn has_texts(&self) -> Result<bool, InterpretError> {
        self.budget.begin();
        self.connection.query_row("SELECT EXISTS (SELECT 1 FROM logits)", [], |row| row.get(0)).map_err(self.fail())
    }

    /// The features that never fire.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn dead(&self) -> Result<HashSet<usize>, InterpretError> {
        self.budget.begin();
        let read = || {
            let mut statement = self.connection.prepare("SELECT id FROM features WHERE density = 0")?;
            statement.query_map([], |row| count(row, 0))?.collect::<rusqlite::Result<Vec<u64>>>()
        };
        Ok(read().map_err(self.fail())?.into_iter().map(|id| id as usize).collect())
    }

    fn names(&self, sql: &str) -> Result<Vec<String>, InterpretError> {
        self.budget.begin();
        let read = || self.connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>();
        read().map_err(self.fail())
    }

    /// The best score of a scorer for each of these features that has one.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn scores_of(&self, features: &[usize], scorer: &str) -> Result<BTreeMap<usize, f64>, InterpretError> {
        self.budget.begin();
        let read = || {
            let mut select = self.connection.prepare(
                "SELECT feature, max(value) FROM scores
                 WHERE scorer = ?1 AND feature IN (SELECT value FROM json_each(?2)) GROUP BY feature",
            )?;
            let ids = serde_json::json!(features).to_string();
            let rows = select.query_map([scorer, &ids], |row| Ok((count(row, 0)? as usize, finite(row, 1)?)))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(self.fail())
    }
}

/// Quantiles that are kept of a frozen dictionary's scores.
const QUANTILES: usize = 101;

impl Database {
    /// What its labels reach, to stand beside those of a dictionary that learned what it writes.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn as_frozen(&self) -> Result<Frozen, InterpretError> {
        let features: Vec<usize> = (0..self.n_features()?).collect();
        let mut quantiles = BTreeMap::new();
        for scorer in self.scorers()? {
            let mut scores: Vec<f64> = self.scores_of(&features, &scorer)?.into_values().collect();
            scores.sort_by(f64::total_cmp);
            let at = |n: usize| scores.get(n * scores.len().saturating_sub(1) / (QUANTILES - 1)).copied();
            quantiles.insert(scorer, (0..QUANTILES).filter_map(at).collect());
        }
        Ok(Frozen { sae: self.run()?.sae, quantiles })
    }
}

fn condition(only: Only) -> &'static str {
    match only {
        Only::Labelled => "EXISTS (SELECT 1 FROM labels a WHERE a.feature = f.id AND a.kind = 'input')",
        Only::Unlabelled => {
            "f.density > 0 AND NOT EXISTS (SELECT 1 FROM labels a WHERE a.feature = f.id AND a.kind = 'input')"
        }
        // `label::labeller::SOURCE`; a test holds it.
        Only::ByRulesAlone => {
            "f.density > 0 AND NOT EXISTS
             (SELECT 1 FROM labels a WHERE a.feature = f.id AND a.kind = 'input' AND a.source <> 'tokens')"
        }
        Only::Dead => "f.density = 0",
        Only::Alive => "f.density > 0",
    }
}

/// The score that a query speaks of: of the label that is shown.
fn score(query: &Query) -> &'static str {
    if matches!(query.sort, Sort::Score(Some(_))) { "s.value" } else { "b.value" }
}

fn narrow(statement: &mut Statement, query: &Query) {
    if query.kind.is_some() || query.source.is_some() {
        // The label that is shown is of these.
        statement.require("l.text IS NOT NULL", []);
    }
    if let Some(least) = query.min_score {
        statement.require(format!("{} >= ?", score(query)), [Value::Real(least)]);
    }
    if let Some(least) = query.min_density {
        statement.require("f.density >= ?", [Value::Real(least)]);
    }
    if let Some(most) = query.max_density {
        statement.require("f.density <= ?", [Value::Real(most)]);
    }
    if let Some(kind) = &query.shared {
        let has = "EXISTS (SELECT 1 FROM sharing h WHERE h.feature = f.id AND h.kind = ?)";
        statement.require(has, [Value::Text(kind.clone())]);
    }
    if let Some(part) = query.appeared_in {
        let has = "EXISTS (SELECT 1 FROM sharing h WHERE h.feature = f.id AND h.first = ?)";
        statement.require(has, [Value::Integer(i64::try_from(part).unwrap_or(i64::MAX))]);
    }
    if let Some(only) = query.only {
        statement.require(condition(only), []);
    }
}

/// The order. What has no number comes last either way.
fn order(query: &Query, has_words: bool) -> String {
    let (down, up) = if query.reversed { ("ASC", "DESC") } else { ("DESC", "ASC") };
    match &query.sort {
        Sort::Match if has_words => {
            // bm25 is smaller where the match is better.
            format!("l.text IS NULL, bm25(words, {WEIGHTS}) {up}, f.id")
        }
        Sort::Match | Sort::Score(_) => format!("{} {down} NULLS LAST, f.id", score(query)),
        Sort::Density => format!("f.density {down}, f.id"),
        Sort::Activation => format!("f.max_activation {down}, f.id"),
        Sort::Number => format!("f.id {up}"),
    }
}

/// `two words` becomes `"two"* ("words"* OR "word"*)`, so that nothing in the text is read as an operator, and what is sought in
/// the plural is found in the singular.
fn fts_query(text: &str) -> String {
    // A word that is there once is there as often as it is asked for.
    let mut seen = HashSet::new();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.filter(|word| seen.insert(word.to_lowercase())).take(MOST_WORDS);
    let sought = |word: &str| match singular(word) {
        Some(one) => format!("(\"{word}\"* OR \"{one}\"*)"),
        None => format!("\"{word}\"*"),
    };
    words.map(sought).collect::<Vec<_>>().join(" AND ")
}

/// The singular of an English word that looks like a plural: of `stories` `story`, of `boxes` `box`, of `cats` `cat`. None of words that
/// end in another way or are too short to tell.
pub(crate) fn singular(word: &str) -> Option<String> {
    let word = word.to_lowercase();
    let kept = |end: &str| word.strip_suffix(end).filter(|stem| stem.chars().count() >= 3);
    let other_s = ["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if let Some(stem) = kept("ies") {
        return Some(format!("{stem}y"));
    }
    let hissing = ["xes", "shes", "ches", "sses"].iter().any(|end| word.ends_with(end));
    let end = if hissing { "es" } else { "s" };
    kept(end).filter(|_| !other_s).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_told_by_their_ends() {
        let pairs = ["cats", "stories", "boxes", "bridges", "churches", "horses", "glasses"]
            .map(|word| singular(word).unwrap_or_default());
        assert_eq!(pairs, ["cat", "story", "box", "bridge", "church", "horse", "glass"]);
        assert_eq!(["was", "glass", "bus", "this", "cat", "as"].map(singular), [const { None }; 6]);
    }

    #[test]
    fn nothing_in_a_text_is_an_operator() {
        assert_eq!(fts_query("big OR cats*"), "\"big\"* AND \"OR\"* AND (\"cats\"* OR \"cat\"*)");
    }
}
