//! How the library's tokenizer is made of the files, so that it gives the ids that transformers' `AutoTokenizer` gives.
//!
//! transformers 5 keeps of `tokenizer.json` what the tokenizer's class does not fix: a class like Llama's takes the
//! vocabulary and the merges and brings its own normalizer and pre-tokenizer. Truncation and padding are settings of a
//! call there, so those of the file are not read; then none of their numbers can ask for memory either.

use crate::backend_class::{Chosen, Class};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::growth;
use crate::guard::guarded;
use crate::special_tokens::SpecialTokens;
use crate::tokenizer_files::{Declared, TokenizerFiles};
use crate::tokenizer_identity::{self, Settings};
use crate::validate::MAX_SIZE;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

/// `tokenizer.json` without truncation, and of padding only which token it is done with.
#[derive(Deserialize)]
pub(crate) struct File {
    #[serde(default)]
    added_tokens: Vec<AddedEntry>,
    #[serde(default)]
    pub(crate) normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pub(crate) pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    pub(crate) post_processor: Option<PostProcessorWrapper>,
    #[serde(default)]
    pub(crate) decoder: Option<DecoderWrapper>,
    pub(crate) model: ModelWrapper,
    #[serde(default)]
    padding: Value,
}

#[derive(Deserialize)]
struct AddedEntry {
    id: u64,
    #[serde(flatten)]
    token: AddedToken,
}

/// A tokenizer as transformers would make it.
pub(crate) struct Made {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) special: SpecialTokens,
    /// What makes it differ from its `tokenizer.json` alone; empty where nothing does.
    pub(crate) differs: String,
    /// What a user should know of it.
    pub(crate) note: Option<String>,
}

/// The tokenizer of the files.
///
/// # Errors
/// `tokenizer.json` is damaged, or what it asks for has no bounds.
pub(crate) fn tokenizer(files: &TokenizerFiles, declared: &Declared, config: &ModelConfig) -> Result<Made, ModelError> {
    let bad = |reason: String| ModelError::Tokenizer { path: files.path.clone(), reason };
    let chosen = Class::of(declared, config.family, &files.tokenizer)?;
    if declared.from_merges && !matches!(chosen, Chosen::Built(class) if class.cuts_by_itself()) {
        return Err(bad("its class cannot be made of vocab.json and merges.txt here; \
            `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` of transformers makes a tokenizer.json"
            .to_owned()));
    }
    let added = declared.added()?;
    let parsed = guarded(|| serde_json::from_slice::<File>(&files.tokenizer));
    let panicked = || bad("it contradicts itself, so that it cannot be used; fetch it again".into());
    let file = parsed.ok_or_else(panicked)?.map_err(|error| bad(error.to_string()))?;
    check_growth(&file).map_err(bad)?;
    let class = match chosen {
        Chosen::Built(class) if matches!(file.model, ModelWrapper::BPE(_)) => Some(class),
        _ => None,
    };
    let special = declared.special(&defaults(class, &file));
    let made = guarded(|| build(file, added, class, declared, &special));
    let (tokenizer, differs) = made.ok_or_else(panicked)?.map_err(|error| bad(error.to_string()))?;
    check_ids(&tokenizer).map_err(bad)?;
    let note = match chosen {
        Chosen::Other(class) => Some(format!(
            "{}: transformers makes a tokenizer of the class {class} anew of its vocabulary; here the file is used as it \
             stands, so that some texts may get other ids",
            files.path.display()
        )),
        _ => None,
    };
    Ok(Made { tokenizer, special, differs, note })
}

/// Special tokens that stand where the files name none: the class's, and the token that `tokenizer.json` pads with.
fn defaults(class: Option<Class>, file: &File) -> Vec<(&'static str, &str)> {
    let of_class = class.map_or(&[][..], Class::defaults).iter().copied();
    let padding = file.padding["pad_token"].as_str().filter(|_| !class.is_some_and(Class::names_padding));
    of_class.chain(padding.map(|token| ("pad_token", token))).collect()
}

