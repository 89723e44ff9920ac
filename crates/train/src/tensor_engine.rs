//! The engine in plain tensor operations: any device, any architecture, gradients by libtorch's autograd.
//!
//! It is what `--device cuda` trains with, and the reference that the engine of CPUs is held against. It is dense: what the
//! other gathers entry by entry are products of whole matrices here.

use crate::activity::{Batch, Scaled};
use crate::adam::{BETA1, BETA2, EPS};
use crate::arch::tensors::{Leaves, Pass, Passed, largest_of_rows};
use crate::density::is_dense;
use crate::engine::Engine;
use crate::gradients::sampled_for_norm;
use crate::plan::TrainPlan;
use crate::state::{Parameter, TrainState};
use crate::step::{StepReport, StepSettings};
use crate::trained::{Trained, settings};
use tch::{Device, Kind, TchError, Tensor};
use untangle_sae::SaeError;
use untangle_sae::kernels::buffer::{Buffer, prepare_worker};
use untangle_sae::kernels::encode::Recomputation;

/// Keeps parameters and moments on a device.
pub(crate) struct TensorEngine {
    device: Device,
    /// In the order of [`TrainState::parameters`].
    parameters: Vec<OnDevice>,
    /// Of the parameters, where averages are kept.
    averages: Vec<Tensor>,
}

/// A parameter with its moments.
struct OnDevice {
    value: Tensor,
    m: Tensor,
    /// Of every value, or `[rows, 1]`.
    v: Tensor,
}

/// Places among the parameters.
const W_ENC: usize = 0;
const B_ENC: usize = 1;
const W_DEC: usize = 2;
const B_DEC: usize = 3;
const EXTRAS: usize = 4;

impl TensorEngine {
    /// One that has taken nothing over yet.
    pub(crate) fn on(device: Device) -> Self {
        TensorEngine { device, parameters: Vec::new(), averages: Vec::new() }
    }

    fn tensor(&self, values: &[f32], width: usize) -> Result<Tensor, TchError> {
        Tensor::f_from_slice(values)?.f_reshape([-1, width as i64])?.f_to_device(self.device)
    }

