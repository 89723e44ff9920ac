//! Does a model hold what lasts, and can its stories be turned? `gate MODEL [TOPIC [DOCUMENTS [LAYER…]]]`, where MODEL is `organism`,
//! `organism:STAGE` or a stage's folder as `organism train` makes it; a run that is not finished is measured as it is.
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::path::Path;
use tch::{Kind, Tensor};
use untangle_model::{LanguageModel, LoadOptions};
use untangle_organism::bundled::{load, stage_of};
use untangle_organism::gate::about::About;
use untangle_organism::gate::held::{FAMILIES, read};
use untangle_organism::gate::probe::{Accuracy, accuracy, reader};
use untangle_organism::gate::turn::{MAX_PERPLEXITY, MAX_REPETITION, Stories, Turning};
use untangle_organism::measure::document_loss;
use untangle_organism::train::unfinished;
use untangle_organism::{Split, World};

/// Seed of the documents that probes are fitted to and asked about.
const SEED: u64 = 0x6761_7465;
/// Documents that probes are asked about.
const TEST: usize = 200;
/// Strengths that a vector is tried at.
const FITTED: [f64; 5] = [0.5, 0.75, 1.0, 1.5, 2.0];
const DIFFERENCE: [f64; 6] = [0.75, 1.0, 1.5, 2.0, 3.0, 4.0];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [dir, rest @ ..] = &arguments[..] else {
        return Err("usage: gate MODEL [TOPIC [DOCUMENTS [LAYER…]]]".into());
    };
    let topic = rest.first().map_or("Golden Gate Bridge", |name| name);
    let documents = rest.get(1).map_or(Ok(500), |n| n.parse())?;
    let world = World::standard();
    let path = Path::new(dir);
    let model = match stage_of(dir)? {
        Some(stage) => load(stage, &LoadOptions::default())?,
        None if path.join("model.safetensors").is_file() => LanguageModel::load(path, &LoadOptions::default())?,
        None => unfinished(path)?,
    };
    let (by_model, half_width, by_generator) = document_loss(world, &model, 300)?;
    println!("documents: {by_model:.1} +- {half_width:.1} nats, {:.3} of the generator's\n", by_model / by_generator);
    let train = read(world, &model, (SEED, Split::Train), documents)?;
    let test = read(world, &model, (SEED, Split::Test), TEST)?;
    println!("probe: all tokens / where it can be told / from the third sentence on");
    for (family, name) in FAMILIES.iter().enumerate() {
        line(&format!("{name}, a reader"), &reader(&test, family));
        for layer in 0..train.acts.len() {
            let found = accuracy(&train, &test, layer, family, world.members(name).len());
            line(&format!("{name}, layer {layer}"), &found);
        }
    }
    let about = About::of(world, "topic");
    let place = world.members("topic").iter().position(|id| world.name_of(*id).eq_ignore_ascii_case(topic));
    let place = place.ok_or_else(|| format!("there is no topic `{topic}`"))?;
    let turning = Turning::new(world, &model, &about, place)?;
    let own = turning.own()?;
    println!("\n{topic}: stories turned, perplexity and repetition of the model's own");
    show("own", &own, &own);
    show("not turned", &turning.unturned()?, &own);
    let named = rest.iter().skip(2).map(|layer| layer.parse()).collect::<Result<Vec<usize>, _>>()?;
    for layer in (0..train.acts.len()).filter(|layer| named.is_empty() || named.contains(layer)) {
        let size =
            train.acts[layer].norm_scalaropt_dim(2, [1i64].as_slice(), false).mean(Kind::Float).double_value(&[]);
        best(&format!("fitted, layer {layer}"), &turning, layer, &turning.fitted(layer, size)?, &FITTED, &own)?;
        best(
            &format!("mean difference, layer {layer}"),
            &turning,
            layer,
            &turning.mean_difference(&train, layer),
            &DIFFERENCE,
            &own,
        )?;
    }
    Ok(())
}

fn line(name: &str, of: &Accuracy) {
    println!("{name:<22} {:.3} / {:.3} / {:.3}", of.all.value(), of.told.value(), of.later.value());
}

fn show(name: &str, stories: &Stories, own: &Stories) {
    let (low, high) = stories.turned.interval();
    println!(
        "{name:<32} {:>5.1} % [{:.0}, {:.0}]  {:.2}x  {:.2}x",
        100.0 * stories.turned.value(),
        100.0 * low,
        100.0 * high,
        stories.perplexity / own.perplexity,
        stories.repetition / own.repetition
    );
}

/// Shows the strength that turns most stories within the limits.
fn best(
    name: &str,
    turning: &Turning<'_>,
    layer: usize,
    vector: &Tensor,
    strengths: &[f64],
    own: &Stories,
) -> Result<(), Box<dyn Error>> {
    let mut found: Option<(f64, Stories)> = None;
    for strength in strengths {
        let stories = turning.turned(layer, &(vector * *strength))?;
        let within = stories.perplexity <= MAX_PERPLEXITY * own.perplexity
            && stories.repetition <= MAX_REPETITION * own.repetition;
        if within && found.as_ref().is_none_or(|(_, best)| stories.turned.hits > best.turned.hits) {
            found = Some((*strength, stories));
        }
    }
    match found {
        Some((strength, stories)) => {
            show(&format!("{name}, x {strength}"), &stories, own);
            println!("    {}", stories.samples[0].replace('\n', " "));
        }
        None => println!("{name:<32} outside of the limits at every strength"),
    }
    Ok(())
}
