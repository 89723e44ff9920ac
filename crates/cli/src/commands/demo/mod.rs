//! `untangle demo`: the whole job once, on the bundled organism or a small model of one's own, each step explained.
//!
//! Finished artefacts of an earlier demo with the same settings are used again; interrupted ones are continued.

mod args;
mod steps;
mod story;
mod turn;

use super::options::load_model;
use crate::context::Context;
pub(crate) use args::DemoArgs;
use serde_json::json;
use untangle_interpret::{Database, toward};
use untangle_sources::NamedModel;
use untangle_sources::Text;

pub(crate) fn run(args: &DemoArgs, context: &Context) -> anyhow::Result<()> {
    NamedModel::find(&args.model)?;
    Text::check(&args.text)?;
    let model = load_model(&args.model, &args.compute, context)?;
    let mut demo = steps::Demo::new(args, &model, context)?;
    demo.say(|out| story::opening(out, &model, demo.reading().hook))?;
    let store = demo.capture()?;
    demo.say(|out| story::captured(out, &store, &demo.store))?;
    let dictionaries = demo.train(&store)?;
    demo.say(|out| story::trained(out, &dictionaries, &demo.layers))?;
    let measured = demo.evaluate(&dictionaries[0], &store)?;
    demo.say(|out| story::evaluated(out, &measured))?;
    let describe = |(layer, dictionary)| demo.features(layer, dictionary, &store);
    let databases = demo.layers.iter().zip(&dictionaries).map(describe).collect::<anyhow::Result<Vec<Database>>>()?;
    let best = databases[0].most_interpretable(story::SHOWN)?;
    demo.say(|out| story::described(out, &best, &demo.reading().database))?;
    let last = dictionaries.len() - 1;
    let found = toward::find(&databases[last], args.concept())?;
    demo.say(|out| story::searched(out, args.concept(), &found, &demo))?;
    let steered = demo.steer(&dictionaries[last].sae, &found.candidates)?;
    demo.say(|out| story::steered(out, &steered))?;
    demo.say(|out| story::ending(out, &demo, &steered))?;
    let result = json!({
        "out": args.out, "hook": demo.reading().hook, "steered_hook": demo.steering().hook, "evaluation": measured,
        "features": best, "steering": steered,
    });
    context.output.result(&result, |_| Ok(()))
}
