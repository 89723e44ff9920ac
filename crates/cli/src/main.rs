//! The `untangle` binary: parse, dispatch, exit code.

// Doc comments of arguments are help texts, in which brackets stand for what can be left out.
#![allow(rustdoc::broken_intra_doc_links)]

mod args;
mod canvas;
mod cards;
mod codes_file;
mod commands;
mod context;
mod device;
mod exit;
mod lines;
mod observers;
mod output;
mod terminal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    exit::report_panics_in_one_line();
    let cli = match args::Cli::read() {
        Ok(cli) => cli,
        Err(told) => return exit::conclude_parsing(&told),
    };
    catch_unwind(AssertUnwindSafe(|| exit::conclude(args::run(cli)))).unwrap_or_else(|_| exit::after_panic())
}
