//! What the user asks of a training run, and how the checked plan follows from it and the data.
#![doc = include_str!("defaults.md")]

use crate::adam::Optimiser;
use crate::arch::asked::Asked;
use crate::arch::{Architecture, Kind};
use crate::constraint::Freeze;
use crate::error::{TrainError, refuse};
use crate::penalty::PenaltyKind;
use crate::plan::{AUTO, TrainPlan};
use crate::prefixes::Prefixes;
use crate::scale::Centre;
use crate::schedule::{Schedule, usual_learning_rate};
use crate::widths::Widths;
use untangle_sae::Precision;

/// Number of features, absolute or relative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Width {
    /// `d_sae` itself.
    Features(usize),
    /// `d_sae / d_in`.
    Expansion(f64),
}

/// What the user asks for; `None` leaves a choice to the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Number of features.
    pub width: Width,
    /// What is trained.
    pub kind: Kind,
    /// Active features per row, of architectures that choose by number.
    pub k: usize,
    /// Mean number of active features per row that the result is brought to.
    pub l0: Option<f64>,
    /// Prefixes of matryoshka; none for a sixteenth, a quarter, a half and all of the features.
    pub prefixes: Option<Prefixes>,
    /// Coefficient of the sparsity penalty; none for one that is steered to `l0` (or `k`).
    pub sparsity: Option<f64>,
    /// What is penalised of jump-relu.
    pub penalty: PenaltyKind,
    /// Window of jump-relu's estimators, in units of normalised rows.
    pub bandwidth: Option<f64>,
    /// Thresholds that jump-relu begins with, in units of normalised rows.
    pub threshold: Option<f64>,
    /// Training tokens, counted with repetition.
    pub tokens: Option<u64>,
    /// Rows per step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: Option<f64>,
    /// Fraction of the run in which the learning rate rises.
    pub warm_up: f64,
    /// Fraction of the run, at its end, in which it falls to zero.
    pub decay: f64,
    /// How weights are moved.
    pub optimiser: Optimiser,
    /// Where `b_dec` starts.
    pub centre: Centre,
    /// Seed of the first weights (the order of rows has the source's).
    pub seed: u64,
    /// Global norm that gradients are clipped to; none for no clipping.
    pub clip_norm: Option<f64>,
    /// Coefficient of AuxK; 0 turns it off, none is 1, and 1/32 beside a penalty.
    pub aux_coefficient: Option<f64>,
    /// Tokens of silence after which a latent counts as dead.
    pub dead_after: Option<u64>,
    /// Whether rows are scaled to a mean norm of sqrt(d_in) in training (and the scale folded into the result).
    pub normalise: bool,
    /// Arithmetic of the encoder product.
    pub precision: Option<Precision>,
    /// Decay of the average of the weights that is saved in their place; none, or 0, for the weights themselves.
    pub ema: Option<f64>,
    /// What stays as it was drawn.
    pub freeze: Option<Freeze>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            width: Width::Expansion(8.0),
            kind: Kind::TopK,
            k: 32,
            l0: None,
            prefixes: None,
            sparsity: None,
            penalty: PenaltyKind::default(),
            bandwidth: None,
            threshold: None,
            tokens: None,
            batch: 4096,
            lr: None,
            warm_up: 0.15,
            decay: 0.2,
            optimiser: Optimiser::default(),
            centre: Centre::default(),
            seed: 0,
            clip_norm: Some(1.0),
            aux_coefficient: None,
            dead_after: None,
            normalise: true,
            precision: None,
            ema: None,
            freeze: None,
        }
    }
}

/// Without `--tokens`, the store is read as often as it takes to see this many rows, at least once.
const DEFAULT_TOKENS: u64 = 2_000_000;
/// More than any dictionary that was ever trained.
const MAX_FEATURES: usize = 1 << 30;
/// A latent is dead after this many silent tokens, or a tenth of the run where that is less.
const DEAD_AFTER: u64 = 10_000_000;

