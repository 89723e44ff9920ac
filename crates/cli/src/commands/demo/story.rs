//! The words of the demo, for somebody who sees a sparse autoencoder for the first time.

use super::steps::Demo;
use super::turn::{TEMPERATURE, TOKENS, Turned};
use crate::canvas::{Canvas, Ink, bar, cut};
use crate::cards::{draw_example, example_text, one_line};
use crate::commands::evaluate::Measured;
use crate::lines::{shell, wrapped};
use std::env;
use std::io::{self, Write};
use std::path::Path;
use untangle_interpret::database::Summary;
use untangle_interpret::label::rule::PASSAGES;
use untangle_interpret::steer::Arm;
use untangle_interpret::toward::{Found, Toward};
use untangle_model::LanguageModel;
use untangle_sae::metrics::fraction_text;
use untangle_schema::{FeatureCard, Label, Share};
use untangle_sources::Dictionary;
use untangle_store::ActivationSet;

/// Features from which those that are shown are chosen.
pub(super) const CONSIDERED: usize = 200;
/// Features shown: of passages about something that has a name, of other passages, and of words; where there are fewer of one
/// kind, more of the next.
const SHOWN: [usize; 3] = [4, 4, 2];
/// Examples shown of a feature.
const EXAMPLES: usize = 2;
/// Tokens shown on either side of an example's peak.
const AROUND: usize = 7;
/// The same where there are no colours, and brackets take room.
const AROUND_IN_BRACKETS: usize = 4;
/// Columns of a bar.
const BAR: usize = 12;
/// Columns of what stands before it.
const NAME: usize = 25;

/// Of the features that are understood best, those that say most of what the model holds.
pub(super) fn chosen(cards: Vec<FeatureCard>) -> Vec<FeatureCard> {
    let begins = |card: &FeatureCard, with: &str| card.label_text().is_some_and(|label| label.starts_with(with));
    let (passages, words): (Vec<_>, Vec<_>) = cards.into_iter().partition(|card| begins(card, PASSAGES));
    let (named, others): (Vec<_>, Vec<_>) =
        passages.into_iter().partition(|card| begins(card, &format!("{PASSAGES}about ")));
    let (mut chosen, mut until) = (Vec::new(), 0);
    for (cards, most) in [named, others, words].into_iter().zip(SHOWN) {
        until += most;
        chosen.extend(cards.into_iter().take(until - chosen.len()));
    }
    chosen
}

pub(super) fn opening(out: &mut Canvas<'_>, model: &LanguageModel) -> io::Result<()> {
    let (name, n_layers) = (model.identity().name, model.n_layers());
    out.paint(
        Ink::Bold,
        &format!("What does the language model `{name}` hold in its {n_layers} layers while it reads?\n\n"),
    )
}

pub(super) fn captured(out: &mut Canvas<'_>, store: &ActivationSet, demo: &Demo<'_>) -> io::Result<()> {
    let documents = store.n_documents().unwrap_or(0);
    let (rows, hook) = (store.n_rows(), demo.hook);
    step(out, 1, "Read", &format!("{rows} tokens of {documents} documents; what passes {hook} is kept"))
}

pub(super) fn trained(out: &mut Canvas<'_>, dictionary: &Dictionary) -> io::Result<()> {
    let (n, k) = (dictionary.sae.d_sae(), dictionary.sae.k().unwrap_or(0));
    step(out, 2, "Untangle", &format!("{n} directions (\"features\"), of which {k} at a time make up most of it"))
}

pub(super) fn evaluated(out: &mut Canvas<'_>, measured: &Measured) -> io::Result<()> {
    let e = &measured.evaluation;
    let missing = format!("on text that was not learnt from, {} of the variance is missing", fraction_text(e.fvu, 3));
    let lost = measured.ce.as_ref().map(|ce| format!(", which costs the model {:.3} nats a token", ce.nats_lost));
    step(out, 3, "Check", &(missing + &lost.unwrap_or_default()))
}

pub(super) fn described(out: &mut Canvas<'_>, best: &[FeatureCard], all: &[Summary]) -> io::Result<()> {
    let labelled = all.iter().filter(|feature| feature.label_score.is_some()).count();
    let what = format!(
        "{labelled} of {} features, by rules that are scored (F1) on text that they were not made of:",
        all.len()
    );
    step(out, 4, "Name", &what)?;
    writeln!(out)?;
    best.iter().try_for_each(|card| write_feature(out, card))?;
    writeln!(out)
}