    /// The rows of all parts side by side, multiplied by their factors.
    fn rows(&self, parts: &[Scaled<'_>], width: usize) -> Result<Tensor, TchError> {
        let of = |part: &Scaled<'_>| self.tensor(part.rows, width / parts.len())?.f_mul_scalar(f64::from(part.factor));
        Tensor::f_cat(&parts.iter().map(of).collect::<Result<Vec<_>, _>>()?, 1)
    }

    fn leaves(&self, extras: usize) -> Result<Leaves, TchError> {
        let leaf = |at: usize| self.parameters[at].value.f_detach()?.f_set_requires_grad(true);
        Ok(Leaves {
            w_enc: leaf(W_ENC)?,
            b_enc: leaf(B_ENC)?,
            w_dec: leaf(W_DEC)?,
            b_dec: leaf(B_DEC)?,
            extras: (0..extras).map(|at| leaf(EXTRAS + at)).collect::<Result<_, _>>()?,
            w_skip: (self.parameters.len() > EXTRAS + extras).then(|| leaf(EXTRAS + extras)).transpose()?,
        })
    }

    /// *Choose*, *reconstruct* and *send back*: the gradients of all parameters, in their order, and what is reported.
    fn gradients(
        &self,
        state: &mut TrainState,
        batch: &Batch<'_>,
        settings: &StepSettings<'_>,
    ) -> Result<(Vec<Tensor>, Seen), TchError> {
        let leaves = self.leaves(state.extras.len())?;
        let x = self.rows(&batch.inputs, state.d_in)?;
        let z = match &state.input_centre {
            Some(centre) => x.f_sub(&self.tensor(centre, state.d_in)?)?,
            None => x.f_sub(&leaves.b_dec)?,
        };
        let target = match &batch.target {
            Some(target) => self.rows(std::slice::from_ref(target), state.d_out)?,
            None => x,
        };
        let pre = z.f_matmul(&leaves.w_enc.f_transpose(0, 1)?)?.f_add(&leaves.b_enc)?;
        let lambda = settings.architecture.sparsity().map_or(0.0, |sparsity| state.lambda(sparsity));
        let (exponent, step) = (state.carried.exponent, state.step);
        let pass = Pass { leaves: &leaves, z: &z, pre: &pre, target: &target, lambda, exponent, step };
        let passed = settings.architecture.in_tensors(&pass)?;
        let dead = if settings.aux_coefficient == 0.0 { Vec::new() } else { state.dead(settings.dead_after) };
        let aux = if dead.is_empty() { None } else { Some(self.aux_loss(state, &pass, &passed, &dead, settings)?) };
        let mut total = passed.loss.shallow_clone();
        for term in passed.penalty.iter().chain(&aux) {
            total = total.f_add(term)?;
        }
        total.f_backward()?;
        let Leaves { w_enc, b_enc, w_dec, b_dec, extras, w_skip } = &leaves;
        let gradient = |leaf: &Tensor| match leaf.f_grad()? {
            grad if grad.defined() => Ok(grad),
            _ => leaf.f_detach()?.f_zeros_like(),
        };
        let all = [w_enc, b_enc, w_dec, b_dec].into_iter().chain(extras).chain(w_skip);
        let mut gradients = all.map(gradient).collect::<Result<Vec<_>, TchError>>()?;
        let (before, after) = gradients.split_at_mut(W_DEC);
        settings.held.gradients_in_tensors(&w_dec.f_detach()?, &mut before[W_ENC], &mut after[0])?;
        if let Some(smallest) = &passed.smallest {
            state.carried.threshold = smallest.f_double_value(&[])?;
        }
        Ok((gradients, Seen::of(&passed, aux.as_ref())?))
    }

    /// AuxK ([`crate::aux_k`]). That a latent receives a part of the gradient is said by parts of it that are constants.
    fn aux_loss(
        &self,
        state: &TrainState,
        pass: &Pass<'_>,
        passed: &Passed,
        dead: &[u32],
        settings: &StepSettings<'_>,
    ) -> Result<Tensor, TchError> {
        let at = Tensor::f_from_slice(&dead.iter().map(|&i| i64::from(i)).collect::<Vec<_>>())?;
        let at = at.f_to_device(self.device)?;
        let weights = crate::aux_k::weights(dead, &state.fired_at, state.tokens, settings.dead_after);
        let weights = Tensor::f_from_slice(&weights)?.f_to_device(self.device)?;
        let weighed = |values: &Tensor, weights: &Tensor| {
            let constant = values.f_detach()?;
            values.f_sub(&constant)?.f_mul(weights)?.f_add(&constant)
        };
        let half = (state.d_out / 2).max(1);
        let pre = weighed(&pass.pre.f_index_select(1, &at)?, &weights)?;
        let ranks = if settings.architecture.ranks_by_magnitude() { pre.f_abs()? } else { pre.shallow_clone() };
        let chosen = largest_of_rows(&ranks, half.min(dead.len()))?;
        let rows = weighed(&pass.leaves.w_dec.f_index_select(0, &at)?, &weights.f_reshape([-1, 1])?)?;
        let residual = pass.target.f_sub(&passed.x_hat)?.f_detach()?;
        let error = pre.f_mul(&chosen)?.f_matmul(&rows)?.f_sub(&residual)?.f_square()?;
        let scale = settings.aux_coefficient * (dead.len() as f32 / half as f32).min(1.0);
        pass.mean(&error)?.f_mul_scalar(f64::from(scale))
    }

    /// Norm of all gradients together; of the matrices, from the latents that the engine of CPUs takes.
    fn norm(state: &TrainState, gradients: &[Tensor]) -> Result<f64, TchError> {
        let square = |values: &Tensor| values.f_square()?.f_sum(Kind::Double)?.f_double_value(&[]);
        let (first, stride) = sampled_for_norm(state);
        let mut total = 0.0;
        for (at, gradient) in gradients.iter().enumerate() {
            total += match at {
                W_ENC | W_DEC => {
                    let sampled = gradient.f_slice(0, first as i64, None, stride as i64)?;
                    square(&sampled)? * state.d_sae as f64 / sampled.size()[0].max(1) as f64
                }
                _ => square(gradient)?,
            };
        }
        Ok(total.sqrt())
    }

    /// *Update*: every parameter is clipped, moved by Adam and put where it has to lie.
    fn update(
        &mut self,
        state: &TrainState,
        gradients: &[Tensor],
        (scale, lr): (f32, f64),
        settings: &StepSettings<'_>,
    ) -> Result<(), TchError> {
        let t = (state.step + 1).min(i32::MAX as u64) as i32;
        let correct = |beta: f32| 1.0 / (1.0 - f64::from(beta).powi(t));
        let (beta1, beta2) = (f64::from(BETA1), f64::from(BETA2));
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            let gradient = gradient.f_mul_scalar(f64::from(scale))?;
            let OnDevice { value, m, v } = parameter;
            let square = gradient.f_square()?;
            let square = match v.size() == value.size() {
                true => square,
                false => square.f_mean_dim(1, true, Kind::Float)?,
            };
            *m = m.f_mul_scalar(beta1)?.f_add(&gradient.f_mul_scalar(1.0 - beta1)?)?;
            *v = v.f_mul_scalar(beta2)?.f_add(&square.f_mul_scalar(1.0 - beta2)?)?;
            let root = v.f_mul_scalar(correct(BETA2))?.f_sqrt()?.f_add_scalar(f64::from(EPS))?;
            *value = value.f_sub(&m.f_mul_scalar(lr * correct(BETA1))?.f_div(&root)?)?;
        }
        let w_dec = &mut self.parameters[W_DEC].value;
        *w_dec = settings.held.decoder_in_tensors(w_dec)?;
        for extra in 0..state.extras.len() {
            let value = &mut self.parameters[EXTRAS + extra].value;
            *value = settings.architecture.extra_in_range(value)?;
        }
        Ok(())
    }

