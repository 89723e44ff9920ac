//! The words of the demo, for somebody who sees a sparse autoencoder for the first time.

use super::DemoArgs;
use super::steering::{CHOOSING, Chosen, Steered, TRIED_TOKENS};
use super::steps::Paths;
use crate::cards::{example_text, one_line};
use crate::commands::dictionary::Dictionary;
use crate::commands::evaluate::{Measured, ordinary_rows};
use std::io::{self, Write};
use std::path::Path;
use untangle_model::LanguageModel;
use untangle_schema::{FeatureCard, HookPoint};
use untangle_store::ActivationSet;

/// Features shown.
pub(super) const SHOWN: usize = 10;
/// Examples shown of a feature.
const EXAMPLES: usize = 2;
/// Tokens shown on either side of an example's peak.
const AROUND: usize = 14;

pub(super) fn opening(out: &mut dyn Write, model: &LanguageModel, hook: HookPoint) -> io::Result<()> {
    let (name, n_layers, width) = (model.identity().name, model.n_layers(), model.d_model());
    writeln!(out, "What does `{name}` think of, in the middle of its {n_layers} layers, while it reads?\n")?;
    writeln!(out, "1. Capture: the model reads the text, and for every token we keep the {width} numbers that pass")?;
    writeln!(out, "   {hook}.")
}

pub(super) fn captured(out: &mut dyn Write, store: &ActivationSet, path: &Path) -> io::Result<()> {
    let documents = store.n_documents().unwrap_or(0);
    writeln!(out, "   {} tokens of {documents} documents are in {}\n", store.n_rows(), path.display())?;
    writeln!(
        out,
        "2. Train: those numbers mean nothing one by one. A sparse autoencoder (SAE) learns a dictionary of"
    )?;
    writeln!(out, "   directions, called features, such that every token is nearly a sum of only a few of them.")
}

pub(super) fn trained(out: &mut dyn Write, dictionary: &Dictionary, path: &Path) -> io::Result<()> {
    let (sae, k) = (&dictionary.sae, dictionary.sae.config().k.unwrap_or(0));
    writeln!(out, "   {} features, {k} of them active at a time, are in {}\n", sae.d_sae(), path.display())?;
    writeln!(
        out,
        "3. Evaluate: how much of what the model computes is in those few features? Measured on documents that"
    )?;
    writeln!(out, "   the training never saw.")
}

pub(super) fn evaluated(out: &mut dyn Write, measured: &Measured) -> io::Result<()> {
    let e = &measured.evaluation;
    writeln!(
        out,
        "   FVU          {:.4}  of the activations' variance is missing from the sums (0 is perfect)",
        e.fvu
    )?;
    writeln!(out, "   L0           {:.2}   features are active at a token, on average", e.l0_without_special)?;
    let rows = ordinary_rows(e);
    writeln!(out, "   dead         {}       of {} features never fire on these {rows} tokens", e.dead, e.d_sae)?;
    if let Some(ce) = &measured.ce {
        let (recovered, lost) = (ce.recovered, ce.nats_lost);
        writeln!(
            out,
            "   CE recovered {recovered:.4}  of the model's skill is left when it has to go on from the sums alone"
        )?;
        writeln!(
            out,
            "   nats lost    {lost:.4}  per predicted token, against {:.2} with nothing at all",
            ce.ce_zero - ce.ce_clean
        )?;
    }
    writeln!(
        out,
        "\n4. Features: what is each about? Every feature gets a label from the tokens on which it fires, and the"
    )?;
    writeln!(out, "   label is scored as a rule on documents that it was not made from (F1; 1 is perfect). The best:\n")
}

pub(super) fn described(out: &mut dyn Write, cards: &[FeatureCard], path: &Path) -> io::Result<()> {
    for card in cards.iter().take(SHOWN) {
        let label = card.label.as_deref().unwrap_or("no label");
        writeln!(out, "   {:>4}  {label}  (F1 {:.2})", card.feature, card.label_score.unwrap_or(0.0))?;
        for example in card.examples.iter().take(EXAMPLES) {
            writeln!(out, "           {}", example_text(example, AROUND))?;
        }
    }
    writeln!(out, "\n   All of them are in {}\n", path.display())?;
    writeln!(
        out,
        "5. Steer: a feature is also a handle. We turn one up while the model writes, by adding its direction to"
    )?;
    writeln!(
        out,
        "   what passes the middle layer; strengths are multiples of the largest activation seen in the text."
    )
}

pub(super) fn steered(out: &mut dyn Write, steered: &Steered) -> io::Result<()> {
    let label = steered.label.as_deref().unwrap_or("no label");
    let raised: Vec<_> = steered.raises.iter().map(|token| format!("{token:?}")).collect();
    writeln!(out, "\n   feature {} ({label}), which raises {}", steered.feature, raised.join(" "))?;
    match &steered.chosen {
        Some(Chosen { of, with, without }) => writeln!(
            out,
            "   It is the one of {of} whose words, those of its label, gain most when it is turned up:\n   \
             {with} in {TRIED_TOKENS} tokens at {CHOOSING} x, {without} without it."
        )?,
        None => {
            writeln!(out, "   No feature made its own words more frequent; this is the one whose label holds best.")?
        }
    }
    writeln!(out, "   prompt    {}\n", one_line(&steered.prompt))?;
    if let Some((_, first)) = steered.results.first() {
        writeln!(out, "   as it is  {}", one_line(&first.baseline))?;
    }
    for (strength, result) in &steered.results {
        writeln!(out, "   {strength:>4} x    {}", one_line(&result.steered))?;
    }
    writeln!(
        out,
        "\n   At the prompt, this moves so much of the next token's probability to the tokens that it raises:"
    )?;
    for (strength, result) in &steered.results {
        let (raised, random) = (100.0 * result.effect.raised, 100.0 * result.effect.control_raised);
        writeln!(out, "   {strength:>4} x    {raised:+.2} %  (random directions of the same length: {random:+.2} %)")?;
    }
    Ok(())
}

pub(super) fn ending(out: &mut dyn Write, paths: &Paths, args: &DemoArgs, steered: &Steered) -> io::Result<()> {
    let (model, sae, database) = (args.model.display(), paths.sae.display(), paths.database.display());
    writeln!(out, "\nNext:")?;
    writeln!(out, "   untangle show {database} {}", steered.feature)?;
    writeln!(out, "   untangle search {database} {}", longest_word(&steered.prompt))?;
    writeln!(
        out,
        "   untangle steer {model} --sae {sae} --features {database} --feature {}:ablate --prompt {:?}",
        steered.feature, steered.prompt
    )?;
    writeln!(out, "   untangle train {} --out sae-1024 --d-sae 1024 --k 32", paths.store.display())
}

fn longest_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).max_by_key(|word| word.chars().count()).unwrap_or_default()
}
