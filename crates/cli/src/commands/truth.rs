//! `untangle evaluate --concepts`: which known concepts does a dictionary hold, and how many would one of a model that has
//! learned nothing?

use super::options::{ComputeArgs, load_model};
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::Args;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use untangle_interpret::truth::report::{Covered, Fraction, Group, GroupedBy};
use untangle_interpret::{AnnotatedCorpus, Criteria, Judged, TruthReport, evaluate_truth};
use untangle_model::LanguageModel;
use untangle_organism::{Split, World, bundled};
use untangle_sources::Dictionary;
use untangle_sources::world::annotated;

/// Documents of the organism's world: enough for the rarest concept to be judged.
const DOCUMENTS: [(Split, usize); 3] = [(Split::Train, 2500), (Split::Validation, 1000), (Split::Test, 1000)];

/// Options of the comparison with known concepts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Known concepts")]
pub(crate) struct TruthArgs {
    /// Say which concepts of annotated text have a feature: a file as `organism corpus --annotated --split all` writes
    /// it, or organism for its world's documents; needs --model
    #[arg(long, value_name = "FILE.jsonl", requires = "model")]
    pub(crate) concepts: Option<PathBuf>,
    /// Dictionary of a model that has learned nothing (capture organism:random, then train), for comparison
    #[arg(long, value_name = "SAE", requires = "concepts")]
    control: Option<PathBuf>,
    /// Model of the control [default: the organism's that its dictionary names]
    #[arg(long, value_name = "MODEL", requires = "control")]
    control_model: Option<PathBuf>,
}

/// A dictionary with what it holds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    sae: String,
    control: Option<PathBuf>,
    #[serde(flatten)]
    truth: TruthReport,
}

/// Measures every dictionary on the annotated text.
pub(crate) fn reports(
    args: &TruthArgs,
    dictionaries: &[Dictionary],
    model: &LanguageModel,
    compute: &ComputeArgs,
    context: &Context,
) -> anyhow::Result<Vec<Report>> {
    let Some(text) = &args.concepts else { return Ok(Vec::new()) };
    let corpus = corpus(text)?;
    let control = args.control.as_deref().map(|dir| control(dir, args, compute, context)).transpose()?;
    let control = control.as_ref().map(|(dictionary, model)| Judged { model, sae: &dictionary.sae });
    let report = |dictionary: &Dictionary| {
        let subject = Judged { model, sae: &dictionary.sae };
        let truth = evaluate_truth(&corpus, subject, control, Criteria::default(), &context.progress)?;
        Ok(Report { sae: dictionary.name.clone(), control: args.control.clone(), truth })
    };
    dictionaries.iter().map(report).collect()
}

/// The annotated text that is named. Dictionaries of the organism are trained on its training documents alone, so that
/// its validation and test documents are new to them.
fn corpus(text: &Path) -> anyhow::Result<AnnotatedCorpus> {
    if text != Path::new(bundled::NAME) {
        return Ok(AnnotatedCorpus::read(text)?);
    }
    let world = World::standard();
    let of_split = |(split, n)| world.documents(0, split).take(n).map(annotated);
    Ok(AnnotatedCorpus::new(world.concepts().all().to_vec(), DOCUMENTS.into_iter().flat_map(of_split).collect())?)
}

/// The control's dictionary and model.
fn control(
    dir: &Path,
    args: &TruthArgs,
    compute: &ComputeArgs,
    context: &Context,
) -> anyhow::Result<(Dictionary, LanguageModel)> {
    let dictionary = Dictionary::load(dir)?;
    let named = dictionary.sae.provenance().model().filter(|name| name.starts_with(bundled::NAME));
    let Some(name) = args.control_model.clone().or(named.map(PathBuf::from)) else {
        return Err(Complaint::usage(format!(
            "{}: pass the model of this control with --control-model",
            dir.display()
        )));
    };
    let model = load_model(&name, compute, context)?;
    Ok((dictionary, model))
}

