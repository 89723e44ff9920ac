//! Known concepts of a text: what they are, where they stand, and from which byte on a reader can know it.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Number of a concept: its place in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConceptId(pub u16);

/// How a concept shows in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConceptKind {
    /// A surface form, a synonym or a pronoun that names it.
    Mention,
    /// A stretch of text that it governs: a language, code, speech, a cause.
    Scope,
}

/// One concept of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concept {
    /// Its number.
    pub id: ConceptId,
    /// Unique name, lower case with hyphens: `golden-gate-bridge`.
    pub name: String,
    /// Family under which tables group it: `animals`.
    pub family: String,
    /// How it shows.
    pub kind: ConceptKind,
    /// The next wider concepts: every place of this one is a place of theirs.
    pub parents: Vec<ConceptId>,
    /// One line that says when the concept holds.
    pub definition: String,
}

/// One place of a concept in a text. Ranges are bytes of the text and begin and end with a visible character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The concept.
    pub concept: ConceptId,
    /// How it shows here, the concept's own kind.
    pub kind: ConceptKind,
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
    /// The shortest prefix of the text, in bytes, from which the concept can be told here; none where only text behind
    /// the place tells it.
    pub decidable_from: Option<u32>,
}

/// How a token lies to an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// It shares no byte with the annotated range.
    Outside,
    /// It is part of it, and the text up to the token's end does not tell the concept: the token counts neither as a
    /// positive nor as a negative.
    Undecided,
    /// It is part of it, and the text up to its end tells.
    Decided,
}

impl Annotation {
    /// How the token at these bytes lies to this annotation.
    pub fn coverage(&self, token: &Range<usize>) -> Coverage {
        if token.end <= self.start as usize || token.start >= self.end as usize {
            return Coverage::Outside;
        }
        match self.decidable_from {
            Some(from) if token.end >= from as usize => Coverage::Decided,
            _ => Coverage::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_alone_is_not_yet_the_bridge() {
        // "the Golden Gate Bridge."
        let bridge = Annotation {
            concept: ConceptId(0),
            kind: ConceptKind::Mention,
            start: 4,
            end: 22,
            decidable_from: Some(15),
        };
        let at = |start, end| bridge.coverage(&(start..end));
        assert_eq!(at(0, 3), Coverage::Outside); // "the"
        assert_eq!(at(3, 10), Coverage::Undecided); // " Golden"
        assert_eq!(at(10, 15), Coverage::Decided); // " Gate"
        assert_eq!(at(15, 22), Coverage::Decided); // " Bridge"
        assert_eq!(at(22, 23), Coverage::Outside); // "."
        let never = Annotation { decidable_from: None, ..bridge };
        assert_eq!(never.coverage(&(15..22)), Coverage::Undecided);
    }
}
