//! `untangle vector`: which direction tells one kind of text from another, and how well?

use super::options::{Bos, ComputeArgs, load_model};
use super::outputs;
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use untangle_interpret::Database;
use untangle_interpret::point::{check_model, written_point_of};
use untangle_interpret::vectors::{
    CONTROL_VECTOR, ContrastPlan, ControlVector, Explanation, Found, Method, Read, Texts, contrast, explain,
};
use untangle_model::{Conversation, LanguageModel};
use untangle_schema::{HookPoint, Site};
use untangle_sources::NamedModel;
use untangle_sources::dictionary::{load_sae, say_doubts};
use untangle_sources::models::chat_template;
use untangle_store::Partial;

/// Tokens of a reply where nothing is said.
const REPLY: usize = 32;

/// Make vectors that tell one kind of text from another, layer by layer, judged on texts that they were not made of
#[derive(Debug, Args)]
pub(crate) struct VectorArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Pairs of texts, JSON lines with `positive` and `negative`
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["positive", "negative"])]
    pairs: Option<PathBuf>,
    /// Texts to which vectors point, one a line
    #[arg(long, value_name = "FILE.txt", requires = "negative")]
    positive: Option<PathBuf>,
    /// Texts of the other kind, one a line
    #[arg(long, value_name = "FILE.txt", requires = "positive")]
    negative: Option<PathBuf>,
    /// Hook points, in TransformerLens names; * stands for anything
    #[arg(long, value_name = "NAME", num_args = 1.., default_value = "blocks.*.hook_resid_post")]
    hook: Vec<String>,
    /// How the direction is found
    #[arg(long, value_enum, default_value = "mean")]
    method: MethodArg,
    /// Which tokens of a text are read
    #[arg(long, value_enum, default_value = "last")]
    read: ReadArg,
    /// Tokens of a reply, for --read reply [default: 32]
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// The texts are what a user says: by the model's chat template
    #[arg(long)]
    chat: bool,
    /// Control vector to write, for `steer`, repeng and llama.cpp: directions of every block's residual stream but the first's
    #[arg(long, value_name = "FILE.gguf")]
    out: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Dictionary in whose features the vector at its hook point is told
    #[arg(long, value_name = "SAE")]
    sae: Option<PathBuf>,
    /// Feature database, for labels
    #[arg(long, value_name = "FEATURES.db", requires = "sae")]
    features: Option<PathBuf>,
    /// Features that are told
    #[arg(long, value_name = "N", default_value = "8")]
    parts: NonZeroUsize,
    /// Beginning-of-sequence token before every text
    #[arg(long, value_enum, default_value = "auto")]
    bos: Bos,
    #[command(flatten)]
    belonging: BelongingArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    /// Difference of the means
    Mean,
    /// First principal direction of the differences of pairs
    Pca,
    /// Logistic regression
    Logistic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadArg {
    /// The last token
    Last,
    /// All but special ones, as a mean
    Mean,
    /// Those of a reply that the model writes, as a mean
    Reply,
}

/// A line of a file of pairs.
#[derive(Deserialize)]
struct Pair {
    positive: String,
    negative: String,
}

