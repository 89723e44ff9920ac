//! The world: its concepts, its lexicon and its grammar, from which documents follow.

use crate::concepts::Concepts;
use crate::error::OrganismError;
use crate::grammar::Grammar;
use crate::lexicon::{Entity, EntityId, Lexicon};
use crate::words::words_of;
use std::sync::LazyLock;

/// A seeded source of unlimited documents.
///
/// ```
/// use untangle_organism::World;
///
/// let world = World::standard();
/// let document = world.document(0, 7); // the same in every run
/// for annotation in &document.annotations {
///     let concept = &world.concepts().all()[usize::from(annotation.concept.0)];
///     let words = &document.text[annotation.start as usize..annotation.end as usize];
///     println!("{}: {words}", concept.name);
/// }
/// assert!(!document.annotations.is_empty());
/// ```
#[derive(Debug)]
pub struct World {
    pub(crate) concepts: Concepts,
    pub(crate) lexicon: Lexicon,
    pub(crate) grammar: Grammar,
    /// The rule of a whole document.
    pub(crate) document: usize,
}

/// The files that describe a world, as pairs of name and text.
pub(crate) struct WorldFiles<'a> {
    pub(crate) concepts: (&'a str, &'a str),
    pub(crate) lexicon: &'a [(&'a str, &'a str)],
    pub(crate) grammar: &'a [(&'a str, &'a str)],
}

macro_rules! files {
    ($folder:literal: $($path:literal),* $(,)?) => { [$(($path, include_str!(concat!("../", $folder, "/", $path)))),*] };
}

/// The world that is bundled.
const STANDARD: WorldFiles<'_> = WorldFiles {
    concepts: ("concepts.txt", include_str!("../world/concepts.txt")),
    lexicon: &files![
        "world": "lexicon/people.txt",
        "lexicon/places.txt",
        "lexicon/nature.txt",
        "lexicon/things.txt",
        "lexicon/lasting.txt",
    ],
    grammar: &files![
        "world": "grammar/document.txt",
        "grammar/frames.txt",
        "grammar/topics.txt",
        "grammar/moods.txt",
        "grammar/narrators.txt",
        "grammar/entities.txt",
        "grammar/days.txt",
        "grammar/animals.txt",
        "grammar/things.txt",
        "grammar/people.txt",
        "grammar/talk.txt",
        "grammar/numbers.txt",
        "grammar/senses.txt",
        "grammar/thoughts.txt",
        "grammar/letters.txt",
        "grammar/french.txt",
        "grammar/code.txt",
        "grammar/questions.txt",
    ],
};

impl World {
    /// The bundled world, whose documents have a topic, a mood and a narrator that last.
    pub fn standard() -> &'static World {
        static WORLD: LazyLock<World> = LazyLock::new(|| {
            World::parse(&STANDARD).unwrap_or_else(|error| panic!("the bundled world is damaged: {error}"))
        });
        &WORLD
    }

    pub(crate) fn parse(files: &WorldFiles<'_>) -> Result<Self, OrganismError> {
        let concepts = Concepts::parse(files.concepts.0, files.concepts.1)?;
        let mut lexicon = Lexicon::default();
        for (file, text) in files.lexicon {
            lexicon.read(file, text, &concepts)?;
        }
        let grammar = Grammar::parse(files.grammar, &concepts, &lexicon)?;
        let rule = |name: &str| {
            let (file, reason) = ("world/grammar".into(), format!("there is no rule `{name}`"));
            grammar.named(name).ok_or(OrganismError::World { file, line: 0, reason })
        };
        rule("say_unknown")?;
        let document = rule("document")?;
        Ok(Self { concepts, lexicon, grammar, document })
    }

    /// The entities of a class, in their order; none where the world has no such class.
    pub fn members(&self, class: &str) -> &[EntityId] {
        self.lexicon.classes.get(class).map_or(&[], |class| &self.lexicon.members[*class])
    }

    /// The words that an entity is called by at first, as one text.
    pub fn name_of(&self, id: EntityId) -> String {
        words_of(&self.lexicon.get(id).first).join(" ")
    }

    /// The table of concepts.
    pub fn concepts(&self) -> &Concepts {
        &self.concepts
    }

    /// The entity that a fact speaks of.
    pub fn entity(&self, id: EntityId) -> &Entity {
        self.lexicon.get(id)
    }
}
