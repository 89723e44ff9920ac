//! Nothing is replaced but a finished artefact of the same kind, and nothing is written through what lies in the way.

use crate::support::{Untangle, matrix, scratch};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const IO: i32 = 4;

/// A folder with a matrix and a dictionary of it.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let case = Case { folder: scratch() };
        matrix(&case.path("a.npy"), 2000, 16, 1);
        case.train("sae").succeed();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, out: &str) -> Untangle {
        self.train_on("a.npy", out)
    }

    fn train_on(&self, input: &str, out: &str) -> Untangle {
        let command = Untangle::new("train --d-sae 32 --k 4 --tokens 4000 --batch 128 --threads 1 -q");
        command.arg(self.path(input)).option("--out", self.path(out))
    }

    fn encode(&self, out: &str) -> Untangle {
        Untangle::new("encode -q").arg(self.path("sae")).arg(self.path("a.npy")).option("--out", self.path(out))
    }

    /// Every command that writes, with an output of this name.
    fn commands(&self, out: &str) -> Vec<Untangle> {
        let capture = Untangle::new("capture organism --text organism --tokens 300 --hook hook_embed -q");
        let corpus = Untangle::new("organism corpus --documents 3 -q");
        let features = Untangle::new("features -q").arg(self.path("sae")).option("--store", self.path("a.npy"));
        let grid = self.train(out).option("--grid", self.path("grid.toml"));
        fs::write(self.path("grid.toml"), "[[sae]]\nk = [2, 4]\n").expect("written");
        let with_out = |command: Untangle| command.option("--out", self.path(out));
        vec![
            self.train(out).arg("--force"),
            grid.arg("--force"),
            self.encode(out).arg("--force"),
            with_out(capture).arg("--force"),
            with_out(corpus).arg("--force"),
            with_out(features).arg("--force"),
        ]
    }
}

/// All files under a folder with their content, links and special files by their kind.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("there").file_type();
        match () {
            () if kind.is_dir() => all.extend(everything(&path)),
            () if kind.is_file() => all.push((path.clone(), fs::read(&path).expect("read"))),
            () => all.push((path, format!("{kind:?}").into_bytes())),
        }
    }
    all.sort();
    all
}

#[test]
fn a_folder_with_anything_else_in_it_is_never_replaced() {
    let case = Case::new();
    let mine = case.path("mine.jsonl");
    fs::create_dir_all(mine.join("sub")).expect("made");
    fs::write(mine.join("sub/notes.txt"), "only copy").expect("written");
    let before = everything(&mine);
    for command in case.commands("mine.jsonl") {
        command.run().fails_with(USAGE, &["mine.jsonl"]);
    }
    assert_eq!(everything(&mine), before);
    // A dictionary with a note in it, a grid, and a dictionary that lacks its record are no dictionary.
    fs::write(case.path("sae/notes.txt"), "mine").expect("written");
    case.train("sae").arg("--force").run().fails_with(USAGE, &["is not a finished dictionary"]);
    fs::remove_file(case.path("sae/notes.txt")).expect("removed");
    fs::write(case.path("grid.toml"), "[[sae]]\nk = [2, 4]\n").expect("written");
    let grid = |out: &str| case.train(out).option("--grid", case.path("grid.toml"));
    fs::create_dir(case.path("many")).expect("an empty folder is a fine output");
    grid("many").succeed();
    let before = everything(&case.path("many"));
    case.train("many").arg("--force").run().fails_with(USAGE, &["is not a finished dictionary"]);
    grid("sae").arg("--force").run().fails_with(USAGE, &["is not a finished grid"]);
    assert_eq!(everything(&case.path("many")), before);
    // What may be replaced is, and a folder of the user's beside it stays.
    fs::create_dir(case.path("sae.replaced")).expect("made");
    fs::write(case.path("sae.replaced/notes.txt"), "mine").expect("written");
    case.train("sae").run().fails_with(USAGE, &["exists already", "--force"]);
    case.train("sae").words("--seed 3 --force").succeed();
    grid("many").words("--seed 3 --force").succeed();
    assert_ne!(everything(&case.path("many")), before);
    assert_eq!(fs::read_to_string(case.path("sae.replaced/notes.txt")).expect("kept"), "mine");
    let left = fs::read_dir(case.folder.path()).expect("listed").filter_map(Result::ok);
    assert!(left.filter(|entry| entry.file_name().to_string_lossy().contains(".partial")).count() == 0);
}

