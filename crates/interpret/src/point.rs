//! Where a dictionary belongs: its hook point, the column of a store that it reads, the model that it was trained on.

use crate::error::InterpretError;
use untangle_model::LanguageModel;
use untangle_model::config::NormKind;
use untangle_sae::{Crosscoder, Sae};
use untangle_schema::{HookPoint, ModelIdentity};
use untangle_store::ActivationSet;

/// The hook point that the dictionary reads.
///
/// # Errors
/// When it names none, or one that is not known.
pub fn point_of(sae: &Sae) -> Result<HookPoint, InterpretError> {
    match sae.provenance().hook() {
        None => Err(InterpretError::NoHookPoint { found: "no hook_name".to_owned() }),
        Some(name) => name.parse().map_err(|_| InterpretError::NoHookPoint { found: format!("hook_name `{name}`") }),
    }
}

/// The hook point at which `sae` writes: where it reads, or what a transcoder predicts.
///
/// # Errors
/// As [`point_of`].
pub fn written_point_of(sae: &Sae) -> Result<HookPoint, InterpretError> {
    if !sae.is_transcoder() {
        return point_of(sae);
    }
    match &sae.provenance().predicts {
        None => Err(InterpretError::NoOutputPoint { found: "no hook_name_out".to_owned() }),
        Some(name) => {
            name.parse().map_err(|_| InterpretError::NoOutputPoint { found: format!("hook_name_out `{name}`") })
        }
    }
}

/// The column of `store` that a transcoder predicts, of those of other names than it reads; none of an autoencoder.
///
/// # Errors
/// When there is no such column, or its width is not what the transcoder writes.
pub fn predicted_column_of(sae: &Sae, store: &ActivationSet) -> Result<Option<usize>, InterpretError> {
    if !sae.is_transcoder() {
        return Ok(None);
    }
    let Some(own) = sae.provenance().predicts.as_deref() else {
        return Err(InterpretError::NoOutputPoint { found: "no hook_name_out".to_owned() });
    };
    let Some(column) = store.columns().iter().position(|column| column.name == own) else {
        let names: Vec<&str> = store.columns().iter().map(|column| column.name.as_str()).collect();
        let (own, store) = (own.to_owned(), store.name());
        return Err(InterpretError::OutputMissing { own, store, holds: names.join(", ") });
    };
    let found = store.columns()[column].d;
    match found == sae.d_out() {
        true => Ok(Some(column)),
        false => {
            let what = format!("`{own}` of {}", store.name());
            Err(InterpretError::OutputWidthDiffers { d_out: sae.d_out(), what, found })
        }
    }
}

/// The column of `store` that `sae` reads: `named`, else the one that it says it reads. The only column will do
/// where nothing says otherwise: it is a plain matrix, which has no hook point, or the dictionary names none.
///
/// # Errors
/// When there is no such column, its width is not the dictionary's, or the store is of another model than the dictionary's.
pub fn column_of(sae: &Sae, store: &ActivationSet, named: Option<&str>) -> Result<usize, InterpretError> {
    check_store(sae, store)?;
    let own = sae.provenance().hook();
    let find = |name: &str| store.columns().iter().position(|column| column.name == name);
    let column = match (named, own, store.columns()) {
        (Some(name), ..) => store.column(name)?,
        (None, Some(own), columns) => match find(own) {
            Some(column) => column,
            None if matches!(columns, [only] if only.hook.is_none()) => 0,
            None => {
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                return Err(InterpretError::OtherHook {
                    own: own.to_owned(),
                    store: store.name(),
                    holds: names.join(", "),
                });
            }
        },
        (None, None, [_]) => 0,
        (None, None, _) => return Err(InterpretError::NoHookPoint { found: "no hook_name".to_owned() }),
    };
    let (d_in, found) = (sae.d_in(), store.columns()[column].d);
    if d_in != found {
        let what = format!("`{}` of {}", store.columns()[column].name, store.name());
        return Err(InterpretError::WidthDiffers { d_in, what, found });
    }
    Ok(column)
}

/// The columns of `store` that `crosscoder` reads, in order: of every part, the one of its hook point and model.
///
/// # Errors
/// When there is none, or its width is not the crosscoder's.
pub fn columns_of(crosscoder: &Crosscoder, store: &ActivationSet) -> Result<Vec<usize>, InterpretError> {
    let d_in = crosscoder.part_width();
    let mut taken: Vec<usize> = Vec::new();
    for part in crosscoder.places() {
        let hook = part.hook.as_deref().unwrap_or_default();
        let named = store.columns_named(hook);
        let weights = |column: &usize| store.model_of(*column).map(|model| model.weights_sha256.clone());
        let same = |column: &&usize| weights(column) == part.model_weights && !taken.contains(*column);
        let Some(&column) = named.iter().find(same) else {
            let own = format!("{hook} of {}", part.model.as_deref().unwrap_or("a matrix"));
            let names = store.columns().iter().enumerate();
            let names = names.map(|(column, about)| match store.model_of(column) {
                Some(model) => format!("{} of {}", about.name, model.name),
                None => about.name.clone(),
            });
            return Err(InterpretError::PartMissing {
                own,
                store: store.name(),
                holds: names.collect::<Vec<_>>().join(", "),
            });
        };
        let found = store.columns()[column].d;
        if found != d_in {
            let what = format!("`{hook}` of {}", store.name());
            return Err(InterpretError::WidthDiffers { d_in, what, found });
        }
        taken.push(column);
    }
    Ok(taken)
}

