//! Which texts are there? The rules of the world, read from `world/grammar`.

use crate::concepts::Concepts;
use crate::error::WorldError;
use crate::lexicon::{EntityId, Lexicon};
use crate::parse::{Names, template, weighted};
use crate::template::Alternative;
use std::collections::BTreeMap;

/// All rules.
#[derive(Debug)]
pub(crate) struct Grammar {
    rules: Vec<Vec<Alternative>>,
    by_name: BTreeMap<String, usize>,
}

impl Grammar {
    /// Reads files of rules. A rule is `name = template`, or `name =` and indented lines, each a template with an
    /// optional weight before it; an indented line that begins with `+` continues the one above.
    pub(crate) fn parse(files: &[(&str, &str)], concepts: &Concepts, lexicon: &Lexicon) -> Result<Self, WorldError> {
        let mut names = Names { concepts, classes: &lexicon.classes, rules: BTreeMap::new() };
        let mut rules: Vec<Vec<Alternative>> = Vec::new();
        for (file, text) in files {
            let mut current = None;
            for (line, text) in joined_lines(text) {
                let fault = |reason| WorldError { file: (*file).to_owned(), line, reason };
                let body = if text.starts_with(' ') { text.trim() } else {
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
                    let (weight, body) = weighted(body, ' ');
                    let body = template(body, &mut names).map_err(fault)?;
                    rules[rule].push(Alternative { weight, body });
                }
            }
        }
        let by_name = names.rules;
        rules.resize(by_name.len(), Vec::new());
        let grammar = Self { rules, by_name };
        grammar.check(lexicon).map_err(|reason| WorldError { file: "world/grammar".into(), line: 0, reason })?;
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

    /// Every rule that is used is written, and every rule of an entity or class has one.
    fn check(&self, lexicon: &Lexicon) -> Result<(), String> {
        if let Some((name, _)) = self.by_name.iter().find(|(_, rule)| self.rules[**rule].is_empty()) {
            return Err(format!("the rule `{name}` is used and not written"));
        }
        for name in self.by_name.keys() {
            if let Some((owner, _)) = name.split_once('.')
                && lexicon.find(owner).is_none()
                && !lexicon.classes.contains_key(owner)
            {
                return Err(format!("the rule `{name}` describes no entity and no class"));
            }
        }
        Ok(())
    }

    /// All templates, for checks over the whole grammar.
    #[cfg(test)]
    pub(crate) fn alternatives(&self) -> impl Iterator<Item = &Alternative> {
        self.rules.iter().flatten()
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
                above.push(' ');
                above.push_str(more);
            }
            _ => joined.push((number + 1, line.to_owned())),
        }
    }
    joined
}
