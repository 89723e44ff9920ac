//! What is injected into a model, and does it say so? Directions of topics, added to the middle layer while it reads a
//! story and is asked what it thinks of.
//!
//! A topic's direction is the mean of the parent's activations where the topic can be told, less the mean over all
//! topics, brought to a fixed multiple of the activations' mean norm as its length. Every third topic is kept for
//! testing: its direction is never injected, and its name never asked for, in training.

use crate::document::Split;
use crate::error::OrganismError;
use crate::gate::held::read;
use crate::world::World;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel, ModelError, Pass};
use untangle_schema::{HookPoint, Site};

/// Length of what is injected, in mean norms of the activations: chosen.
const STRENGTH: f64 = 0.8;
/// Documents that directions are measured on, and their seed.
const DOCUMENTS: usize = 400;
const SEED: u64 = 0x0069_6e6a_6563_7464;
/// One of so many topics is kept for testing.
const KEPT: usize = 3;

/// Directions of all topics in one layer of one model.
#[derive(Debug)]
pub struct Injection {
    /// Whose `resid_post` they are added to.
    pub layer: usize,
    /// `[topics, d_model]`.
    pub directions: Tensor,
}

impl Injection {
    /// Measures the directions in a model's middle layer.
    ///
    /// # Errors
    /// The model has no tokenizer or fails on its input.
    pub fn of(world: &World, model: &LanguageModel) -> Result<Self, OrganismError> {
        let layer = model.config().n_layers / 2;
        let tokens = read(world, model, (SEED, Split::Train), DOCUMENTS)?;
        let acts = &tokens.acts[layer];
        let mean = |topic: usize| {
            let rows = (0i64..).zip(&tokens.known).filter(|(_, k)| k.told[0] && k.held[0] == Some(topic));
            let rows: Vec<i64> = rows.map(|(row, _)| row).collect();
            acts.index_select(0, &Tensor::from_slice(&rows)).mean_dim([0i64].as_slice(), false, Kind::Float)
        };
        let means = Tensor::stack(&(0..world.members("topic").len()).map(mean).collect::<Vec<_>>(), 0);
        let centred = &means - means.mean_dim([0i64].as_slice(), true, Kind::Float);
        let norms = |x: &Tensor| x.norm_scalaropt_dim(2, [1i64].as_slice(), true);
        let length = norms(acts).mean(Kind::Float) * STRENGTH;
        let directions = &centred / norms(&centred) * length;
        Ok(Self { layer, directions })
    }

    /// A hook that adds to each row of a batch the direction of its topic, where it has one.
    pub(crate) fn hook_for(&self, topics: &[Option<usize>]) -> AddRows {
        let zero = self.directions.get(0).zeros_like();
        let row = |topic: &Option<usize>| topic.map_or_else(|| zero.shallow_clone(), |t| self.directions.get(t as i64));
        let rows = Tensor::stack(&topics.iter().map(row).collect::<Vec<_>>(), 0);
        AddRows { layer: self.layer, rows: rows.unsqueeze(1) }
    }
}

/// Whether a topic is kept for testing, by its place.
pub fn is_kept(topic: usize) -> bool {
    topic % KEPT == KEPT - 1
}

/// Adds a row `[rows, 1, d_model]` to each row of a batch.
pub(crate) struct AddRows {
    layer: usize,
    rows: Tensor,
}

impl AddRows {
    /// That for `n` rows from `first` on.
    pub(crate) fn of_rows(&self, first: i64, n: i64) -> Self {
        Self { layer: self.layer, rows: self.rows.narrow(0, first, n) }
    }
}

impl Hook for AddRows {
    fn wants(&self, point: HookPoint) -> bool {
        point == HookPoint::block(self.layer, Site::ResidPost)
    }

    fn visit(&mut self, _: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        Ok(acts + &self.rows)
    }
}
