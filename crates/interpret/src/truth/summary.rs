//! What concepts come to, all together, by kind and by family.

use super::matching::Detection;
use super::report::{ConceptReport, Covered, Criteria, Difference, Group, GroupedBy, f1_of};
use crate::bootstrap;
use untangle_schema::{ConceptKind, Share};

/// Which comparisons were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// With neurons.
    pub neurons: bool,
    /// With a control.
    pub control: bool,
}

/// All concepts, then those of each kind, then those of each family, in the order in which they first appear.
pub fn summarise(concepts: &[ConceptReport], criteria: &Criteria, compared: Compared) -> Vec<Group> {
    let all = concepts.iter().collect::<Vec<_>>();
    let mut groups = vec![group(GroupedBy::All, "all", &all, criteria, compared)];
    for (kind, name) in [(ConceptKind::Mention, "mention"), (ConceptKind::Scope, "scope")] {
        let members: Vec<_> = concepts.iter().filter(|concept| concept.kind == kind).collect();
        if !members.is_empty() {
            groups.push(group(GroupedBy::Kind, name, &members, criteria, compared));
        }
    }
    let mut families: Vec<&str> = Vec::new();
    for concept in concepts {
        if !families.contains(&concept.family.as_str()) {
            families.push(&concept.family);
        }
    }
    for family in families {
        let members: Vec<_> = concepts.iter().filter(|concept| concept.family == family).collect();
        groups.push(group(GroupedBy::Family, family, &members, criteria, compared));
    }
    groups
}

fn group(by: GroupedBy, name: &str, concepts: &[&ConceptReport], criteria: &Criteria, compared: Compared) -> Group {
    let judged: Vec<&ConceptReport> = concepts.iter().copied().filter(|concept| concept.judged).collect();
    let is_readable = |concept: &&ConceptReport| f1_of(&concept.probe) >= criteria.readable_f1;
    let readable: Vec<&ConceptReport> = judged.iter().copied().filter(is_readable).collect();
    let beyond: Vec<&ConceptReport> =
        readable.iter().copied().filter(|concept| f1_of(&concept.tokens) < criteria.covered_f1).collect();
    let covered_of =
        |these: &[&ConceptReport], of: fn(&ConceptReport) -> &Option<Detection>| covered(these, criteria, of);
    let covered = |of: fn(&ConceptReport) -> &Option<Detection>| covered_of(&readable, of);
    Group {
        by,
        name: name.to_owned(),
        concepts: concepts.len() as u64,
        not_judged: (concepts.len() - judged.len()) as u64,
        readable: Share::of(judged.iter().map(is_readable)).into(),
        feature: covered(|concept| &concept.feature),
        union: covered(|concept| &concept.union),
        token: covered(|concept| &concept.token),
        tokens: covered(|concept| &concept.tokens),
        beyond_tokens: covered_of(&beyond, |concept| &concept.feature),
        control_beyond_tokens: compared.control.then(|| covered_of(&beyond, |concept| &concept.control)),
        neuron: compared.neurons.then(|| covered(|concept| &concept.neuron)),
        principal: covered(|concept| &concept.principal),
        control: compared.control.then(|| covered(|concept| &concept.control)),
        above_control: compared.control.then(|| above_control(&readable, criteria)).flatten(),
    }
}

fn covered(readable: &[&ConceptReport], criteria: &Criteria, of: fn(&ConceptReport) -> &Option<Detection>) -> Covered {
    let f1s = || readable.iter().map(|concept| f1_of(of(concept)));
    Covered {
        fraction: Share::of(f1s().map(|f1| f1 >= criteria.covered_f1)).into(),
        mean_f1: (!readable.is_empty()).then(|| f1s().sum::<f64>() / readable.len() as f64),
    }
}

fn above_control(readable: &[&ConceptReport], criteria: &Criteria) -> Option<Difference> {
    let covers = |detection| f64::from(u8::from(f1_of(detection) >= criteria.covered_f1));
    let pairs: Vec<Vec<f64>> =
        readable.iter().map(|concept| vec![covers(&concept.feature) - covers(&concept.control), 1.0]).collect();
    let value = pairs.iter().map(|pair| pair[0]).sum::<f64>() / pairs.len() as f64;
    let interval = bootstrap::interval(&pairs, 0, |sums| sums[0] / sums[1]);
    (!pairs.is_empty()).then_some(Difference { value, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::corpus::Splits;
    use untangle_schema::ConceptId;

    fn reaching(f1: f64) -> Option<Detection> {
        let (precision, recall, auroc) = (f1, f1, None);
        Some(Detection { parts: Vec::new(), validation_f1: f1, precision, recall, f1, auroc, named: 1, both: 1 })
    }

    /// Concept of a family with F1 of its probe, feature and control; not judged where there is none.
    fn concept(family: &str, kind: ConceptKind, f1: Option<[f64; 3]>) -> ConceptReport {
        let [probe, feature, control] = f1.map_or([None, None, None], |f1| f1.map(reaching));
        ConceptReport {
            id: ConceptId(0),
            name: "c".into(),
            family: family.into(),
            kind,
            positives: Splits::default(),
            undecided: Splits::default(),
            judged: f1.is_some(),
            probe,
            union: feature.clone(),
            feature,
            token: None,
            tokens: None,
            neuron: None,
            principal: None,
            control,
        }
    }

    #[test]
    fn groups_by_hand() {
        use ConceptKind::{Mention, Scope};
        let concepts = [
            concept("animals", Mention, Some([0.95, 0.8, 0.1])),
            concept("speech", Scope, Some([0.9, 0.6, 0.8])),
            concept("animals", Mention, Some([0.89, 1.0, 1.0])), // not readable
            concept("animals", Mention, None),
        ];
        let compared = Compared { neurons: false, control: true };
        let groups = summarise(&concepts, &Criteria::default(), compared);
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["all", "mention", "scope", "animals", "speech"]);
        let all = &groups[0];
        assert_eq!((all.concepts, all.not_judged, all.readable.hits, all.readable.trials), (4, 1, 2, 3));
        assert_eq!((all.feature.fraction.hits, all.feature.fraction.trials), (1, 2));
        assert!((all.feature.mean_f1.unwrap_or(0.0) - 0.7).abs() < 1e-12);
        assert_eq!(all.above_control, Some(Difference { value: 0.0, interval: None }), "one each");
        assert_eq!(groups[1].above_control.map(|difference| difference.value), Some(1.0));
        assert_eq!((all.neuron, all.principal.fraction.hits), (None, 0));
        let none = summarise(&concepts[3..], &Criteria::default(), compared);
        assert_eq!((none[0].readable.value, none[0].feature.mean_f1, none[0].above_control), (None, None, None));
    }
}
