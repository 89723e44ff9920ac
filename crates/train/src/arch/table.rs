//! The table of the architectures: a new one is a file beside this and a line here.

use super::abs_top_k::AbsTopK;
use super::asked::{About, Asked, Setting};
use super::batch_top_k::BatchTopK;
use super::crosscoder::{Crosscoder, CrosscoderL1};
use super::decode::Totals;
use super::gated::Gated;
use super::jump_relu::JumpRelu;
use super::matryoshka::Matryoshka;
use super::method::{Method, Ruled};
use super::p_anneal::PAnneal;
use super::relu::Relu;
use super::rule::WithRule;
use super::top_k::TopK;
use super::transcoder::{SkipTranscoder, Transcoder};
use crate::activity::TileMut;
use crate::error::TrainError;
use crate::state::TrainState;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! table {
    ($($name:literal $architecture:ident $about:literal;)*) => {
        /// The architectures by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $about] $architecture,)*
        }

        /// An architecture with everything that decides its loss. Flattened into a plan, where `architecture` is its name.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "architecture")]
        pub enum Architecture {
            $(#[doc = $about] #[serde(rename = $name)] $architecture($architecture),)*
        }

        $(impl From<$architecture> for Architecture {
            fn from(settings: $architecture) -> Self {
                Architecture::$architecture(settings)
            }
        })*

        impl Kind {
            /// Every architecture, in the order in which they are listed for people.
            pub const ALL: &'static [Kind] = &[$(Kind::$architecture),*];

            /// The name, as the command line spells it.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$architecture => $name),* }
            }

            /// What is known of it by its name.
            pub fn about(self) -> &'static About {
                match self { $(Kind::$architecture => &<$architecture as Ruled>::ABOUT),* }
            }

            fn resolve(self, asked: &Asked<'_>) -> Result<Architecture, TrainError> {
                Ok(match self { $(Kind::$architecture => $architecture::resolve(asked)?.into()),* })
            }
        }

        impl Architecture {
            /// Which one it is.
            pub fn kind(&self) -> Kind {
                match self { $(Architecture::$architecture(_) => Kind::$architecture),* }
            }

            fn method(&self) -> &(dyn Method + 'static) {
                match self { $(Architecture::$architecture(settings) => settings),* }
            }

            /// See [`Ruled::with_rule`].
            #[inline(always)]
            pub(crate) fn with_rule<W: WithRule>(&self, state: &TrainState, n: usize, l0: f64, work: W) -> W::Out {
                match self { $(Architecture::$architecture(settings) => settings.with_rule(state, n, l0, work)),* }
            }

            /// See [`Ruled::decode`].
            #[inline(always)]
            pub(crate) fn decode(
                &self,
                state: &TrainState,
                n: usize,
                l0: f64,
                groups: &[usize],
                tile: TileMut<'_>,
            ) -> Totals {
                match self { $(Architecture::$architecture(settings) => settings.decode(state, n, l0, groups, tile)),* }
            }
        }
    };
}

table! {
    "topk" TopK "The k largest pre-activations of every row.";
    "abs-topk" AbsTopK "The k largest magnitudes of every row, with their signs.";
    "batch-topk" BatchTopK "The `k n` largest of a batch of `n` rows.";
    "matryoshka" Matryoshka "Batch-topk that reconstructs from every prefix of the latents.";
    "jump-relu" JumpRelu "A learned threshold for every latent.";
    "relu" Relu "L1.";
    "gated" Gated "A gate and a magnitude.";
    "p-anneal" PAnneal "Lp with p falling from 1.";
    "transcoder" Transcoder "Batch-topk that predicts another activation than it reads.";
    "skip-transcoder" SkipTranscoder "A transcoder with a linear way past its latents.";
    "crosscoder" Crosscoder "Batch-topk of several activations at once.";
    "crosscoder-l1" CrosscoderL1 "L1 of several activations at once.";
}

impl Kind {
    /// Whether the result has thresholds that are calibrated on rows of their own.
    pub fn has_thresholds(self) -> bool {
        self.about().has_thresholds
    }

    /// Whether it reads several activations at once.
    pub fn is_crosscoder(self) -> bool {
        self.about().is_crosscoder
    }

    /// Whether it predicts another activation than the one that it reads.
    pub fn is_transcoder(self) -> bool {
        self.about().is_transcoder
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Kind::ALL.iter().copied().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of {}", names(|_| true)))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::ops::Deref for Architecture {
    type Target = dyn Method;

    fn deref(&self) -> &(dyn Method + 'static) {
        self.method()
    }
}

impl Architecture {
    /// The architecture that is asked for.
    ///
    /// # Errors
    /// [`TrainError::Setting`] names a setting that it lacks or that cannot be.
    pub(crate) fn resolve(kind: Kind, asked: &Asked<'_>) -> Result<Self, TrainError> {
        asked.check(kind.name(), kind.about(), |setting: Setting| names(|kind| kind.about().has(setting)))?;
        kind.resolve(asked)
    }

    /// The name, as the command line spells it.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Whether it predicts another activation than the one that it reads.
    pub fn is_transcoder(&self) -> bool {
        self.kind().is_transcoder()
    }
}

/// The names of those that `of` holds of, as a list for people.
fn names(of: impl Fn(Kind) -> bool) -> String {
    Kind::ALL.iter().filter(|kind| of(**kind)).map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_an_unknown_one_is_told_all() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        let told = "top-k".parse::<Kind>().expect_err("unknown");
        assert!(told.starts_with("`top-k` is none of topk, abs-topk, batch-topk, "), "{told}");
    }

    #[test]
    fn settings_stand_beside_the_name() {
        let architecture: Architecture = BatchTopK { k: 3, l0: 2.5 }.into();
        let json = serde_json::to_string(&architecture).expect("json");
        assert_eq!(json, r#"{"architecture":"batch-topk","k":3,"l0":2.5}"#);
        assert_eq!(serde_json::from_str::<Architecture>(&json).expect("valid"), architecture);
    }
}
