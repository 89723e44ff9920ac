//! `just bench-read`: reading a store in random order beside reading its file from front to back.
//!
//! A store is made for the purpose, larger than the memory in which it is shuffled. Both readings begin with none of it
//! in the page cache, take turns in one run, and count the same bytes: every row's activations once. The shuffled one
//! includes opening the store and counting its rows.

mod cache;
#[path = "../../memory.rs"]
mod memory;
mod store;

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What to measure.
struct Arguments {
    /// Size of the activations.
    gib: f64,
    /// Width of a row.
    d: usize,
    /// Memory settings to shuffle in, in MiB.
    memory: Vec<usize>,
    /// How often the readings take turns.
    rounds: usize,
    /// Where the store is made, and taken away again.
    folder: PathBuf,
    /// A store to use instead, made where it is absent and kept.
    keep: Option<PathBuf>,
}

const USAGE: &str = "options: --gib 4 --d 768 --memory 256,1024 (MiB) --rounds 3 --folder DIR | --keep FILE.h5";

impl Arguments {
    fn parse(words: impl Iterator<Item = String>) -> Option<Self> {
        let folder = std::env::temp_dir();
        let mut parsed = Arguments { gib: 4.0, d: 768, memory: vec![256, 1024], rounds: 3, folder, keep: None };
        let words: Vec<String> = words.collect();
        for pair in words.chunks(2) {
            let [name, value] = pair else { return None };
            match name.as_str() {
                "--gib" => parsed.gib = value.parse().ok()?,
                "--d" => parsed.d = value.parse().ok()?,
                "--memory" => parsed.memory = value.split(',').map(|mib| mib.parse().ok()).collect::<Option<_>>()?,
                "--rounds" => parsed.rounds = value.parse().ok()?,
                "--folder" => parsed.folder = value.into(),
                "--keep" => parsed.keep = Some(value.into()),
                _ => return None,
            }
        }
        (parsed.d > 0 && parsed.rounds > 0 && parsed.gib > 0.0).then_some(parsed)
    }
}

type Failure = Box<dyn std::error::Error>;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark's result is what it prints")]
fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match report(&arguments, &mut |line| println!("{line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let scratch = tempfile::tempdir_in(&arguments.folder)?;
    let path = arguments.keep.clone().unwrap_or_else(|| scratch.path().join("store.h5"));
    if !path.exists() {
        let start = Instant::now();
        store::make(&path, arguments.gib, arguments.d)?;
        let rate = arguments.gib / start.elapsed().as_secs_f64();
        say(format!("made {} GiB of rows in {:.1} s, {rate:.2} GiB/s", arguments.gib, start.elapsed().as_secs_f64()));
    }
    for mib in &arguments.memory {
        let (mut plain, mut shuffled, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..arguments.rounds {
            plain.push(front_to_back(&path)?);
            let (rate, peak) = memory::peak_during(|| store::read_shuffled(&path, mib << 20));
            shuffled.push(rate?);
            peaks.extend(peak);
        }
        let (plain, shuffled) = (median(&mut plain), median(&mut shuffled));
        let peak = peaks.into_iter().reduce(f64::max).map_or("unknown".to_owned(), |peak| format!("{peak:.0} MiB"));
        say(format!(
            "shuffled in {mib} MiB: {shuffled:.2} GiB/s; front to back: {plain:.2} GiB/s; ratio {:.2}; RssAnon at most {peak}",
            shuffled / plain
        ));
    }
    Ok(())
}

/// Rate in GiB/s of reading the whole file with nothing of it in the page cache: the faster of two ways to read it.
///
/// The kernel reads ahead in small steps, which holds buffered reading well below what the disk gives; large reads past
/// the page cache show the disk's own rate. File systems that lack them are measured buffered.
fn front_to_back(path: &Path) -> io::Result<f64> {
    let buffered = rate_of_reading(path, 0)?;
    match rate_of_reading(path, libc::O_DIRECT) {
        Ok(direct) => Ok(direct.max(buffered)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(buffered),
        Err(error) => Err(error),
    }
}

fn rate_of_reading(path: &Path, flags: i32) -> io::Result<f64> {
    /// Direct reads want memory that starts on a block's boundary.
    const BLOCK: usize = 4096;
    const READ: usize = 4 << 20;
    cache::drop_pages(path)?;
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut memory = vec![0; READ + BLOCK];
    let start = memory.as_ptr().align_offset(BLOCK);
    let buffer = &mut memory[start..start + READ];
    let (start, mut bytes) = (Instant::now(), 0);
    loop {
        match file.read(buffer)? {
            0 => break,
            n => bytes += n,
        }
    }
    Ok(bytes as f64 / (1u64 << 30) as f64 / start.elapsed().as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
