//! The words of the demo, for somebody who sees a sparse autoencoder for the first time.

use super::steps::{Demo, Layer};
use super::turn::{TEMPERATURE, TOKENS};
use crate::cards::{example_text, one_line};
use crate::commands::evaluate::{Measured, guess};
use std::env;
use std::io::{self, Write};
use std::path::Path;
use untangle_interpret::steer::Arm;
use untangle_interpret::toward::{Found, HandlePart, Toward};
use untangle_model::LanguageModel;
use untangle_sae::metrics::fraction_text;
use untangle_schema::{FeatureCard, HookPoint, Label, Share};
use untangle_sources::Dictionary;
use untangle_store::ActivationSet;

/// Features shown.
pub(super) const SHOWN: usize = 10;
/// Examples shown of a feature.
const EXAMPLES: usize = 2;
/// Tokens shown on either side of an example's peak.
const AROUND: usize = 12;
/// Features shown of those that a search found.
const FOUND: usize = 5;
/// Characters in a line of prose.
const LINE: usize = 100;

pub(super) fn opening(out: &mut dyn Write, model: &LanguageModel, hook: HookPoint) -> io::Result<()> {
    let (name, n_layers, width) = (model.identity().name, model.n_layers(), model.d_model());
    writeln!(out, "What does the language model `{name}` think of, inside its {n_layers} layers?\n")?;
    let text = format!(
        "1. Capture: the model reads, and of every token (a word or a part of one) we keep the {width} numbers that \
         pass {hook}, the end of a layer."
    );
    prose(out, &text)
}

pub(super) fn captured(out: &mut dyn Write, store: &ActivationSet, path: &Path) -> io::Result<()> {
    let documents = store.n_documents().unwrap_or(0);
    writeln!(out, "   {} tokens of {documents} documents are in {}\n", store.n_rows(), path.display())?;
    prose(
        out,
        "2. Train: one by one, those numbers mean nothing. A sparse autoencoder (SAE) learns directions, called \
         features, such that every token is nearly a sum of only a few of them.",
    )
}

pub(super) fn trained(out: &mut dyn Write, dictionaries: &[Dictionary], layers: &[Layer]) -> io::Result<()> {
    for (dictionary, layer) in dictionaries.iter().zip(layers) {
        let (sae, k) = (&dictionary.sae, dictionary.sae.k().unwrap_or(0));
        let (n, hook, path) = (sae.d_sae(), layer.hook, layer.sae.display());
        writeln!(out, "   {n} features of {hook}, {k} of them active at a time, are in {path}")?;
    }
    writeln!(out)?;
    if layers.len() > 1 {
        let text = "   Two were trained side by side: what the model has read is told best in the middle, what it is about \
                    to write is moved best at the end.\n";
        prose(out, text)?;
    }
    prose(
        out,
        "3. Evaluate: how much of what the model computes do those few features keep? Measured on documents that the \
         training never saw.",
    )
}

pub(super) fn evaluated(out: &mut dyn Write, measured: &Measured) -> io::Result<()> {
    let e = &measured.evaluation;
    let mut line = |name: &str, value: String, what: &str| writeln!(out, "   {name:<13} {value:<7} {what}");
    let fvu = fraction_text(e.fvu, 4);
    line("FVU", fvu, "of the numbers' variance is missing from the sums; 0 is perfect")?;
    line("L0", format!("{:.1}", e.l0), "features are active at a token, on average")?;
    let never = format!("of {} features never fire on these {} tokens", e.d_sae, e.ordinary_rows);
    line("dead", e.dead.to_string(), &never)?;
    if let Some(ce) = &measured.ce {
        let lost = "nats per token are lost when the model goes on from the sums alone";
        line("loss", format!("{:.4}", ce.nats_lost), lost)?;
        let left = format!("of what it knows beyond nothing ({}) is left then; 1 is perfect", guess(ce));
        line("CE recovered", format!("{:.4}", ce.recovered), &left)?;
    }
    writeln!(out)?;
    prose(
        out,
        "4. Features: what is each about? A label names the tokens on which the feature fires, and is scored as a rule \
         on documents that it was not made from (F1; 1 is perfect). The best, with the firing tokens in brackets:",
    )?;
    writeln!(out)
}