impl TrainConfig {
    /// Checks the request against the data, `rows_per_epoch` rows of width `d_in`, and fills what was left open.
    ///
    /// # Errors
    /// [`TrainError::Setting`] names the setting that cannot be.
    pub fn plan(&self, d_in: usize, rows_per_epoch: u64) -> Result<TrainPlan, TrainError> {
        self.plan_of(&Widths { read: vec![d_in], predicted: None }, rows_per_epoch)
    }

    /// The same for activations of these widths.
    ///
    /// # Errors
    /// As [`TrainConfig::plan`]; also where an architecture is not made for so many activations, or for ones so wide.
    pub fn plan_of(&self, widths: &Widths, rows_per_epoch: u64) -> Result<TrainPlan, TrainError> {
        let (d_in, parts) = read_by(self.kind, widths)?;
        let d_out = widths.predicted;
        if self.kind.is_transcoder() != d_out.is_some() {
            let problem = match d_out {
                None => format!("{} predicts another activation than it reads; say which", self.kind),
                Some(_) => format!("belongs to transcoder and skip-transcoder, not to {}", self.kind),
            };
            return refuse("--hook-out", problem);
        }
        let d_sae = self.features(d_in)?;
        // Before the schedule, so that a contradiction is named for what it is.
        let architecture = self.architecture(parts, d_sae, 1)?;
        let schedule = self.schedule(&architecture, d_sae, rows_per_epoch)?;
        let architecture = self.architecture(parts, d_sae, schedule.steps)?;
        self.check_optimiser()?;
        let aux_coefficient = self.aux_coefficient.unwrap_or_else(|| usual_aux_coefficient(&architecture));
        Ok(TrainPlan {
            architecture,
            d_in,
            d_out,
            d_sae,
            batch: self.batch,
            schedule,
            optimiser: self.optimiser,
            centre: self.centre,
            seed: self.seed,
            clip_norm: self.clip_norm,
            aux_coefficient,
            dead_after: self
                .dead_after
                .unwrap_or_else(|| DEAD_AFTER.min(schedule.steps * self.batch as u64 / 10).max(1)),
            normalise: self.normalise,
            precision: self.precision.map_or(AUTO, Precision::name).to_owned(),
            ema: self.ema.filter(|decay| *decay != 0.0),
            freeze: self.freeze,
        })
    }

    /// The architecture that is asked for, in a run of so many steps.
    fn architecture(&self, parts: usize, d_sae: usize, steps: u64) -> Result<Architecture, TrainError> {
        let asked = Asked {
            k: self.k,
            l0: self.l0,
            prefixes: self.prefixes.as_ref(),
            sparsity: self.sparsity,
            penalty: self.penalty,
            bandwidth: self.bandwidth,
            threshold: self.threshold,
            parts,
            d_sae,
            steps,
        };
        Architecture::resolve(self.kind, &asked)
    }

    /// Number of features.
    fn features(&self, d_in: usize) -> Result<usize, TrainError> {
        let d_sae = match self.width {
            Width::Features(n) => n,
            Width::Expansion(factor) => (factor * d_in as f64).round() as usize,
        };
        if d_sae == 0 || d_sae > MAX_FEATURES {
            return refuse("--d-sae", format!("{d_sae} features cannot be; give a number from 1 to {MAX_FEATURES}"));
        }
        Ok(d_sae)
    }

