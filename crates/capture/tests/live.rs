//! Are rows that come straight from the model those of a store, whoever asks for them and when?

mod common;

use common::{StopAt, hooks, model, names, run, stories, write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use untangle_capture::{CaptureConfig, CaptureError, CapturePlan, Corpus, LiveConfig, LiveRows};
use untangle_model::LanguageModel;
use untangle_schema::capture::row_flags;
use untangle_schema::{Classify, Fault, Observer, Silent, StoreDtype};
use untangle_store::{ActivationSet, HeldOut, RowBlock, RowSource, ShuffleConfig, Shuffled, StoreError};

const POINTS: [&str; 2] = ["blocks.0.hook_mlp_out", "blocks.1.hook_resid_post"];
/// Bytes of the rows of both points in memory.
const ROW: usize = 2 * 16 * 4 + 33;

fn config(folder: &Path, name: &str) -> CaptureConfig {
    CaptureConfig {
        context: Some(16),
        batch: Some(3),
        store: StoreDtype::F32,
        threads: Some(2),
        ..CaptureConfig::new(hooks(&POINTS), folder.join(name))
    }
}

fn order(memory_rows: usize) -> LiveConfig {
    let held_out = HeldOut::Fraction { fraction: 0.2, seed: 3 };
    LiveConfig {
        seed: 5,
        batch_rows: 100,
        memory_bytes: memory_rows * ROW,
        keep_special: false,
        keep_outliers: false,
        held_out,
    }
}

fn live<'a>(
    folder: &Path,
    model: LanguageModel,
    text: &PathBuf,
    order: &LiveConfig,
    observer: &'a dyn Observer,
) -> Result<LiveRows<'a>, CaptureError> {
    live_of(config(folder, "sae.text"), model, text, order, observer)
}

fn live_of<'a>(
    config: CaptureConfig,
    model: LanguageModel,
    text: &PathBuf,
    order: &LiveConfig,
    observer: &'a dyn Observer,
) -> Result<LiveRows<'a>, CaptureError> {
    let plan = CapturePlan::new(&config, &model)?;
    LiveRows::new(plan, model, None, &Corpus::open(&[text])?, order, observer)
}

fn batch(source: &mut dyn RowSource, index: u64) -> RowBlock {
    let mut block = RowBlock::default();
    source.read(index, &mut block).expect("read");
    block
}

/// A store of the same rows, in f32.
fn store_of(config: &CaptureConfig, model: &LanguageModel, text: &PathBuf) -> Arc<ActivationSet> {
    let captured = run(config, model, std::slice::from_ref(text), &Silent).expect("captured");
    Arc::new(ActivationSet::open(&[captured.path.to_str().expect("text")]).expect("opened"))
}

#[test]
fn rows_that_fit_into_memory_are_those_of_a_store_in_its_order() {
    [false, true].into_iter().for_each(assert_rows_of_a_store_in_its_order);
}

fn assert_rows_of_a_store_in_its_order(pad: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(120));
    let config = |name: &str| CaptureConfig { pad, ..config(folder.path(), name) };
    let store = store_of(&config("x.h5"), &model(true), &text);
    let order = order(1 << 20);
    let shuffle = ShuffleConfig {
        seed: order.seed,
        batch_rows: order.batch_rows,
        memory_bytes: 1 << 30,
        keep_special: false,
        keep_outliers: false,
        columns: vec![0, 1],
    };
    let mut stored = Shuffled::new(store.clone(), &order.held_out, &shuffle).expect("enough rows");
    let mut live = live_of(config("sae.text"), model(true), &text, &order, &Silent).expect("enough rows");
    assert!(live.is_exact());
    assert_eq!(live.widths(), [16, 16]);
    assert_eq!(live.rows_per_epoch(), stored.rows_per_epoch());
    assert_eq!(Some(&live.manifest()), store.manifest());
    // Two epochs and a bit.
    for index in 0..2 * live.rows_per_epoch() / 100 + 2 {
        assert!(batch(&mut live, index) == batch(&mut stored, index), "batch {index}");
    }
}

#[test]
fn in_windows_every_row_comes_once_per_epoch_with_the_values_of_a_store() {
    [false, true].into_iter().for_each(assert_every_row_once_per_epoch);
}

fn assert_every_row_once_per_epoch(pad: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(120));
    let config = |name: &str| CaptureConfig { pad, ..config(folder.path(), name) };
    let store = store_of(&config("x.h5"), &model(true), &text);
    let mut expected = RowBlock::default();
    store.read_rows(0..store.n_rows(), &[0, 1], &mut expected).expect("read");
    let mut live = live_of(config("sae.text"), model(true), &text, &order(700), &Silent).expect("enough rows");
    assert!(!live.is_exact());
    let (per_epoch, mut served) = (live.rows_per_epoch() as usize, Vec::new());
    for index in 0..(2 * per_epoch / 100) as u64 + 1 {
        let block = batch(&mut live, index);
        for at in 0..block.len() {
            let row = block.rows[at] as usize;
            let same = (block.tokens[at], block.documents[at], block.positions[at], block.flags[at])
                == (expected.tokens[row], expected.documents[row], expected.positions[row], expected.flags[row]);
            assert!(same && block.flags[at] & row_flags::EXCLUDED == 0, "row {row}");
            for (own, stored) in block.columns.iter().zip(&expected.columns) {
                let pairs = own[at * 16..(at + 1) * 16].iter().zip(&stored[row * 16..(row + 1) * 16]);
                assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5), "row {row}");
            }
        }
        served.extend(block.rows);
    }
    let sorted = |rows: &[u64]| {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows
    };
    let (first, second) = (sorted(&served[..per_epoch]), sorted(&served[per_epoch..2 * per_epoch]));
    assert_eq!(first, second, "both epochs have the same rows");
    assert!(first.windows(2).all(|pair| pair[0] < pair[1]), "each once");
    assert_ne!(served[..per_epoch], served[per_epoch..2 * per_epoch], "in another order");
    // From all over the text: a batch's rows lie far apart.
    let spread = |rows: &[u64]| rows.iter().max().expect("rows") - rows.iter().min().expect("rows");
    assert!(spread(&served[..100]) > store.n_rows() / 3, "{}", spread(&served[..100]));
}

