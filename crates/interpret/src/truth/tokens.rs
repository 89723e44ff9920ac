//! Annotated documents as a model reads them: token ids, and the concepts of every token that counts.

use super::corpus::AnnotatedCorpus;
use super::labels::{Labels, labels_at};
use crate::error::InterpretError;
use crate::intervene::special_tokens;
use untangle_model::LanguageModel;
use untangle_schema::{AnnotatedSplit, BosPolicy};

/// One document as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Token ids, the beginning-of-sequence token first where the model has one.
    pub ids: Vec<u32>,
    /// Places in `ids` of the tokens that count: all but special ones.
    pub counted: Vec<usize>,
}

/// The documents of a split as tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Each document.
    pub readings: Vec<Reading>,
    /// The concepts of the counted tokens, document after document.
    pub labels: Labels,
    /// Tokens behind the model's largest context, which are left out.
    pub cut: u64,
}

impl Tokens {
    /// The documents of `split` as `model` reads them. A document that is longer than the model's context is read up to
    /// there: what its further tokens mean may hang on text that the model would not see.
    ///
    /// # Errors
    /// The model has no tokenizer, or it cannot represent a text.
    pub fn of(corpus: &AnnotatedCorpus, split: AnnotatedSplit, model: &LanguageModel) -> Result<Self, InterpretError> {
        let tokenizer = model.tokenizer()?;
        let bos = tokenizer.bos_for(BosPolicy::Auto)?;
        let special = special_tokens(model);
        let mut tokens = Self { readings: Vec::new(), labels: Labels::new(corpus.concepts().len()), cut: 0 };
        for document in corpus.of_split(split) {
            let mut encoded = tokenizer.encode_with_ranges(&document.text)?;
            let most = model.max_context().saturating_sub(usize::from(bos.is_some()));
            tokens.cut += encoded.len().saturating_sub(most) as u64;
            encoded.truncate(most);
            let mut reading = Reading { ids: bos.into_iter().collect(), counted: Vec::new() };
            for (id, range) in encoded {
                if !special[id as usize] {
                    reading.counted.push(reading.ids.len());
                    tokens.labels.push(labels_at(&range, &document.annotations, corpus.lineages()));
                }
                reading.ids.push(id);
            }
            tokens.readings.push(reading);
        }
        Ok(tokens)
    }

    /// The ids of the tokens that count, in the order of their labels.
    pub fn counted_ids(&self) -> Vec<u32> {
        self.readings.iter().flat_map(|reading| reading.counted.iter().map(|at| reading.ids[*at])).collect()
    }

    /// Tokens that count.
    pub fn rows(&self) -> usize {
        self.labels.rows()
    }
}
