//! A training run as the library wants it: what was asked for, checked against the store before anything is written.

use super::calibration::{Between, Judged, MOST_ROWS, widened};
use crate::context::Context;
use crate::exit::Complaint;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use untangle_store::{ActivationSet, HeldOut, RowSource, ShuffleConfig, Shuffled};
use untangle_train::finish::FROM_TRAINING;
use untangle_train::{
    DataProvenance, EngineKind, Finished, Job, PartOrigin, RowsAtTheEnd, Run, Shown, TrainConfig, TrainPlan, Widths,
    check_memory_of, is_continued, settle, train,
};

/// A dictionary that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Name of its folder in the output; empty for the only one of a run.
    pub(crate) name: String,
    /// Columns of the store that are read: one, but of crosscoders.
    pub(crate) columns: Vec<usize>,
    /// Column that a transcoder predicts.
    pub(crate) target: Option<usize>,
    /// What was asked for.
    pub(crate) config: TrainConfig,
}

/// The part of the rows that is set aside for thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Calibration {
    /// [`CALIBRATION`] where an architecture needs it.
    Auto,
    /// This fraction.
    Fraction(f64),
}

/// Enough for the threshold of a store of a million rows to be right to about half a per cent of L0.
const CALIBRATION: f64 = 0.02;

impl FromStr for Calibration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fraction = |text: &str| text.parse().ok().filter(|fraction| (0.0..1.0).contains(fraction));
        match text {
            "auto" => Ok(Calibration::Auto),
            _ => fraction(text).map(Calibration::Fraction).ok_or_else(|| "use auto or a fraction such as 0.02".into()),
        }
    }
}

/// Everything that was asked for.
pub(crate) struct Request<'a> {
    /// The rows.
    pub(crate) store: Arc<ActivationSet>,
    /// The dictionaries.
    pub(crate) asked: Vec<Asked>,
    /// Seed of the order of rows.
    pub(crate) order_seed: u64,
    /// What judges the results, and is not read.
    pub(crate) held_out: HeldOut,
    /// What sets thresholds, and is not read either.
    pub(crate) calibration: Calibration,
    /// Whether rows of special tokens are read.
    pub(crate) keep_special: bool,
    /// Whether rows with an outlier's norm are read.
    pub(crate) keep_outliers: bool,
    /// Memory in bytes in which rows are shuffled.
    pub(crate) shuffle_bytes: u64,
    /// Where the results go.
    pub(crate) out: &'a Path,
    /// Whether to replace what is there.
    pub(crate) force: bool,
    /// Steps between checkpoints.
    pub(crate) checkpoint_every: Option<u64>,
    /// Whether logged steps are also written for TensorBoard.
    pub(crate) tensorboard: bool,
    /// Whether a report is written.
    pub(crate) report: bool,
    /// What the dictionaries are stepped by.
    pub(crate) engine: EngineKind,
}