pub(crate) fn run(args: &VectorArgs, context: &Context) -> anyhow::Result<()> {
    NamedModel::find(&args.model)?;
    let inputs = [&args.pairs, &args.positive, &args.negative, &args.sae, &args.features];
    let inputs: Vec<PathBuf> = inputs.into_iter().flatten().cloned().collect();
    args.out.as_ref().map_or(Ok(()), |out| outputs::check(out, &CONTROL_VECTOR, args.force, &inputs))?;
    if args.tokens.is_some() && args.read != ReadArg::Reply {
        return Err(Complaint::usage("--tokens is for replies; give --read reply, or leave it out"));
    }
    let texts = texts(args)?;
    let sae = args.sae.as_deref().map(|dir| load_sae(dir, args.belonging.other_model, &context.surroundings()));
    let sae = sae.transpose()?;
    let database = args.features.as_deref().map(|path| context.database(path)).transpose()?;
    let model = load_model(&args.model, &args.compute, context)?;
    sae.iter().try_for_each(|sae| check_model(sae, &model).map(drop))?;
    sae.iter().for_each(|sae| say_doubts(sae, Some(&model.identity()), &context.surroundings()));
    let texts = if args.chat { as_conversations(&texts, &model, context)? } else { texts };
    let points = points(args, &model)?;
    let found = contrast(&model, &points, &texts, &plan(args), &context.progress)?;
    let explained = match &sae {
        None => None,
        Some(sae) => {
            let point = written_point_of(sae)?;
            let here = found.iter().find(|found| found.point == point).unwrap_or(&found[0]);
            Some(explain(&here.vector, here.point, sae, args.parts.get())?)
        }
    };
    let written = args.out.as_deref().map(|out| write(out, &found, &model, args, context)).transpose()?;
    let value = serde_json::json!({
        "plan": plan(args), "vectors": found, "best": best(&found).map(|best| best.point.to_string()),
        "as_good": best(&found).map(|best| as_good(&found, best).map(|other| other.point.to_string()).collect::<Vec<_>>()),
        "explained": explained,
        "written": written,
    });
    context.output.result(&value, |out| {
        write_text(out, &found)?;
        explained.iter().try_for_each(|explained| write_parts(out, explained, database.as_ref()))?;
        let written = written.iter().zip(&args.out);
        written.into_iter().try_for_each(|(blocks, path)| {
            let blocks = blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            writeln!(out, "\n{}: directions of the blocks {blocks}", path.display())
        })
    })
}

fn plan(args: &VectorArgs) -> ContrastPlan {
    let method = match args.method {
        MethodArg::Mean => Method::Mean,
        MethodArg::Pca => Method::Pca,
        MethodArg::Logistic => Method::Logistic,
    };
    let read = match args.read {
        ReadArg::Last => Read::Last,
        ReadArg::Mean => Read::Mean,
        ReadArg::Reply => Read::Reply(args.tokens.unwrap_or(REPLY)),
    };
    ContrastPlan { method, read, bos: args.bos.into() }
}

fn points(args: &VectorArgs, model: &LanguageModel) -> anyhow::Result<Vec<HookPoint>> {
    let mut points = Vec::new();
    for pattern in &args.hook {
        points.extend(model.hook_points_of(pattern)?);
    }
    points.sort_unstable();
    points.dedup();
    points.iter().try_for_each(|point| model.width_of(*point).map(drop))?;
    Ok(points)
}

fn texts(args: &VectorArgs) -> anyhow::Result<Texts> {
    if let Some(path) = &args.pairs {
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for (number, line) in lines(path)?.iter().enumerate() {
            let problem = |error| {
                let place = format!("{}: line {}", path.display(), number + 1);
                Complaint::bad_input(format!("{place}: {error}; write {{\"positive\": \"…\", \"negative\": \"…\"}}"))
            };
            let pair: Pair = serde_json::from_str(line).map_err(problem)?;
            positive.push(pair.positive);
            negative.push(pair.negative);
        }
        return Ok(Texts { positive, negative, paired: true });
    }
    if args.positive.is_none() {
        return Err(Complaint::usage(
            "give texts of two kinds: --pairs FILE.jsonl, or --positive FILE.txt and --negative FILE.txt",
        ));
    }
    let read = |path: &Option<PathBuf>| path.as_deref().map_or(Ok(Vec::new()), lines);
    Ok(Texts { positive: read(&args.positive)?, negative: read(&args.negative)?, paired: false })
}

/// The lines of a file that are not blank.
fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let bytes = std::fs::read(path).map_err(|error| Complaint::io(path, &error))?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| Complaint::bad_input(format!("{}: is not UTF-8; give text", path.display())))?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn as_conversations(texts: &Texts, model: &LanguageModel, context: &Context) -> anyhow::Result<Texts> {
    let template = chat_template(model, &context.surroundings())?;
    let render = |text: &String| Ok(template.render(&Conversation::of_user(text), true, &context.progress)?);
    let all = |texts: &[String]| texts.iter().map(render).collect::<anyhow::Result<Vec<_>>>();
    Ok(Texts { positive: all(&texts.positive)?, negative: all(&texts.negative)?, paired: texts.paired })
}

