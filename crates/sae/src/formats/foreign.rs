//! What is in a directory that holds no dictionary that is read here, and what can its owner do?

use super::table;
use crate::error::SaeError;
use std::fs;
use std::path::{Path, PathBuf};
use untangle_schema::sae::files;

/// How deep folders are looked into, which is as deep as a snapshot of a hub's cache with folders of layers and widths.
const DEEPEST: usize = 6;
/// Folders that are looked into at most, so that a wrong path to a whole disk costs nothing.
const MOST_FOLDERS: usize = 2000;
/// Folders that are named.
const NAMED: usize = 5;

/// A tool whose dictionaries are known by their files and not read.
struct Tool {
    name: &'static str,
    /// Whether these names are its.
    is_its: fn(&[String]) -> bool,
    remedy: &'static str,
}

const BY_SAELENS: &str = "SAELens loads it (`SAE.from_pretrained` of its release) and writes a folder that is read: `sae.save_model(FOLDER)`";
const BY_HAND: &str = "write W_enc [d_in, d_sae], b_enc, W_dec [d_sae, d_in], b_dec and a cfg.json as SAELens has them";

const TOOLS: [Tool; 8] = [
    Tool {
        name: "dictionary_learning (ae.pt)",
        is_its: |names| names.iter().any(|name| name == "ae.pt"),
        remedy: "load it with dictionary_learning or SAELens (loader dictionary_learning_1) and save it with SAELens \
                 (`sae.save_model(FOLDER)`); a .pt file is a Python program",
    },
    Tool {
        name: "Llama Scope, of Language-Model-SAEs (hyperparams.json)",
        is_its: |names| names.iter().any(|name| name == "hyperparams.json" || name == "lm_config.json"),
        remedy: BY_SAELENS,
    },
    Tool {
        name: "circuit-tracer: a set of transcoders, one for every layer (config.yaml)",
        is_its: |names| {
            let layer =
                |name: &String| is_layer(name, &["layer_", "W_enc_", "W_dec_"]) && name.ends_with(".safetensors");
            names.iter().any(layer)
        },
        remedy: "SAELens loads its layers (`SAE.from_pretrained` of the release) and saves each as a folder of its own",
    },
    Tool {
        name: "Qwen Scope (layerN.sae.pt)",
        is_its: |names| names.iter().any(|name| name.ends_with(".sae.pt")),
        remedy: BY_SAELENS,
    },
    Tool {
        name: "Anthropic's or OpenAI's form of a bare state (autoencoder.pt, N.pt)",
        is_its: |names| {
            let own = |name: &String| name == "autoencoder.pt" || name.strip_suffix(".pt").is_some_and(is_number);
            names.iter().any(own)
        },
        remedy: "load it with openai/sparse_autoencoder and write it as SAELens does; a .pt file is a Python program",
    },
    Tool {
        name: "SAELens while it trains (trainer_state.pt)",
        is_its: |names| names.iter().any(|name| name == "trainer_state.pt"),
        remedy: "save it for inference with SAELens (`save_inference_model`)",
    },
    Tool {
        name: "PyTorch, of whatever tool (a .pt or .pth file)",
        is_its: |names| {
            let has_config = names.iter().any(|name| name == "config.json" || name == "generation_config.json");
            let is_state = |name: &String| {
                [".pt", ".pth", ".ckpt", ".pkl"].iter().any(|end| name.ends_with(end))
                    && !name.starts_with("pytorch_model")
            };
            !has_config && names.iter().any(is_state)
        },
        remedy: "load it with the tool that wrote it and save it with SAELens (`sae.save_model(FOLDER)`); such a file is a Python program",
    },
    Tool {
        name: "an unnamed tool: tensors without a configuration (sae_weights.safetensors, sae.safetensors)",
        is_its: |names| names.iter().any(|name| name == files::WEIGHTS || name == "sae.safetensors"),
        remedy: BY_HAND,
    },
];

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_layer(name: &str, stems: &[&str]) -> bool {
    let rest = stems.iter().find_map(|stem| name.strip_prefix(stem));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The tool whose dictionary lies in `dir`, as far as the names of its files say.
pub(super) fn tool_of(dir: &Path) -> Option<&'static str> {
    tool(dir).map(|tool| tool.name)
}

fn tool(dir: &Path) -> Option<&'static Tool> {
    let names = names_in(dir);
    // A model's weights may be PyTorch's as well.
    let is_model = names.iter().any(|name| name == "config.json")
        && names
            .iter()
            .any(|name| name.starts_with("model") || name.starts_with("pytorch_model") || name == "tokenizer.json");
    TOOLS.iter().find(|tool| !is_model && (tool.is_its)(&names))
}

/// What `dir` is instead of a dictionary that is read, and what to do.
pub(super) fn instead_of(dir: &Path) -> SaeError {
    let none = |problem: String, remedy: String| SaeError::NoDictionary { path: dir.to_owned(), problem, remedy };
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(source) => return SaeError::Io { path: dir.to_owned(), source },
    };
    if !metadata.is_dir() {
        return of_file(dir);
    }
    if let Some(tool) = tool(dir) {
        let (tool, remedy) = (tool.name.to_owned(), tool.remedy.to_owned());
        return SaeError::Foreign { path: dir.to_owned(), tool, remedy };
    }
    let below = dictionaries_below(dir);
    if !below.is_empty() {
        let list = below.iter().take(NAMED).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let more = if below.len() > NAMED { format!(", and {} more", below.len() - NAMED) } else { String::new() };
        return none(
            format!("holds no dictionary itself, but its folders do: {list}{more}"),
            "name one of them".to_owned(),
        );
    }
    if dir.join("config.json").exists() {
        return none(
            "is a model's directory or another tool's, with config.json and without cfg.json".to_owned(),
            form(),
        );
    }
    none("holds no dictionary".to_owned(), form())
}

