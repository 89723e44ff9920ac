//! Which concepts are there? The table of the world's concepts, read from `world/concepts.txt`.

use crate::error::OrganismError;
use std::collections::BTreeMap;
use untangle_schema::{Concept, ConceptId, ConceptKind};

/// The concepts of a world, in the order of their numbers.
#[derive(Debug)]
pub struct Concepts {
    table: Vec<Concept>,
    by_name: BTreeMap<String, ConceptId>,
    /// Of each concept: itself, then all wider ones.
    lineages: Vec<Vec<ConceptId>>,
}

impl Concepts {
    /// Reads a table: `[family]` headers, and lines `name | mention or scope | parents | definition`, parents first.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, OrganismError> {
        let mut concepts = Self { table: Vec::new(), by_name: BTreeMap::new(), lineages: Vec::new() };
        let mut family = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                family = name.to_owned();
            } else if !line.is_empty() && !line.starts_with('#') {
                concepts.add(&family, line).map_err(|reason| OrganismError::World {
                    file: file.to_owned(),
                    line: number + 1,
                    reason,
                })?;
            }
        }
        Ok(concepts)
    }

    fn add(&mut self, family: &str, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, kind, parents, definition] = fields[..] else {
            return Err(format!("expected name | kind | parents | definition, found `{line}`"));
        };
        let kind = match kind {
            "mention" => ConceptKind::Mention,
            "scope" => ConceptKind::Scope,
            _ => return Err(format!("unknown kind `{kind}`, expected mention or scope")),
        };
        let parents: Vec<ConceptId> = parents.split_whitespace().map(|p| self.named(p)).collect::<Result<_, _>>()?;
        let id = ConceptId(u16::try_from(self.table.len()).map_err(|_| "more than 65,536 concepts".to_owned())?);
        if self.by_name.insert(name.to_owned(), id).is_some() {
            return Err(format!("the concept `{name}` stands twice"));
        }
        let mut lineage = vec![id];
        for wider in parents.iter().flat_map(|parent| &self.lineages[usize::from(parent.0)]) {
            if !lineage.contains(wider) {
                lineage.push(*wider);
            }
        }
        self.lineages.push(lineage);
        let (name, family, definition) = (name.to_owned(), family.to_owned(), definition.to_owned());
        self.table.push(Concept { id, name, family, kind, parents, definition });
        Ok(())
    }

    pub(crate) fn named(&self, name: &str) -> Result<ConceptId, String> {
        self.find(name).map(|concept| concept.id).ok_or_else(|| format!("there is no concept `{name}` (above)"))
    }

    /// The concept of this name.
    pub fn find(&self, name: &str) -> Option<&Concept> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    /// The concept of this number.
    pub fn get(&self, id: ConceptId) -> &Concept {
        &self.table[usize::from(id.0)]
    }

    /// A concept and all wider ones.
    pub fn lineage(&self, id: ConceptId) -> &[ConceptId] {
        &self.lineages[usize::from(id.0)]
    }

    /// All concepts by number.
    pub fn all(&self) -> &[Concept] {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineages_reach_through_all_parents() {
        let text = "[a]\nlandmark | mention | | x\nbridge | mention | landmark | x\n[b]\ngold | mention | | x\n\
                    golden-gate | mention | bridge gold | x";
        let concepts = Concepts::parse("t", text).unwrap();
        assert_eq!(concepts.lineage(ConceptId(3)), [3, 1, 0, 2].map(ConceptId));
        assert_eq!(concepts.find("gold").unwrap().family, "b");
    }

    #[test]
    fn a_bad_line_is_named() {
        let fault = |text| Concepts::parse("t", text).unwrap_err().to_string();
        assert!(fault("[a]\ndog | mention | animal | x").contains("line 2: there is no concept `animal`"));
        assert!(fault("dog | noun | | x").contains("unknown kind `noun`"));
        assert!(fault("dog | mention | | x\ndog | mention | | x").contains("line 2: the concept `dog` stands twice"));
    }
}
