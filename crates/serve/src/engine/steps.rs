//! What do interventions mean in this model?

use super::served::Served;
use crate::problem::Problem;
use std::collections::HashMap;
use std::rc::Rc;
use untangle_interpret::{InterpretError, Spec, Steering, Step, resolve};

/// Lists of interventions whose meaning is remembered (chosen).
const REMEMBERED: usize = 64;

/// What is wrong with interventions, and the number of the one that has it, where it is one.
pub(super) type Misunderstood = (Option<usize>, Box<InterpretError>);

/// Looks interventions up, and remembers what they mean: the same are often asked for again.
pub(super) struct Interpreter<'a> {
    served: Served<'a>,
    known: HashMap<(usize, Vec<String>), Rc<[Step]>>,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(served: Served<'a>) -> Self {
        Interpreter { served, known: HashMap::new() }
    }

    /// The steps that interventions mean, of which the first, `of_name`, belong to the name that was asked for.
    pub(super) fn steps(&mut self, specs: &[Spec], of_name: usize) -> Result<Rc<[Step]>, Problem> {
        let words = (of_name, specs.iter().map(ToString::to_string).collect::<Vec<_>>());
        if let Some(steps) = self.known.get(&words) {
            return Ok(Rc::clone(steps));
        }
        let steps = self.meaning(specs, of_name).map_err(|(at, error)| {
            let problem = Problem::from(&*error);
            // The field has only those that were asked for.
            at.and_then(|at| at.checked_sub(of_name))
                .map_or(problem.clone(), |at| problem.at(format!("steering[{at}]")))
        })?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let steps: Rc<[Step]> = steps.into();
        self.known.insert(words, Rc::clone(&steps));
        Ok(steps)
    }

    /// The same, without remembering.
    pub(super) fn meaning(&self, specs: &[Spec], of_name: usize) -> Result<Vec<Step>, Misunderstood> {
        let Served { model, dictionaries, .. } = self.served;
        let mut steps = Vec::with_capacity(specs.len());
        for (at, spec) in specs.iter().enumerate() {
            let one = resolve(std::slice::from_ref(spec), model, dictionaries);
            steps.extend(one.map_err(|error| (Some(at), Box::new(error)))?);
        }
        // What is asked for takes the place of what the name stands for.
        let asked = steps.split_off(of_name.min(steps.len()));
        steps.retain(|step| asked.iter().all(|asked| !step.is_undone_by(asked)));
        steps.extend(asked);
        // Whether they can be taken together is said by the hook.
        Steering::new(model, dictionaries, &steps).map_err(|error| (None, Box::new(error)))?;
        Ok(steps)
    }
}
