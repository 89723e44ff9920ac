//! Generated text: whole characters, told of piece by piece, ended before given words.

use crate::support::fixture_dir;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;
use untangle_model::{
    GenerateOptions, LanguageModel, LoadOptions, ModelConfig, NoHook, StopReason, TextRequest, TextStream, Tokenizer,
    TokenizerFiles, Written, generate_texts,
};

/// A byte-level tokenizer of letters, a space and the two halves of `é`.
fn tokenizer() -> Tokenizer {
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "Ã": 4, "©": 5, "ab": 6}, "merges": ["a b"]}
    });
    let path = fixture_dir("llama").join("config.json");
    let config = ModelConfig::from_json(&path, &std::fs::read(&path).expect("read")).expect("valid");
    Tokenizer::new(&TokenizerFiles::in_memory(json.to_string().as_bytes()), &config).expect("valid")
}

/// The pieces that are told of, the end among them, and whether the text was ended.
fn pieces(tokens: &[u32], stop: &[&str]) -> (Vec<String>, bool) {
    let (tokenizer, stop) = (tokenizer(), stop.iter().map(|stop| (*stop).to_owned()).collect::<Vec<_>>());
    let mut stream = TextStream::new(&tokenizer, &[0, 3], &stop);
    let mut told = Vec::new();
    for token in tokens {
        if !stream.has_stopped() {
            told.push(stream.push(*token).expect("decoded"));
        }
    }
    told.push(stream.finish().expect("decoded"));
    (told, stream.has_stopped())
}

#[test]
fn characters_come_whole() {
    assert_eq!(pieces(&[0, 4, 5, 3, 1], &[]), (["a", "", "é", " ", "b", ""].map(str::to_owned).to_vec(), false));
    // Half a character at the end is told as what it is.
    assert_eq!(pieces(&[0, 4], &[]).0.concat(), "a\u{FFFD}");
}

#[test]
fn a_text_ends_before_the_words_that_end_it() {
    let end = |tokens: &[u32], stop: &[&str]| {
        let (told, stopped) = pieces(tokens, stop);
        (told.concat(), stopped)
    };
    assert_eq!(end(&[2, 0, 1, 2], &["bc"]), ("ca".to_owned(), true));
    assert_eq!(end(&[2, 6, 2], &["bc"]), ("ca".to_owned(), true), "it begins within a token");
    assert_eq!(end(&[2, 1, 1, 2], &["bc", "cb"]), (String::new(), true), "the first that comes");
    assert_eq!(end(&[2, 1], &["bc"]), ("cb".to_owned(), false), "what only began to end it is told in the end");
    assert_eq!(end(&[2, 1], &["", "é"]), ("cb".to_owned(), false));
    assert_eq!(end(&[2, 4, 5, 1], &["é"]), ("c".to_owned(), true));
    // Nothing of the words is ever told.
    let (told, _) = pieces(&[0, 1, 0, 1, 2, 0], &["abc"]);
    assert_eq!(told[..2], ["", ""], "`ab` may become the words");
    assert_eq!(told.concat(), "ab");
}

/// A random model of these seven tokens.
fn model() -> LanguageModel {
    let json = json!({"model_type": "gpt2", "vocab_size": 7, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 0, "eos_token_id": 0});
    let config = ModelConfig::from_json(Path::new("config.json"), json.to_string().as_bytes()).expect("valid");
    LanguageModel::random(config, 3, Some(tokenizer()), &LoadOptions::default()).expect("made")
}

/// What is written behind some prompts, each ended by words of its own, and that what is told of is what is written.
fn written(model: &LanguageModel, prompts: &[&[u32]], stop: &[Vec<String>]) -> Vec<Written> {
    let request = |(number, prompt): (usize, &&[u32])| TextRequest {
        prompt: prompt.to_vec(),
        options: GenerateOptions { max_new_tokens: 30, seed: number as u64, stop_at_eos: false, ..Default::default() },
        stop: stop.get(number).cloned().unwrap_or_default(),
    };
    let requests: Vec<TextRequest> = prompts.iter().enumerate().map(request).collect();
    let mut told = vec![String::new(); requests.len()];
    let written = generate_texts(model, &requests, &mut NoHook, &mut |row, text| {
        told[row].push_str(text);
        ControlFlow::Continue(())
    });
    let written = written.expect("generated");
    assert!(written.iter().zip(&told).all(|(written, told)| written.text == *told));
    written
}

#[test]
fn rows_of_text_end_one_by_one() {
    let model = model();
    let prompts: [&[u32]; 4] = [&[0, 3, 1], &[2], &[1, 1, 0, 3, 2], &[6, 2]];
    let whole = written(&model, &prompts, &[]);
    let tokenizer = model.tokenizer().expect("its own");
    for (prompt, whole) in prompts.iter().zip(&whole) {
        let all = tokenizer.decode(&[prompt, &whole.tokens[..]].concat()).expect("decoded");
        assert_eq!(tokenizer.decode(prompt).expect("decoded") + &whole.text, all, "its pieces are the text");
        assert_eq!(whole.stop, StopReason::MaxNewTokens);
    }
    // Words from the middle of two of the texts end these, and these alone.
    let middle = |row: usize| whole[row].text.chars().skip(8).take(4).collect::<String>();
    let stop = [vec![middle(0)], vec![], vec!["never".to_owned(), middle(2)], vec!["never".to_owned()]];
    let ended = written(&model, &prompts, &stop);
    for row in [0, 2] {
        let at = whole[row].text.find(&middle(row)).expect("it is from there");
        assert_eq!((ended[row].text.as_str(), ended[row].stop), (&whole[row].text[..at], StopReason::StopString));
        assert!(whole[row].tokens.starts_with(&ended[row].tokens) && ended[row].tokens.len() < 30);
    }
    assert_eq!((&ended[1], &ended[3]), (&whole[1], &whole[3]));
}
