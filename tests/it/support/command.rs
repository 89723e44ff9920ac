//! Runs the `untangle` binary and looks at how it ended.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

/// A command line of `untangle`, run without a terminal and without the environment's settings.
#[derive(Debug)]
pub(crate) struct Untangle(Command);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; none when a signal ended the run.
    pub(crate) code: Option<i32>,
    /// Everything on stdout.
    pub(crate) stdout: String,
    /// Everything on stderr.
    pub(crate) stderr: String,
}

impl Untangle {
    /// `untangle VERB …`; words are split at blanks, so paths go in by [`Untangle::arg`].
    pub(crate) fn new(words: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(words.split_whitespace()).stdin(Stdio::null());
        Untangle(command)
    }

    /// The same under another program, such as `unshare`: `program words… untangle verb…`.
    pub(crate) fn under(program: &str, leading: &[&OsStr], words: &str) -> Self {
        let mut command = Command::new(program);
        command.args(leading).arg(binary()).args(words.split_whitespace()).stdin(Stdio::null());
        Untangle(command)
    }

    /// Adds words, split at blanks.
    pub(crate) fn words(mut self, words: &str) -> Self {
        self.0.args(words.split_whitespace());
        self
    }

    /// Adds one argument as it is.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// Adds an option with its value.
    pub(crate) fn option(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.arg(name).arg(value)
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Removes a variable of the environment.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    /// Runs in a folder.
    pub(crate) fn in_folder(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Pipes a file in.
    pub(crate) fn reading(mut self, path: &Path) -> Self {
        self.0.stdin(std::fs::File::open(path).expect("the file exists"));
        self
    }

    /// The command itself, for tests that treat the process in their own way.
    pub(crate) fn command(self) -> Command {
        self.0
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Outcome {
        let output = self.0.output().unwrap_or_else(|error| panic!("{:?} does not start: {error}", self.0));
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    /// Runs to the end and returns stdout; fails the test when the run failed.
    pub(crate) fn succeed(self) -> String {
        let line = format!("{:?}", self.0);
        let outcome = self.run();
        assert_eq!(outcome.code, Some(0), "{line}\nstderr: {}", outcome.stderr);
        outcome.stdout
    }

    /// Runs to the end and reads stdout as one JSON object.
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.arg("--json").succeed();
        let value: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("not one JSON object: {error}\n{text}"));
        assert!(value.is_object(), "not an object: {text}");
        value
    }

    /// Starts without waiting. Output is drained in the background, so that a full pipe never stops the child.
    pub(crate) fn start(mut self) -> Child {
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.0.spawn().unwrap_or_else(|error| panic!("{:?} does not start: {error}", self.0));
        drain(child.stdout.take().expect("piped"));
        drain(child.stderr.take().expect("piped"));
        child
    }
}

impl Outcome {
    /// Fails the test unless the run ended with `code` and exactly one error line, which holds every one of `parts`.
    pub(crate) fn fails_with(&self, code: i32, parts: &[&str]) {
        self.fails_with_story(code, parts);
        assert_eq!(self.stdout, "", "results although it failed");
    }

    /// The same where the command tells what it does on stdout before it comes to the fault.
    pub(crate) fn fails_with_story(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "exit code; stderr: {}", self.stderr);
        let errors: Vec<_> = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one error line; stderr: {}", self.stderr);
        for part in parts {
            assert!(errors[0].contains(part), "`{part}` is missing in: {}", errors[0]);
        }
        assert!(!self.stderr.contains("panicked"), "a panic: {}", self.stderr);
    }
}

fn drain(mut pipe: impl Read + Send + 'static) {
    thread::spawn(move || std::io::copy(&mut pipe, &mut std::io::sink()));
}

/// The binary of this workspace, built once for all tests: cargo does not build other packages' binaries for a test.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--release", "--locked", "--package", "untangle-cli", "--message-format", "json"]);
        // What cargo says of the package of a test is not meant for this build: scripts that depend on it would run once more,
        // and everything above them would be compiled anew, here and by whoever builds next.
        let of_package = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        };
        std::env::vars_os().map(|(name, _)| name).filter(of_package).for_each(|name| {
            build.env_remove(name);
        });
        let output = build.current_dir(super::workspace_root()).output().expect("cargo runs");
        assert!(output.status.success(), "cargo build failed: {}", String::from_utf8_lossy(&output.stderr));
        let executable = |line: &[u8]| {
            let message: serde_json::Value = serde_json::from_slice(line).ok()?;
            Some(PathBuf::from(message["executable"].as_str()?))
        };
        output.stdout.split(|&byte| byte == b'\n').find_map(executable).expect("cargo names the executable")
    })
}
