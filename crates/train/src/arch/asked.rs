//! What is asked of an architecture, and whether it has the settings that are asked for.

use crate::error::{TrainError, refuse};
use crate::penalty::{PenaltyKind, Sparsity};
use crate::prefixes::Prefixes;

/// A setting that some architectures have and others lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `--k`: it chooses so many latents.
    K,
    /// `--prefixes`
    Prefixes,
    /// `--sparsity`: its loss has a penalty.
    Sparsity,
    /// `--bandwidth`
    Bandwidth,
    /// `--threshold`
    Threshold,
}

/// What is known of an architecture by its name.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The settings that it has.
    pub settings: &'static [Setting],
    /// Whether it reads several activations at once.
    pub is_crosscoder: bool,
    /// Whether it predicts another activation than the one that it reads.
    pub is_transcoder: bool,
    /// Whether the result has thresholds that are calibrated on rows of their own.
    pub has_thresholds: bool,
}

impl About {
    /// Something that reconstructs what it reads, without settings.
    pub const AUTOENCODER: About =
        About { settings: &[], is_crosscoder: false, is_transcoder: false, has_thresholds: false };
    /// One that chooses by number over a batch, and is saved with thresholds.
    pub const BY_BATCH: About = About { settings: &[Setting::K], has_thresholds: true, ..About::AUTOENCODER };
    /// One that a penalty makes sparse.
    pub const PENALISED: About = About { settings: &[Setting::Sparsity], ..About::AUTOENCODER };

    /// Whether it has a setting.
    pub fn has(&self, setting: Setting) -> bool {
        self.settings.contains(&setting)
    }
}

/// What is asked of an architecture, for a dictionary of this size in a run of this length.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Active features per row, of architectures that choose by number.
    pub k: usize,
    /// Mean number of active features per row that the result is brought to.
    pub l0: Option<f64>,
    /// Prefixes of matryoshka.
    pub prefixes: Option<&'a Prefixes>,
    /// Coefficient of the sparsity penalty; none for one that is steered.
    pub sparsity: Option<f64>,
    /// What is penalised of jump-relu.
    pub penalty: PenaltyKind,
    /// Window of jump-relu's estimators.
    pub bandwidth: Option<f64>,
    /// Thresholds that jump-relu begins with.
    pub threshold: Option<f64>,
    /// Number of activations that are read at once.
    pub parts: usize,
    /// Number of latents.
    pub d_sae: usize,
    /// Steps of the run.
    pub steps: u64,
}

impl Asked<'_> {
    /// Mean number of active features per row that is aimed at.
    pub fn aim(&self) -> f64 {
        self.l0.unwrap_or(self.k as f64)
    }

    /// The coefficient of a penalty that begins with `usual` where none is asked for.
    pub(crate) fn sparsity_of(&self, usual: f64) -> Sparsity {
        Sparsity::resolve(self.sparsity, self.l0, self.k, usual, self.steps)
    }

    /// Refuses settings that the architecture `name` lacks or that cannot be; `owners` names those that have a setting.
    ///
    /// # Errors
    /// [`TrainError::Setting`] names the setting.
    pub(crate) fn check(
        &self,
        name: &str,
        about: &About,
        owners: impl Fn(Setting) -> String,
    ) -> Result<(), TrainError> {
        let belongs = |setting| format!("belongs to {}, not to {name}", owners(setting));
        if self.prefixes.is_some() && !about.has(Setting::Prefixes) {
            return refuse("--prefixes", belongs(Setting::Prefixes));
        }
        if self.sparsity.is_some() && !about.has(Setting::Sparsity) {
            return refuse("--sparsity", format!("{name} has no sparsity penalty"));
        }
        let windows =
            [("--bandwidth", Setting::Bandwidth, self.bandwidth), ("--threshold", Setting::Threshold, self.threshold)];
        for (option, setting, given) in windows {
            let Some(given) = given else { continue };
            if !about.has(setting) {
                return refuse(option, belongs(setting));
            }
            if !(given.is_finite() && given > 0.0) {
                return refuse(option, format!("{given} is not a positive number"));
            }
        }
        if let Some(l0) = self.l0.filter(|l0| !(*l0 > 0.0 && *l0 <= self.d_sae as f64)) {
            return refuse("--l0", format!("{l0} is not between 0 and d_sae = {}", self.d_sae));
        }
        if let Some(bad) = self.sparsity.filter(|value| !(value.is_finite() && *value > 0.0)) {
            return refuse("--sparsity", format!("{bad} is not a positive number"));
        }
        if about.has(Setting::K) && (self.k == 0 || self.k > self.d_sae) {
            return refuse("--k", format!("{} is not between 1 and d_sae = {}", self.k, self.d_sae));
        }
        Ok(())
    }
}