#[test]
fn files_are_replaced_by_their_own_kind_alone() {
    let case = Case::new();
    for name in ["x.jsonl", "x.txt"] {
        fs::write(case.path(name), "my notes\n").expect("written");
        let corpus = || Untangle::new("organism corpus --documents 3 -q").option("--out", case.path(name));
        corpus().arg("--force").run().fails_with(USAGE, &[name, "nothing else is replaced"]);
        assert_eq!(fs::read_to_string(case.path(name)).expect("kept"), "my notes\n");
        fs::remove_file(case.path(name)).expect("removed");
        corpus().succeed();
        corpus().run().fails_with(USAGE, &["exists already"]);
        corpus().words("--seed 4 --force").succeed();
    }
    for command in case.commands("x.jsonl").into_iter().enumerate().filter(|(at, _)| *at != 4).map(|(_, c)| c) {
        command.run().fails_with(USAGE, &["x.jsonl"]);
    }
    case.encode("codes").succeed();
    case.encode("codes").arg("--force").succeed();
}

#[test]
fn links_pipes_devices_and_nameless_places_are_refused_and_stay() {
    let case = Case::new();
    fs::create_dir(case.path("folder")).expect("made");
    symlink(case.path("folder"), case.path("to-folder.txt")).expect("linked");
    symlink(case.path("sae"), case.path("to-sae.txt")).expect("linked");
    symlink(case.path("nowhere"), case.path("dangling.txt")).expect("linked");
    assert!(Command::new("mkfifo").arg(case.path("pipe.txt")).status().expect("runs").success());
    let _socket = UnixListener::bind(case.path("socket.txt")).expect("bound");
    for name in ["to-folder.txt", "to-sae.txt", "dangling.txt", "pipe.txt", "socket.txt"] {
        let before = everything(case.folder.path());
        for command in case.commands(name) {
            command.run().fails_with(USAGE, &[name]);
        }
        fs::remove_file(case.path("grid.toml")).expect("written by the case");
        let after = everything(case.folder.path());
        assert_eq!(after.len(), before.iter().filter(|(path, _)| !path.ends_with("grid.toml")).count(), "{name}");
    }
    assert!(fs::symlink_metadata(case.path("pipe.txt")).expect("there").file_type().is_fifo());
    for name in ["/", ".", "..", "/dev/null", "/dev/full"] {
        for command in [
            Untangle::new("train --force -q").arg(case.path("a.npy")),
            Untangle::new("encode --force -q").arg(case.path("sae")).arg(case.path("a.npy")),
        ] {
            assert_eq!(command.option("--out", name).run().code, Some(USAGE), "{name}");
        }
    }
}

#[test]
fn an_output_that_is_holds_or_lies_in_an_input_is_refused() {
    let case = Case::new();
    fs::create_dir(case.path("runs")).expect("made");
    fs::copy(case.path("a.npy"), case.path("runs/acts.npy")).expect("copied");
    symlink(case.path("runs"), case.path("link")).expect("linked");
    fs::hard_link(case.path("a.npy"), case.path("second.npy")).expect("linked");
    let before = everything(case.folder.path());
    for out in ["runs", "runs/acts.npy", "runs/../runs", "link/../runs"] {
        case.train_on("runs/acts.npy", out).arg("--force").run().fails_with(USAGE, &["what is read"]);
    }
    case.encode("sae/codes").run().fails_with(USAGE, &["lies in what is read"]);
    case.encode("sae").arg("--force").run().fails_with(USAGE, &["is what is read"]);
    case.encode("second.npy").arg("--force").run().fails_with(USAGE, &["is what is read"]);
    let through = Untangle::new("encode -q").arg(case.path("sae")).arg(case.path("link/acts.npy"));
    through.option("--out", case.path("runs/acts.npy")).arg("--force").run().fails_with(USAGE, &["is what is read"]);
    assert_eq!(everything(case.folder.path()), before);
}

