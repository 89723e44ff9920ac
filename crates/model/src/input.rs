//! What one pass is given, and whether it fits the model.

use crate::cache::KvCache;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::hook::Phase;
use tch::{Device, Kind, Tensor};

/// What one pass computes.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Token ids, int64 `[batch, seq]`.
    pub tokens: &'a Tensor,
    /// True where a token is real and false where it is padding (left or right), bool `[batch, seq]`; none when all
    /// are real. Padding is never seen by real tokens and takes no position, so it changes nothing for them.
    pub mask: Option<&'a Tensor>,
    /// What hooks are told about where the tokens come from.
    pub phase: Phase,
    /// For which tokens logits are computed.
    pub logits: Logits,
}

/// For which tokens a pass computes logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// All: `[batch, seq, vocab]`.
    All,
    /// Only the last column: `[batch, 1, vocab]`.
    Last,
}

impl<'a> Input<'a> {
    /// Tokens without padding, given by the caller, with logits for all.
    pub fn new(tokens: &'a Tensor) -> Self {
        Self { tokens, mask: None, phase: Phase::Prompt, logits: Logits::All }
    }

    /// Checks everything that the pass relies on, so that its operations cannot fail.
    pub(crate) fn check(
        &self,
        config: &ModelConfig,
        device: Device,
        cache: Option<&KvCache>,
    ) -> Result<(), ModelError> {
        let size = self.tokens.size();
        let is_batch = matches!(size[..], [batch, seq] if batch > 0 && seq > 0);
        require("tokens", self.tokens, is_batch, Kind::Int64, device, "int64 [batch, seq], neither empty")?;
        if let Some(mask) = self.mask {
            require("mask", mask, mask.size() == size, Kind::Bool, device, &format!("bool {size:?}"))?;
        }
        if let Some(cache) = cache {
            cache.check(config, self.tokens, self.mask)?;
        }
        let tokens = self.longest(cache);
        if tokens > config.max_context {
            return Err(ModelError::ContextExceeded { tokens, max_context: config.max_context });
        }
        let (low, high) = (self.tokens.min().int64_value(&[]), self.tokens.max().int64_value(&[]));
        if low < 0 || high >= config.vocab_size as i64 {
            let found = format!("{} among them", if low < 0 { low } else { high });
            let expected = format!("ids from 0 to {}", config.vocab_size - 1);
            return Err(ModelError::Input { what: "tokens", found, expected });
        }
        Ok(())
    }

    /// Tokens of the longest text at the end of the pass. Behind a cache, padding takes no place in a context.
    fn longest(&self, cache: Option<&KvCache>) -> usize {
        let columns = cache.map_or(0, KvCache::len) + self.tokens.size()[1] as usize;
        let mask = cache.and_then(|cache| cache.mask_with(self.tokens, self.mask)); // [batch, columns]
        let real = mask.map(|mask| mask.sum_dim_intlist(1, false, Kind::Int64).max().int64_value(&[]) as usize);
        real.unwrap_or(columns)
    }
}

fn require(
    what: &'static str,
    tensor: &Tensor,
    shape_fits: bool,
    kind: Kind,
    device: Device,
    expected: &str,
) -> Result<(), ModelError> {
    if shape_fits && tensor.kind() == kind && tensor.device() == device {
        return Ok(());
    }
    let found = format!("{:?} {:?} on {:?}", tensor.kind(), tensor.size(), tensor.device());
    Err(ModelError::Input { what, found, expected: format!("{expected} on {device:?}") })
}
