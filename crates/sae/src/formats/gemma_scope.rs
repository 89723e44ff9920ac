//! Dictionaries of Gemma Scope: `params.npz`, and of Gemma Scope 2 `params.safetensors`.
//!
//! ```text
//! p = W_enc x + b_enc      f_i = p_i where p_i > threshold_i and p_i > 0      x_hat = sum_i f_i W_dec_i + b_dec
//! ```
//!
//! Nothing is subtracted from x (Lieberum et al. 2024). The files say neither model nor hook point; the folders that they are
//! published in do. Its transcoders read a normalised activation that has no name here, and are refused.

use super::file::{self, Elements};
use super::format::{Format, Found};
use super::npz::{self, Array};
use super::tensors::{Reader, elements_in, is_too_large};
use crate::description::{Description, Kept, Place, Provenance};
use crate::error::SaeError;
use crate::io::transposed_buffer;
use crate::kernels::buffer::Buffer;
use crate::parts::{Activation, Parts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The names of the arrays in both releases, in small letters.
const ARRAYS: [&str; 5] = ["w_enc", "w_dec", "b_enc", "b_dec", "threshold"];

pub(super) const FIRST: Format = Format {
    name: "gemma-scope",
    marker: "params.npz",
    sniff: |_| true,
    of_several: false,
    read: |folder| Release::First.read(folder.dir),
    write: None,
};

pub(super) const SECOND: Format = Format {
    name: "gemma-scope-2",
    marker: "params.safetensors",
    read: |folder| Release::Second.read(folder.dir),
    ..FIRST
};

/// Which release a directory is of.
#[derive(Clone, Copy, Debug)]
enum Release {
    First,
    Second,
}

impl Release {
    fn format(self) -> &'static Format {
        match self {
            Release::First => &FIRST,
            Release::Second => &SECOND,
        }
    }

    fn read(self, dir: &Path) -> Result<Found, SaeError> {
        let place = Folders::of(dir);
        let path = dir.join(self.format().marker);
        let hf = match self {
            Release::First => Value::Null,
            Release::Second => second_config(dir)?,
        };
        let predicts = hf.get("hf_hook_point_out").is_some_and(|out| !out.is_null() && *out != hf["hf_hook_point_in"]);
        if place.is_transcoder || predicts {
            return Err(SaeError::Foreign {
                path: dir.to_owned(),
                tool: "Gemma Scope that is a transcoder".to_owned(),
                remedy: "it reads a normalised activation that has no hook point here".to_owned(),
            });
        }
        let (mut arrays, rounded) = match self {
            Release::First => npz::read(&path, &ARRAYS, largest)?,
            Release::Second => of_safetensors(&path)?,
        };
        let (d, f, parts) = parts(&path, &mut arrays, place.is_embedding)?;
        let mut notes: Vec<String> = rounded.map(str::to_owned).into_iter().collect();
        if place.hook.is_none() {
            let problem =
                "its folders name no hook point (such as gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71)";
            notes.push(format!("{problem}; it is taken for an autoencoder of the rows that it is given"));
        }
        let reads = vec![Place { hook: place.hook, model: place.model, ..Place::default() }];
        let provenance = Provenance { reads, ..Provenance::default() };
        let kept = Kept { format: self.format().name, ..Kept::default() };
        let description = Description { provenance, kept, ..Description::new(d, f) };
        Ok(Found { description, parts, notes })
    }
}

fn second_config(dir: &Path) -> Result<Value, SaeError> {
    let path = dir.join("config.json");
    if !path.exists() {
        return Ok(Value::Null);
    }
    let wrong = |reason: String| SaeError::Config { path: path.clone(), reason };
    let config = file::json(&path)?;
    match config["architecture"].as_str() {
        None | Some("jump_relu") => Ok(config),
        Some(other) => Err(wrong(format!("architecture `{other}` is not supported; jump_relu is"))),
    }
}

/// One matrix at a time is there twice, before it is turned or after it was moved.
fn largest(sizes: &[u64]) -> u64 {
    sizes.iter().copied().max().unwrap_or(0)
}

fn of_safetensors(path: &Path) -> Result<(BTreeMap<String, Array>, Option<&'static str>), SaeError> {
    let all = elements_in(path)?;
    let bytes = file::bytes(path, Elements { all, at_once: all })?;
    let reader = Reader::new(path, &bytes)?;
    let mut arrays = BTreeMap::new();
    for name in ARRAYS {
        if reader.has(name) {
            let shape = reader.shape(name);
            arrays.insert(name.to_owned(), Array { values: reader.read(name, &shape)?, shape });
        }
    }
    reader.refuse_others("jump_relu of Gemma Scope")?;
    Ok((arrays, reader.note()))
}

