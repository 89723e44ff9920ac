//! Which of several dictionaries are on the Pareto front of few active features and small error.

/// Of points of active features and error, those than which no other has both less, by active features.
pub(crate) fn front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].0.total_cmp(&points[b].0).then(points[a].1.total_cmp(&points[b].1)));
    let mut best = f64::INFINITY;
    order.retain(|&at| {
        let better = points[at].1 < best;
        best = best.min(points[at].1);
        better
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_no_other_beats() {
        let points = [(32.0, 0.1), (8.0, 0.3), (16.0, 0.35), (16.0, 0.2), (40.0, 0.1), (12.0, f64::NAN)];
        assert_eq!(front(&points), [1, 3, 0]);
    }
}
