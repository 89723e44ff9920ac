//! An architecture in plain operations on tensors: the same formulas as its file has for entries, written densely, for any
//! device and for automatic differentiation.
//!
//! Here `[n, d_sae]` tensors exist whole, several at a time.

use tch::{Kind, TchError, Tensor};

/// The parameters, as leaves of a graph.
#[derive(Debug)]
pub struct Leaves {
    /// `[d_sae, d_in]`
    pub w_enc: Tensor,
    /// `[d_sae]`
    pub b_enc: Tensor,
    /// `[d_sae, d_out]`
    pub w_dec: Tensor,
    /// `[d_out]`
    pub b_dec: Tensor,
    /// `[d_sae]` each
    pub extras: Vec<Tensor>,
    /// `[d_out, d_in]`
    pub w_skip: Option<Tensor>,
}

/// A batch whose pre-activations are known.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The parameters.
    pub leaves: &'a Leaves,
    /// `z`, `[n, d_in]`
    pub z: &'a Tensor,
    /// `p`, `[n, d_sae]`
    pub pre: &'a Tensor,
    /// What is to be reconstructed, `[n, d_out]`
    pub target: &'a Tensor,
    /// Coefficient of the sparsity penalty at this step; zero where the loss has none.
    pub lambda: f64,
    /// Exponent of p-annealing.
    pub exponent: f64,
    /// Steps done.
    pub step: u64,
}

/// What an architecture makes of a batch.
#[derive(Debug)]
pub struct Passed {
    /// `f`, `[n, d_sae]`
    pub acts: Tensor,
    /// Which entries could receive a gradient, `[n, d_sae]`
    pub entries: Tensor,
    /// The whole reconstruction, `[n, d_out]`
    pub x_hat: Tensor,
    /// Its mean squared error per row.
    pub loss: Tensor,
    /// What the loss has besides.
    pub penalty: Option<Tensor>,
    /// The smallest that was chosen, of what chooses by batch.
    pub smallest: Option<Tensor>,
}

impl Pass<'_> {
    /// Rows.
    pub fn n(&self) -> i64 {
        self.pre.size()[0]
    }

    /// Latents.
    pub fn d_sae(&self) -> i64 {
        self.pre.size()[1]
    }

    /// The reconstruction from the first `end` latents.
    pub(crate) fn reconstruct(&self, acts: &Tensor, end: i64) -> Result<Tensor, TchError> {
        let Leaves { w_dec, b_dec, w_skip, .. } = self.leaves;
        let x_hat = acts.f_narrow(1, 0, end)?.f_matmul(&w_dec.f_narrow(0, 0, end)?)?.f_add(b_dec)?;
        match w_skip {
            Some(w_skip) => x_hat.f_add(&self.z.f_matmul(&w_skip.f_transpose(0, 1)?)?),
            None => Ok(x_hat),
        }
    }

    /// Mean squared error per row.
    pub(crate) fn error_of(&self, x_hat: &Tensor) -> Result<Tensor, TchError> {
        self.mean(&x_hat.f_sub(self.target)?.f_square()?)
    }

    /// Sum of all elements by the number of rows.
    pub(crate) fn mean(&self, values: &Tensor) -> Result<Tensor, TchError> {
        values.f_sum(Kind::Float)?.f_div_scalar(self.n())
    }

    /// What follows from activations without a penalty.
    pub(crate) fn passed(&self, acts: Tensor) -> Result<Passed, TchError> {
        let x_hat = self.reconstruct(&acts, self.d_sae())?;
        let (loss, entries) = (self.error_of(&x_hat)?, acts.f_ne(0)?);
        Ok(Passed { acts, entries, x_hat, loss, penalty: None, smallest: None })
    }

    /// The same with a penalty of `lambda / n` times the sum of `costs`.
    pub(crate) fn penalised(&self, acts: Tensor, costs: &Tensor) -> Result<Passed, TchError> {
        let penalty = self.mean(costs)?.f_mul_scalar(self.lambda)?;
        Ok(Passed { penalty: Some(penalty), ..self.passed(acts)? })
    }

    /// The `k n` largest of positive pre-activations, ranked by `ranks`; with the smallest rank that was chosen.
    pub(crate) fn largest_of_batch(&self, ranks: &Tensor, k: usize) -> Result<(Tensor, Tensor), TchError> {
        let wanted = (k as i64 * self.n()).min(self.n() * self.d_sae());
        let ranks = ranks.f_detach()?.f_reshape([-1])?;
        let (kept, at) = ranks.f_topk(wanted, 0, true, false)?;
        let chosen = ranks.f_zeros_like()?.f_scatter_value(0, &at, 1)?.f_reshape(self.pre.size())?;
        Ok((self.pre.f_relu()?.f_mul(&chosen)?, kept.f_min()?))
    }

    /// What follows from the `k n` largest.
    pub(crate) fn by_batch(&self, k: usize) -> Result<Passed, TchError> {
        let (acts, smallest) = self.largest_of_batch(&self.pre.f_relu()?, k)?;
        Ok(Passed { smallest: Some(smallest), ..self.passed(acts)? })
    }

    /// What a unit of every latent costs, the sum of the norms of its decoder row's parts, `[d_sae]`.
    pub(crate) fn costs(&self, parts: usize) -> Result<Tensor, TchError> {
        let rows = self.leaves.w_dec.f_reshape([self.d_sae(), parts as i64, -1])?.f_square()?;
        let norms = rows.f_sum_dim_intlist(2, false, Kind::Float)?.f_sqrt()?;
        norms.f_sum_dim_intlist(1, false, Kind::Float)
    }
}

/// The `k` largest of every row of `ranks`, as ones among zeros.
pub(crate) fn largest_of_rows(ranks: &Tensor, k: usize) -> Result<Tensor, TchError> {
    let ranks = ranks.f_detach()?;
    let (_, at) = ranks.f_topk((k as i64).min(ranks.size()[1]), 1, true, false)?;
    ranks.f_zeros_like()?.f_scatter_value(1, &at, 1)
}
