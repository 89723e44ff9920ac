//! How a run ends: its exit code, and the one line it prints when it failed.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; also when the reader of stdout went away |
//! | 1 | a defect of the program |
//! | 2 | the command line contradicts itself or asks for something that does not exist |
//! | 3 | a file or value that was given is wrong, or there is no such file |
//! | 4 | reading or writing failed, or another process holds the output |
//! | 130 | interrupted; what was done so far is kept |

use crate::terminal::{say, visible};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use untangle_schema::{Classify, Fault};

/// An error that the command line itself found, with its kind.
#[derive(Debug)]
pub(crate) struct Complaint {
    fault: Fault,
    message: String,
}

impl Complaint {
    /// The request makes no sense: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        Complaint { fault: Fault::Usage, message: message.into() }.into()
    }

    /// A file or value is wrong: exit code 3.
    pub(crate) fn bad_input(message: impl Into<String>) -> anyhow::Error {
        Complaint { fault: Fault::BadInput, message: message.into() }.into()
    }

    /// The user asked to stop: exit code 130.
    pub(crate) fn interrupted(message: impl Into<String>) -> anyhow::Error {
        Complaint { fault: Fault::Interrupted, message: message.into() }.into()
    }

    /// A file could not be read or written.
    pub(crate) fn io(path: &Path, error: &io::Error) -> anyhow::Error {
        Complaint { fault: Fault::of_file(error), message: format!("{}: {error}", path.display()) }.into()
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Complaint {}

/// The exit code where the command line asks for help or the version, or cannot be understood; prints what clap has to say.
/// Help that does not get onto its device is told as any other result would be.
pub(crate) fn conclude_parsing(told: &clap::Error) -> ExitCode {
    // An argument that is quoted may be the name of a file, and that may be anything.
    let quoted = told.render().to_string();
    let printed = match visible(&in_plain_words(&quoted)) {
        same if same == quoted => told.print().and_then(|()| io::stdout().flush()),
        shown => write!(io::stderr(), "{shown}"),
    };
    match printed {
        Err(error) if !told.use_stderr() => conclude(Err(anyhow::Error::from(error).context("stdout"))),
        _ => ExitCode::from(if told.use_stderr() { code(Fault::Usage) } else { 0 }),
    }
}

/// What the standard library says of texts that are no numbers, in words of users.
fn in_plain_words(text: &str) -> String {
    const SAID: [(&str, &str); 5] = [
        ("invalid digit found in string", "expected a whole number that is not negative"),
        ("cannot parse integer from empty string", "expected a whole number"),
        ("number would be zero for non-zero type", "expected a whole number, 1 or more"),
        ("number too large to fit in target type", "it is too large"),
        ("invalid float literal", "expected a number"),
    ];
    // Where an error is of the value of an option, clap puts it behind the last colon of the first line.
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let found = SAID.iter().find_map(|(said, words)| Some(format!("{}{words}", first.strip_suffix(said)?)));
    found.map_or_else(|| text.to_owned(), |first| format!("{first}\n{rest}"))
}

/// The exit code of a finished run; prints the error, if there is one, on stderr.
pub(crate) fn conclude(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if is_closed_stdout(&error) {
        return ExitCode::SUCCESS;
    }
    let fault = fault_of(&error);
    say(&last_line(fault, &message_of(&error)));
    ExitCode::from(code(fault))
}

/// The last line of a run that failed. Engines that were interrupted often begin with that word themselves.
fn last_line(fault: Fault, message: &str) -> String {
    match fault {
        Fault::Interrupted if message.starts_with("interrupted") => message.to_owned(),
        Fault::Interrupted => format!("interrupted: {message}"),
        _ => format!("error: {message}"),
    }
}

/// Prints a panic as one line, once, however many threads panic after the first.
pub(crate) fn report_panics_in_one_line() {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    panic::set_hook(Box::new(|info| {
        if untangle_capture::corpus::panic_is_caught() {
            return;
        }
        if !REPORTED.swap(true, Ordering::SeqCst) {
            say(&format!("error: {}", panic_line(info)));
        }
    }));
}

/// The exit code of a panic that [`report_panics_in_one_line`] has reported.
pub(crate) fn after_panic() -> ExitCode {
    ExitCode::from(code(Fault::Internal))
}

fn panic_line(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let first_line = text.and_then(|t| t.lines().next()).unwrap_or("unknown");
    let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
    format!("internal error, a defect of untangle {}: {first_line}{place}", env!("CARGO_PKG_VERSION"))
}

const fn code(fault: Fault) -> u8 {
    match fault {
        Fault::Internal => 1,
        Fault::Usage => 2,
        Fault::BadInput => 3,
        Fault::Io => 4,
        Fault::Interrupted => 130,
    }
}

/// The messages of the chain, outermost first, on one line; a cause that its effect already quotes is not repeated.
fn message_of(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.is_empty() {
            message = text;
        } else if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
    }
    message.replace('\n', " ")
}

fn fault_of(error: &anyhow::Error) -> Fault {
    error.chain().find_map(fault_of_cause).unwrap_or(Fault::Internal)
}

fn fault_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    if let Some(complaint) = cause.downcast_ref::<Complaint>() {
        return Some(complaint.fault);
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return Some(Fault::of_file(error));
    }
    macro_rules! of_crates {
        ($($kind:ty),* $(,)?) => { $(if let Some(e) = cause.downcast_ref::<$kind>() { return Some(e.fault()); })* };
    }
    of_crates!(
        untangle_store::StoreError,
        untangle_model::ModelError,
        untangle_model::HubError,
        untangle_sae::SaeError,
        untangle_endpoint::EndpointError,
        untangle_capture::CaptureError,
        untangle_train::TrainError,
        untangle_interpret::InterpretError,
        untangle_organism::OrganismError,
        untangle_sources::SourceError,
        untangle_serve::ServeError,
    );
    None
}

fn is_closed_stdout(error: &anyhow::Error) -> bool {
    let closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(closed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::path::PathBuf;

    #[test]
    fn the_kind_of_an_error_survives_the_context_around_it() {
        let error = untangle_store::StoreError::NotFinite {
            path: PathBuf::from("a.h5"),
            column: "x".into(),
            row: 7,
            rounded: false,
        };
        let wrapped = Err::<(), _>(error).context("while training").expect_err("an error");
        assert_eq!(fault_of(&wrapped), Fault::BadInput);
        assert_eq!(fault_of(&Complaint::usage("both")), Fault::Usage);
        assert_eq!(fault_of(&anyhow::anyhow!("surprise")), Fault::Internal);
    }

    #[test]
    fn a_message_is_one_line_and_says_nothing_twice() {
        let inner = io::Error::other("no space");
        let error = Err::<(), _>(inner).context("a.h5: no space").context("while capturing").expect_err("an error");
        assert_eq!(message_of(&error), "while capturing: a.h5: no space");
    }

    #[test]
    fn an_interruption_is_said_once() {
        let at = "interrupted at 4 of 9 tokens; the same command continues from there";
        assert_eq!(last_line(Fault::Interrupted, at), at);
        assert_eq!(last_line(Fault::Interrupted, "stopped before the end"), "interrupted: stopped before the end");
        assert_eq!(last_line(Fault::Io, "a.h5: no space"), "error: a.h5: no space");
    }

    #[test]
    fn only_a_closed_stdout_counts_as_done() {
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_closed_stdout(&closed));
        assert!(!is_closed_stdout(&anyhow::Error::from(io::Error::from(io::ErrorKind::NotFound))));
    }
}