pub(super) fn searched(out: &mut Canvas<'_>, concept: Option<&str>, found: &Found) -> io::Result<()> {
    let what = match (concept, found.is_sought) {
        (Some(concept), true) => format!("\"{concept}\", in labels, examples and in what a feature makes likelier:"),
        (Some(concept), false) => format!("nothing has to do with \"{concept}\"; these are about something:"),
        (None, _) => "features that are about something:".to_owned(),
    };
    step(out, 5, "Search", &what)?;
    writeln!(out)?;
    let Some((first, others)) = found.candidates.split_first() else { return Ok(()) };
    write_feature(out, &first.card)?;
    for example in first.card.examples.iter().take(EXAMPLES) {
        write!(out, "              ")?;
        match out.has_colour() {
            true => draw_example(out, example, AROUND, first.card.max_activation)?,
            false => {
                writeln!(out, "{}", cut(&example_text(example, AROUND_IN_BRACKETS), out.width().saturating_sub(14)))?
            }
        }
    }
    match others.len() {
        0 => writeln!(out),
        n => writeln!(out, "              {n} more are tried, too\n"),
    }
}

pub(super) fn turned(out: &mut Canvas<'_>, turned: &Turned) -> io::Result<()> {
    let toward = &turned.toward;
    match turned.is_success() {
        true => step(out, 6, "Turn up", &format!("{} while the model writes:", toward.in_words()))?,
        false => step(out, 6, "Turn up", &format!("the best of {} tries is {}:", toward.tried, toward.in_words()))?,
    }
    writeln!(out)?;
    write_ladder(out, turned)?;
    writeln!(out)?;
    if !turned.is_success() {
        return explain_failure(out, turned);
    }
    writeln!(out, "   As the model writes by itself:")?;
    write_story(out, &toward.pair.baseline, toward)?;
    writeln!(out, "   The same beginning, turned up:")?;
    write_story(out, &toward.pair.steered, toward)?;
    writeln!(out)
}

pub(super) fn also_turned(out: &mut Canvas<'_>, also: &[Turned]) -> io::Result<()> {
    if also.is_empty() {
        return Ok(());
    }
    step(out, 7, "And more", "what lasts through a text can be a mood, or who tells it:")?;
    writeln!(out)?;
    for turned in also {
        let (toward, label) = (&turned.toward, turned.toward.features.first().and_then(|part| part.label.as_deref()));
        out.paint(Ink::Bold, &format!("   {}", turned.name))?;
        let feature = format!("  feature {}, {}", toward.features[0].feature, label.unwrap_or("no label"));
        writeln!(out, "{}", cut(&feature, out.width().saturating_sub(3 + turned.name.chars().count())))?;
        let (before, behind) = (toward.study.baseline.appears, toward.study.steered.appears);
        writeln!(
            out,
            "   {} of {} stories by themselves, {} of {} turned up",
            before.hits, before.trials, behind.hits, behind.trials
        )?;
        if turned.is_success() {
            write_story(out, &toward.pair.steered, toward)?;
        }
    }
    writeln!(out)
}

/// The number and name of a step, and what came of it.
fn step(out: &mut Canvas<'_>, number: usize, name: &str, what: &str) -> io::Result<()> {
    out.paint(Ink::Bold, &format!("{number}. {name:<9}"))?;
    let mut lines = wrapped(what, out.width().saturating_sub(12)).into_iter();
    writeln!(out, "{}", lines.next().unwrap_or_default())?;
    lines.try_for_each(|line| writeln!(out, "            {line}"))
}

fn write_feature(out: &mut Canvas<'_>, card: &FeatureCard) -> io::Result<()> {
    let label = cut(card.label_text().unwrap_or("no label"), out.width().saturating_sub(24));
    let f1 = card.label().and_then(Label::f1).map_or("       ".to_owned(), |f1| format!("F1 {f1:.2}"));
    writeln!(out, "   {:>6}  {f1}  {label}", card.feature)
}

fn write_ladder(out: &mut Canvas<'_>, turned: &Turned) -> io::Result<()> {
    let (toward, study) = (&turned.toward, &turned.toward.study);
    let names = if turned.is_more_than_a_name { "  name it" } else { "" };
    writeln!(out, "   {:>NAME$}  {:<BAR$}  about it{names}", "", "")?;
    arm(out, "by itself", &study.baseline, turned, "")?;
    for (index, rung) in toward.ladder.iter().enumerate() {
        let note = match rung.gain {
            None => "  no stories",
            Some(_) if index == toward.best => "  ←",
            Some(_) => "",
        };
        arm(
            out,
            &format!("{:.0} %", 100.0 * rung.times / toward.ladder[toward.best].times),
            &rung.steered,
            turned,
            note,
        )?;
    }
    arm(out, "on new stories", &study.steered, turned, "")?;
    arm(out, "random directions as long", &study.random, turned, "")?;
    arm(out, "other features as long", &study.others, turned, "")?;
    writeln!(out)?;
    let (low, high) = study.steered.appears.interval();
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    let line = format!(
        "about it: stories {}; on new stories {:.0} % [{:.0}, {:.0}]. There the text surprises the model {} times as much as its \
         own about it, and repeats itself {} times as often.",
        turned.sign,
        100.0 * study.steered.appears.value(),
        100.0 * low,
        100.0 * high,
        ratio(toward.perplexity_ratio()),
        ratio(toward.repetition_ratio()),
    );
    wrapped(&line, out.width().saturating_sub(3)).iter().try_for_each(|line| writeln!(out, "   {line}"))
}