fn parts(
    path: &Path,
    arrays: &mut BTreeMap<String, Array>,
    is_embedding: bool,
) -> Result<(usize, usize, Parts), SaeError> {
    let wrong =
        |name: &str, problem: String| SaeError::Tensor { path: PathBuf::from(path), tensor: name.to_owned(), problem };
    let mut take = |name: &str| {
        let missing = || "is missing; every dictionary of Gemma Scope has it".to_owned();
        arrays.remove(name).ok_or_else(|| wrong(&name.replacen('w', "W", 1), missing()))
    };
    let w_enc = take("w_enc")?;
    let [d, f] = w_enc.shape[..] else { return Err(wrong("W_enc", format!("has shape {:?}, no matrix", w_enc.shape))) };
    if d == 0 || f == 0 || is_too_large(d, f.max(d)) {
        return Err(wrong("W_enc", format!("has shape {:?}, which is out of range", w_enc.shape)));
    }
    let mut of_shape = |name: &str, shape: &[usize]| {
        let array = take(name)?;
        let problem = format!("has shape {:?} where {shape:?} is expected", array.shape);
        if array.shape == shape { Ok(array.values) } else { Err(wrong(name, problem)) }
    };
    let (w_dec, b_enc) = (of_shape("w_dec", &[f, d])?, of_shape("b_enc", &[f])?);
    let (b_dec, threshold) = (of_shape("b_dec", &[d])?, of_shape("threshold", &[f])?);
    // Those of the embedding were trained on its bare rows; `hook_embed` has them times sqrt(d), as Gemma's blocks read them.
    let scale = if is_embedding { (d as f32).sqrt() } else { 1.0 };
    let mut encoder = transposed_buffer(&w_enc.values, d, f);
    drop(w_enc);
    encoder.iter_mut().for_each(|w| *w /= scale);
    let mut decoder = Buffer::copy_of(&w_dec);
    decoder.iter_mut().for_each(|w| *w *= scale);
    let activation = Activation::JumpRelu { threshold };
    Ok((d, f, Parts { w_enc: encoder, b_enc, w_dec: decoder, b_dec, w_skip: None, activation }))
}

/// What the folders say.
#[derive(Debug, Default, PartialEq)]
struct Folders {
    hook: Option<String>,
    model: Option<String>,
    is_transcoder: bool,
    is_embedding: bool,
}

impl Folders {
    fn of(dir: &Path) -> Self {
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Self::of_names(&real.to_string_lossy())
    }

    fn of_names(path: &str) -> Self {
        let Some(at) = path.rfind("gemma-scope") else {
            return Folders { is_transcoder: path.contains("transcoder"), ..Folders::default() };
        };
        let path = &path[at..];
        let (repository, below) = path.split_once('/').unwrap_or((path, ""));
        let layer: Option<usize> = below.split('/').find_map(|folder| {
            let digits = folder.split_once("layer_")?.1;
            digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        let is_embedding = below.contains("embedding");
        let words = || repository.split('-').chain(below.split(['/', '-']));
        let site = words().find_map(|word| match word.trim_end_matches("_all") {
            "res" | "resid_post" => Some("hook_resid_post"),
            "mlp" | "mlp_out" => Some("hook_mlp_out"),
            "att" | "attn_out" => Some("attn.hook_z"),
            _ => None,
        });
        let hook = match (is_embedding, layer, site) {
            (true, ..) => Some("hook_embed".to_owned()),
            (false, Some(layer), Some(site)) => Some(format!("blocks.{layer}.{site}")),
            _ => None,
        };
        Folders {
            hook,
            model: model_of(repository),
            is_transcoder: path.contains("transcoder") || path.contains("clt"),
            is_embedding,
        }
    }
}

/// `gemma-scope-2b-pt-res` is of gemma-2-2b, `gemma-scope-9b-it-res` of gemma-2-9b-it, `gemma-scope-2-1b-pt` of gemma-3-1b-pt.
fn model_of(repository: &str) -> Option<String> {
    let rest = repository.strip_prefix("gemma-scope-")?;
    if let Some(second) = rest.strip_prefix("2-") {
        // The hub has the smallest one's base under its bare name.
        let second = if second == "270m-pt" { "270m" } else { second };
        return Some(format!("gemma-3-{second}"));
    }
    let (size, rest) = rest.split_once('-')?;
    Some(if rest.starts_with("it") { format!("gemma-2-{size}-it") } else { format!("gemma-2-{size}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_say_model_and_hook_point() {
        let hub = "/c/models--google--gemma-scope-2b-pt-res/snapshots/ab/layer_20/width_16k/average_l0_71";
        let place = Folders::of_names(hub);
        assert_eq!(
            (place.hook.as_deref(), place.model.as_deref()),
            (Some("blocks.20.hook_resid_post"), Some("gemma-2-2b"))
        );
        let of = |path: &str| Folders::of_names(path);
        assert_eq!(of("gemma-scope-9b-it-att/layer_3/x").hook.as_deref(), Some("blocks.3.attn.hook_z"));
        assert_eq!(of("gemma-scope-9b-it-att/layer_3/x").model.as_deref(), Some("gemma-2-9b-it"));
        assert_eq!(of("gemma-scope-2b-pt-res/embedding/width_4k").hook.as_deref(), Some("hook_embed"));
        assert_eq!(
            of("gemma-scope-2-1b-pt/resid_post/layer_7_width_16k").hook.as_deref(),
            Some("blocks.7.hook_resid_post")
        );
        assert_eq!(of("gemma-scope-2-1b-pt/resid_post/layer_7_width_16k").model.as_deref(), Some("gemma-3-1b-pt"));
        // Every layer has one in the folders that end in `_all`, few of them in the others.
        for (site, hook) in
            [("resid_post", "hook_resid_post"), ("mlp_out", "hook_mlp_out"), ("attn_out", "attn.hook_z")]
        {
            for folder in [site.to_owned(), format!("{site}_all")] {
                let place = of(&format!("gemma-scope-2-270m-pt/{folder}/layer_7_width_16k_l0_small"));
                assert_eq!(place.hook, Some(format!("blocks.7.{hook}")), "{folder}");
                assert_eq!(place.model.as_deref(), Some("gemma-3-270m"));
            }
        }
        assert_eq!(of("gemma-scope-2-270m-it/resid_post_all/layer_1_x").model.as_deref(), Some("gemma-3-270m-it"));
        assert!(of("gemma-scope-2b-pt-transcoders/layer_3/x").is_transcoder);
        assert_eq!(of("/data/own"), Folders::default());
    }
}
