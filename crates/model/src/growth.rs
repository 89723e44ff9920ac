//! How much can a tokenizer make of little?
//!
//! A chain of parts each of which doubles its text takes all memory of the machine. What each part makes of one byte is
//! bounded by what it is, and the bounds of a chain are multiplied.

use serde_json::Value;

/// Most bytes that a chain may make of one: real ones make a hundred at most where their bounds say a thousand. Chosen.
const MAX_GROWTH: f64 = 4096.0;
/// Most tokens that a post-processor may put around a text. Chosen; real ones put two or three.
const MAX_AROUND: f64 = 4096.0;

/// Refuses parts of a tokenizer that make much text of little: values of the fields `normalizer`, `pre_tokenizer`,
/// `decoder` and `post_processor`.
pub(crate) fn check(parts: [&Value; 4]) -> Result<(), String> {
    let [normalizer, pre_tokenizer, decoder, post_processor] = parts;
    let chains = [("normalizers", normalizer), ("pre-tokenizers", pre_tokenizer), ("decoders", decoder)];
    for (what, value) in chains {
        if growth(value) > MAX_GROWTH {
            return Err(format!("its {what} make more than {MAX_GROWTH} bytes of one; fetch it again"));
        }
    }
    if around(post_processor, 1.0) > MAX_AROUND {
        return Err(format!("its post-processor puts more than {MAX_AROUND} tokens around a text; fetch it again"));
    }
    Ok(())
}

/// Bytes that a part makes of one, at most.
fn growth(value: &Value) -> f64 {
    let len = |value: &Value| value.as_str().map_or(0, str::len) as f64;
    let is = |name: &str| value[name].as_bool().unwrap_or(false);
    match value["type"].as_str().unwrap_or_default() {
        "Sequence" => {
            let lists = ["normalizers", "pretokenizers", "decoders"].map(|name| value[name].as_array());
            lists.into_iter().flatten().flatten().map(growth).product()
        }
        // An empty match stands before and behind every character.
        "Replace" => match value["pattern"]["String"].as_str().map_or(0, str::len) {
            0 => 1.0 + 2.0 * len(&value["content"]),
            replaced => (len(&value["content"]) / replaced as f64).max(1.0),
        },
        "Prepend" => 1.0 + len(&value["prepend"]),
        // Three bytes of U+FDFA become 33, and two of U+0390 six.
        "NFKC" | "NFKD" => 11.0,
        "NFC" | "NFD" => 3.0,
        // Two bytes of U+0130 become three, and a Chinese character of three gets spaces on both sides.
        "Lowercase" => 1.5,
        "BertNormalizer" => 3.0 * 1.5 * 5.0 / 3.0,
        "Precompiled" => value["precompiled_charsmap"].as_str().map_or(1.0, longest_piece),
        // A byte becomes a character of two at most. A pre-tokenizer may put a space before every word.
        "ByteLevel" if is("add_prefix_space") => 4.0,
        "ByteLevel" => 2.0,
        // A space becomes one character, and every word may get one.
        "Metaspace" => 1.0 + 4.0,
        // Decoders that put a space before a token, or one between any two characters where they look for nothing.
        "WordPiece" => 2.0,
        "BPEDecoder" if len(&value["suffix"]) == 0.0 => 3.0,
        "CTC" if len(&value["word_delimiter_token"]) == 0.0 => 3.0,
        _ => 1.0,
    }
}

/// The longest text that a map of SentencePiece's puts in the place of another: a table whose size stands in its first four
/// bytes, then texts that end at a zero.
fn longest_piece(base64: &str) -> f64 {
    let bytes = decoded(base64);
    let size = bytes.get(..4).map_or(0, |size| size.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte)));
    let texts = bytes.get(size.saturating_add(4)..).unwrap_or_default();
    texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0).max(1) as f64
}

/// The bytes of a text in base64; the library has refused what is none.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().filter_map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let all = chunk.iter().fold(0u32, |all, digit| all << 6 | u32::from(*digit)) << (6 * (4 - chunk.len()));
        all.to_be_bytes().into_iter().skip(1).take(chunk.len() - 1)
    });
    bytes.collect()
}

