//! Dictionaries of EleutherAI's sparsify: a folder per hook point with `cfg.json` and `sae.safetensors`.
//!
//! ```text
//! p = relu(encoder.weight (x - b_dec) + encoder.bias)      x_hat = sum over the k largest p_i of p_i W_dec_i + b_dec
//! ```
//!
//! Source: sparsify 1.3, `sparse_coder.py`, which takes `b_dec` off x in every autoencoder. SAELens' loader of these files does so
//! only where the configuration does not say `normalize_decoder`, and so gives other numbers for most. Where the folder lies says which hook point it belongs to.

use super::file::{self, Elements};
use super::format::{Folder, Format, Found};
use super::tensors::{Reader, is_too_large};
use crate::description::{Description, Kept, Place, Provenance};
use crate::error::SaeError;
use crate::parts::{Activation, Parts};
use serde_json::Value;
use std::path::Path;
use untangle_schema::sae::files;

pub(super) const FORMAT: Format =
    Format { name: "sparsify", marker: files::CONFIG, sniff: is_its, of_several: false, read, write: None };

const WEIGHTS: &str = "sae.safetensors";

/// Whether `cfg.json` is sparsify's: its tensors lie beside it, or it has keys that only sparsify writes.
fn is_its(folder: &Folder<'_>) -> bool {
    let Folder { dir, config } = folder;
    let of_saelens = config.get("d_sae").is_some() || dir.join(files::WEIGHTS).exists();
    let keys = ["expansion_factor", "num_latents"].iter().any(|key| config.get(*key).is_some());
    !of_saelens && (dir.join(WEIGHTS).exists() || (keys && config.get("k").is_some()))
}

fn read(folder: Folder<'_>) -> Result<Found, SaeError> {
    let Folder { dir, config } = folder;
    let path = dir.join(files::CONFIG);
    let wrong = |reason: String| SaeError::Config { path: path.clone(), reason: format!("(of sparsify) {reason}") };
    let (d, f, k) = sizes(&config).map_err(wrong)?;
    let weights = dir.join(WEIGHTS);
    let bytes = file::bytes(&weights, elements(d, f))?;
    let reader = Reader::new(&weights, &bytes)?;
    let parts = Parts {
        w_enc: reader.matrix("encoder.weight", &[f, d])?,
        b_enc: reader.read("encoder.bias", &[f])?,
        w_dec: reader.matrix("W_dec", &[f, d])?,
        b_dec: reader.read("b_dec", &[d])?,
        w_skip: None,
        activation: Activation::TopK { k },
    };
    reader.refuse_others("topk of sparsify")?;
    let rounded = reader.note();
    drop(bytes);
    let provenance = provenance(dir);
    let mut notes: Vec<String> = rounded.map(str::to_owned).into_iter().collect();
    if provenance.hook().is_none() {
        notes.push(
            "its folder is named for no hook point that is known (layers.N, layers.N.mlp, layers.N.attn, embed_tokens)"
                .to_owned(),
        );
    }
    let kept = Kept { format: FORMAT.name, ..Kept::default() };
    let description = Description { subtracts_b_dec: true, provenance, kept, ..Description::new(d, f) };
    Ok(Found { description, parts, notes })
}

/// Two matrices and two biases, of which nothing is transposed.
fn elements(d: usize, f: usize) -> Elements {
    let all = 2 * (d as u64) * (f as u64) + d as u64 + f as u64;
    Elements { all, at_once: all }
}

/// d_in, d_sae and k.
fn sizes(config: &Value) -> Result<(usize, usize, usize), String> {
    let activation = config["activation"].as_str().unwrap_or("topk");
    if activation != "topk" {
        return Err(format!("activation `{activation}` is not supported; topk is"));
    }
    for (key, what) in [
        ("signed", "keeps negative activations"),
        ("transcode", "predicts what a module writes"),
        ("skip_connection", "adds a linear map of what it reads"),
    ] {
        if config[key] == true {
            return Err(format!("`{key}` is true: it {what}, which is not supported for top-k dictionaries"));
        }
    }
    let number = |key: &str| match &config[key] {
        Value::Null => Ok(0),
        value => value.as_u64().map(|n| n as usize).ok_or_else(|| format!("`{key}` is {value}, not a count")),
    };
    let (d, k, latents) = (number("d_in")?, number("k")?, number("num_latents")?);
    let f = if latents == 0 { d.saturating_mul(number("expansion_factor")?) } else { latents };
    if d == 0 || f == 0 || is_too_large(d, f.max(d)) {
        return Err(format!("d_in {d} and {f} features are out of range"));
    }
    if k == 0 || k > f {
        return Err(format!("k = {k} is not between 1 and {f} features"));
    }
    Ok((d, f, k))
}

