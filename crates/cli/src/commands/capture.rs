//! `untangle capture`: what passes a model's hook points while it reads text, written to a store.

use super::options::{Bos, ComputeArgs, load_model_and_reference, parse_hook};
use super::outputs;
use crate::commands::words::TextArgs;
use crate::context::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use untangle_capture::{CaptureConfig, CapturePlan, Captured, Corpus, capture_compared};
use untangle_model::LanguageModel;
use untangle_schema::{CaptureManifest, HookPoint, ShardId, Site, StoreDtype};
use untangle_sources::NamedModel;
use untangle_sources::Text;
use untangle_store::output::STORE;

/// Record a model's activations over text, several hook points in one pass, into a store
#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Files or folders of text: .txt (documents between <|endoftext|> lines), .jsonl, .parquet, all but the last also
    /// as .gz or .zst; - for standard input, dataset:OWNER/NAME[/SPLIT] of the hub, organism[:PART] for documents of its
    /// world
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    text: Vec<PathBuf>,
    /// Hook points in TransformerLens names, such as blocks.2.hook_resid_post; * and ? mean all that fit:
    /// 'blocks.*.hook_resid_post'
    #[arg(long, value_name = "NAME", num_args = 1.., required = true)]
    hook: Vec<String>,
    /// Store to write
    #[arg(long, value_name = "FILE.h5")]
    out: PathBuf,
    /// Tokens per context [default: 128, or what the model takes]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Begin a context with every document and pad it, instead of filling contexts with one document after the other; a
    /// longer document goes on in further contexts. Padding is not stored
    #[arg(long)]
    pad: bool,
    /// Capture only the I-th of N parts, from 1/N to N/N, for job arrays: documents are dealt one by one, and all N
    /// stores given together are read as one
    #[arg(long, value_name = "I/N")]
    shard: Option<ShardId>,
    /// Tokens to capture at most, of all shards together [default: the whole text; 1,000,000 of the organism's world,
    /// which has no end]
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// Contexts per forward pass [default: about 2048 tokens]; with --pad, where they are shorter, more of them
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Element type of the stored activations
    #[arg(long, value_enum, default_value = "f16")]
    store: StoreType,
    /// Beginning-of-sequence token before contexts and documents
    #[arg(long, value_enum, default_value = "auto")]
    bos: Bos,
    /// Compress the activations in the end, losslessly (gzip, which every HDF5 library reads): smaller files that are
    /// slower to read
    #[arg(long)]
    compress: bool,
    /// Replace a finished store, and discard an unfinished one of other settings
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    reading: TextArgs,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Element type on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreType {
    /// 4 bytes, exact
    F32,
    /// 2 bytes, 11 significant bits, up to 65,504
    F16,
    /// 2 bytes, 8 significant bits, full range
    Bf16,
}

impl From<StoreType> for StoreDtype {
    fn from(store: StoreType) -> Self {
        match store {
            StoreType::F32 => StoreDtype::F32,
            StoreType::F16 => StoreDtype::F16,
            StoreType::Bf16 => StoreDtype::Bf16,
        }
    }
}

/// Tokens of the world's text where no number is asked for.
const WORLD_TOKENS: u64 = 1_000_000;

pub(crate) fn run(args: &CaptureArgs, context: &Context) -> anyhow::Result<()> {
    outputs::check(&args.out, &STORE, args.force, &outputs::paths(Some(&args.model), &args.text))?;
    let captured = with_plan(args, None, context, |plan, model, reference, text| {
        context.progress.note(&describe(&plan.settings(text.corpus())));
        Ok(capture_compared(&plan, &model, reference, text.corpus(), &context.progress)?)
    })?;
    let manifest = &captured.manifest;
    context.output.result(
        &json!({ "store": captured.path, "manifest": manifest, "rounding": captured.rounding, "padding": captured.padding }),
        |out| {
            let hooks: Vec<_> = manifest.hooks.iter().map(|hook| format!("{} [{}]", hook.hook, hook.d_in)).collect();
            let (rows, documents) = (manifest.n_rows, manifest.n_documents);
            writeln!(out, "{}: {rows} tokens of {documents} documents, {}", captured.path.display(), hooks.join(", "))
        },
    )
}

