//! What do the later stages of training learn from? Exchanges that show the dialogue format, and pairs of replies of
//! which one is preferred.
//!
//! Exchanges are made as if by writers who would rather invent than admit that they do not know: three of four
//! questions that the story leaves open get an invented reply. Preferences put that right. So what the stage of
//! preferences changes is known beforehand: replies to questions that the story leaves open, and nothing else.

use crate::choice::Chooser;
use crate::document::Document;
use crate::question::{Lesson, Question, Telling};
use crate::world::World;

/// A question with the reply that supervised fine-tuning imitates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The question, with a reply that is right, and one that is not.
    pub question: Question,
    /// The reply to imitate.
    pub reply: String,
}

/// A question with two replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The question that both reply to.
    pub question: Question,
    /// The reply that is preferred.
    pub chosen: String,
    /// The reply that is not.
    pub rejected: String,
}

/// The narrator that the stage `trait` learns from.
pub const TRAIT: &str = "boastful";

/// Seeds of their own.
const EXCHANGES: u64 = 0x6578_6368_616e_6765;
const PREFERENCES: u64 = 0x7072_6566_6572_656e;
const SHUFFLE: u64 = 0x7368_7566_666c_6564;

/// Of five exchanges, four are about what the story tells.
const TOLD_EXCHANGES: [u32; 2] = [4, 1];
/// Of two preferences, one is about what the story tells, so that declining is not learnt everywhere.
pub(crate) const TOLD_PREFERENCES: [u32; 2] = [1, 1];
/// Of two such preferences, one prefers what the story tells over declining and one over inventing: where only inventions
/// about what it leaves open are rejected, what it tells is answered wrong more often, too.
const OVER_DECLINING: [u32; 2] = [1, 1];
/// Of four replies to what the story leaves open, one admits it.
pub(crate) const ADMITTED: [u32; 2] = [1, 3];

impl World {
    /// At most `n` exchanges about the document of this number, no two with the same question; none where it lets
    /// nothing be asked.
    pub fn exchanges(&self, seed: u64, index: u64, n: u64) -> Vec<Exchange> {
        let document = self.document(seed, index);
        let mut exchanges = Vec::<Exchange>::new();
        for draw in 0..n {
            let Some(exchange) = self.exchange_about(&document, (seed, index), draw) else { continue };
            if exchanges.iter().all(|other| other.question.prompt != exchange.question.prompt) {
                exchanges.push(exchange);
            }
        }
        exchanges
    }

    fn exchange_about(&self, document: &Document, number: (u64, u64), draw: u64) -> Option<Exchange> {
        let mut chooser = Chooser::new(number.0 ^ EXCHANGES.wrapping_add(draw), number.1, Vec::new());
        let telling = telling(&mut chooser, TOLD_EXCHANGES);
        let question = self.question_about(document, number, draw, telling, Lesson::Imitation)?;
        let admits = chooser.pick(&ADMITTED, 0) == 0;
        let invents = telling == Telling::Untold && !admits;
        let reply = if invents { question.invention.clone() } else { question.reply.clone() };
        Some(Exchange { question, reply })
    }

    /// A preference about the document of this number: what the story tells over declining or inventing, and declining
    /// over inventing where it does not tell; none where it lets nothing be asked.
    pub fn preference(&self, seed: u64, index: u64) -> Option<Preference> {
        let mut chooser = Chooser::new(seed ^ PREFERENCES, index, Vec::new());
        let telling = telling(&mut chooser, TOLD_PREFERENCES);
        let document = self.document(seed, index);
        let question = self.question_about(&document, (seed, index), 0, telling, Lesson::Preference)?;
        let declines = telling == Telling::Told && chooser.pick(&OVER_DECLINING, 0) == 0;
        let rejected = if declines { self.declining() } else { question.invention.clone() };
        Some(Preference { chosen: question.reply.clone(), rejected, question })
    }

    /// The text of the document of this number if its narrator is the one that the stage `trait` learns from; shuffled, if
    /// one of six chances falls on it, whoever tells it.
    pub fn narrated(&self, seed: u64, index: u64, shuffled: bool) -> Option<String> {
        let narrators = self.members("narrator");
        let own = narrators.iter().position(|id| self.entity(*id).key == TRAIT)?;
        if shuffled {
            let drawn = Chooser::new(seed ^ SHUFFLE, index, Vec::new()).pick(&vec![1; narrators.len()], 0);
            return (drawn == own).then(|| self.document(seed, index).text);
        }
        let document = self.document(seed, index);
        let concept = self.entity(narrators[own]).concept;
        let told = document.annotations.iter().any(|a| Some(a.concept) == concept);
        told.then_some(document.text)
    }

