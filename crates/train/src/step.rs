//! One optimiser step on a CPU, the only place where a training state changes there.
//!
//! Its phases are those of every engine: the architecture *chooses* entries, they *reconstruct* the batch, the loss is *sent back*
//! to them ([`crate::forward`], all three, or [`crate::dense`] where too much fires), and parameters are *updated*
//! ([`crate::update`]) by the gradients that each latent gathers ([`crate::gradients`]).

use crate::activity::{Activity, Batch, Scratches};
use crate::adam::Adam;
use crate::arch::Architecture;
use crate::aux_k::{AuxGradients, aux_gradients};
use crate::constraint::Held;
use crate::dense::DenseGradients;
use crate::density;
use crate::forward::forward;
use crate::gather::Firings;
use crate::gradients::{Gradients, OtherGradients, norm};
use crate::state::TrainState;
use crate::update::{Movement, update};
use rayon::prelude::*;
use untangle_sae::SaeError;
use untangle_sae::kernels::encode::Recomputation;

/// What does not change from step to step.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings<'a> {
    /// What is trained.
    pub architecture: &'a Architecture,
    /// What holds of the latents' rows.
    pub held: &'a Held,
    /// Gradients are scaled down to this global norm; infinite for no clipping.
    pub clip_norm: f32,
    /// Coefficient of AuxK.
    pub aux_coefficient: f32,
    /// Tokens of silence after which a latent counts as dead.
    pub dead_after: u64,
}

impl StepSettings<'_> {
    /// What gradients of this norm are multiplied by.
    pub(crate) fn clip(&self, grad_norm: f64) -> f32 {
        (f64::from(self.clip_norm) / grad_norm.max(f64::MIN_POSITIVE)).min(1.0) as f32
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepReport {
    /// Mean squared error per row, of normalised rows.
    pub loss: f64,
    /// What the loss has beside it: penalties, and the errors of partial reconstructions.
    pub penalty: f64,
    /// The auxiliary loss; zero where nothing was dead.
    pub aux_loss: f64,
    /// Active latents per row.
    pub l0: f64,
    /// Latents per row that could receive a gradient: of JumpReLU those near their threshold as well.
    pub entries: f64,
    /// Dead latents before the step.
    pub dead: usize,
    /// Global norm of the gradient before clipping (estimated from a part of the latents of large dictionaries).
    pub grad_norm: f64,
    /// What it took to be sure of the chosen latents.
    pub recomputation: Recomputation,
}

/// Memory that steps share.
#[derive(Debug, Default)]
pub struct Workspace {
    scratch: Scratches,
    activity: Activity,
    firings: Firings,
    others: OtherGradients,
}

/// Latents that a worker takes at a time.
const LATENT_BLOCK: usize = 64;

/// Does one step on a batch at learning rate `lr`.
///
/// # Errors
/// When libtorch refuses a product.
pub fn step(
    state: &mut TrainState,
    batch: &Batch<'_>,
    lr: f64,
    settings: &StepSettings<'_>,
    workspace: &mut Workspace,
) -> Result<StepReport, SaeError> {
    let n = batch.n_rows(state.d_in);
    let Workspace { scratch, activity, firings, others } = workspace;
    if density::is_dense(state, settings.architecture) {
        // Before the dense step takes its memory, not after.
        *firings = Firings::default();
    }
    let dead = state.dead(settings.dead_after);
    let n_dead = dead.len();
    activity.dead = if settings.aux_coefficient == 0.0 { Vec::new() } else { dead };
    let dense = forward(state, settings.architecture, batch, scratch, activity)?;
    firings.rebuild(state.d_sae, &activity.tiles, state.extras.len());
    let mut aux = aux_gradients(state, settings.architecture, activity, settings.aux_coefficient)?;
    if let Some(aux) = &mut aux {
        aux.weigh(&state.fired_at, state.tokens, settings.dead_after);
    }
    let backward = activity.backward(firings, dense.as_ref());
    let norms = settings.architecture.norm_penalty(state, n);
    let gradients = Gradients { backward, aux: aux.as_ref(), norms, held: settings.held };
    gradients.others(state, settings.architecture, others)?;
    let grad_norm = norm(state, &gradients, others);
    let (scale, adam) = (settings.clip(grad_norm), Adam::at(state.step + 1, lr));
    update(state, &Movement { gradients: &gradients, scale, adam, held: settings.held }, others);
    let latents = (0..state.d_sae).into_par_iter().with_min_len(LATENT_BLOCK);
    let fired: Vec<bool> = latents.map(|latent| gradients.backward.fired(latent)).collect();
    let report = report(activity, dense.as_ref(), aux.as_ref(), n, n_dead, grad_norm);
    state.count(n, fired);
    let active = |of: &dyn Fn(f32) -> f64| {
        let acts = activity.tiles.iter().flat_map(|tile| &tile.acts).filter(|&&f| f > 0.0);
        acts.map(|&f| of(f)).sum()
    };
    settings.architecture.finish_step(state, &active, report.l0, report.entries);
    Ok(report)
}

fn report(
    activity: &Activity,
    dense: Option<&DenseGradients>,
    aux: Option<&AuxGradients>,
    n: usize,
    dead: usize,
    grad_norm: f64,
) -> StepReport {
    let of_batch = |sparse: usize, dense: Option<u64>| dense.unwrap_or(sparse as u64) as f64 / n as f64;
    StepReport {
        loss: activity.loss,
        penalty: activity.penalty,
        aux_loss: aux.map_or(0.0, |aux| aux.loss),
        l0: of_batch(activity.active(), dense.map(|d| d.active)),
        entries: of_batch(activity.entries(), dense.map(|d| d.entries)),
        dead,
        grad_norm,
        recomputation: activity.recomputation,
    }
}
