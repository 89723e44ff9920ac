//! The fields that say by which angles queries and keys turn.
//!
//! `rope_theta` and `rope_scaling` beside the other fields, as transformers 4 wrote them, or both in `rope_parameters`,
//! as transformers 5 does; per kind of block where the family has two kinds of angles.

use crate::config::{Rotary, RotaryScaling};
use crate::error::ModelError;
use crate::fields::Fields;
use crate::validate::MAX_CONTEXT;

/// Where a family keeps its angles, and its class's defaults.
#[derive(Clone, Copy)]
pub(super) struct Angles {
    /// Field of the base of frequencies beside the other fields.
    pub(super) theta_field: &'static str,
    /// Its default.
    pub(super) theta: f64,
    /// The object inside `rope_parameters`, where there is one for each kind of block.
    pub(super) kind: Option<&'static str>,
    /// Whether `rope_scaling` is meant for these angles.
    pub(super) scaled: bool,
    /// Field of the share of a head that turns, beside the other fields, and its default; none where all of it does.
    pub(super) share: Option<(&'static str, f64)>,
    /// Default of `original_max_position_embeddings` beside the other fields, which then goes before the one inside.
    pub(super) original_context: Option<usize>,
    /// Types of scaling that the family's older files have for `longrope`.
    pub(super) long_names: &'static [&'static str],
}

impl Angles {
    pub(super) const LLAMA: Angles = Angles {
        theta_field: "rope_theta",
        theta: 10_000.0,
        kind: None,
        scaled: true,
        share: None,
        original_context: None,
        long_names: &[],
    };
    pub(super) const GEMMA3_GLOBAL: Angles = Angles { theta: 1e6, kind: Some("full_attention"), ..Angles::LLAMA };
    pub(super) const GEMMA3_LOCAL: Angles =
        Angles { theta_field: "rope_local_base_freq", kind: Some("sliding_attention"), scaled: false, ..Angles::LLAMA };
    pub(super) const PHI3: Angles = Angles {
        share: Some(("partial_rotary_factor", 1.0)),
        original_context: Some(4096),
        long_names: &["su", "yarn"],
        ..Angles::LLAMA
    };
}

/// Reads the angles of a head of `d_head`.
pub(super) fn rotary(fields: &Fields, form: &Angles, d_head: usize, max_context: usize) -> Result<Rotary, ModelError> {
    let scaling = if form.scaled { fields.object("rope_scaling")? } else { None };
    let parameters = parameters(fields, form)?;
    let theta = fields.positive_or(form.theta_field, form.theta)?;
    let theta = parameters.as_ref().map_or(Ok(theta), |inside| inside.positive_or("rope_theta", theta))?;
    let Some(inside) = scaling.or(parameters) else {
        return Ok(Rotary { theta, d_rotary: turning(fields, None, form, d_head)?, scaling: RotaryScaling::Unscaled });
    };
    let theta = inside.positive_or("rope_theta", theta)?;
    let d_rotary = turning(fields, Some(&inside), form, d_head)?;
    let n_pairs = d_rotary.div_ceil(2);
    let field = if inside.has("rope_type") { "rope_type" } else { "type" };
    let scaling = match inside.text(field)?.unwrap_or("default") {
        "default" => RotaryScaling::Unscaled,
        "linear" => RotaryScaling::Linear { factor: inside.positive("factor")? },
        "llama3" => RotaryScaling::Llama3 {
            factor: inside.positive("factor")?,
            low_freq_factor: inside.positive("low_freq_factor")?,
            high_freq_factor: inside.positive("high_freq_factor")?,
            original_context: inside.positive_or("original_max_position_embeddings", max_context as f64)?,
        },
        name if name == "longrope" || form.long_names.contains(&name) => {
            long(fields, &inside, form, n_pairs, max_context)?
        }
        _ => return Err(inside.refuse(field, "default, linear, llama3, longrope")),
    };
    Ok(Rotary { theta, d_rotary, scaling })
}

/// The object in `rope_parameters` that is meant for these angles.
fn parameters(fields: &Fields, form: &Angles) -> Result<Option<Fields>, ModelError> {
    let Some(parameters) = fields.object("rope_parameters")? else { return Ok(None) };
    const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];
    let nested = KINDS.into_iter().any(|kind| parameters.has(kind));
    let flat = ["rope_theta", "rope_type", "type"].into_iter().any(|field| parameters.has(field));
    match form.kind {
        Some(_) if flat => Err(fields.refuse("rope_parameters", format!("an object each for {}", KINDS.join(" and ")))),
        Some(kind) => parameters.object(kind),
        None if nested => Err(fields.refuse("rope_parameters", "the same angles for all layers of this model type")),
        None => Ok(Some(parameters)),
    }
}

/// Leading coordinates of a head that turn: the share of it, rounded down.
fn turning(fields: &Fields, inside: Option<&Fields>, form: &Angles, d_head: usize) -> Result<usize, ModelError> {
    const FIELD: &str = "partial_rotary_factor";
    let (outside_field, default) = form.share.unwrap_or((FIELD, 1.0));
    let outside = fields.positive_or(outside_field, default)?;
    let (holder, field, share) = match inside.filter(|inside| inside.get(FIELD).is_some()) {
        Some(inside) => (inside, FIELD, inside.positive(FIELD)?),
        None => (fields, outside_field, outside),
    };
    let d_rotary = (d_head as f64 * share) as usize;
    if form.share.is_none() && share != 1.0 {
        return Err(holder.refuse(field, "1: this model type turns whole heads"));
    }
    // An odd head that turns as a whole is refused with the head's width.
    let fits = share == 1.0 || (share < 1.0 && d_rotary > 0 && 2 * d_rotary.div_ceil(2) <= d_head);
    let supported = || format!("a number up to 1 that turns at least one pair of the head's {d_head} coordinates");
    fits.then_some(d_rotary).ok_or_else(|| holder.refuse(field, supported()))
}

/// LongRoPE (Ding et al., arXiv 2402.13753), with the amplitude of Phi-3: sqrt(1 + ln(factor) / ln(original context)).
fn long(
    fields: &Fields,
    inside: &Fields,
    form: &Angles,
    n_pairs: usize,
    max_context: usize,
) -> Result<RotaryScaling, ModelError> {
    const FIELD: &str = "original_max_position_embeddings";
    let original_context = match form.original_context {
        Some(default) => fields.size_or(FIELD, MAX_CONTEXT, default)?,
        None => inside.size_or(FIELD, MAX_CONTEXT, max_context)?,
    };
    let factor = inside.positive_or("factor", max_context as f64 / original_context as f64)?;
    let derived = if factor > 1.0 { (1.0 + factor.ln() / (original_context as f64).ln()).sqrt() } else { 1.0 };
    Ok(RotaryScaling::Long {
        short: inside.positives("short_factor", n_pairs)?,
        long: inside.positives("long_factor", n_pairs)?,
        original_context,
        amplitude: inside.positive_or("attention_factor", derived)?,
    })
}
