//! `untangle organism concepts`: which concepts does the world have, and how often does each occur?

use crate::context::Context;
use crate::exit::Complaint;
use crate::output::table;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::ops::Range;
use untangle_organism::{Occurrence, Split, Statistics, World};
use untangle_schema::{Concept, ConceptKind};
use untangle_sources::world::tokenizer;

/// List the world's concepts by family, with definition and frequency
#[derive(Debug, Args)]
pub(crate) struct ConceptsArgs {
    /// Training documents of seed 0 that are counted
    #[arg(long, value_name = "N", default_value_t = 4000)]
    documents: usize,
}

/// A concept with its frequency.
#[derive(Serialize)]
struct Counted<'w> {
    #[serde(flatten)]
    concept: &'w Concept,
    /// Tokens at which it can be told, of all.
    frequency: f64,
    /// Documents in which it can be told, of all.
    document_frequency: f64,
}

pub(crate) fn run(args: &ConceptsArgs, context: &Context) -> anyhow::Result<()> {
    if args.documents == 0 {
        return Err(Complaint::usage("--documents 0 leaves nothing to count"));
    }
    let (world, tokenizer) = (World::standard(), tokenizer()?);
    let cut = |text: &str| -> Vec<Range<usize>> {
        let tokens = tokenizer.encode_with_ranges(text).unwrap_or_default();
        tokens.into_iter().map(|(_, range)| range).collect()
    };
    let counts = Statistics::count(world, world.documents(0, Split::Train).take(args.documents), cut);
    let counted = |concept: &'static Concept| {
        let Occurrence { documents, .. } = counts.concepts[usize::from(concept.id.0)];
        let document_frequency = documents as f64 / counts.documents as f64;
        Counted { concept, frequency: counts.frequency(concept.id), document_frequency }
    };
    let mut concepts: Vec<_> = world.concepts().all().iter().map(counted).collect();
    // Families as the world lists them, the commonest concept of each first.
    let family = |name: &str| world.concepts().all().iter().position(|concept| concept.family == name);
    concepts.sort_by(|a, b| {
        let order = family(&a.concept.family).cmp(&family(&b.concept.family));
        order.then(b.frequency.total_cmp(&a.frequency))
    });
    let value = json!({ "documents": counts.documents, "tokens": counts.tokens, "concepts": concepts });
    context.output.result(&value, |out| {
        table(out, &rows(&concepts), &[0, 1, 2, 5])?;
        writeln!(
            out,
            "\n{} concepts, counted in {} documents of {} tokens",
            concepts.len(),
            counts.documents,
            counts.tokens
        )
    })
}

fn rows(concepts: &[Counted<'_>]) -> Vec<Vec<String>> {
    let head = ["family", "concept", "kind", "1 token in", "documents", "definition"].map(str::to_owned);
    let row = |counted: &Counted<'_>| {
        let kind = match counted.concept.kind {
            ConceptKind::Mention => "mention",
            ConceptKind::Scope => "scope",
        };
        let often = if counted.frequency > 0.0 { format!("{:.0}", 1.0 / counted.frequency) } else { "-".to_owned() };
        let documents = format!("{:.1} %", 100.0 * counted.document_frequency);
        let Concept { family, name, definition, .. } = counted.concept;
        vec![family.clone(), name.clone(), kind.to_owned(), often, documents, definition.clone()]
    };
    std::iter::once(head.to_vec()).chain(concepts.iter().map(row)).collect()
}
