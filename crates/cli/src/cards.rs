//! Feature cards as text: label, where the feature fires, what it writes, what is near.

use crate::canvas::{Canvas, Ink, cut};
use std::collections::BTreeMap;
use std::io::{self, Write};
use untangle_interpret::database::{Run, Summary};
use untangle_schema::label::F1;
use untangle_schema::{Example, FeatureCard, Label, LogitEffect, Nearness, Score};

/// How much of a card is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detail {
    /// Strongest examples.
    pub(crate) examples: usize,
    /// Tokens before and after the peak of an example.
    pub(crate) around: usize,
    /// Raised and lowered tokens.
    pub(crate) logits: usize,
    /// Neighbours of each kind.
    pub(crate) neighbours: usize,
    /// Places where near features fire and this one is silent.
    pub(crate) near_misses: usize,
}

/// A card, and what the features are called that it speaks of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) card: &'a FeatureCard,
    pub(crate) labels: &'a BTreeMap<usize, String>,
    pub(crate) run: &'a Run,
}

/// Draws one card.
pub(crate) fn draw_card(canvas: &mut Canvas<'_>, shown: &Shown<'_>, detail: Detail) -> io::Result<()> {
    let card = shown.card;
    let name = format!("feature {}: ", card.feature);
    canvas.paint(Ink::Bold, &name)?;
    match card.labels.split_first() {
        None => writeln!(canvas, "no label")?,
        Some((first, others)) => {
            writeln!(canvas, "{}{}", one_line(&first.text), measured(first))?;
            draw_frozen(canvas, first, shown.run)?;
            for label in others {
                let (kind, source, text) = (label.kind.name(), &label.source, one_line(&label.text));
                writeln!(canvas, "  {kind} label ({source}): {text}{}", measured(label))?;
            }
        }
    }
    let density = percent(card.density);
    writeln!(canvas, "  fires on {density} of tokens, at most {:.2}", card.max_activation)?;
    for example in card.examples.iter().take(detail.examples) {
        write!(canvas, "  {:>7.2}  ", example.activation)?;
        draw_example(canvas, example, detail.around, card.max_activation)?;
    }
    for near in card.near_misses.iter().take(detail.near_misses) {
        write!(canvas, "   silent  ")?;
        writeln!(canvas, "{}", near_text(&near.example, detail.around))?;
        let label = shown.labels.get(&near.by).map(|label| format!(": {label}")).unwrap_or_default();
        let line = format!("           where feature {} fires{label}", near.by);
        writeln!(canvas, "{}", cut(&line, canvas.width()))?;
    }
    draw_sharing(canvas, card, shown.run)?;
    write_logits(canvas, "raises", &card.top_logits, detail.logits)?;
    write_logits(canvas, "lowers", &card.bottom_logits, detail.logits)?;
    Nearness::ALL.into_iter().try_for_each(|kind| draw_neighbours(canvas, shown, kind, detail.neighbours))
}

/// What the same scores are worth where nothing was learned.
fn draw_frozen(canvas: &mut Canvas<'_>, label: &Label, run: &Run) -> io::Result<()> {
    let Some(frozen) = &run.frozen else { return Ok(()) };
    let below =
        |score: &Score| Some(format!("{} of {:.0} %", score.scorer, 100.0 * frozen.below(&score.scorer, score.value)?));
    let all: Vec<String> = label.scores.iter().filter_map(below).collect();
    match all.is_empty() {
        true => Ok(()),
        false => {
            writeln!(canvas, "  more than the {} of the labels of the frozen {}", all.join(" and the "), frozen.sae)
        }
    }
}

/// How much of a crosscoder's feature is in which part.
fn draw_sharing(canvas: &mut Canvas<'_>, card: &FeatureCard, run: &Run) -> io::Result<()> {
    let Some(sharing) = &card.sharing else { return Ok(()) };
    writeln!(canvas, "  shared by the parts: {}", sharing.kind)?;
    for (part, share) in sharing.shares.iter().enumerate() {
        let name = run.parts.get(part).map_or("", String::as_str);
        let cosine = part.checked_sub(1).and_then(|at| sharing.cosines.get(at).copied().flatten());
        let cosine = cosine.map(|cosine| format!(", cosine with part 1 {cosine:.2}")).unwrap_or_default();
        writeln!(canvas, "    {:>5.1} % part {}, {name}{cosine}", 100.0 * share, part + 1)?;
    }
    Ok(())
}

