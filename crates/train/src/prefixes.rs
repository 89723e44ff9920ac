//! Which prefixes of the latents of a matryoshka dictionary reconstruct on their own.

use crate::error::{TrainError, refuse};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Prefixes of the latents that reconstruct on their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefixes {
    /// These lengths, ascending; the last is all latents.
    Fixed(Vec<usize>),
    /// So many lengths, drawn anew at every step, all latents among them.
    Random(usize),
}

impl FromStr for Prefixes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use lengths such as 128,512,2048, or random:10".to_owned();
        match text.strip_prefix("random:") {
            Some(n) => n.parse().map(Prefixes::Random).map_err(|_| wrong()),
            None => {
                let lengths = text.split(',').map(|length| length.trim().parse()).collect::<Result<_, _>>();
                lengths.map(Prefixes::Fixed).map_err(|_| wrong())
            }
        }
    }
}

impl Prefixes {
    /// A sixteenth, a quarter, a half and all of the latents.
    fn usual(d_sae: usize) -> Self {
        let mut lengths: Vec<usize> = [16, 4, 2, 1].map(|part| d_sae / part).into_iter().filter(|&l| l > 0).collect();
        lengths.dedup();
        Prefixes::Fixed(lengths)
    }

    /// How many there are.
    pub(crate) fn number(&self) -> usize {
        match self {
            Prefixes::Fixed(lengths) => lengths.len(),
            Prefixes::Random(n) => *n,
        }
    }

    pub(crate) fn resolve(asked: Option<&Prefixes>, d_sae: usize) -> Result<Self, TrainError> {
        match asked {
            None => Ok(Self::usual(d_sae)),
            Some(Prefixes::Random(n)) if *n == 0 || *n > d_sae => {
                refuse("--prefixes", format!("{n} random prefixes of {d_sae} features cannot be"))
            }
            Some(Prefixes::Random(n)) => Ok(Prefixes::Random(*n)),
            Some(Prefixes::Fixed(lengths)) => {
                let ascend = lengths.windows(2).all(|pair| pair[0] < pair[1]);
                if !ascend || lengths.first().is_none_or(|&l| l == 0) || lengths.last().is_some_and(|&l| l > d_sae) {
                    return refuse("--prefixes", format!("lengths must ascend from 1 to at most d_sae = {d_sae}"));
                }
                let mut lengths = lengths.clone();
                if lengths.last() != Some(&d_sae) {
                    lengths.push(d_sae);
                }
                Ok(Prefixes::Fixed(lengths))
            }
        }
    }
}
