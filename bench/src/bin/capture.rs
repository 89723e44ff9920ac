//! One side of `just bench-capture`: captures and bare products, timed on request, so that rounds can be interleaved with
//! other programs'.
//!
//! `capture MODEL TEXT FOLDER CONTEXT BATCH THREADS` loads the model and answers every line on its input with one on its
//! output, the seconds it took:
//!
//! - `f32 HOOK...` or `bf16 HOOK...`: a whole capture of the text at these hook points, from the text to the synced file
//!   under its final name, FOLDER/capture.h5
//! - `padded` before it: the same where every document begins a context; `unsorted`: the same where those pass in the order of
//!   the text. The answer is then seconds, tokens and positions that were padding
//! - `products f32 N` or `products bf16 N`: the matrix products of N blocks alone, with nothing between them, batch by
//!   batch of BATCH contexts

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use untangle_capture::{CaptureConfig, CapturePlan, Captured, Corpus, capture};
use untangle_model::{LanguageModel, LoadOptions, threads};
use untangle_sae::Precision;
use untangle_schema::{BosPolicy, Silent, StoreDtype};

type Failure = Box<dyn std::error::Error>;

/// What is captured, whatever the hook points.
struct Bench {
    f32: LanguageModel,
    /// None where the processor has no instructions for it.
    bf16: Option<LanguageModel>,
    text: PathBuf,
    out: PathBuf,
    context: usize,
    batch: usize,
    threads: usize,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "its input and output are its interface")]
fn main() -> ExitCode {
    let serve = || -> Result<(), Failure> {
        let bench = Bench::new(&std::env::args().skip(1).collect::<Vec<_>>())?;
        println!("{}", if bench.bf16.is_some() { "f32 bf16" } else { "f32" });
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let words: Vec<&str> = line.split_whitespace().collect();
            println!("{}", bench.answer(&words)?);
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
        let [model, text, folder, context, batch, threads] = arguments else {
            return Err("usage: capture MODEL TEXT FOLDER CONTEXT BATCH THREADS".into());
        };
        let threads = threads.parse()?;
        threads::give_this_thread(threads);
        let f32 = LanguageModel::load(Path::new(model), &LoadOptions::default())?;
        let bf16 = Precision::has_bf16_instructions().then(|| f32.in_kind(Kind::BFloat16)).transpose()?;
        let (text, out) = (text.into(), Path::new(folder).join("capture.h5"));
        Ok(Bench { f32, bf16, text, out, context: context.parse()?, batch: batch.parse()?, threads })
    }

    fn answer(&self, words: &[&str]) -> Result<String, Failure> {
        match words {
            ["products", dtype, blocks] => Ok(self.products(self.model(dtype)?, blocks.parse()?).to_string()),
            [order @ ("padded" | "unsorted"), dtype, hooks @ ..] => {
                let config = CaptureConfig { pad: true, bos: BosPolicy::Auto, ..self.config(hooks)? };
                let (seconds, captured) = self.capture(self.model(dtype)?, &config, *order == "unsorted")?;
                Ok(format!("{seconds} {} {}", captured.manifest.n_rows, captured.padding.unwrap_or(0)))
            }
            [dtype, hooks @ ..] => Ok(self.capture(self.model(dtype)?, &self.config(hooks)?, false)?.0.to_string()),
            [] => Err("an empty request".into()),
        }
    }

    fn model(&self, dtype: &str) -> Result<&LanguageModel, Failure> {
        match dtype {
            "f32" => Ok(&self.f32),
            "bf16" => self.bf16.as_ref().ok_or_else(|| "this processor has no instructions for bf16".into()),
            other => Err(format!("`{other}` is neither f32 nor bf16").into()),
        }
    }

    fn config(&self, hooks: &[&str]) -> Result<CaptureConfig, Failure> {
        let hooks = hooks.iter().map(|hook| hook.parse()).collect::<Result<_, _>>()?;
        Ok(CaptureConfig {
            context: Some(self.context),
            bos: BosPolicy::Never,
            store: StoreDtype::F16,
            threads: Some(self.threads),
            force: true,
            ..CaptureConfig::new(hooks, self.out.clone())
        })
    }

    fn capture(
        &self,
        model: &LanguageModel,
        config: &CaptureConfig,
        unsorted: bool,
    ) -> Result<(f64, Captured), Failure> {
        let start = Instant::now();
        let plan = CapturePlan::new(config, model)?;
        let plan = if unsorted { plan.in_text_order() } else { plan };
        let captured = capture(&plan, model, &Corpus::open(&[&self.text])?, &Silent)?;
        Ok((start.elapsed().as_secs_f64(), captured))
    }

    /// Query, key and value; what attention writes; into and out of the MLP.
    fn products(&self, model: &LanguageModel, blocks: usize) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let (d_model, d_mlp) = (model.d_model() as i64, model.config().d_mlp as i64);
        let rows = (self.context * self.batch) as i64;
        let random = |rows, columns| Tensor::randn([rows, columns], (Kind::Float, Device::Cpu)).to_kind(model.kind());
        let sizes = [(d_model, 3 * d_model), (d_model, d_model), (d_model, d_mlp), (d_mlp, d_model)];
        let operands = sizes.map(|(d_in, d_out)| (random(rows, d_in), random(d_out, d_in).tr(), random(rows, d_out)));
        let start = Instant::now();
        for (x, w, out) in std::iter::repeat_n(&operands, blocks).flatten() {
            let _ = x.mm_out(out, w);
        }
        start.elapsed().as_secs_f64()
    }
}
