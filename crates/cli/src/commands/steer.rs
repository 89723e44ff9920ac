//! `untangle steer`: what does the model write when features are turned up, set or taken out?

use super::interventions::{InterventionArgs, Interventions, UNITS, describe};
use super::options::{Bos, ComputeArgs, load_model};
use super::outputs;
use super::toward::{self, Sought, TowardArgs};
use crate::cards::one_line;
use crate::context::Context;
use crate::exit::Complaint;
use crate::terminal::visible;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use untangle_interpret::steer::effect::CONTROLS;
use untangle_interpret::steer::{EffectOf, Strength, TextOptions, steer_texts, steps_without_tokens, strengths};
use untangle_interpret::{Effect, InterpretError, SteerResult};
use untangle_model::{Conversation, GenerateOptions, LanguageModel, Sampling};
use untangle_schema::{Observer, shortest};
use untangle_sources::NamedModel;
use untangle_sources::models::{chat_template, warn_of_end};
use untangle_sources::recipe::RECIPE;

/// The temperature of texts among which something is sought.
const SOUGHT_AT: f64 = 0.8;

/// Continue prompts twice: as the model would, and with features of dictionaries turned up, set or taken out
#[derive(Debug, Args)]
pub(crate) struct SteerArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]; needed where --recipe names none
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    interventions: InterventionArgs,
    #[command(flatten)]
    toward: TowardArgs,
    /// Write what is steered to a file that --recipe reads
    #[arg(long, value_name = "FILE.toml")]
    save_recipe: Option<PathBuf>,
    /// Replace an existing recipe
    #[arg(long, requires = "save_recipe")]
    force: bool,
    /// Text to continue; several are continued together
    #[arg(long = "prompt", value_name = "TEXT", required_unless_present = "toward")]
    prompts: Vec<String>,
    /// The prompt is what a user says, and the model replies: by its chat template
    #[arg(long)]
    chat: bool,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 60)]
    tokens: usize,
    /// Show what is steered as it is written; of one prompt and one strength
    #[arg(long, conflicts_with = "toward")]
    stream: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// How tokens are drawn.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
struct SamplingArgs {
    /// 0 always takes the likeliest token [default: 0; with --toward 0.8]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Only the N likeliest tokens are considered
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Only the likeliest tokens whose probabilities sum to P are considered
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Only tokens at least P times as likely as the likeliest are considered
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,
    /// Tokens of the text so far are made less likely by this factor
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    repetition_penalty: f64,
    /// End a text before these words; may be given several times
    #[arg(long, value_name = "WORDS", value_parser = NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// Seed of sampling and of the random directions beside which the effect is measured
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Beginning-of-sequence token before the prompt
    #[arg(long, value_enum, default_value = "auto")]
    bos: Bos,
}

/// What one set of steps did to one prompt.
#[derive(Serialize)]
struct Steered {
    prompt: String,
    /// The value of the sweep, where there is one.
    #[serde(serialize_with = "shortest::maybe")]
    value: Option<f32>,
    edits: Vec<Strength>,
    #[serde(flatten)]
    result: SteerResult,
}

/// What is steered, read and checked.
pub(crate) struct Loaded {
    pub(crate) asked: InterventionArgs,
    /// What the model was called.
    named: PathBuf,
    pub(crate) interventions: Interventions,
    pub(crate) model: LanguageModel,
}

impl SteerArgs {
    /// Whether what is steered is to be found first.
    pub(crate) fn is_search(&self) -> bool {
        self.toward.toward.is_some()
    }

    /// Reads model, dictionaries and databases.
    pub(crate) fn load(&self, context: &Context) -> anyhow::Result<Loaded> {
        let mut asked = self.interventions.clone();
        let named = asked.complete(self.model.as_deref())?;
        NamedModel::find(&named)?;
        let specs = asked.specs(!self.is_search())?;
        self.check_stream(&asked, context)?;
        self.check_search(&asked)?;
        self.check_recipe(&asked)?;
        let interventions = asked.load(specs, context)?;
        let model = load_model(&named, &self.compute, context)?;
        interventions.say_doubts(&model, context)?;
        Ok(Loaded { asked, named, interventions, model })
    }

