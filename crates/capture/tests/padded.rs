//! Is a padded capture that of every document alone, whatever passes with it, and only of real tokens?

mod common;

use common::{BOS, Recording, StopAt, hooks, model, names, run, stories, write};
use std::fs;
use std::path::Path;
use tch::Tensor;
use untangle_capture::{CaptureConfig, CaptureError, CapturePlan, Captured, Corpus, capture};
use untangle_model::LanguageModel;
use untangle_model::Recorder;
use untangle_schema::{BosPolicy, HookPoint, Silent, Site, StoreDtype};
use untangle_store::{ActivationSet, RowBlock};

const CONTEXT: usize = 48;

fn config(folder: &Path, name: &str, points: &[&str]) -> CaptureConfig {
    CaptureConfig {
        context: Some(CONTEXT),
        pad: true,
        batch: Some(3),
        store: StoreDtype::F32,
        ..CaptureConfig::new(hooks(points), folder.join(name))
    }
}

fn read(paths: &[&Path], columns: usize) -> RowBlock {
    let places: Vec<&str> = paths.iter().map(|path| path.to_str().expect("text")).collect();
    let set = ActivationSet::open(&places).expect("opened");
    let mut block = RowBlock::default();
    set.read_rows(0..set.n_rows(), &(0..columns).collect::<Vec<_>>(), &mut block).expect("read");
    block
}

/// The activations of one context by itself, patterns as wide as a capture has them.
fn alone(model: &LanguageModel, tokens: &[u32], point: HookPoint) -> Vec<f32> {
    let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
    let mut recorder = Recorder::new(vec![point]).with_context(CONTEXT);
    model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut recorder).expect("a pass");
    recorder.columns()[0].to_vec()
}

/// Ranges of the rows of every context.
fn contexts(block: &RowBlock) -> Vec<std::ops::Range<usize>> {
    let mut starts: Vec<usize> = (0..block.len()).filter(|row| block.positions[*row] == 0).collect();
    starts.push(block.len());
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn every_row_is_that_of_its_document_alone_at_every_hook_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(23));
    let model = model(true);
    let scores = |name: &String| name.ends_with(Site::AttnScores.name());
    let all: Vec<String> = HookPoint::all(2).iter().map(ToString::to_string).filter(|name| !scores(name)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    // Patterns and norms keep the model from its fused kernels, so that both are seen.
    let fused = |name: &&str| !name.ends_with(Site::AttnPattern.name()) && !name.contains("ln");
    let without: Vec<&str> = all.iter().copied().filter(fused).collect();
    for (name, points) in [("all.h5", all), ("without.h5", without)] {
        let config = config(folder.path(), name, &points);
        let captured = run(&config, &model, std::slice::from_ref(&text), &Silent).expect("captured");
        let block = read(&[&captured.path], points.len());
        let contexts = contexts(&block);
        let lengths: Vec<usize> = contexts.iter().map(ExactSizeIterator::len).collect();
        assert!(lengths.contains(&CONTEXT) && lengths.iter().any(|length| *length < CONTEXT / 2), "{lengths:?}");
        assert!(contexts.len() > captured.manifest.n_documents as usize, "no document is longer than a context");
        for rows in contexts {
            assert!(block.documents[rows.clone()].iter().all(|document| *document == block.documents[rows.start]));
            for (column, hook) in block.columns.iter().zip(&captured.manifest.hooks) {
                let found = &column[rows.start * hook.d_in..rows.end * hook.d_in];
                let far = far(found, &alone(&model, &block.tokens[rows.clone()], hook.hook));
                assert!(far < 1e-5, "{}: {far}", hook.hook);
            }
        }
    }
}

#[test]
fn documents_begin_contexts_and_long_ones_go_on_in_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", "abcde\n<|endoftext|>\nf\n<|endoftext|>\ngh\n");
    let mut config = CaptureConfig { context: Some(4), ..config(folder.path(), "x.h5", &["hook_embed"]) };
    let captured = run(&config, &model(true), std::slice::from_ref(&text), &Silent).expect("captured");
    let block = read(&[&captured.path], 1);
    assert_eq!(block.tokens, [BOS, 2, 3, 4, BOS, 5, 6, BOS, 7, BOS, 8, 9]);
    assert_eq!(block.documents, [0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2]);
    assert_eq!(block.positions, [0, 1, 2, 3, 0, 1, 2, 0, 1, 0, 1, 2]);
    assert_eq!(block.offsets, [0, 0, 1, 2, 3, 3, 4, 0, 0, 0, 0, 1]);
    assert_eq!((captured.manifest.n_rows, captured.manifest.n_documents, captured.manifest.pad), (12, 3, true));
    // 12 positions a pass: contexts of 4, 3 and 3 rows are padded to 4, and one of 2 passes alone.
    assert_eq!(captured.padding, Some(2));

    (config.bos, config.force) = (BosPolicy::Never, true);
    let captured = run(&config, &model(true), std::slice::from_ref(&text), &Silent).expect("captured");
    let block = read(&[&captured.path], 1);
    assert_eq!(block.tokens, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(block.positions, [0, 1, 2, 3, 0, 0, 0, 1]);

    (config.pad, config.force) = (false, true);
    let captured = run(&config, &model(true), &[text], &Silent).expect("captured");
    assert_eq!((captured.padding, captured.manifest.pad), (None, false));
    let manifest = serde_json::to_value(&captured.manifest).expect("json");
    assert!(manifest.get("pad").is_none(), "files of packed contexts are as they were");
}

