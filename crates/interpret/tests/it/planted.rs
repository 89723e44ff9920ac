//! A small world whose truth is known: a corpus of made-up sentences, a dictionary whose features fire where they are
//! told to, and a random model to run.

use std::path::Path;
use std::sync::Arc;
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, Tokenizer, TokenizerFiles};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Description, Parts, Provenance, Sae};
use untangle_schema::capture::{HookColumn, row_flags};
use untangle_schema::{BosPolicy, CaptureManifest, HookPoint, ModelIdentity, Site, StoreDtype};
use untangle_store::{ActivationSet, Partial, Rows, StoreWriter};

/// The hook point of everything here.
pub(crate) const POINT: HookPoint = HookPoint::block(0, Site::ResidPost);
/// Tokens per context.
pub(crate) const CONTEXT: usize = 32;

/// The vocabulary: `<s>` first, then words with their leading space, then punctuation.
pub(crate) const VOCABULARY: [&str; 24] = [
    "<s>", " the", " The", " little", " dog", " cat", " fish", " ran", " saw", " a", " big", " boat", " Tom", " Lily",
    " and", ".", "!", " sea", " swam", " home", " sun", " un", "der", "wood",
];

/// The id of a word.
pub(crate) fn id(word: &str) -> u32 {
    VOCABULARY.iter().position(|v| *v == word).expect("in the vocabulary") as u32
}

/// One row of a corpus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) token: u32,
    pub(crate) previous: Option<u32>,
    pub(crate) next: Option<u32>,
    pub(crate) document: u32,
    pub(crate) position: u32,
    pub(crate) row: u64,
}

impl Token {
    pub(crate) fn special(&self) -> bool {
        self.token == 0
    }
}

