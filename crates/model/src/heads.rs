//! What of a checkpoint stands around the decoder: wrappers' prefixes, the head that is used, and what is passed over.

use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::names::{Module, Names};
use std::collections::BTreeMap;

/// What tools put before every name: PEFT, torch.compile, data parallelism, TRL.
const WRAPPERS: [&str; 4] = ["base_model.model.", "_orig_mod.", "module.", "pretrained_model."];
/// A language model inside one of several modes, and how it calls the same alone.
const INNER: [(&str, &str); 3] =
    [("model.language_model.", "model."), ("language_model.model.", "model."), ("language_model.lm_head.", "lm_head.")];
/// Parts of names that only tensors of adapters have.
const ADAPTERS: [&str; 4] = ["lora_", ".base_layer.", ".modules_to_save.", "ia3_"];

/// What a checkpoint's head turns out to be.
pub(crate) struct Head {
    /// Whether it has one, its own or the embedding.
    pub(crate) present: bool,
    /// What a user should know of it.
    pub(crate) note: Option<String>,
}

/// Takes wrappers' prefixes off all names.
///
/// # Errors
/// Two names become one, or a tensor is one of an adapter, which changes others.
pub(crate) fn unwrap_names(checkpoint: &mut Checkpoint) -> Result<(), ModelError> {
    let mut tensors = BTreeMap::new();
    for (name, (tensor, path)) in std::mem::take(&mut checkpoint.tensors) {
        if ADAPTERS.iter().any(|part| name.contains(part)) {
            return Err(ModelError::Adapter { path: path.to_path_buf(), name });
        }
        let plain = unwrapped(&name);
        if let Some((other, _)) = tensors.insert(plain, (name.clone(), (tensor, path.clone()))) {
            return Err(ModelError::SameTensor { path: path.to_path_buf(), name, other });
        }
    }
    checkpoint.tensors = tensors.into_iter().map(|(plain, (_, held))| (plain, held)).collect();
    Ok(())
}

fn unwrapped(name: &str) -> String {
    let mut rest = name;
    while let Some(inner) = WRAPPERS.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = inner;
    }
    // torch.compile of a part puts its mark in the middle.
    let rest = rest.replace("._orig_mod.", ".");
    let inner = INNER.iter().find_map(|(long, short)| Some(format!("{short}{}", rest.strip_prefix(long)?)));
    inner.unwrap_or(rest)
}

/// Decides what the unembedding is, as transformers 5 does: where the configuration ties it to the embedding and the
/// file has both, they are one only if they are equal; where it has one of them, that is both. A file without a head that
/// is not tied has no logits.
pub(crate) fn settle(config: &mut ModelConfig, checkpoint: &mut Checkpoint) -> Head {
    let names = Names::of(config);
    let weight = |module| names.place(module).map(|(place, _)| format!("{place}.weight"));
    let (Some(embed), Some(head)) = (weight(Module::Embed), weight(Module::Unembed)) else {
        return Head { present: true, note: None };
    };
    let embed = format!("{}{embed}", names.prefix_among(checkpoint.tensors.keys()));
    let (has_embed, has_head) = (checkpoint.tensors.contains_key(&embed), checkpoint.tensors.contains_key(&head));
    match (config.tied_unembedding, has_embed, has_head) {
        (true, true, true) => {
            let (ours, own) = (&checkpoint.tensors[&embed].0, &checkpoint.tensors[&head].0);
            if ours.size() == own.size() && ours.equal(own) {
                checkpoint.tensors.remove(&head);
                return Head { present: true, note: None };
            }
            let file = checkpoint.tensors[&head].1.display().to_string();
            config.tied_unembedding = false;
            let note = format!(
                "{file}: `{head}` differs from `{embed}` although config.json ties them; it is used as it stands, as \
                 transformers does"
            );
            Head { present: true, note: Some(note) }
        }
        (true, false, true) => {
            if let Some(held) = checkpoint.tensors.remove(&head) {
                checkpoint.tensors.insert(embed, held);
            }
            Head { present: true, note: None }
        }
        (false, true, false) => {
            config.tied_unembedding = true; // so that nothing is looked for; the model refuses to give logits
            Head { present: false, note: None }
        }
        _ => Head { present: true, note: None },
    }
}

/// What is told of tensors that are no part of the model: their names, of many the first.
pub(crate) fn told(names: &[String]) -> Option<String> {
    const SHOWN: usize = 4;
    let first = names.get(..SHOWN.min(names.len())).filter(|first| !first.is_empty())?;
    let more = match names.len() - first.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
    Some(format!("passed over, because they are no part of the language model: {}{more}", first.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_come_off_however_many_there_are() {
        let cases = [
            ("base_model.model.model.norm.weight", "model.norm.weight"),
            ("module._orig_mod.transformer.wte.weight", "transformer.wte.weight"),
            ("model.layers.0._orig_mod.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
            ("model.language_model.norm.weight", "model.norm.weight"),
            ("language_model.lm_head.weight", "lm_head.weight"),
            ("model.norm.weight", "model.norm.weight"),
        ];
        for (wrapped, plain) in cases {
            assert_eq!(unwrapped(wrapped), plain);
        }
    }

    #[test]
    fn names_are_told_up_to_a_number() {
        let names: Vec<String> = (0..6).map(|n| format!("head.{n}")).collect();
        let told_of_all = told(&names).expect("something to tell");
        assert!(told_of_all.ends_with("`head.0`, `head.1`, `head.2`, `head.3` and 2 more"), "{told_of_all}");
        assert_eq!(told(&[]), None);
    }
}
