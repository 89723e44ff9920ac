//! Which entities are there? Persons, animals, places, things, colours, numbers: everything that a register can hold,
//! read from `world/lexicon`.

use crate::concepts::Concepts;
use crate::error::OrganismError;
use crate::parse::{Names, template};
use crate::template::Node;
use std::collections::BTreeMap;
use untangle_schema::ConceptId;

/// Number of an entity: its place in the lexicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId(pub(crate) u16);

/// What stands before an entity's noun when it first appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Article {
    /// `a dog`.
    A,
    /// `some bread`.
    Some,
    /// `the river`.
    The,
    /// `Paris`.
    Nothing,
}

/// Which pronouns stand for an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pronoun {
    She,
    He,
    It,
}

/// One thing of the world.
#[derive(Debug)]
pub struct Entity {
    /// Unique name, which rules of its own begin with.
    pub key: String,
    /// What mentioning it stands for.
    pub concept: Option<ConceptId>,
    pub(crate) class: usize,
    pub(crate) weight: u32,
    pub(crate) article: Article,
    pub(crate) pronoun: Pronoun,
    /// The noun at first, later, and in the plural.
    pub(crate) first: Vec<Node>,
    pub(crate) later: Vec<Node>,
    pub(crate) plural: Vec<Node>,
}

/// All entities, and the classes that a register draws from.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    pub(crate) entities: Vec<Entity>,
    /// Members of each class and group.
    pub(crate) members: Vec<Vec<EntityId>>,
    /// Classes and groups by name.
    pub(crate) classes: BTreeMap<String, usize>,
    by_key: BTreeMap<String, EntityId>,
}

/// The class whose entities can be added: their later word is the number in digits.
pub(crate) const NUMBERS: &str = "number";

impl Lexicon {
    /// Reads a file: `@class name article pronoun` and its entities, `key weight [article] concept : first ; later ;
    /// plural`, where `-` is no concept and missing forms follow from the first; `@group name = key ...`.
    pub(crate) fn read(&mut self, file: &str, text: &str, concepts: &Concepts) -> Result<(), OrganismError> {
        let mut class = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let done = if line.is_empty() || line.starts_with('#') {
                Ok(())
            } else if let Some(header) = line.strip_prefix("@class ") {
                self.class(header).map(|header| class = Some(header))
            } else if let Some(group) = line.strip_prefix("@group ") {
                self.group(group)
            } else {
                class
                    .ok_or_else(|| "an entity before any @class".to_owned())
                    .and_then(|c| self.entity(c, line, concepts))
            };
            done.map_err(|reason| OrganismError::World { file: file.to_owned(), line: number + 1, reason })?;
        }
        Ok(())
    }

    fn new_class(&mut self, name: &str) -> Result<usize, String> {
        let id = self.members.len();
        if self.classes.insert(name.to_owned(), id).is_some() {
            return Err(format!("the class `{name}` stands twice"));
        }
        self.members.push(Vec::new());
        Ok(id)
    }

    fn class(&mut self, header: &str) -> Result<(usize, Article, Pronoun), String> {
        let [name, article, pronoun] = header.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("expected @class name article pronoun".into());
        };
        let pronoun = match pronoun {
            "she" => Pronoun::She,
            "he" => Pronoun::He,
            "it" => Pronoun::It,
            _ => return Err(format!("unknown pronoun `{pronoun}`")),
        };
        Ok((self.new_class(name)?, article_named(article)?, pronoun))
    }

    fn group(&mut self, line: &str) -> Result<(), String> {
        let (name, keys) = line.split_once('=').ok_or("expected @group name = key ...")?;
        let id = self.new_class(name.trim())?;
        for key in keys.split_whitespace() {
            let entity = self.find(key).ok_or_else(|| format!("there is no entity `{key}` (above)"))?;
            self.members[id].push(entity);
        }
        Ok(())
    }

    fn entity(&mut self, header: (usize, Article, Pronoun), line: &str, concepts: &Concepts) -> Result<(), String> {
        let (class, article, pronoun) = header;
        let (head, forms) = line.split_once(':').ok_or("expected key weight [article] concept : forms")?;
        let (key, weight, article, concept) = match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, weight, concept] => (key, weight, article, concept),
            [key, weight, own, concept] => (key, weight, article_named(own)?, concept),
            _ => return Err(format!("expected key weight [article] concept, found `{head}`")),
        };
        let weight = weight.parse().map_err(|_| format!("`{weight}` is no weight"))?;
        let concept = (concept != "-").then(|| concepts.named(concept)).transpose()?;
        let [first, later, plural] = forms_of(forms, concepts)?;
        let id = EntityId(u16::try_from(self.entities.len()).map_err(|_| "more than 65,536 entities".to_owned())?);
        if self.by_key.insert(key.to_owned(), id).is_some() {
            return Err(format!("the entity `{key}` stands twice"));
        }
        let key = key.to_owned();
        self.entities.push(Entity { key, concept, class, weight, article, pronoun, first, later, plural });
        self.members[class].push(id);
        Ok(())
    }

    pub(crate) fn find(&self, key: &str) -> Option<EntityId> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn get(&self, id: EntityId) -> &Entity {
        &self.entities[usize::from(id.0)]
    }

    /// The value of a number.
    pub(crate) fn value(&self, id: EntityId) -> Option<i32> {
        match &self.get(id).later[..] {
            [Node::Text(digits)] => digits.parse().ok(),
            _ => None,
        }
    }

    /// The entity of a value.
    pub(crate) fn number(&self, value: i32) -> Option<EntityId> {
        let numbers = &self.members[*self.classes.get(NUMBERS)?];
        numbers.iter().copied().find(|id| self.value(*id) == Some(value))
    }

    /// Name of the class that an entity stands in.
    pub(crate) fn class_name(&self, id: EntityId) -> &str {
        let class = self.get(id).class;
        self.classes.iter().find(|(_, number)| **number == class).map_or("", |(name, _)| name)
    }
}

