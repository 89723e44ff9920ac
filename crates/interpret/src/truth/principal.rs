//! The principal directions of activations.
//!
//! ```text
//! z = (x - mean) / scale      C = sum z z^T / n = V diag(lambda) V^T      y = V^T z
//! ```
//!
//! (Pearson 1901; Hotelling 1933), with `scale` 1 for principal component analysis proper and the standard deviation of
//! each coordinate for a basis in which fits are well conditioned. Directions stand by falling variance.

use super::record::Rows;
use crate::error::InterpretError;
use crate::intervene::flat;
use tch::{Device, Kind, Tensor};

/// Rows that are converted at a time.
const BLOCK_ROWS: i64 = 8192;

/// Directions, fitted to some rows.
#[derive(Debug)]
pub struct Principal {
    mean: Tensor,
    scale: Tensor,
    /// `[d, d]`, a direction a column.
    directions: Tensor,
    variances: Vec<f64>,
}

impl Principal {
    /// The principal directions of `rows`, coordinates as they are.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn of(rows: &Rows) -> Result<Self, InterpretError> {
        Self::fit(rows, false)
    }

    /// The principal directions of `rows`, coordinates brought to variance 1 first.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn of_standardised(rows: &Rows) -> Result<Self, InterpretError> {
        Self::fit(rows, true)
    }

    fn fit(rows: &Rows, standardise: bool) -> Result<Self, InterpretError> {
        let (n, d) = (rows.len().max(1) as f64, rows.d as i64);
        let mut sum = Tensor::zeros([d], (Kind::Double, Device::Cpu));
        for block in blocks(rows) {
            sum += block.sum_dim_intlist(0, false, Kind::Double);
        }
        let mean = sum / n;
        let mut covariance = Tensor::zeros([d, d], (Kind::Double, Device::Cpu));
        for block in blocks(rows) {
            let centred = block - &mean; // [rows, d]
            covariance += centred.tr().matmul(&centred);
        }
        covariance /= n;
        let deviation = covariance.diag(0).sqrt();
        // A coordinate that never changes stays 0.
        let scale =
            if standardise { deviation.where_scalarother(&deviation.gt(0.0), 1.0) } else { deviation.ones_like() };
        let scaled = covariance / (scale.unsqueeze(0) * scale.unsqueeze(1)); // [d, d]
        let eigen = scaled.f_linalg_eigh("L").map_err(InterpretError::torch("finding principal directions"))?;
        // They come by rising variance.
        let (variances, directions) = (eigen.0.flip([0]).clamp_min(0.0), eigen.1.flip([1]));
        Ok(Self { mean, scale, directions, variances: flat(&variances)? })
    }

    /// Variance along each direction, falling.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The coordinates of `rows` along all directions, `[n, d]`.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn project(&self, rows: &Rows) -> Result<Rows, InterpretError> {
        let mut values = Vec::with_capacity(rows.values.len());
        for block in blocks(rows) {
            let projected = ((block - &self.mean) / &self.scale).matmul(&self.directions); // [rows, d]
            values.extend(flat::<f32>(&projected.to_kind(Kind::Float))?);
        }
        Ok(Rows { d: rows.d, values })
    }
}

/// The rows in double precision, `[rows, d]` at a time.
fn blocks(rows: &Rows) -> impl Iterator<Item = Tensor> {
    let d = rows.d as i64;
    let chunk = BLOCK_ROWS as usize * rows.d;
    rows.values.chunks(chunk).map(move |block| Tensor::from_slice(block).view([-1, d]).to_kind(Kind::Double))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows along (3, 4) / 5 with variance 25 and along (-4, 3) / 5 with variance 1, around (10, 20).
    fn tilted() -> Rows {
        let at = |a: f32, b: f32| [10.0 + 3.0 * a - 0.8 * b, 20.0 + 4.0 * a + 0.6 * b];
        let corners = [at(1.0, 1.0), at(1.0, -1.0), at(-1.0, 1.0), at(-1.0, -1.0)];
        Rows { d: 2, values: corners.concat() }
    }

    #[test]
    fn planted_directions_are_found() {
        let principal = Principal::of(&tilted()).expect("fits");
        assert!((principal.variances()[0] - 25.0).abs() < 1e-5 && (principal.variances()[1] - 1.0).abs() < 1e-5);
        let found = principal.project(&tilted()).expect("projects");
        let sizes: Vec<f32> = found.values.iter().map(|y| y.abs()).collect();
        assert!(sizes.chunks(2).all(|y| (y[0] - 5.0).abs() < 1e-5 && (y[1] - 1.0).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn standardised_variances_sum_to_the_coordinates_that_vary() {
        let mut rows = Rows { d: 3, values: Vec::new() };
        tilted().values.chunks(2).for_each(|x| rows.values.extend([1e4 * x[0], x[1], 7.0]));
        let principal = Principal::of_standardised(&rows).expect("fits");
        assert!((principal.variances().iter().sum::<f64>() - 2.0).abs() < 1e-6, "{:?}", principal.variances());
        assert!(principal.project(&rows).expect("projects").values.iter().all(|y| y.is_finite()));
    }
}
