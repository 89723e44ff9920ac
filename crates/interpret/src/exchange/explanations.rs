//! Explanations as Neuronpedia exports them: a JSON object a line, `index` and `description` among its fields.

use crate::error::InterpretError;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use untangle_schema::LabelKind;

/// Bytes of a line at most: descriptions are sentences.
const LINE: u64 = 1 << 20;

/// What somebody says of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The feature.
    pub feature: usize,
    /// What it is called.
    pub text: String,
    /// Who says so: the model that was asked, or else the method; none where the file does not say.
    pub by: Option<String>,
    /// The source that the label had where Untangle exported it.
    pub exported: Option<String>,
    /// Of what it speaks: of what the feature makes the model say, where the method is one of those that Untangle exports so.
    pub kind: LabelKind,
    /// What the model is called there.
    pub model: Option<String>,
    /// What the dictionary is called there, as LAYER-SET.
    pub source: Option<String>,
}

/// How the method of a label of what a feature makes the model say begins in exports.
const OF_OUTPUT: &str = "untangle-output-";
/// The same of what makes it fire.
const OF_INPUT: &str = "untangle-input-";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    index: Value,
    description: Option<String>,
    explanation_model_name: Option<String>,
    type_name: Option<String>,
    model_id: Option<String>,
    layer: Option<String>,
}

/// What a file says of features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Its explanations, in its order.
    pub explanations: Vec<Explanation>,
    /// Rows without a description, of which nothing can be taken.
    pub without: usize,
}

/// Reads a file, gzip or not; rows without a description are counted.
///
/// # Errors
/// When the file cannot be read, or a line is no such row.
pub fn explanations(path: &Path) -> Result<Explained, InterpretError> {
    let failed =
        |error: std::io::Error| InterpretError::NoExplanations { path: path.to_owned(), reason: error.to_string() };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let is_gzip = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let mut reader: Box<dyn BufRead> =
        if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
    let (mut found, mut number, mut line) = (Explained::default(), 0, Vec::new());
    loop {
        line.clear();
        number += 1;
        if reader.by_ref().take(LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(found);
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |reason: String| InterpretError::NoExplanations {
            path: path.to_owned(),
            reason: format!(
                "line {number}: {reason}; expected a row of Neuronpedia's explanations, with `index` and `description`"
            ),
        };
        let what = match serde_json::from_slice::<Value>(&line) {
            Ok(value) if value.is_object() => value,
            Ok(_) => return Err(wrong("is no object".to_owned())),
            Err(_) => return Err(wrong("is no JSON".to_owned())),
        };
        // Where in the line is not said: the reader of the value no longer knows.
        let row: Row = serde_json::from_value(what).map_err(|error| wrong(error.to_string()))?;
        let feature = match &row.index {
            Value::Number(feature) => feature.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let feature =
            feature.ok_or_else(|| wrong(format!("`index` is {}, and no number of a feature", row.index)))? as usize;
        let Some(text) = row.description.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else {
            found.without += 1;
            continue;
        };
        let of_input = |name: &String| name.strip_prefix(OF_INPUT).or(name.strip_prefix(OF_OUTPUT)).map(str::to_owned);
        let exported = row.type_name.as_ref().and_then(of_input);
        let of_output = row.type_name.as_deref().is_some_and(|name| name.starts_with(OF_OUTPUT));
        found.explanations.push(Explanation {
            feature,
            text,
            exported,
            by: row.explanation_model_name.or(row.type_name),
            kind: if of_output { LabelKind::Output } else { LabelKind::Input },
            model: row.model_id,
            source: row.layer,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn rows_are_read_packed_and_plain_and_what_is_wrong_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("batch-0.jsonl.gz");
        let text = "{\"index\":\"3\",\"description\":\" bridges \",\"explanationModelName\":\"m\",\"embedding\":[]}\n\n\
                    {\"index\":4,\"description\":\"\"}\n{\"index\":5,\"description\":\"x\",\"typeName\":\"untangle-output-t\"}\n";
        let own = |feature, text: &str, by: &str, kind| Explanation {
            exported: by.strip_prefix(OF_OUTPUT).map(str::to_owned),
            feature,
            text: text.to_owned(),
            by: Some(by.to_owned()),
            kind,
            model: None,
            source: None,
        };
        let expected =
            vec![own(3, "bridges", "m", LabelKind::Input), own(5, "x", "untangle-output-t", LabelKind::Output)];
        std::fs::write(&path, text).expect("written");
        let expected = Explained { explanations: expected, without: 1 };
        assert_eq!(explanations(&path).expect("read"), expected);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).expect("packed");
        std::fs::write(&path, packed.finish().expect("packed")).expect("written");
        assert_eq!(explanations(&path).expect("read"), expected);
        std::fs::write(&path, "{\"index\":\"three\",\"description\":\"x\"}").expect("written");
        assert!(explanations(&path).expect_err("refused").to_string().contains("line 1: `index` is \"three\""));
        let not_ours: [(&[u8], &str); 5] = [
            (b"{\"index\":1e3,\"description\":\"x\"}", "`index` is 1000.0, and no number"),
            (b"{\"index\":-1,\"description\":\"x\"}", "`index` is -1, and no number"),
            (b"[]", "line 1: is no object"),
            (b"not json", "line 1: is no JSON"),
            (b"SQLite format 3\0\xff\xfe", "line 1: is no JSON"),
        ];
        for (bytes, problem) in not_ours {
            std::fs::write(&path, bytes).expect("written");
            let said = explanations(&path).expect_err("refused").to_string();
            assert!(said.contains(problem) && said.contains("expected a row of Neuronpedia's"), "{said}");
        }
    }
}