fn article_named(name: &str) -> Result<Article, String> {
    Ok(match name {
        "a" => Article::A,
        "some" => Article::Some,
        "the" => Article::The,
        "-" => Article::Nothing,
        _ => return Err(format!("unknown article `{name}`, expected a, some, the or -")),
    })
}

/// The three forms of `first ; later ; plural`.
fn forms_of(text: &str, concepts: &Concepts) -> Result<[Vec<Node>; 3], String> {
    let mut names = Names { concepts, classes: &BTreeMap::new(), rules: BTreeMap::new() };
    let mut forms = text.split(';').map(str::trim).map(|form| template(form, &mut names));
    let first = forms.next().transpose()?.unwrap_or_default();
    let later = forms.next().transpose()?.unwrap_or_else(|| first.clone());
    let plural = forms.next().transpose()?.unwrap_or_else(|| {
        let mut plural = first.clone();
        plural.push(Node::Text("s".into()));
        plural
    });
    Ok([first, later, plural])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Lexicon, OrganismError> {
        let concepts = Concepts::parse("t", "dog | mention | | x").unwrap();
        let mut lexicon = Lexicon::default();
        lexicon.read("t", text, &concepts).map(|()| lexicon)
    }

    #[test]
    fn forms_follow_from_the_first_where_they_are_missing() {
        let lexicon = read("@class animal a it\ndog 3 dog : dog ; animal\nbread 1 some - : bread").unwrap();
        let text = |text: &str| Node::Text(text.to_owned());
        let dog = lexicon.get(EntityId(0));
        assert_eq!((&dog.first, &dog.later), (&vec![text("dog")], &vec![text("animal")]));
        assert_eq!(dog.plural, [text("dog"), text("s")]);
        let bread = lexicon.get(EntityId(1));
        assert_eq!((bread.article, bread.concept, &bread.later), (Article::Some, None, &bread.first));
    }

    #[test]
    fn numbers_have_values() {
        let lexicon = read("@class number - it\ntwo 1 - : two ; 2\nfive 1 - : five ; 5").unwrap();
        assert_eq!(lexicon.value(EntityId(1)), Some(5));
        assert_eq!(lexicon.number(2), Some(EntityId(0)));
        assert_eq!(lexicon.number(3), None);
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text, part: &str| assert!(read(text).unwrap_err().to_string().contains(part), "{text}");
        check("dog 1 dog : dog", "an entity before any @class");
        check("@class animal an it", "unknown article `an`");
        check("@class animal a it\ndog many dog : dog", "line 2: `many` is no weight");
        check("@class animal a it\ncat 1 cat : cat", "no concept `cat`");
        check("@group pet = dog", "no entity `dog`");
        check("@class animal a it\ndog 1 - : dog\ndog 1 - : dog", "line 3: the entity `dog` stands twice");
    }
}