/// Hash of two numbers, for choices that look random.
pub(crate) fn noise(a: u64, b: u64) -> u64 {
    let z = (a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

/// `n_documents` documents of random words, packed into contexts that begin with `<s>`; documents are parted by `<s>`.
pub(crate) fn corpus(n_documents: u32, words_per_document: u64) -> Vec<Token> {
    let mut stream: Vec<(u32, u32)> = Vec::new();
    for document in 0..n_documents {
        for at in 0..words_per_document {
            stream.push((1 + (noise(u64::from(document), at) % (VOCABULARY.len() as u64 - 1)) as u32, document));
        }
        stream.push((0, document));
    }
    let mut packed: Vec<(u32, u32)> = Vec::new();
    for (token, document) in stream {
        if packed.len().is_multiple_of(CONTEXT) && token != 0 {
            packed.push((0, document));
        }
        packed.push((token, document));
    }
    let position = |at: usize| (at % CONTEXT) as u32;
    let same = |at: usize, other: usize| at / CONTEXT == other / CONTEXT;
    (0..packed.len())
        .map(|at| Token {
            token: packed[at].0,
            previous: (position(at) > 0).then(|| packed[at - 1].0),
            next: packed.get(at + 1).filter(|_| same(at, at + 1)).map(|next| next.0),
            document: packed[at].1,
            position: position(at),
            row: at as u64,
        })
        .collect()
}

/// Writes a store of `corpus` whose rows are `row(token)`, `[d]` each.
pub(crate) fn store(
    path: &Path,
    corpus: &[Token],
    d: usize,
    model: ModelIdentity,
    row: impl Fn(&Token) -> Vec<f32>,
) -> Arc<ActivationSet> {
    store_of(path, corpus, model, &[(POINT, d, &|at| row(&corpus[at as usize]))])
}

/// A hook point, its width and its row of that number in the corpus.
pub(crate) type Point<'a> = (HookPoint, usize, &'a dyn Fn(u64) -> Vec<f32>);

/// Writes a store of `corpus` with several hook points.
pub(crate) fn store_of(
    path: &Path,
    corpus: &[Token],
    model: ModelIdentity,
    points: &[Point<'_>],
) -> Arc<ActivationSet> {
    let manifest = CaptureManifest {
        tool_version: "0".into(),
        model,
        hooks: points.iter().map(|(hook, d_in, _)| HookColumn { hook: *hook, d_in: *d_in }).collect(),
        n_rows: corpus.len() as u64,
        n_documents: u64::from(corpus.last().map_or(0, |token| token.document + 1)),
        shard: None,
        context: CONTEXT,
        pad: false,
        batch: 1,
        bos: BosPolicy::Auto,
        bos_token: Some(0),
        compute_dtype: "f32".into(),
        store_dtype: StoreDtype::F32,
        corpus: Vec::new(),
        chat_template_sha256: None,
        seed: 0,
    };
    let mut writer = StoreWriter::open(Partial::claim(path, false).expect("free"), manifest).expect("opened");
    let numbers = |of: fn(&Token) -> u32| corpus.iter().map(of).collect::<Vec<u32>>();
    let flag = |token: &Token| if token.special() { row_flags::BOS | row_flags::SPECIAL } else { 0 };
    let rows = |(_, _, row): &Point<'_>| corpus.iter().flat_map(|token| row(token.row)).collect::<Vec<f32>>();
    let columns: Vec<Vec<f32>> = points.iter().map(rows).collect();
    writer
        .append(&Rows {
            tokens: &numbers(|t| t.token),
            documents: &numbers(|t| t.document),
            positions: &numbers(|t| t.position),
            offsets: &vec![0; corpus.len()],
            flags: &corpus.iter().map(flag).collect::<Vec<u8>>(),
            columns: &columns.iter().map(|column| &column[..]).collect::<Vec<_>>(),
        })
        .expect("appended");
    writer.finish().expect("finished");
    Arc::new(ActivationSet::open(&[path.to_str().expect("UTF-8")]).expect("valid"))
}

/// A dictionary at [`POINT`].
pub(crate) fn description(d_in: usize, d_sae: usize) -> Description {
    let provenance = Provenance::at(&POINT.to_string());
    Description { subtracts_b_dec: true, provenance, ..Description::new(d_in, d_sae) }
}

/// A relu dictionary of these encoder and decoder rows, `[d_sae, d_in]`, without biases.
pub(crate) fn dictionary(d_in: usize, w_enc: &[f32], w_dec: &[f32]) -> Sae {
    described(description(d_in, w_enc.len() / d_in), w_enc, w_dec)
}

fn described(description: Description, w_enc: &[f32], w_dec: &[f32]) -> Sae {
    let parts = Parts {
        w_enc: Buffer::copy_of(w_enc),
        b_enc: vec![0.0; description.d_sae],
        w_dec: Buffer::copy_of(w_dec),
        b_dec: vec![0.0; description.d_in],
        w_skip: None,
        activation: Activation::Relu,
    };
    Sae::new(description, parts).expect("shapes fit")
}

/// Feature i reads and writes coordinate i.
pub(crate) fn axes(d: usize) -> Sae {
    let identity: Vec<f32> = (0..d * d).map(|at| f32::from(u8::from(at / d == at % d))).collect();
    dictionary(d, &identity, &identity)
}

/// Features i and d + i read coordinate i and its negative, so that every row is reconstructed exactly.
pub(crate) fn perfect(d: usize) -> Sae {
    perfect_at(d, &POINT.to_string())
}

/// The same at another hook point.
pub(crate) fn perfect_at(d: usize, hook_name: &str) -> Sae {
    let signed = |at: usize| {
        let (feature, column) = (at / d, at % d);
        if feature % d != column {
            0.0
        } else if feature < d {
            1.0
        } else {
            -1.0
        }
    };
    let rows: Vec<f32> = (0..2 * d * d).map(signed).collect();
    let description = Description { provenance: Provenance::at(hook_name), ..description(d, 2 * d) };
    described(description, &rows, &rows)
}

/// A dictionary with seeded random unit decoder rows, encoders alike.
pub(crate) fn random_dictionary(d: usize, d_sae: usize) -> Sae {
    let mut rows: Vec<f32> = (0..d * d_sae).map(|at| noise(at as u64, 5) as f32 / (1_u64 << 48) as f32 - 0.5).collect();
    for row in rows.chunks_exact_mut(d) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    dictionary(d, &rows, &rows)
}

/// A random two-block model that speaks [`VOCABULARY`].
pub(crate) fn model() -> LanguageModel {
    model_of(11)
}

/// The same with other weights.
pub(crate) fn model_of(seed: u64) -> LanguageModel {
    let n = VOCABULARY.len();
    let json = format!(
        r#"{{"model_type": "gpt2", "vocab_size": {n}, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 0, "eos_token_id": 0}}"#
    );
    let config = ModelConfig::from_json(Path::new("config.json"), json.as_bytes()).expect("valid");
    let vocabulary: Vec<String> = VOCABULARY
        .iter()
        .enumerate()
        .map(|(id, text)| format!("\"{}\": {id}", text.replace(' ', "\u{2581}")))
        .collect();
    let tokenizer = format!(
        r#"{{"version": "1.0", "added_tokens": [{{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}}], "normalizer": null,
            "pre_tokenizer": {{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true}},
            "post_processor": null,
            "decoder": {{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true}},
            "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "<s>"}}}}"#,
        vocabulary.join(", ")
    );
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(tokenizer.as_bytes()), &config).expect("valid");
    LanguageModel::random(config, seed, Some(tokenizer), &LoadOptions::default()).expect("made")
}

/// An identity for stores that come from no model.
pub(crate) fn nobody() -> ModelIdentity {
    ModelIdentity {
        name: "nobody".into(),
        revision: None,
        model_type: "gpt2".into(),
        weights_sha256: "00".into(),
        tokenizer_sha256: "11".into(),
    }
}

/// [`perfect_at`], trained on a model with these weights.
pub(crate) fn perfect_of(d: usize, weights_sha256: &str) -> Sae {
    let sae = perfect(d);
    let (mut description, parts) = (sae.description().clone(), sae.parts().clone());
    let place = &mut description.provenance.reads[0];
    place.model = Some("theirs".into());
    place.model_weights = Some(weights_sha256.into());
    Sae::new(description, parts).expect("shapes fit")
}
