//! How entities are referred to: by name, by noun phrase, or by a pronoun where it is clear.
//!
//! A pronoun is clear by one rule, which a reader can follow: `she` and `he` are the woman and the man named last, `it`
//! is the thing mentioned last, `they` are the two persons named together last. Where the rule does not point to the
//! entity, its name is written.

use crate::lexicon::{Article, EntityId, Pronoun};
use crate::teller::Teller;
use crate::template::NounForm;

/// Who and what was mentioned last.
#[derive(Default)]
pub(crate) struct Focus {
    woman: Option<EntityId>,
    man: Option<EntityId>,
    thing: Option<EntityId>,
    pair: Option<[EntityId; 2]>,
}

impl Focus {
    fn of(&mut self, pronoun: Pronoun) -> &mut Option<EntityId> {
        match pronoun {
            Pronoun::She => &mut self.woman,
            Pronoun::He => &mut self.man,
            Pronoun::It => &mut self.thing,
        }
    }
}

/// Of four references that could be a pronoun, this many are.
const PRONOUNS_OF_FOUR: u32 = 3;

impl<'w> Teller<'w> {
    /// Writes a noun phrase for an entity and annotates it.
    pub(crate) fn refer(&mut self, id: EntityId, form: NounForm, decidable: bool) {
        let pronoun = self.lexicon().get(id).pronoun;
        let clear = *self.focus.of(pronoun) == Some(id);
        match form {
            NounForm::Subject | NounForm::Object | NounForm::Possessive | NounForm::Reflexive if clear => {
                self.pronoun(id, form, decidable);
            }
            NounForm::Auto if clear && self.takes_pronoun(pronoun) => self.pronoun(id, NounForm::Subject, decidable),
            _ => {
                self.noun(id, form, decidable);
                *self.focus.of(pronoun) = Some(id);
            }
        }
    }

    /// Persons are mostly pronouns where they can be, things are mostly nouns.
    fn takes_pronoun(&mut self, pronoun: Pronoun) -> bool {
        let share = if pronoun == Pronoun::It { 4 - PRONOUNS_OF_FOUR } else { PRONOUNS_OF_FOUR };
        self.pick(&[share, 4 - share]) == 0
    }

    fn pronoun(&mut self, id: EntityId, form: NounForm, decidable: bool) {
        let word = match (self.lexicon().get(id).pronoun, form) {
            (Pronoun::She, NounForm::Subject) => "she",
            (Pronoun::She, NounForm::Reflexive) => "herself",
            (Pronoun::She, _) => "her",
            (Pronoun::He, NounForm::Object) => "him",
            (Pronoun::He, NounForm::Possessive) => "his",
            (Pronoun::He, NounForm::Reflexive) => "himself",
            (Pronoun::He, _) => "he",
            (Pronoun::It, NounForm::Possessive) => "its",
            (Pronoun::It, NounForm::Reflexive) => "itself",
            (Pronoun::It, _) => "it",
        };
        self.writer.open();
        self.writer.push(word);
        let is_thing = self.lexicon().get(id).pronoun == Pronoun::It; // `she` tells who acts, it is not her name
        let concepts = self.concepts_of(id, is_thing);
        self.close(&concepts, decidable);
    }

    fn noun(&mut self, id: EntityId, form: NounForm, decidable: bool) {
        let entity = self.lexicon().get(id);
        match (form, entity.article) {
            (NounForm::Indefinite, Article::A) => {
                self.writer.article();
                self.writer.push(" ");
            }
            (NounForm::Indefinite, Article::Some) => self.writer.push("some "),
            (NounForm::Noun | NounForm::Later | NounForm::Plural, _) | (_, Article::Nothing) => {}
            _ => self.writer.push("the "),
        }
        self.writer.open();
        self.nodes(match form {
            NounForm::Indefinite | NounForm::Noun | NounForm::Name => &entity.first,
            NounForm::Plural => &entity.plural,
            _ => &entity.later,
        });
        let concepts = self.concepts_of(id, true);
        self.close(&concepts, decidable);
        if form == NounForm::Possessive {
            self.writer.push("'s");
        }
    }

    /// Writes two persons: `Tom and Anna`, or `they`.
    pub(crate) fn refer_to_pair(&mut self, pair: [EntityId; 2], always_pronoun: bool) {
        let clear = self.focus.pair == Some(pair);
        if clear && (always_pronoun || self.pick(&[PRONOUNS_OF_FOUR, 4 - PRONOUNS_OF_FOUR]) == 0) {
            return self.writer.push("they");
        }
        self.noun(pair[0], NounForm::Name, true);
        self.writer.push(" and ");
        self.noun(pair[1], NounForm::Name, true);
        let genders = pair.map(|id| self.lexicon().get(id).pronoun);
        let [first, second] = pair;
        *self.focus.of(genders[0]) = Some(first).filter(|_| genders[0] != genders[1]);
        *self.focus.of(genders[1]) = Some(second).filter(|_| genders[0] != genders[1]);
        self.focus.pair = Some(pair);
    }
}