#[test]
fn nothing_is_written_through_what_lies_at_an_unfinished_name() {
    let case = Case::new();
    fs::write(case.path("victim"), "only copy").expect("written");
    let outputs = [("t", 0), ("c", 2), ("s.h5", 3), ("k.jsonl", 4)];
    for (out, command) in outputs {
        let beside = ["", ".lock", ".journal", ".tokens", ".spool", ".rows"];
        for suffix in beside.iter().take(if command == 0 { 2 } else { 6 }) {
            for hard in [false, true] {
                let planted = case.path(&format!("{out}.partial{suffix}"));
                match hard {
                    false => symlink(case.path("victim"), &planted).expect("linked"),
                    true => fs::hard_link(case.path("victim"), &planted).expect("linked"),
                }
                let outcome = case.commands(out).swap_remove(command).run();
                assert_eq!(outcome.code, Some(BAD_INPUT), "{out}{suffix}: {}", outcome.stderr);
                assert!(fs::symlink_metadata(&planted).is_ok(), "{out}{suffix} is gone");
                assert_eq!(fs::read_to_string(case.path("victim")).expect("kept"), "only copy", "{out}{suffix}");
                fs::remove_file(planted).expect("planted");
                assert!(!case.path(out).exists(), "{out} came to be");
            }
        }
        case.commands(out).swap_remove(command).succeed();
    }
}

#[test]
fn the_organism_is_trained_into_its_own_folders_only() {
    let folder = scratch();
    let train = |out: &Path| Untangle::new("organism train --stage base -q").option("--out", out).run();
    let mine = folder.path().join("mine/base");
    fs::create_dir_all(&mine).expect("made");
    fs::write(mine.join("config.json"), "my own").expect("written");
    train(&folder.path().join("mine")).fails_with(BAD_INPUT, &["config.json", "another recipe"]);
    fs::write(mine.join("notes.txt"), "my own").expect("written");
    train(&folder.path().join("mine")).fails_with(BAD_INPUT, &["notes.txt"]);
    assert_eq!(fs::read_to_string(mine.join("config.json")).expect("kept"), "my own");
    symlink(folder.path().join("nowhere"), folder.path().join("dangling")).expect("linked");
    train(&folder.path().join("dangling")).fails_with(USAGE, &["symbolic link"]);
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn results_that_do_not_get_onto_their_device_are_told() {
    let case = Case::new();
    for words in ["--version", "--help", "train --help", "inspect", "inspect --json"] {
        let mut command = Untangle::new(words);
        if words.starts_with("inspect") {
            command = command.arg(case.path("sae"));
        }
        let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
        let output = command.command().stdout(full).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(IO), "{words}: {stderr}");
        assert!(stderr.contains("error: stdout"), "{words}: {stderr}");
    }
}

#[test]
fn a_file_beyond_the_shells_limit_is_an_error_and_what_was_done_is_kept() {
    let case = Case::new();
    let limit = |kib: &str, command: &str| {
        let script = format!("ulimit -f {kib}; exec \"$@\"");
        Untangle::under("bash", &["-c".as_ref(), script.as_ref(), "bash".as_ref()], command)
    };
    let words = "capture organism --text organism --tokens 20000 --hook blocks.1.hook_resid_post -q --threads 1";
    let store = case.path("s.h5");
    limit("300", words).option("--out", &store).run().fails_with(IO, &["s.h5"]);
    assert!(!store.exists());
    Untangle::new(words).option("--out", &store).succeed();
    let codes = case.path("codes");
    let encode = |command: Untangle| command.arg(case.path("sae")).arg(case.path("a.npy")).option("--out", &codes);
    encode(limit("20", "encode -q")).run().fails_with(IO, &["codes"]);
    encode(Untangle::new("encode -q")).succeed();
}
