//! What the generator gives: a text, what in it stands for which concept, and what its story says.

use crate::choice::Choice;
use crate::hold::Reading;
use crate::lexicon::EntityId;
pub use crate::relation::Relation;
use untangle_schema::Annotation;
use untangle_schema::mix::mix;

/// One text of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The text.
    pub text: String,
    /// Every place of every concept, in the order of their beginnings; wider ranges first.
    pub annotations: Vec<Annotation>,
    /// What the story says, in the order of telling. A later fact ends an earlier one that it contradicts.
    pub facts: Vec<Fact>,
    /// Every choice that led to the text.
    pub choices: Vec<Choice>,
    /// What a reader believes of the topic, the mood and the narrator, in the order of the words that tell it.
    pub readings: Vec<Reading>,
    /// What a reader pays more than the choices cost, in nats: less than none, as a rule, because a reader pays for
    /// words and not for what is behind them.
    pub(crate) excess: f64,
    /// Which part of the corpus it belongs to.
    pub split: Split,
}

impl Document {
    /// Logarithm of the probability of the choices, in nats: the probability that the generator makes the text in just
    /// this way, so at most that of the text.
    pub fn log_prob(&self) -> f64 {
        self.choices.iter().map(|choice| choice.log_prob).sum()
    }

    /// Logarithm of the probability of the words by a reader who knows the rules and not what is held: that of the
    /// choices, summed over every topic, mood and narrator that could be behind them.
    pub fn reader_log_prob(&self) -> f64 {
        self.log_prob() - self.excess
    }
}

/// Something that holds in a story from a byte on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What holds.
    pub relation: Relation,
    /// Of whom: as many as the relation takes.
    pub arguments: Vec<EntityId>,
    /// Bytes of text after which it can be known.
    pub at: u32,
}

/// Parts of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Nine documents of ten.
    Train,
    /// One of twenty: for choosing.
    Validation,
    /// One of twenty: for reporting.
    Test,
}

impl Split {
    /// The split of a document, by a hash ([`mix`]) of its seed and index.
    pub fn of(seed: u64, index: u64) -> Self {
        match mix(mix(seed) ^ index) % 20 {
            0 => Split::Validation,
            1 => Split::Test,
            _ => Split::Train,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_their_shares_for_every_seed() {
        for seed in [0, 1, u64::MAX] {
            let splits: Vec<Split> = (0..20_000).map(|index| Split::of(seed, index)).collect();
            let count = |split| splits.iter().filter(|s| **s == split).count();
            assert!((900..1100).contains(&count(Split::Validation)), "{}", count(Split::Validation));
            assert!((900..1100).contains(&count(Split::Test)), "{}", count(Split::Test));
        }
    }
}
