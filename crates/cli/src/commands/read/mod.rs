//! `untangle read`: which features fire on every token of a prompt, and what hangs on them?

mod ablated;
mod beside;
mod named;
mod tokens;
mod told;

use super::dictionaries::AnyDictionary;
use super::numbers::{is_list, listed};
use super::options::{Bos, ComputeArgs, load_model};
use crate::canvas::Canvas;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use named::Named;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use told::{By, Read, Told};
use untangle_interpret::read::{Reader, contrast};
use untangle_interpret::steer::grammar::{Operation, What};
use untangle_interpret::{Dictionary, Spec, feature_of, point_of};
use untangle_model::{Conversation, LanguageModel};
use untangle_sae::Place;
use untangle_sources::NamedModel;
use untangle_sources::dictionary::say_doubts;
use untangle_sources::models::chat_template;

/// Read a prompt: the features that fire on every token, what the dictionary misses there, and what hangs on a feature
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Dictionary directory
    #[arg(long, value_name = "SAE")]
    sae: PathBuf,
    /// Another model from whose activations a crosscoder reads as well; can be given several times
    #[arg(long, value_name = "MODEL")]
    with: Vec<PathBuf>,
    /// Text to read; given twice, two texts are read beside each other, by what differs
    #[arg(long = "prompt", value_name = "TEXT", required = true)]
    prompts: Vec<String>,
    /// The prompt is what a user says: it is read in the model's chat template
    #[arg(long)]
    chat: bool,
    /// Feature database, for labels, and for strengths as parts of the largest activation that was seen
    #[arg(long, value_name = "FEATURES.db")]
    features: Option<PathBuf>,
    /// Take features out, all that are named at once, and say what becomes of losses and predictions: numbers and ranges, such as
    /// 12,40-44, or a label (in quotation marks of its own where it looks like these)
    #[arg(long, value_name = "IDs-or-label")]
    ablate: Vec<String>,
    /// Features shown of every token
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    top: usize,
    /// What makes a feature strong
    #[arg(long, value_enum, default_value = "activation")]
    by: By,
    /// Leave out features that fire on more than this part of all tokens, such as 0.1; needs --features
    #[arg(long, value_name = "PART", requires = "features")]
    max_density: Option<f64>,
    /// Beginning-of-sequence token before the prompt
    #[arg(long, value_enum, default_value = "auto")]
    bos: Bos,
    #[command(flatten)]
    belonging: BelongingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &ReadArgs, context: &Context) -> anyhow::Result<()> {
    NamedModel::find(&args.model)?;
    check(args)?;
    args.with.iter().try_for_each(|other| NamedModel::find(other).map(|_| ()))?;
    let loaded = AnyDictionary::load(&args.sae, args.belonging, context)?;
    if let (AnyDictionary::Sae(_), [_, ..]) = (&loaded, &args.with[..]) {
        return Err(Complaint::usage("--with is for crosscoders, which read the activations of several models"));
    }
    let database = args.features.as_deref().map(|path| context.database(path)).transpose()?;
    database.as_ref().map_or(Ok(()), |database| database.check_dictionary(loaded.sae()))?;
    let dictionary = Dictionary { name: "", kind: loaded.kind(), database: database.as_ref() };
    let out = taken_out(args, dictionary)?;
    let model = load_model(&args.model, &args.compute, context)?;
    let others = args.with.iter().map(|other| load_model(other, &args.compute, context));
    let others = others.collect::<anyhow::Result<Vec<LanguageModel>>>()?;
    if let AnyDictionary::Sae(sae) = &loaded {
        say_doubts(sae, Some(&model.identity()), &context.surroundings());
    }
    let reader = Reader::of(&model, loaded.kind(), &others.iter().collect::<Vec<_>>())?;
    let mut read = Vec::new();
    for prompt in &args.prompts {
        let tokens = tokens_of(prompt, args, &model, context)?;
        let (n, most) = (tokens.len(), model.max_context());
        if n > most {
            return Err(Complaint::usage(format!(
                "--prompt has {n} tokens, and the model's context has {most}; shorten it"
            )));
        }
        let reading = reader.read(&tokens)?;
        let ablation = (!out.is_empty()).then(|| reader.ablate(&tokens, &out)).transpose()?;
        read.push(Read { prompt: prompt.clone(), reading, ablation });
    }
    let named = Named::of(read.iter().map(|read| &read.reading), &out, database.as_ref())?;
    read.iter_mut().for_each(|read| named.arrange(&mut read.reading, args.by == By::Share, args.max_density));
    let unit = |feature| if args.by == By::Share { named.most(feature).unwrap_or(1.0) } else { 1.0 };
    let contrast = match &read[..] {
        [a, b] => Some(contrast(&a.reading, &b.reading, unit)),
        _ => None,
    };
    let (hook, place) = places(&loaded, &model)?;
    let value = json!({
        "model": model.identity(), "sae": args.sae, "hook": hook, "by": args.by, "readings": read, "contrast": contrast,
        "features": named.summaries(),
    });
    // The folder's own name: a whole path would be longer than a line.
    let folder = args.sae.file_name().map_or_else(|| args.sae.to_string_lossy(), |name| name.to_string_lossy());
    let head = format!("{place}, read with {folder} ({} features)", loaded.sae().d_sae());
    let told = Told { top: args.top, by: args.by, head, read, contrast, named };
    context.output.drawing(&value, |canvas| draw(canvas, &told))
}

