//! `untangle inspect`: what is in a file that Untangle or its peers wrote?

use super::figures::write_training;
use super::{crosscoder, inspect_store};
use crate::codes_file::{self, Told};
use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use untangle_interpret::exchange::exported;
use untangle_model::ModelConfig;
use untangle_model::hub::{Snapshot, fetch_config};
use untangle_organism::bundled;
use untangle_sae::{Crosscoder, RowScaling, Sae};
use untangle_sources::NamedModel;
use untangle_sources::dictionary::training_record;

/// Show what an activation store, a dictionary, a feature database, codes, an export or a model holds
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Store (.h5), matrix (.npy, file.npz:key, file.safetensors:key, file.h5:/dataset), dictionary or model directory, database
    /// (.db), owner/name of a model on the hub, of which no weights are fetched, or organism[:STAGE]
    #[arg(value_name = "FILE")]
    file: String,
    /// Read every row of a store as well: its checksums, norms and statistics must be those of the rows
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(args: &InspectArgs, context: &Context) -> anyhow::Result<()> {
    let path = Path::new(&args.file);
    if let Some(stage) = bundled::stage_of(&args.file)? {
        return model("config.json".as_ref(), bundled::files(stage).config, None, context);
    }
    if Crosscoder::is_at(path) {
        return crosscoder::inspect(path, context);
    }
    if Sae::is_at(path) {
        return dictionary(path, context);
    }
    if path.join("config.json").exists() {
        let path = path.join("config.json");
        let text = fs::read(&path).map_err(|error| Complaint::io(&path, &error))?;
        return model(&path, &text, None, context);
    }
    if let Some(NamedModel::Hub { id, revision }) = NamedModel::of_hub_unless_a_file(&args.file)? {
        let found = fetch_config(&id, revision.as_deref(), &context.hub()?, &context.progress)?;
        let path = found.dir.join("config.json");
        let text = fs::read(&path).map_err(|error| Complaint::io(&path, &error))?;
        return model(&path, &text, Some(&found), context);
    }
    if let Some(features) = exported(path) {
        return export(features, context);
    }
    if path.is_file()
        && let Ok(Some(told)) = codes_file::told(path)
    {
        return codes(path, &told, context);
    }
    if path.is_dir() {
        // What it holds instead, such as folders with dictionaries; of models nothing is known but their config.json.
        let problem = Sae::load(path).err().map(|error| error.to_string()).unwrap_or_default();
        return Err(Complaint::bad_input(format!("{problem}; a model's has config.json")));
    }
    if path.extension().is_some_and(|extension| extension == "db") {
        return database(path, context);
    }
    inspect_store::run(&args.file, args.verify, context)
}

fn dictionary(dir: &Path, context: &Context) -> anyhow::Result<()> {
    let sae = Sae::load(dir)?;
    let training = training_record(dir)?;
    let (description, provenance) = (sae.description(), sae.provenance());
    context.output.result(
        &json!({ "kind": "dictionary", "config": sae.written(), "notes": sae.notes(), "training": training }),
        |out| {
            let k = sae.k().map(|k| format!(", k {k}")).unwrap_or_default();
            let (architecture, features, width) = (sae.architecture(), sae.d_sae(), sae.d_in());
            let predicted = description.d_out.map(|d_out| format!(", predicting width {d_out}")).unwrap_or_default();
            writeln!(
                out,
                "{architecture} dictionary{k}: {features} features of activations of width {width}{predicted}"
            )?;
            writeln!(out, "model      {}", provenance.model().unwrap_or("unknown"))?;
            writeln!(out, "hook       {}", provenance.hook().unwrap_or("unknown"))?;
            if sae.is_transcoder() {
                writeln!(out, "predicts   {}", provenance.predicts.as_deref().unwrap_or("unknown"))?;
            }
            if description.scaling != RowScaling::None {
                writeln!(out, "rows       {} before they are encoded", description.scaling)?;
            }
            sae.notes().iter().try_for_each(|note| writeln!(out, "note       {note}"))?;
            training.as_ref().map_or(Ok(()), |training| write_training(out, training))
        },
    )
}

