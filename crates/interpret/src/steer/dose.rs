//! How does what a model writes change with the strength of steering, and what is steering worth beside plainer means?
//!
//! | curve | what |
//! |---|---|
//! | steered | the interventions, strength by strength |
//! | random | random directions with steps as long |
//! | others | other features with steps as long |
//! | vector | the mean difference between what the model writes behind prompts that name the concept and behind those that do not, added [`OF_VECTOR`] times at the place where the dictionary writes |
//! | told | the plain instruction before every prompt, and nothing steered: the rival that AxBench (Wu et al. 2025, arXiv 2501.17148) found hard to beat |
//!
//! The distance from the model itself, KL in nats a token, is the axis that all of them have in common. The *window* is where
//! steering can be used: from the first strength at which more continuations are about the concept than by themselves (the
//! intervals of 95 % are apart) to the last one up to which text stays text ([`super::arm`]). The strength that is *chosen*
//! serves best on every other continuation; it is reported on the rest.

use super::arm::Arm;
use super::step::{AlongOperator, Change, Step};
use super::study::Studies;
use crate::error::InterpretError;
use serde::Serialize;
use untangle_schema::{HookPoint, shortest};

/// How often the vector is added.
pub const OF_VECTOR: [f32; 5] = [0.25, 0.5, 1.0, 1.5, 2.0];

/// What is written.
#[derive(Clone, Debug)]
pub struct DosePlan {
    /// Strengths with the steps that they are, in the order in which they grow.
    pub sets: Vec<(f32, Vec<Step>)>,
    /// Other features of the first dictionary.
    pub others: Vec<usize>,
    /// What a model is told that is not steered.
    pub instruction: String,
    /// Where the vector is measured and added; none where there is no such place.
    pub point: Option<HookPoint>,
}

/// What strengths do.
#[derive(Clone, Debug, Serialize)]
pub struct Dose {
    /// The model itself.
    pub baseline: Arm,
    /// The curves: the one of what is steered comes first.
    pub curves: Vec<Curve>,
    /// Where steering can be used; none where it cannot.
    pub window: Option<Window>,
    /// The strength that serves best; none where none is usable and brings more than the model itself.
    pub chosen: Option<Chosen>,
}

/// One way to have the model write about the concept, or a control.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Which.
    pub kind: CurveKind,
    /// Its points, as strengths grow.
    pub points: Vec<Point>,
}

/// What a curve is of; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CurveKind {
    /// The interventions.
    Steered,
    /// Random directions.
    Random,
    /// Other features.
    Others,
    /// The mean difference.
    Vector,
    /// The plain instruction.
    Told,
}

/// What came of one strength.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The strength: of the interventions in their unit, of the vector how often it is added; none of the instruction.
    #[serde(serialize_with = "shortest::maybe")]
    pub strength: Option<f32>,
    /// What came of it.
    pub arm: Arm,
}

/// Where steering can be used, in the unit of the strengths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Window {
    /// The first strength that brings more than the model itself writes.
    #[serde(serialize_with = "shortest::number")]
    pub from: f32,
    /// The last one that leaves text.
    #[serde(serialize_with = "shortest::number")]
    pub to: f32,
    /// The last one that leaves text even if perplexity is at the upper end of its interval; none where none does.
    #[serde(serialize_with = "shortest::maybe")]
    pub surely_to: Option<f32>,
    /// The last one that leaves text if perplexity is at the lower end of its interval.
    #[serde(serialize_with = "shortest::number")]
    pub possibly_to: f32,
}

/// The strength that serves best.
#[derive(Clone, Debug, Serialize)]
pub struct Chosen {
    /// The strength.
    #[serde(serialize_with = "shortest::number")]
    pub strength: f32,
    /// What it brings on the half of the continuations that it was not chosen on.
    pub steered: Arm,
    /// The model itself, on the same half.
    pub baseline: Arm,
}

/// Whose perplexity counts.
#[derive(Clone, Copy)]
enum End {
    Low,
    Measured,
    High,
}

impl DosePlan {
    /// Continuations that are written beside those of the model itself, of so many a prompt times prompts.
    pub fn work(&self, directions: u64) -> u64 {
        let sets = self.sets.len() as u64 * (2 + directions + self.others.len() as u64);
        let vector = if self.point.is_some() { 2 * OF_VECTOR.len() as u64 } else { 0 };
        sets + vector + 2
    }
}

/// Writes with every strength, with the controls and with the rivals.
///
/// # Errors
/// When a feature does not exist or is steered twice alike, or a prompt does not fit.
pub fn dose(studies: &Studies<'_>, plan: &DosePlan) -> Result<Dose, InterpretError> {
    let mut steered = Vec::new();
    let (mut random, mut others) = (Vec::new(), Vec::new());
    for (strength, steps) in &plan.sets {
        let study = studies.study(steps, &plan.others)?;
        let point = |arm| Point { strength: Some(*strength), arm };
        steered.push(point(study.steered));
        random.push(point(study.random));
        others.push(point(study.others));
    }
    let told = vec![Point { strength: None, arm: studies.told_to(&plan.instruction)? }];
    let baseline = studies.baseline().clone();
    let curves = [
        (CurveKind::Steered, steered),
        (CurveKind::Random, random),
        (CurveKind::Others, others),
        (CurveKind::Vector, vector(studies, plan.point)?),
        (CurveKind::Told, told),
    ];
    // A control that was not asked for wrote nothing.
    let wrote = |points: &[Point]| points.iter().any(|point| point.arm.appears.trials > 0);
    let curves: Vec<Curve> = curves.into_iter().filter(|(_, points)| wrote(points)).map(Curve::of).collect();
    let steered = curves.first().map_or(&[][..], |curve| &curve.points);
    Ok(Dose { window: window(steered, &baseline), chosen: chosen(steered, &baseline), baseline, curves })
}