#[test]
fn a_batch_depends_on_its_index_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(120));
    let indices = [0, 1, 2, 9, 30, 31, 3, 50, 49];
    let first: Vec<_> = {
        let mut live = live(folder.path(), model(true), &text, &order(700), &Silent).expect("enough rows");
        indices.iter().map(|index| batch(&mut live, *index)).collect()
    };
    for (index, expected) in indices.iter().zip(&first) {
        // Token ids of the run before are there, and this one begins where it likes.
        let mut live = live(folder.path(), model(true), &text, &order(700), &Silent).expect("enough rows");
        assert!(batch(&mut live, *index) == *expected, "batch {index}");
    }
    assert_eq!(names(folder.path()), ["a.txt", "sae.text.partial.spool", "sae.text.partial.tokens"]);
    live(folder.path(), model(true), &text, &order(700), &Silent).expect("enough rows").finish().expect("removed");
    assert_eq!(names(folder.path()), ["a.txt"]);
}

#[test]
fn memory_for_fewer_rows_than_a_context_still_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(20));
    let mut live = live(folder.path(), model(true), &text, &order(1), &Silent).expect("enough rows");
    assert_eq!(batch(&mut live, 0).len(), 100);
}

/// A model to which the token 4 is a hundred times as long as it should be.
fn with_a_sink() -> LanguageModel {
    let model = model(true);
    let (_, embedding) = model.parameters().into_iter().find(|(name, _)| name == "embed.weight").expect("present");
    tch::no_grad(|| {
        let _ = embedding.get(4).g_mul_scalar_(1e2);
    });
    model
}

#[test]
fn outliers_are_those_of_a_store_and_ordinary_rows_take_their_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(120));
    let store = store_of(&config(folder.path(), "x.h5"), &with_a_sink(), &text);
    let mut all = RowBlock::default();
    store.read_rows(0..store.n_rows(), &[0, 1], &mut all).expect("read");
    let is_outlier = |row: &u64| all.flags[*row as usize] & row_flags::OUTLIER != 0;
    let epoch = |keep_outliers| {
        let order = LiveConfig { keep_outliers, batch_rows: 1, ..order(1 << 20) };
        let mut live = live(folder.path(), with_a_sink(), &text, &order, &Silent).expect("enough rows");
        let mut served = RowBlock::default();
        let rows: Vec<RowBlock> = (0..live.rows_per_epoch()).map(|index| batch(&mut live, index)).collect();
        rows.iter().for_each(|row| served.rows.extend(&row.rows));
        (served.rows, rows)
    };
    let (kept, blocks) = epoch(true);
    let outliers = kept.iter().filter(|row| is_outlier(row)).count();
    assert!(outliers > 0 && outliers < kept.len() / 2, "{outliers} of {}", kept.len());
    assert!(blocks.iter().all(|block| block.flags[0] == all.flags[block.rows[0] as usize]), "both know the same ones");

    let (served, _) = epoch(false);
    let mut expected = kept.clone();
    let mut ordinary = kept.iter().filter(|row| !is_outlier(row));
    for row in expected.iter_mut().filter(|row| is_outlier(row)) {
        *row = *ordinary.next().expect("there are more of them");
    }
    assert_eq!(served, expected);
}

/// Has the model read for long enough that somebody can be waiting.
fn long_text(folder: &Path) -> PathBuf {
    write(folder, "a.txt", stories(4000))
}

#[test]
fn who_waits_for_the_model_can_be_interrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = long_text(folder.path());
    // Asked for once per chunk of text and then by the one who waits.
    let quiet = live(folder.path(), model(true), &text, &order(1 << 20), &Silent).expect("enough rows");
    drop(quiet);
    let stop = StopAt::new(1);
    let mut live = live(folder.path(), model(true), &text, &order(1 << 20), &stop).expect("its token ids are there");
    let error = live.read(0, &mut RowBlock::default()).expect_err("interrupted");
    assert!(matches!(error, StoreError::Interrupted), "{error}");
    assert_eq!(error.fault(), Fault::Interrupted);
}

#[test]
fn values_that_are_not_finite_and_texts_that_are_too_short_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(40));
    let wrong = model(true);
    let (_, embedding) = wrong.parameters().into_iter().find(|(name, _)| name == "embed.weight").expect("present");
    tch::no_grad(|| {
        let _ = embedding.get(4).fill_(f64::NAN);
    });
    let mut live_rows = live(folder.path(), wrong, &text, &order(1 << 20), &Silent).expect("enough rows");
    let error = live_rows.read(0, &mut RowBlock::default()).expect_err("refused");
    assert!(error.to_string().contains("not finite at `blocks.0.hook_mlp_out`, row "), "{error}");
    assert_eq!(error.fault(), Fault::BadInput);
    drop(live_rows);

    let order = LiveConfig { batch_rows: 1 << 20, ..order(1 << 20) };
    let error = live(folder.path(), model(true), &text, &order, &Silent).err().expect("refused").to_string();
    assert!(error.contains("a.txt has ") && error.contains("fewer than a batch of 1048576"), "{error}");
}
