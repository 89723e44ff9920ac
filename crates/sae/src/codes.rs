//! Sparse codes: which features fire on which row, and how strongly.

/// The active features of a block of rows, in compressed rows.
///
/// Only activations that are not zero are kept, and negative ones are of abs-top-k alone; the features of a row ascend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Codes {
    starts: Vec<usize>,
    features: Vec<u32>,
    activations: Vec<f32>,
}

impl Codes {
    /// Codes of no rows.
    pub fn new() -> Self {
        Codes { starts: vec![0], ..Codes::default() }
    }

    /// Removes all rows, keeping the allocations.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.starts.push(0);
        self.features.clear();
        self.activations.clear();
    }

    /// Appends a row; features ascend and activations are not zero.
    pub fn push_row(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        for (feature, activation) in row {
            debug_assert!(activation != 0.0, "codes hold active features only");
            self.features.push(feature);
            self.activations.push(activation);
        }
        self.starts.push(self.features.len());
    }

    /// Forgets activations that are not positive, such as abs-top-k has.
    pub fn keep_positive(&mut self) {
        let mut kept = 0;
        let mut begin = 0;
        for row in 1..self.starts.len() {
            for at in begin..self.starts[row] {
                if self.activations[at] > 0.0 {
                    (self.features[kept], self.activations[kept]) = (self.features[at], self.activations[at]);
                    kept += 1;
                }
            }
            begin = std::mem::replace(&mut self.starts[row], kept);
        }
        self.features.truncate(kept);
        self.activations.truncate(kept);
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Number of active features over all rows.
    pub fn nnz(&self) -> usize {
        self.features.len()
    }

    /// Active features of a row, ascending, and their activations.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.starts[row]..self.starts[row + 1];
        (&self.features[range.clone()], &self.activations[range])
    }

    /// The activation of `feature` on `row`: zero where it does not fire.
    pub fn activation(&self, row: usize, feature: usize) -> f32 {
        let (features, activations) = self.row(row);
        features.binary_search(&(feature as u32)).map_or(0.0, |at| activations[at])
    }

    /// Offsets of the rows, `[n_rows + 1]`.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Features of all rows, `[nnz]`.
    pub fn features(&self) -> &[u32] {
        &self.features
    }

    /// Activations of all rows, `[nnz]`.
    pub fn activations(&self) -> &[f32] {
        &self.activations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_positive_can_be_left_out() {
        let (mut codes, mut expected) = (Codes::new(), Codes::new());
        for row in [&[(1, 0.5), (7, -2.0)][..], &[(2, -1.0)], &[], &[(0, 3.0), (3, -1.0), (9, 1.0)]] {
            codes.push_row(row.iter().copied());
            expected.push_row(row.iter().copied().filter(|(_, activation)| *activation > 0.0));
        }
        codes.keep_positive();
        assert_eq!(codes, expected);
    }

    #[test]
    fn rows_are_found_again() {
        let mut codes = Codes::new();
        codes.push_row([(1, 0.5), (7, 2.0)]);
        codes.push_row([]);
        codes.push_row([(0, 1.0)]);
        assert_eq!((codes.n_rows(), codes.nnz()), (3, 3));
        assert_eq!(codes.row(0), (&[1u32, 7][..], &[0.5f32, 2.0][..]));
        assert!(codes.row(1).0.is_empty());
        assert_eq!([codes.activation(0, 7), codes.activation(0, 2), codes.activation(2, 0)], [2.0, 0.0, 1.0]);
        codes.clear();
        assert_eq!(codes, Codes::new());
    }
}
