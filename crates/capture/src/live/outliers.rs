//! Which rows of a window have an outlier's norm, and which take their places?
//!
//! The rule is that of a store: per hook point, norms of rows without special tokens are counted, held-out ones included,
//! and those from about ten medians on are outliers. A window counts its own rows, which come from all over the text, so
//! that it needs nothing of the others. How many rows an epoch serves must be known before the model has read any; an
//! outlier's place is therefore not dropped but taken by an ordinary row of the same window.

use untangle_schema::HookPoint;
use untangle_schema::capture::row_flags;
use untangle_store::NormHistogram;
use untangle_store::norms::norm;

/// Sets [`row_flags::OUTLIER`] of the rows whose norm is an outlier in one of the columns, row-major `[n, d]` each.
pub(crate) fn mark(flags: &mut [u8], columns: &[Vec<f32>], widths: &[usize], norms: &[NormHistogram]) {
    for ((column, d), histogram) in columns.iter().zip(widths).zip(norms) {
        let border = histogram.outlier_norm();
        if border.is_finite() {
            for (flags, row) in flags.iter_mut().zip(column.chunks_exact(*d)) {
                let outlier = *flags & row_flags::ANY_SPECIAL == 0 && f64::from(norm(row)) >= border;
                *flags |= if outlier { row_flags::OUTLIER } else { 0 };
            }
        }
    }
}

/// Puts ordinary rows into the places of outliers, the first of `order` first; where there are only outliers they stay.
pub(crate) fn replace(order: &mut [u32], flags: &[u8]) {
    let is_outlier = |row: &u32| flags[*row as usize] & row_flags::OUTLIER != 0;
    if !order.iter().any(is_outlier) {
        return;
    }
    let ordinary: Vec<u32> = order.iter().copied().filter(|row| !is_outlier(row)).collect();
    let mut next = ordinary.iter().cycle();
    for row in order.iter_mut().filter(|row| is_outlier(row)) {
        *row = next.next().copied().unwrap_or(*row);
    }
}

/// What to say of the outliers of a window; nothing where there are none.
pub(crate) fn describe(points: &[HookPoint], norms: &[NormHistogram]) -> Option<String> {
    let one = |(point, norms): (&HookPoint, &NormHistogram)| {
        let (outliers, total) = (norms.outliers(), norms.total());
        let (from, median) = (norms.outlier_norm(), norms.median());
        (outliers > 0).then(|| {
            format!(
                "{outliers} of the first {total} ordinary rows have an outlier's norm at {point}, {from:.4} or more where \
                 the median is {median:.4}"
            )
        })
    };
    let found: Vec<String> = points.iter().zip(norms).filter_map(one).collect();
    (!found.is_empty()).then(|| {
        let found = found.join("; ");
        format!("{found}; ordinary rows take the place of such (--keep-outliers trains on them)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_ten_medians_is_marked_unless_its_token_is_special() {
        let column = vec![1.0, 0.0, 0.0, 1.5, 30.0, 0.0, 0.6, 0.8, 0.0, 30.0];
        let mut norms = NormHistogram::default();
        [1.0, 1.5, 30.0, 1.0].into_iter().for_each(|norm| norms.add(norm));
        let mut flags = [0, 0, 0, 0, row_flags::SPECIAL];
        mark(&mut flags, &[column], &[2], &[norms]);
        assert_eq!(flags, [0, 0, row_flags::OUTLIER, 0, row_flags::SPECIAL]);
    }

    #[test]
    fn outliers_give_their_places_to_the_first_ordinary_rows() {
        const OUT: u8 = row_flags::OUTLIER;
        let mut order = [3, 0, 4, 1, 2];
        replace(&mut order, &[0, OUT, 0, 0, OUT]);
        assert_eq!(order, [3, 0, 3, 0, 2]);
        let mut order = [1, 0, 2];
        replace(&mut order, &[OUT, 0, OUT]);
        assert_eq!(order, [1, 1, 1]);
        let mut order = [1, 0];
        replace(&mut order, &[OUT, OUT]);
        assert_eq!(order, [1, 0]);
    }
}