impl Curve {
    fn of((kind, points): (CurveKind, Vec<Point>)) -> Self {
        Curve { kind, points }
    }
}

fn vector(studies: &Studies<'_>, point: Option<HookPoint>) -> Result<Vec<Point>, InterpretError> {
    let Some(step) = point.map(|point| studies.contrast_vector(point)).transpose()?.flatten() else {
        return Ok(Vec::new());
    };
    let of = |times: f32| {
        let arm = studies.steered(&[times_as_long(&step, times)], true)?;
        Ok(Point { strength: Some(times), arm })
    };
    OF_VECTOR.into_iter().map(of).collect()
}

fn times_as_long(step: &Step, times: f32) -> Step {
    let change = match &step.change {
        Change::Along { directions, operator: AlongOperator::Add(length) } => {
            Change::Along { directions: directions.clone(), operator: AlongOperator::Add(times * length) }
        }
        other => other.clone(),
    };
    Step { change, ..step.clone() }
}

fn window(points: &[Point], own: &Arm) -> Option<Window> {
    let brings = |point: &&Point| point.arm.appears.interval().0 > own.appears.interval().1;
    let from = points.iter().find(brings)?.strength?;
    let last = |end: End| {
        let usable = points.iter().take_while(|point| leaves_text(&point.arm, own, end));
        usable.last().and_then(|point| point.strength).filter(|to| to.abs() >= from.abs())
    };
    let to = last(End::Measured)?;
    Some(Window { from, to, surely_to: last(End::High), possibly_to: last(End::Low).unwrap_or(to) })
}

/// Whether text stays text with the perplexity at one end of its interval.
fn leaves_text(arm: &Arm, own: &Arm, end: End) -> bool {
    let perplexity = match (end, arm.perplexity_interval) {
        (End::Low, Some(interval)) => Some(interval.low),
        (End::High, Some(interval)) => Some(interval.high),
        _ => arm.perplexity,
    };
    Arm { perplexity, ..arm.clone() }.is_usable_beside(own)
}

fn chosen(points: &[Point], own: &Arm) -> Option<Chosen> {
    let first = own.half(false);
    let gain = |point: &Point| {
        let arm = point.arm.half(false);
        arm.is_usable_beside(&first).then(|| arm.appears.value() - first.appears.value())
    };
    let mut best = None::<(&Point, f64)>;
    for point in points {
        // Of equals the weakest serves.
        if let Some(gain) = gain(point).filter(|gain| *gain > best.map_or(0.0, |(_, most)| most)) {
            best = Some((point, gain));
        }
    }
    let (point, _) = best?;
    Some(Chosen { strength: point.strength?, steered: point.arm.half(true), baseline: own.half(true) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::Interval;
    use crate::steer::arm::{Distance, Naming, Text, Texts};
    use untangle_schema::Share;

    fn arm(hits: u64, perplexity: f64, high: f64) -> Arm {
        Arm {
            appears: Share { hits, trials: 100 },
            perplexity: Some(perplexity),
            perplexity_interval: Some(Interval { low: perplexity - 1.0, high }),
            ..Texts::default().arm()
        }
    }

    #[test]
    fn a_window_begins_where_something_is_brought_and_ends_where_text_does() {
        let own = arm(5, 10.0, 11.0);
        let at = |strength: f32, arm: Arm| Point { strength: Some(strength), arm };
        let points = [
            at(0.5, arm(6, 10.0, 11.0)),
            at(1.0, arm(60, 11.0, 12.0)),
            at(1.5, arm(90, 12.0, 14.0)),
            at(2.0, arm(99, 13.5, 15.0)),
            at(3.0, arm(99, 12.0, 12.5)),
        ];
        let found = window(&points, &own);
        // Up to 13 is text: 1.5 is at 12, of which 14 is the upper end; the lower end at 2 is 12.5, and 3 is there as well.
        assert_eq!(found, Some(Window { from: 1.0, to: 1.5, surely_to: Some(1.0), possibly_to: 3.0 }));
        assert_eq!(window(&points[..1], &own), None, "nothing is brought");
        assert_eq!(window(&[at(1.0, arm(60, 20.0, 21.0))], &own), None, "no text is left");
    }

    #[test]
    fn a_strength_is_chosen_on_one_half_and_reported_on_the_other() {
        let text = |about| Text {
            about,
            names: false,
            repeated: 0,
            runs: 1,
            distance: Distance::default(),
            text: String::new(),
        };
        let arm = |first: [bool; 2], second: [bool; 2], nats: f64| {
            let neutral = [first[0], second[0], first[1], second[1]].map(text).to_vec();
            let naming = vec![Naming { nats, tokens: 10, text: String::new() }; 4];
            Texts { neutral, naming, ..Texts::default() }.arm()
        };
        let own = arm([false; 2], [false; 2], 10.0);
        let points = [
            Point { strength: Some(1.0), arm: arm([true, false], [true; 2], 10.0) },
            Point { strength: Some(2.0), arm: arm([true; 2], [false, true], 11.0) },
            Point { strength: Some(3.0), arm: arm([true; 2], [true; 2], 20.0) },
        ];
        let found = chosen(&points, &own).expect("one serves");
        assert_eq!((found.strength, found.steered.appears), (2.0, Share { hits: 1, trials: 2 }));
        assert_eq!(found.baseline.appears, Share { hits: 0, trials: 2 });
        assert!(chosen(&points[2..], &own).is_none(), "exp(2) is more than 1.3 times exp(1)");
    }
}
