//! Options that several verbs share, and what they mean.

use crate::context::Context;
use crate::device::DeviceChoice;
use crate::exit::Complaint;
use crate::lines::shell;
use clap::{Args, ValueEnum};
use std::path::Path;
use std::sync::Arc;
use tch::Kind;
use untangle_interpret::steer::grammar::Amount;
use untangle_model::{LanguageModel, LoadOptions, threads};
use untangle_schema::{BosPolicy, HookPoint};
use untangle_sources::NamedModel;
use untangle_store::ActivationSet;
use untangle_train::Kind as Architecture;

/// Where and in which arithmetic a model runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct ComputeArgs {
    /// Arithmetic of the model; auto is f32 on a CPU and bf16 on a GPU
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) dtype: Dtype,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,
    /// Branch, tag or commit of a model of the hub [default: main]
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
}

impl ComputeArgs {
    /// The options that are not left as they are, each behind a space.
    pub(crate) fn words(&self) -> String {
        let dtype = self.dtype.to_possible_value().filter(|_| self.dtype != Dtype::Auto);
        let dtype = dtype.map(|dtype| format!(" --dtype {}", dtype.get_name()));
        let revision = self.revision.as_ref().map(|revision| format!(" --revision {}", shell(revision)));
        dtype.unwrap_or_default() + &revision.unwrap_or_default()
    }
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

impl Dtype {
    /// The kind of a model's parameters on a device.
    fn kind(self, device: tch::Device) -> Kind {
        match self {
            Dtype::F32 => Kind::Float,
            Dtype::Bf16 => Kind::BFloat16,
            Dtype::Auto if device == tch::Device::Cpu => Kind::Float,
            Dtype::Auto => Kind::BFloat16,
        }
    }
}

/// Loads the model that a MODEL argument names.
pub(crate) fn load_model(name: &Path, compute: &ComputeArgs, context: &Context) -> anyhow::Result<LanguageModel> {
    let model = NamedModel::find(name)?.at(compute.revision.as_deref())?;
    let device = context.device(compute.device);
    let (fetched, options) =
        (model.fetch(&context.surroundings())?, LoadOptions { kind: compute.dtype.kind(device), device });
    let model = context.progress.with_nothing_to_save(|| fetched.load(&options))??;
    model.notes().iter().for_each(|note| context.progress.warning(note));
    threads::give_this_thread(threads::worthwhile(model.d_model(), context.threads));
    Ok(model)
}

/// The same, and where the model does not compute in f32, once more in f32, for comparison.
pub(crate) fn load_model_and_reference(
    name: &Path,
    compute: &ComputeArgs,
    context: &Context,
) -> anyhow::Result<(LanguageModel, Option<LanguageModel>)> {
    let exact = load_model(name, &ComputeArgs { dtype: Dtype::F32, ..compute.clone() }, context)?;
    match compute.dtype.kind(exact.device()) {
        Kind::Float => Ok((exact, None)),
        kind => Ok((exact.in_kind(kind)?, Some(exact))),
    }
}

/// Reads a value of `--sweep`, which is in the unit of the strengths that it replaces.
pub(crate) fn sweep_value(text: &str) -> Result<f32, String> {
    let problem = match text.trim().parse::<f32>() {
        Ok(value)
            if value.abs() > Amount::MOST
                && (value.is_finite() || text.trim().ends_with(|c: char| c.is_ascii_digit())) =>
        {
            return Err(Amount::absurd(text));
        }
        Ok(value) if value.is_finite() => return Ok(value),
        Err(_) if text.trim().strip_suffix('x').is_some_and(|value| value.parse::<f32>().is_ok()) => {
            "leave x out: values are in the unit of --feature, which may have it (12:add=1x)"
        }
        _ => "expected a finite number, such as 0.5",
    };
    Err(problem.to_owned())
}

/// Reads a hook name. One that Untangle does not know is bad input, like one that the model lacks.
pub(crate) fn parse_hook(name: &str) -> anyhow::Result<HookPoint> {
    name.parse().map_err(|error| Complaint::bad_input(format!("{error}")))
}

/// Opens a store; see [`ActivationSet::open`].
pub(crate) fn open_store(places: &[String], context: &Context) -> anyhow::Result<Arc<ActivationSet>> {
    open_beside(places, &[], context)
}

/// Opens a store and others to be read beside it; see [`ActivationSet::with_beside`].
pub(crate) fn open_beside(
    places: &[String],
    beside: &[String],
    context: &Context,
) -> anyhow::Result<Arc<ActivationSet>> {
    let others = beside.iter().map(|place| ActivationSet::open(&[place])).collect::<Result<Vec<_>, _>>()?;
    let mut store = ActivationSet::open(places)?;
    if !others.is_empty() {
        store = store.with_beside(others)?;
    }
    store.notes().iter().for_each(|note| context.progress.note(note));
    Ok(Arc::new(store))
}

/// The columns that a dictionary of this architecture reads: of a crosscoder all of these names, of the store and of those
/// beside it; of others the one that is meant.
pub(crate) fn choose_columns(
    store: &ActivationSet,
    architecture: Architecture,
    hooks: &[String],
) -> anyhow::Result<Vec<usize>> {
    match (architecture.is_crosscoder(), hooks) {
        (false, [] | [_]) => Ok(vec![choose_column(store, hooks.first().map(String::as_str))?]),
        (false, _) => {
            let problem =
                format!("{architecture} reads one activation, not {}: --hook {}", hooks.len(), hooks.join(" --hook "));
            Err(Complaint::usage(format!("{problem}; --arch crosscoder reads several")))
        }
        (true, []) => {
            let own = store.columns().first().map(|column| column.name.clone()).unwrap_or_default();
            let all = store.columns_named(&own);
            match all.len() == store.columns().len() {
                true => Ok(all),
                false => {
                    Err(Complaint::usage(format!("{architecture} needs --hook, once for every activation of a model")))
                }
            }
        }
        (true, _) => {
            let mut columns = Vec::new();
            for hook in hooks {
                store.column(hook).map_err(|error| Complaint::bad_input(error.to_string()))?;
                columns.extend(store.columns_named(hook));
            }
            Ok(columns)
        }
    }
}

/// The column that is meant: the named one, else the only one.
pub(crate) fn choose_column(store: &ActivationSet, hook: Option<&str>) -> anyhow::Result<usize> {
    match (hook, store.columns()) {
        // A hook that a store lacks is the same mistake as one that a model lacks.
        (Some(name), _) => store.column(name).map_err(|error| Complaint::bad_input(error.to_string())),
        (None, [_]) => Ok(0),
        (None, columns) => {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            Err(Complaint::usage(format!("{} holds {}; choose one with --hook", store.name(), names.join(", "))))
        }
    }
}

/// The column that a dictionary of this architecture predicts from `column`: the one that is named; none of autoencoders.
pub(crate) fn choose_target(
    store: &ActivationSet,
    architecture: Architecture,
    column: usize,
    hook_out: Option<&str>,
) -> anyhow::Result<Option<usize>> {
    check_hook_out(architecture, hook_out, &store.columns()[column].name)?;
    let find = |name: &str| store.column(name).map_err(|error| Complaint::bad_input(error.to_string()));
    hook_out.map(find).transpose()
}

/// Whether a dictionary of this architecture that reads `hook` can predict `hook_out`.
pub(crate) fn check_hook_out(architecture: Architecture, hook_out: Option<&str>, hook: &str) -> anyhow::Result<()> {
    let refuse = |problem: String| Err(Complaint::usage(problem));
    match (architecture.is_transcoder(), hook_out) {
        (true, None) => refuse(format!("{architecture} needs --hook-out, the activation that it predicts from {hook}")),
        (false, Some(_)) => {
            refuse(format!("--hook-out belongs to transcoder and skip-transcoder, not to {architecture}"))
        }
        (true, Some(out)) if out == hook => refuse(format!(
            "--hook-out {out} is what is read as well; an autoencoder does that, such as --arch batch-topk"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::sweep_value;

    #[test]
    fn values_of_a_sweep_are_numbers_without_a_unit() {
        assert_eq!((sweep_value("0.5"), sweep_value(" -2 ")), (Ok(0.5), Ok(-2.0)));
        assert!(sweep_value("1e99").expect_err("too much").contains("absurd"));
        assert!(sweep_value("0.5x").expect_err("a unit").contains("leave x out"));
        for wrong in ["", "x", "half", "nan", "inf"] {
            assert!(sweep_value(wrong).expect_err(wrong).contains("expected a finite number"), "{wrong}");
        }
    }
}