pub(super) fn described(out: &mut dyn Write, cards: &[FeatureCard], path: &Path) -> io::Result<()> {
    for card in cards.iter().take(SHOWN) {
        write_feature(out, card)?;
        for example in card.examples.iter().take(EXAMPLES) {
            writeln!(out, "           {}", example_text(example, AROUND))?;
        }
    }
    writeln!(out, "\n   All of them are in {}\n", path.display())
}

pub(super) fn searched(out: &mut dyn Write, concept: Option<&str>, found: &Found, demo: &Demo<'_>) -> io::Result<()> {
    let hook = demo.steering().hook;
    let step = match (concept, found.is_sought) {
        (Some(concept), true) => {
            format!("5. Search: which features of {hook} have to do with \"{concept}\"?")
        }
        (Some(concept), false) => {
            format!("5. Search: nothing has to do with \"{concept}\". These are rare and their labels name words:")
        }
        (None, _) => "5. Choose: rare features whose labels name words are about something:".to_owned(),
    };
    writeln!(out, "{step}\n")?;
    for candidate in found.candidates.iter().take(FOUND) {
        write_feature(out, &candidate.card)?;
        if let Some(effect) = candidate.raised() {
            writeln!(out, "           raises {:?}", effect.token)?;
        }
    }
    if found.candidates.len() > FOUND {
        writeln!(out, "         and {} more", found.candidates.len() - FOUND)?;
    }
    writeln!(out)?;
    prose(
        out,
        "6. Steer: features are also handles. While the model writes, we add their directions to what passes the \
         layer, more and more, until the story is about it. (1 x: as strongly as the feature ever fired.)",
    )
}

fn write_feature(out: &mut dyn Write, card: &FeatureCard) -> io::Result<()> {
    let label = card.label_text().unwrap_or("no label");
    writeln!(out, "   {:>4}  {label}  (F1 {:.2})", card.feature, card.label().and_then(Label::f1).unwrap_or(0.0))
}

pub(super) fn steered(out: &mut dyn Write, steered: &Toward) -> io::Result<()> {
    writeln!(out)?;
    for turned in &steered.features {
        let HandlePart { feature, label, strength, .. } = turned;
        writeln!(out, "   {feature:>4}  {}, at {strength:.2} x", label.as_deref().unwrap_or("no label"))?;
        for example in turned.examples.iter().take(EXAMPLES) {
            writeln!(out, "           {}", example_text(example, AROUND))?;
        }
        let raised: Vec<_> = turned.raises.iter().map(|token| format!("{token:?}")).collect();
        writeln!(out, "           raises {}", raised.join(" "))?;
    }
    let (tried, together) = (steered.tried, steered.features.len());
    match together {
        1 if tried > 1 => {
            writeln!(out, "   Of the {tried} that we tried, alone and together, it moves the stories most.")?
        }
        1 => {}
        _ => writeln!(
            out,
            "   Of the {tried} that we tried, alone and together, these {together} move the stories most."
        )?,
    }
    writeln!(out, "   Counted are stories with {}, on seeds that nothing was chosen on:\n", steered.topic.text())?;
    write_ladder(out, steered)?;
    writeln!(out, "\n   A story as the model writes it:")?;
    write_story(out, &steered.pair.baseline)?;
    writeln!(out, "   The same, turned up:")?;
    write_story(out, &steered.pair.steered)?;
    writeln!(out, "   And with steps as long in a random direction:")?;
    write_story(out, &steered.best().study.random.sample)
}

