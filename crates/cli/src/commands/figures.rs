//! How figures of dictionaries and of their training are written.

use serde_json::Value;
use std::io::{self, Write};
use untangle_interpret::Interval;
use untangle_sae::metrics::fraction_text;
use untangle_store::HeldOut;
use untangle_train::TrainingRecord;

/// The FVU with its interval; in words where the rows do not vary.
pub(super) fn fvu_text(value: f64, interval: Option<Interval>) -> String {
    if value.is_finite() { bracketed(value, interval, 4) } else { fraction_text(value, 4) }
}

pub(super) fn bracketed(value: f64, interval: Option<Interval>, digits: usize) -> String {
    let ends = interval.map(|i| format!(" [{:.digits$}, {:.digits$}]", i.low, i.high));
    format!("{value:.digits$}{}", ends.unwrap_or_default())
}

/// What a dictionary was trained on, and how.
pub(super) fn write_training(out: &mut dyn Write, training: &TrainingRecord) -> io::Result<()> {
    let (plan, data) = (&training.plan, &training.data);
    let (rows, tokens) = (data.rows_per_epoch, plan.tokens());
    writeln!(out, "trained    on {}: {tokens} tokens from {rows} rows", data.stores.join(", "))?;
    writeln!(out, "held out   {}", held_out_text(&data.held_out))?;
    let (steps, rate) = (plan.schedule.steps, plan.schedule.lr);
    writeln!(
        out,
        "optimiser  {steps} steps of {} rows, learning rate {rate:.2e}, encoder in {}",
        plan.batch, plan.precision
    )?;
    writeln!(out, "written    by untangle {}, seed {}", training.tool_version, plan.seed)
}

fn held_out_text(recorded: &Value) -> String {
    match serde_json::from_value(recorded.clone()) {
        Ok(HeldOut::Fraction { fraction, .. }) => format!("{} % of the documents, by hash", 100.0 * fraction),
        Ok(HeldOut::LastRows(rows)) => format!("the last {rows} rows"),
        Ok(HeldOut::None) => "nothing".to_owned(),
        Err(_) => recorded.to_string(),
    }
}