impl Request<'_> {
    /// Fraction of the rows that is set aside for thresholds.
    fn calibration(&self) -> f64 {
        let needed = self.asked.iter().any(|asked| asked.config.kind.has_thresholds());
        match self.calibration {
            Calibration::Fraction(fraction) => fraction,
            Calibration::Auto if needed => CALIBRATION,
            Calibration::Auto => 0.0,
        }
    }

    /// About how many rows of a column are read once more at the end.
    pub(crate) fn rows_at_the_end(&self) -> RowsAtTheEnd {
        let rows = self.store.n_rows();
        let report = match self.held_out {
            HeldOut::None => FROM_TRAINING,
            HeldOut::LastRows(rows) => rows as usize,
            HeldOut::Fraction { fraction, .. } => (fraction * rows as f64) as usize,
        };
        let calibration = (self.calibration() * rows as f64) as usize;
        RowsAtTheEnd { calibration: calibration.min(MOST_ROWS), report }
    }

    /// The columns that are read, in their order in the store.
    fn columns(&self) -> Vec<usize> {
        let of = |asked: &Asked| asked.columns.iter().copied().chain(asked.target).collect::<Vec<_>>();
        self.asked.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The plans of all dictionaries over so many rows.
    fn plans(&self, rows: u64) -> anyhow::Result<Vec<TrainPlan>> {
        let plan = |asked: &Asked| {
            let named = |error: untangle_train::TrainError| match asked.name.is_empty() {
                true => anyhow::Error::from(error),
                // It stands in the file of the grid.
                false => Complaint::bad_input(format!("{}: {error}", asked.name)),
            };
            let width = |column: usize| self.store.columns()[column].d;
            let read = asked.columns.iter().map(|column| width(*column)).collect();
            asked.config.plan_of(&Widths { read, predicted: asked.target.map(width) }, rows).map_err(named)
        };
        let plans = self.asked.iter().map(plan).collect::<anyhow::Result<Vec<_>>>()?;
        if !is_continued(self.out) {
            check_memory_of(&plans.iter().collect::<Vec<_>>())?;
        }
        Ok(plans)
    }

    /// Where a column comes from that a crosscoder reads.
    fn origin(&self, column: usize) -> PartOrigin {
        PartOrigin { column: self.store.columns()[column].name.clone(), model: self.store.model_of(column).cloned() }
    }

    /// Where the rows of a dictionary come from.
    fn provenance(&self, asked: &Asked, rows_per_epoch: u64) -> anyhow::Result<DataProvenance> {
        let held_out = serde_json::to_value(&self.held_out).map_err(|error| Complaint::usage(error.to_string()))?;
        let fraction = self.calibration();
        let (parts, unpaired) = match &asked.columns[..] {
            [_] => (Vec::new(), Vec::new()),
            several => (several.iter().map(|column| self.origin(*column)).collect(), self.store.unpaired()),
        };
        Ok(DataProvenance {
            stores: self.store.names(),
            content: self.store.content_identity(),
            column: self.store.columns()[asked.columns[0]].name.clone(),
            column_out: asked.target.map(|column| self.store.columns()[column].name.clone()),
            parts,
            unpaired,
            held_out,
            calibration: if fraction > 0.0 { json!({ "fraction": fraction }) } else { Value::Null },
            keep_special: self.keep_special,
            keep_outliers: self.keep_outliers,
            order_seed: self.order_seed,
            shuffle_bytes: self.shuffle_bytes,
            rows_per_epoch,
            capture: self.store.manifest().cloned(),
        })
    }
}

/// A request whose rows were counted, and whose settings were checked against them.
pub(crate) struct Prepared {
    /// The rows.
    pub(crate) source: Shuffled,
    /// The dictionaries.
    pub(crate) runs: Vec<Run>,
    /// The columns that are read, in the order of the source.
    columns: Vec<usize>,
    /// What training does not read.
    outer: HeldOut,
}

/// Checks a request, and opens what it reads; writes nothing.
pub(crate) fn prepare(request: &Request<'_>, context: &Context) -> anyhow::Result<Prepared> {
    let store = &request.store;
    // Settings that contradict each other are refused before rows are counted against them.
    request.plans(store.n_rows())?;
    let columns = request.columns();
    let outer = widened(&request.held_out, request.calibration(), store.n_rows());
    let shuffle = ShuffleConfig {
        seed: request.order_seed,
        batch_rows: request.asked.first().map_or(0, |asked| asked.config.batch),
        memory_bytes: usize::try_from(request.shuffle_bytes).unwrap_or(usize::MAX),
        keep_special: request.keep_special,
        keep_outliers: request.keep_outliers,
        columns: columns.clone(),
    };
    let shuffled = || Shuffled::new(Arc::clone(store), &outer, &shuffle);
    let source = context.progress.with_nothing_to_save(shuffled)??;
    let plans = request.plans(source.rows_per_epoch())?;
    let mut runs = Vec::new();
    for (asked, plan) in request.asked.iter().zip(plans) {
        let data = request.provenance(asked, source.rows_per_epoch())?;
        let place = |of: usize| columns.partition_point(|&column| column < of);
        let mut read = asked.columns.iter().map(|column| place(*column));
        let (column, further) = (read.next().unwrap_or_default(), read.collect());
        runs.push(Run { name: asked.name.clone(), column, further, target: asked.target.map(place), plan, data });
    }
    settle(request.out, &mut runs, request.engine);
    columns
        .iter()
        .filter_map(|column| outliers_left_out(request, *column))
        .for_each(|note| context.progress.note(&note));
    unpaired(store).into_iter().for_each(|note| context.progress.note(&note));
    describe(&runs, source.rows_per_epoch(), source.is_exact(), context);
    Ok(Prepared { source, runs, columns, outer })
}

