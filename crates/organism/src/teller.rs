//! How a rule becomes a document: walks templates, makes the choices, and keeps the story's state.

use crate::choice::Chooser;
use crate::document::{Document, Fact, Split};
use crate::grammar::Grammar;
use crate::lexicon::{EntityId, Lexicon};
use crate::refer::Focus;
use crate::template::{Alternative, Node, Register};
use crate::verbs::{Tense, conjugate};
use crate::world::World;
use crate::writer::Writer;
use std::ptr;
use untangle_schema::{ConceptId, ConceptKind};

/// One telling in progress.
pub(crate) struct Teller<'w> {
    pub(crate) world: &'w World,
    pub(crate) chooser: Chooser,
    pub(crate) writer: Writer,
    /// Who was named last, which decides where a pronoun is clear.
    pub(crate) focus: Focus,
    registers: [Option<EntityId>; Register::COUNT],
    roles: Vec<(EntityId, ConceptId)>,
    facts: Vec<Fact>,
    /// Alternatives that were taken and may be taken once.
    taken: Vec<&'w Alternative>,
    tense: Tense,
}

impl<'w> Teller<'w> {
    pub(crate) fn new(world: &'w World, chooser: Chooser) -> Self {
        Self {
            world,
            chooser,
            writer: Writer::new(),
            focus: Focus::default(),
            registers: [None; Register::COUNT],
            roles: Vec::new(),
            facts: Vec::new(),
            taken: Vec::new(),
            tense: Tense::Past,
        }
    }

    /// Puts an entity into a register before the telling begins.
    pub(crate) fn bind(&mut self, register: Register, entity: EntityId) {
        self.registers[usize::from(register.0)] = Some(entity);
    }

    pub(crate) fn tell(mut self, rule: usize, split: Split) -> Document {
        self.rule(rule);
        let mut annotations = self.writer.annotations;
        annotations.sort_by_key(|a| (a.start, std::cmp::Reverse(a.end), a.concept));
        annotations.dedup();
        let text = self.writer.text.trim_end().to_owned();
        Document { text, annotations, facts: self.facts, choices: self.chooser.choices, split }
    }

