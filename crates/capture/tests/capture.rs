//! Are the rows of a capture those of the model, in the order of the text?

mod common;

use common::{BOS, Recording, hooks, model, names, run, stories, write};
use std::path::Path;
use tch::Tensor;
use untangle_capture::{CaptureConfig, CaptureError};
use untangle_model::LanguageModel;
use untangle_model::Recorder;
use untangle_schema::capture::row_flags;
use untangle_schema::{BosPolicy, HookPoint, Silent, Site, StoreDtype};
use untangle_store::{ActivationSet, RowBlock};

const CONTEXT: usize = 16;

fn config(folder: &Path, points: &[&str]) -> CaptureConfig {
    CaptureConfig {
        context: Some(CONTEXT),
        batch: Some(3),
        store: StoreDtype::F32,
        ..CaptureConfig::new(hooks(points), folder.join("x.h5"))
    }
}

fn read(path: &Path, columns: &[usize]) -> RowBlock {
    let set = ActivationSet::open(&[path.to_str().expect("text")]).expect("opened");
    let mut block = RowBlock::default();
    set.read_rows(0..set.n_rows(), columns, &mut block).expect("read");
    block
}

/// The activations of one context by itself.
fn alone(model: &LanguageModel, tokens: &[u32], point: HookPoint) -> Vec<f32> {
    let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
    let mut recorder = Recorder::new(vec![point]);
    let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut recorder).expect("a pass");
    assert!(logits.is_none(), "the pass ends after the last hook point");
    recorder.columns()[0].to_vec()
}

#[test]
fn every_kind_of_hook_point_is_recorded_as_the_model_computes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(9));
    let points = [
        "hook_embed",
        "blocks.0.attn.hook_q",
        "blocks.0.attn.hook_z",
        "blocks.0.hook_resid_mid",
        "blocks.1.mlp.hook_post",
        "blocks.1.hook_resid_post",
        "ln_final.hook_normalized",
    ];
    let model = model(true);
    let captured = run(&config(folder.path(), &points), &model, &[text], &Silent).expect("captured");
    assert_eq!(captured.manifest.hooks.iter().map(|h| h.d_in).collect::<Vec<_>>(), [16, 16, 16, 16, 64, 16, 16]);
    let block = read(&captured.path, &(0..points.len()).collect::<Vec<_>>());
    assert!(!block.len().is_multiple_of(CONTEXT) && block.len() > 4 * 3 * CONTEXT, "the last context is short");
    for (column, hook) in block.columns.iter().zip(&captured.manifest.hooks) {
        let contexts = block.tokens.chunks(CONTEXT).zip(column.chunks(CONTEXT * hook.d_in));
        for (tokens, rows) in contexts {
            let expected = alone(&model, tokens, hook.hook);
            assert_eq!(rows.len(), expected.len());
            let far = rows.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-5, "{}: {far}", hook.hook);
        }
    }
}

#[test]
fn attention_patterns_have_rows_as_wide_as_heads_times_context() {
    const HEADS: usize = 2;
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(9));
    let point = "blocks.1.attn.hook_pattern";
    let model = model(true);
    let captured = run(&config(folder.path(), &[point, "blocks.1.attn.hook_z"]), &model, &[text], &Silent);
    let captured = captured.expect("captured");
    assert_eq!(captured.manifest.hooks.iter().map(|h| h.d_in).collect::<Vec<_>>(), [HEADS * CONTEXT, 16]);
    let block = read(&captured.path, &[0]);
    assert!(!block.len().is_multiple_of(CONTEXT), "the last context is short");
    for (tokens, rows) in block.tokens.chunks(CONTEXT).zip(block.columns[0].chunks(CONTEXT * HEADS * CONTEXT)) {
        // By itself a context of n tokens has rows of heads * n.
        let (n, expected) = (tokens.len(), alone(&model, tokens, point.parse().expect("a hook point")));
        for (query, row) in rows.chunks(HEADS * CONTEXT).enumerate() {
            for (head, weights) in row.chunks(CONTEXT).enumerate() {
                assert!(weights[query + 1..].iter().all(|weight| *weight == 0.0), "zero behind the token");
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                let expected = &expected[(query * HEADS + head) * n..][..n];
                assert!(weights.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
            }
        }
    }
}

#[test]
fn every_hook_point_of_the_model_can_be_captured_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(4));
    let (all, scores): (Vec<String>, Vec<String>) =
        HookPoint::all(2).iter().map(ToString::to_string).partition(|name| !name.ends_with(Site::AttnScores.name()));
    let refused = run(&config(folder.path(), &[&scores[0]]), &model(true), std::slice::from_ref(&text), &Silent);
    assert!(refused.expect_err("minus infinity").to_string().ends_with("attn.hook_pattern, which is its softmax"));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let captured = run(&config(folder.path(), &all), &model(true), &[text], &Silent).expect("captured");
    assert_eq!(captured.manifest.hooks.len(), 3 + 2 * 17);
    let every: Vec<usize> = (0..all.len()).collect();
    let block = read(&captured.path, &every);
    for (column, hook) in block.columns.iter().zip(&captured.manifest.hooks) {
        assert_eq!(column.len(), block.len() * hook.d_in);
        assert!(column.iter().any(|x| *x != 0.0), "{}", hook.hook);
    }
}