/// Makes the tokenizer, and tells what makes it differ from its file alone.
fn build(
    mut file: File,
    added: BTreeMap<u64, AddedToken>,
    class: Option<Class>,
    declared: &Declared,
    special: &SpecialTokens,
) -> Result<(Tokenizer, String), tokenizers::Error> {
    let split = declared.switch("split_special_tokens", false).map_err(|error| error.to_string())?;
    let own: Vec<(u64, AddedToken)> =
        std::mem::take(&mut file.added_tokens).into_iter().map(|entry| (entry.id, entry.token)).collect();
    let plain = bare_settings(&file);
    if let Some(class) = class {
        class.apply(&mut file, declared)?;
    }
    let now = bare_settings(&file);
    let mut tokenizer = bare(file);
    let mut taken = HashSet::new();
    let alone = match class {
        Some(_) => tokenizer_identity::tokens(own.iter().map(|(id, token)| (*id, token))),
        None => {
            let tokens: Vec<AddedToken> = own.iter().map(|(_, token)| token.clone()).collect();
            let _: usize = tokenizer.add_tokens(&tokens);
            taken.extend(tokens.into_iter().map(|token| token.content));
            tokenizer_identity::tokens_of(&tokenizer)
        }
    };
    let listed = if declared.lists_added() { added } else { added.into_iter().chain(own).collect() };
    let _: usize = tokenizer.add_tokens(&to_add(listed, taken, special));
    tokenizer.set_encode_special_tokens(split);
    let now = Settings { parts: now, tokens: tokenizer_identity::tokens_of(&tokenizer), split };
    let differs = now.differs_from(&Settings { parts: plain, tokens: alone, split: false });
    Ok((tokenizer, differs))
}

fn bare_settings(file: &File) -> Value {
    tokenizer_identity::parts(&file.model, file.normalizer.as_ref(), file.pre_tokenizer.as_ref(), file.decoder.as_ref())
}

fn bare(file: File) -> Tokenizer {
    let mut tokenizer = Tokenizer::new(file.model);
    tokenizer.with_normalizer(file.normalizer);
    tokenizer.with_pre_tokenizer(file.pre_tokenizer);
    tokenizer.with_post_processor(file.post_processor);
    tokenizer.with_decoder(file.decoder);
    tokenizer
}

/// What is added to a tokenizer that has `taken`: the tokens of the lists in the order of their ids, those with a name as
/// special ones, then special tokens that are in no list.
fn to_add(listed: BTreeMap<u64, AddedToken>, mut taken: HashSet<String>, special: &SpecialTokens) -> Vec<AddedToken> {
    let named: HashSet<&str> = special.named.iter().map(|(_, token)| token.content.as_str()).collect();
    let mark = |token: AddedToken| AddedToken { special: token.special || named.contains(&*token.content), ..token };
    let mut tokens: Vec<AddedToken> = listed.into_values().map(mark).collect();
    taken.extend(tokens.iter().map(|token| token.content.clone()));
    let more = special.named.iter().map(|(_, token)| token).chain(&special.further);
    tokens.extend(more.filter(|token| !taken.contains(&token.content)).cloned());
    tokens
}

/// Ids are used as sizes of tables.
fn check_ids(tokenizer: &Tokenizer) -> Result<(), String> {
    let largest = tokenizer.get_vocab(true).into_values().max().ok_or("it has no tokens")?;
    if largest as usize >= MAX_SIZE {
        return Err(format!("it has a token with the id {largest}; supported: ids below {MAX_SIZE}"));
    }
    Ok(())
}

/// Refuses parts that make much of little.
fn check_growth(file: &File) -> Result<(), String> {
    let value = |part: serde_json::Result<Value>| part.unwrap_or_default();
    growth::check([
        &value(serde_json::to_value(&file.normalizer)),
        &value(serde_json::to_value(&file.pre_tokenizer)),
        &value(serde_json::to_value(&file.decoder)),
        &value(serde_json::to_value(&file.post_processor)),
    ])
}