fn database(path: &Path, context: &Context) -> anyhow::Result<()> {
    let database = context.database(path)?;
    let (run, n_features) = (database.run()?, database.n_features()?);
    let expected = run.config["d_sae"].as_u64();
    if expected.is_some_and(|expected| expected != n_features as u64) {
        return Err(Complaint::bad_input(format!(
            "{}: is damaged: it has {n_features} features of a dictionary of {}; make it again with `untangle features`",
            path.display(),
            expected.unwrap_or_default()
        )));
    }
    context.output.result(&json!({ "kind": "features", "features": n_features, "run": run }), |out| {
        writeln!(out, "{n_features} features of {}, described on {}", run.sae, run.store)?;
        writeln!(out, "rows       {} for examples, {} held out for label scores", run.rows, run.held_out_rows)?;
        let model = run.model.as_ref().map_or("not given", |model| &model.name);
        writeln!(out, "model      {model}")?;
        writeln!(out, "written    by untangle {}", run.tool_version)
    })
}

/// What `untangle encode` wrote.
fn codes(path: &Path, told: &Told, context: &Context) -> anyhow::Result<()> {
    let Told { rows, active, about, size, should } = told;
    if size != should {
        let problem = if size < should { "was cut short" } else { "has something behind its tensors" };
        let path = path.display();
        return Err(Complaint::bad_input(format!(
            "{path}: a file of codes that {problem}: it has {size} bytes where its header asks for {should}; run `untangle encode` again"
        )));
    }
    let value = json!({ "kind": "codes", "rows": rows, "active": active, "about": about });
    context.output.result(&value, |out| {
        let of = |name: &str| about.get(name).and_then(Value::as_str).unwrap_or("unknown");
        let mean = *active as f64 / (*rows).max(1) as f64;
        writeln!(out, "codes of {rows} rows by {}: {mean:.2} of {} features a row", of("sae"), of("d_sae"))?;
        writeln!(out, "rows       {} of {}, at {}", of("part"), of("store"), of("hook"))?;
        writeln!(out, "model      {}", of("model"))?;
        writeln!(out, "written    by untangle {}", of("tool_version"))
    })
}

/// What `untangle export` wrote.
fn export(features: usize, context: &Context) -> anyhow::Result<()> {
    context.output.result(&json!({ "kind": "export", "features": features }), |out| {
        writeln!(out, "an export of {features} features for other tools, by `untangle export`")
    })
}

/// Of a model of the hub, `origin` says where it was found.
fn model(path: &Path, text: &[u8], origin: Option<&Snapshot>, context: &Context) -> anyhow::Result<()> {
    let config = ModelConfig::from_json(path, text)?;
    let hooks: Vec<_> = config.hook_points().iter().map(ToString::to_string).collect();
    let value = json!({
        "kind": "model", "name": origin.map(|origin| &origin.id), "revision": origin.map(|origin| &origin.commit),
        "model_type": config.family.model_type(), "n_layers": config.n_layers, "d_model": config.d_model,
        "d_mlp": config.d_mlp, "vocab_size": config.vocab_size, "max_context": config.max_context, "hooks": hooks,
    });
    context.output.result(&value, |out| {
        if let Some(Snapshot { id, commit, .. }) = origin {
            writeln!(out, "{id} at {commit}")?;
        }
        writeln!(out, "{} model: {} blocks of width {}", config.family.model_type(), config.n_layers, config.d_model)?;
        writeln!(out, "vocabulary {} tokens, contexts up to {}", config.vocab_size, config.max_context)?;
        writeln!(
            out,
            "hooks      hook_embed, blocks.0 to blocks.{}, ln_final.hook_scale|normalized",
            config.n_layers - 1
        )?;
        let in_block = hooks.iter().filter_map(|hook| hook.strip_prefix("blocks.0.")).collect::<Vec<_>>().join(", ");
        writeln!(out, "in a block {in_block}")
    })
}