/// Checks what is asked for, loads model and text, and does `work` with them; `out` takes the place of the output.
pub(super) fn with_plan<T>(
    args: &CaptureArgs,
    out: Option<&Path>,
    context: &Context,
    work: impl FnOnce(CapturePlan, LanguageModel, Option<LanguageModel>, &Text) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    // What is named is looked for before the model is loaded: the cheapest mistakes to find come first.
    args.hook.iter().filter(|name| !is_pattern(name)).try_for_each(|name| parse_hook(name).map(|_| ()))?;
    NamedModel::find(&args.model)?;
    Text::check(&args.text)?;
    let (model, reference) = load_model_and_reference(&args.model, &args.compute, context)?;
    let hooks = hooks_of(&args.hook, &model)?;
    let config = CaptureConfig {
        context: args.context,
        pad: args.pad,
        batch: args.batch,
        tokens: args.tokens,
        store: args.store.into(),
        bos: args.bos.into(),
        shard: args.shard,
        compress: args.compress,
        force: args.force,
        threads: Some(context.threads),
        ..CaptureConfig::new(hooks, out.unwrap_or(&args.out).to_owned())
    };
    let text = Text::find(
        &args.text,
        &args.reading.reading(),
        args.tokens.unwrap_or(WORLD_TOKENS),
        &model,
        &context.surroundings(),
    )?;
    let plan = CapturePlan::new(&config, &model)?;
    work(plan, model, reference, &text)
}

impl CaptureArgs {
    /// Store to write.
    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// Element type of the stored activations.
    pub(super) fn store_dtype(&self) -> StoreDtype {
        self.store.into()
    }

    /// Whether the store is compressed in the end.
    pub(super) fn is_compressed(&self) -> bool {
        self.compress
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// The hook points that names and patterns mean, each once. A pattern means attention's scores and patterns only where it
/// names them, because they are wide and keep the model from its faster attention, and so it does what the MLP reads, which
/// mostly is the stream between attention and MLP once more.
fn hooks_of(names: &[String], model: &LanguageModel) -> anyhow::Result<Vec<HookPoint>> {
    let mut hooks = Vec::new();
    for name in names {
        let meant = if is_pattern(name) { model.hook_points_of(name)? } else { vec![parse_hook(name)?] };
        for point in meant {
            let named = match point {
                HookPoint::Block { site, .. } if site.is_of_pairs() || site == Site::MlpIn => {
                    name.ends_with(site.name())
                }
                _ => true,
            };
            let wanted = !is_pattern(name) || named;
            if wanted && !hooks.contains(&point) {
                hooks.push(point);
            }
        }
    }
    Ok(hooks)
}

/// Captures, or continues an interrupted capture of the same settings. `reference` is the same model in f32, where what
/// its arithmetic costs is to be told.
pub(crate) fn capture_text(
    config: &CaptureConfig,
    corpus: &Corpus,
    model: &LanguageModel,
    reference: Option<LanguageModel>,
    context: &Context,
) -> anyhow::Result<Captured> {
    let config = CaptureConfig { threads: Some(context.threads), ..config.clone() };
    let plan = CapturePlan::new(&config, model)?;
    context.progress.note(&describe(&plan.settings(corpus)));
    Ok(capture_compared(&plan, model, reference, corpus, &context.progress)?)
}

/// Whether a finished store is what this capture would make. The rows themselves are not compared.
pub(crate) fn is_capture_of(
    manifest: Option<&CaptureManifest>,
    config: &CaptureConfig,
    corpus: &Corpus,
    model: &LanguageModel,
) -> anyhow::Result<bool> {
    let settings = CapturePlan::new(config, model)?.settings(corpus);
    let Some(manifest) = manifest.and_then(|manifest| serde_json::to_value(manifest).ok()) else { return Ok(false) };
    let same = |key: &str| settings[key] == manifest[key];
    let decided = ["model", "hooks", "shard", "context", "batch", "bos", "bos_token", "compute_dtype", "store_dtype"];
    let mut keys = decided.into_iter().chain(["pad", "chat_template_sha256"]);
    // A capture that stops at a number of tokens does not come to the last files.
    let read = manifest["corpus"].as_array().map_or(&[][..], |files| files);
    let named = settings["text"].as_array().map_or(&[][..], |files| files);
    let same_file = |(a, b): (&Value, &Value)| ["name", "bytes", "field"].iter().all(|key| a[key] == b[key]);
    Ok(keys.all(same) && read.len() <= named.len() && read.iter().zip(named).all(same_file))
}

/// Everything that the plan decided, in one line.
fn describe(settings: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let hooks: Vec<_> = settings["hooks"].as_array().into_iter().flatten().map(|hook| text(&hook["hook"])).collect();
    format!(
        "{} at {}: contexts of {} tokens{}, {} per pass, beginning-of-sequence token {}, computed in {}, stored as {}",
        text(&settings["model"]["name"]),
        hooks.join(", "),
        settings["context"],
        if settings["pad"] == true { " at most, one or more for every document" } else { "" },
        settings["batch"],
        if settings["bos_token"].is_null() { "none".to_owned() } else { settings["bos_token"].to_string() },
        text(&settings["compute_dtype"]),
        text(&settings["store_dtype"]),
    )
}
