//! What a server would take: model, dictionaries, and the keys and values of as many texts as are written at a time.

use super::resources::{Parts, Resources, own_memory};
use crate::commands::serve::ServeArgs;
use crate::context::Context;
use serde_json::json;
use untangle_model::KvCache;
use untangle_model::generate::LOGITS_AT_ONCE;
use untangle_serve::PROMPTS_AT_ONCE;

/// Numbers of a token of a prompt that are in memory in a pass at a time: of so many streams as wide as the model, and of so many
/// as its MLPs (chosen, beyond what is seen).
const STREAMS: usize = 12;
const HIDDEN: usize = 4;
/// Tables of logits of prompts whose tokens are scored: what the model gives, and what becomes of it.
const SCORED: u64 = 4;

pub(super) fn run(args: &ServeArgs, context: &Context) -> anyhow::Result<()> {
    let recipe = args.recipe()?;
    let loaded = args.named(recipe.as_ref(), context)?.load(args, context)?;
    let (model, texts) = (&loaded.model, args.limits().batch);
    let columns = model.max_context();
    let of = |rows, columns| KvCache::bytes_for(model.config(), model.kind(), rows, columns);
    let (at_once, config) = (PROMPTS_AT_ONCE.min(texts * columns) as u64, model.config());
    let of_a_token = 4 * (STREAMS * config.d_model + HIDDEN * config.d_mlp) as u64;
    let logits = SCORED * 4 * LOGITS_AT_ONCE.min(at_once * model.vocab_size() as u64);
    let resources = Resources {
        memory: Parts::together(vec![
            ("model and dictionaries", own_memory()),
            ("keys and values, where every text fills the context", of(texts, columns)),
            ("passes over prompts", at_once * of_a_token),
            ("logits of prompts that are scored", logits),
        ]),
        disk: Parts::together(Vec::new()),
        flops: None,
        time: None,
        plans: json!({ "texts": texts, "tokens": columns, "keys_and_values_of_a_token": of(1, 1) }),
    };
    let kib = of(1, 1) as f64 / 1024.0;
    let what = format!("{texts} texts at a time, of at most {columns} tokens, each of which takes {kib:.1} KiB");
    resources.show(&what, context)
}
