//! What passes at every layer while documents are read, and what is held there?

use crate::document::{Document, Split};
use crate::error::OrganismError;
use crate::lexicon::EntityId;
use crate::rows::BOUNDARY;
use crate::world::World;
use std::ops::Range;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel, ModelError, Pass};
use untangle_schema::{HookPoint, Site};

/// Classes of what lasts.
pub const FAMILIES: [&str; 3] = ["topic", "mood", "narrator"];

/// Tokens of documents with their activations.
#[derive(Debug)]
pub struct Tokens {
    /// Of every layer's `resid_post`, f32 `[n, d_model]`.
    pub acts: Vec<Tensor>,
    /// What is known of every token.
    pub known: Vec<Known>,
}

/// What is known of a token, of each of [`FAMILIES`] in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// What is held, as its place in the class; none before a text comes to its topic.
    pub held: [Option<usize>; 3],
    /// What a reader who knows the rules believes most behind the token; none before any words tell it.
    pub reader: [Option<usize>; 3],
    /// Whether it can be told there.
    pub told: [bool; 3],
    /// Sentences that ended before it.
    pub sentence: usize,
}

/// Keeps every layer's `resid_post` of a pass.
struct Keep {
    kept: Vec<Tensor>,
}

impl Hook for Keep {
    fn wants(&self, point: HookPoint) -> bool {
        matches!(point, HookPoint::Block { site: Site::ResidPost, .. })
    }

    fn visit(&mut self, _: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        self.kept.push(acts.get(0).to_kind(Kind::Float));
        Ok(acts)
    }
}

/// Reads the first `n` documents of a split with the model.
///
/// # Errors
/// The model has no tokenizer or fails on its input.
pub fn read(
    world: &World,
    model: &LanguageModel,
    (seed, split): (u64, Split),
    n: usize,
) -> Result<Tokens, OrganismError> {
    let mut layers: Vec<Vec<Tensor>> = Vec::new();
    let mut known = Vec::new();
    for document in world.documents(seed, split).take(n) {
        let mut tokens = model.tokenizer()?.encode_with_ranges(&document.text)?;
        tokens.truncate(model.max_context() - 1); // the boundary stands before them
        let ids = tokens.iter().map(|(id, _)| i64::from(*id));
        let ids: Vec<i64> = [BOUNDARY].into_iter().chain(ids).collect();
        let mut hook = Keep { kept: Vec::new() };
        tch::no_grad(|| model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut hook))?;
        layers.resize_with(hook.kept.len(), Vec::new);
        for (layer, acts) in layers.iter_mut().zip(hook.kept) {
            layer.push(acts.narrow(0, 1, tokens.len() as i64));
        }
        let ranges: Vec<Range<usize>> = tokens.into_iter().map(|(_, range)| range).collect();
        known.extend(known_at(world, &document, &ranges));
    }
    Ok(Tokens { acts: layers.iter().map(|layer| Tensor::cat(layer, 0)).collect(), known })
}

/// What is known at each of these ranges of bytes, which are in order.
pub fn known_at(world: &World, document: &Document, ranges: &[Range<usize>]) -> Vec<Known> {
    let stretches = FAMILIES.map(|family| stretches(world, document, family));
    let known = |range: &Range<usize>| {
        let at = |family: usize| stretches[family].iter().rfind(|stretch| stretch.start < range.end);
        let reader = |family: usize| {
            let class = world.members(FAMILIES[family]);
            let until = document.readings.iter().take_while(|reading| reading.at as usize <= range.end);
            let last = until.filter(|reading| class.contains(&reading.held)).last()?;
            place(class, last.best)
        };
        let before = &document.text[..range.start];
        Known {
            held: [0, 1, 2].map(|family| at(family).map(|stretch| stretch.held)),
            reader: [0, 1, 2].map(reader),
            told: [0, 1, 2].map(|family| at(family).is_some_and(|s| s.told.is_some_and(|told| told <= range.end))),
            sentence: sentences(before),
        }
    };
    ranges.iter().map(known).collect()
}

/// Sentences that end in a text.
pub fn sentences(text: &str) -> usize {
    let ends = |pair: &[u8]| matches!(pair[0], b'.' | b'!' | b'?') && matches!(pair[1], b' ' | b'\n' | b'"');
    text.as_bytes().windows(2).filter(|pair| ends(pair)).count() + usize::from(text.ends_with(['.', '!', '?']))
}

/// Where something of a class is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its place in the class.
    pub held: usize,
    /// First byte.
    pub start: usize,
    /// Byte behind it.
    pub end: usize,
    /// From which byte on it can be told.
    pub told: Option<usize>,
}

/// What of a class is held in a document, in order.
pub fn stretches(world: &World, document: &Document, family: &str) -> Vec<Stretch> {
    let class = world.members(family);
    let of = |a: &untangle_schema::Annotation| {
        let held = class.iter().position(|id| world.entity(*id).concept == Some(a.concept))?;
        let told = a.decidable_from.map(|at| at as usize);
        Some(Stretch { held, start: a.start as usize, end: a.end as usize, told })
    };
    document.annotations.iter().filter_map(of).collect()
}

fn place(class: &[EntityId], id: EntityId) -> Option<usize> {
    class.iter().position(|member| *member == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_seen_where_it_happens() {
        let world = World::standard();
        let switched = (0..).map(|index| world.document(3, index));
        let document = switched.into_iter().find(|d| stretches(world, d, "topic").len() == 2).unwrap();
        let [before, behind] = stretches(world, &document, "topic")[..] else { unreachable!() };
        assert!(before.end < behind.start && document.text[before.end..behind.start].trim().is_empty());
        let known = known_at(world, &document, &[0..1, before.start..before.end, behind.start..behind.end]);
        assert_eq!([known[1].held[0], known[2].held[0]], [Some(before.held), Some(behind.held)]);
        assert_eq!(known[0].reader, [None; 3]);
        assert_eq!(known[2].held[1], known[0].held[1], "the mood stays");
    }

    #[test]
    fn sentences_are_counted() {
        assert_eq!(sentences("One. \"Two!\" said Tom.\nA 1.5"), 3);
    }
}