/// Whether `sae` was trained on activations of `model`, as far as it says: dictionaries from elsewhere do
/// not name weights and pass, and so do those that are to be used on any model.
///
/// # Errors
/// When it names other weights, or says that the model's weights were centred where no tool centres them.
pub fn check_model(sae: &Sae, model: &LanguageModel) -> Result<(), InterpretError> {
    let has_rms_norm = model.config().norm.kind == NormKind::RmsNorm;
    if has_rms_norm && sae.takes_means_off() && !sae.is_of_any_model() {
        return Err(InterpretError::CentredWithoutMean { model: model.identity().name });
    }
    check_identity(sae, &model.identity())
}

/// The same of the model that a store was captured from; a matrix names none and passes.
///
/// # Errors
/// When the dictionary names other weights.
pub fn check_store(sae: &Sae, store: &ActivationSet) -> Result<(), InterpretError> {
    store.manifest().map_or(Ok(()), |manifest| check_identity(sae, &manifest.model))
}

fn check_identity(sae: &Sae, given: &ModelIdentity) -> Result<(), InterpretError> {
    let provenance = sae.provenance();
    match provenance.model_weights() {
        Some(hash) if hash != given.weights_sha256 && !sae.is_of_any_model() => {
            Err(InterpretError::OtherModelThanDictionary {
                expected: model_name(provenance.model().unwrap_or("a model"), hash),
                found: model_name(&given.name, &given.weights_sha256),
            })
        }
        _ => Ok(()),
    }
}

/// What to say of a model that may not be the dictionary's: its weights are others although any model was asked for, or the
/// dictionary, which names no weights, names a model of another name.
pub fn doubt(sae: &Sae, given: &ModelIdentity) -> Option<String> {
    let own = sae.provenance().model();
    match sae.provenance().model_weights() {
        // Where no other model was asked for, it is refused where it is used, and once is enough.
        Some(hash) if hash == given.weights_sha256 || !sae.is_of_any_model() => None,
        Some(hash) => Some(format!(
            "the dictionary was trained on the model {}, this is {}",
            model_name(own.unwrap_or("a model"), hash),
            model_name(&given.name, &given.weights_sha256)
        )),
        None => own.filter(|own| !own.is_empty() && !are_spellings(own, &given.name)).map(|own| {
            let found = if given.name.is_empty() { "by no name" } else { &given.name };
            format!("the dictionary names the model {own}, this one is called {found}; if they are two, its numbers say nothing")
        }),
    }
}

/// What TransformerLens calls some models, and what their own names are, both in small letters and digits alone.
const ALIASES: [(&str, &str); 15] = [
    ("gpt2small", "gpt2"),
    ("distillgpt2", "distilgpt2"),
    ("gptneosmall", "gptneo125m"),
    ("gptneomedium", "gptneo13b"),
    ("gptneolarge", "gptneo27b"),
    ("gptj", "gptj6b"),
    ("gptneox", "gptneox20b"),
    ("llama7b", "llama7bhf"),
    ("llama27b", "llama27bhf"),
    ("llama213b", "llama213bhf"),
    ("llama270b", "llama270bhf"),
    ("mistral7b", "mistral7bv01"),
    ("mistral7binstruct", "mistral7binstructv01"),
    ("mixtral", "mixtral8x7bv01"),
    ("mixtral8x7b", "mixtral8x7bv01"),
];

/// Whether two names are spellings of one: `gpt2-small`, `gpt2` and `openai-community/gpt2` are. Names of which one only contains the
/// other are those of two models, such as a base and its chat model.
pub fn are_spellings(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

/// A name without organisation, capitals and separators, as the model itself is called.
fn plain(name: &str) -> String {
    let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
    let letters = last.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    let plain: String = letters.flat_map(char::to_lowercase).collect();
    // Some of Meta's names begin with their maker's, others of the same models do not.
    let plain = plain.strip_prefix("meta").filter(|rest| rest.starts_with("llama")).unwrap_or(&plain);
    ALIASES.iter().find(|(alias, _)| *alias == plain).map_or(plain, |(_, own)| own).to_owned()
}

/// A model as messages name it: names alone do not tell two checkpoints apart.
pub(crate) fn model_name(name: &str, weights_sha256: &str) -> String {
    format!("{name} (weights {})", weights_sha256.get(..8).unwrap_or(weights_sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_model_are_spelled_in_many_ways() {
        for (one, other) in [
            ("gpt2-small", "gpt2"),
            ("openai-community/gpt2", "gpt2-small"),
            ("meta-llama/Llama-3.1-8B", "Meta-Llama-3.1-8B"),
            ("EleutherAI/pythia-70m-deduped", "pythia-70m-deduped"),
            ("google/gemma-2-2b", "Gemma_2.2B"),
            ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
            ("mistral-7b", "mistralai/Mistral-7B-v0.1"),
            ("models/gpt2/", "gpt2-small"),
        ] {
            assert!(are_spellings(one, other) && are_spellings(other, one), "{one} and {other}");
        }
    }

    #[test]
    fn names_that_contain_each_other_are_of_two_models() {
        for (one, other) in [
            ("pythia-70m", "gpt2"),
            ("gemma-2-2b", "gemma-2-9b"),
            ("google/gemma-2-2b", "google/gemma-2-2b-it"),
            ("EleutherAI/pythia-70m", "EleutherAI/pythia-70m-deduped"),
            ("gpt2", "gpt2-medium"),
            ("gpt2", "distilgpt2"),
            ("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.3"),
            ("", "gpt2"),
            ("gpt2", ""),
        ] {
            assert!(!are_spellings(one, other) && !are_spellings(other, one), "{one} and {other}");
        }
    }
}