    pub(crate) fn lexicon(&self) -> &'w Lexicon {
        &self.world.lexicon
    }

    fn grammar(&self) -> &'w Grammar {
        &self.world.grammar
    }

    pub(crate) fn pick(&mut self, weights: &[u32]) -> usize {
        self.chooser.pick(weights, self.writer.text.len())
    }

    fn rule(&mut self, rule: usize) {
        let grammar = self.grammar();
        self.one_of(grammar.rule(rule));
    }

    fn one_of(&mut self, alternatives: &'w [Alternative]) {
        let is_taken = |option: &Alternative| option.once && self.taken.iter().any(|taken| ptr::eq(*taken, option));
        let weights: Vec<u32> = alternatives.iter().map(|o| if is_taken(o) { 0 } else { o.weight }).collect();
        let chosen = &alternatives[self.pick(&weights)];
        if chosen.once {
            self.taken.push(chosen);
        }
        self.nodes(&chosen.body);
    }

    pub(crate) fn nodes(&mut self, nodes: &'w [Node]) {
        nodes.iter().for_each(|node| self.node(node));
    }

    fn node(&mut self, node: &'w Node) {
        match node {
            Node::Text(text) => self.writer.push(text),
            Node::Article => self.writer.article(),
            Node::Decided => self.writer.decide(),
            Node::Capital => self.writer.begin_sentence(),
            Node::Raw(raw) => self.writer.set_raw(*raw),
            Node::Tense(tense) => self.tense = *tense,
            Node::Rule(rule) => self.rule(*rule),
            Node::Choice(alternatives) => self.one_of(alternatives),
            Node::Range { concept, decidable, body } => {
                self.writer.open();
                self.nodes(body);
                self.close(&[*concept], *decidable);
            }
            Node::Bind { register, class } => self.draw(*register, *class),
            Node::Sum { result, left, right, minus, wrong } => self.sum(*result, [*left, *right], *minus, *wrong),
            Node::Refer { register, form, decidable } => self.refer(self.held(*register), *form, *decidable),
            Node::Pair { first, second, always_pronoun } => {
                self.refer_to_pair([self.held(*first), self.held(*second)], *always_pronoun);
            }
            Node::Attribute { register, attribute } => self.attribute(self.held(*register), attribute),
            Node::Verb { base, plural } => self.writer.push(&conjugate(base, self.tense, *plural)),
            Node::Fact { relation, arguments } => {
                let arguments = arguments.iter().map(|register| self.held(*register)).collect();
                self.facts.push(Fact { relation: *relation, arguments, at: self.writer.text.trim_end().len() as u32 });
            }
            Node::Role { register, concept } => {
                let role = (self.held(*register), *concept);
                if !self.roles.contains(&role) {
                    self.roles.push(role);
                }
            }
            Node::Swap(first, second) => self.registers.swap(usize::from(first.0), usize::from(second.0)),
        }
    }

    /// The entity in a register. A register that is read before anything was put there is a defect of the grammar.
    fn held(&self, register: Register) -> EntityId {
        self.registers[usize::from(register.0)].unwrap_or_else(|| {
            panic!("grammar: register {} is empty behind `{}`", char::from(b'A' + register.0), self.writer.text)
        })
    }

    /// Draws an entity of a class: none that a register holds, unless all are held.
    fn draw(&mut self, register: Register, class: usize) {
        let members = &self.lexicon().members[class];
        let weight = |id: &EntityId| self.lexicon().get(*id).weight;
        let free = |id: &EntityId| if self.registers.contains(&Some(*id)) { 0 } else { weight(id) };
        let mut weights: Vec<u32> = members.iter().map(free).collect();
        if weights.iter().all(|weight| *weight == 0) {
            weights = members.iter().map(weight).collect();
        }
        let pick = self.pick(&weights);
        self.bind(register, members[pick]);
    }

    /// The sum or difference of two numbers; a wrong one lies one or two beside it.
    fn sum(&mut self, result: Register, terms: [Register; 2], minus: bool, wrong: bool) {
        let [left, right] = terms.map(|term| self.lexicon().value(self.held(term)).unwrap_or_default());
        let value = if minus { left - right } else { left + right };
        let near: &[i32] = if wrong { &[1, -1, 2] } else { &[0] };
        let known: Vec<EntityId> = near.iter().filter_map(|off| self.lexicon().number(value + off)).collect();
        let pick = self.pick(&vec![1; known.len()]);
        let number = known.get(pick).unwrap_or_else(|| panic!("grammar: the lexicon has no number {value}"));
        self.bind(result, *number);
    }

    fn attribute(&mut self, entity: EntityId, attribute: &str) {
        let rule = self.grammar().attribute(self.lexicon(), entity, attribute).unwrap_or_else(|| {
            panic!("grammar: no rule `{}.{attribute}` or for its class", self.lexicon().get(entity).key)
        });
        self.rule(rule);
    }

    /// What a mention of an entity stands for.
    pub(crate) fn concepts_of(&self, entity: EntityId, with_own: bool) -> Vec<ConceptId> {
        let roles = self.roles.iter().filter(|(who, _)| *who == entity).map(|(_, role)| *role);
        self.lexicon().get(entity).concept.filter(|_| with_own).into_iter().chain(roles).collect()
    }

    /// Closes the innermost range for these concepts and all wider ones.
    pub(crate) fn close(&mut self, concepts: &[ConceptId], decidable: bool) {
        let table = &self.world.concepts;
        let all: Vec<(ConceptId, ConceptKind)> = concepts
            .iter()
            .flat_map(|concept| table.lineage(*concept))
            .map(|concept| (*concept, table.get(*concept).kind))
            .collect();
        self.writer.close(all.into_iter(), decidable);
    }
}
