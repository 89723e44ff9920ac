//! Keys and values of earlier passes, so that a token is computed once.

use crate::config::ModelConfig;
use crate::error::ModelError;
use tch::{Device, Kind, Tensor};

/// Columns for which there is room when rows have joined others (chosen).
const SPARE: i64 = 64;
/// Columns up to which buffers have their last size at once (chosen): they then grow without a copy, and leave no holes where smaller
/// ones were. What nothing was written to takes no memory.
const AT_ONCE: i64 = 1024;
/// More columns than there can be: how many there will be at most, where nobody has said.
const UNKNOWN: i64 = i64::MAX / 4;

/// Keys and values of the tokens that a sequence of passes has seen. For inference: appending writes in place, so no
/// gradient flows through it. Belongs to one model and one batch.
#[derive(Debug)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    /// Real tokens among those seen, bool `[batch, len]`; none while all were real.
    mask: Option<Tensor>,
    len: i64,
    /// Texts are treated as if they had at least so many tokens.
    planned_len: usize,
}

impl KvCache {
    /// An empty cache for a model of this configuration.
    pub fn new(config: &ModelConfig) -> Self {
        let layers = (0..config.n_layers).map(|_| LayerCache::new()).collect();
        Self { layers, mask: None, len: 0, planned_len: 0 }
    }

    /// An empty cache for texts that will have `len` tokens. Models with LongRoPE turn all tokens of a long text by
    /// other angles than those of a short one, so that keys of both do not go together; other models do not care.
    pub fn for_length(config: &ModelConfig, len: usize) -> Self {
        Self { planned_len: len, ..Self::new(config) }
    }

    /// The same, whose buffers have room for no more than `columns` tokens of a row as long as there are no more.
    pub fn at_most(mut self, columns: usize) -> Self {
        let most = i64::try_from(columns).unwrap_or(UNKNOWN).min(UNKNOWN);
        self.layers.iter_mut().for_each(|layer| layer.most = most);
        self
    }

    /// Bytes of the keys and values of `rows` texts of `columns` tokens each, in numbers of `kind`: two vectors for every
    /// layer, head of keys, and token.
    pub fn bytes_for(config: &ModelConfig, kind: Kind, rows: usize, columns: usize) -> u64 {
        let attention = &config.attention;
        let of_token = 2 * config.n_layers * attention.n_kv_heads * attention.d_head * kind.elt_size_in_bytes();
        (of_token as u64).saturating_mul(rows as u64).saturating_mul(columns as u64)
    }

