//! Dictionaries that read texts: which features fire on every token?

use super::served::Served;
use crate::desk::Question;
use crate::problem::Problem;
use untangle_interpret::steer::Kind;
use untangle_interpret::{InterpretError, Reader, Reading};

/// A reader for each dictionary; none where one pass of this model does not show what it reads.
pub(super) struct Readers<'a>(Vec<Option<Reader<'a>>>);

impl<'a> Readers<'a> {
    /// # Errors
    /// When a dictionary does not belong to the model.
    pub(super) fn new(served: Served<'a>) -> Result<Self, InterpretError> {
        let reader = |dictionary: &untangle_interpret::Dictionary<'a>| match dictionary.kind {
            Kind::Sae(sae) => Reader::new(served.model, sae).map(Some),
            Kind::Crosscoder(_) => Ok(None),
        };
        served.dictionaries.iter().map(reader).collect::<Result<_, _>>().map(Readers)
    }

    /// Answers a question; what whoever runs the server should know of it.
    pub(super) fn answer(&self, question: Question) -> Option<String> {
        let Question { dictionary, texts, losses, answer } = question;
        let Some(reader) = self.0.get(dictionary).and_then(Option::as_ref) else {
            let problem =
                "a crosscoder reads several places at once, which no single pass shows; name another dictionary";
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
