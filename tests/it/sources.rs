//! One text in every form that a text has: the same rows come of it, killed or not, and what is wrong is named.

use crate::support::{TinyModel, Untangle, corpus_text, entries, kill_after, scratch};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const BAD_INPUT: i32 = 3;
const USAGE: i32 = 2;

struct Bench {
    folder: TempDir,
    model: TinyModel,
}

impl Bench {
    fn new() -> Self {
        let folder = scratch();
        let model = TinyModel::write(folder.path());
        Bench { folder, model }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("the scratch folder is writable");
        path
    }

    fn capture(&self, text: &[&Path], options: &str, out: &str) -> Untangle {
        let command = Untangle::new("capture --context 64 --batch 4 --threads 1").arg(&self.model.path);
        let command = command.words(&format!("--hook {}", TinyModel::HOOK)).words(options);
        let command = text.iter().fold(command.arg("--text"), |command, path| command.arg(path));
        command.option("--out", self.folder.path().join(out))
    }

    fn bytes(&self, out: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(out)).expect("captured")
    }
}

/// The documents of a separated text as lines of JSON with that field.
fn json_lines(text: &Path, field: &str) -> String {
    let text = fs::read_to_string(text).expect("a text");
    let documents = text.split("<|endoftext|>").map(|document| document.trim_matches('\n'));
    documents.filter(|text| !text.is_empty()).map(|text| json!({"id": 1, field: text}).to_string() + "\n").collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

/// What is behind the manifest: its length varies with the names of the text, the rows do not.
fn rows_of(captured: &serde_json::Value) -> (u64, u64) {
    let number = |name: &str| captured["manifest"][name].as_u64().expect("a number");
    (number("n_rows"), number("n_documents"))
}

#[test]
fn every_form_of_a_text_gives_the_same_rows() {
    let bench = Bench::new();
    let plain = corpus_text(bench.folder.path(), 60);
    let lines = json_lines(&plain, "body");
    let expected = rows_of(&bench.capture(&[&plain], "", "plain.h5").json());
    let jsonl = bench.write("a.jsonl", &lines);
    let packed = bench.write("many/part/a.jsonl.gz", gzip(lines.as_bytes()));
    let captured = bench.capture(&[&jsonl], "--field body", "a.h5").json();
    assert_eq!(rows_of(&captured), expected);
    assert_eq!(captured["manifest"]["corpus"][0]["field"], "body");
    assert_eq!(rows_of(&bench.capture(&[&packed], "--field body", "b.h5").json()), expected);

    let piped = bench.capture(&["-".as_ref()], "--field body", "c.h5").reading(&packed).json();
    assert_eq!(rows_of(&piped), expected);
    assert_eq!(piped["manifest"]["corpus"][0]["name"], "standard input");

    bench.write("many/README.md", "about");
    let folder = bench.folder.path().join("many");
    let outcome = bench.capture(&[&folder, &plain], "--field body --json", "d.h5").run();
    assert!(
        outcome.stderr.contains("warning: passed over") && outcome.stderr.contains("README.md"),
        "{}",
        outcome.stderr
    );
    let both: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(rows_of(&both), (2 * expected.0, 2 * expected.1));
    assert_eq!(both["manifest"]["corpus"][0]["name"], "part/a.jsonl.gz");
}

#[test]
fn killed_captures_of_compressed_and_piped_text_continue_to_the_same_bytes() {
    let bench = Bench::new();
    let plain = corpus_text(bench.folder.path(), 400);
    let packed = bench.write("a.jsonl.gz", gzip(json_lines(&plain, "text").as_bytes()));
    let capture = |out: &str| bench.capture(&["-".as_ref(), &packed], "", out).reading(&packed);
    capture("whole.h5").succeed();
    let mut met = 0;
    for delay in [150, 300, 500, 700] {
        met += u32::from(kill_after(capture("cut.h5").start(), Duration::from_millis(delay)));
    }
    if !bench.folder.path().join("cut.h5").exists() {
        capture("cut.h5").succeed();
    }
    assert!(met > 0, "no kill met a running capture");
    assert!(bench.bytes("cut.h5") == bench.bytes("whole.h5"));
}

#[test]
fn what_is_wrong_with_a_text_is_one_line_and_nothing_is_left() {
    let bench = Bench::new();
    let fails = |name: &str, content: &[u8], options: &str, words: &[&str]| {
        let path = bench.write(name, content);
        bench.capture(&[&path], options, "x.h5").run().fails_with(BAD_INPUT, words);
        fs::remove_file(path).expect("there");
        assert_eq!(entries(bench.folder.path()), ["tiny"]);
    };
    let lines = b"{\"text\": \"a cat sat.\"}\n{\"txt\": \"b\"}\n";
    fails("a.jsonl", lines, "", &["a.jsonl: line 2 has no field `text`", "--field"]);
    fails("a.jsonl", b"{\"text\": \"a cat\"}\nplain\n", "", &["a.jsonl: line 2 is no JSON object"]);
    fails("a.txt", b"a cat\n\xffsat\n", "--strict", &["a.txt: byte 6 is not UTF-8", "--strict"]);
    let packed = gzip(&lines.repeat(900)[..]);
    fails("a.jsonl.gz", &packed[..packed.len() - 9], "--field txt", &["a.jsonl.gz: line 1 has no field `txt`"]);
    let packed = gzip(&b"{\"text\": \"a cat sat.\"}\n".repeat(900));
    fails("a.jsonl.gz", &packed[..packed.len() / 2], "", &["a.jsonl.gz: it ends in the middle"]);
    fails("a.txt.zst", b"not zst", "", &["a.txt.zst", "not compressed with zstd", "take .zst off"]);
    fails("a.parquet", b"PAR1", "", &["a.parquet", "as a parquet file it is damaged"]);
    fails("a.zip", b"PK", "", &["a.zip", "an archive; extract its files"]);
    fails("a.txt", b"a cat", "--chat", &["the model has no chat template"]);
    let twice: [&Path; 2] = ["-".as_ref(), "-".as_ref()];
    bench.capture(&twice, "", "x.h5").run().fails_with(USAGE, &["`-` is named twice"]);
    bench.capture(&["-".as_ref()], "", "x.h5").run().fails_with(BAD_INPUT, &["standard input gave no token"]);
    assert_eq!(entries(bench.folder.path()), ["tiny"]);
}

#[test]
fn conversations_are_captured_by_the_models_own_template() {
    let bench = Bench::new();
    let template = "{{ bos_token }}{% for m in messages %}{{ m.role }}! {{ m.content }}\n{% endfor %}\
        {% if add_generation_prompt %}assistant!{% endif %}";
    fs::write(bench.model.path.join("chat_template.jinja"), template).expect("writable");
    let turns = json!([{"role": "user", "content": "A cat?"}, {"role": "assistant", "content": "Yes."}]);
    let chat = bench.write("chat.jsonl", (json!({"messages": turns}).to_string() + "\n").repeat(2));
    let as_text = "user! A cat?\nassistant! Yes.";
    let text = bench.write("same.txt", format!("{as_text}\n<|endoftext|>\n{as_text}\n"));
    let captured = bench.capture(&[&chat], "--chat", "chat.h5").json();
    let same = rows_of(&bench.capture(&[&text], "", "text.h5").json());
    // The template ends with a line break, which the plain text's documents do not; and <s> stands once a document.
    assert_eq!(rows_of(&captured), (same.0 + 2, 2));
    assert_eq!(captured["manifest"]["chat_template_sha256"].as_str().map(str::len), Some(64));
    let store = bench.folder.path().join("store.h5");
    bench.capture(&[&corpus_text(bench.folder.path(), 20)], "", "store.h5").succeed();
    let sae = bench.folder.path().join("sae");
    let train = Untangle::new("train --batch 256 --tokens 2048 --threads 1 --d-sae 64 --k 4").arg(store);
    train.option("--out", &sae).succeed();
    let steer = Untangle::new("steer").arg(&bench.model.path).option("--sae", &sae).option("--prompt", "A cat?");
    let steered = steer.words("--feature 1:add=2 --tokens 3 --chat --threads 1").json();
    let said = steered["steered"][0]["baseline"].as_str().expect("a text");
    assert!(said.starts_with("<s>user! A cat?\nassistant!"), "what the model reads: {said}");

    // Tables hold conversations, too: the same rows come of one.
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/capture/tests/fixtures/chat.parquet");
    let lines = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/capture/tests/fixtures/chat.jsonl");
    let [of_table, of_lines] = [(table, "table.h5"), (lines, "lines.h5")]
        .map(|(text, out)| rows_of(&bench.capture(&[text.as_ref()], "--chat", out).json()));
    assert_eq!(of_table, of_lines);
    let padded = bench.capture(&[table.as_ref()], "--chat --pad", "padded.h5").json();
    assert_eq!((padded["manifest"]["pad"].as_bool(), rows_of(&padded).1), (Some(true), of_table.1));

    let refused = bench.write("bad.jsonl", json!({"messages": "x"}).to_string());
    bench.capture(&[&refused], "--chat", "x.h5").run().fails_with(BAD_INPUT, &["bad.jsonl: line 1 field `messages`"]);
    bench
        .capture(&[&text], "--chat", "x.h5")
        .run()
        .fails_with(BAD_INPUT, &["conversations are read from JSON lines (.jsonl) and tables"]);
}
