//! A disk that becomes full in mid-run: one clear message, nothing under the final name, and the same command goes on
//! once there is room.

use crate::support::{TinyModel, Untangle, corpus_text, scratch, skip};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// Runs a command twice on a tmpfs of its own: of `size` first, then with room for everything. Says the exit code and
/// the folder's content after the first run, then the exit code of the second, and copies the result to `$3`.
const SCRIPT: &str = r#"
    mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99
    disk=$2; kept=$3; shift 3
    "$@" > /dev/null 2> "$kept.stderr"
    echo "first $?"
    ls -A "$disk"
    mount -o remount,size=64m "$disk" || exit 99
    "$@" > /dev/null
    echo "second $?"
    cp "$disk/out.h5" "$kept" || exit 98
    ls -A "$disk" | sed 's/^/after /'
"#;

fn capture(model: &TinyModel, text: &Path, out: &Path, leading: Option<&[&OsStr]>) -> Untangle {
    let words = "capture --context 64 --threads 1 --compress --store f32";
    let command = match leading {
        None => Untangle::new(words),
        Some(leading) => Untangle::under("unshare", leading, words),
    };
    let command =
        command.arg(&model.path).option("--text", text).words("--hook hook_embed --hook blocks.0.mlp.hook_pre");
    command.option("--out", out)
}

#[test]
fn a_disk_that_becomes_full_while_the_file_is_made() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 60);
    let whole = folder.path().join("whole.h5");
    capture(&model, &text, &whole, None).succeed();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("the scratch folder is writable");
    let kept = folder.path().join("kept.h5");
    // Rows are 272 bytes: 16 MB. Room for the token ids but not for the rows; for the rows but not for their
    // compressed form.
    for (size, begun) in [("1m", false), ("20m", true)] {
        let script = ["-rm", "sh", "-c", SCRIPT, "sh", size].map(OsStr::new);
        let leading: Vec<&OsStr> = script.into_iter().chain([disk.as_os_str(), kept.as_os_str()]).collect();
        let outcome = capture(&model, &text, &disk.join("out.h5"), Some(&leading)).run();
        if outcome.code == Some(99) || outcome.stderr.contains("unshare:") {
            return skip("a_disk_that_becomes_full_while_the_file_is_made", "a tmpfs cannot be mounted here");
        }
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        let stderr = fs::read_to_string(kept.with_extension("h5.stderr")).expect("kept");
        assert_eq!(lines.first(), Some(&"first 4"), "{size}: {stderr}");
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains("space") && errors[0].contains("out.h5"), "{size}: {stderr}");
        assert!(
            !lines.contains(&"out.h5")
                || lines.iter().position(|l| *l == "out.h5") > lines.iter().position(|l| *l == "second 0")
        );
        assert_eq!(lines.contains(&"out.h5.partial.journal"), begun, "{size}: what was done is kept: {lines:?}");
        assert!(lines.contains(&"second 0"), "{size}: {lines:?} {}", outcome.stderr);
        let after: Vec<&&str> = lines.iter().filter(|line| line.starts_with("after ")).collect();
        assert_eq!(after, [&"after out.h5"], "{size}");
        assert!(fs::read(&kept).expect("kept") == fs::read(&whole).expect("captured"), "{size}: other bytes");
    }
}

#[test]
fn a_damaged_journal_is_named_and_forced_afresh() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 30);
    let out = folder.path().join("out.h5");
    capture(&model, &text, &out, None).succeed();
    let whole = fs::read(&out).expect("captured");
    fs::rename(&out, folder.path().join("out.h5.partial")).expect("renamed");
    fs::write(folder.path().join("out.h5.partial.journal"), "untangle-journal 2\nnonsense").expect("written");
    let outcome = capture(&model, &text, &out, None).run();
    outcome.fails_with(3, &["out.h5.partial.journal", "the journal is damaged", "remove"]);
    assert!(!out.exists());
    capture(&model, &text, &out, None).arg("--force").succeed();
    assert!(fs::read(&out).expect("captured") == whole);
}
