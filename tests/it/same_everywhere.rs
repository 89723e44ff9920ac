//! What holds of every verb alike: which exit code an absent file has, what files say of themselves, and that nothing is named twice.

use crate::support::{Untangle, scratch};
use serde_json::Value;
use std::fs;
use std::path::Path;

const BAD_INPUT: i32 = 3;

#[test]
fn a_file_that_is_not_there_is_bad_input_whichever_verb_is_told_of_it() {
    let folder = scratch();
    let train = "train --d-sae 64 --k 4 --tokens 20000 --batch 512 -q";
    Untangle::new("capture organism --text organism --hook blocks.0.hook_resid_post --tokens 3000 -q --out x.h5")
        .in_folder(folder.path())
        .succeed();
    Untangle::new(train).words("x.h5 --out sae").in_folder(folder.path()).succeed();
    for words in [
        "inspect absent",
        "inspect absent.h5",
        "inspect absent.npz:key",
        "capture absent --text x.txt --hook blocks.0.hook_resid_post --out y.h5",
        "capture organism --text absent --hook blocks.0.hook_resid_post --out y.h5",
        "train absent.h5 --out other",
        "train x.h5 --out other --grid absent",
        "encode absent x.h5 --out c",
        "encode sae absent.h5 --out c",
        "evaluate absent --store x.h5",
        "evaluate sae --store absent.h5",
        "evaluate sae --store x.h5 --model absent",
        "evaluate sae --model organism --concepts absent",
        "features absent --store x.h5 --out f.db",
        "features sae --store absent.h5 --out f.db",
        "show absent 1",
        "search absent x",
        "dashboard absent --out page",
        "export absent --form csv --out e",
        "label absent --llm http://127.0.0.1:9 --llm-model m",
        "import absent absent.jsonl",
        "read absent --sae sae --prompt x",
        "read organism --sae absent --prompt x",
        "steer organism --sae absent --prompt x --feature 1:add=1",
        "serve absent",
        "serve organism --sae absent",
        "serve organism --vector absent",
    ] {
        let outcome = Untangle::new(words).in_folder(folder.path()).run();
        assert_eq!(outcome.code, Some(BAD_INPUT), "{words}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("absent"), "{words}: {}", outcome.stderr);
    }
}

/// The header of a safetensors file.
fn header(path: &Path) -> Value {
    let bytes = fs::read(path).expect("is there");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    serde_json::from_slice(&bytes[8..8 + length]).expect("JSON")
}

#[test]
fn codes_say_what_they_are_of() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let capture = "capture organism --text organism --hook blocks.0.hook_resid_post --tokens 3000 -q";
    Untangle::new(capture).option("--out", path("x.h5")).succeed();
    let train = "train --d-sae 64 --k 4 --tokens 20000 --batch 512 -q";
    Untangle::new(train).arg(path("x.h5")).option("--out", path("sae")).succeed();
    let features = Untangle::new("features --model organism --no-outputs -q").arg(path("sae"));
    features.option("--store", path("x.h5")).option("--out", path("f.db")).succeed();
    let encode = || Untangle::new("encode --part train -q").arg(path("sae")).arg(path("x.h5"));
    encode().option("--out", path("c.safetensors")).succeed();
    let about = header(&path("c.safetensors"))["__metadata__"].clone();
    for (key, expected) in [
        ("sae", "sae"),
        ("d_sae", "64"),
        ("hook", "blocks.0.hook_resid_post"),
        ("model", "organism"),
        ("part", "train"),
    ] {
        assert_eq!(about[key], expected, "{about}");
    }
    assert!(about["store"].as_str().is_some_and(|store| store.contains("x.h5")), "{about}");
    assert!(about.as_object().expect("texts").values().all(Value::is_string), "{about}");
    let told = Untangle::new("inspect").arg(path("f.db")).run();
    let sha = about["sae_sha256"].as_str().expect("a hash");
    assert!(sha.len() == 64 && told.code == Some(0), "{about} {}", told.stderr);
    let here = folder.path().display().to_string();
    assert!(!about.to_string().contains(&here), "no path: {about}");
    // A file with such metadata is known as one of codes, and replaced as one.
    encode().words("--force").option("--out", path("c.safetensors")).succeed();
    // One that was cut is told.
    let whole = fs::read(path("c.safetensors")).expect("is there");
    fs::write(path("cut.safetensors"), &whole[..whole.len() - 5]).expect("written");
    let cut = Untangle::new("inspect").arg(path("cut.safetensors")).run();
    cut.fails_with(3, &["cut.safetensors", "cut short", &format!("{} bytes", whole.len() - 5), "untangle encode"]);
}

