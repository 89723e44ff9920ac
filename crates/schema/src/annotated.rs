//! What a file of texts with known concepts holds: JSON lines, a header with the table of concepts and then a document
//! per line.
//!
//! ```text
//! {"format":"untangle-annotated-text","version":1,"concepts":[{"id":0,"name":"bridge","family":"landmarks",
//!   "kind":"mention","parents":[],"definition":"a bridge"}]}
//! {"text":"A bridge.","split":"train","annotations":[{"concept":0,"kind":"mention","start":2,"end":8,
//!   "decidable_from":8}]}
//! ```
//!
//! (Each object stands on one line.) A concept's number is its place in the table and parents stand before their
//! children. A place of a concept is a place of its parents too, annotated or not.

use crate::concept::{Annotation, Concept};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `format` of the header.
pub const FORMAT: &str = "untangle-annotated-text";
/// `version` of the header that this program writes and reads.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotatedHeader {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The table of concepts, each at the place that is its number.
    pub concepts: Vec<Concept>,
}

impl AnnotatedHeader {
    /// The header of a file with these concepts.
    pub fn new(concepts: Vec<Concept>) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, concepts }
    }
}

/// What a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnnotatedSplit {
    /// Fitting.
    Train,
    /// Choosing.
    Validation,
    /// Reporting.
    Test,
}

impl AnnotatedSplit {
    /// All splits.
    pub const ALL: [AnnotatedSplit; 3] = [AnnotatedSplit::Train, AnnotatedSplit::Validation, AnnotatedSplit::Test];
}

impl fmt::Display for AnnotatedSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnnotatedSplit::Train => "train",
            AnnotatedSplit::Validation => "validation",
            AnnotatedSplit::Test => "test",
        })
    }
}

/// Every further line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotatedDocument {
    /// The text.
    pub text: String,
    /// What it is for.
    pub split: AnnotatedSplit,
    /// Every place of every concept, in any order.
    pub annotations: Vec<Annotation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_lines_are_read_and_written() {
        let concept = r#"{"id":0,"name":"bridge","family":"landmarks","kind":"mention","parents":[],"definition":"b"}"#;
        let header = format!(r#"{{"format":"untangle-annotated-text","version":1,"concepts":[{concept}]}}"#);
        let place = r#"{"concept":0,"kind":"mention","start":2,"end":8,"decidable_from":8}"#;
        let document = format!(r#"{{"text":"A bridge.","split":"train","annotations":[{place}]}}"#);
        let read: AnnotatedHeader = serde_json::from_str(&header).expect("a header");
        assert_eq!(read, AnnotatedHeader::new(read.concepts.clone()));
        assert_eq!(serde_json::to_string(&read).expect("json"), header);
        let read: AnnotatedDocument = serde_json::from_str(&document).expect("a document");
        assert_eq!(serde_json::to_string(&read).expect("json"), document);
    }
}