    fn step_on_device(
        &mut self,
        state: &mut TrainState,
        batch: &Batch<'_>,
        settings: &StepSettings<'_>,
        plan: &TrainPlan,
    ) -> Result<StepReport, TchError> {
        let (n, dead) = (batch.n_rows(state.d_in), state.dead(settings.dead_after).len());
        // Where the other engine would step densely, it keeps no entries to sum over; both are to steer alike.
        let keeps_entries = !is_dense(state, settings.architecture);
        let (gradients, seen) = tch::with_grad(|| self.gradients(state, batch, settings))?;
        let _no_grad = tch::no_grad_guard();
        let grad_norm = Self::norm(state, &gradients)?;
        let lr = plan.schedule.at(state.step);
        self.update(state, &gradients, (settings.clip(grad_norm), lr), settings)?;
        if let Some(decay) = plan.ema {
            for (average, parameter) in self.averages.iter_mut().zip(&self.parameters) {
                *average = average.f_mul_scalar(decay)?.f_add(&parameter.value.f_mul_scalar(1.0 - decay)?)?;
            }
        }
        let Seen { loss, penalty, aux_loss, active, entries, fired, acts } = seen;
        let (l0, entries) = (active / n as f64, entries / n as f64);
        state.count(n, fired);
        // Seldom asked for, and only then brought to the CPU.
        let of_active = |of: &dyn Fn(f32) -> f64| {
            let active = || to_host(&acts.f_masked_select(&acts.f_gt(0)?)?);
            let acts = if keeps_entries { active().unwrap_or_default() } else { Vec::new() };
            acts.into_iter().map(of).sum()
        };
        settings.architecture.finish_step(state, &of_active, l0, entries);
        Ok(StepReport {
            loss,
            penalty,
            aux_loss,
            l0,
            entries,
            dead,
            grad_norm,
            recomputation: Recomputation::default(),
        })
    }
}

