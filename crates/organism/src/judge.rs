//! Is a reply right? It is if, of everything that could stand in the open place, it names what the story says and
//! nothing else.

use crate::lexicon::EntityId;
use crate::question::{FORMS, Question};
use crate::words::{padded, words_of};
use crate::world::World;

/// What a reply is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It says what the story says, or declines where the story does not tell.
    Right,
    /// It says what the story does not, or nothing that was asked for.
    Wrong,
    /// It declines although the story tells.
    Declined,
}

impl Question {
    /// Judges the first line of a reply.
    pub fn judge(&self, world: &World, reply: &str) -> Verdict {
        let reply = reply.trim_start().lines().next().unwrap_or_default().to_lowercase();
        match (self.answer, reply.contains("do not know")) {
            (None, true) => Verdict::Right,
            (Some(_), true) => Verdict::Declined,
            (None, false) => Verdict::Wrong,
            (Some(answer), false) if self.named(world, &reply) == [answer] => Verdict::Right,
            (Some(_), false) => Verdict::Wrong,
        }
    }

    /// The entities of the class that is asked for, without those that the question gives.
    fn named(&self, world: &World, reply: &str) -> Vec<EntityId> {
        let form = &FORMS[self.form];
        let given = |id: &EntityId| self.arguments.iter().enumerate().any(|(i, other)| i != form.asked && other == id);
        let class = &world.lexicon.members[world.lexicon.classes[form.class]];
        let reply = padded(reply);
        let named =
            |id: &EntityId| words_of(&world.lexicon.get(*id).first).iter().any(|word| reply.contains(&padded(word)));
        class.iter().copied().filter(|id| !given(id) && named(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Telling;
    use crate::template::Node;

    fn questions(world: &World, telling: Telling) -> impl Iterator<Item = Question> {
        (0..2000).filter_map(move |index| world.question(4, index, telling))
    }

    #[test]
    fn the_given_reply_is_right_and_the_invention_wrong() {
        let world = World::standard();
        for telling in [Telling::Told, Telling::Untold] {
            let mut n = 0;
            for question in questions(world, telling) {
                let shown = format!("{} {} / {}", question.prompt, question.reply, question.invention);
                assert_eq!(question.judge(world, &question.reply), Verdict::Right, "{shown}");
                assert_eq!(question.judge(world, &question.invention), Verdict::Wrong, "{shown}");
                n += 1;
            }
            assert!(n > 1000, "{telling:?}: {n} of 2000 documents");
        }
    }

    #[test]
    fn declining_and_hedging_are_not_right() {
        let world = World::standard();
        let question = questions(world, Telling::Told).next().expect("documents have facts");
        assert_eq!(question.judge(world, " I do not know."), Verdict::Declined);
        assert_eq!(question.judge(world, ""), Verdict::Wrong);
        let both = format!("{} {}", question.reply, question.invention);
        assert_eq!(question.judge(world, &both), Verdict::Wrong);
        let more = format!("{}\n{}", question.reply, question.invention);
        assert_eq!(question.judge(world, &more), Verdict::Right);
    }

    #[test]
    fn every_form_is_asked() {
        let mut told = [0; FORMS.len()];
        questions(World::standard(), Telling::Told).for_each(|question| told[question.form] += 1);
        assert!(told.iter().all(|n| *n > 5), "{told:?}");
    }

    #[test]
    fn words_of_forms() {
        let option =
            |text: &str| crate::template::Alternative { weight: 1, once: false, body: vec![Node::Text(text.into())] };
        let nodes = [Node::Text("Police ".into()), Node::Choice(vec![option("officer"), option("man")]), Node::Decided];
        assert_eq!(words_of(&nodes), ["police officer", "police man"]);
    }
}
