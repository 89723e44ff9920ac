//! `untangle steer`: what does the model write when features are turned up, set or taken out?

use super::options::{Bos, ComputeArgs, load_model, sweep_value};
use crate::cards::one_line;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use untangle_interpret::{Edit, Effect, FeatureSpec, Scope, SteerOptions, SteerResult, resolve, sweep, swept};
use untangle_model::{Conversation, GenerateOptions, Sampling};
use untangle_sources::NamedModel;
use untangle_sources::dictionary::{load_sae, say_doubts};
use untangle_sources::models::{chat_template, warn_of_end};

/// Continue a prompt twice: as the model would, and with features of a dictionary turned up, set or taken out
#[derive(Debug, Args)]
pub(crate) struct SteerArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Dictionary directory
    #[arg(long, value_name = "SAE")]
    sae: PathBuf,
    /// Feature and what to do: 12:add=8, 12:add=2x (twice its largest activation), 12:set=3, 12:mul=0.5, 12:ablate;
    /// a label instead of a number needs --features
    #[arg(long = "feature", value_name = "ID-or-label[:OP=VALUE]", required = true)]
    feature: Vec<String>,
    /// Text to continue
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// The prompt is what a user says, and the model replies: by its chat template
    #[arg(long)]
    chat: bool,
    /// Feature database, for labels and for strengths with x
    #[arg(long, value_name = "FEATURES.db")]
    features: Option<PathBuf>,
    /// Repeat with each of these values in place of those of --feature, in their unit: 0.5,1,2; a feature that is ablated
    /// stays so
    #[arg(long, value_name = "VALUES", value_delimiter = ',', allow_hyphen_values = true,
        value_parser = sweep_value)]
    sweep: Vec<f32>,
    /// Tokens that are steered; special tokens (beginning of sequence and the like) never are
    #[arg(long, value_enum, default_value = "all")]
    at: At,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 60)]
    tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, help_heading = "Sampling")]
    temperature: f64,
    /// Only the N likeliest tokens are considered
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    top_k: Option<usize>,
    /// Only the likeliest tokens whose probabilities sum to P are considered
    #[arg(long, value_name = "P", help_heading = "Sampling")]
    top_p: Option<f64>,
    /// Seed of sampling and of the random directions beside which the effect is measured
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Sampling")]
    seed: u64,
    /// Beginning-of-sequence token before the prompt
    #[arg(long, value_enum, default_value = "auto", help_heading = "Sampling")]
    bos: Bos,
    #[command(flatten)]
    belonging: BelongingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Which tokens are steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum At {
    /// Prompt and generated tokens, but for special ones
    All,
    /// The prompt alone
    Prompt,
    /// Generated tokens alone
    Generated,
}

/// What one set of edits did.
#[derive(Serialize)]
struct Steered {
    /// The value of the sweep, where there is one.
    value: Option<f32>,
    edits: Vec<EditRecord>,
    #[serde(flatten)]
    result: SteerResult,
}

/// An edit with its strength in units of activation.
#[derive(Serialize)]
struct EditRecord {
    feature: usize,
    operator: &'static str,
    value: f32,
}

pub(crate) fn run(args: &SteerArgs, context: &Context) -> anyhow::Result<()> {
    NamedModel::find(&args.model)?;
    let specs = args.feature.iter().map(|text| text.parse()).collect::<Result<Vec<FeatureSpec>, _>>()?;
    let sae = load_sae(&args.sae, args.belonging.other_model, &context.surroundings())?;
    let database = args.features.as_deref().map(|path| context.database(path)).transpose()?;
    let values = sweep_values(&args.sweep);
    let edits = values
        .iter()
        .map(|value| {
            let specs = value.map_or_else(|| Ok(specs.clone()), |value| swept(&specs, value))?;
            resolve(&specs, database.as_ref(), sae.d_sae())
        })
        .collect::<Result<Vec<_>, _>>()?;
    let model = load_model(&args.model, &args.compute, context)?;
    say_doubts(&sae, Some(&model.identity()), &context.surroundings());
    let prompt = if args.chat {
        chat_template(&model, &context.surroundings())?.render(
            &Conversation::of_user(&args.prompt),
            true,
            &context.progress,
        )?
    } else {
        args.prompt.clone()
    };
    warn_of_end(&model, std::slice::from_ref(&prompt), args.tokens, args.bos.into(), &context.surroundings())?;
    let results = sweep(&model, &sae, &edits, &prompt, &options(args))?;
    let steered: Vec<_> = values
        .into_iter()
        .zip(edits)
        .zip(results)
        .map(|((value, edits), result)| Steered { value, edits: edits.iter().map(record).collect(), result })
        .collect();
    // What the figures of an effect are means of stands in `effect` itself.
    let value = serde_json::json!({
        "prompt": args.prompt, "at": args.at, "special_tokens_are_steered": false, "steered": steered,
    });
    context.output.result(&value, |out| write_text(out, args.at, &steered))
}

/// Once without a value where nothing is swept.
fn sweep_values(values: &[f32]) -> Vec<Option<f32>> {
    if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
}

fn options(args: &SteerArgs) -> SteerOptions {
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    let scope = match args.at {
        At::All => Scope::All,
        At::Prompt => Scope::Prompt,
        At::Generated => Scope::Generated,
    };
    let generate = GenerateOptions { max_new_tokens: args.tokens, sampling, seed: args.seed, stop_at_eos: true };
    SteerOptions { generate, scope, bos: args.bos.into() }
}

fn record(edit: &Edit) -> EditRecord {
    use untangle_interpret::Operator;
    let (operator, value) = match edit.operator {
        Operator::Add(value) => ("add", value),
        Operator::Set(value) => ("set", value),
        Operator::Mul(value) => ("mul", value),
    };
    EditRecord { feature: edit.feature, operator, value }
}

fn write_text(out: &mut dyn Write, at: At, steered: &[Steered]) -> io::Result<()> {
    let Some(first) = steered.first() else { return Ok(()) };
    writeln!(out, "baseline: {}", one_line(&first.result.baseline))?;
    for one in steered {
        let edits: Vec<_> =
            one.edits.iter().map(|e| format!("feature {} {} {:.2}", e.feature, e.operator, e.value)).collect();
        writeln!(out, "\n{}", edits.join(", "))?;
        writeln!(out, "steered:  {}", one_line(&one.result.steered))?;
        writeln!(out, "effect:   {}", effect_text(&one.result))?;
    }
    let tokens = match at {
        At::All => "prompt and generated tokens",
        At::Prompt => "the prompt's tokens",
        At::Generated => "generated tokens",
    };
    let Effect { positions, steered_positions, .. } = first.result.effect;
    writeln!(
        out,
        "\nsteered are {tokens}, but no special ones (beginning of sequence and the like)\n\
         effect: means over the prompt's {positions} positions, {steered_positions} of them steered whatever --at says; \
         nats are KL(baseline || steered) of the next token's distribution"
    )
}

/// The effect on the prompt beside that of random directions of the same norm.
fn effect_text(result: &SteerResult) -> String {
    let e = &result.effect;
    format!(
        "moves the next-token distribution by {:.2} nats (a random direction: {:.2}), \
         the tokens that the feature raises by {:+.3} (random: {:+.3})",
        e.kl, e.control_kl, e.raised, e.control_raised
    )
}
