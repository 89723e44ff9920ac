//! `untangle inspect STORE`: what does a store hold, and is it as its specification has it?

use super::options::open_store;
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;
use untangle_schema::{CaptureManifest, Event, Observer, Unit};
use untangle_store::{ActivationSet, Examination, examine};

/// Examines an activation file and shows it; shows other matrices.
pub(crate) fn run(place: &str, verify: bool, context: &Context) -> anyhow::Result<()> {
    let path = Path::new(place);
    let hdf5 = path.extension().is_some_and(|extension| ["h5", "hdf5", "he5"].iter().any(|e| extension == *e));
    if hdf5 && path.is_file() {
        let examined = examined(path, verify, context)?;
        if !examined.violations.is_empty() {
            return bad(place, &examined, context);
        }
    } else if verify {
        return Err(Complaint::usage(format!("{place}: only activation files (.h5) have checksums to verify")));
    }
    show(place, verify, context)
}

fn examined(path: &Path, verify: bool, context: &Context) -> anyhow::Result<Examination> {
    let observer: &dyn Observer = &context.progress;
    let mut started = false;
    let mut progress = |done: u64, total: u64| {
        if !started {
            observer.event(Event::Started { task: "verify", unit: Unit::Bytes, done: 0, total });
            started = true;
        }
        observer.event(Event::Advanced { done, figures: &[] });
        !observer.interrupted()
    };
    let examined = examine(path, if verify { Some(&mut progress) } else { None })?;
    if started {
        observer.event(Event::Finished);
    }
    examined.ok_or_else(|| Complaint::interrupted("interrupted; nothing was decided".to_owned()))
}

/// Lists what is wrong.
fn bad(place: &str, examined: &Examination, context: &Context) -> anyhow::Result<()> {
    let violations: Vec<String> = examined.violations.iter().map(ToString::to_string).collect();
    let value = json!({
        "kind": "store", "valid": false, "violations": violations, "manifest": examined.manifest,
    });
    context.output.result(&value, |out| violations.iter().try_for_each(|violation| writeln!(out, "{violation}")))?;
    let n = violations.len();
    let times = if n == 1 { "one place".to_owned() } else { format!("{n} places") };
    Err(Complaint::bad_input(format!("{place} is not as its format demands in {times}; fetch or capture it again")))
}

fn show(place: &str, verified: bool, context: &Context) -> anyhow::Result<()> {
    let store = open_store(&[place.to_owned()], context)?;
    let columns: Vec<_> = (0..store.columns().len()).map(|column| column_json(&store, column)).collect();
    let captured = store.manifest().is_some();
    let value = json!({
        "kind": "store", "valid": captured.then_some(true), "verified": captured.then_some(verified),
        "rows": store.n_rows(), "columns": columns, "manifest": store.manifest(),
    });
    context.output.result(&value, |out| {
        writeln!(out, "{}: {} rows", store.name(), store.n_rows())?;
        if let Some(manifest) = store.manifest() {
            write_manifest(out, manifest)?;
            writeln!(
                out,
                "checked    {}",
                if verified { "every row" } else { "all but the rows (--verify reads them)" }
            )?;
        }
        let head = ["column", "width", "type", "mean norm", "median", "largest", "outliers", "variance"]
            .map(str::to_owned)
            .to_vec();
        let rows = (0..columns.len()).map(|column| column_row(&store, column));
        table(out, &std::iter::once(head).chain(rows).collect::<Vec<_>>(), &[0])
    })
}

fn column_json(store: &ActivationSet, index: usize) -> Value {
    let column = &store.columns()[index];
    let statistics = store.statistics(index).map(|s| {
        json!({
            "ordinary_rows": s.ordinary.count, "norm_mean": s.ordinary.norm_mean, "norm_max": s.ordinary.norm_max,
            "norm_median": s.ordinary.norms.median(), "outlier_norm": finite(s.outlier_norm()),
            "outliers": s.ordinary.norms.outliers(), "covariance_trace": s.ordinary.covariance_trace(),
        })
    });
    json!({ "name": column.name, "d": column.d, "dtype": column.dtype, "statistics": statistics })
}

fn column_row(store: &ActivationSet, index: usize) -> Vec<String> {
    let column = &store.columns()[index];
    let figures = store.statistics(index).map(|s| {
        let (of, norms) = (&s.ordinary, &s.ordinary.norms);
        let [mean, median, largest] = [of.norm_mean, norms.median(), of.norm_max].map(|norm| format!("{norm:.3}"));
        [mean, median, largest, norms.outliers().to_string(), format!("{:.3}", of.covariance_trace())]
    });
    let figures = figures.unwrap_or_else(|| ["-"; 5].map(str::to_owned));
    [column.name.clone(), column.d.to_string(), column.dtype.to_string()].into_iter().chain(figures).collect()
}

/// JSON has no infinity.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn write_manifest(out: &mut dyn Write, manifest: &CaptureManifest) -> io::Result<()> {
    let model = &manifest.model;
    let hash: String = model.weights_sha256.chars().take(12).collect();
    writeln!(out, "model      {} ({}, weights {hash}…)", model.name, model.model_type)?;
    let corpus: Vec<_> = manifest.corpus.iter().map(|file| file.name.as_str()).collect();
    writeln!(out, "corpus     {}: {} documents", corpus.join(", "), manifest.n_documents)?;
    if let Some(shard) = manifest.shard {
        writeln!(out, "shard      {shard}")?;
    }
    let bos = manifest.bos_token.map_or("none".to_owned(), |id| format!("token {id}"));
    writeln!(out, "contexts   {} tokens, beginning-of-sequence: {bos}", manifest.context)?;
    writeln!(out, "computed   in {}, stored as {}", manifest.compute_dtype, manifest.store_dtype)?;
    writeln!(out, "written    by untangle {}", manifest.tool_version)
}
