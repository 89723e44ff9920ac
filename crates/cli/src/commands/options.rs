//! Options that several verbs share, and what they mean.

use crate::context::Context;
use crate::device::DeviceChoice;
use crate::exit::Complaint;
use clap::{Args, ValueEnum};
use std::path::Path;
use std::sync::Arc;
use tch::Kind;
use untangle_model::{LanguageModel, LoadOptions};
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, HookPoint};
use untangle_store::ActivationSet;

/// Where and in which arithmetic a model runs.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ComputeArgs {
    /// Arithmetic of the model; auto is f32 on a CPU and bf16 on a GPU
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) dtype: Dtype,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    /// What is fastest without a loss that matters.
    Auto,
    /// Single precision.
    F32,
    /// The upper half of a single.
    Bf16,
}

/// When a beginning-of-sequence token comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bos {
    /// Where the model has such a token.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Bos> for BosPolicy {
    fn from(bos: Bos) -> Self {
        match bos {
            Bos::Auto => BosPolicy::Auto,
            Bos::Always => BosPolicy::Always,
            Bos::Never => BosPolicy::Never,
        }
    }
}

/// Loads a model directory.
pub(crate) fn load_model(dir: &Path, compute: ComputeArgs, context: &Context) -> anyhow::Result<LanguageModel> {
    if !dir.is_dir() {
        let what = if dir.exists() { "is not a directory" } else { "does not exist" };
        return Err(Complaint::bad_input(format!(
            "{}: {what}; give a model directory in Hugging Face form (config.json, tokenizer.json, *.safetensors)",
            dir.display()
        )));
    }
    let device = context.device(compute.device);
    let kind = match compute.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::Auto if device == tch::Device::Cpu => Kind::Float,
        Dtype::Auto => Kind::BFloat16,
    };
    Ok(LanguageModel::load(dir, &LoadOptions { kind, device })?)
}

/// Reads a hook name. One that Untangle does not know is bad input, like one that the model lacks.
pub(crate) fn parse_hook(name: &str) -> anyhow::Result<HookPoint> {
    name.parse().map_err(|error| Complaint::bad_input(format!("{error}")))
}

/// Opens a store; see [`ActivationSet::open`].
pub(crate) fn open_store(places: &[String]) -> anyhow::Result<Arc<ActivationSet>> {
    Ok(Arc::new(ActivationSet::open(places)?))
}

/// The column that is meant: the named one, else the only one.
pub(crate) fn choose_column(store: &ActivationSet, hook: Option<&str>) -> anyhow::Result<usize> {
    match (hook, store.columns()) {
        (Some(name), _) => Ok(store.column(name)?),
        (None, [_]) => Ok(0),
        (None, columns) => {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            Err(Complaint::usage(format!("{} holds {}; choose one with --hook", store.name(), names.join(", "))))
        }
    }
}

/// The column that a dictionary reads: the named one, else the one of its own hook point, else the only one.
pub(crate) fn column_of(sae: &Sae, store: &ActivationSet, hook: Option<&str>) -> anyhow::Result<usize> {
    let own = sae.config().metadata.hook_name.as_deref();
    let column = match own.filter(|_| hook.is_none()) {
        Some(own) if store.columns().len() > 1 || store.columns()[0].hook.is_some() => store.column(own)?,
        _ => choose_column(store, hook)?,
    };
    let found = store.columns()[column].d;
    if found != sae.d_in() {
        return Err(untangle_sae::SaeError::Width { expected: sae.d_in(), found }.into());
    }
    Ok(column)
}