/// The run's own configuration lies one folder up, two where there are folders of seeds.
fn provenance(dir: &Path) -> Provenance {
    let run = dir.ancestors().skip(1).take(2).find_map(|above| file::text(&above.join("config.json")).ok());
    let run: Value = run.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let model = run["model"].as_str().map(str::to_owned);
    Provenance {
        reads: vec![Place { hook: hook_of(dir), model, ..Place::default() }],
        context_size: run["ctx_len"].as_u64().map(|n| n as usize),
        ..Provenance::default()
    }
}

/// sparsify names folders for the modules whose output they belong to.
fn hook_of(dir: &Path) -> Option<String> {
    let real = dir.canonicalize().ok()?;
    let names: Vec<&str> = real.ancestors().take(2).filter_map(|path| path.file_name()?.to_str()).collect();
    names.into_iter().find_map(hook_of_module)
}

fn hook_of_module(name: &str) -> Option<String> {
    if name.ends_with("embed_tokens") || name.ends_with("wte") || name.ends_with("embed_in") {
        return Some("hook_embed".to_owned());
    }
    let below = ["layers.", "layers_", "h."].iter().find_map(|stem| {
        let (before, below) = name.split_once(stem)?;
        (before.is_empty() || before.ends_with('.')).then_some(below)
    })?;
    let (layer, module) = below.split_once('.').unwrap_or((below, ""));
    let layer: usize = layer.parse().ok()?;
    let site = match module {
        "" => "hook_resid_post",
        "mlp" => "hook_mlp_out",
        "attn" | "self_attn" | "attention" => "hook_attn_out",
        _ => return None,
    };
    Some(format!("blocks.{layer}.{site}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_for_modules() {
        for (name, hook) in [
            ("layers.5", Some("blocks.5.hook_resid_post")),
            ("layers.12.mlp", Some("blocks.12.hook_mlp_out")),
            ("gpt_neox.layers.3.attention", Some("blocks.3.hook_attn_out")),
            ("transformer.h.0", Some("blocks.0.hook_resid_post")),
            ("embed_tokens", Some("hook_embed")),
            ("layers.5.input_layernorm", None),
            ("sparsify", None),
        ] {
            assert_eq!(hook_of_module(name).as_deref(), hook, "{name}");
        }
    }

    #[test]
    fn sizes_by_its_rules() {
        let read = |text: &str| sizes(&serde_json::from_str(text).expect("json"));
        assert_eq!(read(r#"{"d_in": 4, "expansion_factor": 8, "num_latents": 0, "k": 3}"#), Ok((4, 32, 3)));
        assert_eq!(read(r#"{"d_in": 4, "expansion_factor": 8, "num_latents": 5, "k": 3}"#), Ok((4, 5, 3)));
        for (text, said) in [
            (r#"{"d_in": 4, "expansion_factor": 8, "k": 33}"#, "k = 33"),
            (r#"{"d_in": 4, "expansion_factor": 0, "k": 3}"#, "out of range"),
            (r#"{"d_in": 4294967296, "expansion_factor": 4294967296, "k": 3}"#, "out of range"),
            (r#"{"d_in": -4, "k": 3}"#, "not a count"),
            (r#"{"d_in": 4, "num_latents": 5, "k": 3, "activation": "groupmax"}"#, "groupmax"),
            (r#"{"d_in": 4, "num_latents": 5, "k": 3, "transcode": true}"#, "`transcode`"),
            (r#"{"d_in": 4, "num_latents": 5, "k": 3, "signed": true}"#, "`signed`"),
        ] {
            let message = read(text).expect_err("refused");
            assert!(message.contains(said), "`{message}` does not say `{said}`");
        }
    }
}
