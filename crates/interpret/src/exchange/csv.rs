//! A line for each feature: statistics, and of every kind the label that is shown first, with its scores.

use super::files::write as write_file;
use crate::database::Database;
use crate::error::InterpretError;
use std::collections::BTreeSet;
use std::path::Path;
use untangle_schema::{FeatureCard, Label, LabelKind};

const KINDS: [LabelKind; 2] = [LabelKind::Input, LabelKind::Output];
/// Tokens of a cell.
const TOKENS: usize = 8;

pub(super) fn write(
    database: &Database,
    root: &Path,
    advance: &mut dyn FnMut(usize) -> Result<(), InterpretError>,
) -> Result<usize, InterpretError> {
    let scorers: BTreeSet<String> = database.scorers()?.into_iter().collect();
    let scorers: Vec<String> = scorers.into_iter().collect();
    let mut text = head(&scorers);
    for feature in 0..database.n_features()? {
        text.push_str(&row(&database.card(feature)?, &scorers));
        advance(1)?;
    }
    write_file(root, "features.csv", text.as_bytes())?;
    Ok(1)
}

fn head(scorers: &[String]) -> String {
    let mut cells =
        ["feature", "density", "max_activation", "mean_activation", "raises", "lowers"].map(str::to_owned).to_vec();
    for kind in KINDS {
        cells.extend(["label", "source"].map(|what| format!("{}_{what}", kind.name())));
        cells.extend(scorers.iter().map(|scorer| format!("{}_{scorer}", kind.name())));
    }
    line(&cells)
}

fn row(card: &FeatureCard, scorers: &[String]) -> String {
    let tokens = |effects: &[untangle_schema::LogitEffect]| {
        effects.iter().take(TOKENS).map(|effect| effect.token.as_str()).collect::<Vec<_>>().join(" | ")
    };
    let mut cells = vec![
        card.feature.to_string(),
        card.density.to_string(),
        card.max_activation.to_string(),
        card.mean_activation.to_string(),
        tokens(&card.top_logits),
        tokens(&card.bottom_logits),
    ];
    for kind in KINDS {
        let label = card.labels.iter().find(|label| label.kind == kind);
        cells.push(label.map_or_else(String::new, |label| label.text.clone()));
        cells.push(label.map_or_else(String::new, |label| label.source.clone()));
        let score =
            |scorer: &String| label.and_then(|label: &Label| label.score(scorer)).map(|score| score.value.to_string());
        cells.extend(scorers.iter().map(|scorer| score(scorer).unwrap_or_default()));
    }
    line(&cells)
}

/// Cells as RFC 4180 has them. A cell that a table program would take for a formula is begun with an apostrophe, which such programs
/// take for "this is text".
fn line(cells: &[String]) -> String {
    let cell = |cell: &String| {
        let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
        let cell = if is_formula { format!("'{cell}") } else { cell.clone() };
        match cell.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell,
        }
    };
    cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let cells = ["a", "b,c", "say \"x\"", "=1+1", "-0.5", "two\nlines"].map(str::to_owned);
        assert_eq!(line(&cells), "a,\"b,c\",\"say \"\"x\"\"\",'=1+1,-0.5,\"two\nlines\"\r\n");
    }
}
