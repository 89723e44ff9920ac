//! Features for delphi and as tables, from the command line.

use crate::support::{Untangle, entries, scratch};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const FEATURES: u64 = 64;
const CONTEXT: u64 = 32;
/// The organism's token before every text; it is special.
const BOS: i64 = 0;

struct Made {
    folder: TempDir,
    store: PathBuf,
    sae: PathBuf,
    database: PathBuf,
}

fn made() -> Made {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (store, sae, database) = (path("store.h5"), path("sae"), path("f.db"));
    // Not a multiple of the context, so that the last one is shorter.
    let capture = format!(
        "capture organism --text organism --hook blocks.2.hook_resid_post --tokens 5000 --context {CONTEXT} -q"
    );
    Untangle::new(&capture).option("--out", &store).succeed();
    let train = format!("train --d-sae {FEATURES} --k 4 --tokens 20000 --batch 512 -q");
    Untangle::new(&train).arg(&store).option("--out", &sae).succeed();
    let features = Untangle::new("features --no-outputs --model organism -q").arg(&sae).option("--store", &store);
    features.option("--out", &database).succeed();
    Made { folder, store, sae, database }
}

/// A safetensors file: its header, and the bytes of its tensors.
struct Tensors(Map<String, Value>, Vec<u8>);

impl Tensors {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("is there");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
        Tensors(header, bytes[8 + length..].to_vec())
    }

    fn shape(&self, name: &str) -> Vec<u64> {
        self.0[name]["shape"].as_array().expect("a shape").iter().filter_map(Value::as_u64).collect()
    }

    fn values<const N: usize, T>(&self, name: &str, dtype: &str, of: impl Fn([u8; N]) -> T) -> Vec<T> {
        assert_eq!(self.0[name]["dtype"], dtype, "{name}");
        let at = |end: usize| self.0[name]["data_offsets"][end].as_u64().expect("a place") as usize;
        self.1[at(0)..at(1)].chunks_exact(N).map(|bytes| of(bytes.try_into().expect("as long"))).collect()
    }
}

#[test]
fn delphi_gets_where_every_feature_fires() {
    let made = made();
    let out = made.folder.path().join("delphi");
    let export = || Untangle::new("export --form delphi").arg(&made.database).option("--out", &out);
    let told = export().run();
    assert!(
        told.code == Some(USAGE) && told.stderr.contains("--sae") && told.stderr.contains("--store"),
        "{}",
        told.stderr
    );
    export().option("--sae", &made.sae).option("--store", &made.store).succeed();
    assert_eq!(entries(&out), ["export.json", "latents"]);
    // The folder that delphi is given holds hook points and nothing else.
    assert_eq!(entries(&out.join("latents")), ["blocks.2.hook_resid_post"]);
    let folder = out.join("latents/blocks.2.hook_resid_post");
    let ranges = ["0_11", "12_24", "25_37", "38_50", "51_63"];
    let names: Vec<String> = ranges.iter().map(|range| format!("{range}.safetensors")).collect();
    let mut expected = names.clone();
    expected.push("config.json".to_owned());
    assert_eq!(entries(&folder), expected);
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).expect("is there")).expect("JSON");
    assert_eq!((&config["cache_ctx_len"], &config["model_name"]), (&Value::from(CONTEXT), &Value::from("organism")));

    let codes = made.folder.path().join("codes.safetensors");
    Untangle::new("encode -q").arg(&made.sae).arg(&made.store).option("--out", &codes).succeed();
    let codes = Tensors::read(&codes);
    let whole = |name: &str| codes.values(name, "I64", i64::from_le_bytes);
    let (rows, starts, features) = (whole("rows"), whole("starts"), whole("features"));
    let activations = codes.values("activations", "F32", f32::from_le_bytes);
    let (mut found, mut tokens) = (BTreeSet::new(), Vec::new());
    for (range, name) in ranges.iter().zip(&names) {
        let first: i64 = range.split('_').next().and_then(|first| first.parse().ok()).expect("a number");
        let part = Tensors::read(&folder.join(name));
        assert_eq!(part.shape("tokens"), [(rows.len() as u64).div_ceil(CONTEXT), CONTEXT]);
        tokens = part.values("tokens", "I64", i64::from_le_bytes);
        let places = part.values("locations", "U16", u16::from_le_bytes);
        let places: Vec<[i64; 3]> = places.chunks_exact(3).map(|p| [p[0].into(), p[1].into(), p[2].into()]).collect();
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "by context and position");
        let strengths = part.values("activations", "F16", u16::from_le_bytes);
        assert_eq!(part.shape("locations"), [strengths.len() as u64, 3]);
        found.extend(places.iter().zip(strengths).map(|([context, position, feature], strength)| {
            (context * CONTEXT as i64 + position, first + feature, strength)
        }));
    }
    let mut expected = BTreeSet::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| tokens[**row as usize] != BOS) {
        let own = starts[at] as usize..starts[at + 1] as usize;
        expected.extend(own.map(|entry| (*row, features[entry], half(activations[entry]))));
    }
    assert!(expected.len() > 10_000 && !(rows.len() as u64).is_multiple_of(CONTEXT));
    assert_eq!(found, expected, "{} and {}", found.len(), expected.len());
    assert_eq!(tokens[rows.len()..], vec![BOS; tokens.len() - rows.len()], "the last context is filled up");
    // What is there is replaced with --force alone, and a stranger's file never.
    let again = || export().option("--sae", &made.sae).option("--store", &made.store);
    again().run().fails_with(USAGE, &["--force"]);
    again().words("--force").succeed();
    fs::write(folder.join("mine.safetensors"), "mine").expect("is written");
    again().words("--force").run().fails_with(USAGE, &["delphi"]);
}

/// f32 as f16, for what is neither tiny nor large: to the nearest, of two as near to the even one.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let (exponent, mantissa) = ((bits >> 23 & 0xff) as i32 - 127 + 15, bits & 0x7f_ffff);
    assert!((1..30).contains(&exponent), "{value}");
    let (kept, rest) = ((exponent as u32) << 10 | mantissa >> 13, mantissa & 0x1fff);
    (kept + u32::from(rest > 0x1000 || rest == 0x1000 && kept & 1 == 1)) as u16
}

#[test]
fn tables_are_those_of_features_and_of_labels() {
    let made = made();
    let out = made.folder.path().join("tables");
    let export = |form: &str| Untangle::new("export --form").words(form).arg(&made.database).option("--out", &out);
    export("parquet").option("--store", &made.store).run().fails_with(USAGE, &["--store", "delphi"]);
    export("parquet").succeed();
    assert_eq!(entries(&out), ["export.json", "features.parquet", "labels.parquet"]);
    // Another reader of tables finds a text for every label.
    let texts = Untangle::new("plan capture organism --hook blocks.0.hook_resid_post --field text");
    let told =
        texts.option("--text", out.join("labels.parquet")).option("--out", made.folder.path().join("x.h5")).run();
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let refused = Untangle::new("export --form delphi").arg(&made.database).option("--sae", &made.sae);
    let refused =
        refused.option("--store", made.folder.path().join("none.h5")).option("--out", made.folder.path().join("d"));
    refused.run().fails_with(BAD_INPUT, &["none.h5"]);
}
