//! What a template is made of: the nodes that the teller walks.

use crate::relation::Relation;
use crate::verbs::Tense;
use untangle_schema::ConceptId;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Text as it stands.
    Text(String),
    /// `{a}`: the indefinite article.
    Article,
    /// `^`: from here on the enclosing range can be told.
    Decided,
    /// `{cap}`: a sentence begins.
    Capital,
    /// `{raw}` and `{/raw}`: characters are taken as they come, or no longer.
    Raw(bool),
    /// `{past}` and `{present}`: tense of the narration.
    Tense(Tense),
    /// `{name}`: the rule of this number.
    Rule(usize),
    /// `(x|3:y)`: one of these, by weight.
    Choice(Vec<Alternative>),
    /// `<concept:...>`: a range that stands for a concept; `<concept?:...>` if only later text tells.
    Range { concept: ConceptId, decidable: bool, body: Vec<Node> },
    /// `{X=class}`: the register gets an entity of the class that no other register holds.
    Bind { register: Register, class: usize },
    /// `{X=O.class}`: the same of the group `entity.class` of what O holds, or of the class where the entity has none.
    BindOf { register: Register, owner: Register, class: String },
    /// `{hold O class}`: the register gets an entity of the class, and the text is under it to its end.
    Hold { register: Register, class: usize },
    /// `{drift O 13}`: with one chance to 13, what the register holds ends here and another of its class begins.
    Drift { register: Register, stays: u32 },
    /// `{Z=X+Y}`, `{Z=X-Y}`: the register gets the number; `{Z!=X+Y}`: a wrong number near it.
    Sum { result: Register, left: Register, right: Register, minus: bool, wrong: bool },
    /// `{X}`, `{X:form}`: a noun phrase for the register's entity; `{X:form?}` if only later text tells its concept.
    Refer { register: Register, form: NounForm, decidable: bool },
    /// `{X+Y}`: two persons, by their names or `they`; `{X+Y:they}`: `they` wherever it is clear.
    Pair { first: Register, second: Register, always_pronoun: bool },
    /// `{X.attribute}`: the rule `entity.attribute`, or `class.attribute` where the entity has none.
    Attribute { register: Register, attribute: String },
    /// `~verb`, `~verb+`: the verb in the narration's tense, singular or plural.
    Verb { base: String, plural: bool },
    /// `{!relation X Y}`: what the story says here holds.
    Fact { relation: Relation, arguments: Vec<Register> },
    /// `{role X concept}`: from here on every mention of the person stands for the concept too.
    Role { register: Register, concept: ConceptId },
    /// `{swap X Y}`: the registers change their entities.
    Swap(Register, Register),
}

/// An option of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alternative {
    pub(crate) weight: u32,
    /// Taken at most once in a document.
    pub(crate) once: bool,
    pub(crate) body: Vec<Node>,
}

/// A place that holds an entity: `A` to `Z`, or the nameless one of `{class:form}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(pub(crate) u8);

impl Register {
    pub(crate) const COUNT: usize = 27;
    pub(crate) const NAMELESS: Register = Register(26);

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(Self(letter - b'A')),
            _ => None,
        }
    }
}

/// Form of a noun phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NounForm {
    /// Name or definite noun phrase, or the pronoun where it is clear: a choice.
    Auto,
    /// `he`: the pronoun where it is clear, else the name.
    Subject,
    /// `him`.
    Object,
    /// `his`.
    Possessive,
    /// `himself`.
    Reflexive,
    /// `name`.
    Name,
    /// `a`: a dog, some bread, the river, Paris.
    Indefinite,
    /// `the`: the dog, in one of its later words.
    Definite,
    /// `n`: the first word alone.
    Noun,
    /// `later`: a later word alone; digits of a number.
    Later,
    /// `pl`: the plural alone.
    Plural,
}

impl NounForm {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "" => NounForm::Auto,
            "he" | "it" => NounForm::Subject,
            "him" => NounForm::Object,
            "his" | "its" => NounForm::Possessive,
            "self" => NounForm::Reflexive,
            "name" => NounForm::Name,
            "a" => NounForm::Indefinite,
            "the" => NounForm::Definite,
            "n" => NounForm::Noun,
            "later" => NounForm::Later,
            "pl" => NounForm::Plural,
            _ => return None,
        })
    }
}