/// Tokens that a post-processor makes of `n`, at most.
fn around(value: &Value, n: f64) -> f64 {
    match value["type"].as_str().unwrap_or_default() {
        "Sequence" => value["processors"].as_array().into_iter().flatten().fold(n, |n, part| around(part, n)),
        "TemplateProcessing" => {
            let of_piece = |piece: &Value| match piece["SpecialToken"]["id"].as_str() {
                Some(name) => value["special_tokens"][name]["ids"].as_array().map_or(0, Vec::len) as f64,
                None => n,
            };
            let templates = ["single", "pair"].map(|name| value[name].as_array());
            templates.into_iter().flatten().map(|pieces| pieces.iter().map(of_piece).sum()).fold(n, f64::max)
        }
        "BertProcessing" | "RobertaProcessing" => n + 4.0,
        _ => n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    /// What is said of a chain of so many equal parts in one of the fields.
    fn said(field: usize, part: &Value, times: usize) -> Option<String> {
        let list = ["normalizers", "pretokenizers", "decoders", "processors"][field];
        let mut parts = [Value::Null, Value::Null, Value::Null, Value::Null];
        parts[field] = json!({"type": "Sequence", list: vec![part.clone(); times]});
        check(parts.each_ref()).err()
    }

    #[test]
    fn whatever_grows_is_refused_in_a_chain_and_taken_alone() {
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        // A map whose table is empty, and the texts "" and "abc".
        let map = json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAABhYmMA"});
        let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {}}],
            "pair": [], "special_tokens": {"x": {"ids": vec![0; 200]}}});
        let cases = [
            (0, replace(json!({"String": "a"}), "aa")),
            (0, replace(json!({"String": ""}), "a")),
            (0, replace(json!({"Regex": "(?=.)"}), "a")),
            (0, json!({"type": "Prepend", "prepend": "_"})),
            (0, json!({"type": "ByteLevel"})),
            (0, json!({"type": "NFKD"})),
            (0, json!({"type": "Lowercase"})),
            (0, map),
            (1, bytes),
            (1, json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": true})),
            (2, replace(json!({"String": "a"}), "aa")),
            (2, json!({"type": "BPEDecoder", "suffix": ""})),
            (2, json!({"type": "WordPiece", "prefix": "", "cleanup": false})),
            (3, template),
        ];
        for (field, part) in cases {
            assert_eq!(said(field, &part, 1), None, "{part}");
            assert!(said(field, &part, 40).is_some_and(|said| said.contains("more than 4096")), "{part}");
        }
    }

    #[test]
    fn chains_that_real_tokenizers_have_are_taken() {
        // XLNet's and ALBERT's, the longest known; the longest text of their maps has 33 bytes.
        let map = "AAAAAGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQA=";
        assert_eq!(longest_piece(map), 33.0);
        let chain = json!({"type": "Sequence", "normalizers": [
            replace(json!({"String": "``"}), "\""), replace(json!({"String": "''"}), "\""), {"type": "NFKD"},
            {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Precompiled", "precompiled_charsmap": map},
            replace(json!({"Regex": " {2,}"}), " ")]});
        let words = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace"}]});
        assert_eq!(check([&chain, &words, &Value::Null, &Value::Null]), Ok(()));
    }

    #[test]
    fn tokens_of_a_template_count_as_often_as_they_stand_in_it() {
        let pieces = vec![json!({"SpecialToken": {"id": "x", "type_id": 0}}); 100];
        let template = json!({"type": "TemplateProcessing", "single": pieces, "pair": [],
            "special_tokens": {"x": {"id": "x", "ids": vec![0; 100], "tokens": []}}});
        let said = check([&Value::Null, &Value::Null, &Value::Null, &template]).expect_err("refused");
        assert!(said.contains("more than 4096 tokens around a text"), "{said}");
    }
}