#[test]
fn shards_together_are_the_documents_of_the_corpus() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(23));
    let model = model(true);
    let capture = |name: &str, shard: Option<&str>, compress: bool| {
        let mut config = CaptureConfig { compress, ..config(folder.path(), &["blocks.1.hook_resid_post"]) };
        config.output = folder.path().join(name);
        config.shard = shard.map(|shard| shard.parse().expect("a shard"));
        run(&config, &model, std::slice::from_ref(&text), &Silent).expect("captured")
    };
    let whole = capture("whole.h5", None, false);
    let shards =
        ["1/3", "2/3", "3/3"].map(|shard| capture(&format!("{}.h5", &shard[..1]), Some(shard), shard == "2/3"));
    let documents = |paths: &[&Path]| {
        let places: Vec<&str> = paths.iter().map(|path| path.to_str().expect("text")).collect();
        let set = ActivationSet::open(&places).expect("opened");
        let mut block = RowBlock::default();
        set.read_rows(0..set.n_rows(), &[], &mut block).expect("read");
        let mut documents = vec![Vec::new(); set.n_documents().expect("captured") as usize];
        for row in (0..block.len()).filter(|row| block.flags[*row] == 0) {
            documents[block.documents[row] as usize].push((block.tokens[row], block.offsets[row]));
        }
        (documents, set.content_identity(), set.manifest().cloned())
    };
    let [one, two, three] = [0, 1, 2].map(|index| shards[index].path.as_path());
    let (expected, _, _) = documents(&[&whole.path]);
    let (found, identity, manifest) = documents(&[one, two, three]);
    assert_eq!(found, expected);
    assert_eq!(documents(&[three, one, two]).1, identity, "the order of the names does not matter");
    let manifest = manifest.expect("captured");
    assert_eq!((manifest.shard, manifest.corpus.len(), manifest.n_documents), (None, 1, 23));
    assert_eq!(documents(&[two]).0.len(), 8, "a shard alone is a store of its own");
}

#[test]
fn documents_are_dealt_on_from_one_piece_of_text_to_the_next() {
    const DOCUMENTS: u64 = 9001;
    let folder = tempfile::tempdir().expect("a folder");
    // Longer than what is read at a time, in more than one way: pieces do not have a multiple of seven documents.
    let text = write(folder.path(), "a.txt", stories(DOCUMENTS as usize));
    let model = model(true);
    for (shard, expected) in [("1/7", DOCUMENTS.div_ceil(7)), ("7/7", DOCUMENTS / 7)] {
        let mut config = config(folder.path(), &["hook_embed"]);
        (config.shard, config.force) = (Some(shard.parse().expect("a shard")), true);
        let captured = run(&config, &model, std::slice::from_ref(&text), &Silent).expect("captured");
        assert_eq!(captured.manifest.n_documents, expected, "{shard}");
    }
}

#[test]
fn rows_know_their_token_document_position_and_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", "abc\n<|endoftext|>\nd<s>e%\n");
    let mut config = config(folder.path(), &["blocks.0.hook_resid_post"]);
    config.context = Some(5);
    let captured = run(&config, &model(true), std::slice::from_ref(&text), &Silent).expect("captured");
    let block = read(&captured.path, &[]);
    assert_eq!(block.tokens, [BOS, 2, 3, 4, BOS, BOS, 5, BOS, 6, 1]);
    assert_eq!(block.documents, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(block.positions, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    // Documents "abc" and "d<s>e%": a token that was put in begins where the one behind it does.
    assert_eq!(block.offsets, [0, 0, 1, 2, 0, 0, 0, 1, 4, 5]);
    let (bos, unknown) = (row_flags::BOS | row_flags::SPECIAL, row_flags::SPECIAL);
    assert_eq!(block.flags, [bos, 0, 0, 0, bos, bos, 0, bos, 0, unknown]);
    assert_eq!((captured.manifest.n_documents, captured.manifest.bos_token), (2, Some(BOS)));
    assert_eq!(captured.manifest.corpus[0].name, "a.txt");

    config.bos = BosPolicy::Never;
    config.force = true;
    let captured = run(&config, &model(true), &[text], &Silent).expect("captured");
    assert_eq!(read(&captured.path, &[]).tokens, [2, 3, 4, 5, BOS, 6, 1]);
}

#[test]
fn hook_points_captured_together_are_those_captured_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(5));
    let points = ["blocks.1.hook_resid_post", "blocks.0.hook_mlp_out"];
    let both = run(&config(folder.path(), &points), &model(true), std::slice::from_ref(&text), &Silent);
    let both = read(&both.expect("captured").path, &[0, 1]);
    // In the order of the pass, not of the request.
    for (column, point) in ["blocks.0.hook_mlp_out", "blocks.1.hook_resid_post"].iter().enumerate() {
        let mut config = config(folder.path(), &[point]);
        config.output = folder.path().join(format!("{column}.h5"));
        let one = run(&config, &model(true), std::slice::from_ref(&text), &Silent).expect("captured");
        assert!(read(&one.path, &[0]).columns[0] == both.columns[column]);
    }
}