/// A bar of the stories about the topic, and how many there are.
fn arm(out: &mut Canvas<'_>, name: &str, arm: &Arm, turned: &Turned, note: &str) -> io::Result<()> {
    let Share { trials, .. } = arm.appears;
    if trials == 0 {
        return Ok(());
    }
    write!(out, "   {name:>NAME$}  ")?;
    out.paint(Ink::Bar, &bar(arm.appears.value() as f32, BAR))?;
    let names =
        if turned.is_more_than_a_name { format!("  {:>5.0} %", 100.0 * arm.names.value()) } else { String::new() };
    writeln!(out, "  {:>5.0} %{names}  of {trials}{note}", 100.0 * arm.appears.value())?;
    Ok(())
}

/// Why nothing turned, and what was found instead.
fn explain_failure(out: &mut Canvas<'_>, turned: &Turned) -> io::Result<()> {
    let text = format!(
        "No feature of this dictionary turns the stories to {}. The features above tell what the model has read; to be \
         handles they would have to stand for what it is going to write, and a small model, or a dictionary of so little \
         text, may not have such features. What may help: more text (--tokens), another layer (--hook), more features \
         (--d-sae), or something else to look for (--concept).\n",
        turned.name
    );
    wrapped(&text, out.width().saturating_sub(3)).iter().try_for_each(|line| writeln!(out, "   {line}"))
}

/// A story, with the words of the topic and of the labels in colour.
fn write_story(out: &mut Canvas<'_>, story: &str, toward: &Toward) -> io::Result<()> {
    let telling = telling(toward);
    for line in wrapped(&one_line(story), out.width().saturating_sub(6)) {
        write!(out, "     ")?;
        for word in line.split(' ') {
            write!(out, " ")?;
            let ink = if telling.contains(&plain(word)) { Ink::Level(2) } else { Ink::Plain };
            out.paint(ink, word)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The words of the topic, of the features' labels and the tokens that they make likelier, in small letters.
pub(super) fn telling(toward: &Toward) -> Vec<String> {
    let labels = toward.features.iter().filter_map(|part| part.label.as_deref());
    let raised = toward.features.iter().flat_map(|part| part.raises.iter().map(String::as_str));
    let topic = toward.topic.words().iter().map(String::as_str);
    let words = labels.flat_map(|label| label.split(' ')).chain(raised).chain(topic).map(plain);
    words
        .filter(|word| word.chars().count() > 2 && !["passages", "about", "with", "the"].contains(&&word[..]))
        .collect()
}

/// A word without signs, in small letters.
pub(super) fn plain(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

pub(super) fn ending(out: &mut Canvas<'_>, demo: &Demo<'_>, toward: &Toward, page: &Path) -> io::Result<()> {
    out.paint(Ink::Bold, &format!("Open {} for all of it in pictures. Next:\n", page.display()))?;
    commands(demo, toward).iter().try_for_each(|command| writeln!(out, "   {command}"))
}

/// What to do next, as a shell takes it.
pub(super) fn commands(demo: &Demo<'_>, toward: &Toward) -> Vec<String> {
    let args = demo.args;
    let path = |path: &Path| shell(&path.to_string_lossy());
    let (store, sae, database) = (path(&demo.store), path(&demo.sae), path(&demo.database));
    let (model, prompt) = (path(&args.model), shell(&toward.prompts[0]));
    let untangle = shell(&env::args_os().next().unwrap_or_default().to_string_lossy());
    let turned: Vec<String> = toward.interventions().iter().map(|what| format!("--feature {}", shell(what))).collect();
    let wider = path(&args.out.join("sae-wide"));
    vec![
        format!("{untangle} show {database} {}", toward.features[0].feature),
        format!("{untangle} search {database} {}", shell(args.concept().unwrap_or(toward.topic.first_word()))),
        format!(
            "{untangle} steer {model} --sae {sae} --features {database} {} --temperature {TEMPERATURE} --tokens {TOKENS} \
             --seed {} --prompt {prompt}",
            turned.join(" "),
            toward.seed
        ),
        format!("{untangle} train {store} --hook {} --out {wider} --d-sae {} --k 16", demo.hook, 4 * demo.d_sae),
    ]
}
