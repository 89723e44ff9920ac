//! `just bench-features`: describing every feature of a dictionary beside the encoder's product over the same rows alone.
//!
//! A store is made for the purpose: rows of random numbers, tokens as rare as words are. The product is timed on rows that are in
//! memory already, with its selection, as the same dictionary computes it; the description is all that `untangle features`
//! does without a model, from the first row that is read to the finished database. Both take turns in one run.
//!
//! `features [ROWS] [FEATURES] [K] [ROUNDS]`

#![allow(clippy::print_stdout, reason = "a measurement is for its reader")]

#[path = "../memory.rs"]
mod memory;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use untangle_interpret::steer::Dictionary;
use untangle_interpret::{Corpus, FeaturesPlan, features};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Codes, Description, Parts, Place, Provenance, Sae};
use untangle_schema::capture::HookColumn;
use untangle_schema::mix::mix;
use untangle_schema::{BosPolicy, CaptureManifest, Event, HookPoint, ModelIdentity, Observer, Site, StoreDtype};
use untangle_store::{ActivationSet, HeldOut, Partial, RowBlock, Rows, StoreError, StoreWriter};

const D: usize = 768;
const CONTEXT: u64 = 128;
const DOCUMENT: u64 = 256;
const VOCABULARY: f64 = 50_000.0;
/// Rows that are written, and encoded, at a time.
const TOGETHER: u64 = 1 << 13;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let mut next = |default: usize| numbers.next().unwrap_or(default);
    let (n_rows, d_sae, k, rounds) = (next(1_000_000) as u64, next(16_384), next(32), next(1));
    let folder = tempfile::tempdir_in("target").expect("a folder");
    let store = folder.path().join("rows.h5");
    make(&store, n_rows).expect("a store");
    let set = Arc::new(ActivationSet::open(&[store.to_string_lossy()]).expect("the store"));
    let sae = dictionary(d_sae, k);
    println!("{n_rows} rows of width {D}, {d_sae} features, k {k}");
    for round in 0..rounds {
        let product = product(&sae, &set).expect("encodes");
        let (described, peak) = memory::peak_during(|| describe(&sae, &set, &folder.path().join("features.db")));
        println!(
            "round {round}: product {product:.1} s, features {described:.1} s, {:.2} times; RssAnon {} MiB",
            described / product,
            peak.map_or_else(|| "?".to_owned(), |mib| format!("{mib:.0}"))
        );
    }
}

/// Seconds of the description.
fn describe(sae: &Sae, set: &Arc<ActivationSet>, database: &Path) -> f64 {
    let start = Instant::now();
    let corpus = Corpus::new(Arc::clone(set), sae, HeldOut::default()).expect("its rows");
    let plan = FeaturesPlan::default();
    let dictionary = Dictionary { name: "bench", ..Dictionary::only(sae) };
    features(dictionary, &corpus, None, None, &plan, database, true, &Phases(start)).expect("described");
    start.elapsed().as_secs_f64()
}

/// Says when each task begins.
struct Phases(Instant);

impl Observer for Phases {
    fn event(&self, event: Event<'_>) {
        if let Event::Started { task, .. } = event {
            println!("  {:>6.1} s {task}", self.0.elapsed().as_secs_f64());
        }
    }
}

/// Seconds in which the dictionary encodes all rows, reading left out.
fn product(sae: &Sae, set: &ActivationSet) -> Result<f64, StoreError> {
    let (mut block, mut codes, mut seconds) = (RowBlock::default(), Codes::new(), 0.0);
    for from in (0..set.n_rows()).step_by(TOGETHER as usize) {
        set.read_rows(from..(from + TOGETHER).min(set.n_rows()), &[0], &mut block)?;
        let start = Instant::now();
        sae.encode(&block.columns[0], &mut codes).expect("rows of its width");
        seconds += start.elapsed().as_secs_f64();
    }
    Ok(seconds)
}

/// Uniform over [-1, 1).
fn number(seed: u64, at: u64) -> f32 {
    (mix(seed ^ mix(at)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn dictionary(d_sae: usize, k: usize) -> Sae {
    let mut rows = Buffer::zeros(d_sae * D);
    for (at, value) in rows.iter_mut().enumerate() {
        *value = number(1, at as u64) / (D as f32 / 3.0).sqrt();
    }
    let hook = HookPoint::block(0, Site::ResidPost).to_string();
    let reads = vec![Place { hook: Some(hook), ..Place::default() }];
    let provenance = Provenance { reads, ..Provenance::default() };
    let description = Description { provenance, ..Description::new(D, d_sae) };
    let parts = Parts {
        w_enc: Buffer::copy_of(&rows),
        b_enc: vec![0.0; d_sae],
        w_dec: rows,
        b_dec: vec![0.0; D],
        w_skip: None,
        activation: Activation::TopK { k },
    };
    Sae::new(description, parts).expect("fits")
}

/// Writes the store.
fn make(path: &Path, n_rows: u64) -> Result<(), StoreError> {
    let mut writer = StoreWriter::open(Partial::claim(path, true)?, manifest(n_rows))?;
    while writer.rows_done() < n_rows {
        let rows = writer.rows_done()..(writer.rows_done() + TOGETHER).min(n_rows);
        let values: Vec<f32> = (rows.start * D as u64..rows.end * D as u64).map(|at| number(2, at)).collect();
        let numbers = |of: fn(u64) -> u64| rows.clone().map(|row| of(row) as u32).collect::<Vec<u32>>();
        writer.append(&Rows {
            // The n-th word is as rare as n is large (Zipf).
            tokens: &numbers(|row| (VOCABULARY.powf(f64::from(number(3, row) + 1.0) / 2.0) - 1.0) as u64),
            documents: &numbers(|row| row / DOCUMENT),
            positions: &numbers(|row| row % CONTEXT),
            offsets: &rows.clone().map(|row| row % DOCUMENT * 4).collect::<Vec<_>>(),
            flags: &vec![0; (rows.end - rows.start) as usize],
            columns: &[&values],
        })?;
        if writer.rows_unflushed() * 2 * D as u64 > 1 << 28 {
            writer.flush()?;
        }
    }
    writer.finish().map(|_| ())
}

fn manifest(n_rows: u64) -> CaptureManifest {
    CaptureManifest {
        chat_template_sha256: None,
        tool_version: "bench".into(),
        model: ModelIdentity {
            name: "none".into(),
            revision: None,
            model_type: "none".into(),
            weights_sha256: String::new(),
            tokenizer_sha256: String::new(),
        },
        hooks: vec![HookColumn { hook: HookPoint::block(0, Site::ResidPost), d_in: D }],
        n_rows,
        n_documents: n_rows.div_ceil(DOCUMENT),
        shard: None,
        context: CONTEXT as usize,
        pad: false,
        batch: 1,
        bos: BosPolicy::Never,
        bos_token: None,
        compute_dtype: "f32".into(),
        store_dtype: StoreDtype::F16,
        corpus: Vec::new(),
        seed: 0,
    }
}
