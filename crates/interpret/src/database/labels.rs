//! How do labels and their scores lie in a feature database?

use super::foreign::{count, finite, finite_or_none, unfit};
use super::format::{from_json, json};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};
use untangle_schema::{Label, LabelKind, Score};

/// Which label of a feature is shown where one is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice<'a> {
    /// One of this source.
    pub(super) source: Option<&'a str>,
    /// One of this kind.
    pub(super) kind: Option<LabelKind>,
    /// The one of which this scorer thinks best, where it has scored one.
    pub(super) scorer: Option<&'a str>,
}

impl Choice<'_> {
    /// Joins to features `f` the label `l` that is chosen, with its F1, `b.value`, and what the scorer says of it, `s.value` and
    /// `s.floor`; none where there is none. The order is that of [`Label::rank`]; the names of the kinds sort as the kinds do. Looked up
    /// feature by feature: gathered for all first, it would cost a query of a few features as much as one of all. Returns the
    /// values that it names, too.
    pub(super) fn join(&self) -> (&'static str, [Value; 4]) {
        let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.to_owned()));
        let (source, kind, scorer) = (text(self.source), text(self.kind.map(|kind| kind.name())), text(self.scorer));
        let join = "LEFT JOIN labels l ON l.feature = f.id AND (l.kind, l.source) = (SELECT m.kind, m.source FROM labels m
                LEFT JOIN scores t ON t.feature = m.feature AND t.kind = m.kind AND t.source = m.source AND t.scorer = 'f1'
                LEFT JOIN scores v ON v.feature = m.feature AND v.kind = m.kind AND v.source = m.source AND v.scorer = ?
                WHERE m.feature = f.id AND m.source = coalesce(?, m.source) AND m.kind = coalesce(?, m.kind)
                ORDER BY v.value DESC NULLS LAST, m.kind, t.value DESC NULLS LAST, m.source LIMIT 1)
            LEFT JOIN scores b ON b.feature = l.feature AND b.kind = l.kind AND b.source = l.source AND b.scorer = 'f1'
            LEFT JOIN scores s ON s.feature = l.feature AND s.kind = l.kind AND s.source = l.source AND s.scorer = ?";
        (join, [scorer.clone(), source, kind, scorer])
    }
}

/// Writes a label with its scores, in place of one of the same kind and source.
pub(super) fn put(connection: &Connection, feature: i64, label: &Label) -> rusqlite::Result<()> {
    let (kind, source) = (label.kind.name(), &label.source);
    let key = params![feature, kind, source];
    connection.prepare_cached("DELETE FROM scores WHERE feature = ?1 AND kind = ?2 AND source = ?3")?.execute(key)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO labels VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![feature, kind, source, label.text])?;
    let mut insert =
        connection.prepare_cached("INSERT INTO scores VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?;
    for score in &label.scores {
        let (low, high) = score.interval.unzip();
        insert.execute(params![
            feature,
            kind,
            source,
            score.scorer,
            score.value,
            low,
            high,
            score.floor,
            score.control,
            score.n as i64,
            json(&score.detail)?,
            score.judge,
        ])?;
    }
    Ok(())
}

/// All labels of a feature, the one to show first coming first.
pub(super) fn read(connection: &Connection, feature: i64) -> rusqlite::Result<Vec<Label>> {
    let mut select = connection.prepare_cached("SELECT kind, source, text FROM labels WHERE feature = ?1")?;
    let read = |row: &Row<'_>| {
        let kind: String = row.get(0)?;
        let kind = LabelKind::named(&kind).ok_or_else(|| unfit(0, format!("{kind:?} is no kind of label")))?;
        Ok(Label { kind, source: row.get(1)?, text: row.get(2)?, scores: Vec::new() })
    };
    let mut labels = select.query_map([feature], read)?.collect::<rusqlite::Result<Vec<Label>>>()?;
    for label in &mut labels {
        label.scores = scores(connection, feature, label)?;
    }
    labels.sort_by(Label::rank);
    Ok(labels)
}

fn scores(connection: &Connection, feature: i64, label: &Label) -> rusqlite::Result<Vec<Score>> {
    let mut select = connection.prepare_cached(
        "SELECT scorer, value, low, high, floor, control, n, detail, judge FROM scores
         WHERE feature = ?1 AND kind = ?2 AND source = ?3 ORDER BY scorer",
    )?;
    let read = |row: &Row<'_>| {
        Ok(Score {
            scorer: row.get(0)?,
            value: finite(row, 1)?,
            interval: finite_or_none(row, 2)?.zip(finite_or_none(row, 3)?),
            floor: finite_or_none(row, 4)?,
            control: finite_or_none(row, 5)?,
            n: count(row, 6)?,
            detail: from_json(row, 7)?,
            judge: row.get(8)?,
        })
    };
    select.query_map(params![feature, label.kind.name(), label.source], read)?.collect()
}

/// The texts of a feature's labels, as the search has them; none where it has none.
pub(super) fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    texts.map(str::to_owned).reduce(|all, text| all + " | " + &text)
}
