//! What a server would take: model, dictionaries, and the keys and values of as many texts as are written at a time.

use super::resources::{Parts, Resources, own_memory};
use crate::commands::serve::ServeArgs;
use crate::context::Context;
use serde_json::json;
use untangle_model::KvCache;

pub(super) fn run(args: &ServeArgs, context: &Context) -> anyhow::Result<()> {
    let recipe = args.recipe()?;
    let loaded = args.named(recipe.as_ref(), context)?.load(args, context)?;
    let (model, texts) = (&loaded.model, args.limits().batch);
    let columns = model.max_context();
    let of = |rows, columns| KvCache::bytes_for(model.config(), model.kind(), rows, columns);
    let resources = Resources {
        memory: Parts::together(vec![
            ("model and dictionaries", own_memory()),
            ("keys and values, where every text fills the context", of(texts, columns)),
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
