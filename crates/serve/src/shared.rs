//! What all requests are answered with.

use crate::books::Book;
use crate::desk::Desk;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::wire::dictionaries::Origin;
use crate::wire::models::ModelCard;
use crate::wire::runs::Trainings;
use crate::wire::toward::Subjects;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use untangle_interpret::Spec;
use untangle_model::{ChatTemplate, Tokenizer};
use untangle_schema::BosPolicy;

/// See the module. The model itself is not here: one thread alone has it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) desk: Desk,
    pub(crate) gate: Gate,
    pub(crate) limits: Limits,
    pub(crate) card: ModelCard,
    /// What the weights are.
    pub(crate) fingerprint: String,
    /// Rows of the model's embedding.
    pub(crate) vocabulary: usize,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// How conversations become text, or why they do not.
    pub(crate) template: Result<ChatTemplate, String>,
    pub(crate) vectors: Vec<PathBuf>,
    /// What is known of the dictionaries, in their order.
    pub(crate) books: Vec<Book>,
    /// Names under which the model is steered.
    pub(crate) variants: BTreeMap<String, Vec<Spec>>,
    pub(crate) bos: BosPolicy,
    /// Where model, dictionaries and databases lie.
    pub(crate) origin: Origin,
    /// Interventions that the page begins with.
    pub(crate) tray: Vec<String>,
    /// Trainings that are looked at, if any.
    pub(crate) trainings: Option<Box<dyn Trainings>>,
    /// What texts may be about beyond what words say.
    pub(crate) subjects: Option<Box<dyn Subjects>>,
}

impl Shared {
    /// The model and its steered variants.
    pub(crate) fn cards(&self) -> Vec<ModelCard> {
        let variant = |(name, specs): (&String, &Vec<Spec>)| ModelCard {
            id: name.clone(),
            steering: specs.iter().map(ToString::to_string).collect(),
            ..self.card.clone()
        };
        std::iter::once(self.card.clone()).chain(self.variants.iter().map(variant)).collect()
    }

    /// The dictionary of a name, the first where none is given; with its number.
    pub(crate) fn book(&self, asked: Option<&str>) -> Result<(usize, &Book), Problem> {
        let mut books = self.books.iter().enumerate();
        let found = books.find(|(_, book)| asked.is_none_or(|asked| book.info.name == asked));
        found.ok_or_else(|| {
            let served: Vec<&str> = self.books.iter().map(|book| book.info.name.as_str()).collect();
            Problem::no_such_dictionary(asked, &served.join(", "))
        })
    }

    /// What is steered under a name, the model's own where none is given.
    pub(crate) fn steering_of(&self, asked: Option<&str>) -> Result<Vec<Spec>, Problem> {
        match asked {
            None => Ok(Vec::new()),
            Some(name) if name == self.card.id => Ok(Vec::new()),
            Some(name) => self.variants.get(name).cloned().ok_or_else(|| self.no_such_model(name)),
        }
    }

    /// There is no model of this name.
    pub(crate) fn no_such_model(&self, asked: &str) -> Problem {
        let known: Vec<&str> =
            std::iter::once(self.card.id.as_str()).chain(self.variants.keys().map(String::as_str)).collect();
        Problem::no_such_model(asked, &known.join(", "))
    }
}