/// Where a dictionary reads: as a program is told it, the hook point or of a crosscoder those of its parts, and as people are.
fn places(dictionary: &AnyDictionary, model: &LanguageModel) -> anyhow::Result<(Value, String)> {
    let name = model.identity().name;
    Ok(match dictionary {
        AnyDictionary::Sae(sae) => {
            let hook = point_of(sae)?;
            (json!(hook), format!("{name} at {hook}"))
        }
        AnyDictionary::Crosscoder(crosscoder) => {
            let told = |place: &Place| {
                let hook = place.hook.as_deref().unwrap_or_default();
                place.model.as_deref().map_or_else(|| hook.to_owned(), |model| format!("{hook} of {model}"))
            };
            let all: Vec<String> = crosscoder.places().iter().map(told).collect();
            (json!(all), format!("{name} at {}", all.join(" and ")))
        }
    })
}

/// The features that are taken out, each once.
fn taken_out(args: &ReadArgs, dictionary: Dictionary<'_>) -> anyhow::Result<Vec<usize>> {
    let mut out = Vec::new();
    for text in &args.ablate {
        if is_list(text) {
            out.extend(listed("--ablate", text, dictionary.sae().d_sae())?);
            continue;
        }
        let said = |problem: String| Complaint::usage(format!("--ablate {text:?}: {problem}"));
        let spec = What::parse(text).and_then(|what| Spec::new(what, Operation::Ablate)).map_err(said)?;
        out.push(feature_of(&spec, dictionary)?);
    }
    let mut seen = HashSet::new();
    out.retain(|feature| seen.insert(*feature));
    Ok(out)
}

fn check(args: &ReadArgs) -> anyhow::Result<()> {
    if args.prompts.len() > 2 {
        let n = args.prompts.len();
        return Err(Complaint::usage(format!(
            "--prompt is given {n} times: one text is read, or two beside each other"
        )));
    }
    if args.by == By::Share && args.features.is_none() {
        return Err(Complaint::usage("--by share needs --features, which knows the largest activations"));
    }
    if args.max_density.is_some_and(|density| !(0.0..=1.0).contains(&density)) {
        return Err(Complaint::usage("--max-density is a part of all tokens, from 0 to 1"));
    }
    Ok(())
}

fn tokens_of(prompt: &str, args: &ReadArgs, model: &LanguageModel, context: &Context) -> anyhow::Result<Vec<u32>> {
    if !args.chat {
        return Ok(model.tokenizer()?.encode_with_bos(prompt, args.bos.into())?);
    }
    let template = chat_template(model, &context.surroundings())?;
    let text = template.render(&Conversation::of_user(prompt), true, &context.progress)?;
    Ok(model.tokenizer()?.encode_with_bos(&text, args.bos.into())?)
}

fn draw(canvas: &mut Canvas<'_>, told: &Told) -> io::Result<()> {
    writeln!(canvas, "{}", told.head)?;
    match &told.contrast {
        None => told.read.iter().try_for_each(|read| tokens::draw(canvas, read, told))?,
        Some(contrast) => beside::draw(canvas, contrast, told)?,
    }
    let several = told.read.len() > 1;
    for (read, name) in told.read.iter().zip(["A", "B"]) {
        if let Some(ablation) = &read.ablation {
            ablated::draw(canvas, &read.reading, ablation, several.then_some(name), &told.named)?;
        }
    }
    Ok(())
}
