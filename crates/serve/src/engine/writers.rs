//! The texts that are being written, by key.

use super::text::Text;
use crate::problem::Problem;
use std::collections::HashMap;
use std::ops::ControlFlow;
use untangle_interpret::Step;
use untangle_model::Told;

/// See the module.
#[derive(Default)]
pub(super) struct Writers<'a> {
    texts: HashMap<u64, Text<'a>>,
    /// What whoever runs the server should know.
    warnings: Vec<String>,
}

impl<'a> Writers<'a> {
    pub(super) fn insert(&mut self, key: u64, text: Text<'a>) {
        self.texts.insert(key, text);
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The steps of a text; none of one that is gone.
    pub(super) fn steps(&self, key: u64) -> &[Step] {
        self.texts.get(&key).map_or(&[], Text::steps)
    }

    /// Hears what happened to a text; a break where it is to end.
    pub(super) fn hear(&mut self, key: u64, told: Told) -> ControlFlow<()> {
        let leaves = matches!(told, Told::Ended(_) | Told::Failed(_));
        let Some(text) = self.texts.get_mut(&key) else { return ControlFlow::Break(()) };
        let heard = text.hear(told);
        match heard {
            Ok(flow) => {
                if leaves {
                    self.texts.remove(&key);
                }
                flow
            }
            Err(error) => {
                self.fail(&[key], &Problem::from(&error));
                ControlFlow::Break(())
            }
        }
    }

    /// Tells those who asked for these texts that they do not come.
    pub(super) fn fail(&mut self, keys: &[u64], problem: &Problem) {
        if problem.is_internal() {
            self.warnings.push(problem.message().to_owned());
        }
        keys.iter().filter_map(|key| self.texts.remove(key)).for_each(|text| text.fail(problem.clone()));
    }

    /// The same of all.
    pub(super) fn fail_all(&mut self, problem: &Problem) {
        self.texts.drain().for_each(|(_, text)| text.fail(problem.clone()));
    }

    /// Forgets texts that nobody waits for, and says which.
    pub(super) fn remove_unwanted(&mut self) -> Vec<u64> {
        let unwanted: Vec<u64> =
            self.texts.iter().filter(|(_, text)| text.is_unwanted()).map(|(key, _)| *key).collect();
        unwanted.iter().for_each(|key| drop(self.texts.remove(key)));
        unwanted
    }

    /// What whoever runs the server should know, once.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}