    fn schedule(&self, architecture: &Architecture, d_sae: usize, rows_per_epoch: u64) -> Result<Schedule, TrainError> {
        if self.batch == 0 || self.batch as u64 > rows_per_epoch {
            return refuse(
                "--batch",
                format!("{} is not between 1 and the {rows_per_epoch} training rows", self.batch),
            );
        }
        let fraction = |value: f64| (0.0..=1.0).contains(&value);
        if !fraction(self.warm_up) || !fraction(self.decay) {
            return refuse("--warm-up and --decay", "must be fractions of the run between 0 and 1".to_owned());
        }
        let tokens = self.tokens.unwrap_or_else(|| rows_per_epoch * DEFAULT_TOKENS.div_ceil(rows_per_epoch).max(1));
        let steps = tokens / self.batch as u64;
        if steps == 0 {
            return refuse("--tokens", format!("{tokens} is less than one batch of {}", self.batch));
        }
        let lr = self.lr.unwrap_or_else(|| usual_learning_rate(architecture.learning_rate(self.batch), d_sae));
        if !(lr.is_finite() && lr > 0.0) {
            return refuse("--lr", format!("{lr} is not a positive number"));
        }
        let part = |fraction: f64| (steps as f64 * fraction).round() as u64;
        Ok(Schedule { lr, warm_up: part(self.warm_up), decay: part(self.decay), steps })
    }

    fn check_optimiser(&self) -> Result<(), TrainError> {
        if self.dead_after == Some(0) {
            return refuse("--dead-after", "0 tokens of silence would make every latent dead".to_owned());
        }
        if self.clip_norm.is_some_and(|norm| !(norm.is_finite() && norm > 0.0)) {
            return refuse("--clip-norm", "must be a positive number".to_owned());
        }
        if let Some(decay) = self.ema.filter(|decay| !(0.0..1.0).contains(decay)) {
            return refuse(
                "--ema",
                format!("{decay} is not between 0 and 1; 0.999 averages over the last thousand steps"),
            );
        }
        if self.aux_coefficient.is_some_and(|c| !(c.is_finite() && c >= 0.0)) {
            return refuse("--aux-k", "must be zero or a positive number".to_owned());
        }
        Ok(())
    }
}

/// Width of all that is read together by an architecture, and in how many parts.
fn read_by(kind: Kind, widths: &Widths) -> Result<(usize, usize), TrainError> {
    let (widths, parts) = (&widths.read, widths.read.len());
    match kind.is_crosscoder() {
        true if parts < 2 => refuse(
            "--hook",
            format!("{kind} reads several activations; repeat --hook, or name stores of other models by --with"),
        ),
        false if parts > 1 => refuse("--hook", format!("{kind} reads one activation, not {parts}; a crosscoder does")),
        _ if widths.iter().any(|d| *d != widths[0]) => {
            let widths = widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let remedy = "leave out those of other widths, or train a crosscoder for each width (a grid)";
            refuse("--hook", format!("{kind} reads activations of one width, these have {widths}; {remedy}"))
        }
        _ => Ok((widths.iter().sum(), parts)),
    }
}

