//! How the binary speaks to shells and scripts: exit codes, streams, signals.

use crate::support::{TinyModel, Untangle, corpus_text, scratch};
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    assert_eq!(Untangle::new("").run().code, Some(2));
    assert_eq!(Untangle::new("capture").run().code, Some(2));
    assert_eq!(Untangle::new("no-such-verb").run().code, Some(2));
    let outcome = Untangle::new("inspect x --threads 0").run();
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stdout.is_empty() && outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
}

#[test]
fn help_and_version_are_results() {
    let help = Untangle::new("--help").run();
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let version = Untangle::new("--version").succeed();
    assert_eq!(version.trim(), concat!("untangle ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn shells_and_man_know_every_verb() {
    for (shell, marker) in [("bash", "complete -F"), ("zsh", "#compdef untangle"), ("fish", "complete -c untangle")] {
        let script = Untangle::new("completions").words(shell).succeed();
        assert!(script.contains(marker) && script.contains("evaluate") && script.contains("d-sae"), "{shell}");
    }
    let page = Untangle::new("man").succeed();
    assert!(page.contains(".TH untangle 1") && page.contains("capture"), "{page}");
    let page = Untangle::new("man organism corpus").succeed();
    assert!(page.contains(".TH untangle-organism-corpus 1") && page.contains("annotated"), "{page}");
    let outcome = Untangle::new("man no-such-verb").run();
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("no verb is called `no-such-verb`; there are capture, train"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let mut child = Untangle::new("inspect").arg(&model.path).command();
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("our own child");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn an_interrupted_capture_says_so_and_continues() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 1500);
    let out = folder.path().join("store.h5");
    let capture = || {
        let command = Untangle::new("capture --context 64 --batch 2 --threads 1").arg(&model.path);
        command.option("--text", &text).words("--hook blocks.0.hook_resid_mid").option("--out", &out)
    };
    let mut command = capture().command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // The rows' file comes after the tokens' are all there.
    while !fs::exists(out.with_extension("h5.partial")).expect("readable") {
        assert!(child.try_wait().expect("our own child").is_none(), "the run ended too soon");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(100));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let output = child.wait_with_output().expect("our own child");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert_eq!(stderr.matches("interrupted").count(), 1, "{stderr}");
    assert!(!out.exists());
    let rest = capture().run();
    assert_eq!(rest.code, Some(0), "{}", rest.stderr);
    assert!(rest.stderr.contains("continues at"), "it began anew: {}", rest.stderr);
    assert!(out.exists());
}

#[test]
fn a_signal_is_heard_while_a_chat_template_is_at_work() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    // Each of the conversations takes about a second, and they are taken together.
    let long = "{% for i in range(1000) %}{% for j in range(1500) %}{% endfor %}{% endfor %}x";
    fs::write(model.path.join("chat_template.jinja"), long).expect("writable");
    let text = folder.path().join("chat.jsonl");
    fs::write(&text, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n".repeat(300)).expect("writable");
    let capture = Untangle::new("capture --chat --context 64 --threads 1").arg(&model.path).option("--text", &text);
    let capture = capture.words("--hook blocks.0.hook_resid_mid").option("--out", folder.path().join("store.h5"));
    let mut command = capture.command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().expect("our own child").is_none(), "the run ended too soon");
    let began = Instant::now();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let output = child.wait_with_output().expect("our own child");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_second_process_is_told_who_writes() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 1500);
    let out = folder.path().join("store.h5");
    let capture = || {
        let command = Untangle::new("capture --context 64 --batch 2 --threads 1").arg(&model.path);
        command.option("--text", &text).words("--hook hook_embed").option("--out", &out)
    };
    let mut first = capture().start();
    while !fs::exists(out.with_extension("h5.partial.lock")).expect("readable") {
        assert!(first.try_wait().expect("our own child").is_none(), "the first run ended too soon");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(100));
    capture().run().fails_with(4, &["store.h5", "another process"]);
    first.kill().expect("our own child");
    first.wait().expect("our own child");
}
