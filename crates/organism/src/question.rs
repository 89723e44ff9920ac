//! What can be asked about a story? Questions with the answer that the story's facts give, or with none.
//!
//! A question leaves one argument of a fact open. The story answers it if its facts agree on that argument; it does not
//! tell if no fact fits and nothing of the kind is mentioned anywhere in it.

use crate::choice::Chooser;
use crate::document::{Document, Relation, Split};
use crate::lexicon::EntityId;
use crate::teller::Teller;
use crate::template::Register;
use crate::words::{padded, words_of};
use crate::world::World;

/// A question about a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The story, the question, and the word behind which the reply begins.
    pub prompt: String,
    /// What the story lets one say: a sentence, or that one does not know.
    pub reply: String,
    /// A reply of the same form that the story does not support.
    pub invention: String,
    /// The entity that is asked for; none where the story does not tell.
    pub answer: Option<EntityId>,
    pub(crate) form: usize,
    /// The arguments of the fact; the one that is asked for stands for any.
    pub(crate) arguments: Vec<EntityId>,
}

/// Whether the story answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It does.
    Told,
    /// It does not.
    Untold,
}

/// One way to ask about a relation.
pub(crate) struct Asking {
    name: &'static str,
    relation: Relation,
    /// Which argument is asked for.
    pub(crate) asked: usize,
    /// The class of what is asked for.
    pub(crate) class: &'static str,
    /// The concept whose absence means that the story does not tell; none where such questions are not asked.
    absent: Option<&'static str>,
}

const fn form(
    name: &'static str,
    relation: Relation,
    asked: usize,
    class: &'static str,
    absent: Option<&'static str>,
) -> Asking {
    Asking { name, relation, asked, class, absent }
}

pub(crate) const FORMS: [Asking; 11] = [
    form("has", Relation::Has, 0, "person", None),
    form("works", Relation::WorksAs, 1, "job", Some("job")),
    form("saw", Relation::Saw, 1, "animal", Some("animal")),
    form("ate", Relation::Ate, 1, "food", Some("food")),
    form("coloured", Relation::Coloured, 1, "colour", Some("colour")),
    form("giver", Relation::Gave, 0, "person", None),
    form("gift", Relation::Gave, 1, "thing", None),
    form("stole", Relation::Stole, 0, "person", Some("thief")),
    form("lied", Relation::Lied, 0, "person", None),
    form("counted", Relation::Counted, 1, "number", Some("number")),
    form("ends", Relation::EndsUp, 1, "feeling", None),
];

impl Asking {
    /// How often exchanges ask it beside another that a story lets be asked. These two are learnt last: asked as often as
    /// the others, a colour was right no more often than chance after 10 M tokens.
    fn practice(&self) -> u32 {
        if matches!(self.relation, Relation::Coloured | Relation::EndsUp) { 3 } else { 1 }
    }
}

/// What a question is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// None: it is only asked.
    No,
    /// Its reply is imitated: what needs practice is asked more often.
    Imitation,
    /// Its reply is preferred.
    Preference,
}

impl Question {
    /// The name of what is asked: `has`, `works`, `saw`, and so on.
    pub fn kind(&self) -> &'static str {
        FORMS[self.form].name
    }

    /// The prompt without the story.
    pub(crate) fn alone(&self) -> &str {
        let start = self.prompt.rfind(ASKS).map_or(0, |at| at + 1);
        &self.prompt[start..]
    }
}

/// So often a reply is drawn anew until it has the story's word; of three words, the rarest comes up by then.
const DRAWS_OF_A_REPLY: usize = 64;

/// What stands between a story and a question.
const ASKS: &str = "\nQuestion: ";

/// A seed of its own, so that a document's questions are not drawn like its text.
const QUESTIONS: u64 = 0x7175_6573_7469_6f6e;

impl World {
    /// A question about the document of this number; none where it lets nothing of this kind be asked.
    pub fn question(&self, seed: u64, index: u64, telling: Telling) -> Option<Question> {
        self.question_about(&self.document(seed, index), (seed, index), 0, telling, Lesson::No)
    }