/// The nearest of a kind, each on a line.
fn draw_neighbours(canvas: &mut Canvas<'_>, shown: &Shown<'_>, kind: Nearness, n: usize) -> io::Result<()> {
    let verb = match kind {
        Nearness::Decoder => "writes like",
        Nearness::Coactivation => "fires with",
    };
    for (rank, near) in shown.card.neighbours.iter().filter(|near| near.kind == kind).take(n).enumerate() {
        let verb = if rank == 0 { verb } else { "" };
        let room = canvas.width().saturating_sub(29);
        let label = cut(shown.labels.get(&near.feature).map_or("", String::as_str), room);
        let line = format!("  {verb:<11}{:>7}  {:>5.2}  {label}", near.feature, near.value);
        writeln!(canvas, "{}", line.trim_end())?;
    }
    Ok(())
}

/// How well a label holds, behind it.
fn measured(label: &Label) -> String {
    let one = |score: &Score| {
        let interval = score.interval.map_or_else(String::new, |(low, high)| format!(" [{low:.2}, {high:.2}]"));
        match score.scorer.as_str() {
            F1 => format!("F1 {:.2}{interval} on held-out text", score.value),
            // A score that saying nothing nearly reaches is none without that beside it.
            other => match score.floor.filter(|floor| *floor > 0.0 && 2.0 * floor > score.value) {
                Some(floor) => format!("{other} {:.2}{interval}, saying nothing {floor:.2}", score.value),
                None => format!("{other} {:.2}{interval}", score.value),
            },
        }
    };
    let all: Vec<String> = label.scores.iter().map(one).collect();
    if all.is_empty() { String::new() } else { format!("  ({})", all.join(", ")) }
}

/// A part of all tokens: `0.71 %`, and `0.00018 %` where two decimals would say that there are none.
fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    let decimals = if percent > 0.0 { (1 - percent.log10().floor() as i32).max(2) as usize } else { 2 };
    format!("{percent:.decimals$} %")
}

/// Cells of a line in a list of features; the first row is the head.
pub(crate) fn summary_rows(summaries: &[Summary]) -> Vec<Vec<String>> {
    let head = ["feature", "fires on", "max", "F1", "label"].map(str::to_owned).to_vec();
    let row = |summary: &Summary| {
        vec![
            summary.feature.to_string(),
            percent(summary.density),
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

/// The tokens around the peak, each with how strongly the feature fires on it, and whether there is more text before and
/// behind them.
fn around_peak(example: &Example, around: usize) -> (Vec<(String, f32)>, bool, bool) {
    let first = example.peak.saturating_sub(around);
    let last = (example.peak + around + 1).min(example.tokens.len());
    let activation = |index: usize| example.activations.get(index).copied().unwrap_or(0.0);
    let mut pieces: Vec<_> = (first..last).map(|at| (one_line(&example.tokens[at]), activation(at))).collect();
    // No blanks at the ends, as far as the tokens there are anything else.
    if let Some((text, _)) = pieces.first_mut() {
        *text = text.trim_start().to_owned();
    }
    if let Some((text, _)) = pieces.last_mut() {
        *text = text.trim_end().to_owned();
    }
    (pieces, first > 0, last < example.tokens.len())
}

/// The window around the peak on one line, each token on which the feature fires in brackets.
pub(crate) fn example_text(example: &Example, around: usize) -> String {
    let (pieces, before, after) = around_peak(example, around);
    let piece = |(token, activation): &(String, f32)| if *activation > 0.0 { bracketed(token) } else { token.clone() };
    let text: String = pieces.iter().map(piece).collect();
    format!("{}{text}{}", if before { "…" } else { "" }, if after { "…" } else { "" })
}

/// The window around a place where the feature is silent and another one fires, which is marked.
fn near_text(example: &Example, around: usize) -> String {
    let (pieces, before, after) = around_peak(example, around);
    let peak = example.peak.min(around);
    let piece = |(at, (token, _)): (usize, &(String, f32))| {
        let word = token.trim_start();
        if at != peak || word.is_empty() {
            token.clone()
        } else {
            format!("{}‹{word}›", &token[..token.len() - word.len()])
        }
    };
    let text: String = pieces.iter().enumerate().map(piece).collect();
    format!("{}{text}{}", if before { "…" } else { "" }, if after { "…" } else { "" })
}

/// The same with colours for brackets, the deeper the stronger, where there are colours. `most` is the largest activation.
pub(crate) fn draw_example(canvas: &mut Canvas<'_>, example: &Example, around: usize, most: f32) -> io::Result<()> {
    if !canvas.has_colour() {
        return writeln!(canvas, "{}", example_text(example, around));
    }
    let (pieces, before, after) = around_peak(example, around);
    write!(canvas, "{}", if before { "…" } else { "" })?;
    for (token, activation) in pieces {
        // The blank before a word is not the word's.
        let word = if token.trim().is_empty() { &token[..] } else { token.trim_start() };
        write!(canvas, "{}", &token[..token.len() - word.len()])?;
        canvas.paint(Ink::of(activation / most), word)?;
    }
    writeln!(canvas, "{}", if after { "…" } else { "" })
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
        assert_eq!(near_text(&example, 1), "…a ‹time›⏎…");
    }
}
