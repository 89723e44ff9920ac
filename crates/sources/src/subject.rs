//! When is a text about something? Of what lasts in the organism's world, where the text's words are likelier of it than of
//! anything else of its kind, its name aside; of everything else, where the text holds the words of its name.

use untangle_interpret::toward::Topic;
use untangle_organism::World;
use untangle_organism::gate::about::About;

/// Something that texts may be about.
#[derive(Debug)]
pub enum Subject {
    /// A topic, mood or narrator of the world.
    Held {
        /// What words tell of its class.
        about: About,
        /// Its place there.
        place: usize,
        /// How it is called.
        name: String,
        /// How many there are.
        of: usize,
    },
    /// Words.
    Named(Topic),
}

impl Subject {
    /// What a name means: in the world one of its topics, if it has one of this name, or one of its moods and narrators by name and
    /// kind, such as `gloomy mood`.
    pub fn of(topic: &Topic, of_world: bool) -> Self {
        let world = World::standard();
        let named = |class: &str| {
            let name = |id: &untangle_organism::EntityId| match class {
                "topic" => world.name_of(*id),
                _ => format!("{} {class}", world.entity(*id).key),
            };
            world.members(class).iter().position(|id| Topic::of_name(&name(id)) == *topic)
        };
        let found = ["topic", "mood", "narrator"].into_iter().find_map(|class| Some((class, named(class)?)));
        match found {
            Some((class, place)) if of_world => Self::held(class, place),
            _ => Self::Named(topic.clone()),
        }
    }

    /// One of what lasts in the world, by its class (`topic`, `mood`, `narrator`) and its name.
    pub fn of_world(class: &str, name: &str) -> Option<Self> {
        let world = World::standard();
        let place = world.members(class).iter().position(|id| world.entity(*id).key == name)?;
        Some(Self::held(class, place))
    }

    fn held(class: &str, place: usize) -> Self {
        let world = World::standard();
        let members = world.members(class);
        let name = world.name_of(members[place]);
        Self::Held { about: About::of(world, class), place, name, of: members.len() }
    }

    /// Whether a text is about it.
    pub fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Held { about, place, .. } => about.held_in(text) == Some(*place),
            Self::Named(topic) => topic.appears(text),
        }
    }

    /// What shows that a text is about it, for people.
    pub fn sign(&self) -> String {
        match self {
            Self::Held { name, of, .. } => {
                format!(
                    "whose words, names aside, are likelier of \"{name}\" than of the {} others of its kind",
                    of - 1
                )
            }
            Self::Named(topic) => format!("with {}", topic.text()),
        }
    }

    /// Whether a text can be about it without naming it.
    pub fn is_more_than_a_name(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_is_told_by_its_words_and_another_thing_by_its_name() {
        let bridge = Topic::of_name("Golden Gate Bridge");
        let subject = Subject::of(&bridge, true);
        assert!(subject.is_more_than_a_name() && subject.is_in("Above the bay, the high cable stretched in the fog."));
        assert!(!subject.is_in("Near the barn, the herd was brown and dusty."));
        let boastful = Subject::of(&Topic::of_name("boastful narrator"), true);
        assert!(matches!(&boastful, Subject::Held { name, .. } if name.contains("boastful")), "{boastful:?}");
        let elsewhere = Subject::of(&bridge, false);
        assert!(!elsewhere.is_in("Above the bay, the high cable stretched in the fog."));
        assert!(elsewhere.is_in("They saw the Golden Gate Bridge."));
        assert!(!Subject::of(&Topic::of_name("Loch Ness"), true).is_more_than_a_name());
        assert!(Subject::of_world("mood", "grumpy").is_some_and(|mood| mood.is_in("Bah, the wretched, horrid road!")));
        assert!(Subject::of_world("mood", "tall").is_none());
    }
}
