//! Two prompts beside each other, by what differs.

use super::tokens::{TOKEN, means, token_text};
use super::told::{Read, Told};
use crate::canvas::{Canvas, Ink, cut, fitted, fitted_right};
use crate::cards::one_line;
use std::io::{self, Write};
use untangle_interpret::read::{Active, Contrast, Difference, Pair, Peak, Reading};

/// Features that are listed.
const LISTED: usize = 12;
/// Activations that differ by less than this part of the larger one count as the same.
const SAME: f32 = 0.1;

pub(super) fn draw(canvas: &mut Canvas<'_>, contrast: &Contrast, told: &Told) -> io::Result<()> {
    let [a, b] = &told.read[..] else { return Ok(()) };
    for (read, name, ink) in [(a, "A", Ink::First), (b, "B", Ink::Second)] {
        writeln!(canvas)?;
        canvas.paint(ink, name)?;
        let room = canvas.width().saturating_sub(3);
        writeln!(canvas, "  {}", cut(&one_line(&read.prompt), room))?;
        write!(canvas, "   ")?;
        means(canvas, &read.reading)?;
    }
    features(canvas, contrast, (&a.reading, &b.reading), told)?;
    tokens(canvas, contrast, a, b, told)
}

/// The features that tell the prompts apart, wherever they are strongest.
fn features(canvas: &mut Canvas<'_>, contrast: &Contrast, (a, b): (&Reading, &Reading), told: &Told) -> io::Result<()> {
    let differing = contrast.features.iter().filter(|d| differ(d.a.activation, d.b.activation)).count();
    if differing == 0 {
        return writeln!(canvas, "\nnone of {} features differs", contrast.features.len());
    }
    writeln!(canvas, "\n{differing} of {} features differ; most by", contrast.features.len())?;
    let head = format!("{:>7} {:>8} {:TOKEN$} {:>8} {:TOKEN$} label", "id", "A", "at", "B", "at");
    canvas.paint(Ink::Soft, &head)?;
    writeln!(canvas)?;
    let those = contrast.features.iter().filter(|d| differ(d.a.activation, d.b.activation));
    for Difference { feature, a: in_a, b: in_b, .. } in those.take(LISTED) {
        write!(canvas, "{feature:>7}")?;
        for (peak, other, reading, ink) in [(in_a, in_b, a, Ink::First), (in_b, in_a, b, Ink::Second)] {
            let ink = if peak.activation.abs() > other.activation.abs() { ink } else { Ink::Plain };
            canvas.paint(ink, &format!(" {:>8} ", activation(peak.activation)))?;
            write!(canvas, "{}", fitted(&place(peak, reading), TOKEN))?;
        }
        let room = canvas.width().saturating_sub(7 + 2 * (10 + TOKEN) + 1);
        writeln!(canvas, " {}", cut(told.named.label(*feature), room))?;
    }
    Ok(())
}

fn place(peak: &Peak, reading: &Reading) -> String {
    peak.at.map_or(String::new(), |at| token_text(&reading.tokens[at].text))
}

fn activation(value: f32) -> String {
    if value == 0.0 { "-".to_owned() } else { format!("{value:.2}") }
}

/// Whether two activations are not the same.
fn differ(a: f32, b: f32) -> bool {
    (a - b).abs() > SAME * a.abs().max(b.abs())
}

/// The tokens side by side, each pair with the features that fire on one of them and not alike on the other.
fn tokens(canvas: &mut Canvas<'_>, contrast: &Contrast, a: &Read, b: &Read, told: &Told) -> io::Result<()> {
    writeln!(canvas)?;
    let head = format!("{:TOKEN$} {:TOKEN$} {:>7} {:>8} {:>8}  label", "A", "B", "id", "A", "B");
    canvas.paint(Ink::Soft, &head)?;
    writeln!(canvas)?;
    for Pair { a: at, b: bt } in &contrast.pairs {
        let alone = at.is_none() || bt.is_none();
        let (at, bt) = (at.map(|at| &a.reading.tokens[at]), bt.map(|bt| &b.reading.tokens[bt]));
        for (token, ink) in [(at, Ink::First), (bt, Ink::Second)] {
            let text = token.map_or(String::new(), |token| token_text(&token.text));
            canvas.paint(if alone { ink } else { Ink::Plain }, &fitted(&text, TOKEN))?;
            write!(canvas, " ")?;
        }
        let special = at.or(bt).is_some_and(|token| token.special);
        let features =
            |token: Option<&untangle_interpret::read::ReadToken>| token.map_or(Vec::new(), |t| t.features.clone());
        let rows = differences(&features(at), &features(bt));
        for (row, (feature, in_a, in_b)) in rows.iter().take(told.top).enumerate() {
            if row > 0 {
                write!(canvas, "{:1$}", "", 2 * (TOKEN + 1))?;
            }
            write!(canvas, "{feature:>7}")?;
            for (value, other, ink) in [(in_a, in_b, Ink::First), (in_b, in_a, Ink::Second)] {
                let ink = if value.abs() > other.abs() { ink } else { Ink::Plain };
                canvas.paint(ink, &format!(" {}", fitted_right(&activation(*value), 8)))?;
            }
            let room = canvas.width().saturating_sub(2 * (TOKEN + 1) + 7 + 18 + 2);
            writeln!(canvas, "  {}", cut(told.named.label(*feature), room))?;
        }
        if rows.is_empty() {
            canvas.paint(Ink::Soft, if special { "      special" } else { "      alike" })?;
            writeln!(canvas)?;
        }
    }
    Ok(())
}

/// Features whose activations on two tokens differ, by how much, most first.
fn differences(a: &[Active], b: &[Active]) -> Vec<(usize, f32, f32)> {
    let of =
        |all: &[Active], feature| all.iter().find(|active| active.feature == feature).map_or(0.0, |f| f.activation);
    let mut all: Vec<usize> = a.iter().chain(b).map(|active| active.feature).collect();
    all.sort_unstable();
    all.dedup();
    let both = |feature| (feature, of(a, feature), of(b, feature));
    let mut all: Vec<(usize, f32, f32)> = all.into_iter().map(both).filter(|(_, a, b)| differ(*a, *b)).collect();
    all.sort_by(|x, y| (y.1 - y.2).abs().total_cmp(&(x.1 - x.2).abs()).then(x.0.cmp(&y.0)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fires_alike_is_no_difference() {
        let active = |pairs: &[(usize, f32)]| -> Vec<Active> {
            pairs.iter().map(|&(feature, activation)| Active { feature, activation }).collect()
        };
        let found = differences(&active(&[(5, 10.0), (2, 4.0), (9, 1.0)]), &active(&[(5, 9.5), (9, 2.0), (1, 3.0)]));
        assert_eq!(found, [(2, 4.0, 0.0), (1, 0.0, 3.0), (9, 1.0, 2.0)]);
    }
}
