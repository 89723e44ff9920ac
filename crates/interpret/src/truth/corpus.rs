//! Annotated text in memory: a table of concepts, and documents that are known to fit it.

use super::problem::AnnotationProblem as Problem;
use super::read::read;
use crate::error::InterpretError;
use std::collections::HashSet;
use std::path::Path;
use untangle_schema::{AnnotatedDocument, AnnotatedSplit, Annotation, Concept};

/// Something for each split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Splits<T> {
    /// For fitting.
    pub train: T,
    /// For choosing.
    pub validation: T,
    /// For reporting.
    pub test: T,
}

impl<T> Splits<T> {
    /// What `make` gives for each split, in the order of the splits.
    ///
    /// # Errors
    /// The first that `make` gives.
    pub fn try_from_fn<E>(mut make: impl FnMut(AnnotatedSplit) -> Result<T, E>) -> Result<Self, E> {
        let [train, validation, test] = AnnotatedSplit::ALL;
        Ok(Self { train: make(train)?, validation: make(validation)?, test: make(test)? })
    }

    /// That of a split.
    pub fn get(&self, split: AnnotatedSplit) -> &T {
        match split {
            AnnotatedSplit::Train => &self.train,
            AnnotatedSplit::Validation => &self.validation,
            AnnotatedSplit::Test => &self.test,
        }
    }

    /// What `of` gives for each.
    pub fn map<'a, U>(&'a self, mut of: impl FnMut(&'a T) -> U) -> Splits<U> {
        Splits { train: of(&self.train), validation: of(&self.validation), test: of(&self.test) }
    }
}

/// Text whose concepts are known.
#[derive(Clone, Debug)]
pub struct AnnotatedCorpus {
    concepts: Vec<Concept>,
    documents: Vec<AnnotatedDocument>,
    /// Of each concept: itself and all wider ones.
    lineages: Vec<Vec<u16>>,
}

impl AnnotatedCorpus {
    /// A corpus of these documents.
    ///
    /// # Errors
    /// The table contradicts itself, an annotation does not fit it or its text, or a split has no documents.
    pub fn new(concepts: Vec<Concept>, documents: Vec<AnnotatedDocument>) -> Result<Self, InterpretError> {
        let fault = |place: String| move |problem| InterpretError::AnnotatedText { place, problem };
        check_concepts(&concepts).map_err(fault("table of concepts".to_owned()))?;
        for (number, document) in documents.iter().enumerate() {
            check_document(&concepts, document).map_err(fault(format!("document {number}")))?;
        }
        Self::of_checked(concepts, documents).map_err(fault("annotated text".to_owned()))
    }

    /// Reads a file of JSON lines; see [`untangle_schema::annotated`].
    ///
    /// # Errors
    /// As [`AnnotatedCorpus::new`], naming file and line, or the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, InterpretError> {
        let (concepts, documents) = read(path)?;
        let place = path.display().to_string();
        Self::of_checked(concepts, documents).map_err(|problem| InterpretError::AnnotatedText { place, problem })
    }

    fn of_checked(concepts: Vec<Concept>, documents: Vec<AnnotatedDocument>) -> Result<Self, Problem> {
        let has = |split: &AnnotatedSplit| documents.iter().any(|document| document.split == *split);
        if let Some(split) = AnnotatedSplit::ALL.into_iter().find(|split| !has(split)) {
            return Err(Problem::NoDocuments { split });
        }
        let lineages = lineages(&concepts);
        Ok(Self { concepts, documents, lineages })
    }

    /// The table.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// All documents.
    pub fn documents(&self) -> &[AnnotatedDocument] {
        &self.documents
    }

    /// The documents of a split, in their order.
    pub fn of_split(&self, split: AnnotatedSplit) -> impl Iterator<Item = &AnnotatedDocument> {
        self.documents.iter().filter(move |document| document.split == split)
    }

    /// Of each concept: itself and all wider ones.
    pub fn lineages(&self) -> &[Vec<u16>] {
        &self.lineages
    }
}

fn lineages(concepts: &[Concept]) -> Vec<Vec<u16>> {
    let mut lineages: Vec<Vec<u16>> = Vec::with_capacity(concepts.len());
    for concept in concepts {
        let wider = concept.parents.iter().flat_map(|parent| &lineages[usize::from(parent.0)]);
        let mut lineage: Vec<u16> = std::iter::once(concept.id.0).chain(wider.copied()).collect();
        lineage.sort_unstable();
        lineage.dedup();
        lineages.push(lineage);
    }
    lineages
}

/// Whether numbers are places, names differ and parents stand above their children.
pub(crate) fn check_concepts(concepts: &[Concept]) -> Result<(), Problem> {
    if concepts.is_empty() {
        return Err(Problem::NoConcepts);
    }
    let mut names = HashSet::new();
    for (place, concept) in concepts.iter().enumerate() {
        let name = || concept.name.clone();
        if usize::from(concept.id.0) != place {
            return Err(Problem::Numbered { name: name(), found: concept.id.0, place });
        }
        if !names.insert(concept.name.as_str()) {
            return Err(Problem::NamedTwice { name: name() });
        }
        if let Some(parent) = concept.parents.iter().find(|parent| usize::from(parent.0) >= place) {
            return Err(Problem::Parent { name: name(), parent: parent.0 });
        }
    }
    Ok(())
}

/// Whether every annotation fits the table and the text.
pub(crate) fn check_document(concepts: &[Concept], document: &AnnotatedDocument) -> Result<(), Problem> {
    let mut numbered = (1..).zip(&document.annotations);
    numbered.try_for_each(|(number, annotation)| check_annotation(concepts, &document.text, number, annotation))
}

fn check_annotation(concepts: &[Concept], text: &str, annotation: usize, found: &Annotation) -> Result<(), Problem> {
    let Annotation { concept, kind, start, end, decidable_from } = *found;
    let last = concepts.len() - 1;
    let named = concepts.get(usize::from(concept.0)).ok_or(Problem::UnknownConcept { annotation, concept, last })?;
    if kind != named.kind {
        return Err(Problem::Kind { annotation, name: named.name.clone(), expected: named.kind, found: kind });
    }
    if start == end || text.get(start as usize..end as usize).is_none() {
        return Err(Problem::Range { annotation, start, end, bytes: text.len() });
    }
    match decidable_from {
        Some(from) if from as usize > text.len() => Err(Problem::Decidable { annotation, from, bytes: text.len() }),
        _ => Ok(()),
    }
}
