//! What does a lower precision cost, at every hook point?

use crate::batches::Job;
use crate::error::CaptureError;
use crate::passes::Passes;
use serde::Serialize;
use untangle_model::LanguageModel;
use untangle_schema::HookPoint;

/// How far the activations at a hook point are from those of the same pass in f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rounding {
    /// The hook point.
    pub hook: HookPoint,
    /// `sqrt(sum |x - y|^2 / sum |y|^2)` over the rows of the first batch, y in f32, sums in f64. Lower is better.
    pub relative_rms: f64,
}

/// Compares one pass of `model` with the same of `reference`.
pub(crate) fn measure(
    passes: &Passes<'_>,
    job: &Job,
    model: &LanguageModel,
    reference: &LanguageModel,
) -> Result<Vec<Rounding>, CaptureError> {
    let mut recorder = passes.recorder();
    let exact = passes.pass(reference, &mut recorder, job.clone())?;
    let rounded = passes.pass(model, &mut recorder, job.clone())?;
    let columns = passes.points.iter().zip(rounded.columns.iter().zip(&exact.columns));
    Ok(columns.map(|(&hook, (x, y))| Rounding { hook, relative_rms: relative_rms(x, y) }).collect())
}

/// `sqrt(sum |x - y|^2 / sum |y|^2)`; 0 where both are zero.
fn relative_rms(x: &[f32], y: &[f32]) -> f64 {
    let (mut differences, mut squares) = (0f64, 0f64);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        differences += (x - y) * (x - y);
        squares += y * y;
    }
    if differences == 0.0 { 0.0 } else { (differences / squares).sqrt() }
}

/// In words: `blocks.1.hook_resid_post 0.41 %, …`, the smallest and the largest of many.
pub(crate) fn describe(roundings: &[Rounding], dtype: &str) -> String {
    const SHOWN: usize = 4;
    let mut sorted: Vec<_> = roundings.iter().collect();
    if roundings.len() > SHOWN {
        sorted.sort_by(|a, b| a.relative_rms.total_cmp(&b.relative_rms));
        sorted.drain(1..roundings.len() - 1);
    }
    let one = |rounding: &&Rounding| format!("{:.2} % at {}", 100.0 * rounding.relative_rms, rounding.hook);
    let words = if roundings.len() > SHOWN { " to " } else { ", " };
    let listed = sorted.iter().map(one).collect::<Vec<_>>().join(words);
    format!("computed in {dtype}, activations of the first batch differ from those in f32 by {listed} (relative RMS)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(relative_rms(&[3.0, 0.0, 4.0], &[3.0, 0.0, 4.0]), 0.0);
        // Differences 1 and 2, squares 9 + 16: sqrt(5 / 25).
        assert!((relative_rms(&[4.0, 2.0], &[3.0, 4.0]) - 0.2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn few_are_listed_and_of_many_the_ends() {
        let rounding = |(layer, share): (usize, f64)| Rounding {
            hook: format!("blocks.{layer}.hook_resid_post").parse().expect("a hook point"),
            relative_rms: share / 100.0,
        };
        let few: Vec<_> = [(0, 0.2), (1, 0.1)].map(rounding).into();
        let text = describe(&few, "bf16");
        assert!(text.contains("by 0.20 % at blocks.0.hook_resid_post, 0.10 % at blocks.1.hook_resid_post ("), "{text}");
        let many: Vec<_> = [(0, 0.2), (1, 0.1), (2, 0.3), (3, 0.25), (4, 0.15)].map(rounding).into();
        let text = describe(&many, "bf16");
        assert!(text.contains("by 0.10 % at blocks.1.hook_resid_post to 0.30 % at blocks.2.hook_resid_post"), "{text}");
    }
}
