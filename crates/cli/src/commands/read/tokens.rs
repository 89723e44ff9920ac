//! One prompt, token by token.

use super::named::Named;
use super::told::{By, Read, Told};
use crate::canvas::{Canvas, Ink, bar, cut, fitted, fitted_right};
use crate::cards::one_line;
use std::io::{self, Write};
use untangle_interpret::read::reading::Strongest;
use untangle_interpret::read::{Active, ReadToken, Reading};

/// Columns of a token.
pub(super) const TOKEN: usize = 12;
/// Columns of a bar.
const BAR: usize = 6;
/// Columns before a token's features.
const BEFORE: usize = TOKEN + 22;
/// Features of the whole prompt that are listed.
const STRONGEST: usize = 10;
/// Next tokens that are named behind the prompt.
const NEXT: usize = 4;

pub(super) fn draw(canvas: &mut Canvas<'_>, read: &Read, told: &Told) -> io::Result<()> {
    let (reading, named) = (&read.reading, &told.named);
    means(canvas, reading)?;
    writeln!(canvas)?;
    let whole = named.whole();
    let head = format!(
        "{:TOKEN$}{:>6}{:>7}{:>9}{:>8}  {whole:<BAR$}{:>7}  label",
        "token", "loss", "+sae", "missing", "fires", "id"
    );
    canvas.paint(Ink::Soft, head.trim_end())?;
    writeln!(canvas)?;
    for token in &reading.tokens {
        draw_token(canvas, token, told.top, named)?;
    }
    next(canvas, reading)?;
    strongest(canvas, reading, told)?;
    let legend = [
        "loss: nats that the model loses on the token; +sae: what it loses more with the reconstruction in",
        "the activation's place; missing: part of the activation's squared length not reconstructed",
    ];
    writeln!(canvas)?;
    for line in wrapped(&legend.join(" "), canvas.width()) {
        canvas.paint(Ink::Soft, &line)?;
        writeln!(canvas)?;
    }
    Ok(())
}

/// Words in lines of at most `width` columns.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What a whole prompt costs.
pub(super) fn means(canvas: &mut Canvas<'_>, reading: &Reading) -> io::Result<()> {
    let n = reading.tokens.len();
    let loss = match reading.mean_loss.zip(reading.mean_spliced_loss) {
        None => "nothing to predict".to_owned(),
        Some((loss, spliced)) => format!("{loss:.3} nats a token, {:+.3} when reconstructed", spliced - loss),
    };
    let missing = reading.missing.map_or(String::new(), |missing| format!("; {:.2} % missing", 100.0 * missing));
    writeln!(canvas, "{n} {}: {loss}{missing}", if n == 1 { "token" } else { "tokens" })
}

/// A token as a table shows it: its blanks and breaks can be seen.
pub(super) fn token_text(text: &str) -> String {
    let shown = one_line(text);
    match shown.strip_prefix(' ') {
        Some("") => "␣".to_owned(),
        _ => shown,
    }
}

fn draw_token(canvas: &mut Canvas<'_>, token: &ReadToken, top: usize, named: &Named) -> io::Result<()> {
    let number = |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
    let more = token.spliced_loss.zip(token.loss).map(|(spliced, loss)| format!("{:+.2}", spliced - loss));
    let missing = token.missing.map(|missing| format!("{:.1} %", 100.0 * missing)).unwrap_or_default();
    let shown = fitted(&token_text(&token.text), TOKEN);
    canvas.paint(if token.special { Ink::Soft } else { Ink::Bold }, &shown)?;
    write!(canvas, "{:>6}{:>7}{missing:>9}", number(token.loss, 2), more.unwrap_or_default())?;
    let mut first = true;
    for active in token.features.iter().take(top) {
        if !first {
            write!(canvas, "{:1$}", "", BEFORE)?;
        }
        first = false;
        draw_active(canvas, *active, named)?;
        writeln!(canvas)?;
    }
    if first {
        match token.special {
            true => canvas.paint(Ink::Soft, "  special, left alone")?,
            false => canvas.paint(Ink::Soft, "  nothing fires")?,
        }
        writeln!(canvas)?;
    }
    Ok(())
}

/// A feature with its strength, in what is left of a line behind [`BEFORE`] columns.
fn draw_active(canvas: &mut Canvas<'_>, active: Active, named: &Named) -> io::Result<()> {
    let Active { feature, activation } = active;
    let part = named.part(feature, activation);
    write!(canvas, "{activation:>8.2}  ")?;
    canvas.paint(Ink::of(part).as_bar(), &bar(part, BAR))?;
    write!(canvas, "{feature:>7}  ")?;
    let room = canvas.width().saturating_sub(BEFORE + 8 + 2 + BAR + 7 + 2);
    write!(canvas, "{}", cut(named.label(feature), room))
}

/// What the model expects behind the prompt.
fn next(canvas: &mut Canvas<'_>, reading: &Reading) -> io::Result<()> {
    let Some(last) = reading.tokens.last() else { return Ok(()) };
    let likely = |next: &untangle_interpret::read::Likely| {
        format!("{} {:.0} %", cut(&format!("{:?}", next.token), 16), 100.0 * next.probability)
    };
    let all: Vec<String> = last.next.iter().take(NEXT).map(likely).collect();
    writeln!(canvas, "next: {}", all.join(", "))
}

/// The features of the whole prompt.
fn strongest(canvas: &mut Canvas<'_>, reading: &Reading, told: &Told) -> io::Result<()> {
    let named = &told.named;
    let mut all = reading.strongest();
    if told.by == By::Share {
        all.sort_by(|a, b| named.part(b.feature, b.activation).total_cmp(&named.part(a.feature, a.activation)));
    }
    writeln!(canvas, "\nstrongest of {} features", all.len())?;
    for Strongest { feature, activation, at, tokens } in all.iter().take(STRONGEST).copied() {
        let part = named.part(feature, activation);
        write!(canvas, "{feature:>7} {activation:>8.2}  ")?;
        canvas.paint(Ink::of(part).as_bar(), &bar(part, BAR))?;
        let more = if tokens > 1 { format!("+{}", tokens - 1) } else { String::new() };
        let place = format!("  at {} {}", fitted(&token_text(&reading.tokens[at].text), TOKEN), fitted_right(&more, 4));
        let room = canvas.width().saturating_sub(18 + BAR + place.chars().count() + 2);
        writeln!(canvas, "{place}  {}", cut(named.label(feature), room))?;
    }
    Ok(())
}