    /// Refuses what a search would not heed.
    fn check_search(&self, asked: &InterventionArgs) -> anyhow::Result<()> {
        if !self.is_search() {
            return match self.toward.continuations {
                Some(_) => {
                    Err(Complaint::usage("--continuations is for a search; give --toward, or use `untangle study`"))
                }
                None => Ok(()),
            };
        }
        if self.tokens == 0 {
            return Err(Complaint::usage("--tokens must be at least 1: --toward counts in what is written"));
        }
        let SamplingArgs { stop, bos, .. } = &self.sampling;
        let ignored = [
            ("--at", asked.says_where()),
            ("--when", asked.says_when()),
            ("--stream", self.stream),
            ("--chat", self.chat),
            ("--stop", !stop.is_empty()),
            ("--bos", !matches!(bos, Bos::Auto)),
        ];
        match ignored.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Complaint::usage(format!(
                "{option} has no meaning for --toward, which steers all tokens of whole continuations; leave it out, or give \
                 what was found to --feature"
            ))),
            None => Ok(()),
        }
    }

    /// Whether the recipe can be written, before anything is loaded.
    fn check_recipe(&self, asked: &InterventionArgs) -> anyhow::Result<()> {
        let Some(path) = &self.save_recipe else { return Ok(()) };
        if !asked.sweep.is_empty() {
            return Err(Complaint::usage("a recipe has one strength; leave --save-recipe out, or --sweep"));
        }
        outputs::check_file(path, &RECIPE, self.force)
    }

    fn check_stream(&self, asked: &InterventionArgs, context: &Context) -> anyhow::Result<()> {
        if self.stream && (self.prompts.len() != 1 || asked.sweep.len() > 1) {
            return Err(Complaint::usage("--stream shows one prompt with one strength"));
        }
        if self.stream && context.output.is_json() {
            return Err(Complaint::usage("--stream is for people, and --json for programs; choose one"));
        }
        Ok(())
    }
}