/// The tables of all reports, with what their columns mean.
pub(crate) fn print(out: &mut dyn Write, reports: &[Report]) -> io::Result<()> {
    for Report { sae, truth, .. } in reports {
        writeln!(out, "{sae} at {}: concepts with a detector, of those that a probe reads", truth.point)?;
        table(out, &rows(truth), &[0])?;
        beyond_tokens(out, truth)?;
        let features = &truth.features;
        writeln!(
            out,
            "of {} features {} match a concept (F1 {} or more), {} match none, {} never fired in {} tokens\n",
            features.features,
            features.matched,
            truth.criteria.matched_f1,
            features.unmatched,
            features.dead,
            features.tokens
        )?;
    }
    let Some(Report { truth: TruthReport { criteria, text, .. }, .. }) = reports.first() else { return Ok(()) };
    writeln!(
        out,
        "readable  a linear probe of the activations finds the concept with F1 {} or more, token by token\n\
         feature   the best feature does so with F1 {} or more; union: the best {} together; neuron: the best of the\n\
         {:10}block's MLP; PCA: the best principal direction; control: the best feature of the control\n\
         token     the best token does so without any model; tokens: the best set of tokens\n\
         Fitted on {} documents, chosen on {} others, measured on {} others. Brackets: 95 % intervals.",
        criteria.readable_f1,
        criteria.covered_f1,
        criteria.union,
        "",
        text.train.documents,
        text.validation.documents,
        text.test.documents
    )
}

/// A line for all concepts, each kind and each family. Families are too small for intervals that say something.
fn rows(truth: &TruthReport) -> Vec<Vec<String>> {
    let has = |column: fn(&Group) -> bool| truth.groups.first().is_some_and(column);
    let (neurons, control) = (has(|group| group.neuron.is_some()), has(|group| group.control.is_some()));
    let mut head = vec!["", "concepts", "readable", "feature", "union"];
    head.extend(neurons.then_some("neuron"));
    head.extend(["PCA", "token", "tokens"]);
    head.extend(control.then_some(["control", "above control"]).into_iter().flatten());
    let row = |group: &Group| {
        let show = |fraction: &Fraction| share(fraction, group.by != GroupedBy::Family);
        let covered = |covered: &Covered| show(&covered.fraction);
        let mut row = vec![group.name.clone(), (group.concepts - group.not_judged).to_string()];
        row.extend([show(&group.readable), covered(&group.feature), covered(&group.union)]);
        row.extend(group.neuron.as_ref().map(covered));
        row.extend([covered(&group.principal), covered(&group.token), covered(&group.tokens)]);
        if let Some(control) = &group.control {
            row.extend([covered(control), group.above_control.as_ref().map_or_else(|| "-".to_owned(), above)]);
        }
        row
    };
    std::iter::once(head.into_iter().map(str::to_owned).collect()).chain(truth.groups.iter().map(row)).collect()
}

/// What the dictionary holds that no set of tokens tells: what it is for.
fn beyond_tokens(out: &mut dyn Write, truth: &TruthReport) -> io::Result<()> {
    let Some(all) = truth.groups.first() else { return Ok(()) };
    let covered = |covered: &Covered| share(&covered.fraction, true);
    let control = all.control_beyond_tokens.as_ref().map(|control| format!("; of the control: {}", covered(control)));
    writeln!(
        out,
        "readable concepts that no set of tokens tells and a feature does: {}{}",
        covered(&all.beyond_tokens),
        control.unwrap_or_default()
    )
}

/// `12 of 40: 30 % [18, 45]`.
fn share(of: &Fraction, with_interval: bool) -> String {
    let Some(value) = of.value else { return "-".to_owned() };
    let interval = match with_interval {
        true => format!(" [{:.0}, {:.0}]", 100.0 * of.interval.low, 100.0 * of.interval.high),
        false => String::new(),
    };
    format!("{} of {}: {:.0} %{interval}", of.hits, of.trials, 100.0 * value)
}

/// Points above the control.
fn above(difference: &untangle_interpret::truth::report::Difference) -> String {
    let interval = difference.interval.map(|of| format!(" [{:+.0}, {:+.0}]", 100.0 * of.low, 100.0 * of.high));
    format!("{:+.0}{}", 100.0 * difference.value, interval.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_schema::Share;

    #[test]
    fn shares_are_shown_with_their_counts() {
        assert_eq!(share(&Share { hits: 2, trials: 10 }.into(), true), "2 of 10: 20 % [6, 51]");
        assert_eq!(share(&Share { hits: 2, trials: 10 }.into(), false), "2 of 10: 20 %");
        assert_eq!(share(&Share::default().into(), true), "-");
    }
}