    /// Bytes of its buffers now.
    pub fn bytes(&self) -> u64 {
        let of = |tensor: &Tensor| (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
        self.layers.iter().filter_map(|layer| layer.stored.as_ref()).map(|(keys, values)| of(keys) + of(values)).sum()
    }

    /// Tokens that the texts were announced to have.
    pub(crate) fn planned_len(&self) -> usize {
        self.planned_len
    }

    /// Whether a pass that makes texts of `len` tokens needs other angles than those of the keys that are here, for
    /// rows without padding.
    pub(crate) fn is_outgrown_by(&self, len: usize, config: &ModelConfig) -> bool {
        let border = config.long_text_border().unwrap_or(usize::MAX);
        !self.is_empty() && self.len().max(self.planned_len) <= border && len > border
    }

    /// Tokens per row that were seen.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Checks that a pass of `tokens` `[batch, seq]` can go on from here.
    pub(crate) fn check(&self, config: &ModelConfig, tokens: &Tensor, mask: Option<&Tensor>) -> Result<(), ModelError> {
        let (n_layers, batch) = (config.n_layers, tokens.size()[0]);
        let rows = self.layers.first().and_then(|layer| Some(layer.stored.as_ref()?.0.size()[0]));
        if self.layers.len() != n_layers || (self.len > 0 && rows != Some(batch)) {
            return Err(ModelError::Input {
                what: "cache",
                found: format!("of {} layers and {} rows", self.layers.len(), rows.unwrap_or(0)),
                expected: format!("{n_layers} layers and {batch} rows"),
            });
        }
        let Some(border) = config.long_text_border() else { return Ok(()) };
        match self.crosses(border as i64, tokens, mask) {
            false => Ok(()),
            true => Err(ModelError::Input {
                what: "cache",
                found: format!("made for texts of at most {border} tokens"),
                expected: "KvCache::for_length, as this model turns all tokens of longer texts by other angles".into(),
            }),
        }
    }

    /// Whether a row of this pass has more than `border` real tokens, and its tokens before the pass were not treated
    /// as those of such a text.
    fn crosses(&self, border: i64, tokens: &Tensor, mask: Option<&Tensor>) -> bool {
        if self.len == 0 || self.planned_len as i64 > border || self.len + tokens.size()[1] <= border {
            return false;
        }
        let real = |mask: &Tensor, len: i64| mask.narrow(1, 0, len).sum_dim_intlist(1, false, Kind::Int64); // [batch]
        match self.mask_with(tokens, mask) {
            None => self.len <= border,
            Some(mask) => {
                let (before, after) = (real(&mask, self.len), real(&mask, mask.size()[1]));
                before.le(border).logical_and(&after.gt(border)).any().int64_value(&[]) != 0
            }
        }
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
    /// Some of the rows, without the columns before `first`, in which none of them has a token.
    pub(crate) fn some(&self, rows: &[i64], first: i64) -> Self {
        let layers = self.layers.iter().map(|layer| layer.some(rows, first)).collect();
        Self { layers, mask: self.mask_of(rows, first), len: self.len - first, planned_len: self.planned_len }
    }

    /// Forgets the other rows, and the columns before `first`, layer by layer, so that no second cache is held meanwhile.
    pub(crate) fn keep(&mut self, rows: &[i64], first: i64) {
        self.layers.iter_mut().for_each(|layer| *layer = layer.some(rows, first));
        self.mask = self.mask_of(rows, first);
        self.len -= first;
    }

    /// Which tokens of some rows are real, `[rows, len - first]`; none when all are.
    fn mask_of(&self, rows: &[i64], first: i64) -> Option<Tensor> {
        let mask = self.mask.as_ref().map(|mask| some(mask, 1, rows, first, self.len));
        mask.filter(|mask| mask.logical_not().any().int64_value(&[]) != 0)
    }

    /// Takes in the rows of `other` behind its own; shorter ones get padding at the left. Both hold something.
    pub(crate) fn absorb(&mut self, other: &KvCache) {
        let len = self.len.max(other.len);
        let padded = self.mask.is_some() || other.mask.is_some() || self.len != other.len;
        let masks = padded.then(|| [self.mask_at_right(len), other.mask_at_right(len)]);
        self.mask = masks.map(|masks| Tensor::cat(&masks, 0)); // [rows of both, len]
        self.layers.iter_mut().zip(&other.layers).for_each(|(own, other)| own.absorb(other, len));
        (self.len, self.planned_len) = (len, self.planned_len.max(other.planned_len));
    }

    /// Which of `len` columns hold real tokens, where what is here are the last of them; bool `[rows, len]`.
    fn mask_at_right(&self, len: i64) -> Tensor {
        let stored = self.layers.first().and_then(|layer| layer.stored.as_ref());
        let (rows, device) = stored.map_or((0, Device::Cpu), |(keys, _)| (keys.size()[0], keys.device()));
        let padding = Tensor::zeros([rows, len - self.len], (Kind::Bool, device));
        let own = match &self.mask {
            Some(mask) => mask.shallow_clone(),
            None => Tensor::ones([rows, self.len], (Kind::Bool, device)),
        };
        Tensor::cat(&[padding, own], 1)
    }

    /// Forgets what a pass that ended early has appended to some layers.
    pub(crate) fn roll_back(&mut self) {
        for layer in &mut self.layers {
            layer.len = self.len;
            layer.stored = layer.stored.take().filter(|_| self.len > 0);
        }
    }
}

/// One block's keys and values, in buffers that double when full, as far as there can be tokens; small ones have their last size at once.
#[derive(Debug)]
pub(crate) struct LayerCache {
    /// Key and value buffers, `[batch, n_kv_heads, capacity, d_head]`.
    stored: Option<(Tensor, Tensor)>,
    len: i64,
    /// Tokens per row that there will be at most.
    most: i64,
}

impl LayerCache {
    fn new() -> Self {
        Self { stored: None, len: 0, most: UNKNOWN }
    }

    /// Appends `[batch, n_kv_heads, seq, d_head]` and returns views of all, `[batch, n_kv_heads, keys, d_head]`.
    pub(crate) fn append(&mut self, k: Tensor, v: Tensor) -> (Tensor, Tensor) {
        let (start, seq) = (self.len, k.size()[2]);
        let end = start + seq;
        let roomy = (2 * end).max(if self.most <= AT_ONCE { self.most } else { 0 }).min(self.most).max(end);
        let (keys, values) = match self.stored.take() {
            Some((keys, values)) if keys.size()[2] >= end => (keys, values),
            Some((keys, values)) => (grown(&keys, start, roomy), grown(&values, start, roomy)),
            None => (grown(&k, 0, roomy), grown(&v, 0, roomy)),
        };
        keys.narrow(2, start, seq).copy_(&k);
        values.narrow(2, start, seq).copy_(&v);
        let all = (keys.narrow(2, 0, end), values.narrow(2, 0, end));
        self.stored = Some((keys, values));
        self.len = end;
        all
    }
}

impl LayerCache {
    /// Some of the rows, without the columns before `first`.
    fn some(&self, rows: &[i64], first: i64) -> Self {
        let keep = |tensor: &Tensor| some(tensor, 2, rows, first, self.len);
        let stored = self.stored.as_ref().map(|(keys, values)| (keep(keys), keep(values)));
        Self { stored, len: self.len - first, most: (self.most - first).min(UNKNOWN) }
    }

    /// Takes in the rows of `other` behind its own, as the last of `len` columns each.
    fn absorb(&mut self, other: &LayerCache, len: i64) {
        let (Some((keys, values)), Some((other_keys, other_values))) = (self.stored.take(), &other.stored) else {
            return;
        };
        // The last columns of the shorter one move to the right, and with them its end.
        self.most = (self.most + len - self.len).max(other.most + len - other.len).min(UNKNOWN);
        let room = (len + SPARE).min(self.most).max(len);
        let both = |own: &Tensor, others: &Tensor| {
            let (size, rows) = (own.size(), [own.size()[0], others.size()[0]]);
            let capacity = size[2].max(room);
            // Zeros, since what nobody sees is multiplied by a weight of zero all the same, and NaN would stay NaN.
            let buffer = Tensor::zeros([rows[0] + rows[1], size[1], capacity, size[3]], (own.kind(), own.device()));
            for (from, first, rows, n) in [(own, 0, rows[0], self.len), (others, rows[0], rows[1], other.len)] {
                buffer.narrow(0, first, rows).narrow(2, len - n, n).copy_(&from.narrow(2, 0, n));
            }
            buffer
        };
        self.stored = Some((both(&keys, other_keys), both(&values, other_values)));
        self.len = len;
    }
}

/// Some rows of `tensor`, and of its columns (a dimension) those from `first` up to `len`.
fn some(tensor: &Tensor, columns: i64, rows: &[i64], first: i64, len: i64) -> Tensor {
    let rows = Tensor::from_slice(rows).to_device(tensor.device());
    tensor.narrow(columns, first, len - first).index_select(0, &rows)
}

/// A buffer like `old` with another capacity that holds its first `len` entries.
fn grown(old: &Tensor, len: i64, capacity: i64) -> Tensor {
    let size = old.size();
    let buffer = Tensor::empty([size[0], size[1], capacity, size[3]], (old.kind(), old.device()));
    buffer.narrow(2, 0, len).copy_(&old.narrow(2, 0, len));
    buffer
}
