//! Which of several dictionaries are on the Pareto front of few active features and small error.

/// Of points of active features and error, those than which no other has both less, by active features.
fn front(points: &[(f64, f64)]) -> Vec<usize> {
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

/// The members of each subject, in the order in which subjects first come, with the front among them.
pub(crate) fn by_subject(subjects: &[String], points: &[(f64, f64)]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        match groups.iter_mut().find(|group| group.subject == *subject) {
            Some(group) => group.members.push(at),
            None => groups.push(Group { subject: subject.clone(), members: vec![at], front: Vec::new() }),
        }
    }
    for group in &mut groups {
        let of_group: Vec<(f64, f64)> = group.members.iter().map(|at| points[*at]).collect();
        group.front = front(&of_group).into_iter().map(|at| group.members[at]).collect();
    }
    groups
}

/// Dictionaries of one subject: errors at different hook points do not compare.
#[derive(Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) subject: String,
    /// Places among all.
    pub(crate) members: Vec<usize>,
    /// Those of the front, by active features.
    pub(crate) front: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_a_front_of_its_own() {
        let subjects = ["x", "y", "x", "y"].map(str::to_owned);
        let points = [(8.0, 0.3), (8.0, 0.9), (16.0, 0.4), (4.0, 0.95)];
        let groups = by_subject(&subjects, &points);
        let expected = [("x", vec![0, 2], vec![0]), ("y", vec![1, 3], vec![3, 1])];
        for (group, (subject, members, front)) in groups.iter().zip(expected) {
            assert_eq!((group.subject.as_str(), &group.members, &group.front), (subject, &members, &front));
        }
    }

    #[test]
    fn the_front_holds_what_no_other_beats() {
        let points = [(32.0, 0.1), (8.0, 0.3), (16.0, 0.35), (16.0, 0.2), (40.0, 0.1), (12.0, f64::NAN)];
        assert_eq!(front(&points), [1, 3, 0]);
    }
}
