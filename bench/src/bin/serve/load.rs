//! The binary with the bundled organism: how soon is it there, and what do two hundred clients at once do to it?

use super::client::{get, try_ask};
use super::ms;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 200;
const PROMPT: &str = "One day, Anna and Ben went out together. Above the bay the red bridge gleamed in the fog.";
/// Starts that are timed.
const STARTS: usize = 3;
/// Time between two looks at the memory.
const LOOKS: Duration = Duration::from_secs(5);

/// Trains a small dictionary, starts the server and asks.
pub(crate) fn organism(untangle: &Path, seconds: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |words: &str| {
        let mut command = Command::new(untangle);
        command.arg("--quiet").args(words.split(' ')).current_dir(folder.path()).stdout(Stdio::null());
        assert!(command.status().expect("the binary runs").success(), "{words}");
    };
    run("capture organism --text organism --hook blocks.2.hook_resid_post --tokens 60000 --out x.h5");
    run("train x.h5 --out sae --d-sae 512 --k 8 --tokens 300000 --batch 1024");
    run("features sae --store x.h5 --model organism --out features.db");
    println!("\nthe organism, from the start of the program, ms");
    for _ in 0..STARTS {
        let begun = Instant::now();
        let (mut child, address) = start(untangle, folder.path());
        let listens = ms(begun);
        assert_eq!(get(address, "/").0, 200);
        assert_eq!(get(address, "/api/v1/dictionaries").0, 200);
        let body = json!({ "prompt": PROMPT }).to_string();
        assert_eq!(try_ask(address, "POST", "/api/v1/read", &body).expect("an answer").0, 200);
        println!("address {listens:.0}, page, dictionaries and a first prompt read {:.0}", ms(begun));
        end(&mut child);
    }
    let (mut child, address) = start(untangle, folder.path());
    strain(address, child.id(), seconds);
    assert_eq!(get(address, "/health").0, 200, "it is still there");
    end(&mut child);
}

fn start(untangle: &Path, folder: &Path) -> (Child, SocketAddr) {
    let mut command = Command::new(untangle);
    command.args("--quiet serve organism --sae sae --features features.db --port 0".split(' ')).current_dir(folder);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("http://").and_then(|address| address.parse().ok());
    (child, address.expect("an address"))
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// What a client asks, in turn.
fn request(number: usize) -> (&'static str, String) {
    let feature = number % 512;
    let (path, body) = match number % 5 {
        0 => ("/api/v1/read", json!({ "prompt": PROMPT, "losses": number.is_multiple_of(2) })),
        1 => ("/api/v1/feature", json!({ "feature": feature })),
        2 => ("/api/v1/search", json!({ "text": "the", "offset": number % 40 })),
        3 => ("/api/v1/activations", json!({ "feature": feature, "texts": [PROMPT] })),
        _ => {
            let steering = json!([{ "feature": feature, "add": 1 }]);
            ("/v1/completions", json!({ "prompt": PROMPT, "max_tokens": 20, "seed": number, "steering": steering }))
        }
    };
    (path, body.to_string())
}

fn strain(address: SocketAddr, process: u32, seconds: u64) {
    let (over, told) = (AtomicBool::new(false), Mutex::new(BTreeMap::<String, usize>::new()));
    let slowest = Mutex::new(0.0_f64);
    let mut memory = Vec::new();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (over, told, slowest) = (&over, &told, &slowest);
            scope.spawn(move || {
                let mut number = client;
                while !over.load(Ordering::Relaxed) {
                    let (path, body) = request(number);
                    let begun = Instant::now();
                    let found = match try_ask(address, "POST", path, &body) {
                        Ok((status, _)) => status.to_string(),
                        Err(error) => format!("broken off: {error}"),
                    };
                    let mut most = slowest.lock().expect("no client panics");
                    *most = most.max(ms(begun));
                    drop(most);
                    if found == "429" {
                        thread::sleep(Duration::from_millis(200));
                    }
                    *told.lock().expect("no client panics").entry(found).or_default() += 1;
                    number += 7;
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(LOOKS.min(Duration::from_secs(seconds)));
            memory.push(anonymous_mib(process));
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("\n{CLIENTS} clients for {seconds} s: reading, features, search, activations and steered texts in turn");
    for (status, count) in told.into_inner().expect("no client panics") {
        println!("  {status}: {count}");
    }
    println!("  slowest answer {:.0} ms", slowest.into_inner().expect("no client panics"));
    let shown: Vec<String> = memory.iter().map(|mib| format!("{mib:.0}")).collect();
    println!("  RssAnon every {} s, MiB: {}", LOOKS.as_secs(), shown.join(" "));
}

/// Memory of a process that is neither file nor shared, in MiB; 0 where the system does not say.
fn anonymous_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().strip_suffix("kB").and_then(|kib| kib.trim().parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}