#[test]
fn the_limit_is_exact_and_unread_files_are_not_hashed() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = [write(folder.path(), "a.txt", stories(4)), write(folder.path(), "b.txt", stories(4))];
    let mut config = config(folder.path(), &["hook_embed"]);
    config.tokens = Some(37);
    let captured = run(&config, &model(true), &text, &Silent).expect("captured");
    assert_eq!((captured.manifest.n_rows, captured.manifest.corpus.len()), (37, 1));
    config.tokens = None;
    config.force = true;
    let captured = run(&config, &model(true), &text, &Silent).expect("captured");
    assert_eq!((captured.manifest.n_documents, captured.manifest.corpus.len()), (8, 2));
}

#[test]
fn progress_is_reported_and_bad_bytes_are_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", [stories(1).as_bytes(), b"a\xff\xfeb"].concat());
    let recording = Recording::default();
    let captured = run(&config(folder.path(), &["hook_embed"]), &model(true), &[text], &recording).expect("captured");
    let n = captured.manifest.n_rows;
    let lines = recording.lines.into_inner().expect("no panic");
    assert_eq!(lines[0], format!("tokenize Bytes 0 of {}", captured.manifest.corpus[0].bytes));
    assert!(lines.contains(&"warning: a.txt: 2 byte sequences are not UTF-8; replaced".to_owned()), "{lines:?}");
    assert!(lines.contains(&format!("capture Tokens 0 of {n}")) && lines.contains(&format!("{n} tokens/s")));
    assert_eq!(lines.last().map(String::as_str), Some("finished"));
}

#[test]
fn impossible_plans_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(1));
    let refused = |change: &dyn Fn(&mut CaptureConfig), with_bos: bool, why: &str| {
        let mut config = config(folder.path(), &["hook_embed"]);
        change(&mut config);
        let error = run(&config, &model(with_bos), std::slice::from_ref(&text), &Silent).expect_err("refused");
        assert!(error.to_string().contains(why), "{error} lacks {why}");
        assert_eq!(names(folder.path()), ["a.txt"]);
    };
    refused(&|c| c.hooks.clear(), true, "no hook point");
    refused(&|c| c.hooks = hooks(&["hook_embed", "hook_embed"]), true, "named twice");
    refused(&|c| c.hooks = hooks(&["blocks.2.hook_resid_post"]), true, "blocks are 0 to 1");
    refused(&|c| c.context = Some(65), true, "takes 2 to 64");
    refused(&|c| c.context = Some(1), true, "takes 2 to 64");
    refused(&|c| c.context = Some(usize::MAX), true, "takes 2 to 64");
    refused(&|c| c.batch = Some(0), true, "the batch must be at least 1");
    for absurd in [usize::MAX, 1 << 60, (1 << 24) / 32 + 1] {
        refused(&|c| (c.context, c.batch) = (Some(32), Some(absurd)), true, "is too large; take at most 524288");
    }
    refused(&|c| c.tokens = Some(0), true, "number of tokens must be at least 1");
    refused(&|c| c.bos = BosPolicy::Always, false, "no beginning-of-sequence token");
}

#[test]
fn empty_and_missing_text_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = write(folder.path(), "a.txt", "\n<|endoftext|>\n \n");
    let config = config(folder.path(), &["hook_embed"]);
    let error = run(&config, &model(true), &[empty], &Silent).expect_err("refused");
    assert_eq!(error.to_string(), "the corpus is empty: a.txt gave no token");
    let error = run(&config, &model(true), &[folder.path().join("absent.txt")], &Silent).expect_err("refused");
    assert!(error.to_string().ends_with("absent.txt: no such file"), "{error}");
    assert_eq!(names(folder.path()), ["a.txt"]);
}

#[test]
fn values_that_are_not_finite_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(2));
    let model = model(true);
    let (_, embedding) = model.parameters().into_iter().find(|(name, _)| name == "embed.weight").expect("present");
    tch::no_grad(|| {
        let _ = embedding.get(4).fill_(f64::NAN);
    });
    let error =
        run(&config(folder.path(), &["blocks.0.hook_resid_post"]), &model, std::slice::from_ref(&text), &Silent);
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("not finite at `blocks.0.hook_resid_post`, row "), "{error}");
    let _ = tch::no_grad(|| embedding.get(4).fill_(1e6));
    let mut config = config(folder.path(), &["hook_embed"]);
    config.store = StoreDtype::F16;
    let error = run(&config, &model, &[text], &Silent).expect_err("refused");
    assert!(
        error.to_string().contains("1000000 at `hook_embed`") && error.to_string().contains("--store f32"),
        "{error}"
    );
    assert!(matches!(error, CaptureError::Store(_)));
    assert_eq!(names(folder.path()), ["a.txt"]);
}
