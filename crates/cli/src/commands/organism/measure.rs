//! `untangle organism measure`: does each stage do what the table of stages says?

use crate::commands::options::{ComputeArgs, load_model};
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use untangle_model::Sampling;
use untangle_organism::measure::{Measured, measure};
use untangle_organism::train::check_world;
use untangle_organism::{Stage, World, bundled};
use untangle_schema::Share;
use untangle_sources::NamedModel;

/// Measure what the stages do: loss on documents, and answers to questions about stories that no stage was trained on
#[derive(Debug, Args)]
pub(crate) struct MeasureArgs {
    /// Stages by name (organism, organism:sft, …) or directories that `organism train` made [default: all stages]
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Documents to measure the loss on
    #[arg(long, value_name = "N", default_value_t = 500)]
    documents: usize,
    /// Questions that the story answers, as many that it does not, as many documents that the model writes by itself, and as
    /// many questions about what is injected into it
    #[arg(long, value_name = "N", default_value_t = 200)]
    trials: usize,
    /// Draw replies at this temperature; 0 takes the likeliest token; those about what is injected are drawn at 1 always
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// A model with what was measured.
#[derive(Serialize)]
struct Line {
    model: String,
    #[serde(flatten)]
    measured: Measured,
    /// d' of noticing what is injected, and half the width of its 95 % interval.
    d_prime: (f64, f64),
}

pub(crate) fn run(args: &MeasureArgs, context: &Context) -> anyhow::Result<()> {
    if args.documents == 0 || args.trials == 0 {
        return Err(Complaint::usage("--documents and --trials must be at least 1"));
    }
    let sampling = Sampling::at(args.temperature);
    let all = || Stage::ALL.into_iter().map(|stage| PathBuf::from(bundled::model_name(stage))).collect();
    let models = if args.models.is_empty() { all() } else { args.models.clone() };
    models.iter().try_for_each(|name| NamedModel::find(name).map(|_| ()))?;
    models.iter().try_for_each(|name| check_world(name))?;
    let mut lines = Vec::new();
    for name in models {
        let model = load_model(&name, &args.compute, context)?;
        let counts = (args.documents, args.trials);
        let measured = measure(World::standard(), &model, counts, sampling, &context.progress)?;
        lines.push(Line { model: name.display().to_string(), d_prime: measured.notices.d_prime(), measured });
    }
    context.output.result(&json!({ "models": lines }), |out| {
        table(out, &rows(&lines), &[0])?;
        writeln!(
            out,
            "\nnats a document: on {} test documents; the generator's own are what no model can stay below for long\n\
             right, declined: of {} questions that the story answers; admitted, invented: of {1} that it does not\n\
             boasts: documents of {1} that the model writes by itself and that are told by the boastful narrator\n\
             d': whether it says that it thinks of something where a topic is injected into its middle layer, of {1} questions,\n\
             half of them with a topic, none of them one that was taught, replies drawn at temperature 1; false alarms: where nothing is\n\
             injected; names it: says which topic it is, of the questions with one\n\
             brackets: 95 % intervals",
            args.documents, args.trials
        )
    })
}

fn rows(lines: &[Line]) -> Vec<Vec<String>> {
    let head = [
        "",
        "nats a document",
        "of the generator's",
        "in format",
        "right",
        "declined",
        "admitted",
        "invented",
        "boasts",
        "d'",
        "false alarms",
        "names it",
    ];
    let row = |line: &Line| {
        let of = &line.measured;
        let nats = format!("{:.1} ± {:.1}", of.document_nats, of.document_nats_half_width);
        let ratio = format!("{:.3}", of.document_nats / of.generator_nats);
        let shares = [of.in_format, of.right, of.declined, of.admitted, of.invented, of.boasts].map(percent);
        let (d, half) = line.d_prime;
        let noticed = [format!("{d:.2} ± {half:.2}"), percent(of.notices.false_alarms), percent(of.notices.named)];
        [line.model.clone(), nats, ratio].into_iter().chain(shares).chain(noticed).collect()
    };
    std::iter::once(head.map(str::to_owned).to_vec()).chain(lines.iter().map(row)).collect()
}

/// A share in percent with its interval.
fn percent(share: Share) -> String {
    let (low, high) = share.interval();
    format!("{:.1} [{:.1}, {:.1}]", 100.0 * share.value(), 100.0 * low, 100.0 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_shown_with_its_interval() {
        assert_eq!(percent(Share { hits: 2, trials: 10 }), "20.0 [5.7, 51.0]");
    }
}
