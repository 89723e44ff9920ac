//! Feature cards as text: label, where the feature fires, what it writes.

use std::io::{self, Write};
use untangle_interpret::database::Summary;
use untangle_schema::label::F1;
use untangle_schema::{Example, FeatureCard, Label, LogitEffect, Score};

/// How much of a card is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detail {
    /// Strongest examples.
    pub(crate) examples: usize,
    /// Tokens before and after the peak of an example.
    pub(crate) around: usize,
    /// Raised and lowered tokens.
    pub(crate) logits: usize,
}

/// Writes one card.
pub(crate) fn write_card(out: &mut dyn Write, card: &FeatureCard, detail: Detail) -> io::Result<()> {
    match card.labels.split_first() {
        None => writeln!(out, "feature {}: no label", card.feature)?,
        Some((first, others)) => {
            writeln!(out, "feature {}: {}{}", card.feature, first.text, measured(first))?;
            for label in others {
                let (kind, source, text) = (label.kind.name(), &label.source, &label.text);
                writeln!(out, "  {kind} label ({source}): {text}{}", measured(label))?;
            }
        }
    }
    let density = 100.0 * card.density;
    writeln!(out, "  fires on {density:.2} % of tokens, at most {:.2}", card.max_activation)?;
    for example in card.examples.iter().take(detail.examples) {
        writeln!(out, "  {:>7.2}  {}", example.activation, example_text(example, detail.around))?;
    }
    write_logits(out, "raises", &card.top_logits, detail.logits)?;
    write_logits(out, "lowers", &card.bottom_logits, detail.logits)
}

/// How well a label holds, behind it.
fn measured(label: &Label) -> String {
    let one = |score: &Score| match score.scorer.as_str() {
        F1 => format!("F1 {:.2} on held-out text", score.value),
        other => format!("{other} {:.2}", score.value),
    };
    let all: Vec<String> = label.scores.iter().map(one).collect();
    if all.is_empty() { String::new() } else { format!("  ({})", all.join(", ")) }
}

/// Cells of a line in a list of features; the first row is the head.
pub(crate) fn summary_rows(summaries: &[Summary]) -> Vec<Vec<String>> {
    let head = ["feature", "fires on", "max", "F1", "label"].map(str::to_owned).to_vec();
    let row = |summary: &Summary| {
        vec![
            summary.feature.to_string(),
            format!("{:.2} %", 100.0 * summary.density),
            format!("{:.2}", summary.max_activation),
            summary.label_score.map_or("-".to_owned(), |f1| format!("{f1:.2}")),
            summary.label.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    std::iter::once(head).chain(summaries.iter().map(row)).collect()
}

fn write_logits(out: &mut dyn Write, verb: &str, effects: &[LogitEffect], n: usize) -> io::Result<()> {
    if n == 0 || effects.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = effects.iter().take(n).map(|e| format!("{:?} {:+.2}", e.token, e.effect)).collect();
    writeln!(out, "  {verb}: {}", shown.join("  "))
}

/// The window around the peak on one line, each token on which the feature fires in brackets.
pub(crate) fn example_text(example: &Example, around: usize) -> String {
    let first = example.peak.saturating_sub(around);
    let last = (example.peak + around + 1).min(example.tokens.len());
    let mut text = String::new();
    for index in first..last {
        let token = one_line(&example.tokens[index]);
        let fires = example.activations.get(index).is_some_and(|&activation| activation > 0.0);
        text.push_str(&if fires { bracketed(&token) } else { token });
    }
    let before = if first > 0 { "…" } else { "" };
    let after = if last < example.tokens.len() { "…" } else { "" };
    format!("{before}{}{after}", text.trim())
}

/// ` cat` as ` [cat]`: the bracket stands at the word, not at the blank before it.
fn bracketed(token: &str) -> String {
    let word = token.trim_start();
    if word.is_empty() { format!("[{token}]") } else { format!("{}[{word}]", &token[..token.len() - word.len()]) }
}

/// Line breaks and tabs as visible signs.
pub(crate) fn one_line(text: &str) -> String {
    text.replace('\n', "⏎").replace('\t', "⇥").replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_marks_what_fires_and_stays_on_one_line() {
        let example = Example {
            row: 9,
            document: 0,
            position: 3,
            activation: 2.0,
            tokens: ["Once", " upon", " a", " time", "\n", "The"].map(str::to_owned).to_vec(),
            activations: vec![0.0, 0.0, 0.5, 2.0, 0.0, 0.0],
            peak: 3,
        };
        assert_eq!(example_text(&example, 10), "Once upon [a] [time]⏎The");
        assert_eq!(example_text(&example, 1), "…[a] [time]⏎…");
    }
}
