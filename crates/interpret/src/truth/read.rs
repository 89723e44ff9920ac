//! How is a file of annotated text read?

use super::corpus::{check_concepts, check_document};
use super::problem::AnnotationProblem as Problem;
use crate::error::InterpretError;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use untangle_schema::annotated::{FORMAT, VERSION};
use untangle_schema::{AnnotatedDocument, AnnotatedHeader, Concept};

const HEADER: &str =
    "the header {\"format\":\"untangle-annotated-text\",\"version\":1,\"concepts\":[…]} as the first line";
const DOCUMENT: &str = "a document {\"text\":…,\"split\":\"train, validation or test\",\"annotations\":[…]} a line";

/// The table and the documents of a file, each line checked. Blank lines are passed over.
pub(crate) fn read(path: &Path) -> Result<(Vec<Concept>, Vec<AnnotatedDocument>), InterpretError> {
    let unreadable = |source: io::Error| InterpretError::ReadText { path: path.to_owned(), source };
    let mut lines = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut concepts, mut documents, mut bytes) = (None::<Vec<Concept>>, Vec::new(), Vec::new());
    for line in 1.. {
        bytes.clear();
        if lines.read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            break;
        }
        let place =
            |problem| InterpretError::AnnotatedText { place: format!("{}, line {line}", path.display()), problem };
        let text = std::str::from_utf8(&bytes).map_err(|_| place(Problem::NotUtf8))?;
        match &concepts {
            _ if text.trim().is_empty() => {}
            None => concepts = Some(header(text).map_err(place)?),
            Some(concepts) => documents.push(document(concepts, text).map_err(place)?),
        }
    }
    let problem = Problem::Json { column: 0, reason: "the file is empty".to_owned(), expected: HEADER };
    let empty = || InterpretError::AnnotatedText { place: path.display().to_string(), problem };
    Ok((concepts.ok_or_else(empty)?, documents))
}

fn header(line: &str) -> Result<Vec<Concept>, Problem> {
    /// The fields that decide whether the others are worth reading.
    #[derive(serde::Deserialize)]
    struct Kind {
        format: String,
        version: u32,
    }
    let kind: Kind = parse(line, HEADER)?;
    if kind.format != FORMAT {
        return Err(Problem::Format { found: kind.format });
    }
    if kind.version != VERSION {
        return Err(Problem::Version { found: kind.version });
    }
    let header: AnnotatedHeader = parse(line, HEADER)?;
    check_concepts(&header.concepts)?;
    Ok(header.concepts)
}

fn document(concepts: &[Concept], line: &str) -> Result<AnnotatedDocument, Problem> {
    let document = parse(line, DOCUMENT)?;
    check_document(concepts, &document)?;
    Ok(document)
}

fn parse<T: DeserializeOwned>(line: &str, expected: &'static str) -> Result<T, Problem> {
    serde_json::from_str(line).map_err(|error| {
        let whole = error.to_string();
        // The parser numbers the lines of what it was given, which is always one.
        let reason = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
        Problem::Json { column: error.column(), reason, expected }
    })
}