/// Trains, or continues an interrupted run of the same settings.
pub(crate) fn train_dictionaries(request: &Request<'_>, context: &Context) -> anyhow::Result<Vec<(Run, Finished)>> {
    let Prepared { mut source, runs, columns, outer } = prepare(request, context)?;
    let judged = Judged {
        store: &request.store,
        held_out: &request.held_out,
        keep_special: request.keep_special,
        keep_outliers: request.keep_outliers,
    };
    let between = Between { judged: &judged, outer: &outer };
    let in_store = |read: &[usize]| read.iter().map(|column| columns[*column]).collect::<Vec<_>>();
    let job = Job {
        runs: &runs,
        source: &mut source,
        calibration: &|read| between.rows(&in_store(read)),
        out: request.out,
        force: request.force,
        checkpoint_every: request.checkpoint_every,
        shown: Shown {
            tensorboard: request.tensorboard,
            report: request.report,
            held_out: Some(&|read, visit| judged.each_block(&in_store(read), visit)),
        },
        engine: request.engine,
    };
    let finished = train(job, &context.progress)?;
    Ok(runs.into_iter().zip(finished).collect())
}

/// What to say of rows that have no pair in a store beside.
fn unpaired(store: &ActivationSet) -> Vec<String> {
    let note = |[own, other]: [u64; 2]| {
        format!(
            "paired by document, position and token; {own} rows of the first store and {other} of the other have no pair"
        )
    };
    store.unpaired().into_iter().map(note).collect()
}

/// What to say of rows that are not trained on because of their norm; nothing where there are none.
fn outliers_left_out(request: &Request<'_>, column: usize) -> Option<String> {
    let norms = request.store.statistics(column)?.ordinary.norms;
    let (outliers, total) = (norms.outliers(), norms.total());
    (outliers > 0 && !request.keep_outliers).then(|| {
        let (from, median) = (norms.outlier_norm(), norms.median());
        format!(
            "{outliers} of the store's {total} ordinary rows have an outlier's norm, {from:.4} or more where the median \
             is {median:.4}; they are left out (--keep-outliers trains on them)"
        )
    })
}

/// What is read, and what is predicted of it.
fn activations(data: &DataProvenance, plan: &TrainPlan) -> String {
    let width = plan.d_in / plan.architecture.parts();
    if let [_, _, ..] = data.parts[..] {
        let model =
            |part: &PartOrigin| part.model.as_ref().map_or_else(String::new, |model| format!(" of {}", model.name));
        let parts = data.parts.iter().map(|part| format!("{}{}", part.column, model(part))).collect::<Vec<_>>();
        return format!("{} (width {width} each)", parts.join(", "));
    }
    let read = format!("{} (width {width})", data.column);
    match (&data.column_out, plan.d_out) {
        (Some(out), Some(d_out)) => format!("{read} predicting {out} (width {d_out})"),
        _ => read,
    }
}

/// Everything that the plans decided, in a line each.
pub(crate) fn describe(runs: &[Run], rows: u64, is_exact: bool, context: &Context) {
    let order = if is_exact { "in exactly random order" } else { "shuffled in windows" };
    for Run { name, plan, data, .. } in runs {
        let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
        context.progress.note(&format!(
            "{name}{}, on {}: {} tokens from {rows} training rows {order}, batch {}, {} steps, learning rate \
             {:.2e}, encoder in {}",
            plan.summary(),
            activations(data, plan),
            plan.tokens(),
            plan.batch,
            plan.schedule.steps,
            plan.schedule.lr,
            plan.precision
        ));
    }
}
