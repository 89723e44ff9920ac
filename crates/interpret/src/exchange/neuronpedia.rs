//! Rows of Neuronpedia's tables. Field names are those of its exports (`sae_dashboard/neuronpedia/neuronpedia_export.py`).

use super::files::{write as write_file, write_gzip};
use super::plan::ExportPlan;
use super::shown::{examples, statistics};
use crate::database::{Database, Run};
use crate::error::InterpretError;
use serde_json::{Value, json};
use std::path::Path;
use untangle_schema::{Example, FeatureCard, Label};

/// Features in a file.
const BATCH: usize = 256;
/// How strongly its pages steer with a feature at first.
const STRENGTH: f64 = 10.0;

pub(super) fn write(
    database: &Database,
    run: &Run,
    plan: &ExportPlan<'_>,
    root: &Path,
    advance: &mut dyn FnMut(usize) -> Result<(), InterpretError>,
) -> Result<usize, InterpretError> {
    let n = database.n_features()?;
    let mut files = 0;
    for (batch, first) in (0..n).step_by(BATCH).enumerate() {
        let (mut features, mut activations, mut explanations) = (Vec::new(), Vec::new(), Vec::new());
        let last = n.min(first + BATCH);
        for feature in first..last {
            let card = database.card(feature)?;
            line(&mut features, &feature_row(&card, run, plan));
            let rows = examples(&card).enumerate();
            rows.for_each(|(rank, (example, bin))| {
                line(&mut activations, &activation_row(&card, example, (rank, bin), run, plan))
            });
            card.labels.iter().for_each(|label| line(&mut explanations, &explanation_row(&card, label, plan)));
        }
        for (name, rows) in [("features", features), ("activations", activations), ("explanations", explanations)] {
            write_gzip(root, &format!("{name}/batch-{batch}.jsonl.gz"), &rows)?;
            files += 1;
        }
        advance(last - first)?;
    }
    for (name, row) in tables(run, plan) {
        let mut text = Vec::new();
        line(&mut text, &row);
        write_file(root, name, &text)?;
        files += 1;
    }
    Ok(files)
}

fn line(rows: &mut Vec<u8>, row: &Value) {
    rows.extend(row.to_string().into_bytes());
    rows.push(b'\n');
}

fn feature_row(card: &FeatureCard, run: &Run, plan: &ExportPlan<'_>) -> Value {
    let mut fields = statistics(card);
    let vector = plan.sae.map(|sae| sae.decoder_row(card.feature).to_vec());
    let own = json!({
        "modelId": plan.model_id, "layer": plan.source_id, "index": card.feature.to_string(), "creatorId": plan.creator,
        "sourceSetName": plan.set(), "maxActApprox": card.max_activation,
        "hasVector": vector.is_some(), "vector": vector.unwrap_or_default(), "vectorDefaultSteerStrength": STRENGTH,
        "vectorLabel": card.label_text(), "hookName": run.hook(), "topkCosSimIndices": fields["correlated_features_indices"],
        "topkCosSimValues": fields["correlated_features_l1"],
    });
    if let Value::Object(own) = own {
        fields.extend(own);
    }
    Value::Object(fields)
}

fn activation_row(
    card: &FeatureCard,
    example: &Example,
    (rank, [low, high, contains]): (usize, [f32; 3]),
    run: &Run,
    plan: &ExportPlan<'_>,
) -> Value {
    // The example's own token was drawn or stands in a band; the largest may be another one.
    let largest = example.activations.iter().copied().fold(0.0, f32::max);
    let at = example.activations.iter().position(|activation| *activation == largest).unwrap_or(example.peak);
    json!({
        "id": format!("{}-{}-{}-{rank}", plan.model_id, plan.source_id, card.feature),
        "modelId": plan.model_id, "layer": plan.source_id, "index": card.feature.to_string(), "creatorId": plan.creator,
        "tokens": example.tokens, "values": example.activations,
        "maxValue": largest, "maxValueTokenIndex": at,
        "minValue": example.activations.iter().copied().fold(f32::INFINITY, f32::min).min(0.0),
        "qualifyingTokenIndex": example.peak, "binMin": low, "binMax": high, "binContains": contains,
        "dataSource": run.store, "dataIndex": example.row.to_string(),
        "dfaValues": [], "lossValues": [], "zIndices": [], "zValues": [],
    })
}

fn explanation_row(card: &FeatureCard, label: &Label, plan: &ExportPlan<'_>) -> Value {
    let scores: Vec<String> = label.scores.iter().map(|score| format!("{} {:.3}", score.scorer, score.value)).collect();
    json!({
        "id": format!("{}-{}-{}-{}-{}", plan.model_id, plan.source_id, card.feature, label.kind.name(), label.source),
        "modelId": plan.model_id, "layer": plan.source_id, "index": card.feature.to_string(), "authorId": plan.creator,
        "description": label.text, "typeName": format!("untangle-{}-{}", label.kind.name(), label.source),
        "notes": scores.join(", "),
    })
}

fn tables(run: &Run, plan: &ExportPlan<'_>) -> [(&'static str, Value); 4] {
    let (model, set, creator) = (&plan.model_id, plan.set(), &plan.creator);
    let about = format!("{} of {}, by Untangle {}", run.sae, run.store, run.tool_version);
    [
        (
            "model.jsonl",
            json!({"id": model, "displayName": model, "displayNameShort": model, "tlensId": model, "owner": creator}),
        ),
        (
            "release.jsonl",
            json!({"name": set, "description": about, "creatorName": creator, "urls": [], "featured": false}),
        ),
        (
            "sourceset.jsonl",
            json!({"modelId": model, "name": set, "description": about, "type": "untangle", "creatorName": creator, "urls": [],
                "releaseName": set}),
        ),
        (
            "source.jsonl",
            json!({"modelId": model, "id": plan.source_id, "setName": set, "creatorId": creator, "hasDashboards": true,
                "inferenceEnabled": false, "dataset": run.store, "notes": about}),
        ),
    ]
}
