//! Which tokens does a step see? Every row of every step is a function of the seed and its number alone, so that
//! nothing about the stream has to be saved.

use crate::document::Split;
use crate::error::OrganismError;
use crate::recipe::Recipe;
use crate::world::World;
use untangle_model::Tokenizer;

/// Consecutive documents that a row may use: enough to fill it even where several are not for training.
const DOCUMENTS_PER_ROW: u64 = 12;
/// The boundary's id.
const BOUNDARY: i64 = 0;

/// The tokens of a step, `[batch, context + 1]`: training documents behind one another, a boundary before each; what
/// does not fit into the row is left out.
pub(crate) fn batch(
    world: &World,
    tokenizer: &Tokenizer,
    recipe: &Recipe,
    step: u64,
) -> Result<Vec<i64>, OrganismError> {
    let mut tokens = Vec::with_capacity(recipe.batch * (recipe.context + 1));
    for row in 0..recipe.batch as u64 {
        tokens.extend(self::row(world, tokenizer, recipe, step * recipe.batch as u64 + row)?);
    }
    Ok(tokens)
}

fn row(world: &World, tokenizer: &Tokenizer, recipe: &Recipe, number: u64) -> Result<Vec<i64>, OrganismError> {
    let length = recipe.context + 1;
    let mut tokens = Vec::with_capacity(length + 200);
    let first = number * DOCUMENTS_PER_ROW;
    let of_training = |index: &u64| Split::of(recipe.seed, *index) == Split::Train;
    for index in (first..first + DOCUMENTS_PER_ROW).filter(of_training) {
        if tokens.len() >= length {
            break;
        }
        tokens.push(BOUNDARY);
        tokens.extend(tokenizer.encode(&world.document(recipe.seed, index).text)?.into_iter().map(i64::from));
    }
    tokens.resize(length, BOUNDARY);
    Ok(tokens)
}
