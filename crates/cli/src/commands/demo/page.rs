//! The demo as a page: what was found, in pictures, for somebody who opens it from disk.

use super::steps::Demo;
use super::story::{commands, plain, telling};
use super::turn::Turned;
use crate::commands::evaluate::Measured;
use untangle_interpret::steer::Arm;
use untangle_sae::metrics::fraction_text;
use untangle_schema::html::{LOOK, escaped};
use untangle_schema::{Example, FeatureCard, Label};
use untangle_store::ActivationSet;

const STYLE: &str = include_str!("page.css");
/// Examples of the feature that is turned up.
const EXAMPLES: usize = 3;
/// Tokens on either side of an example's peak.
const AROUND: usize = 24;

/// What the page tells of.
pub(super) struct Told<'a> {
    pub(super) demo: &'a Demo<'a>,
    pub(super) store: &'a ActivationSet,
    pub(super) measured: &'a Measured,
    pub(super) best: &'a [FeatureCard],
    pub(super) turned: &'a Turned,
    pub(super) also: &'a [Turned],
}

/// The whole page.
pub(super) fn html(told: &Told<'_>) -> String {
    let name = escaped(&told.demo.model.identity().name);
    let title = format!("What does {name} hold while it reads?");
    let body = [
        format!("<h1>{title}</h1>\n"),
        format!(
            "<p class=\"soft\">A sparse autoencoder untangled what passes <code>{}</code> into features; here is what some of \
             them are about, and what happens when one is turned up.</p>\n",
            escaped(&told.demo.hook.to_string())
        ),
        steps(told),
        features(told.best),
        steering(told.turned),
        told.also.iter().map(also).collect(),
        next(told),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{LOOK}{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn steps(told: &Told<'_>) -> String {
    let card = |name: &str, value: String, what: &str| format!("<li>{name}<b>{value}</b><small>{what}</small></li>\n");
    let e = &told.measured.evaluation;
    let lost = told.measured.ce.as_ref().map(|ce| {
        let what = "nats a token that the model loses when it goes on from the features alone";
        card("Cost", format!("{:.3}", ce.nats_lost), what)
    });
    [
        "<ol class=\"steps\">\n".to_owned(),
        card("Read", told.store.n_rows().to_string(), "tokens of text"),
        card("Untangled", e.d_sae.to_string(), &format!("features, {:.0} of them active at a token", e.l0)),
        card("Missing", fraction_text(e.fvu, 3), "of the variance, on text that was not learnt from"),
        lost.unwrap_or_default(),
        "</ol>\n".to_owned(),
    ]
    .concat()
}

fn features(best: &[FeatureCard]) -> String {
    let row = |card: &FeatureCard| {
        let f1 = card.label().and_then(Label::f1).unwrap_or(0.0);
        format!(
            "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{f1:.2}</td><td style=\"width:22%\"><span class=\"bar\" \
             style=\"width:{:.0}%\"></span></td></tr>\n",
            card.feature,
            escaped(card.label_text().unwrap_or("no label")),
            100.0 * f1
        )
    };
    format!(
        "<h2>What features are about</h2>\n<p class=\"soft\">Labels are rules, scored (F1; 1 is perfect) on text that they were \
         not made of. <a href=\"dashboard/index.html\">All features</a>, with examples, histograms and neighbours.</p>\n\
         <table>\n<tr><th>feature</th><th>fires</th><th>F1</th><th></th></tr>\n{}</table>\n",
        best.iter().map(row).collect::<String>()
    )
}

fn steering(turned: &Turned) -> String {
    let toward = &turned.toward;
    let name = escaped(&turned.name);
    let parts = toward.features.iter().map(|part| {
        let examples = part.examples.iter().take(EXAMPLES).map(example).collect::<String>();
        let f1 = part.f1.map_or_else(String::new, |f1| format!(" <small>F1 {f1:.2}</small>"));
        let label = escaped(part.label.as_deref().unwrap_or("no label"));
        format!("<p class=\"feature\">feature {}: {label}{f1}</p>\n{examples}", part.feature)
    });
    let outcome = match turned.is_success() {
        true => format!("{}, and the stories turn to it:", capitalised(&toward.in_words())),
        false => format!(
            "No feature of this dictionary turns the stories to it; this is the best of {} tries: {}.",
            toward.tried,
            toward.in_words()
        ),
    };
    let stories = match turned.is_success() {
        true => format!(
            "<div class=\"pair\">\n{}{}</div>\n",
            story("by itself", &toward.pair.baseline, turned, false),
            story("turned up", &toward.pair.steered, turned, true)
        ),
        false => String::new(),
    };
    format!(
        "<h2>Turning up \u{201c}{name}\u{201d}</h2>\n<div class=\"card\">\n{}</div>\n<p>{}</p>\n{}{stories}",
        parts.collect::<String>(),
        escaped(&outcome),
        ladder(turned)
    )
}

fn ladder(turned: &Turned) -> String {
    let (toward, study) = (&turned.toward, &turned.toward.study);
    let best = &toward.ladder[toward.best];
    let row = |class: &str, name: &str, arm: &Arm, note: &str| {
        if arm.appears.trials == 0 {
            return String::new();
        }
        let share = 100.0 * arm.appears.value();
        let named = match turned.is_more_than_a_name {
            true => format!("<td class=\"n\">{:.0} %</td>", 100.0 * arm.names.value()),
            false => String::new(),
        };
        format!(
            "<tr class=\"{class}\"><td>{name}</td><td class=\"track\"><span class=\"bar\" style=\"width:{share:.0}%\"></span></td>\
             <td class=\"n\">{share:.0} %</td>{named}<td class=\"n\">{}</td><td><small>{note}</small></td></tr>\n",
            arm.appears.trials
        )
    };
    let rungs = toward.ladder.iter().enumerate().map(|(index, rung)| {
        let class = if index == toward.best { "best" } else { "" };
        let note = if rung.gain.is_none() { "no stories any more" } else { "" };
        row(class, &format!("{:.0} %", 100.0 * rung.times / best.times), &rung.steered, note)
    });
    let named = if turned.is_more_than_a_name { "<th>name it</th>" } else { "" };
    let (low, high) = study.steered.appears.interval();
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "<table>\n<tr><th>strength</th><th>stories about it</th><th></th>{named}<th>of</th><th></th></tr>\n{}{}{}{}{}</table>\n\
         <p class=\"soft\">About it: stories {}. On new stories {:.0} % [{:.0}, {:.0}]; there the text surprises the model {} times \
         as much as its own about it, and repeats itself {} times as often.</p>\n",
        row("by-itself", "by itself", &study.baseline, ""),
        rungs.collect::<String>(),
        row("best", "on new stories", &study.steered, ""),
        row("control", "random directions as long", &study.random, ""),
        row("control", "other features as long", &study.others, ""),
        escaped(&turned.sign),
        100.0 * study.steered.appears.value(),
        100.0 * low,
        100.0 * high,
        ratio(toward.perplexity_ratio()),
        ratio(toward.repetition_ratio()),
    )
}

fn also(turned: &Turned) -> String {
    let (toward, part) = (&turned.toward, &turned.toward.features[0]);
    let (before, behind) = (toward.study.baseline.appears, toward.study.steered.appears);
    let text = match turned.is_success() {
        true => story("turned up", &toward.pair.steered, turned, true),
        false => "<p>No feature that was tried turns the stories to it.</p>\n".to_owned(),
    };
    format!(
        "<h2>A {}</h2>\n<p>feature {}: {} <small>{:.0} % of stories by themselves, {:.0} % of {} turned up</small></p>\n{text}",
        escaped(&turned.name),
        part.feature,
        escaped(part.label.as_deref().unwrap_or("no label")),
        100.0 * before.value(),
        100.0 * behind.value(),
        behind.trials
    )
}

/// A story with the words of its topic marked.
fn story(title: &str, text: &str, turned: &Turned, is_turned: bool) -> String {
    let telling = telling(&turned.toward);
    let prompt = &turned.toward.prompts[0];
    let (given, written) = text.trim_start().strip_prefix(prompt.as_str()).map_or(("", text), |rest| (prompt, rest));
    let mut marked = String::new();
    for (at, word) in written.split(' ').enumerate() {
        let space = if at == 0 { "" } else { " " };
        match telling.contains(&plain(word)) {
            true => marked.push_str(&format!("{space}<mark>{}</mark>", escaped(word))),
            false => marked.push_str(&format!("{space}{}", escaped(word))),
        }
    }
    let class = if is_turned { "story turned" } else { "story" };
    format!("<div class=\"{class}\"><h3>{title}</h3><span class=\"given\">{}</span>{marked}</div>\n", escaped(given))
}

/// An example whose tokens are shaded by how strongly the feature fires.
fn example(example: &Example) -> String {
    let first = example.peak.saturating_sub(AROUND);
    let last = (example.peak + AROUND + 1).min(example.tokens.len());
    let most = example.activations.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let token = |at: usize| {
        let text = escaped(&example.tokens[at]);
        match example.activations.get(at).copied().unwrap_or(0.0) {
            strength if strength > 0.0 => {
                format!(
                    "<mark style=\"--s:{:.0}\" title=\"{strength:.2}\">{text}</mark>",
                    15.0 + 60.0 * strength / most
                )
            }
            _ => text,
        }
    };
    format!("<p class=\"example\">{}</p>\n", (first..last).map(token).collect::<String>())
}

fn next(told: &Told<'_>) -> String {
    let commands = commands(told.demo, &told.turned.toward).join("\n");
    format!("<h2>Next</h2>\n<pre>{}</pre>\n", escaped(&commands))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fires_is_marked_and_markup_in_tokens_is_text() {
        let tokens = ["<b>", " bridge", "."].map(str::to_owned).to_vec();
        let shown = example(&Example {
            row: 0,
            document: 0,
            position: 0,
            activation: 2.0,
            tokens,
            activations: vec![0.0, 2.0],
            peak: 1,
        });
        assert_eq!(shown, "<p class=\"example\">&lt;b&gt;<mark style=\"--s:75\" title=\"2.00\"> bridge</mark>.</p>\n");
        assert_eq!(capitalised("feature 3"), "Feature 3");
    }
}