/// Writes the vectors that a file can hold; of which blocks.
fn write(
    out: &Path,
    found: &[Found],
    model: &LanguageModel,
    args: &VectorArgs,
    context: &Context,
) -> anyhow::Result<Vec<usize>> {
    let mut directions = BTreeMap::new();
    for found in found {
        match found.point {
            HookPoint::Block { layer, site: Site::ResidPost } if layer > 0 => {
                directions.insert(layer, found.vector.clone());
            }
            other => context.progress.note(&format!(
                "{}: holds directions of residual streams behind a block, the first aside; {other} is left out",
                out.display()
            )),
        }
    }
    if directions.is_empty() {
        let problem = format!("{}: none of the hook points is one that a control vector has", out.display());
        return Err(Complaint::usage(format!("{problem}; give --hook blocks.1.hook_resid_post or a later block's")));
    }
    let vector = ControlVector::of(&model.identity(), directions);
    let partial = Partial::claim_for(out, CONTROL_VECTOR, args.force)?;
    std::fs::write(partial.data(), vector.to_bytes()).map_err(|error| Complaint::io(out, &error))?;
    partial.finish()?;
    Ok(vector.directions.into_keys().collect())
}

/// The vector that tells most of the texts right that it was not made of; of several the one that tells most of the others. None
/// where not even the best one's interval is above chance.
fn best(found: &[Found]) -> Option<&Found> {
    let rank = |found: &&Found| (found.held_out.value(), found.made_of.value());
    // Of those that are as good, one that a control vector can hold.
    let is_kept = |found: &&Found| matches!(found.point, HookPoint::Block { layer: 1.., site: Site::ResidPost });
    found
        .iter()
        .rev()
        .max_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap_or(Ordering::Equal).then(is_kept(a).cmp(&is_kept(b))))
        .filter(|best| best.held_out.interval().0 > 0.5)
}

/// The others that tell as many texts right.
fn as_good<'f>(found: &'f [Found], best: &'f Found) -> impl Iterator<Item = &'f Found> {
    let rank = |found: &Found| (found.held_out.value(), found.made_of.value());
    found.iter().filter(move |other| other.point != best.point && rank(other) == rank(best))
}

fn write_text(out: &mut dyn Write, found: &[Found]) -> io::Result<()> {
    let head = ["", "told right", "of texts that made it", "length", "in norms"].map(str::to_owned).to_vec();
    let row = |found: &Found| {
        let (low, high) = found.held_out.interval();
        let held_out = found.held_out;
        vec![
            found.point.to_string(),
            format!("{} of {} [{:.0}, {:.0} %]", held_out.hits, held_out.trials, 100.0 * low, 100.0 * high),
            format!("{} of {}", found.made_of.hits, found.made_of.trials),
            format!("{:.2}", found.length),
            format!("{:.2}n", found.of_norm),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(found.iter().map(row)).collect();
    table(out, &rows, &[0])?;
    let verdict = match best(found) {
        Some(best) => {
            let alike: Vec<String> = as_good(found, best).map(|other| other.point.to_string()).collect();
            let alike =
                if alike.is_empty() { String::new() } else { format!(", with as many at {}", alike.join(", ")) };
            format!("best at {}{alike}", best.point)
        }
        None => "none is surely better than chance, 50 %: give more texts".to_owned(),
    };
    writeln!(out, "\ntold right: texts that judge and made no vector, every fifth, with 95 % intervals; {verdict}")
}

fn write_parts(out: &mut dyn Write, explained: &Explanation, database: Option<&Database>) -> io::Result<()> {
    writeln!(out, "\nin features, {:.0} % of its square:", 100.0 * explained.explained)?;
    for part in &explained.parts {
        let card = database.and_then(|database| database.card(part.feature).ok());
        let label = card.and_then(|card| card.label_text().map(|label| format!("  {label}"))).unwrap_or_default();
        writeln!(
            out,
            "  {:>9.3}  {:>3.0} %  feature {}{label}",
            part.activation,
            100.0 * part.explained,
            part.feature
        )?;
    }
    Ok(())
}
