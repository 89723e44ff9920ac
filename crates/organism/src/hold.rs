//! What lasts, and what does a reader believe of it? The topic, the mood and the narrator's trait of a text, each held in
//! a register while the words are drawn from its rules, and the belief of a reader who knows the rules.
//!
//! A word that several topics share tells no topic by itself. Which one holds, and from which byte on, is what Bayes'
//! rule makes of all words so far, by the forward recursion of a hidden Markov model (Rabiner 1989, equation 20):
//!
//! b(z) is at first the class's weights; where what is held may change with probability s,
//! b(z) = (1 - s) b(z) + s sum over y != z of b(y) w(z) / (W - w(y)); and where a rule of it is used,
//! b(z) = b(z) p(body | z) / sum over y of b(y) p(body | y).
//!
//! | symbol | here |
//! |---|---|
//! | z, y | entities of the class that the register draws from |
//! | w, W | an entity's weight, the sum over its class |
//! | b | `belief` |
//! | p(body given z) | weight of the alternatives with this body among all of z's rule |
//!
//! An annotation of what is held begins where it is held, and can be told from the end of the words at which the belief in
//! it first reaches [`TOLD`]. The sum over y before normalising is what such a reader pays for the words: with it the
//! price of a text counts the words and not what is behind them.

use crate::lexicon::EntityId;

/// The belief from which on what is held counts as told: chosen.
pub const TOLD: f64 = 0.9;

/// What a reader believes from a byte on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Bytes of text after which it is believed.
    pub at: u32,
    /// What is held there.
    pub held: EntityId,
    /// What is believed most.
    pub best: EntityId,
    /// How much what is held is believed.
    pub belief: f64,
    /// How much that which is believed most is.
    pub certainty: f64,
}

/// One thing that lasts.
pub(crate) struct Held {
    pub(crate) register: usize,
    pub(crate) entity: EntityId,
    /// The class's entities with their weights.
    members: Vec<(EntityId, f64)>,
    belief: Vec<f64>,
    /// Bytes of text that stood when it began to be held.
    pub(crate) start: usize,
    /// Bytes after which it can be told.
    pub(crate) told: Option<usize>,
}

impl Held {
    pub(crate) fn new(register: usize, entity: EntityId, members: Vec<(EntityId, f64)>, start: usize) -> Self {
        let total: f64 = members.iter().map(|(_, weight)| weight).sum();
        let belief = members.iter().map(|(_, weight)| weight / total).collect();
        Self { register, entity, members, belief, start, told: None }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = EntityId> + '_ {
        self.members.iter().map(|(id, _)| *id)
    }

    /// Here what is held may have changed, with this probability.
    pub(crate) fn may_change(&mut self, probability: f64) {
        let total: f64 = self.members.iter().map(|(_, weight)| weight).sum();
        let left: f64 = self.members.iter().zip(&self.belief).map(|((_, weight), b)| b / (total - weight)).sum();
        for ((_, weight), belief) in self.members.iter().zip(&mut self.belief) {
            let from_others = weight * (left - *belief / (total - weight));
            *belief = (1.0 - probability) * *belief + probability * from_others;
        }
    }

    /// Another entity is held from here on; the reader is not told.
    pub(crate) fn change(&mut self, entity: EntityId, start: usize) {
        (self.entity, self.start, self.told) = (entity, start, None);
    }

    /// Takes in words, given their probability by each entity. Returns what they cost a reader: minus their logarithm.
    pub(crate) fn read(&mut self, likelihoods: &[f64], at: usize) -> (f64, Reading) {
        let joint: Vec<f64> = self.belief.iter().zip(likelihoods).map(|(b, l)| b * l).collect();
        let evidence: f64 = joint.iter().sum();
        self.belief = joint.iter().map(|p| p / evidence).collect();
        let reading = self.reading(at);
        if self.told.is_none() && reading.belief >= TOLD {
            self.told = Some(at);
        }
        (-evidence.ln(), reading)
    }

    fn reading(&self, at: usize) -> Reading {
        let believed = |id: EntityId| self.members().zip(&self.belief).find(|(m, _)| *m == id).map_or(0.0, |(_, b)| *b);
        let most = self.members().zip(&self.belief).max_by(|(_, a), (_, b)| a.total_cmp(b));
        let (best, certainty) = most.map_or((self.entity, 0.0), |(id, belief)| (id, *belief));
        Reading { at: at as u32, held: self.entity, best, belief: believed(self.entity), certainty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Held {
        let members = [(0, 2.0), (1, 1.0), (2, 1.0)].map(|(id, weight)| (EntityId(id), weight));
        Held::new(0, EntityId(1), members.to_vec(), 0)
    }

    #[test]
    fn belief_follows_bayes_rule() {
        let mut held = three();
        let (cost, reading) = held.read(&[0.25, 0.5, 0.0], 7);
        assert!((cost + 0.25f64.ln()).abs() < 1e-12); // 1/2 1/4 + 1/4 1/2
        assert_eq!((reading.at, reading.best, reading.belief), (7, EntityId(1), 0.5));
        assert_eq!(held.told, None);
        held.read(&[0.1, 0.9, 0.5], 12);
        assert_eq!(held.told, Some(12)); // 0.45 of 0.5
    }

    #[test]
    fn where_something_may_have_changed_the_reader_doubts() {
        let mut held = three();
        held.belief = vec![1.0, 0.0, 0.0];
        held.may_change(0.2);
        // From the first, the others are drawn with weights 1 and 1.
        for (belief, expected) in held.belief.iter().zip([0.8, 0.1, 0.1]) {
            assert!((belief - expected).abs() < 1e-12, "{:?}", held.belief);
        }
        held.may_change(0.5);
        // 0.8 goes half, 0.2 in equal parts; from the second, the first has two of three.
        for (belief, expected) in held.belief.iter().zip([0.4 + 0.5 * 0.2 * 2.0 / 3.0, 0.05 + 0.2 + 0.1 / 6.0]) {
            assert!((belief - expected).abs() < 1e-12, "{:?}", held.belief);
        }
    }
}
