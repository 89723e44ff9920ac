//! Which texts are there? The rules of the world, read from `world/grammar`.

use crate::concepts::Concepts;
use crate::error::OrganismError;
use crate::lexicon::{EntityId, Lexicon};
use crate::parse::{Names, alternative};
use crate::template::{Alternative, Node};
use std::collections::BTreeMap;

/// All rules.
#[derive(Debug)]
pub(crate) struct Grammar {
    rules: Vec<Vec<Alternative>>,
    by_name: BTreeMap<String, usize>,
}

impl Grammar {
    /// Reads files of rules. A rule is `name = template`, or `name =` and indented lines, each a template with an
    /// optional weight before it ([`alternative`]); an indented line that begins with `+` continues the one above.
    pub(crate) fn parse(files: &[(&str, &str)], concepts: &Concepts, lexicon: &Lexicon) -> Result<Self, OrganismError> {
        let mut names = Names { concepts, classes: &lexicon.classes, rules: BTreeMap::new() };
        let mut rules: Vec<Vec<Alternative>> = Vec::new();
        for (file, text) in files {
            let mut current = None;
            for (line, text) in joined_lines(text) {
                let fault = |reason| OrganismError::World { file: (*file).to_owned(), line, reason };
                let body = if text.starts_with(' ') {
                    text.trim()
                } else {
                    let (name, body) = text.split_once('=').ok_or_else(|| fault("expected name = template".into()))?;
                    let rule = names.rule(name.trim());
                    rules.resize(rules.len().max(rule + 1), Vec::new());
                    if !rules[rule].is_empty() {
                        return Err(fault(format!("the rule `{}` stands twice", name.trim())));
                    }
                    current = Some(rule);
                    body.trim()
                };
                if !body.is_empty() {
                    let rule = current.ok_or_else(|| fault("an alternative before any rule".into()))?;
                    rules[rule].push(alternative(body, &mut names).map_err(fault)?);
                }
            }
        }
        let by_name = names.rules;
        rules.resize(by_name.len(), Vec::new());
        rules.iter_mut().for_each(flatten);
        let grammar = Self { rules, by_name };
        grammar.check(lexicon).map_err(|reason| OrganismError::World {
            file: "world/grammar".into(),
            line: 0,
            reason,
        })?;
        Ok(grammar)
    }

    pub(crate) fn rule(&self, number: usize) -> &[Alternative] {
        &self.rules[number]
    }

    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The rule that describes an entity: its own, else its class's.
    pub(crate) fn attribute(&self, lexicon: &Lexicon, entity: EntityId, attribute: &str) -> Option<usize> {
        let own = self.named(&format!("{}.{attribute}", lexicon.get(entity).key));
        own.or_else(|| self.named(&format!("{}.{attribute}", lexicon.class_name(entity))))
    }

    /// Every rule that is used is written, and what is said of one entity of a class is said of all.
    fn check(&self, lexicon: &Lexicon) -> Result<(), String> {
        if let Some((name, _)) = self.by_name.iter().find(|(_, rule)| self.rules[**rule].is_empty()) {
            return Err(format!("the rule `{name}` is used and not written"));
        }
        for (owner, attribute) in self.by_name.keys().filter_map(|name| name.split_once('.')) {
            let class = match lexicon.find(owner) {
                Some(entity) => lexicon.get(entity).class,
                None => *lexicon.classes.get(owner).ok_or_else(|| format!("`{owner}` is no entity and no class"))?,
            };
            let lacks = |id: &&EntityId| self.attribute(lexicon, **id, attribute).is_none();
            if let Some(id) = lexicon.members[class].iter().find(lacks) {
                let key = &lexicon.get(*id).key;
                return Err(format!("there is a rule `{owner}.{attribute}` and none `{key}.{attribute}`"));
            }
        }
        Ok(())
    }
}

/// `x = (a|b)` is a rule of two alternatives, as if they stood on lines of their own: what a rule says of an entity is
/// compared with what it says of another alternative by alternative.
fn flatten(rule: &mut Vec<Alternative>) {
    if let [Alternative { body, once: false, .. }] = &mut rule[..]
        && let [Node::Choice(options)] = &mut body[..]
    {
        *rule = std::mem::take(options);
    }
}

/// Lines with their numbers from 1; without comments and empty ones, and with continuations joined.
fn joined_lines(text: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match (trimmed.strip_prefix("+ "), joined.last_mut()) {
            (Some(more), Some((_, above))) if line.starts_with(' ') => {
                above.push_str(if more.starts_with('|') { "" } else { " " });
                above.push_str(more);
            }
            _ => joined.push((number + 1, line.to_owned())),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Grammar, OrganismError> {
        let concepts = Concepts::parse("t", "").unwrap();
        Grammar::parse(&[("t", text)], &concepts, &Lexicon::default())
    }

    #[test]
    fn rules_have_weighted_alternatives_and_long_lines() {
        let grammar = parsed("# text\na =\n    3 one {b}\n    + two\n    four\nb = (x\n    + |y)").unwrap();
        let rule = grammar.rule(grammar.named("a").unwrap());
        assert_eq!(rule.iter().map(|alternative| alternative.weight).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(rule[0].body.len(), 3);
    }

    #[test]
    fn a_choice_alone_is_the_rules_alternatives() {
        let grammar = parsed("a = (3:one|two)\nb = (3:one|two).").unwrap();
        let weights = |name| grammar.rule(grammar.named(name).unwrap()).iter().map(|a| a.weight).collect::<Vec<_>>();
        assert_eq!((weights("a"), weights("b")), (vec![3, 1], vec![1]));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text, part: &str| assert!(parsed(text).unwrap_err().to_string().contains(part), "{text}");
        check("a = {b}", "the rule `b` is used and not written");
        check("a = x\na = y", "line 2: the rule `a` stands twice");
        check("    x", "line 1: an alternative before any rule");
        check("dog.does = x", "`dog` is no entity and no class");
        check("a", "expected name = template");
    }
}
