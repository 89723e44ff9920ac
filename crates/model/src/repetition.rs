//! How much does a text repeat itself?

use std::collections::HashSet;
use std::hash::Hash;

/// Tokens that make a repetition.
const RUN: usize = 4;

/// Of a text's runs of four tokens, those that stood in it before, and all. A share of repetition is the first over the
/// second, added up over texts.
pub fn repeated_runs<T: Eq + Hash>(tokens: &[T]) -> (usize, usize) {
    let runs = tokens.windows(RUN);
    let n = runs.len();
    (n - runs.collect::<HashSet<_>>().len(), n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_come_again_are_counted() {
        assert_eq!(repeated_runs(&[1, 2, 3]), (0, 0));
        assert_eq!(repeated_runs(&[1, 2, 3, 4, 5]), (0, 2));
        assert_eq!(repeated_runs(&[7; 8]), (4, 5), "five runs, one of them new");
    }
}
