//! Which lines does a query without words find, and in which order? The same as the database finds, without reading it again: of
//! many features that takes seconds, because every line has its label looked up.

use std::cmp::Ordering;
use untangle_interpret::Summary;
use untangle_interpret::database::{Only, Query, Sort};
use untangle_schema::LabelKind;

/// Whether lines alone say what a query asks for.
pub(crate) fn can(query: &Query) -> bool {
    let of_lines = !matches!(query.sort, Sort::Score(Some(_)));
    let of_lines = of_lines && query.only != Some(Only::ByRulesAlone);
    of_lines && query.text.trim().is_empty() && query.kind.is_none() && query.source.is_none()
}

/// What the query finds among the lines of all features, which come by number.
pub(crate) fn listed(lines: &[Summary], query: &Query) -> Vec<Summary> {
    let mut found: Vec<&Summary> = lines.iter().filter(|line| is_asked(line, query)).collect();
    found.sort_by(|a, b| order(a, b, query));
    found.into_iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX)).cloned().collect()
}

/// The lines of these features; a number that there is none of has no line.
pub(crate) fn of(lines: &[Summary], features: &[usize]) -> Vec<Summary> {
    let place = |feature: &usize| lines.binary_search_by_key(feature, |line| line.feature).ok();
    let mut places: Vec<usize> = features.iter().filter_map(place).collect();
    places.sort_unstable();
    places.dedup();
    places.into_iter().map(|place| lines[place].clone()).collect()
}

fn is_asked(line: &Summary, query: &Query) -> bool {
    let is_one = match query.only {
        None => true,
        Some(Only::Labelled) => line.label_kind == Some(LabelKind::Input),
        Some(Only::Unlabelled) => line.density > 0.0 && line.label_kind != Some(LabelKind::Input),
        // A line knows one label of all.
        Some(Only::ByRulesAlone) => false,
        Some(Only::Dead) => line.density == 0.0,
        Some(Only::Alive) => line.density > 0.0,
    };
    is_one
        && query.min_score.is_none_or(|least| line.label_score.is_some_and(|score| score >= least))
        && query.min_density.is_none_or(|least| line.density >= least)
        && query.max_density.is_none_or(|most| line.density <= most)
}

/// The largest comes first, what has no number last, and of equals the one with the smaller number of its own.
fn order(a: &Summary, b: &Summary, query: &Query) -> Ordering {
    let turned = |order: Ordering| if query.reversed { order.reverse() } else { order };
    let by = match query.sort {
        Sort::Match | Sort::Score(_) => match (a.label_score, b.label_score) {
            (Some(a), Some(b)) => turned(b.total_cmp(&a)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        },
        Sort::Density => turned(b.density.total_cmp(&a.density)),
        Sort::Activation => turned(b.max_activation.total_cmp(&a.max_activation)),
        Sort::Number => turned(a.feature.cmp(&b.feature)),
    };
    by.then(a.feature.cmp(&b.feature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(feature: usize, label_score: Option<f64>, density: f64) -> Summary {
        let label = label_score.map(|_| "x".to_owned());
        let (label_kind, label_source) = (label_score.map(|_| LabelKind::Input), label.clone());
        Summary {
            feature,
            label,
            label_kind,
            label_source,
            label_score,
            asked: None,
            held_out_firings: 0,
            density,
            max_activation: 5.0 - feature as f32,
        }
    }

    #[test]
    fn lines_are_narrowed_down_and_ordered() {
        let lines = [line(0, Some(0.5), 0.1), line(1, None, 0.0), line(2, Some(0.9), 0.2), line(3, Some(0.5), 0.2)];
        let found = |query: Query| listed(&lines, &query).iter().map(|line| line.feature).collect::<Vec<_>>();
        let all = Query::default;
        assert_eq!(found(all()), [2, 0, 3, 1]);
        assert_eq!(found(Query { reversed: true, ..all() }), [0, 3, 2, 1], "what has no score stays last");
        assert_eq!(found(Query { sort: Sort::Density, ..all() }), [2, 3, 0, 1]);
        assert_eq!(found(Query { sort: Sort::Activation, limit: Some(2), offset: 1, ..all() }), [1, 2]);
        assert_eq!(found(Query { sort: Sort::Number, reversed: true, ..all() }), [3, 2, 1, 0]);
        assert_eq!(found(Query { only: Some(Only::Dead), ..all() }), [1]);
        assert_eq!(found(Query { min_score: Some(0.6), ..all() }), [2]);
        assert_eq!(found(Query { max_density: Some(0.1), only: Some(Only::Alive), ..all() }), [0]);
        let numbers = of(&lines, &[3, 0, 9, 3]).iter().map(|line| line.feature).collect::<Vec<_>>();
        assert_eq!(numbers, [0, 3], "by number, each once, as the database has them");
        assert!(can(&all()) && !can(&Query { text: "a".to_owned(), ..all() }));
        assert!(!can(&Query { sort: Sort::Score(Some("f1".to_owned())), ..all() }));
    }
}