    /// The question of a `draw`, from 0 on, about a document and its number. Draws may ask the same. In a
    /// lesson the reply uses the story's words.
    pub(crate) fn question_about(
        &self,
        document: &Document,
        (seed, index): (u64, u64),
        draw: u64,
        telling: Telling,
        lesson: Lesson,
    ) -> Option<Question> {
        let chooser = Chooser::new(seed ^ QUESTIONS.wrapping_add(draw), index, Vec::new());
        Asker { world: self, document, chooser, lesson }.question(telling)
    }

    /// The reply that one does not know.
    pub(crate) fn declining(&self) -> String {
        let rule = self.grammar.named("say_unknown").expect("the rule is checked when the world is read");
        let chooser = Chooser::new(QUESTIONS, 0, Vec::new());
        Teller::new(self, chooser).tell(rule, Split::Train).text
    }
}

struct Asker<'a> {
    world: &'a World,
    document: &'a Document,
    chooser: Chooser,
    lesson: Lesson,
}

impl Asker<'_> {
    fn question(mut self, telling: Telling) -> Option<Question> {
        let candidates = match telling {
            Telling::Told => self.told(),
            Telling::Untold => self.untold(),
        };
        let practice = self.lesson == Lesson::Imitation && telling == Telling::Told;
        let (form, arguments) = self.one_of(candidates, practice)?;
        let Asking { name, asked, .. } = FORMS[form];
        let mut invented = arguments.clone();
        invented[asked] = self.other_than(&arguments, form)?;
        let ask = self.sentence(&format!("ask_{name}"), &arguments)?;
        let invention = self.sentence(&format!("say_{name}"), &invented)?;
        let (answer, reply) = match telling {
            Telling::Told => (Some(arguments[asked]), self.reply(&format!("say_{name}"), &arguments, asked)?),
            Telling::Untold => (None, self.world.declining()),
        };
        let prompt = format!("{}{ASKS}{ask}\nAnswer:", self.document.text);
        Some(Question { prompt, reply, invention, answer, form, arguments })
    }

    /// Every form and fact whose open argument the story settles.
    fn told(&self) -> Vec<(usize, Vec<EntityId>)> {
        let mut found: Vec<(usize, Vec<EntityId>)> = Vec::new();
        for (number, form) in FORMS.iter().enumerate() {
            for fact in self.document.facts.iter().filter(|fact| fact.relation == form.relation) {
                let candidate = (number, fact.arguments.clone());
                let class = &self.world.lexicon.members[self.world.lexicon.classes[form.class]];
                if class.contains(&fact.arguments[form.asked]) && self.settles(form, &fact.arguments) {
                    found.push(candidate);
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Whether the facts leave only this one for the open argument. Possession passes on: there the last fact counts,
    /// and a loss ends it.
    fn settles(&self, form: &Asking, arguments: &[EntityId]) -> bool {
        let given =
            |other: &[EntityId]| (0..arguments.len()).all(|i| i == form.asked || other.get(i) == arguments.get(i));
        if form.relation == Relation::Has {
            let about = self.document.facts.iter().rev().find(|fact| {
                matches!(fact.relation, Relation::Has | Relation::Lost) && fact.arguments[1] == arguments[1]
            });
            return about.is_some_and(|fact| fact.relation == Relation::Has && fact.arguments == arguments);
        }
        let facts = self.document.facts.iter().filter(|fact| fact.relation == form.relation);
        facts.filter(|fact| given(&fact.arguments)).all(|fact| fact.arguments == arguments)
    }

    /// Every form that the story says nothing about, asked of the persons and things that are in it.
    fn untold(&self) -> Vec<(usize, Vec<EntityId>)> {
        let mut found = Vec::new();
        for (number, form) in FORMS.iter().enumerate() {
            if form.absent.is_none_or(|concept| self.mentions(concept)) {
                continue;
            }
            for given in self.entities_of(form) {
                let mut arguments = given;
                let any = self.world.lexicon.members[self.world.lexicon.classes[form.class]][0];
                arguments.insert(form.asked, any);
                found.push((number, arguments));
            }
        }
        found
    }

    /// What the given arguments of a form can be: persons of the story, or things that somebody in it has.
    fn entities_of(&self, form: &Asking) -> Vec<Vec<EntityId>> {
        let lexicon = &self.world.lexicon;
        let people = &lexicon.members[lexicon.classes["person"]];
        let mut found: Vec<EntityId> = self.document.facts.iter().flat_map(|fact| fact.arguments.clone()).collect();
        found.sort();
        found.dedup();
        let things = &lexicon.members[lexicon.classes["thing"]];
        let wanted = |of: &[EntityId]| found.iter().copied().filter(|id| of.contains(id)).collect::<Vec<_>>();
        match form.relation {
            Relation::Coloured | Relation::Stole => wanted(things).into_iter().map(|thing| vec![thing]).collect(),
            Relation::Counted => {
                let fruit = &lexicon.members[lexicon.classes["countable"]];
                wanted(people)
                    .into_iter()
                    .flat_map(|person| fruit.iter().map(move |fruit| vec![person, *fruit]))
                    .collect()
            }
            _ => wanted(people).into_iter().map(|person| vec![person]).collect(),
        }
    }

    fn mentions(&self, concept: &str) -> bool {
        let id = self.world.concepts.find(concept).map(|concept| concept.id);
        self.document.annotations.iter().any(|a| Some(a.concept) == id)
    }

    /// Every form with the same chance or, for practice, as it needs it; then every candidate of the form.
    fn one_of(&mut self, candidates: Vec<(usize, Vec<EntityId>)>, practice: bool) -> Option<(usize, Vec<EntityId>)> {
        let mut forms: Vec<usize> = candidates.iter().map(|(form, _)| *form).collect();
        forms.dedup();
        let weight = |form: &usize| if practice { FORMS[*form].practice() } else { 1 };
        let weights: Vec<u32> = forms.iter().map(weight).collect();
        let form = (!forms.is_empty()).then(|| forms[self.chooser.pick(&weights, 0)])?;
        let of_form: Vec<_> = candidates.into_iter().filter(|(other, _)| *other == form).collect();
        let pick = self.pick(of_form.len())?;
        of_form.into_iter().nth(pick)
    }

    /// An entity that could stand in the open place and is none of the arguments.
    fn other_than(&mut self, arguments: &[EntityId], form: usize) -> Option<EntityId> {
        let lexicon = &self.world.lexicon;
        let class = lexicon.members[lexicon.classes[FORMS[form].class]].iter();
        let others: Vec<EntityId> = class.copied().filter(|id| !arguments.contains(id)).collect();
        let pick = self.pick(others.len())?;
        Some(others[pick])
    }

    fn pick(&mut self, options: usize) -> Option<usize> {
        (options > 0).then(|| self.chooser.pick(&vec![1; options], 0))
    }

    /// A reply; in a lesson one that calls what was asked for as the story did last, so that it can be learnt by copying.
    fn reply(&mut self, rule: &str, arguments: &[EntityId], asked: usize) -> Option<String> {
        let story = padded(&self.document.text);
        let words = words_of(&self.world.lexicon.get(arguments[asked]).first);
        let told = words.iter().map(|word| padded(word)).filter_map(|word| Some((story.rfind(&word)?, word))).max();
        let mut reply = self.sentence(rule, arguments)?;
        if let Some((_, word)) = told.filter(|_| self.lesson != Lesson::No) {
            for _ in 0..DRAWS_OF_A_REPLY {
                if padded(&reply).contains(&word) {
                    break;
                }
                reply = self.sentence(rule, arguments)?;
            }
        }
        Some(reply)
    }

    /// The text of a rule whose registers A, B and C hold these entities.
    fn sentence(&mut self, rule: &str, entities: &[EntityId]) -> Option<String> {
        let rule = self.world.grammar.named(rule)?;
        let chooser = Chooser::new(QUESTIONS, self.chooser.next(), Vec::new());
        let mut teller = Teller::new(self.world, chooser);
        for (register, entity) in entities.iter().enumerate() {
            teller.bind(Register(register as u8), *entity);
        }
        Some(teller.tell(rule, self.document.split).text)
    }
}