/// Rows by document and position, for captures that have the same in another order.
fn by_document(block: &RowBlock) -> Vec<(u32, u64, u32, u32, Vec<f32>)> {
    let d = block.columns[0].len() / block.len();
    let row = |row: usize| {
        let values = block.columns[0][row * d..(row + 1) * d].to_vec();
        (block.documents[row], block.offsets[row], block.positions[row], block.tokens[row], values)
    };
    let mut rows: Vec<_> = (0..block.len()).map(row).collect();
    rows.sort_by_key(|(document, offset, position, ..)| (*document, *offset, *position));
    rows
}

fn assert_same(a: &RowBlock, b: &RowBlock, what: &str) {
    let (a, b) = (by_document(a), by_document(b));
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((a.0, a.1, a.2, a.3), (b.0, b.1, b.2, b.3), "{what}");
        assert!(far(&a.4, &b.4) < 1e-5, "{what}");
    }
}

#[test]
fn what_passes_together_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(60));
    let model = model(true);
    let captured = |name: &str, batch: usize, shard: Option<&str>| -> Captured {
        let config = CaptureConfig {
            batch: Some(batch),
            shard: shard.map(|shard| shard.parse().expect("a shard")),
            ..config(folder.path(), name, &["blocks.1.hook_resid_post"])
        };
        run(&config, &model, std::slice::from_ref(&text), &Silent).expect("captured")
    };
    let (small, large) = (captured("small.h5", 1, None), captured("large.h5", 8, None));
    let expected = read(&[&small.path], 1);
    assert!(small.padding < large.padding, "{:?} and {:?}", small.padding, large.padding);
    assert_same(&read(&[&large.path], 1), &expected, "another batch");
    let reference = CapturePlan::new(&config(folder.path(), "reference.h5", &["blocks.1.hook_resid_post"]), &model);
    let reference = reference.expect("planned").in_text_order();
    let corpus = Corpus::open(&[&text]).expect("a file");
    let reference = capture(&reference, &model, &corpus, &Silent).expect("captured");
    assert_same(&read(&[&reference.path], 1), &expected, "in the order of the text");
    assert!(reference.padding > large.padding, "{:?} and {:?}", reference.padding, large.padding);
    // Every document has its own contexts, so that shards have the very rows of the whole.
    let shards = ["1/2", "2/2"].map(|shard| captured(&format!("{}.h5", &shard[..1]), 3, Some(shard)));
    assert_same(&read(&[&shards[0].path, &shards[1].path], 1), &expected, "shards");
    let packed = CaptureConfig { pad: false, ..config(folder.path(), "packed.h5", &["blocks.1.hook_resid_post"]) };
    let packed = run(&packed, &model, &[text], &Silent).expect("captured");
    let [small, packed] = [small.path, packed.path].map(|path| path.to_str().expect("text").to_owned());
    let error = ActivationSet::open(&[&small, &packed]).expect_err("refused").to_string();
    assert!(error.contains("pad"), "{error}");
}

#[test]
fn interrupted_anywhere_the_file_is_the_same_to_the_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = [write(folder.path(), "a.txt", stories(60))];
    let model = model(true);
    let config = |name: &str| {
        let points = ["blocks.0.attn.hook_pattern", "blocks.1.hook_resid_post"];
        CaptureConfig { batch: Some(1), store: StoreDtype::F16, ..config(folder.path(), name, &points) }
    };
    let whole = fs::read(run(&config("whole.h5"), &model, &text, &Silent).expect("captured").path).expect("read");
    let mut polls = 0;
    for stop in 1.. {
        match run(&config("cut.h5"), &model, &text, &StopAt::new(stop)) {
            Ok(_) => break,
            Err(CaptureError::Interrupted { .. }) => polls = stop,
            Err(error) => panic!("{error}"),
        }
        let continued = run(&config("cut.h5"), &model, &text, &Silent).expect("continued");
        assert!(fs::read(&continued.path).expect("read") == whole, "stopped at poll {stop}");
        fs::remove_file(continued.path).expect("removed");
    }
    assert!(polls > 50, "every pass is an opportunity to stop, and there were {polls}");
    fs::remove_file(folder.path().join("cut.h5")).expect("removed");

    // Half of the text is tokenized; then the other way is asked for.
    run(&config("cut.h5"), &model, &text, &StopAt::new(polls / 2)).expect_err("interrupted");
    let packed = CaptureConfig { pad: false, ..config("cut.h5") };
    let error = run(&packed, &model, &text, &Silent).expect_err("refused").to_string();
    assert!(error.contains("pad: true there, null asked for") && error.contains("--force"), "{error}");
    run(&CaptureConfig { force: true, ..packed.clone() }, &model, &text, &StopAt::new(polls / 2)).expect_err("stopped");
    let error = run(&config("cut.h5"), &model, &text, &Silent).expect_err("refused").to_string();
    assert!(error.contains("pad: null there, true asked for"), "{error}");
    run(&packed, &model, &text, &Silent).expect("continued");
    assert_eq!(names(folder.path()), ["a.txt", "cut.h5", "whole.h5"]);
}

#[test]
fn padding_is_told_and_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(2000));
    let recording = Recording::default();
    let config = config(folder.path(), "x.h5", &["hook_embed"]);
    let captured = run(&config, &model(true), &[text], &recording).expect("captured");
    let padding = captured.padding.expect("padded");
    let lines = recording.lines.into_inner().expect("no panic");
    let note = lines.iter().find(|line| line.contains("are padding")).expect("said");
    assert!(
        note.starts_with("note: 2000 documents begin ") && note.contains(&format!("; {padding} positions (")),
        "{note}"
    );
    // Unsorted, contexts that are padded to the longest of three would waste a third.
    assert!(padding * 20 < captured.manifest.n_rows, "{note}");
    let last = lines.iter().rev().find(|line| line.ends_with("tokens/s")).expect("progress");
    assert_eq!(*last, format!("{} tokens/s", captured.manifest.n_rows));
}
