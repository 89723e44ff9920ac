//! Which concepts does each token have?

use std::ops::Range;
use untangle_schema::{Annotation, Coverage};

/// A concept of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Number of the concept.
    pub concept: u16,
    /// Whether the text up to the token's end tells it. If not, the token counts neither way.
    pub decided: bool,
}

/// What a token is to one concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The concept does not hold.
    Negative,
    /// It holds and can be told.
    Positive,
    /// The token does not count.
    Ignored,
}

/// The concepts of a run of tokens, by token and by concept.
#[derive(Clone, Debug)]
pub struct Labels {
    starts: Vec<usize>,
    labels: Vec<Label>,
    /// By concept, its tokens and what they are to it.
    places: Vec<Vec<(u32, Mark)>>,
    positives: Vec<u64>,
}

impl Labels {
    /// Labels of no tokens, for this many concepts.
    pub fn new(n_concepts: usize) -> Self {
        let (places, positives) = (vec![Vec::new(); n_concepts], vec![0; n_concepts]);
        Self { starts: vec![0], labels: Vec::new(), places, positives }
    }

    /// Appends a token; no concept stands twice.
    pub fn push(&mut self, labels: impl IntoIterator<Item = Label>) {
        let row = self.rows() as u32;
        for label in labels {
            let concept = usize::from(label.concept);
            self.places[concept].push((row, if label.decided { Mark::Positive } else { Mark::Ignored }));
            self.positives[concept] += u64::from(label.decided);
            self.labels.push(label);
        }
        self.starts.push(self.labels.len());
    }

    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of concepts.
    pub fn n_concepts(&self) -> usize {
        self.places.len()
    }

    /// The concepts of a token.
    pub fn row(&self, row: usize) -> &[Label] {
        &self.labels[self.starts[row]..self.starts[row + 1]]
    }

    /// Tokens on which the concept holds and can be told.
    pub fn positives(&self, concept: usize) -> u64 {
        self.positives[concept]
    }

    /// Tokens that do not count for the concept.
    pub fn undecided(&self, concept: usize) -> u64 {
        self.places[concept].len() as u64 - self.positives[concept]
    }

    /// The tokens that are not negatives of `concept`, in order, and what they are to it.
    pub fn places(&self, concept: usize) -> &[(u32, Mark)] {
        &self.places[concept]
    }

    /// What every token is to `concept`.
    pub fn marks(&self, concept: usize) -> Vec<Mark> {
        let mut marks = vec![Mark::Negative; self.rows()];
        self.places[concept].iter().for_each(|(row, mark)| marks[*row as usize] = *mark);
        marks
    }
}

/// The concepts of the token at these bytes, each once: decided where any place of it or of a narrower concept is.
/// `lineages` lists of each concept itself and all wider ones.
pub fn labels_at(token: &Range<usize>, annotations: &[Annotation], lineages: &[Vec<u16>]) -> Vec<Label> {
    let mut found: Vec<Label> = Vec::new();
    for annotation in annotations {
        let decided = match annotation.coverage(token) {
            Coverage::Outside => continue,
            Coverage::Undecided => false,
            Coverage::Decided => true,
        };
        for &concept in &lineages[usize::from(annotation.concept.0)] {
            match found.iter_mut().find(|label| label.concept == concept) {
                Some(label) => label.decided |= decided,
                None => found.push(Label { concept, decided }),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_schema::{ConceptId, ConceptKind};

    fn place(concept: u16, start: u32, end: u32, decidable_from: Option<u32>) -> Annotation {
        Annotation { concept: ConceptId(concept), kind: ConceptKind::Mention, start, end, decidable_from }
    }

    #[test]
    fn a_token_has_the_wider_concepts_of_its_places_and_one_decided_place_is_enough() {
        // 0 landmark; 1 bridge, a landmark; 2 speech
        let lineages = [vec![0], vec![0, 1], vec![2]];
        let annotations = [place(1, 4, 22, Some(15)), place(2, 0, 30, None), place(0, 0, 12, Some(4))];
        let at = |range: Range<usize>| {
            let mut found = labels_at(&range, &annotations, &lineages);
            found.sort_by_key(|label| label.concept);
            found.iter().map(|label| (label.concept, label.decided)).collect::<Vec<_>>()
        };
        assert_eq!(at(4..10), [(0, true), (1, false), (2, false)], "the landmark can be told before the bridge");
        assert_eq!(at(12..15), [(0, true), (1, true), (2, false)], "the landmark through the bridge");
        let twice = [place(0, 0, 9, Some(3)), place(0, 0, 9, None)];
        assert_eq!(labels_at(&(0..9), &twice, &lineages), [Label { concept: 0, decided: true }], "in either order");
        assert_eq!(at(22..23), [(2, false)]);
        assert_eq!(at(30..31), []);
    }

    #[test]
    fn marks_and_counts_are_those_of_the_rows() {
        let mut labels = Labels::new(2);
        let label = |concept, decided| Label { concept, decided };
        labels.push([label(0, true), label(1, false)]);
        labels.push([]);
        labels.push([label(1, true)]);
        assert_eq!(labels.marks(0), [Mark::Positive, Mark::Negative, Mark::Negative]);
        assert_eq!(labels.marks(1), [Mark::Ignored, Mark::Negative, Mark::Positive]);
        assert_eq!((labels.positives(1), labels.undecided(1), labels.rows()), (1, 1, 3));
    }
}