/// The coefficient `c` where none is given: 1; and 1/32 (Gao et al. 2024, A.2) beside a penalty, whose target already decides
/// how many latents fire. A weight of 1 then raises the error (Gated on the organism's activations: 0.0179 instead of 0.0170)
/// and leaves no fewer dead (95 and 85 of 2048), none at all leaves many more (427).
fn usual_aux_coefficient(architecture: &Architecture) -> f64 {
    if architecture.sparsity().is_some() { 1.0 / 32.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting_refused(config: TrainConfig) -> &'static str {
        match config.plan(64, 10_000) {
            Err(TrainError::Setting { setting, .. }) => setting,
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    #[test]
    fn a_plan_resolves_what_was_left_open() {
        let plan = TrainConfig { tokens: Some(100_000), batch: 1000, ..TrainConfig::default() }
            .plan(64, 10_000)
            .expect("fits");
        assert_eq!((plan.d_sae, plan.schedule.steps, plan.schedule.warm_up, plan.schedule.decay), (512, 100, 15, 20));
        assert_eq!(plan.dead_after, 10_000);
        let whole_epochs = TrainConfig { batch: 1000, ..TrainConfig::default() }.plan(64, 700_000).expect("fits");
        assert_eq!(whole_epochs.tokens(), 2_100_000);
    }

    #[test]
    fn impossible_settings_are_named() {
        let config = TrainConfig { batch: 1000, ..TrainConfig::default() };
        let transcoder = TrainConfig { kind: Kind::Transcoder, ..config.clone() };
        assert_eq!(setting_refused(transcoder.clone()), "--hook-out");
        let of = |config: &TrainConfig, read: &[usize], predicted| {
            config.plan_of(&Widths { read: read.to_vec(), predicted }, 10_000)
        };
        let refused = |plan: Result<TrainPlan, TrainError>| match plan {
            Err(TrainError::Setting { setting, problem }) => (setting, problem),
            other => panic!("expected a refusal, found {other:?}"),
        };
        assert_eq!(refused(of(&config, &[64], Some(32))).0, "--hook-out");
        assert_eq!(of(&transcoder, &[64], Some(32)).expect("fits").widths(), (64, 32));
        let crosscoder = TrainConfig { kind: Kind::Crosscoder, ..config.clone() };
        assert_eq!(setting_refused(crosscoder.clone()), "--hook");
        assert_eq!(refused(of(&config, &[64, 64], None)).0, "--hook");
        assert!(refused(of(&crosscoder, &[64, 32], None)).1.contains("of one width, these have 64, 32"));
        let plan = of(&crosscoder, &[64, 64, 64], None).expect("fits");
        assert_eq!((plan.d_in, plan.architecture.parts(), plan.d_sae), (192, 3, 1536));
        let relu = TrainConfig { kind: Kind::Relu, ..config.clone() };
        let jump = TrainConfig { kind: Kind::JumpRelu, ..config.clone() };
        assert_eq!(setting_refused(TrainConfig { bandwidth: Some(0.5), ..relu.clone() }), "--bandwidth");
        assert_eq!(setting_refused(TrainConfig { threshold: Some(0.5), ..relu.clone() }), "--threshold");
        assert_eq!(setting_refused(TrainConfig { bandwidth: Some(0.0), ..jump.clone() }), "--bandwidth");
        assert!(TrainConfig { bandwidth: Some(0.5), ..jump }.plan(64, 10_000).is_ok());
        assert_eq!(setting_refused(TrainConfig { aux_coefficient: Some(-1.0), ..config.clone() }), "--aux-k");
        let aux = |config: &TrainConfig| config.plan(64, 10_000).expect("fits").aux_coefficient;
        assert_eq!((aux(&config), aux(&relu)), (1.0, 1.0 / 32.0));
        assert_eq!(setting_refused(TrainConfig { k: 513, ..config.clone() }), "--k");
        assert_eq!(setting_refused(TrainConfig { k: 0, ..config.clone() }), "--k");
        assert_eq!(setting_refused(TrainConfig { batch: 10_001, ..config.clone() }), "--batch");
        assert_eq!(setting_refused(TrainConfig { tokens: Some(999), ..config.clone() }), "--tokens");
        assert_eq!(setting_refused(TrainConfig { lr: Some(f64::NAN), ..config.clone() }), "--lr");
        assert_eq!(setting_refused(TrainConfig { dead_after: Some(0), ..config.clone() }), "--dead-after");
        assert_eq!(setting_refused(TrainConfig { ema: Some(1.0), ..config.clone() }), "--ema");
        for width in [Width::Features(0), Width::Expansion(1e30)] {
            assert_eq!(setting_refused(TrainConfig { width, ..config.clone() }), "--d-sae");
        }
    }

    #[test]
    fn a_plan_is_a_function_of_what_was_asked_and_of_no_machine() {
        let config = TrainConfig { batch: 1000, width: Width::Features(900_000_000), ..TrainConfig::default() };
        let plan = config.plan(64, 10_000).expect("a plan");
        assert_eq!(plan, config.plan(64, 10_000).expect("a plan"));
        assert_eq!(plan.precision, AUTO);
        match crate::room::check_memory_of(&[&plan]) {
            Err(TrainError::Setting { setting: "--d-sae", problem }) => {
                assert!(problem.starts_with("900000000 features of width 64 need"), "{problem}");
            }
            other => panic!("a terabyte and more: {other:?}"),
        }
    }
}
