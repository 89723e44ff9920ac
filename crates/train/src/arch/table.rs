//! Which architectures can be trained, and the settings that each has.
//!
//! What an architecture computes stands in its own file under `arch/`; this is the vocabulary of plans.

use crate::config::{TrainConfig, refuse};
use crate::error::TrainError;
use crate::penalty::{L1, Penalty, PenaltyKind, QUADRATIC, QUADRATIC_WARM_UP, STEP, Sparsity, TANH};
use crate::prefixes::Prefixes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The architectures by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Architecture::TopK`]
    TopK,
    /// [`Architecture::BatchTopK`]
    BatchTopK,
    /// [`Architecture::Matryoshka`]
    Matryoshka,
    /// [`Architecture::JumpRelu`]
    JumpRelu,
    /// [`Architecture::Relu`]
    Relu,
    /// [`Architecture::Gated`]
    Gated,
    /// [`Architecture::PAnneal`]
    PAnneal,
    /// [`Architecture::Transcoder`]
    Transcoder,
    /// [`Architecture::SkipTranscoder`]
    SkipTranscoder,
    /// [`Architecture::Crosscoder`]
    Crosscoder,
    /// [`Architecture::CrosscoderL1`]
    CrosscoderL1,
}

impl Kind {
    /// Whether the result has thresholds that are calibrated on rows of their own.
    pub fn has_thresholds(self) -> bool {
        matches!(self, Kind::BatchTopK | Kind::Matryoshka | Kind::JumpRelu | Kind::Crosscoder) || self.is_transcoder()
    }

    /// Whether it reads several activations at once.
    pub fn is_crosscoder(self) -> bool {
        matches!(self, Kind::Crosscoder | Kind::CrosscoderL1)
    }

    /// Whether it predicts another activation than the one that it reads.
    pub fn is_transcoder(self) -> bool {
        matches!(self, Kind::Transcoder | Kind::SkipTranscoder)
    }
}

/// Every architecture with its name.
const KINDS: [(&str, Kind); 11] = [
    ("topk", Kind::TopK),
    ("batch-topk", Kind::BatchTopK),
    ("matryoshka", Kind::Matryoshka),
    ("jump-relu", Kind::JumpRelu),
    ("relu", Kind::Relu),
    ("gated", Kind::Gated),
    ("p-anneal", Kind::PAnneal),
    ("transcoder", Kind::Transcoder),
    ("skip-transcoder", Kind::SkipTranscoder),
    ("crosscoder", Kind::Crosscoder),
    ("crosscoder-l1", Kind::CrosscoderL1),
];

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || KINDS.map(|(name, _)| name).join(", ");
        let found = KINDS.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| kind).ok_or_else(|| format!("`{text}` is none of {}", names()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KINDS.into_iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

/// An architecture with everything that decides its loss. Flattened into a plan, where `architecture` is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum Architecture {
    /// The k largest pre-activations of every row ([`crate::arch::top_k`]).
    #[serde(rename = "topk")]
    TopK {
        /// Active latents per row.
        k: usize,
    },
    /// The `k n` largest of a batch of `n` rows ([`crate::arch::batch_top_k`]).
    #[serde(rename = "batch-topk")]
    BatchTopK {
        /// Mean number of active latents per row in training.
        k: usize,
        /// Mean number that the threshold of the result is calibrated to.
        l0: f64,
    },
    /// Batch-topk that reconstructs from every prefix of the latents ([`crate::arch::matryoshka`]).
    Matryoshka {
        /// As of batch-topk.
        k: usize,
        /// As of batch-topk.
        l0: f64,
        /// The prefixes.
        prefixes: Prefixes,
    },
    /// A learned threshold for every latent ([`crate::arch::jump_relu`]).
    JumpRelu {
        /// The penalty on L0.
        penalty: Penalty,
        /// Its coefficient.
        sparsity: Sparsity,
        /// Width of the straight-through estimators' window.
        bandwidth: f64,
        /// Thresholds at the start.
        threshold: f64,
    },
    /// L1 ([`crate::arch::relu`]).
    Relu {
        /// The coefficient.
        sparsity: Sparsity,
    },
    /// A gate and a magnitude ([`crate::arch::gated`]).
    Gated {
        /// The coefficient.
        sparsity: Sparsity,
    },
    /// Lp with p falling from 1 ([`crate::arch::p_anneal`]).
    PAnneal {
        /// The coefficient at the start.
        sparsity: Sparsity,
        /// Step at which p begins to fall.
        begin: u64,
        /// Steps of the run.
        steps: u64,
        /// What p falls to.
        end: f64,
    },
    /// Batch-topk that predicts another activation than it reads ([`crate::arch::transcoder`]).
    Transcoder {
        /// As of batch-topk.
        k: usize,
        /// As of batch-topk.
        l0: f64,
    },
    /// A transcoder with a linear way past its latents ([`crate::arch::transcoder`]).
    SkipTranscoder {
        /// As of batch-topk.
        k: usize,
        /// As of batch-topk.
        l0: f64,
    },
    /// Batch-topk of several activations at once ([`crate::arch::crosscoder`]).
    Crosscoder {
        /// As of batch-topk.
        k: usize,
        /// As of batch-topk.
        l0: f64,
        /// Number of activations.
        parts: usize,
    },
    /// L1 of several activations at once ([`crate::arch::crosscoder`]).
    #[serde(rename = "crosscoder-l1")]
    CrosscoderL1 {
        /// The coefficient.
        sparsity: Sparsity,
        /// Number of activations.
        parts: usize,
    },
}

/// Part of the run after which the exponent of p-annealing begins to fall, and what it falls to (Karvonen et al. 2024).
const ANNEAL_BEGIN: f64 = 0.2;
const ANNEAL_END: f64 = 0.2;
/// Window of JumpReLU's estimators and its first thresholds, in units of normalised data, where pre-activations begin with a
/// standard deviation of one half. Chosen by the table at the end of `defaults.md`.
const BANDWIDTH: f64 = 0.5;
const FIRST_THRESHOLD: f64 = 0.75;

impl Architecture {
    /// The architecture that is asked for, for a dictionary of `d_sae` latents in a run of `steps`.
    pub(crate) fn resolve(asked: &TrainConfig, parts: usize, d_sae: usize, steps: u64) -> Result<Self, TrainError> {
        let by_number = matches!(asked.kind, Kind::TopK | Kind::BatchTopK | Kind::Matryoshka | Kind::Crosscoder)
            || asked.kind.is_transcoder();
        if asked.prefixes.is_some() && asked.kind != Kind::Matryoshka {
            return refuse("--prefixes", format!("belongs to matryoshka, not to {}", asked.kind));
        }
        if asked.sparsity.is_some() && by_number {
            return refuse("--sparsity", format!("{} has no sparsity penalty", asked.kind));
        }
        for (option, given) in [("--bandwidth", asked.bandwidth), ("--threshold", asked.threshold)] {
            let Some(given) = given else { continue };
            if asked.kind != Kind::JumpRelu {
                return refuse(option, format!("belongs to jump-relu, not to {}", asked.kind));
            }
            if !(given.is_finite() && given > 0.0) {
                return refuse(option, format!("{given} is not a positive number"));
            }
        }
        if let Some(l0) = asked.l0.filter(|l0| !(*l0 > 0.0 && *l0 <= d_sae as f64)) {
            return refuse("--l0", format!("{l0} is not between 0 and d_sae = {d_sae}"));
        }
        if let Some(bad) = asked.sparsity.filter(|value| !(value.is_finite() && *value > 0.0)) {
            return refuse("--sparsity", format!("{bad} is not a positive number"));
        }
        let k = asked.k;
        if by_number && (k == 0 || k > d_sae) {
            return refuse("--k", format!("{k} is not between 1 and d_sae = {d_sae}"));
        }
        let l0 = asked.l0.unwrap_or(k as f64);
        Ok(match asked.kind {
            Kind::TopK if asked.l0.is_some() => {
                return refuse("--l0", "topk has exactly k active features; give --k".to_owned());
            }
            Kind::TopK => Architecture::TopK { k },
            Kind::BatchTopK => Architecture::BatchTopK { k, l0 },
            Kind::Transcoder => Architecture::Transcoder { k, l0 },
            Kind::SkipTranscoder => Architecture::SkipTranscoder { k, l0 },
            Kind::Crosscoder => Architecture::Crosscoder { k, l0, parts },
            Kind::CrosscoderL1 => Architecture::CrosscoderL1 { sparsity: Sparsity::resolve(asked, L1, steps), parts },
            Kind::Matryoshka => {
                let prefixes = Prefixes::resolve(asked.prefixes.as_ref(), d_sae)?;
                Architecture::Matryoshka { k, l0, prefixes }
            }
            Kind::JumpRelu => Self::jump_relu(asked, l0, steps),
            Kind::Relu => Architecture::Relu { sparsity: Sparsity::resolve(asked, L1, steps) },
            Kind::Gated => Architecture::Gated { sparsity: Sparsity::resolve(asked, L1, steps) },
            Kind::PAnneal => Architecture::PAnneal {
                sparsity: Sparsity::resolve(asked, L1, steps),
                begin: (ANNEAL_BEGIN * steps as f64).round() as u64,
                steps,
                end: ANNEAL_END,
            },
        })
    }

    fn jump_relu(asked: &TrainConfig, l0: f64, steps: u64) -> Self {
        let (penalty, usual) = match asked.penalty {
            PenaltyKind::Step => (Penalty::Step, STEP),
            PenaltyKind::Tanh => (Penalty::Tanh, TANH),
            PenaltyKind::Quadratic => (Penalty::Quadratic { target: l0 }, QUADRATIC),
        };
        let mut sparsity = Sparsity::resolve(asked, usual, steps);
        if asked.penalty == PenaltyKind::Quadratic {
            // It has its target itself.
            sparsity.l0 = None;
            sparsity.warm_up = (QUADRATIC_WARM_UP * steps as f64).round() as u64;
        }
        let (bandwidth, threshold) = (asked.bandwidth.unwrap_or(BANDWIDTH), asked.threshold.unwrap_or(FIRST_THRESHOLD));
        Architecture::JumpRelu { penalty, sparsity, bandwidth, threshold }
    }

    /// The sparsity penalty's coefficient, where the loss has one.
    pub fn sparsity(&self) -> Option<Sparsity> {
        match *self {
            Architecture::JumpRelu { sparsity, .. }
            | Architecture::Relu { sparsity }
            | Architecture::Gated { sparsity }
            | Architecture::PAnneal { sparsity, .. }
            | Architecture::CrosscoderL1 { sparsity, .. } => Some(sparsity),
            _ => None,
        }
    }

    /// The name, as the command line spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Architecture::TopK { .. } => "topk",
            Architecture::BatchTopK { .. } => "batch-topk",
            Architecture::Matryoshka { .. } => "matryoshka",
            Architecture::JumpRelu { .. } => "jump-relu",
            Architecture::Relu { .. } => "relu",
            Architecture::Gated { .. } => "gated",
            Architecture::PAnneal { .. } => "p-anneal",
            Architecture::Transcoder { .. } => "transcoder",
            Architecture::SkipTranscoder { .. } => "skip-transcoder",
            Architecture::Crosscoder { .. } => "crosscoder",
            Architecture::CrosscoderL1 { .. } => "crosscoder-l1",
        }
    }

    /// Active latents per row that are aimed at, where the architecture aims at a number.
    pub fn target_l0(&self) -> Option<f64> {
        match *self {
            Architecture::TopK { k } => Some(k as f64),
            Architecture::BatchTopK { l0, .. }
            | Architecture::Matryoshka { l0, .. }
            | Architecture::Transcoder { l0, .. }
            | Architecture::SkipTranscoder { l0, .. }
            | Architecture::Crosscoder { l0, .. } => Some(l0),
            Architecture::JumpRelu { penalty: Penalty::Quadratic { target }, .. } => Some(target),
            _ => self.sparsity()?.l0,
        }
    }

    /// Whether thresholds are calibrated after training, on rows that training did not read.
    pub fn is_calibrated(&self) -> bool {
        match self {
            Architecture::BatchTopK { .. } | Architecture::Matryoshka { .. } | Architecture::Crosscoder { .. } => true,
            Architecture::JumpRelu { .. } => self.target_l0().is_some(),
            _ if self.is_transcoder() => true,
            _ => false,
        }
    }

    /// Whether it predicts another activation than the one that it reads.
    pub fn is_transcoder(&self) -> bool {
        matches!(self, Architecture::Transcoder { .. } | Architecture::SkipTranscoder { .. })
    }

    /// Number of activations that are read at once; 1 but in crosscoders.
    pub fn parts(&self) -> usize {
        match *self {
            Architecture::Crosscoder { parts, .. } | Architecture::CrosscoderL1 { parts, .. } => parts,
            _ => 1,
        }
    }

    /// Names of the parameters that a latent has beside its rows of the matrices and `b_enc`.
    pub fn extras(&self) -> &'static [&'static str] {
        match self {
            Architecture::JumpRelu { .. } => &["threshold"],
            Architecture::Gated { .. } => &["r_mag", "b_mag"],
            _ => &[],
        }
    }
}