#[test]
fn annotated_documents_are_captured_like_plain_ones() {
    let folder = scratch();
    let rows = |words: &str, name: &str| {
        let corpus = format!("organism corpus --documents 40 --seed 3 {words} -q");
        Untangle::new(&corpus).option("--out", folder.path().join(name)).succeed();
        let out = folder.path().join(name).with_extension("h5");
        let capture = Untangle::new("capture organism --hook blocks.0.hook_resid_post -q").option("--out", &out);
        capture.option("--text", folder.path().join(name)).succeed();
        let told = Untangle::new("inspect").arg(&out).json();
        (told["rows"].clone(), told["documents"].clone(), told["text"]["documents"].clone())
    };
    let plain = rows("", "plain.jsonl");
    assert!(plain.0.as_u64() > Some(1000), "{plain:?}");
    assert_eq!(rows("--annotated", "annotated.jsonl"), plain);
}

#[test]
fn dictionaries_of_one_name_are_told_apart() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let capture = "capture organism --text organism --hook blocks.0.hook_resid_post --tokens 3000 -q";
    Untangle::new(capture).option("--out", path("x.h5")).succeed();
    for name in ["a/sae", "b/sae", "other"] {
        fs::create_dir_all(path(name).parent().expect("a folder")).expect("made");
        let train = "train --d-sae 64 --k 4 --tokens 20000 --batch 512 -q";
        Untangle::new(train).arg(path("x.h5")).option("--out", path(name)).succeed();
    }
    let evaluate = || Untangle::new("evaluate a/sae other b/sae --store x.h5").in_folder(folder.path());
    let told = evaluate().json();
    let names: Vec<&str> =
        told["dictionaries"].as_array().expect("a list").iter().filter_map(|one| one["sae"].as_str()).collect();
    assert_eq!(names, ["a/sae", "other", "b/sae"]);
    let text = evaluate().succeed();
    assert!(text.contains("a/sae") && text.contains("b/sae"), "{text}");
}

#[test]
fn the_help_of_grids_names_every_key_that_is_read() {
    let folder = scratch();
    let (store, grid) = (folder.path().join("x.h5"), folder.path().join("grid.toml"));
    let capture = "capture organism --text organism --hook blocks.0.hook_resid_post --tokens 3000 -q";
    Untangle::new(capture).option("--out", &store).succeed();
    fs::write(&grid, "[[sae]]\nnonsense = 1\n").expect("written");
    let train = Untangle::new("train").arg(&store).option("--grid", &grid).option("--out", folder.path().join("g"));
    let told = train.run().stderr;
    let known: Vec<&str> = told.split('`').skip(3).step_by(2).collect();
    assert!(known.contains(&"freeze") && known.len() > 10, "{told}");
    let help = Untangle::new("train --help").succeed();
    let from = help.find("--grid").expect("the option");
    let help = help[from..].split("--arch").next().expect("its text").replace([',', '(', ')'], " ");
    let named: Vec<&str> = help.split_whitespace().collect();
    let missing: Vec<&&str> = known.iter().filter(|key| **key != "name" && !named.contains(key)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in: {named:?}");
}

#[test]
fn scripts_and_pages_are_json_where_that_is_asked_for() {
    let plain = Untangle::new("completions bash").succeed();
    let told = Untangle::new("completions bash").json();
    assert_eq!((told["shell"].as_str(), told["script"].as_str()), (Some("bash"), Some(plain.as_str())));
    let told = Untangle::new("man train").json();
    assert!(told["page"].as_str().is_some_and(|page| page.contains(".TH")), "{told}");
}