fn form() -> String {
    format!(
        "a dictionary is a folder with {} and {}, as SAELens and `untangle train` write it",
        files::CONFIG,
        files::WEIGHTS
    )
}

/// A file was named. Its folder may be a dictionary's.
fn of_file(path: &Path) -> SaeError {
    let folder = path.parent().filter(|parent| table::is_at(parent) && tool(parent).is_none());
    let remedy = folder.map_or_else(form, |_| "name the folder that it lies in".to_owned());
    let problem = match path.extension().and_then(|extension| extension.to_str()) {
        Some("pt" | "pth" | "ckpt" | "pkl") => "is a file of PyTorch, which is a Python program and not read here",
        _ => "is a file, not a folder",
    };
    SaeError::NoDictionary { path: path.to_owned(), problem: problem.to_owned(), remedy }
}

/// Folders below `dir` that hold a dictionary, in the order of their names.
fn dictionaries_below(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut looked) = (Vec::new(), 0);
    let mut level = vec![dir.to_owned()];
    for _ in 0..DEEPEST {
        let mut next = Vec::new();
        for folder in &level {
            let folders = names_in(folder).into_iter().map(|name| folder.join(name)).filter(|path| path.is_dir());
            for folder in folders {
                looked += 1;
                if looked > MOST_FOLDERS {
                    return found;
                }
                let is_one = table::is_at(&folder) || tool(&folder).is_some();
                if is_one { found.push(folder) } else { next.push(folder) }
            }
        }
        level = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::Sae;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
            fs::write(path, "{}").expect("written");
        }
        dir
    }

    fn told(names: &[&str]) -> String {
        Sae::load(folder(names).path()).expect_err("no dictionary").to_string()
    }

    #[test]
    fn other_tools_are_named_with_a_remedy() {
        for (names, tool) in [
            (&["ae.pt", "config.json"][..], "dictionary_learning"),
            (&["hyperparams.json", "checkpoints/final.safetensors"], "Llama Scope"),
            (&["config.yaml", "layer_0.safetensors", "layer_1.safetensors"], "circuit-tracer"),
            (&["config.yaml", "W_enc_0.safetensors", "W_dec_0.safetensors"], "circuit-tracer"),
            (&["layer0.sae.pt"], "Qwen Scope"),
            (&["autoencoder.pt"], "OpenAI"),
            (&["7.pt"], "OpenAI"),
            (&["trainer_state.pt", "activation_scaler.json"], "SAELens while it trains"),
            (&["Llama-3.1-8B-Instruct-SAE-l19.pth", "README.md"], "PyTorch"),
            (&["sae.safetensors"], "without a configuration"),
        ] {
            let message = told(names);
            assert!(message.contains(tool) && message.contains("not read here; "), "{names:?}: {message}");
            assert!(!message.contains("os error"), "{message}");
            assert!(Sae::is_at(folder(names).path()), "inspect says so too");
        }
    }

    #[test]
    fn a_model_and_an_empty_folder_are_no_dictionaries() {
        for names in [&["config.json", "model.safetensors"][..], &["config.json", "pytorch_model.bin", "x.pt"]] {
            assert!(told(names).contains("is a model's directory"), "{}", told(names));
            assert!(!Sae::is_at(folder(names).path()));
        }
        assert!(told(&["README.md"]).contains("holds no dictionary; a dictionary is a folder with cfg.json"));
        let gone = Sae::load(Path::new("/no/such/folder")).expect_err("no folder");
        assert!(matches!(gone, SaeError::Io { .. }));
    }

    #[test]
    fn dictionaries_in_folders_are_named() {
        let message = told(&["layers.0/cfg.json", "layers.1/cfg.json", "logs/x.txt"]);
        assert!(message.contains("its folders do") && message.contains("layers.0") && message.contains("layers.1"));
        assert!(!message.contains("logs"), "{message}");
        let cache = "models--google--gemma-scope-2b-pt-res/snapshots/ab/layer_0/width_16k/average_l0_7/params.npz";
        let message = told(&[cache]);
        assert!(message.contains("average_l0_7"), "{message}");
        let many: Vec<String> = (0..9).map(|layer| format!("layers.{layer}/cfg.json")).collect();
        let message = told(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(message.contains("and 4 more"), "{message}");
    }

    #[test]
    fn a_file_is_no_folder() {
        let dir = folder(&["cfg.json", "ae.pt"]);
        let message = |name: &str| Sae::load(&dir.path().join(name)).expect_err("a file").to_string();
        assert!(message("ae.pt").contains("a file of PyTorch"), "{}", message("ae.pt"));
        let own = folder(&["cfg.json"]);
        let message = Sae::load(&own.path().join("cfg.json")).expect_err("a file").to_string();
        assert!(message.contains("name the folder that it lies in"), "{message}");
    }
}
