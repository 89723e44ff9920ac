//! Prints the token ids and offsets that Untangle gives to lines of text, for comparison with transformers.
//!
//! `tokens MODEL TEXTS`: TEXTS is a file of JSON strings, one in a line; for each a line `{"ids": […], "offsets": […]}` goes
//! to standard output, with offsets in characters, or `{"error": …}`.

use serde_json::{Value, json};
use std::path::Path;
use untangle_model::{ModelConfig, Tokenizer, TokenizerFiles};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts] = &arguments[..] else {
        return Err("give a model's directory and a file of JSON strings".into());
    };
    let dir = Path::new(model);
    let path = dir.join("config.json");
    let config = ModelConfig::from_json(&path, &std::fs::read(&path)?)?;
    let files =
        TokenizerFiles::read(dir)?.ok_or("the directory has neither tokenizer.json nor vocab.json and merges.txt")?;
    let started = std::time::Instant::now();
    let tokenizer = Tokenizer::new(&files, &config)?;
    let seconds = started.elapsed().as_secs_f64();
    report(&format!("loaded in {seconds:.2} s, known as {}", tokenizer.sha256()), true);
    for line in std::fs::read_to_string(texts)?.lines() {
        let text: String = serde_json::from_str(line)?;
        report(&tokens(&tokenizer, &text).to_string(), false);
    }
    Ok(())
}

fn tokens(tokenizer: &Tokenizer, text: &str) -> Value {
    match tokenizer.encode_with_ranges(text) {
        Ok(encoded) => {
            let chars = |end: usize| text[..end].chars().count();
            let ids: Vec<u32> = encoded.iter().map(|(id, _)| *id).collect();
            let offsets: Vec<_> = encoded.iter().map(|(_, range)| [chars(range.start), chars(range.end)]).collect();
            json!({ "ids": ids, "offsets": offsets })
        }
        Err(error) => json!({ "error": error.to_string() }),
    }
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn report(line: &str, aside: bool) {
    if aside { eprintln!("{line}") } else { println!("{line}") }
}
