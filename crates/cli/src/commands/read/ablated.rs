//! What becomes of losses and predictions where features are taken out.

use super::named::Named;
use super::tokens::{TOKEN, token_text};
use crate::canvas::{Canvas, Ink, cut, fitted};
use std::io::{self, Write};
use untangle_interpret::read::{AblatedToken, Ablation, Change, Reading};

/// Columns before the next tokens.
const BEFORE: usize = TOKEN + 30;
/// Changes of probability that are smaller are not told.
const TOLD: f64 = 0.005;
/// Columns of a token that may come next.
const NEXT: usize = 12;

/// Draws the ablation of `reading`, which is that of the text `name` where there are several.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    reading: &Reading,
    ablation: &Ablation,
    name: Option<&str>,
    named: &Named,
) -> io::Result<()> {
    let of = name.map_or(String::new(), |name| format!(" of {name}"));
    writeln!(canvas, "\ntaken out{of}:")?;
    for feature in &ablation.features {
        let room = canvas.width().saturating_sub(9);
        writeln!(canvas, "{feature:>7}  {}", cut(named.label(*feature), room))?;
    }
    match ablation.tokens.iter().any(|token| !token.taken.is_empty()) {
        false => return writeln!(canvas, "nothing of that fires here, so nothing changes"),
        true => summary(canvas, ablation)?,
    }
    let head = format!("\n{:TOKEN$}{:>8}  {:<13}{:>7}  likeliest next", "token", "taken", "loss", "change");
    canvas.paint(Ink::Soft, &head)?;
    writeln!(canvas)?;
    for (token, ablated) in reading.tokens.iter().zip(&ablation.tokens) {
        canvas.paint(if token.special { Ink::Soft } else { Ink::Bold }, &fitted(&token_text(&token.text), TOKEN))?;
        draw_token(canvas, ablated, named)?;
    }
    Ok(())
}

fn summary(canvas: &mut Canvas<'_>, ablation: &Ablation) -> io::Result<()> {
    let kl = ablation.mean_kl;
    match ablation.mean_loss.zip(ablation.mean_ablated_loss) {
        None => writeln!(canvas, "predictions move by {kl:.3} nats (KL)"),
        Some((before, after)) => writeln!(
            canvas,
            "loss {before:.3} → {after:.3} nats a token ({:+.3}); predictions move by {kl:.3} nats (KL)",
            after - before
        ),
    }
}

fn draw_token(canvas: &mut Canvas<'_>, token: &AblatedToken, named: &Named) -> io::Result<()> {
    let strongest = token.taken.iter().max_by(|a, b| a.activation.abs().total_cmp(&b.activation.abs()));
    let part = strongest.map_or(0.0, |active| named.part(active.feature, active.activation));
    let taken: f32 = token.taken.iter().map(|active| active.activation).sum();
    let text = if token.taken.is_empty() { String::new() } else { format!("{taken:.2}") };
    let next = next_text(&token.next, canvas.width().saturating_sub(BEFORE));
    if text.is_empty() && token.loss.is_none() && next.is_empty() {
        return writeln!(canvas);
    }
    write!(canvas, "{:1$}", "", 8_usize.saturating_sub(text.chars().count()))?;
    canvas.paint(Ink::of(part), &text)?;
    let Some((before, after)) = token.loss.zip(token.ablated_loss) else {
        return writeln!(canvas, "{:22}{next}", "");
    };
    write!(canvas, "  {:<13}", format!("{before:.2} → {after:.2}"))?;
    let change = after - before;
    let told = if change.abs() < 0.005 { "·".to_owned() } else { format!("{change:+.2}") };
    canvas.paint(if change.abs() >= 0.1 { Ink::Bold } else { Ink::Plain }, &format!("{told:>7}"))?;
    writeln!(canvas, "{next}")
}

/// What changed of the prediction, as much as fits into `room` columns, two blanks before it.
fn next_text(next: &[Change], room: usize) -> String {
    let told = next.iter().filter(|change| (change.after - change.before).abs() >= TOLD);
    let mut line = String::new();
    for text in told.map(change_text) {
        if line.chars().count() + 2 + text.chars().count() > room {
            break;
        }
        line += &format!("  {text}");
    }
    line
}

fn change_text(change: &Change) -> String {
    let percent = |p: f64| format!("{:.0}", 100.0 * p);
    format!("{} {} → {} %", cut(&format!("{:?}", change.token), NEXT), percent(change.before), percent(change.after))
}
