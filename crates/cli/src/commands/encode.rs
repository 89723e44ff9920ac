//! `untangle encode`: which features of a dictionary fire on the rows of a store?

use super::dictionaries::AnyDictionary;
use super::options::open_beside;
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
use untangle_interpret::corpus::side_by_side;
use untangle_interpret::database::sae_sha256;
use untangle_interpret::point::columns_of;
use untangle_interpret::progress::Progress;
use untangle_sae::{Codes, Sae};
use untangle_schema::{TOOL_VERSION, Unit};
use untangle_sources::dictionary::say_doubts;
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
    /// Stores of the other models whose activations a crosscoder reads beside those of STORE
    #[arg(long, value_name = "STORE", num_args = 1..)]
    with: Vec<String>,
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
fn about(args: &EncodeArgs, sae: &Sae, store: &ActivationSet, columns: &[usize]) -> BTreeMap<String, String> {
    let name = args.sae.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let model = store.manifest().map(|manifest| manifest.model.name.clone());
    let hooks: Vec<&str> = columns.iter().map(|column| store.columns()[*column].name.as_str()).collect();
    let said = [
        ("tool_version", Some(TOOL_VERSION.to_owned())),
        ("sae", Some(name)),
        ("sae_sha256", Some(sae_sha256(sae))),
        ("d_sae", Some(sae.d_sae().to_string())),
        ("store", Some(store.name())),
        ("store_content", Some(store.content_identity())),
        ("hook", Some(hooks.join(" "))),
        ("model", model),
        ("part", args.part.to_possible_value().map(|part| part.get_name().to_owned())),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The columns that a dictionary reads, of a crosscoder one for each part.
fn columns(
    dictionary: &AnyDictionary,
    store: &ActivationSet,
    args: &EncodeArgs,
    context: &Context,
) -> anyhow::Result<Vec<usize>> {
    match (dictionary, &args.hook) {
        (AnyDictionary::Sae(sae), hook) => {
            say_doubts(sae, store.manifest().map(|manifest| &manifest.model), &context.surroundings());
            let column = column_of(sae, store, hook.as_deref())?;
            say_other_hook(sae, &store.columns()[column].name, context);
            Ok(vec![column])
        }
        (AnyDictionary::Crosscoder(crosscoder), None) => Ok(columns_of(crosscoder, store)?),
        (AnyDictionary::Crosscoder(_), Some(_)) => Err(Complaint::usage(
            "--hook is for dictionaries of one activation; a crosscoder says itself which it reads",
        )),
    }
}

/// Says where what was named is not what the dictionary reads.
fn say_other_hook(sae: &Sae, read: &str, context: &Context) {
    if let Some(own) = sae.provenance().hook().filter(|own| *own != read) {
        context.progress.warning(&format!(
            "the dictionary belongs to {own}, and reads {read}; if they are two, its codes say nothing"
        ));
    }
}

/// Rows that are encoded together.
const BLOCK_ROWS: usize = 8192;

pub(crate) fn run(args: &EncodeArgs, context: &Context) -> anyhow::Result<()> {
    let dictionary = AnyDictionary::load(&args.sae, args.belonging, context)?;
    dictionary.check_beside(&args.with)?;
    let store = open_beside(&args.store, &args.with, context)?;
    let inputs: Vec<PathBuf> = store.paths().into_iter().chain([args.sae.clone()]).collect();
    outputs::check(&args.out, &CODES, args.force, &inputs)?;
    let (sae, columns) = (dictionary.sae(), columns(&dictionary, &store, args, context)?);
    let part = match args.part {
        PartChoice::All => Part::All,
        PartChoice::Train => Part::Train,
        PartChoice::HeldOut => Part::HeldOut,
    };
    let limit = args.rows.unwrap_or(store.n_rows()).min(store.n_rows());
    if limit == 0 {
        return Err(Complaint::usage("--rows 0 leaves nothing to encode".to_owned()));
    }
    let about = about(args, sae, &store, &columns);
    let scan = || Scan::new(store, &HeldOut::default(), part, &columns, BLOCK_ROWS);
    let mut scan = context.progress.with_nothing_to_save(scan)??;
    let mut file = CodesFile::create(&args.out, args.force, about)?;
    let mut progress = Progress::start(&context.progress, "encode", Unit::Rows, limit);
    let (mut block, mut joined, mut codes) = (RowBlock::default(), Vec::new(), Codes::new());
    while file.counts().0 < limit && scan.next_block(&mut block)? {
        let n = block.len().min((limit - file.counts().0) as usize);
        side_by_side(&block.columns, block.len(), &mut joined);
        sae.encode(&joined[..n * sae.d_in()], &mut codes)?;
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
