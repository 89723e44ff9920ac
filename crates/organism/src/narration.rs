//! Whom does a model write as, by itself? Documents that it begins and ends alone, and who tells them by their words.
//!
//! | figure | over |
//! |---|---|
//! | share of a narrator | documents drawn at temperature 1 whose words are likeliest this narrator's |

use crate::error::OrganismError;
use crate::gate::about::About;
use crate::rows::BOUNDARY;
use crate::world::World;
use untangle_model::{GenerateOptions, LanguageModel, NoHook, Sampling, generate_rows};
use untangle_schema::Share;

/// Most tokens of a document; one of a hundred of the world's has more.
const TOKENS: usize = 200;
/// Documents that are drawn together.
const TOGETHER: u64 = 16;

/// Of `n` documents that the model writes, the share of every narrator, in the class's order. `about` counts the words of
/// narrators; `advance` is called behind every document.
///
/// # Errors
/// The model has no tokenizer or fails, or `advance` says so.
pub fn narrators(
    world: &World,
    model: &LanguageModel,
    about: &About,
    n: u64,
    seed: u64,
    advance: &mut dyn FnMut() -> Result<(), OrganismError>,
) -> Result<Vec<Share>, OrganismError> {
    let sampling = Sampling::at(1.0);
    let options = GenerateOptions { max_new_tokens: TOKENS, sampling, seed, stop_at_eos: true };
    let mut found = Vec::new();
    for first in (0..n).step_by(TOGETHER as usize) {
        let seeds: Vec<u64> = (first..n.min(first + TOGETHER)).map(|number| seed.wrapping_add(number)).collect();
        for text in generate_rows(model, &[BOUNDARY as u32], &options, &seeds, &mut NoHook, &mut |_, _| ())? {
            found.push(about.held_in(&model.tokenizer()?.decode(&text.tokens)?));
            advance()?;
        }
    }
    let share = |narrator| Share::of(found.iter().map(|held| *held == Some(narrator)));
    Ok((0..world.members("narrator").len()).map(share).collect())
}
