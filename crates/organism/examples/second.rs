//! What do the later stages of the second world do? `second DIR STAGE`, where DIR holds what `train second DIR` made.
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::path::Path;
use untangle_model::{LanguageModel, LoadOptions};
use untangle_organism::gate::about::About;
use untangle_organism::inject::Injection;
use untangle_organism::measure::document_loss;
use untangle_organism::narration::narrators;
use untangle_organism::notice::noticed;
use untangle_organism::{Stage, World};

/// Documents that the loss is measured on, documents that are written, and stories that are asked about.
const DOCUMENTS: usize = 300;
const WRITTEN: u64 = 300;
const ASKED: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [dir, stage] = &arguments[..] else { return Err("usage: second DIR STAGE".into()) };
    let stage = Stage::named_of_second(stage)?;
    let world = World::second();
    let load = |stage: Stage| LanguageModel::load(&Path::new(dir).join(stage.name()), &LoadOptions::default());
    let (base, model) = (load(Stage::Base)?, load(stage)?);
    let [(before, ..), (behind, ..)] =
        [document_loss(world, &base, DOCUMENTS)?, document_loss(world, &model, DOCUMENTS)?];
    println!("documents: {behind:.1} nats, {:.3} of the base stage's", behind / before);
    let about = About::of(world, "narrator");
    for (id, share) in world.members("narrator").iter().zip(narrators(world, &model, &about, WRITTEN, 0)?) {
        let (low, high) = share.interval();
        println!("writes as {}: {:.3} [{low:.2}, {high:.2}]", world.name_of(*id), share.value());
    }
    let injection = Injection::of(world, &base)?;
    for (kept, name) in [(false, "taught"), (true, "kept for testing")] {
        let found = noticed(world, &model, &injection, kept, ASKED)?;
        let (d, half) = found.d_prime();
        println!(
            "topics {name}: d' {d:.2} +- {half:.2}, notices {:.3}, false alarms {:.3}, names {:.3}",
            found.hits.value(),
            found.false_alarms.value(),
            found.named.value()
        );
    }
    Ok(())
}