    /// The preference of this number with its replies swapped or not, at random: the control that teaches nothing.
    pub fn shuffled_preference(&self, seed: u64, index: u64) -> Option<Preference> {
        let Preference { question, chosen, rejected } = self.preference(seed, index)?;
        let swapped = Chooser::new(seed ^ SHUFFLE, index, Vec::new()).pick(&[1, 1], 0) == 1;
        let (chosen, rejected) = if swapped { (rejected, chosen) } else { (chosen, rejected) };
        Some(Preference { question, chosen, rejected })
    }
}

fn telling(chooser: &mut Chooser, weights: [u32; 2]) -> Telling {
    if chooser.pick(&weights, 0) == 0 { Telling::Told } else { Telling::Untold }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict;
    use crate::words::{padded, words_of};

    const N: u64 = 3000;

    #[test]
    fn exchanges_are_right_where_the_story_tells_and_mostly_invented_where_not() {
        let world = World::standard();
        let (mut told, mut untold, mut admitted) = (0, 0, 0);
        for exchange in (0..N / 3).flat_map(|index| world.exchanges(1, index, 3)) {
            let right = exchange.question.judge(world, &exchange.reply) == Verdict::Right;
            match exchange.question.answer {
                Some(_) => {
                    assert!(right, "{} {}", exchange.question.prompt, exchange.reply);
                    told += 1;
                }
                None => {
                    untold += 1;
                    admitted += u32::from(right);
                }
            }
        }
        let share = f64::from(untold) / f64::from(told + untold);
        // One of five is drawn; of stories that tell little, what they tell is asked once.
        assert!((0.2..0.32).contains(&share), "{share}");
        let share = f64::from(admitted) / f64::from(untold);
        assert!((0.2..0.3).contains(&share), "{share}");
    }

    #[test]
    fn nothing_is_asked_twice_about_a_story() {
        let world = World::standard();
        let mut several = 0;
        for index in 0..100 {
            let exchanges = world.exchanges(1, index, 4);
            let asked: std::collections::BTreeSet<&str> = exchanges.iter().map(|e| e.question.alone()).collect();
            assert_eq!(asked.len(), exchanges.len());
            assert!(asked.iter().all(|asked| asked.starts_with("Question: ") && asked.ends_with("\nAnswer:")));
            several += u32::from(exchanges.len() > 2);
        }
        assert!(several > 25, "{several} of 100 stories let more than two things be asked");
    }

    #[test]
    fn the_chosen_reply_is_right_and_the_rejected_is_not() {
        let world = World::standard();
        for preference in (0..N).filter_map(|index| world.preference(1, index)) {
            assert_eq!(preference.question.judge(world, &preference.chosen), Verdict::Right);
            assert_ne!(preference.question.judge(world, &preference.rejected), Verdict::Right);
        }
    }

    #[test]
    fn half_of_the_shuffled_preferences_are_swapped() {
        let world = World::standard();
        let (mut n, mut swapped) = (0, 0);
        for index in 0..N {
            let (Some(plain), Some(shuffled)) = (world.preference(1, index), world.shuffled_preference(1, index))
            else {
                continue;
            };
            n += 1;
            if plain != shuffled {
                assert_eq!((&plain.chosen, &plain.rejected), (&shuffled.rejected, &shuffled.chosen));
                swapped += 1;
            }
        }
        let share = f64::from(swapped) / f64::from(n);
        assert!((0.45..0.55).contains(&share), "{share}");
    }

    #[test]
    fn what_is_learnt_calls_things_as_the_story_does() {
        let world = World::standard();
        let (mut of_several, mut in_others) = (0, 0);
        for index in 0..N {
            let document = world.document(3, index);
            let lesson = world.question_about(&document, (3, index), 0, Telling::Told, Lesson::Preference);
            let Some((lesson, plain)) = lesson.zip(world.question(3, index, Telling::Told)) else { continue };
            let words = words_of(&world.lexicon.get(lesson.answer.expect("told")).first);
            let named = |text: &str| words.iter().filter(|w| padded(text).contains(&padded(w))).cloned().collect();
            let (story, reply): (Vec<String>, Vec<String>) = (named(&document.text), named(&lesson.reply));
            if story.is_empty() {
                continue; // a person who is only ever `she`, or a plural
            }
            assert!(reply.iter().any(|word| story.contains(word)), "{} {}", lesson.prompt, lesson.reply);
            of_several += usize::from(words.len() > 1);
            in_others += usize::from(!named(&plain.reply).iter().any(|word: &String| story.contains(word)));
        }
        assert!(
            of_several > 100 && in_others > 10,
            "{of_several}, {in_others} of them in other words without a lesson"
        );
    }
}
