//! Doors for fuzz targets and the tests of mutated inputs: what is read of bytes that are not to be believed.

use crate::contexts::Contexts;
use crate::corpus::{Corpus, Place, Reading};
use crate::error::CaptureError;
use crate::plan::{CaptureConfig, CapturePlan};
use crate::spool::{self, Spool};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, Tokenizer, TokenizerFiles};
use untangle_schema::{Event, HookPoint, Observer, Silent};
use untangle_store::Partial;

/// Reads the documents of a file as a capture does, and says how many there are.
///
/// # Errors
/// What is wrong with the file.
///
/// # Panics
/// Where the documents behind the first one are others when reading goes on there, as a capture that was killed does.
pub fn documents(path: &Path, reading: Reading) -> Result<usize, CaptureError> {
    let corpus = Corpus::open(&[path])?.read_as(reading)?;
    let file = &corpus.files()[0];
    let Some(survey) = corpus.survey(file, path, &Silent)? else { return Ok(0) };
    let open = |from| corpus.documents(file, path, survey.separated, from, &Silent);
    let mut whole = open(Place::default())?;
    let Some(first) = whole.next()? else { return Ok(0) };
    let mut rest = open(first.end)?;
    let mut n = 1;
    loop {
        match (whole.next(), rest.next()) {
            (Ok(Some(document)), Ok(Some(again))) => {
                assert_eq!((&document.text, document.end), (&again.text, again.end))
            }
            (Ok(None), Ok(None)) => return Ok(n),
            (Err(error), Err(_)) => return Err(error),
            (straight, resumed) => panic!("read through: {straight:?}; gone on: {resumed:?}"),
        }
        n += 1;
    }
}

/// What a kill leaves of the token ids of a text: the side files `x.h5.partial.spool` and `x.h5.partial.tokens`.
#[derive(Clone, Debug)]
pub struct Kept {
    /// How far the token ids are, with its checksum.
    pub state: Vec<u8>,
    /// The token ids.
    pub tokens: Vec<u8>,
}

/// The text that [`kept`] and [`go_on`] cut into token ids.
const TEXT: &str = "the first\n<|endoftext|>\nthe second one\nof two lines\n<|endoftext|>\nthe third\n";

/// Stops once some token ids are made.
#[derive(Default)]
struct Impatient(AtomicBool);

impl Observer for Impatient {
    fn event(&self, event: Event<'_>) {
        self.0.fetch_or(matches!(event, Event::Advanced { .. }), Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A model that reads some letters. A model is for one thread.
pub fn model() -> LanguageModel {
    const CONFIG: &[u8] = br#"{"model_type": "gpt2", "vocab_size": 8, "n_positions": 16, "n_embd": 4, "n_layer": 1,
        "n_head": 1, "bos_token_id": 0, "activation_function": "gelu_new"}"#;
    const TOKENIZER: &[u8] = br#"{"version": "1.0", "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": null, "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true}], "model": {"type": "BPE", "merges": [], "unk_token":
        "<unk>", "vocab": {"<s>": 0, "<unk>": 1, "t": 2, "h": 3, "e": 4, " ": 5, "i": 6, "r": 7}}}"#;
    let config = ModelConfig::from_json(Path::new("config.json"), CONFIG).expect("a configuration");
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(TOKENIZER), &config).expect("a tokenizer");
    LanguageModel::random(config, 7, Some(tokenizer), &LoadOptions::default()).expect("a model")
}

fn make(
    model: &LanguageModel,
    folder: &Path,
    pad: bool,
    observer: &dyn Observer,
) -> Result<(Spool, CapturePlan), CaptureError> {
    let (text, output) = (folder.join("a.txt"), folder.join("x.h5"));
    fs::write(&text, TEXT).map_err(CaptureError::io(&text))?;
    let hook: HookPoint = "blocks.0.hook_resid_post".parse().expect("a hook point");
    let config = CaptureConfig { context: Some(4), pad, ..CaptureConfig::new(vec![hook], output) };
    let plan = CapturePlan::new(&config, model)?;
    let corpus = Corpus::open(&[text])?;
    let mut partial = Partial::claim(&plan.output, false)?;
    let spool = Spool::make(&mut partial, &plan, &corpus, model.tokenizer()?, observer)?;
    Ok((spool, plan))
}

