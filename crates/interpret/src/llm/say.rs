//! Does turning the feature up make the studied model write what the output label says?
//!
//! The model writes behind the openings of texts in which the feature does not fire: with the feature turned up, as far as
//! [`crate::saying`] turns it; and without, every second time with another feature turned up as far, because what is turned up reads
//! oddly whatever it is. A judge who knows the label says which are which. Both texts of an opening are drawn with the same numbers, and
//! the opening is not shown.
//!
//! - `intervention`: balanced accuracy; its floor is one half, its control the output label of another feature

use super::judge::{Item, mixed};
use super::material::{FEWEST, JUDGED};
use super::prompts::one_line;
use super::work::Work;
use crate::error::InterpretError;
use crate::hash::mix;
use crate::read::Reader;
use crate::saying::AMPLIFIED;
use crate::steer::{Dictionary, Edit, Operator, Steering, Step};
use std::ops::ControlFlow;
use untangle_model::generate::GenerateOptions;
use untangle_model::{Sampling, TextRequest, generate_texts};

/// Tokens of an opening.
const OPENING: usize = 8;
/// Tokens that are written behind it: as many as show a habit, and few enough to be cheap.
const WRITTEN: usize = 16;

/// A text that is to be written.
struct Row {
    prompt: Vec<u32>,
    seed: u64,
    /// What is turned up, and how strongly it fires at most.
    up: Option<(usize, f32)>,
    truth: bool,
}

/// Texts that the studied model wrote with the feature turned up and without, in an order that tells nothing; none where there are too
/// few openings. `other` is another feature.
pub(super) fn items(
    reader: &Reader<'_>,
    work: &Work,
    other: Option<(usize, f32)>,
    seed: u64,
) -> Result<Vec<Item>, InterpretError> {
    let mut rows = rows(reader, work, other, seed)?;
    if rows.len() < 2 * FEWEST || work.card.max_activation <= 0.0 {
        return Ok(Vec::new());
    }
    let mut items = Vec::with_capacity(rows.len());
    // Texts of models with angles of their own for long ones pass with those of the same length alone.
    rows.sort_by_key(|row| row.prompt.len());
    for rows in rows.chunk_by(|a, b| a.prompt.len() == b.prompt.len()) {
        items.extend(written(reader, rows)?);
    }
    Ok(mixed(items, seed))
}

fn rows(reader: &Reader<'_>, work: &Work, other: Option<(usize, f32)>, seed: u64) -> Result<Vec<Row>, InterpretError> {
    let own = (work.card.feature, work.card.max_activation);
    let mut rows = Vec::new();
    for (at, piece) in work.material.silent.iter().take(JUDGED).enumerate() {
        let (mut prompt, _) = reader.tokens(&piece.tokens.concat())?;
        prompt.truncate(OPENING);
        if prompt.is_empty() {
            continue;
        }
        let seed = mix(seed ^ mix(at as u64 + 1));
        let without = if at % 2 == 0 { None } else { other };
        rows.push(Row { prompt: prompt.clone(), seed, up: Some(own), truth: true });
        rows.push(Row { prompt, seed, up: without, truth: false });
    }
    Ok(rows)
}

/// Writes texts whose prompts are of the same length.
fn written(reader: &Reader<'_>, rows: &[Row]) -> Result<Vec<Item>, InterpretError> {
    let (model, sae) = (reader.model(), reader.sae());
    let request = |row: &Row| TextRequest {
        prompt: row.prompt.clone(),
        options: GenerateOptions {
            max_new_tokens: WRITTEN,
            sampling: Sampling::at(1.0),
            seed: row.seed,
            stop_at_eos: true,
        },
        stop: Vec::new(),
    };
    let step = |(feature, max): (usize, f32)| Step::from(Edit { feature, operator: Operator::Add(AMPLIFIED * max) });
    let steps: Vec<Vec<Step>> = rows.iter().map(|row| row.up.map(step).into_iter().collect()).collect();
    let sets: Vec<&[Step]> = steps.iter().map(Vec::as_slice).collect();
    let dictionaries = [Dictionary::only(sae)];
    let mut hook = Steering::by_row(model, &dictionaries, &sets)?.everywhere();
    let requests: Vec<TextRequest> = rows.iter().map(request).collect();
    let texts = generate_texts(model, &requests, &mut hook, &mut |_, _| ControlFlow::Continue(()))?;
    let text = |text: &str| if text.trim().is_empty() { "(nothing)".to_owned() } else { one_line(text) };
    Ok(rows.iter().zip(texts).map(|(row, written)| Item { text: text(&written.text), truth: row.truth }).collect())
}
