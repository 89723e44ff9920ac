//! Is an interrupted capture continued to the same bytes, and is everything else refused?

mod common;

use common::{StopAt, hooks, model, names, run, stories, write};
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use untangle_capture::{CaptureConfig, CaptureError};
use untangle_schema::{Classify, Event, Fault, Observer, Silent};

fn config(folder: &Path, name: &str) -> CaptureConfig {
    CaptureConfig {
        context: Some(32),
        batch: Some(4),
        ..CaptureConfig::new(hooks(&["blocks.0.hook_resid_post", "blocks.1.mlp.hook_pre"]), folder.join(name))
    }
}

#[test]
fn interrupted_anywhere_the_file_is_the_same_to_the_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    // The second is longer than what is encoded at a time, so that making the spool can be interrupted too.
    let text =
        [write(folder.path(), "a.txt", stories(12)), write(folder.path(), "b.txt", "words and more. ".repeat(20_000))];
    let model = model(true);
    let limited = |name: &str| CaptureConfig { tokens: Some(9000), ..config(folder.path(), name) };
    let whole = run(&limited("whole.h5"), &model, &text, &Silent).expect("captured");
    let whole = fs::read(whole.path).expect("read");
    let mut polls = 0;
    for stop in 1.. {
        let config = limited("cut.h5");
        let error = match run(&config, &model, &text, &StopAt::new(stop)) {
            Ok(_) => break,
            Err(error) => error,
        };
        polls = stop;
        assert_eq!(error.fault(), Fault::Interrupted, "{error}");
        assert!(!config.output.exists());
        run(&config, &model, &text, &Silent).expect("continued");
        assert!(fs::read(&config.output).expect("read") == whole, "stopped at poll {stop}");
        fs::remove_file(&config.output).expect("removed");
    }
    assert!(polls >= 9000 / 128, "every batch is an opportunity to stop, and there were {polls}");
    assert_eq!(names(folder.path()), ["a.txt", "b.txt", "cut.h5", "whole.h5"]);
}

#[test]
fn interrupted_at_every_turn_the_file_is_the_same_to_the_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = [write(folder.path(), "a.txt", stories(40))];
    let model = model(true);
    let whole = run(&config(folder.path(), "whole.h5"), &model, &text, &Silent).expect("captured");
    let mut runs = 0;
    loop {
        runs += 1;
        // The second time that a run is asked it stops: one batch per run.
        match run(&config(folder.path(), "cut.h5"), &model, &text, &StopAt::new(2)) {
            Ok(_) => break,
            Err(CaptureError::Interrupted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(runs > 10, "{runs} runs");
    assert!(fs::read(folder.path().join("cut.h5")).expect("read") == fs::read(whole.path).expect("read"));
}

#[test]
fn other_settings_and_changed_text_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = [write(folder.path(), "a.txt", "words and more. ".repeat(40_000))];
    let model = model(true);
    let stopped = run(&config(folder.path(), "x.h5"), &model, &text, &StopsInText::default());
    let error = stopped.expect_err("interrupted");
    assert!(error.to_string().ends_with("bytes of text; the same command continues from there"), "{error}");

    fs::write(&text[0], "other and more. ".repeat(40_000)).expect("written");
    let error = run(&config(folder.path(), "x.h5"), &model, &text, &Silent).expect_err("refused");
    assert!(matches!(error, CaptureError::CorpusChanged { .. }), "{error}");
    fs::write(&text[0], "words and more. ".repeat(40_000)).expect("written");

    let other = CaptureConfig { context: Some(16), ..config(folder.path(), "x.h5") };
    let error = run(&other, &model, &text, &Silent).expect_err("refused").to_string();
    assert!(error.contains("context: 32 there, 16 asked for") && error.contains("--force"), "{error}");
    let error = run(&other, &common::model(false), &text, &Silent).expect_err("refused").to_string();
    assert!(error.contains("bos_token: 0 there, null asked for"), "{error}");

    let forced = CaptureConfig { force: true, tokens: Some(500), ..other };
    let captured = run(&forced, &model, &text, &Silent).expect("afresh");
    assert_eq!((captured.manifest.context, captured.manifest.n_rows), (16, 500));
    let error = run(&config(folder.path(), "x.h5"), &model, &text, &Silent).expect_err("refused").to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(names(folder.path()), ["a.txt", "x.h5"]);
}

/// Asks to stop as soon as some text is tokenized: before that, files are only looked at, and nothing is kept of it.
#[derive(Default)]
struct StopsInText(AtomicBool);

impl Observer for StopsInText {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Advanced { .. }) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Dies when two chunks of text were tokenized: their ids are on disk, and no state was saved yet.
#[derive(Default)]
struct Dies(AtomicU64);

impl Observer for Dies {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Advanced { .. }) && self.0.fetch_add(1, Ordering::Relaxed) == 1 {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }
}

#[test]
fn token_ids_of_other_settings_are_never_taken_for_ones_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = [write(folder.path(), "a.txt", stories(6000))];
    let model = model(true);
    let limited = |name: &str| CaptureConfig {
        tokens: Some(300_000),
        context: Some(32),
        ..CaptureConfig::new(hooks(&["hook_embed"]), folder.path().join(name))
    };
    let whole = run(&limited("whole.h5"), &model, &text, &Silent).expect("captured");
    let whole = fs::read(whole.path).expect("read");
    let begin = || run(&limited("x.h5"), &model, &text, &StopsInText::default()).expect_err("interrupted");
    let finish = |what: &str| {
        let captured = run(&limited("x.h5"), &model, &text, &Silent).expect("captured");
        assert!(fs::read(&captured.path).expect("read") == whole, "{what}");
        fs::remove_file(captured.path).expect("removed");
    };

    begin();
    let other = CaptureConfig { context: Some(16), force: true, ..limited("x.h5") };
    let died = std::panic::catch_unwind(AssertUnwindSafe(|| run(&other, &model, &text, &Dies::default())));
    assert!(died.is_err(), "there were no two chunks");
    finish("a forced run of other settings was killed in between");

    begin();
    let tokens = folder.path().join("x.h5.partial.tokens");
    let length = fs::metadata(&tokens).expect("token ids").len();
    assert!(length > 8000, "token ids were saved");
    fs::OpenOptions::new().write(true).open(&tokens).expect("opened").set_len(length - 8).expect("cut");
    finish("the last token id was lost");
}

const CHILD_FOLDER: &str = "UNTANGLE_TEST_CHILD_FOLDER";

/// Not a test by itself: the process that [`killed_captures_are_continued_by_the_next`] kills.
#[test]
fn child_capture() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER).map(PathBuf::from) else { return };
    let config = CaptureConfig { batch: Some(1), ..config(&folder, "killed.h5") };
    run(&config, &model(true), &[folder.join("a.txt")], &Silent).expect("captured");
}

#[test]
fn killed_captures_are_continued_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = [write(folder.path(), "a.txt", stories(600))];
    let config = CaptureConfig { batch: Some(1), ..config(folder.path(), "whole.h5") };
    let whole = run(&config, &model(true), &text, &Silent).expect("captured");
    let killed = folder.path().join("killed.h5");
    let mut kills = 0;
    while !killed.exists() {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "child_capture"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        // Longer from time to time: a run that is never left alone for as long as a flush takes makes no progress.
        std::thread::sleep(Duration::from_millis(30 << (kills / 4).min(8)));
        child.kill().expect("a child");
        kills += u32::from(!child.wait().expect("a child").success());
    }
    assert!(kills > 0, "the child was never interrupted");
    assert!(fs::read(&killed).expect("read") == fs::read(whole.path).expect("read"), "after {kills} kills");
}
