//! How do excerpts, which belong to no feature, lie in a feature database?

use super::foreign::{count, unfit};
use super::format::{from_json, json};
use super::read::Database;
use crate::error::InterpretError;
use crate::excerpts::{Excerpt, Excerpts};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// Writes excerpts with what fires in them.
pub(super) fn put(connection: &Connection, excerpts: &Excerpts) -> rusqlite::Result<()> {
    let mut insert = connection.prepare("INSERT INTO excerpts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (id, excerpt) in excerpts.all.iter().enumerate() {
        insert.execute(params![
            id as i64,
            excerpt.row as i64,
            excerpt.document,
            excerpt.position,
            excerpt.peak as i64,
            json(&excerpt.tokens)?,
        ])?;
    }
    let mut insert = connection.prepare("INSERT INTO firings VALUES (?1, ?2, ?3)")?;
    for ((feature, excerpt), activations) in &excerpts.firings {
        let bytes: Vec<u8> = activations.iter().flat_map(|activation| activation.to_le_bytes()).collect();
        insert.execute(params![*feature as i64, *excerpt as i64, bytes])?;
    }
    Ok(())
}

impl Database {
    /// The excerpts, by their numbers.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn excerpts(&self) -> Result<Vec<Excerpt>, InterpretError> {
        self.budget.begin();
        let read = |row: &Row<'_>| {
            let excerpt = Excerpt {
                row: count(row, 0)?,
                document: row.get(1)?,
                position: row.get(2)?,
                peak: count(row, 3)? as usize,
                tokens: from_json(row, 4)?,
            };
            match excerpt.peak < excerpt.tokens.len() {
                true => Ok(excerpt),
                false => {
                    Err(unfit(3, format!("an excerpt of {} tokens has peak {}", excerpt.tokens.len(), excerpt.peak)))
                }
            }
        };
        let all = || {
            let sql = "SELECT row, document, position, peak, tokens FROM excerpts ORDER BY id";
            self.connection.prepare(sql)?.query_map([], read)?.collect::<rusqlite::Result<_>>()
        };
        all().map_err(self.fail())
    }

    /// The excerpts in which a feature fires, with its activation at each token.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn firings_of(&self, feature: usize) -> Result<BTreeMap<usize, Vec<f32>>, InterpretError> {
        self.budget.begin();
        let read = |row: &Row<'_>| {
            let bytes: Vec<u8> = row.get(1)?;
            let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Ok((count(row, 0)? as usize, values.collect()))
        };
        let all = || {
            let sql = "SELECT excerpt, activations FROM firings WHERE feature = ?1";
            let mut select = self.connection.prepare_cached(sql)?;
            select.query_map([feature as i64], read)?.collect::<rusqlite::Result<_>>()
        };
        all().map_err(self.fail())
    }
}
