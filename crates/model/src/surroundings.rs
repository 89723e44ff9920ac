//! What all blocks of one pass share: where its tokens stand, who sees whom, and by which angles heads turn.

use crate::cache::KvCache;
use crate::config::{ModelConfig, Positions};
use crate::input::Input;
use crate::rotary::Rotation;
use tch::{Kind, Tensor};

/// Sizes and places of one pass.
pub(crate) struct Places {
    /// Absolute columns, int64 `[seq]`.
    pub(crate) columns: Tensor,
    /// Position of every token among the real ones of its row, int64 `[batch or 1, seq]`.
    pub(crate) positions: Tensor,
    /// Real tokens up to this pass's end, bool `[batch, keys]`; none when all are.
    pub(crate) mask: Option<Tensor>,
    /// The same as `positions` for all tokens up to this pass's end, int64 `[batch or 1, keys]`.
    key_positions: Tensor,
    /// Real tokens of every row up to this pass's end, or as many as the cache is made for, int64 `[batch or 1]`.
    lengths: Tensor,
}

/// What attention needs to know beside its input.
#[derive(Debug)]
pub(crate) struct Surroundings {
    rotation: Option<Rotation>,
    visible: Visible,
    /// Angles of blocks with a window, where they have their own.
    rotation_in_windows: Option<Rotation>,
    /// Who sees whom in blocks with a window; none while no text is longer than the window.
    visible_in_windows: Option<Visible>,
}

/// Which keys a query sees.
#[derive(Debug)]
pub(crate) enum Visible {
    /// All: a single query behind a cache without padding.
    All,
    /// Itself and those before it, without padding or cache.
    Causal,
    /// Those where this is true, bool `[batch or 1, 1, seq, keys]`; every query sees at least itself.
    Where(Tensor),
}

impl Places {
    pub(crate) fn of(input: &Input<'_>, cache: Option<&KvCache>) -> Self {
        let (seq, options) = (input.tokens.size()[1], (Kind::Int64, input.tokens.device()));
        let past = cache.map_or(0, |cache| cache.len() as i64);
        let mask = match cache {
            Some(cache) => cache.mask_with(input.tokens, input.mask),
            None => input.mask.map(Tensor::shallow_clone),
        };
        let columns = Tensor::arange(past + seq, options); // [keys]
        if let Some(mask) = mask.as_ref().filter(|mask| cache.is_none() && is_behind(mask)) {
            // Nobody sees what is behind: real tokens stand and see as they would without padding, and only a text's
            // length is not that of its row.
            let (key_positions, lengths) = (columns.unsqueeze(0), mask.sum_dim_intlist(1, false, Kind::Int64));
            let positions = key_positions.shallow_clone();
            return Self { columns, positions, mask: None, key_positions, lengths };
        }
        let (key_positions, lengths) = match &mask {
            None => (columns.unsqueeze(0), Tensor::full([1], past + seq, options)),
            Some(mask) => {
                // A token's position is the number of real tokens before it; padding at the left gets 0.
                let seen = mask.cumsum(1, Kind::Int64); // [batch, keys]
                ((&seen - 1).clamp_min(0), seen.select(1, -1))
            }
        };
        let positions = key_positions.narrow(1, past, seq);
        let lengths = lengths.clamp_min(cache.map_or(0, KvCache::planned_len) as i64);
        Self { columns: columns.narrow(0, past, seq), positions, mask, key_positions, lengths }
    }

    fn visible(&self) -> Visible {
        match (&self.mask, self.past(), self.columns.size()[0]) {
            (None, 0, _) => Visible::Causal,
            (None, _, 1) => Visible::All,
            _ => Visible::Where(self.earlier_and_real().unsqueeze(1)), // [batch or 1, 1, seq, keys]
        }
    }

    /// As [`Places::visible`], but no further back than `window` tokens, its own included; none where that is no limit.
    fn visible_in(&self, window: usize) -> Option<Visible> {
        let keys = self.key_positions.size()[1];
        if keys as usize <= window {
            return None;
        }
        let first = self.positions.unsqueeze(2) - (window as i64 - 1); // [batch or 1, seq, 1]
        let near = self.key_positions.unsqueeze(1).ge_tensor(&first); // [batch or 1, seq, keys]
        Some(Visible::Where(self.earlier_and_real().logical_and(&near).unsqueeze(1)))
    }

    /// Whether a key is not later than a query, and real; bool `[batch or 1, seq, keys]`.
    fn earlier_and_real(&self) -> Tensor {
        let keys = Tensor::arange(self.key_positions.size()[1], (Kind::Int64, self.columns.device())); // [keys]
        let queries = self.columns.unsqueeze(1); // [seq, 1]
        let earlier = keys.le_tensor(&queries).unsqueeze(0); // [1, seq, keys]
        let Some(mask) = &self.mask else { return earlier };
        // Padding sees itself, so that no row of the softmax is empty; nobody else sees padding.
        let real = mask.unsqueeze(1).logical_or(&keys.eq_tensor(&queries)); // [batch, seq, keys]
        real.logical_and(&earlier)
    }

    /// Columns before this pass.
    fn past(&self) -> i64 {
        self.key_positions.size()[1] - self.columns.size()[0]
    }
}

/// Whether all padding, bool `[batch, seq]` and false there, is behind the real tokens.
fn is_behind(mask: &Tensor) -> bool {
    let seq = mask.size()[1];
    let (earlier, later) = (mask.narrow(1, 0, seq - 1), mask.narrow(1, 1, seq - 1)); // [batch, seq - 1]
    later.logical_and(&earlier.logical_not()).any().int64_value(&[]) == 0
}

impl Surroundings {
    pub(crate) fn new(config: &ModelConfig, places: &Places, kind: Kind) -> Self {
        let at = |rotary| Rotation::at(rotary, &places.positions, &places.lengths, kind);
        let windows = config.windows.as_ref();
        Self {
            rotation: match &config.positions {
                Positions::Learned => None,
                Positions::Rotary(rotary) => Some(at(rotary)),
            },
            visible: places.visible(),
            rotation_in_windows: windows.and_then(|windows| windows.rotary.as_ref()).map(at),
            visible_in_windows: windows.and_then(|windows| places.visible_in(windows.size)),
        }
    }

    /// The angles by which the heads of a block turn.
    pub(crate) fn rotation(&self, in_window: bool) -> Option<&Rotation> {
        let own = self.rotation_in_windows.as_ref().filter(|_| in_window);
        own.or(self.rotation.as_ref())
    }

    /// Who sees whom in a block.
    pub(crate) fn visible(&self, in_window: bool) -> &Visible {
        let own = self.visible_in_windows.as_ref().filter(|_| in_window);
        own.unwrap_or(&self.visible)
    }
}
