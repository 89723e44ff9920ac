//! `just bench`: seconds per TopK step beside the encoder product alone, in one run.
//!
//! The figures that can be believed are the ratios: both sides are timed in turn, in the same process, on the same data.

mod memory;
mod parts;
mod product;
mod topk;

use std::process::ExitCode;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark's result is what it prints")]
fn main() -> ExitCode {
    match topk::Sizes::from_arguments(std::env::args().skip(1)) {
        Ok(sizes) => match topk::report(sizes) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Err(usage) => {
            eprintln!("{usage}");
            ExitCode::from(2)
        }
    }
}