/// What an interrupted, and what a finished cutting of the text leaves in an empty folder.
pub fn kept(model: &LanguageModel, folder: &Path, pad: bool) -> Vec<Kept> {
    let read = || {
        let read = |name: &str| fs::read(folder.join(format!("x.h5.partial.{name}"))).expect("kept");
        Kept { state: read("spool"), tokens: read("tokens") }
    };
    let _ = make(model, folder, pad, &Impatient::default());
    let interrupted = read();
    let _ = make(model, folder, pad, &Silent);
    vec![interrupted, read()]
}

/// The same state with the checksum that it has now.
pub fn sealed(kept: &Kept) -> Kept {
    let json = kept.state.len().saturating_sub("\n01234567\n".len());
    Kept { state: spool::sealed(kept.state[..json].to_vec()), tokens: kept.tokens.clone() }
}

/// Goes on from what was kept, and reads every context; says how many rows there are.
///
/// # Errors
/// What is wrong with it.
pub fn go_on(model: &LanguageModel, folder: &Path, pad: bool, kept: &Kept) -> Result<u64, CaptureError> {
    for (name, bytes) in [("spool", &kept.state), ("tokens", &kept.tokens)] {
        let path = folder.join(format!("x.h5.partial.{name}"));
        fs::write(&path, bytes).map_err(CaptureError::io(&path))?;
    }
    let (spool, plan) = make(model, folder, pad, &Silent)?;
    for span in Contexts::new(&spool, plan.context, plan.pad, 0) {
        let span = span?;
        spool.read(span.first, span.length)?;
    }
    Ok(spool.rows())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// A model, and what a kill leaves of a text: padded and not, unfinished and finished.
    struct Left {
        model: LanguageModel,
        kept: Vec<(bool, Kept)>,
    }

    fn left() -> Left {
        let model = model();
        let of = |pad: bool| {
            let folder = tempfile::tempdir().expect("a folder");
            kept(&model, folder.path(), pad).into_iter().map(move |kept| (pad, kept)).collect::<Vec<_>>()
        };
        let kept = [of(false), of(true)].concat();
        Left { model, kept }
    }

    #[test]
    fn what_was_kept_is_gone_on_from_and_what_was_changed_is_made_again() {
        let (Left { model, kept }, folder) = (left(), tempfile::tempdir().expect("a folder"));
        let rows = |pad, kept: &Kept| go_on(&model, folder.path(), pad, kept).expect("a text");
        for (pad, kept) in &kept {
            let whole = rows(*pad, kept);
            for at in (0..kept.state.len()).step_by(61) {
                let mut changed = kept.clone();
                changed.state[at] ^= 1;
                assert_eq!(rows(*pad, &changed), whole, "byte {at}");
            }
            let mut changed = kept.clone();
            changed.tokens[5] ^= 1;
            assert_eq!(rows(*pad, &changed), whole);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever stands in a state that has its checksum, it is made again, refused or gone on from.
        #[test]
        fn no_state_makes_a_capture_panic(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            number in prop_oneof![Just(0), Just(u64::MAX), Just(1 << 62), Just(u64::from(u32::MAX)), 0u64..200],
            shorter in 0usize..30,
        ) {
            // A model has no business in several threads; one of each thread's own is enough.
            thread_local!(static LEFT: LazyLock<Left> = const { LazyLock::new(left) });
            LEFT.with(|left| {
                let (pad, kept) = which.get(&left.kept);
                let state = String::from_utf8(kept.state.clone()).expect("JSON");
                let numbers: Vec<_> = state.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
                let first = *at.get(&numbers);
                let end = state[first..].find(|c: char| !c.is_ascii_digit()).map_or(state.len(), |end| first + end);
                let state = format!("{}{number}{}", &state[..first], &state[end..]).into_bytes();
                let tokens = kept.tokens[..kept.tokens.len().saturating_sub(shorter)].to_vec();
                let folder = tempfile::tempdir().expect("a folder");
                let _ = go_on(&left.model, folder.path(), *pad, &sealed(&Kept { state, tokens }));
            });
        }
    }
}
