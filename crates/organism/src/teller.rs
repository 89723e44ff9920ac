//! How a rule becomes a document: walks templates, makes the choices, and keeps the story's state.

use crate::choice::Chooser;
use crate::document::{Document, Fact, Split};
use crate::grammar::Grammar;
use crate::hold::{Held, Reading};
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
    /// What lasts.
    held: Vec<Held>,
    readings: Vec<Reading>,
    /// What a reader pays more than the choices cost.
    excess: f64,
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
            held: Vec::new(),
            readings: Vec::new(),
            excess: 0.0,
            tense: Tense::Past,
        }
    }

    /// Puts an entity into a register before the telling begins.
    pub(crate) fn bind(&mut self, register: Register, entity: EntityId) {
        self.registers[usize::from(register.0)] = Some(entity);
    }

    pub(crate) fn tell(mut self, rule: usize, split: Split) -> Document {
        self.rule(rule);
        for held in 0..self.held.len() {
            self.end(held);
        }
        let mut annotations = self.writer.annotations;
        annotations.sort_by_key(|a| (a.start, std::cmp::Reverse(a.end), a.concept));
        annotations.dedup();
        let text = self.writer.text.trim_end().to_owned();
        let Self { facts, readings, excess, .. } = self;
        Document { text, annotations, facts, choices: self.chooser.choices, readings, excess, split }
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

    fn one_of(&mut self, alternatives: &'w [Alternative]) -> &'w Alternative {
        let is_taken = |option: &Alternative| option.once && self.taken.iter().any(|taken| ptr::eq(*taken, option));
        let weights: Vec<u32> = alternatives.iter().map(|o| if is_taken(o) { 0 } else { o.weight }).collect();
        let chosen = &alternatives[self.pick(&weights)];
        if chosen.once {
            self.taken.push(chosen);
        }
        self.nodes(&chosen.body);
        chosen
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
            Node::Choice(alternatives) => drop(self.one_of(alternatives)),
            Node::Range { concept, decidable, body } => {
                self.writer.open();
                self.nodes(body);
                self.close(&[*concept], *decidable);
            }
            Node::Bind { register, class } => self.draw(*register, *class),
            Node::BindOf { register, owner, class } => self.draw_of(*register, *owner, class),
            Node::Hold { register, class } => self.hold(*register, *class),
            Node::Drift { register, stays } => self.drift(*register, *stays),
            Node::Sum { result, left, right, minus, wrong } => self.sum(*result, [*left, *right], *minus, *wrong),
            Node::Refer { register, form, decidable } => self.refer(self.held(*register), *form, *decidable),
            Node::Pair { first, second, always_pronoun } => {
                self.refer_to_pair([self.held(*first), self.held(*second)], *always_pronoun);
            }
            Node::Attribute { register, attribute } => self.attribute(*register, attribute),
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
        let weights = self.weights(&self.registers, members);
        let pick = self.pick(&weights);
        self.bind(register, members[pick]);
    }

    fn weights(&self, registers: &[Option<EntityId>], members: &[EntityId]) -> Vec<u32> {
        let weight = |id: &EntityId| self.lexicon().get(*id).weight;
        let free = |id: &EntityId| if registers.contains(&Some(*id)) { 0 } else { weight(id) };
        let weights: Vec<u32> = members.iter().map(free).collect();
        if weights.iter().any(|weight| *weight > 0) { weights } else { members.iter().map(weight).collect() }
    }

    /// Draws from the entity's own group of a class, or from the class.
    fn draw_of(&mut self, register: Register, owner: Register, class: &str) {
        let entity = self.held(owner);
        let group_of = |teller: &Self, entity| {
            let key = &teller.lexicon().get(entity).key;
            let group = teller.lexicon().classes.get(&format!("{key}.{class}"));
            *group
                .or_else(|| teller.lexicon().classes.get(class))
                .unwrap_or_else(|| panic!("grammar: no class {class}"))
        };
        let before = self.registers;
        self.draw(register, group_of(self, entity));
        let drawn = self.held(register);
        if let Some(held) = self.held.iter().position(|held| held.register == usize::from(owner.0)) {
            let chance = |id| self.chance(&before, group_of(self, id), drawn);
            let likelihoods: Vec<f64> = self.held[held].members().map(chance).collect();
            let own = chance(entity);
            self.read(held, &likelihoods, own);
        }
    }

    /// The probability that a class gives an entity while the registers hold these.
    fn chance(&self, registers: &[Option<EntityId>], class: usize, drawn: EntityId) -> f64 {
        let members = &self.lexicon().members[class];
        let weights = self.weights(registers, members);
        let total: u32 = weights.iter().sum();
        let own = members.iter().zip(weights).find(|(id, _)| **id == drawn).map_or(0, |(_, weight)| weight);
        f64::from(own) / f64::from(total.max(1))
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

    fn attribute(&mut self, register: Register, attribute: &str) {
        let entity = self.held(register);
        let rule_of = |teller: &Self, entity| {
            teller.grammar().attribute(teller.lexicon(), entity, attribute).unwrap_or_else(|| {
                panic!("grammar: no rule `{}.{attribute}` or for its class", teller.lexicon().get(entity).key)
            })
        };
        let alternatives = self.grammar().rule(rule_of(self, entity));
        let chosen = self.one_of(alternatives);
        if let Some(held) = self.held.iter().position(|held| held.register == usize::from(register.0)) {
            let rules = self.held[held].members().map(|id| rule_of(self, id));
            let likelihoods: Vec<f64> = rules.map(|rule| share(self.grammar().rule(rule), &chosen.body)).collect();
            let own = share(alternatives, &chosen.body);
            self.read(held, &likelihoods, own);
        }
    }

    /// The words behind the text so far tell something of what is held: their probability by each that could be, and by
    /// what is.
    fn read(&mut self, held: usize, likelihoods: &[f64], own: f64) {
        let (cost, reading) = self.held[held].read(likelihoods, self.writer.text.trim_end().len());
        self.excess += own.ln() + cost;
        self.readings.push(reading);
    }

    /// Draws what lasts. Its price is paid word by word.
    fn hold(&mut self, register: Register, class: usize) {
        self.draw(register, class);
        let entity = self.held(register);
        let lexicon = self.lexicon();
        let members = lexicon.members[class].iter().map(|id| (*id, f64::from(lexicon.get(*id).weight))).collect();
        let held = Held::new(usize::from(register.0), entity, members, self.writer.text.len());
        self.excess += self.chooser.choices.last().map_or(0.0, |choice| choice.log_prob);
        self.held.push(held);
    }

    fn drift(&mut self, register: Register, stays: u32) {
        let Some(held) = self.held.iter().position(|held| held.register == usize::from(register.0)) else {
            panic!("grammar: register {} drifts and is not held", char::from(b'A' + register.0))
        };
        let before = self.chooser.choices.len();
        if self.pick(&[stays, 1]) == 1 {
            self.end(held);
            let class = self.lexicon().get(self.held[held].entity).class;
            self.draw(register, class);
            let entity = self.held(register);
            self.held[held].change(entity, self.writer.text.len());
        }
        self.excess += self.chooser.choices[before..].iter().map(|choice| choice.log_prob).sum::<f64>();
        self.held[held].may_change(1.0 / (f64::from(stays) + 1.0));
    }

    /// Annotates what is held up to here.
    fn end(&mut self, held: usize) {
        let Held { entity, start, told, .. } = self.held[held];
        let concepts = self.all_of(&self.concepts_of(entity, true));
        self.writer.annotate(concepts, start, told);
    }

    /// What a mention of an entity stands for.
    pub(crate) fn concepts_of(&self, entity: EntityId, with_own: bool) -> Vec<ConceptId> {
        let roles = self.roles.iter().filter(|(who, _)| *who == entity).map(|(_, role)| *role);
        self.lexicon().get(entity).concept.filter(|_| with_own).into_iter().chain(roles).collect()
    }

    /// Closes the innermost range for these concepts and all wider ones.
    pub(crate) fn close(&mut self, concepts: &[ConceptId], decidable: bool) {
        let all = self.all_of(concepts);
        self.writer.close(all.into_iter(), decidable);
    }

    /// These concepts and all wider ones.
    fn all_of(&self, concepts: &[ConceptId]) -> Vec<(ConceptId, ConceptKind)> {
        let table = &self.world.concepts;
        let wider = concepts.iter().flat_map(|concept| table.lineage(*concept));
        wider.map(|concept| (*concept, table.get(*concept).kind)).collect()
    }
}

/// The probability that a rule gives this body.
fn share(rule: &[Alternative], body: &[Node]) -> f64 {
    let total: u32 = rule.iter().map(|alternative| alternative.weight).sum();
    let own: u32 = rule.iter().filter(|option| option.body == body).map(|option| option.weight).sum();
    f64::from(own) / f64::from(total)
}
