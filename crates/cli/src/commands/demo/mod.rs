//! `untangle demo`: the whole job once, on the bundled organism or a small model of one's own, with a page of what was found.
//!
//! Finished artefacts of an earlier demo with the same settings are used again; interrupted ones are continued.

mod args;
mod page;
mod steps;
mod story;
mod turn;

use super::options::load_model;
use crate::context::Context;
pub(crate) use args::DemoArgs;
use serde_json::{Value, json};
use untangle_interpret::dashboard;
use untangle_interpret::steer::Study;
use untangle_interpret::toward::{self, Toward};
use untangle_sources::NamedModel;
use untangle_sources::Text;
use untangle_store::durable::replace;

/// The page's name in the demo's folder.
const PAGE: &str = "index.html";
/// The dashboard of all features there.
const ALL: &str = "dashboard";

pub(crate) fn run(args: &DemoArgs, context: &Context) -> anyhow::Result<()> {
    NamedModel::find(&args.model)?;
    Text::check(&args.text)?;
    let model = load_model(&args.model, &args.compute, context)?;
    let mut demo = steps::Demo::new(args, &model, context)?;
    demo.say(|canvas| story::opening(canvas, &model))?;
    let store = demo.capture()?;
    demo.say(|canvas| story::captured(canvas, &store, &demo))?;
    let dictionary = demo.train(&store)?;
    demo.say(|canvas| story::trained(canvas, &dictionary))?;
    let measured = demo.evaluate(&dictionary, &store)?;
    demo.say(|canvas| story::evaluated(canvas, &measured))?;
    let database = demo.features(&dictionary, &store)?;
    let best = story::chosen(database.most_interpretable(story::CONSIDERED)?);
    let all = database.list(usize::MAX)?;
    demo.say(|canvas| story::described(canvas, &best, &all))?;
    let found = toward::find(&database, args.concept())?;
    demo.say(|canvas| story::searched(canvas, args.concept(), &found))?;
    let turned = demo.turn(&dictionary.sae, &found)?;
    demo.say(|canvas| story::turned(canvas, &turned))?;
    let also = demo.turn_what_else_lasts(&dictionary.sae, &database)?;
    demo.say(|canvas| story::also_turned(canvas, &also))?;
    let path = args.out.join(PAGE);
    dashboard(&database, &args.out.join(ALL), true, &context.progress)?;
    let told =
        page::Told { demo: &demo, store: &store, measured: &measured, best: &best, turned: &turned, also: &also };
    replace(&path, page::html(&told).as_bytes())?;
    demo.say(|canvas| story::ending(canvas, &demo, &turned.toward, &path))?;
    let also: Vec<Value> = also.iter().map(figures).collect();
    let result = json!({
        "out": args.out, "page": path, "hook": demo.hook, "evaluation": measured, "features": best,
        "steering": figures(&turned), "also": also,
    });
    context.output.result(&result, |_| Ok(()))
}

/// Everything about what was turned, with the figures that sum it up first.
fn figures(turned: &turn::Turned) -> Value {
    let Toward { study: Study { baseline, steered, random, others }, .. } = &turned.toward;
    let mut value = json!({
        "name": turned.name,
        "label": turned.toward.features.first().and_then(|feature| feature.label.as_ref()),
        "share": steered.appears.value(),
        "interval": steered.appears.interval(),
        "baseline_share": baseline.appears.value(),
        "random_share": random.appears.value(),
        "other_features_share": others.appears.value(),
        "names_share": steered.names.value(),
        "baseline_names_share": baseline.names.value(),
        "perplexity_ratio": turned.toward.perplexity_ratio(),
        "repetition_ratio": turned.toward.repetition_ratio(),
    });
    if let (Some(figures), Ok(Value::Object(all))) = (value.as_object_mut(), serde_json::to_value(&turned.toward)) {
        figures.extend(all);
    }
    value
}