pub(crate) fn run(args: &SteerArgs, context: &Context) -> anyhow::Result<()> {
    let Loaded { asked, named, interventions, model } = args.load(context)?;
    if let Some(words) = &args.toward.toward {
        let generate = options(args).generate;
        let (model_name, prompts, save) = (named.as_path(), &args.prompts[..], args.save_recipe.as_deref());
        let options = args.compute.words() + if asked.is_of_other_model() { " --other-model" } else { "" };
        let sought = Sought { words, model_name, prompts, generate, options, save };
        let recipe = |steer| asked.recipe(&named, Some(steer));
        return toward::run(&args.toward, &sought, &interventions, recipe, &model, context);
    }
    let dictionaries = interventions.dictionaries();
    let sets = interventions.sets(&asked.sweep, &model, &dictionaries)?;
    if let Some(path) = &args.save_recipe {
        asked.recipe(&named, None).write(path)?;
    }
    let prompts = prompts(args, &model, context)?;
    warn_of_end(&model, &prompts, args.tokens, args.sampling.bos.into(), &context.surroundings())?;
    for step in steps_without_tokens(&model, &sets[0], &prompts, &options(args))? {
        context
            .progress
            .warning(&format!("{step}: names no token of the prompts, or of what is written, that can be steered"));
    }
    let shown = args.stream.then(|| Streamed::begin(&prompts[0])).transpose()?;
    let mut told = |_: usize, set: Option<usize>, text: &str| {
        if let (Some(shown), Some(_)) = (&shown, set) {
            shown.show(text);
        }
        match context.progress.interrupted() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let results = steer_texts(&model, &dictionaries, &sets, &prompts, &options(args), &mut told)?;
    if context.progress.interrupted() {
        return Err(InterpretError::Interrupted.into());
    }
    let values: Vec<Option<f32>> = match asked.sweep.is_empty() {
        true => vec![None],
        false => asked.sweep.iter().copied().map(Some).collect(),
    };
    let mut steered = Vec::new();
    for ((given, prompt), results) in args.prompts.iter().zip(&prompts).zip(results) {
        for ((value, steps), result) in values.iter().zip(&sets).zip(results) {
            let edits =
                strengths(steps, &model, &dictionaries, std::slice::from_ref(prompt), args.sampling.bos.into())?;
            steered.push(Steered { prompt: given.clone(), value: *value, edits, result });
        }
    }
    // What the figures of an effect are means of stands in `effect` itself.
    let value = serde_json::json!({
        "prompt": args.prompts[0], "prompts": args.prompts, "at": asked.at(),
        "model": model.identity().name, "tokens": args.tokens, "temperature": options(args).generate.sampling.temperature,
        "seed": args.sampling.seed, "special_tokens_are_steered": false, "steered": steered,
    });
    context.output.result(&value, |out| {
        if args.stream {
            writeln!(out, "\n")?;
        }
        write_text(out, &steered, sets.len(), args.stream)
    })
}

/// The prompts as the model reads them.
pub(crate) fn prompts(args: &SteerArgs, model: &LanguageModel, context: &Context) -> anyhow::Result<Vec<String>> {
    if !args.chat {
        return Ok(args.prompts.clone());
    }
    let template = chat_template(model, &context.surroundings())?;
    let render = |text: &String| Ok(template.render(&Conversation::of_user(text), true, &context.progress)?);
    args.prompts.iter().map(render).collect()
}

pub(crate) fn options(args: &SteerArgs) -> TextOptions {
    let SamplingArgs { temperature, top_k, top_p, min_p, repetition_penalty, seed, .. } = args.sampling;
    // A search counts texts, of which the likeliest alone are too few.
    let temperature = temperature.unwrap_or(if args.toward.toward.is_some() { SOUGHT_AT } else { 0.0 });
    let sampling = Sampling { temperature, top_k, top_p, min_p, repetition_penalty };
    let generate = GenerateOptions { max_new_tokens: args.tokens, sampling, seed, stop_at_eos: true };
    TextOptions { generate, stop: args.sampling.stop.clone(), bos: args.sampling.bos.into() }
}

/// `was_streamed`: the steered text stands there already.
fn write_text(out: &mut dyn Write, steered: &[Steered], sets: usize, was_streamed: bool) -> io::Result<()> {
    for (number, of_prompt) in steered.chunks(sets.max(1)).enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "baseline: {}", one_line(&of_prompt[0].result.baseline))?;
        for one in of_prompt {
            let edits: Vec<String> = one.edits.iter().map(describe).collect();
            writeln!(out, "\n{}", edits.join(", "))?;
            if !was_streamed {
                writeln!(out, "steered:  {}", one_line(&one.result.steered))?;
            }
            writeln!(out, "effect:   {}", effect_text(&one.result.effect, &one.edits))?;
        }
        let measured = of_prompt.iter().map(|one| one.result.effect).find(|effect| effect.steered_positions > 0);
        let Some(Effect { of, positions, steered_positions, .. }) = measured else { continue };
        let (text, steered) = match of {
            EffectOf::Prompt => ("the prompt's", "whatever --at says, but no special tokens"),
            EffectOf::Text => ("the prompt's and the baseline's", "as `at` says"),
        };
        writeln!(
            out,
            "\neffect: means over {text} {positions} positions, {steered_positions} of them steered {steered}; nats are \
             KL(baseline || steered) of the next token's distribution, % are of its probability; random: mean of {CONTROLS} \
             random directions"
        )?;
    }
    writeln!(out, "{UNITS}")
}

/// The effect on the prompt beside that of random directions of the same norm.
fn effect_text(e: &Effect, edits: &[Strength]) -> String {
    if e.steered_positions == 0 {
        return "nothing to measure it on: none of these tokens is steered".to_owned();
    }
    let raised = match edits {
        [Strength { feature: Some(_), .. }] => "the tokens that the feature raises",
        [_] => "the tokens that the direction raises",
        _ => "the tokens that these raise",
    };
    format!(
        "moves the next token's distribution by {} nats (random: {}), and {} % of it to {raised} (random: {} %)",
        two_digits(e.kl, false),
        two_digits(e.control_kl, false),
        two_digits(100.0 * e.raised, true),
        two_digits(100.0 * e.control_raised, true)
    )
}

/// A number with two digits that say something: 12, 1.2, 0.00032.
fn two_digits(value: f64, signed: bool) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size => (1 - size.log10().floor() as i32).clamp(0, 6) as usize,
    };
    if signed { format!("{value:+.decimals$}") } else { format!("{value:.decimals$}") }
}

/// What is steered, shown as it is written: behind the prompt, without the signs that would act on a terminal.
struct Streamed;

impl Streamed {
    fn begin(prompt: &str) -> io::Result<Self> {
        let shown = Streamed;
        shown.write(&format!("steered:  {}", one_line(prompt)))?;
        Ok(shown)
    }

    /// Shows what has been written since. A reader that went away is found out when the result is printed.
    fn show(&self, text: &str) {
        let _ = self.write(&text.replace('\n', " "));
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "{}", visible(text)).and_then(|()| out.flush())
    }
}
