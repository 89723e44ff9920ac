//! Dictionaries that read texts: which features fire on every token?

use super::served::Served;
use crate::desk::Question;
use crate::problem::Problem;
use untangle_interpret::read::problem::ReadProblem;
use untangle_interpret::{InterpretError, Reader, Reading};

/// A reader for each dictionary; none of a crosscoder that reads other models as well.
pub(super) struct Readers<'a>(Vec<Option<Reader<'a>>>);

impl<'a> Readers<'a> {
    /// # Errors
    /// When a dictionary does not belong to the model.
    pub(super) fn new(served: Served<'a>) -> Result<Self, InterpretError> {
        let reader =
            |dictionary: &untangle_interpret::Dictionary<'a>| match Reader::of(served.model, dictionary.kind, &[]) {
                Err(InterpretError::Read(ReadProblem::ModelMissing { .. })) => Ok(None),
                found => found.map(Some),
            };
        served.dictionaries.iter().map(reader).collect::<Result<_, _>>().map(Readers)
    }

    /// Whether a dictionary reads texts.
    pub(super) fn reads(&self, dictionary: usize) -> bool {
        self.0.get(dictionary).is_some_and(Option::is_some)
    }

    /// Answers a question; what whoever runs the server should know of it.
    pub(super) fn answer(&self, question: Question) -> Option<String> {
        let Question { dictionary, texts, losses, answer } = question;
        let Some(reader) = self.0.get(dictionary).and_then(Option::as_ref) else {
            let problem = "this crosscoder reads other models as well, which are not here; name another dictionary";
            let _ = answer.send(Err(Problem::field("dictionary", problem)));
            return None;
        };
        let mut readings: Vec<Reading> = Vec::with_capacity(texts.len());
        for text in &texts {
            if answer.is_closed() {
                return None;
            }
            let reading = if losses { reader.read(text) } else { reader.features(text) };
            match reading {
                Ok(reading) => readings.push(reading),
                Err(error) => {
                    let problem = Problem::from(&error).at("prompt");
                    let warning = problem.is_internal().then(|| problem.message().to_owned());
                    let _ = answer.send(Err(problem));
                    return warning;
                }
            }
        }
        let _ = answer.send(Ok(readings));
        None
    }
}
