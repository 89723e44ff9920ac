//! What `evaluate` and `inspect` say of crosscoders.

use super::figures::{bracketed, fvu_text, write_training};
use super::options::open_beside;
use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use untangle_interpret::sharing::{ABSENT, EQUAL, SAME, shared};
use untangle_interpret::{CrosscoderEvaluation, Sharing, evaluate_crosscoder, sharing};
use untangle_sae::Crosscoder;
use untangle_sources::dictionary::names_of;
use untangle_sources::dictionary::training_record;
use untangle_sources::{JudgingRows, Origin, Rows};

/// Everything measured of one crosscoder.
#[derive(Debug, Serialize)]
struct Measured {
    sae: String,
    part: &'static str,
    #[serde(flatten)]
    evaluation: CrosscoderEvaluation,
}

/// Measures crosscoders on a store and those beside it.
pub(crate) fn evaluate(
    dirs: &[PathBuf],
    (store, beside): (&[String], &[String]),
    rows: Rows,
    context: &Context,
) -> anyhow::Result<()> {
    let store = open_beside(store, beside, context)?;
    let mut measured = Vec::new();
    for (dir, sae) in dirs.iter().zip(names_of(dirs)) {
        let (crosscoder, origin) = (Crosscoder::load(dir)?, Origin::read(dir)?);
        origin.unknown_training().into_iter().for_each(|note| context.progress.note(&note));
        let JudgingRows { held_out, part, name, in_doubt } = origin.rows_of(&store, rows);
        if in_doubt {
            context.progress.warning(&format!("{sae} may have been trained on rows of {}: {name}", store.name()));
        }
        let evaluation = evaluate_crosscoder(&crosscoder, &store, &held_out, part, &context.progress)?;
        measured.push(Measured { sae, part: name, evaluation });
    }
    context.output.result(&json!({ "crosscoders": measured }), |out| {
        measured.iter().try_for_each(|one| write_measured(out, one))?;
        writeln!(out, "brackets: 95 % intervals")
    })
}

/// Whether all of these are crosscoders; none of them, where they are not.
pub(crate) fn are_all(dirs: &[PathBuf]) -> anyhow::Result<bool> {
    let crosscoders = dirs.iter().filter(|dir| Crosscoder::is_at(dir)).count();
    match crosscoders {
        0 => Ok(false),
        all if all == dirs.len() => Ok(true),
        _ => {
            Err(Complaint::usage("crosscoders and other dictionaries are judged apart; name the one kind or the other"))
        }
    }
}

fn write_measured(out: &mut dyn Write, measured: &Measured) -> io::Result<()> {
    let CrosscoderEvaluation { evaluation: e, parts, sharing } = &measured.evaluation;
    writeln!(out, "{}, on {} ordinary rows: {}", measured.sae, e.ordinary_rows, measured.part)?;
    let fvu = fvu_text(e.fvu, e.fvu_interval);
    writeln!(out, "FVU of all parts, equally large, {fvu}, L0 {}", bracketed(e.l0, e.l0_interval, 2))?;
    let of_all = fvu_text(e.fvu_all_rows, e.fvu_all_rows_interval);
    writeln!(out, "FVU of all {} rows, special tokens and outliers among them, {of_all}", e.rows)?;
    writeln!(out, "{} of {} features are dead there, {} fire on more than 10 % of rows\n", e.dead, e.d_sae, e.dense)?;
    let head = ["part", "FVU", "features of it alone", "absent from it"].map(str::to_owned).to_vec();
    let line = |part: &untangle_interpret::crosscoder::PartEvaluation| {
        let name = part_name(part.model.as_deref(), &part.hook);
        vec![name, fvu_text(part.fvu, part.fvu_interval), part.exclusive.to_string(), part.absent.to_string()]
    };
    table(out, &std::iter::once(head).chain(parts.iter().map(line)).collect::<Vec<_>>(), &[0])?;
    writeln!(out)?;
    write_sharing(out, sharing)
}

/// How many features are shared how, and what that means.
fn write_sharing(out: &mut dyn Write, s: &Sharing) -> io::Result<()> {
    let cosine = s.mean_cosine.map(|cosine| format!(", mean cosine {cosine:.3}")).unwrap_or_default();
    let alone: usize = s.exclusive.iter().sum();
    writeln!(out, "sharing    of {} features {} are in all parts about equally{cosine}:", s.features, s.shared)?;
    writeln!(out, "           {} alike (in one direction: every cosine {SAME} or more), {} turned", s.alike, s.turned)?;
    let partial = if s.exclusive.len() > 2 { format!(", {} absent from some", s.partial) } else { String::new() };
    let nowhere = if s.nowhere > 0 { format!(", {} write nothing", s.nowhere) } else { String::new() };
    writeln!(out, "           {alone} of one part alone{partial}, {} between{nowhere}", s.between)?;
    writeln!(
        out,
        "           beside the part where it is strongest, a feature is absent from one with at most {:.0} % of the norm of \
         both, equally there with {:.0} % or more\n",
        100.0 * ABSENT,
        100.0 * EQUAL
    )
}

fn part_name(model: Option<&str>, hook: &str) -> String {
    model.map_or_else(|| hook.to_owned(), |model| format!("{hook} of {model}"))
}

/// Shows what a crosscoder holds; as JSON, also the shares and cosines of every feature.
pub(crate) fn inspect(dir: &Path, context: &Context) -> anyhow::Result<()> {
    let crosscoder = Crosscoder::load(dir)?;
    let training = training_record(dir)?;
    let (f, sharing) = (crosscoder.d_sae(), sharing(&crosscoder, |_| true));
    let feature = |feature: usize| -> Value {
        let cosines: Vec<_> = (1..crosscoder.parts()).map(|part| crosscoder.cosine(feature, 0, part)).collect();
        let kind = shared(&crosscoder, feature);
        json!({
            "feature": feature, "shares": crosscoder.shares(feature), "cosines_with_the_first": cosines, "shared": kind,
        })
    };
    let features: Vec<Value> = (0..f).map(feature).collect();
    let value = json!({
        "kind": "crosscoder", "config": crosscoder.written(), "training": training, "sharing": sharing, "features": features,
    });
    context.output.result(&value, |out| {
        let (m, d) = (crosscoder.parts(), crosscoder.part_width());
        writeln!(out, "crosscoder: {f} features of {m} activations of width {d}")?;
        for part in crosscoder.places() {
            let name = part_name(part.model.as_deref(), part.hook.as_deref().unwrap_or_default());
            writeln!(out, "part       {name}, multiplied by {:.4} in training", part.scale)?;
        }
        write_sharing(out, &sharing)?;
        training.as_ref().map_or(Ok(()), |training| write_training(out, training))
    })
}
