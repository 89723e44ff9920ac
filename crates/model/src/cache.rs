//! Keys and values of earlier passes, so that a token is computed once.

use crate::config::ModelConfig;
use crate::error::ModelError;
use tch::{Kind, Tensor};

/// Keys and values of the tokens that a sequence of passes has seen. For inference: appending writes in place, so no
/// gradient flows through it. Belongs to one model and one batch.
#[derive(Debug)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    /// Real tokens among those seen, bool `[batch, len]`; none while all were real.
    mask: Option<Tensor>,
    len: i64,
}

impl KvCache {
    /// An empty cache for a model of this configuration.
    pub fn new(config: &ModelConfig) -> Self {
        let layers = (0..config.n_layers).map(|_| LayerCache::default()).collect();
        Self { layers, mask: None, len: 0 }
    }

    /// Tokens per row that were seen.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Checks that a pass of `batch` rows through `n_layers` blocks can go on from here.
    pub(crate) fn check(&self, n_layers: usize, batch: i64) -> Result<(), ModelError> {
        let rows = self.layers.first().and_then(|layer| Some(layer.stored.as_ref()?.0.size()[0]));
        if self.layers.len() == n_layers && (self.len == 0 || rows == Some(batch)) {
            return Ok(());
        }
        Err(ModelError::Input {
            what: "cache",
            found: format!("of {} layers and {} rows", self.layers.len(), rows.unwrap_or(0)),
            expected: format!("{n_layers} layers and {batch} rows"),
        })
    }

    /// Which tokens are real, old and new, bool `[batch, len + seq]`; none when all are. `tokens` is `[batch, seq]`.
    pub(crate) fn mask_with(&self, tokens: &Tensor, mask: Option<&Tensor>) -> Option<Tensor> {
        if self.mask.is_none() && mask.is_none() {
            return None;
        }
        let all = |len: i64| Tensor::ones([tokens.size()[0], len], (Kind::Bool, tokens.device()));
        let old = self.mask.as_ref().map_or_else(|| all(self.len), Tensor::shallow_clone);
        let new = mask.map_or_else(|| all(tokens.size()[1]), Tensor::shallow_clone);
        Some(Tensor::cat(&[old, new], 1))
    }

    /// Notes that a pass of `seq` tokens was appended to every layer; `mask` covers old and new ones.
    pub(crate) fn advance(&mut self, seq: i64, mask: Option<Tensor>) {
        self.len += seq;
        self.mask = mask;
    }
}

impl KvCache {
    /// Forgets what a pass that ended early has appended to some layers.
    pub(crate) fn roll_back(&mut self) {
        for layer in &mut self.layers {
            layer.len = self.len;
            layer.stored = layer.stored.take().filter(|_| self.len > 0);
        }
    }
}

/// One block's keys and values, in buffers that double when full.
#[derive(Debug, Default)]
pub(crate) struct LayerCache {
    /// Key and value buffers, `[batch, n_kv_heads, capacity, d_head]`.
    stored: Option<(Tensor, Tensor)>,
    len: i64,
}

impl LayerCache {
    /// Appends `[batch, n_kv_heads, seq, d_head]` and returns views of all, `[batch, n_kv_heads, keys, d_head]`.
    pub(crate) fn append(&mut self, k: Tensor, v: Tensor) -> (Tensor, Tensor) {
        let (start, seq) = (self.len, k.size()[2]);
        let end = start + seq;
        let (keys, values) = match self.stored.take() {
            Some((keys, values)) if keys.size()[2] >= end => (keys, values),
            Some((keys, values)) => (grown(&keys, start, 2 * end), grown(&values, start, 2 * end)),
            None => (grown(&k, 0, 2 * end), grown(&v, 0, 2 * end)),
        };
        keys.narrow(2, start, seq).copy_(&k);
        values.narrow(2, start, seq).copy_(&v);
        let all = (keys.narrow(2, 0, end), values.narrow(2, 0, end));
        self.stored = Some((keys, values));
        self.len = end;
        all
    }
}

/// A buffer like `old` with another capacity that holds its first `len` entries.
fn grown(old: &Tensor, len: i64, capacity: i64) -> Tensor {
    let size = old.size();
    let buffer = Tensor::empty([size[0], size[1], capacity, size[3]], (old.kind(), old.device()));
    buffer.narrow(2, 0, len).copy_(&old.narrow(2, 0, len));
    buffer
}
