//! The gradients of a step, of parts of its rows on threads of their own.
//!
//! Losses of parts add up to that of all rows, and so do their gradients. The number of parts is the same on every
//! machine: sums are taken in one order everywhere.

use crate::error::OrganismError;
use crate::future::Future;
use crate::objective::WeighedRows;
use std::thread;
use tch::Tensor;
use untangle_model::{LanguageModel, threads};

/// Parts of the rows. A model this small only waits for a second thread within a product.
const PARTS: usize = 2;

/// Handles of one model and its head, one for each thread.
pub(crate) struct Parts {
    handles: Vec<(LanguageModel, Option<Future>)>,
}

impl Parts {
    /// Handles of a model and its head, whose parameters ask for gradients.
    pub(crate) fn of(model: &LanguageModel, future: Option<&Future>) -> Result<Self, OrganismError> {
        let handle = |_| Ok::<_, OrganismError>((model.in_kind(model.kind())?, future.map(Future::handle)));
        Ok(Self { handles: (0..PARTS).map(handle).collect::<Result<_, _>>()? })
    }

    /// The loss's gradient by every parameter, those of the head behind those of the model, and the figure that is shown.
    pub(crate) fn gradients(&mut self, rows: &WeighedRows) -> Result<(Vec<Tensor>, f64), OrganismError> {
        let parts = self.handles.iter_mut().zip(rows.parts(PARTS as i64));
        let found: Vec<_> = thread::scope(|scope| {
            let begun: Vec<_> = parts.map(|(handles, part)| scope.spawn(move || gradients_of(handles, part))).collect();
            begun.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut found = found.into_iter();
        let (mut sum, mut shown) = found.next().transpose()?.unwrap_or_default();
        for part in found {
            let (gradients, figure) = part?;
            sum = sum.iter().zip(&gradients).map(|(sum, gradient)| sum + gradient).collect();
            shown += figure;
        }
        Ok((sum, shown))
    }
}

fn gradients_of(
    (model, future): &(LanguageModel, Option<Future>),
    mut part: WeighedRows,
) -> Result<(Vec<Tensor>, f64), OrganismError> {
    threads::give_this_thread(1);
    let (loss, shown) = part.loss(model, future.as_ref())?;
    let of_head = future.iter().flat_map(Future::parameters);
    let parameters: Vec<Tensor> = model.parameters().into_iter().chain(of_head).map(|(_, p)| p).collect();
    Ok((Tensor::run_backward(&[&loss], &parameters, false, false), shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{Objective, Task};
    use crate::recipe::Recipe;
    use crate::stage::Stage;
    use crate::world::World;
    use untangle_model::{LoadOptions, ModelConfig, Tokenizer, TokenizerFiles};

    /// A model of one block whose parameters ask for gradients.
    fn model(recipe: &Recipe) -> LanguageModel {
        let json = crate::tokenizer::train(World::standard(), 600, 300).unwrap();
        let config = recipe.shape.config_json();
        let config = ModelConfig::from_json(std::path::Path::new("config.json"), config.as_bytes()).unwrap();
        let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(&json), &config).unwrap();
        let model = LanguageModel::random(config, 1, Some(tokenizer), &LoadOptions::default()).unwrap();
        model.parameters().into_iter().for_each(|(_, parameter)| drop(parameter.set_requires_grad(true)));
        model
    }

    #[test]
    fn gradients_of_parts_add_up_to_those_of_all() {
        let mut recipe = Recipe::standard();
        (recipe.shape.n_layers, recipe.shape.d_model, recipe.shape.d_mlp, recipe.shape.vocab_size) = (1, 32, 64, 600);
        let model = model(&recipe);
        for stage in [Stage::Base, Stage::Sft] {
            let objective =
                Objective { world: World::standard(), recipe: &recipe, stage, reference: None, injection: None };
            let Task::Tokens(mut rows) = objective.task(&model, 3).unwrap() else { panic!("a sum over tokens") };
            let future = (stage == Stage::Base).then(|| Future::new(&model));
            let (sum, shown) = Parts::of(&model, future.as_ref()).unwrap().gradients(&rows).unwrap();
            let (loss, figure) = rows.loss(&model, future.as_ref()).unwrap();
            assert!((shown - figure).abs() < 1e-5, "{stage}: {shown} {figure}");
            let of_head = future.iter().flat_map(Future::parameters);
            let parameters: Vec<Tensor> = model.parameters().into_iter().chain(of_head).map(|(_, p)| p).collect();
            assert_eq!(sum.len(), parameters.len());
            for (part, whole) in sum.iter().zip(Tensor::run_backward(&[&loss], &parameters, false, false)) {
                let differ = (part - &whole).abs().max().double_value(&[]);
                assert!(differ < 1e-5 * whole.abs().max().double_value(&[]).max(1e-2), "{stage}: {differ}");
            }
        }
    }
}
