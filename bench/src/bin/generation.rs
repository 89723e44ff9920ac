//! One side of `just bench-generation`: texts gone on with, timed on request, so that rounds can be interleaved with other programs'.
//!
//! `generation MODEL THREADS` loads the model, says in which kinds of number it runs, and answers every line on its input with one on
//! its output:
//!
//! - `f32 BATCH TOKENS` or `bf16 BATCH TOKENS`: the seconds that it takes to go on with BATCH prompts by TOKENS likeliest tokens
//! - `tokens BATCH TOKENS`: the tokens themselves, in f32, row after row

use std::io::{BufRead, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use tch::Kind;
use untangle_model::{GenerateOptions, LanguageModel, LoadOptions, NoHook, Request, Sampling, generate_batch, threads};
use untangle_sae::Precision;

type Failure = Box<dyn std::error::Error>;

/// Tokens of a prompt.
const PROMPT: u32 = 32;

/// A model in every kind that the processor has instructions for.
struct Bench {
    f32: LanguageModel,
    bf16: Option<LanguageModel>,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "its input and output are its interface")]
fn main() -> ExitCode {
    let serve = || -> Result<(), Failure> {
        let bench = Bench::new(&std::env::args().skip(1).collect::<Vec<_>>())?;
        println!("{}", if bench.bf16.is_some() { "f32 bf16" } else { "f32" });
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            println!("{}", bench.answer(&line.split_whitespace().collect::<Vec<_>>())?);
            std::io::stdout().flush()?;
        }
        Ok(())
    };
    serve().map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

impl Bench {
    fn new(arguments: &[String]) -> Result<Self, Failure> {
        let [model, threads] = arguments else { return Err("usage: generation MODEL THREADS".into()) };
        threads::give_this_thread(threads.parse()?);
        let f32 = LanguageModel::load(Path::new(model), &LoadOptions::default())?;
        let bf16 = Precision::has_bf16_instructions().then(|| f32.in_kind(Kind::BFloat16)).transpose()?;
        Ok(Bench { f32, bf16 })
    }

    fn answer(&self, words: &[&str]) -> Result<String, Failure> {
        let [what, batch, tokens] = words else { return Err("a request has three words".into()) };
        let (batch, tokens) = (batch.parse()?, tokens.parse()?);
        match *what {
            "f32" => Ok(go_on(&self.f32, batch, tokens)?.0.to_string()),
            "bf16" => {
                let model = self.bf16.as_ref().ok_or("this processor has no instructions for bf16")?;
                Ok(go_on(model, batch, tokens)?.0.to_string())
            }
            "tokens" => {
                let rows = go_on(&self.f32, batch, tokens)?.1;
                Ok(rows.into_iter().flatten().map(|token| token.to_string()).collect::<Vec<_>>().join(" "))
            }
            other => Err(format!("`{other}` is neither f32 nor bf16 nor tokens").into()),
        }
    }
}

/// Seconds, and the tokens of every text.
fn go_on(model: &LanguageModel, batch: u32, tokens: usize) -> Result<(f64, Vec<Vec<u32>>), Failure> {
    let options = GenerateOptions { max_new_tokens: tokens, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: false };
    // The other side makes the same prompts.
    let prompt = |row| (0..PROMPT).map(|at| (7919 * row + 104_729 * at + 1) % 50_000).collect();
    let requests: Vec<Request> = (0..batch).map(|row| Request { prompt: prompt(row), options }).collect();
    let start = Instant::now();
    let rows = generate_batch(model, &requests, &mut NoHook, &mut |_, _| ControlFlow::Continue(()))?;
    Ok((start.elapsed().as_secs_f64(), rows.into_iter().map(|row| row.tokens).collect()))
}
