//! How a training run lies on disk: its state, from which it goes on, and the finished model.
//!
//! Files are written under another name and renamed, so that a reader never sees half of one. Both kinds are
//! safetensors with at most one metadata key, because the order of several is random.

use crate::adam::Adam;
use crate::error::OrganismError;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::Path;
use tch::{Kind, Tensor};
use untangle_schema::whole;

/// The metadata key that says what is trained, and how many steps are done.
const KEY: &str = "organism";

/// The field of what stands there that holds a checksum.
const CHECKSUM: &str = "crc32";

/// CRC-32 over what a state says of itself and its tensors: a damaged one is not gone on from.
fn checksum(state: &serde_json::Value, mut tensors: Vec<(&str, &[u8])>) -> u32 {
    tensors.sort_unstable_by_key(|(name, _)| *name);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(format!("{} {}", state["run"], state["steps_done"]).as_bytes());
    for (name, bytes) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(bytes);
    }
    hasher.finalize()
}

/// Writes weights, moments and the number of finished steps.
pub(crate) fn save_state(
    path: &Path,
    run: &serde_json::Value,
    steps_done: u64,
    parameters: &[(String, Tensor)],
    adam: &Adam,
) -> Result<(), OrganismError> {
    let mut tensors = Vec::new();
    for (i, (name, weight)) in parameters.iter().enumerate() {
        for (kind, tensor) in [("weight", weight), ("first", &adam.first[i]), ("second", &adam.second[i])] {
            tensors.push((format!("{kind}/{name}"), tensor.shallow_clone()));
        }
    }
    let state = serde_json::json!({ "run": run, "steps_done": steps_done });
    write(path, &tensors, Kind::Float, Some(state))
}

/// Reads a state into the parameters and moments; returns the number of finished steps, 0 where there is no state.
pub(crate) fn load_state(
    path: &Path,
    run: &serde_json::Value,
    parameters: &[(String, Tensor)],
    adam: &mut Adam,
) -> Result<u64, OrganismError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        bytes => bytes.map_err(|source| OrganismError::Io { path: path.to_owned(), source })?,
    };
    let damaged = |reason: String| OrganismError::State { path: path.to_owned(), reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    let state = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let state: serde_json::Value = state
        .and_then(|state| serde_json::from_str(state).ok())
        .ok_or_else(|| damaged("it does not say which recipe it belongs to".into()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let stored: Vec<_> = tensors.iter().map(|(name, view)| (name, view.data())).collect();
    if state[CHECKSUM] != checksum(&state, stored) {
        return Err(damaged("it is damaged: it does not have its checksum".into()));
    }
    if state["run"] != *run {
        return Err(damaged(format!("it belongs to another recipe: {}", state["run"])));
    }
    for (i, (name, weight)) in parameters.iter().enumerate() {
        for (kind, target) in [("weight", weight), ("first", &adam.first[i]), ("second", &adam.second[i])] {
            restore(&tensors, &format!("{kind}/{name}"), target).map_err(damaged)?;
        }
    }
    state["steps_done"].as_u64().ok_or_else(|| damaged("it does not say how many steps are done".into()))
}

/// Reads a state's weights into the parameters.
pub(crate) fn load_weights(path: &Path, parameters: &[(String, Tensor)]) -> Result<(), OrganismError> {
    let bytes = std::fs::read(path).map_err(|source| OrganismError::Io { path: path.to_owned(), source })?;
    let damaged = |reason: String| OrganismError::State { path: path.to_owned(), reason };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    for (name, weight) in parameters {
        restore(&tensors, &format!("weight/{name}"), weight).map_err(damaged)?;
    }
    Ok(())
}

/// Copies a stored tensor into one of its shape.
fn restore(tensors: &SafeTensors<'_>, name: &str, target: &Tensor) -> Result<(), String> {
    let view = tensors.tensor(name).map_err(|error| error.to_string())?;
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    if shape != target.size() || view.dtype() != Dtype::F32 {
        return Err(format!("{name} is {:?} {shape:?}, expected f32 {:?}", view.dtype(), target.size()));
    }
    let stored = Tensor::from_data_size(view.data(), &shape, Kind::Float);
    tch::no_grad(|| target.shallow_clone().copy_(&stored));
    Ok(())
}

/// Writes the finished weights in f16 under the names of a llama checkpoint.
pub(crate) fn save_model(path: &Path, parameters: &[(String, Tensor)]) -> Result<(), OrganismError> {
    let named: Vec<_> = parameters.iter().map(|(name, tensor)| (llama_name(name), tensor.shallow_clone())).collect();
    write(path, &named, Kind::Half, None)
}

/// `blocks.3.attn.q.weight` is `model.layers.3.self_attn.q_proj.weight`.
fn llama_name(name: &str) -> String {
    const PARTS: [(&str, &str); 11] = [
        ("blocks.", "layers."),
        ("embed.", "embed_tokens."),
        ("ln_final.", "norm."),
        ("ln1", "input_layernorm"),
        ("ln2", "post_attention_layernorm"),
        ("attn.q", "self_attn.q_proj"),
        ("attn.k", "self_attn.k_proj"),
        ("attn.v", "self_attn.v_proj"),
        ("attn.out", "self_attn.o_proj"),
        ("mlp.first", "mlp.gate_proj"),
        ("mlp.down", "mlp.down_proj"),
    ];
    let renamed = PARTS.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs));
    format!("model.{}", renamed.replace("mlp.up.", "mlp.up_proj."))
}

fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    kind: Kind,
    state: Option<serde_json::Value>,
) -> Result<(), OrganismError> {
    let (dtype, width) = if kind == Kind::Half { (Dtype::F16, 2) } else { (Dtype::F32, 4) };
    let stored: Vec<(&String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let flat = tensor.detach().to_device(tch::Device::Cpu).to_kind(kind).contiguous();
            let mut bytes = vec![0; flat.numel() * width];
            flat.copy_data_u8(&mut bytes, flat.numel());
            (name, tensor.size().iter().map(|size| *size as usize).collect(), bytes)
        })
        .collect();
    let refused = |error: safetensors::SafeTensorError| {
        let reason = error.to_string();
        OrganismError::State { path: path.to_owned(), reason }
    };
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| Ok(((*name).clone(), TensorView::new(dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let metadata = state.map(|mut state| {
        let sum = checksum(&state, stored.iter().map(|(name, _, bytes)| (name.as_str(), &bytes[..])).collect());
        state[CHECKSUM] = sum.into();
        HashMap::from([(KEY.to_owned(), state.to_string())])
    });
    write_whole(path, &safetensors::serialize(views, metadata).map_err(refused)?)
}

/// Writes a file whole: under another name, made durable, and then given its own.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), OrganismError> {
    whole::replace(path, bytes).map_err(|source| OrganismError::Io { path: path.to_owned(), source })
}
