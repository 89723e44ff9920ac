//! How long does the workbench have one wait? A model of GPT-2 small's shape with random weights and a dictionary of 65,536
//! features; the bundled organism from its start; and two hundred clients at once for a minute.
//!
//! `serve [UNTANGLE [SECONDS]]`: the binary whose start and load are measured, and for how long.

#![allow(clippy::print_stdout, reason = "a measurement is for its reader")]

mod client;
mod load;
#[path = "../../shape.rs"]
mod shape;
mod stage;

use client::{get, post};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

/// Times that each request is asked, and those that come before.
const ROUNDS: usize = 21;
const WARM: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let untangle = arguments.next().map_or_else(|| PathBuf::from("target/release/untangle"), PathBuf::from);
    // It is run in another folder.
    let untangle = untangle.canonicalize().expect("the binary; `just build` makes it");
    let seconds = arguments.next().map_or(60, |seconds| seconds.parse().expect("seconds"));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores; load when it began: {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    println!("\nGPT-2 small's shape, {} features, 32 tokens, ms (median, least, most of {ROUNDS})", stage::FEATURES);
    stage::serving(|address| {
        let prompt: String = ('A'..='Z').chain('a'..='f').collect();
        let read = |losses: bool| json!({ "prompt": prompt, "losses": losses });
        report("prompt to features", address, "/api/v1/read", |_| read(false));
        report("the same with losses", address, "/api/v1/read", |_| read(true));
        report(
            "one feature on typed text",
            address,
            "/api/v1/activations",
            |_| json!({ "feature": 7, "texts": [prompt] }),
        );
        report(
            "feature page",
            address,
            "/api/v1/feature",
            |round| json!({ "feature": (round * 2749) % stage::FEATURES }),
        );
        report("search by a word", address, "/api/v1/search", |round| json!({ "text": format!("word{}", round % 9) }));
        report("list by score", address, "/api/v1/search", |_| json!({ "sort": "score" }));
        let begun = Instant::now();
        let (status, _) = post(address, "/api/v1/overview", &json!({}));
        println!("{:<28}{:>8.1}  (once; status {status})", "overview, first time", ms(begun));
        report("overview, afterwards", address, "/api/v1/overview", |_| json!({}));
    });
    load::organism(&untangle, seconds);
}

fn ms(begun: Instant) -> f64 {
    1000.0 * begun.elapsed().as_secs_f64()
}

/// Asks again and again, and says how long it took.
fn report(name: &str, address: SocketAddr, path: &str, body: impl Fn(usize) -> Value) {
    let mut times = Vec::new();
    for round in 0..WARM + ROUNDS {
        let begun = Instant::now();
        let (status, answer) = post(address, path, &body(round));
        assert_eq!(status, 200, "{path}: {answer}");
        if round >= WARM {
            times.push(ms(begun));
        }
    }
    times.sort_by(f64::total_cmp);
    let (least, most) = (times[0], times[times.len() - 1]);
    println!("{name:<28}{:>8.1}{least:>8.1}{most:>8.1}", times[times.len() / 2]);
    assert_eq!(get(address, "/health").0, 200);
}
