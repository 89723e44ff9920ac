//! The demo from nothing but the binary, in small: what it makes and says, and that what it says to do next works.

use crate::support::{Untangle, entries, scratch};
use std::fs;
use std::path::Path;
use std::process::Command;

const USAGE: i32 = 2;
/// About a tenth of what the demo does by itself.
const SMALL: &str = "--tokens 60000 --d-sae 256 --train-tokens 200000 --stories 10";

fn demo(out: &Path, options: &str) -> Untangle {
    Untangle::new("demo").words(SMALL).words(options).option("--out", out)
}

/// Runs a line as a shell would.
fn as_pasted(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_demo_needs_nothing_but_the_binary_and_says_what_works_next() {
    let folder = scratch();
    let out = folder.path().join("demo's output");
    let story = demo(&out, "").succeed();
    let steps = [
        "1. Read",
        "2. Untangle",
        "3. Check",
        "4. Name",
        "5. Search",
        "6. Turn up",
        "7. And more",
        "Golden Gate Bridge",
    ];
    for part in steps.into_iter().chain(["by itself   ", "of 4", "of 8", "random directions as long"]) {
        assert!(story.contains(part), "no `{part}` in\n{story}");
    }
    assert!(
        story
            .lines()
            .all(|line| line.chars().count() <= 80 || line.contains("untangle ") || line.contains("index.html")),
        "{story}"
    );
    assert_eq!(entries(&out), ["activations.h5", "dashboard", "features.db", "index.html", "sae"]);
    let page = fs::read_to_string(out.join("index.html")).expect("a page");
    for part in ["What features are about", "Golden Gate Bridge", "random directions as long", "dashboard/index.html"] {
        assert!(page.contains(part), "no `{part}` in\n{page}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"), "the page asks another host");
    let next = story.split("Next:\n").nth(1).unwrap_or_else(|| panic!("nothing to do next in\n{story}"));
    let commands: Vec<_> = next.lines().map(str::trim).filter(|line| line.contains("untangle ")).collect();
    assert_eq!(commands.len(), 4, "{next}");
    for command in commands {
        // The demo proposes a training of minutes.
        let short = if command.contains(" train ") { " --tokens 8192 --batch 1024" } else { "" };
        assert!(!as_pasted(&format!("{command}{short}")).is_empty(), "{command} says nothing");
    }
}

#[test]
fn a_demo_is_used_again_but_not_for_other_settings() {
    let folder = scratch();
    let out = folder.path().join("demo");
    let first = demo(&out, "").json();
    assert_eq!(first["hook"], "blocks.2.hook_resid_post");
    let ladder = first["steering"]["ladder"].as_array().expect("a list");
    assert!(ladder.iter().all(|rung| rung["steered"]["appears"]["trials"] == 4), "{ladder:?}");
    let told = &first["steering"];
    for figure in ["share", "baseline_share", "random_share", "other_features_share", "perplexity_ratio"] {
        assert!(told[figure].is_f64(), "{figure}: {}", told[figure]);
    }
    assert!(told["label"].is_string(), "{}", told["label"]);
    assert_eq!(told["study"]["steered"]["appears"]["trials"], 8);
    assert!(first["also"].as_array().is_some_and(|also| also.iter().all(|turned| turned["share"].is_f64())), "{first}");
    let mut steer = Untangle::new("steer organism --temperature 0.8").option("--sae", out.join("sae"));
    for turned in told["features"].as_array().expect("a list") {
        let (strength, way) =
            (turned["strength"].as_f64().expect("a number") as f32, turned["way"].as_str().expect("a way"));
        steer = steer.option("--feature", format!("{}:{way}={strength}x", turned["feature"]));
    }
    for rival in told["rivals"].as_array().expect("a list") {
        steer = steer.option("--feature", format!("{rival}:ablate"));
    }
    let steer = steer.option("--features", out.join("features.db"));
    let steer = steer.option("--seed", told["seed"].to_string());
    let again = steer.option("--prompt", told["prompts"][0].as_str().expect("a prompt")).json();
    assert_eq!(again["steered"][0]["steered"], told["pair"]["steered"], "`steer` tells another story than the demo");
    let made = fs::read(out.join("activations.h5")).expect("a store");
    let again = demo(&out, "--json").run();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    for artefact in ["activations.h5", "sae", "features.db"] {
        assert!(again.stderr.contains(&format!("{artefact} of an earlier demo")), "{}", again.stderr);
    }
    let second: serde_json::Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(second, first, "the same demo tells another story");
    let other = Untangle::new("demo").words(&SMALL.replace("256", "128")).option("--out", &out).run();
    other.fails_with_story(USAGE, &["sae", "--force"]);
    let other = Untangle::new("demo").words(&SMALL.replace("60000", "70000")).option("--out", &out).run();
    other.fails_with_story(USAGE, &["activations.h5", "--force"]);
    assert!(fs::read(out.join("activations.h5")).expect("a store") == made, "the store changed");
}

#[test]
fn what_is_sought_and_continued_can_be_chosen() {
    let folder = scratch();
    let out = folder.path().join("demo");
    let options = "--model organism:base-more --hook blocks.1.hook_resid_post --concept zebra";
    let told = demo(&out, options).option("--prompt", "Mia had a cat. The cat").json();
    assert_eq!(told["hook"], "blocks.1.hook_resid_post");
    assert_eq!(told["steering"]["prompts"], serde_json::json!(["Mia had a cat. The cat"]));
    let story = demo(&out, options).option("--prompt", "Mia had a cat. The cat").succeed();
    assert!(story.contains("nothing has to do with \"zebra\""), "{story}");
}
