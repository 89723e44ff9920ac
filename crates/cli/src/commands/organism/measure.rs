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
    /// Questions that the story answers, and as many that it does not
    #[arg(long, value_name = "N", default_value_t = 200)]
    trials: usize,
    /// Draw replies at this temperature; 0 takes the likeliest token
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
}

pub(crate) fn run(args: &MeasureArgs, context: &Context) -> anyhow::Result<()> {
    if args.documents == 0 || args.trials == 0 {
        return Err(Complaint::usage("--documents and --trials must be at least 1"));
    }
    let sampling = Sampling::at(args.temperature);
    let all = || Stage::ALL.into_iter().map(|stage| PathBuf::from(bundled::model_name(stage))).collect();
    let models = if args.models.is_empty() { all() } else { args.models.clone() };
    models.iter().try_for_each(|name| NamedModel::find(name).map(|_| ()))?;
    let mut lines = Vec::new();
    for name in models {
        let model = load_model(&name, &args.compute, context)?;
        let counts = (args.documents, args.trials);
        let measured = measure(World::standard(), &model, counts, sampling, &context.progress)?;
        lines.push(Line { model: name.display().to_string(), measured });
    }
    context.output.result(&json!({ "models": lines }), |out| {
        table(out, &rows(&lines), &[0])?;
        writeln!(
            out,
            "\nnats a document: on {} test documents; the generator's own are what no model can stay below for long\n\
             right, declined: of {} questions that the story answers; admitted, invented: of {1} that it does not\n\
             brackets: 95 % intervals",
            args.documents, args.trials
        )
    })
}

fn rows(lines: &[Line]) -> Vec<Vec<String>> {
    let head = ["", "nats a document", "of the generator's", "in format", "right", "declined", "admitted", "invented"];
    let row = |line: &Line| {
        let of = &line.measured;
        let nats = format!("{:.1} ± {:.1}", of.document_nats, of.document_nats_half_width);
        let ratio = format!("{:.3}", of.document_nats / of.generator_nats);
        let shares = [of.in_format, of.right, of.declined, of.admitted, of.invented].map(percent);
        [line.model.clone(), nats, ratio].into_iter().chain(shares).collect()
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
