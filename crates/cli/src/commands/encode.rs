//! `untangle encode`: which features of a dictionary fire on the rows of a store?

use super::options::open_store;
use super::outputs;
use crate::codes_file::{CODES, CodesFile};
use crate::commands::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use untangle_interpret::column_of;
use untangle_interpret::database::sae_sha256;
use untangle_interpret::progress::Progress;
use untangle_sae::{Codes, Sae};
use untangle_schema::{TOOL_VERSION, Unit};
use untangle_sources::dictionary::{load_sae, say_doubts};
use untangle_store::{ActivationSet, HeldOut, Part, RowBlock, Scan};

/// Run the rows of a store through a dictionary and write the sparse codes as safetensors
///
/// The file's metadata say which dictionary, store, hook point and model the codes are of.
#[derive(Debug, Args)]
pub(crate) struct EncodeArgs {
    /// Dictionary directory
    #[arg(value_name = "SAE")]
    sae: PathBuf,
    /// Stores, or matrices (file.h5:/dataset, file.npy, file.npz:key, file.safetensors:key)
    #[arg(value_name = "STORE", required = true)]
    store: Vec<String>,
    /// File to write, with the tensors rows, starts, features and activations
    #[arg(long, value_name = "CODES.safetensors")]
    out: PathBuf,
    /// Column of the store [default: the dictionary's own]
    #[arg(long, value_name = "NAME")]
    hook: Option<String>,
    /// Encode only the first N rows of the part
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// Rows to encode; train and held-out are those of the default split
    #[arg(long, value_enum, default_value = "all")]
    part: PartChoice,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    belonging: BelongingArgs,
}

/// A part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartChoice {
    /// Every row
    All,
    /// Rows that training may read
    Train,
    /// Rows that it may not
    HeldOut,
}

/// What the codes are of, as the file says it: enough to know dictionary, store and rows again, and no path.
fn about(args: &EncodeArgs, sae: &Sae, store: &ActivationSet, column: usize) -> BTreeMap<String, String> {
    let name = args.sae.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let model = store.manifest().map(|manifest| manifest.model.name.clone());
    let said = [
        ("tool_version", Some(TOOL_VERSION.to_owned())),
        ("sae", Some(name)),
        ("sae_sha256", Some(sae_sha256(sae))),
        ("d_sae", Some(sae.d_sae().to_string())),
        ("store", Some(store.name())),
        ("store_content", Some(store.content_identity())),
        ("hook", Some(store.columns()[column].name.clone())),
        ("model", model),
        ("part", args.part.to_possible_value().map(|part| part.get_name().to_owned())),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Rows that are encoded together.
const BLOCK_ROWS: usize = 8192;

pub(crate) fn run(args: &EncodeArgs, context: &Context) -> anyhow::Result<()> {
    let sae = load_sae(&args.sae, args.belonging.other_model, &context.surroundings())?;
    let store = open_store(&args.store, context)?;
    let inputs: Vec<PathBuf> = store.paths().into_iter().chain([args.sae.clone()]).collect();
    outputs::check(&args.out, &CODES, args.force, &inputs)?;
    say_doubts(&sae, store.manifest().map(|manifest| &manifest.model), &context.surroundings());
    let column = column_of(&sae, &store, args.hook.as_deref())?;
    let part = match args.part {
        PartChoice::All => Part::All,
        PartChoice::Train => Part::Train,
        PartChoice::HeldOut => Part::HeldOut,
    };
    let limit = args.rows.unwrap_or(store.n_rows()).min(store.n_rows());
    if limit == 0 {
        return Err(Complaint::usage("--rows 0 leaves nothing to encode".to_owned()));
    }
    let about = about(args, &sae, &store, column);
    let scan = || Scan::new(store, &HeldOut::default(), part, &[column], BLOCK_ROWS);
    let mut scan = context.progress.with_nothing_to_save(scan)??;
    let mut file = CodesFile::create(&args.out, args.force, about)?;
    let mut progress = Progress::start(&context.progress, "encode", Unit::Rows, limit);
    let (mut block, mut codes) = (RowBlock::default(), Codes::new());
    while file.counts().0 < limit && scan.next_block(&mut block)? {
        let n = block.len().min((limit - file.counts().0) as usize);
        sae.encode(&block.columns[0][..n * sae.d_in()], &mut codes)?;
        file.append(&block.rows[..n], &codes)?;
        progress.advance(n as u64)?;
    }
    progress.finish();
    let (rows, active) = file.counts();
    file.finish()?;
    let result = json!({ "codes": args.out, "rows": rows, "active": active });
    context.output.result(&result, |out| {
        let mean = active as f64 / rows.max(1) as f64;
        writeln!(out, "{}: {rows} rows, {mean:.2} active features per row", args.out.display())
    })
}
