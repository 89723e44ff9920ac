//! What can be wrong with annotated text?

use untangle_schema::annotated::{FORMAT, VERSION};
use untangle_schema::{AnnotatedSplit, ConceptId, ConceptKind};

/// A fault of one line or document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnotationProblem {
    /// Not the JSON that stands here in such a file.
    #[error("column {column}: {reason}; expected {expected}")]
    Json {
        /// Column of the line.
        column: usize,
        /// What the parser says.
        reason: String,
        /// What the line should be.
        expected: &'static str,
    },
    /// Bytes that are no text.
    #[error("not UTF-8; save the file as UTF-8")]
    NotUtf8,
    /// The header is of another kind of file.
    #[error("the first line says format `{found}`; expected a header with format `{FORMAT}`")]
    Format {
        /// What it says.
        found: String,
    },
    /// The header is of another version.
    #[error("the format's version is {found}, this program reads version {VERSION}; write the file in that version")]
    Version {
        /// Version of the file.
        found: u32,
    },
    /// There is nothing to look for.
    #[error("the table of concepts is empty; name at least one concept")]
    NoConcepts,
    /// Concept numbers do not count up.
    #[error("the concept `{name}` has id {found} and stands at place {place}; number concepts by their place, from 0")]
    Numbered {
        /// The concept.
        name: String,
        /// Its number.
        found: u16,
        /// Its place.
        place: usize,
    },
    /// Two concepts of one name.
    #[error("two concepts are named `{name}`; give each its own name")]
    NamedTwice {
        /// The name.
        name: String,
    },
    /// A parent that is not above.
    #[error("the concept `{name}` has parent {parent}, which does not stand above it; put parents before children")]
    Parent {
        /// The concept.
        name: String,
        /// The parent's number.
        parent: u16,
    },
    /// An annotation of no concept.
    #[error(
        "annotation {annotation} names concept {}, the table ends at {last}; add the concept to the first line",
        .concept.0
    )]
    UnknownConcept {
        /// Number of the annotation, from 1.
        annotation: usize,
        /// What it names.
        concept: ConceptId,
        /// The last concept.
        last: usize,
    },
    /// An annotation of another kind than its concept.
    #[error("annotation {annotation} is a {found:?}, its concept `{name}` is a {expected:?}; make them agree")]
    Kind {
        /// Number of the annotation, from 1.
        annotation: usize,
        /// The concept.
        name: String,
        /// Kind of the concept.
        expected: ConceptKind,
        /// Kind of the annotation.
        found: ConceptKind,
    },
    /// A range that the text does not have.
    #[error(
        "annotation {annotation} covers bytes {start}..{end} of a text of {bytes}; give a range of whole characters \
         that is not empty"
    )]
    Range {
        /// Number of the annotation, from 1.
        annotation: usize,
        /// First byte.
        start: u32,
        /// Behind the last byte.
        end: u32,
        /// Bytes of the text.
        bytes: usize,
    },
    /// A concept that can be told from a byte on that the text does not have.
    #[error(
        "annotation {annotation} can be told from byte {from} on, the text has {bytes}; give the length of a prefix of \
         the text, or null where none tells it"
    )]
    Decidable {
        /// Number of the annotation, from 1.
        annotation: usize,
        /// The byte.
        from: u32,
        /// Bytes of the text.
        bytes: usize,
    },
    /// A split without documents.
    #[error("no document is for {split}; fitting, choosing and reporting each need documents of their own")]
    NoDocuments {
        /// The split.
        split: AnnotatedSplit,
    },
}
