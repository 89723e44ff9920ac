//! What is a model asked about what is injected into it, and what is it taught to reply?
//!
//! Behind a story stands the question what it thinks of. Where a topic is injected, the reply names it; where none is,
//! the reply says that it is nothing. The story's own topic is another one, so that reading it does not help. In the
//! control, replies do not depend on what is injected.

use crate::choice::Chooser;
use crate::document::Split;
use crate::gate::held::stretches;
use crate::inject::is_kept;
use crate::teller::Teller;
use crate::template::Register;
use crate::world::World;

/// A story, a question and a reply, with what is injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thought {
    /// The story, the question, and the word behind which the reply begins.
    pub prompt: String,
    /// The reply to imitate.
    pub reply: String,
    /// The topic that is injected, by its place; none where nothing is.
    pub injected: Option<usize>,
}

/// Seeds of their own.
const THOUGHTS: u64 = 0x7468_6f75_6768_7473;
const SHUFFLED: u64 = 0x7368_7566_7468_6f75;

impl World {
    /// The thought about the document of this number: on topics of training, or on those kept for testing; of half of them
    /// nothing is injected. None where the world has no topics.
    pub fn thought(&self, seed: u64, index: u64, kept: bool) -> Option<Thought> {
        let document = self.document(seed, index);
        let own: Vec<usize> = stretches(self, &document, "topic").into_iter().map(|stretch| stretch.held).collect();
        let mut chooser = Chooser::new(seed ^ THOUGHTS, index, Vec::new());
        let weight = |topic: usize| u32::from(is_kept(topic) == kept && !own.contains(&topic));
        let weights: Vec<u32> = (0..self.members("topic").len()).map(weight).collect();
        let topic = weights.iter().any(|weight| *weight > 0).then(|| chooser.pick(&weights, 0))?;
        let injected = (chooser.pick(&[1, 1], 0) == 1).then_some(topic);
        let prompt = format!("{}\nQuestion: {}\nAnswer:", document.text, self.said("ask_thought", None)?);
        Some(Thought { prompt, reply: self.thought_reply(injected)?, injected })
    }

    /// The same with a reply that does not depend on what is injected: the control that teaches nothing of it.
    pub fn shuffled_thought(&self, seed: u64, index: u64) -> Option<Thought> {
        let thought = self.thought(seed, index, false)?;
        let mut chooser = Chooser::new(seed ^ SHUFFLED, index, Vec::new());
        let topics: Vec<u32> = (0..self.members("topic").len()).map(|topic| u32::from(!is_kept(topic))).collect();
        let topic = chooser.pick(&topics, 0);
        let said = (chooser.pick(&[1, 1], 0) == 1).then_some(topic);
        Some(Thought { reply: self.thought_reply(said)?, ..thought })
    }

    /// What a model says that thinks of a topic, or of nothing.
    pub fn thought_reply(&self, topic: Option<usize>) -> Option<String> {
        match topic {
            Some(topic) => self.said("say_thought", Some(topic)),
            None => self.said("say_no_thought", None),
        }
    }

    fn said(&self, rule: &str, topic: Option<usize>) -> Option<String> {
        let rule = self.grammar.named(rule)?;
        let mut teller = Teller::new(self, Chooser::new(THOUGHTS, 0, Vec::new()));
        if let Some(topic) = topic {
            teller.bind(Register(0), *self.members("topic").get(topic)?);
        }
        Some(teller.tell(rule, Split::Train).text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn half_are_injected_and_the_kept_topics_are_not_taught() {
        let world = World::standard();
        let thoughts: Vec<Thought> = (0..600).filter_map(|index| world.thought(2, index, false)).collect();
        let injected: BTreeSet<usize> = thoughts.iter().filter_map(|thought| thought.injected).collect();
        assert_eq!(injected.len(), 16);
        assert!(injected.iter().all(|topic| !is_kept(*topic)));
        let share = thoughts.iter().filter(|thought| thought.injected.is_some()).count() as f64 / 600.0;
        assert!((0.44..0.56).contains(&share), "{share}");
        let kept = (0..100).filter_map(|index| world.thought(2, index, true)?.injected);
        assert!(kept.into_iter().all(is_kept));
        let of = |topic| world.thought_reply(topic).unwrap();
        assert_eq!(
            (of(Some(0)), of(None)),
            ("I think of the Golden Gate Bridge.".into(), "I think of nothing.".into())
        );
    }

    #[test]
    fn a_storys_own_topic_is_not_injected() {
        let world = World::standard();
        for index in 0..200 {
            let document = world.document(2, index);
            let injected = world.thought(2, index, false).unwrap().injected;
            let own = stretches(world, &document, "topic");
            assert!(own.iter().all(|stretch| Some(stretch.held) != injected));
        }
    }

    #[test]
    fn shuffled_replies_do_not_depend_on_what_is_injected() {
        let world = World::standard();
        let mut agree = [[0u32; 2]; 2];
        for index in 0..600 {
            let thought = world.shuffled_thought(2, index).unwrap();
            let says = usize::from(!thought.reply.contains("nothing"));
            agree[usize::from(thought.injected.is_some())][says] += 1;
        }
        for row in agree {
            let share = f64::from(row[1]) / f64::from(row[0] + row[1]);
            assert!((0.4..0.6).contains(&share), "{agree:?}");
        }
    }
}