/// What is reported of a batch.
struct Seen {
    loss: f64,
    penalty: f64,
    aux_loss: f64,
    /// Active entries.
    active: f64,
    /// Entries that could receive a gradient.
    entries: f64,
    /// `[d_sae]`
    fired: Vec<bool>,
    /// `f`, `[n, d_sae]`
    acts: Tensor,
}

impl Seen {
    fn of(passed: &Passed, aux: Option<&Tensor>) -> Result<Self, TchError> {
        let acts = passed.acts.f_detach()?;
        let fires = acts.f_ne(0)?;
        let number = |term: Option<&Tensor>| term.map_or(Ok(0.0), |term| term.f_double_value(&[]));
        let fired = fires.f_any_dim(0, false)?.f_to_kind(Kind::Float)?;
        Ok(Seen {
            loss: passed.loss.f_double_value(&[])?,
            penalty: number(passed.penalty.as_ref())?,
            aux_loss: number(aux)?,
            active: fires.f_sum(Kind::Double)?.f_double_value(&[])?,
            entries: passed.entries.f_sum(Kind::Double)?.f_double_value(&[])?,
            fired: to_host(&fired)?.into_iter().map(|fired| fired > 0.0).collect(),
            acts,
        })
    }
}

/// The values of a tensor.
fn to_host(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let mut values = vec![0f32; tensor.numel()];
    copy(tensor, &mut values)?;
    Ok(values)
}

fn copy(tensor: &Tensor, into: &mut [f32]) -> Result<(), TchError> {
    tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?.f_copy_data(into, into.len())
}

impl Engine for TensorEngine {
    fn load(&mut self, trained: &Trained) -> Result<(), SaeError> {
        let state = &trained.state;
        let rows_of = |name: &str| match name {
            "W_enc" | "W_skip" => Some(state.d_in),
            "W_dec" => Some(state.d_out),
            _ => None,
        };
        let moved = |values: &Buffer<f32>, width: Option<usize>| match width {
            Some(width) => self.tensor(values, width),
            None => Tensor::f_from_slice(values)?.f_to_device(self.device),
        };
        let parameter = |(name, Parameter { value, m, v }): (&str, &Parameter)| {
            let width = rows_of(name);
            let of_second = if v.len() == value.len() { width } else { Some(1) };
            Ok(OnDevice { value: moved(value, width)?, m: moved(m, width)?, v: moved(v, of_second)? })
        };
        let names: Vec<&str> = state.parameters().iter().map(|(name, _)| *name).collect();
        let average = |(name, values): (&&str, &Buffer<f32>)| moved(values, rows_of(name));
        let parameters = state.parameters().into_iter().map(parameter).collect::<Result<_, TchError>>()?;
        let averages = names.iter().zip(&state.averages).map(average).collect::<Result<_, TchError>>()?;
        (self.parameters, self.averages) = (parameters, averages);
        Ok(())
    }

    fn step(&mut self, trained: &mut Trained, plan: &TrainPlan, batch: &Batch<'_>) -> Result<StepReport, SaeError> {
        if self.device == Device::Cpu {
            // Small operations are faster on one thread than on several that wait for each other.
            prepare_worker();
        }
        let Trained { state, held, .. } = trained;
        Ok(self.step_on_device(state, batch, &settings(plan, held), plan)?)
    }

    fn store(&self, trained: &mut Trained) -> Result<(), SaeError> {
        let state = &mut trained.state;
        for (OnDevice { value, m, v }, (_, parameter)) in self.parameters.iter().zip(state.parameters_mut()) {
            copy(value, &mut parameter.value)?;
            copy(m, &mut parameter.m)?;
            copy(v, &mut parameter.v)?;
        }
        for (average, into) in self.averages.iter().zip(&mut state.averages) {
            copy(average, into)?;
        }
        state.copy_encoder();
        state.sum_norms();
        Ok(())
    }
}
