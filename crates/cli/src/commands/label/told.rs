//! What came of labelling, for people.

use crate::output::table;
use std::io::{self, Write};
use untangle_interpret::llm::{LabelPlan, LabelReport, Labelled, Task};
use untangle_schema::{Label, LabelKind};

/// Scores of labels of what makes a feature fire, in the order of the columns, with what they are; those that nobody has are left out.
const INPUT: [(&str, &str); 4] = [
    (
        "detection",
        "balanced accuracy of a judge who knows the label, on texts of documents that the labeller did not see",
    ),
    ("fuzzing", "the same of where in a text"),
    ("sensitivity-written", "share of new texts of what the label says that fire the feature"),
    ("simulation", "correlation of the judge's guess with the activation, token by token"),
];
/// The same of what it makes the model say.
const OUTPUT: [(&str, &str); 2] = [
    ("intervention", "balanced accuracy of a judge who tells texts written with the feature turned up from others"),
    ("agreement-judged", "detection by what it makes the model say"),
];

/// A table of the labels, another of what the features make the model say, and what it all took.
pub(super) fn tell(out: &mut dyn Write, report: &LabelReport, plan: &LabelPlan) -> io::Result<()> {
    let of = |kind| report.features.iter().filter(move |feature| has(feature, kind));
    let input = report.features.iter().map(|feature| (feature, described(feature))).collect::<Vec<_>>();
    tell_labels(out, &input, LabelKind::Input, &INPUT, "label")?;
    let output: Vec<(&Labelled, String)> =
        of(LabelKind::Output).map(|feature| (feature, text(feature, LabelKind::Output))).collect();
    if !output.is_empty() {
        writeln!(out)?;
        tell_labels(out, &output, LabelKind::Output, &OUTPUT, "makes the model say")?;
    }
    let (asked, labelled) = (plan.features.len(), of(LabelKind::Input).count());
    let did = match plan.task {
        Task::Label => {
            let changed = report.features.iter().filter(|feature| feature.before.is_some()).count();
            format!("{labelled} of {asked} features labelled, {changed} labels changed by their tests")
        }
        Task::Score(_) => format!("labels of {} of {asked} features judged", report.features.len()),
    };
    let (source, spent) = (&report.source, report.spent);
    let (requests, tokens, kept) = (spent.requests, spent.tokens(), spent.kept);
    writeln!(out, "\n{source}: {did}; {requests} requests, {tokens} tokens, {kept} answers kept from before")?;
    let is_there = |(scorer, _): &&(&str, &str)| {
        let mut labels = report.features.iter().flat_map(|feature| &feature.labels);
        labels.any(|label| label.score(scorer).is_some())
    };
    for (scorer, meaning) in INPUT.iter().chain(&OUTPUT).filter(is_there) {
        writeln!(out, "{scorer}: {meaning}")?;
    }
    writeln!(out, "brackets: 95 % intervals; /: label of another feature")
}

fn tell_labels(
    out: &mut dyn Write,
    features: &[(&Labelled, String)],
    kind: LabelKind,
    scorers: &[(&str, &str)],
    name: &str,
) -> io::Result<()> {
    let label = |feature: &Labelled| feature.labels.iter().find(|label| label.kind == kind).cloned();
    let is_there = |scorer: &&str| {
        features.iter().any(|(feature, _)| label(feature).is_some_and(|label| label.score(scorer).is_some()))
    };
    let columns: Vec<&str> = scorers.iter().map(|(scorer, _)| *scorer).filter(is_there).collect();
    let head = ["feature"].into_iter().chain(columns.iter().copied()).chain([name]);
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    for (feature, described) in features {
        let score = |name: &&str| label(feature).map_or_else(|| "-".to_owned(), |label| shown(&label, name));
        let mut row = vec![feature.feature.to_string()];
        row.extend(columns.iter().map(score));
        row.push(described.clone());
        rows.push(row);
    }
    table(out, &rows, &[rows[0].len() - 1])
}

fn has(feature: &Labelled, kind: LabelKind) -> bool {
    feature.labels.iter().any(|label| label.kind == kind)
}

fn text(feature: &Labelled, kind: LabelKind) -> String {
    let label = feature.labels.iter().find(|label| label.kind == kind);
    label.map_or_else(|| "-".to_owned(), |label| label.text.clone())
}

/// `0.85 [0.70, 0.93] / 0.50`
fn shown(label: &Label, scorer: &str) -> String {
    let Some(score) = label.score(scorer) else { return "-".to_owned() };
    let interval = score.interval.map_or_else(String::new, |(low, high)| format!(" [{low:.2}, {high:.2}]"));
    let control = score.control.map_or_else(String::new, |control| format!(" / {control:.2}"));
    format!("{:.2}{interval}{control}", score.value)
}

fn described(feature: &Labelled) -> String {
    let mut text = text(feature, LabelKind::Input);
    if let Some(before) = &feature.before {
        text += &format!("  (was: {before})");
    }
    if let Some(problem) = &feature.problem {
        text += &format!("  ({problem})");
    }
    text
}