fn write_ladder(out: &mut dyn Write, steered: &Toward) -> io::Result<()> {
    let best = steered.best();
    write_count(out, "as it is", &steered.ladder[0].study.baseline, "")?;
    for (index, rung) in steered.ladder.iter().enumerate() {
        let note = match rung.gain() {
            None => "  but they are no stories any more",
            Some(_) if index == steered.best => "  as listed above",
            Some(_) => "",
        };
        write_count(out, &percent(rung.strength / best.strength), &rung.study.steered, note)?;
    }
    write_count(out, &percent(1.0), &best.study.random, "  in random directions instead")?;
    if best.gain().is_none_or(|gain| gain <= 0.0) {
        writeln!(out, "\n   That changed nothing: no feature of this dictionary turns the stories to it.")?;
    }
    Ok(())
}

fn percent(strength: f32) -> String {
    format!("{:.0} %", 100.0 * strength)
}

/// How many stories are about the topic.
fn write_count(out: &mut dyn Write, name: &str, arm: &Arm, note: &str) -> io::Result<()> {
    let Share { hits, trials } = arm.appears;
    writeln!(out, "   {name:>8}  {hits:>2} of {trials}{note}")
}

fn write_story(out: &mut dyn Write, story: &str) -> io::Result<()> {
    wrapped(&one_line(story)).iter().try_for_each(|line| writeln!(out, "      {line}"))
}

pub(super) fn ending(out: &mut dyn Write, demo: &Demo<'_>, steered: &Toward) -> io::Result<()> {
    let (args, layer) = (demo.args, demo.steering());
    let path = |path: &Path| shell(&path.to_string_lossy());
    let (store, sae, database) = (path(&demo.store), path(&layer.sae), path(&layer.database));
    let (model, prompt) = (path(&args.model), shell(&steered.prompts[0]));
    let untangle = shell(&env::args_os().next().unwrap_or_default().to_string_lossy());
    // A product of short decimals, without its rounding: 0.09, not 0.089999996.
    let short = |strength: f32| (f64::from(strength) * 1e6).round() / 1e6;
    let feature = |turned: &HandlePart| format!("--feature {}:add={}x", turned.feature, short(turned.strength));
    let turned: Vec<_> = steered.features.iter().map(feature).collect();
    writeln!(out, "\nEverything is in {}. Next:", args.out.display())?;
    writeln!(out, "   {untangle} show {database} {}", steered.features[0].feature)?;
    writeln!(out, "   {untangle} search {database} {}", shell(args.concept().unwrap_or(steered.topic.first_word())))?;
    writeln!(
        out,
        "   {untangle} steer {model} --sae {sae} --features {database} {} \
         --temperature {TEMPERATURE} --tokens {TOKENS} --seed {} --prompt {prompt}",
        turned.join(" "),
        steered.seed
    )?;
    let (hook, wider) = (demo.reading().hook, path(&args.out.join("sae-4096")));
    writeln!(out, "   {untangle} train {store} --hook {hook} --out {wider} --d-sae 4096 --k 32")
}

/// A paragraph that begins at the left and goes on three columns further in.
fn prose(out: &mut dyn Write, text: &str) -> io::Result<()> {
    wrapped(text).iter().enumerate().try_for_each(|(number, line)| {
        let indent = if number == 0 { "" } else { "   " };
        writeln!(out, "{indent}{line}")
    })
}

/// Lines of at most [`LINE`] characters, broken between words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = Vec::<String>::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LINE => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories_are_broken_between_words() {
        let text = "word ".repeat(50);
        let lines = wrapped(text.trim());
        assert!(lines.iter().all(|line| line.len() <= LINE && line.starts_with("word") && line.ends_with("word")));
        assert_eq!(lines.join(" "), text.trim());
        assert_eq!(wrapped(&"x".repeat(300)).len(), 1, "one word stays whole");
    }

    #[test]
    fn printed_commands_can_be_pasted() {
        assert_eq!(shell("demo-output/sae"), "demo-output/sae");
        assert_eq!(shell("Golden Gate"), "'Golden Gate'");
        assert_eq!(shell("it's $x"), "'it'\\''s $x'");
        assert_eq!(shell(""), "''");
    }
}
