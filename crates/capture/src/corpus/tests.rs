//! Documents are where a user sees them, and reading from any boundary on gives the same ones.

use super::cut::LONGEST_DOCUMENT;
use super::plain::LONGEST_PART;
use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::basic::Compression as Codec;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::sync::Arc;

/// A corpus of one file.
pub(super) struct One {
    pub(super) _folder: tempfile::TempDir,
    pub(super) corpus: Corpus,
}

impl One {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        fs::write(&path, content).expect("written");
        let corpus = Corpus::open(&[path]).expect("a file");
        One { _folder: folder, corpus }
    }

    fn with(name: &str, content: &[u8], field: &str, strict: bool) -> Self {
        let one = One::new(name, content);
        let reading = Reading { field: field.to_owned(), strict, chat: None };
        One { corpus: one.corpus.read_as(reading).expect("readable"), ..one }
    }

    pub(super) fn try_read(&self, from: Place) -> Result<Vec<Document>, CaptureError> {
        let (file, path) = (&self.corpus.files()[0], self.corpus.files()[0].bring(&untangle_schema::Silent)?);
        let survey = self.corpus.survey(file, &path, &untangle_schema::Silent)?.expect("not stopped");
        let mut documents = self.corpus.documents(file, &path, survey.separated, from, &untangle_schema::Silent)?;
        std::iter::from_fn(|| documents.next().transpose()).collect()
    }

    pub(super) fn read(&self, from: Place) -> Vec<Document> {
        self.try_read(from).expect("read")
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.read(Place::default()).into_iter().map(|document| document.text).collect()
    }

    /// What the first reading complains of, without the folder.
    pub(super) fn refusal(&self) -> String {
        let error = self.try_read(Place::default()).expect_err("refused");
        error.to_string().replace(&format!("{}/", self._folder.path().display()), "")
    }

    /// Fails unless every boundary is one from which the same documents follow.
    pub(super) fn assert_resumes(&self) -> usize {
        let documents = self.read(Place::default());
        for (index, document) in documents.iter().enumerate() {
            assert_eq!(self.read(document.end), documents[index + 1..], "from document {index}");
        }
        documents.len()
    }
}

fn texts(content: &[u8]) -> Vec<String> {
    One::new("a.txt", content).texts()
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(content, 1).expect("memory")
}

/// A table with a column of optional text in groups of rows, behind a column of numbers.
fn table(schema: &str, codec: Codec, groups: &[Vec<Option<&[u8]>>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_compression(codec).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).expect("a writer");
    for rows in groups {
        let mut group = writer.next_row_group().expect("a group");
        while let Some(mut column) = group.next_column().expect("a column") {
            let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.is_some())).collect();
            let values: Vec<ByteArray> = rows.iter().flatten().map(|text| ByteArray::from(text.to_vec())).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).expect("written");
            column.close().expect("closed");
        }
        group.close().expect("closed");
    }
    writer.into_inner().expect("finished")
}

/// A table of one conversation, in which a user says this.
pub(super) fn conversation_table(content: &[u8]) -> Vec<u8> {
    let schema = "message rows { optional group messages (LIST) { repeated group list { optional group element {
        optional binary role (STRING); optional binary content (STRING); } } } }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a group");
    for value in [b"user", content] {
        let mut column = group.next_column().expect("a column").expect("two columns");
        let values = [ByteArray::from(value.to_vec())];
        column.typed::<ByteArrayType>().write_batch(&values, Some(&[4]), Some(&[0])).expect("written");
        column.close().expect("closed");
    }
    group.close().expect("closed");
    writer.into_inner().expect("finished")
}

const TEXT: &str = "message rows { optional binary text (STRING); }";

#[test]
fn separator_lines_divide_and_are_not_text() {
    assert_eq!(texts(b"one\ntwo\n<|endoftext|>\n\nthree\n"), ["one\ntwo", "three"]);
    assert_eq!(texts(b"\xef\xbb\xbf one\r\n<|endoftext|>\r\ntwo"), [" one", "two"]);
    assert_eq!(texts(b"<|endoftext|>\n<|endoftext|>\none\n<|endoftext|>"), ["one"]);
    assert_eq!(texts(b"said <|endoftext|> here\nmore"), ["said <|endoftext|> here\nmore"]);
}

#[test]
fn a_text_without_separators_is_divided_at_blank_lines() {
    assert_eq!(texts(b"one\n\ntwo\n"), ["one\n\ntwo"]);
    let paragraph = "word ".repeat(1000);
    let text = format!("{paragraph}\n\n{paragraph}\n\n{paragraph}\n");
    assert_eq!(texts(text.as_bytes()), [format!("{paragraph}\n\n{paragraph}"), paragraph]);
}

#[test]
fn empty_files_have_no_documents() {
    for content in [&b""[..], b"\n\n", b"  \n<|endoftext|>\n\t", b"\xef\xbb\xbf"] {
        assert_eq!(texts(content), Vec::<String>::new());
    }
    assert_eq!(One::new("a.jsonl", b"\n \n{\"text\": null}\n{\"text\": \" \\n\"}\n").texts(), Vec::<String>::new());
    let none: Vec<Option<&[u8]>> = vec![None, Some(b" ")];
    assert_eq!(One::new("a.parquet", &table(TEXT, Codec::SNAPPY, &[none])).texts(), Vec::<String>::new());
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_and_counted_or_refused() {
    let one = One::new("a.txt", b"x\n<|endoftext|>\n\na\xff\xfeb\xe2\x82");
    let documents = one.read(Place::default());
    assert_eq!((documents[1].text.as_str(), documents[1].replaced), ("a\u{fffd}\u{fffd}b\u{fffd}", 3));
    let strict = |name: &str, content: &[u8]| One::with(name, content, "text", true);
    let refusal = strict("a.txt", b"x\n<|endoftext|>\n\na\xff\xfeb").refusal();
    assert!(refusal.starts_with("a.txt: byte 18 is not UTF-8; ") && refusal.contains("--strict"), "{refusal}");

    // A byte that is none, and the escape of half a character, which is none either.
    let lines = b"{\"text\": \"a\"}\n{\"text\": \"b\xff\", \"k\\u00e9\": \"\xff\"}\n{\"text\": \"c\\ud800\"}\n";
    let documents = One::new("a.jsonl", lines).read(Place::default());
    let found: Vec<_> = documents.iter().map(|d| (d.text.as_str(), d.replaced)).collect();
    assert_eq!(found, [("a", 0), ("b\u{fffd}", 1), ("c\u{fffd}", 1)]);
    assert!(strict("a.jsonl", lines).refusal().starts_with("a.jsonl: line 2 (byte 25) is not UTF-8"));
    let half = strict("a.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\\ud800\"}").refusal();
    assert!(half.starts_with("a.jsonl: line 2 (byte 14) is not UTF-8"), "{half}");

    let rows: Vec<Option<&[u8]>> = vec![Some(b"a"), Some(b"b\xff")];
    let content = table(TEXT, Codec::UNCOMPRESSED, &[rows]);
    assert_eq!(One::new("a.parquet", &content).read(Place::default())[1].replaced, 1);
    assert!(strict("a.parquet", &content).refusal().starts_with("a.parquet: row 2 is not UTF-8"));
}

#[test]
fn one_endless_line_is_cut_between_words_or_characters() {
    let words = "word ".repeat(20_000);
    let parts = texts(words.as_bytes());
    assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= LONGEST_PART && part.starts_with("word")));
    assert_eq!(parts.concat(), words);
    let characters = "€".repeat(30_000);
    let parts = texts(characters.as_bytes());
    assert!(parts.len() > 2);
    assert_eq!(parts.concat(), characters);
}

#[test]
fn a_line_of_json_is_a_document() {
    let lines =
        b"\xef\xbb\xbf{\"a\": [1, {\"text\": 2}], \"text\": \"one\\n\\u00e9\"}\r\n\n{\"text\": \"two\", \"b\": null}";
    let one = One::new("a.jsonl", lines);
    assert_eq!(one.texts(), ["one\né", "two"]);
    assert_eq!(one.assert_resumes(), 2);
    assert_eq!(
        One::with("a.json", lines, "b", false).refusal(),
        "a.json: line 1 has no field `b`; choose another with --field"
    );
    let wrong = |line: &str| One::new("a.ndjson", format!("{{\"text\": \"x\"}}\n{line}\n").as_bytes()).refusal();
    assert_eq!(
        wrong("[1]"),
        "a.ndjson: line 2 is no JSON object; the file must hold one object a line (of an array, `jq -c '.[]'` makes lines)"
    );
    assert!(wrong("{\"text\": \"x\"").starts_with("a.ndjson: line 2 is no JSON (EOF"));
    assert!(wrong("{\"text\": \"x\"} y").starts_with("a.ndjson: line 2 is no JSON (trailing characters"));
    assert_eq!(wrong("{\"text\": 5}"), "a.ndjson: line 2 field `text`: invalid type: integer `5`, expected a string");
}

#[test]
fn long_records_are_divided_and_resumed_inside() {
    let long = "€uro and cents ".repeat(40_000);
    let one = One::new("a.jsonl", serde_json::json!({"text": long}).to_string().as_bytes());
    let parts = one.texts();
    assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= LONGEST_DOCUMENT));
    assert_eq!(parts.concat(), long);
    one.assert_resumes();
    let rows: Vec<Option<&[u8]>> = vec![Some(b"a"), Some(long.as_bytes()), Some(b"b")];
    One::new("a.parquet", &table(TEXT, Codec::SNAPPY, &[rows])).assert_resumes();
}

#[test]
fn compressed_files_hold_the_same_documents() {
    let plain = "one\n<|endoftext|>\ntwo\n<|endoftext|>\n".repeat(3000);
    let lines = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n".repeat(3000);
    for (name, content) in [("a.txt", plain.as_bytes()), ("a.jsonl", lines.as_bytes())] {
        let expected = One::new(name, content).texts();
        let two_members = [gzip(&content[..999]), gzip(&content[999..])].concat();
        let two_frames = [zstd(&content[..999]), zstd(&content[999..])].concat();
        for (ending, packed) in [("gz", two_members), ("zst", two_frames)] {
            let one = One::new(&format!("{name}.{ending}"), &packed);
            assert_eq!(one.texts(), expected, "{name}.{ending}");
            let documents = one.read(Place::default());
            for index in [0, 1, 2998, 5999] {
                assert_eq!(one.read(documents[index].end), documents[index + 1..], "{name}.{ending} from {index}");
            }
            assert_eq!(documents[5999].end.read, packed.len() as u64, "progress counts the file's own bytes");
            let half = One::new(&format!("{name}.{ending}"), &packed[..packed.len() / 2]).refusal();
            assert!(half.contains("ends in the middle of its compressed content"), "{half}");
            let mut wrong = packed.clone();
            wrong[0] ^= 1;
            let refusal = One::new(&format!("{name}.{ending}"), &wrong).refusal();
            assert!(refusal.contains("is damaged ("), "{refusal}");
        }
    }
}

#[test]
fn a_row_of_a_table_is_a_document() {
    let owned: Vec<String> = (0..300).map(|i| format!("row {i}")).collect();
    let rows: Vec<Option<&[u8]>> =
        owned.iter().enumerate().map(|(i, text)| (i % 7 != 3).then_some(text.as_bytes())).collect();
    let expected: Vec<&String> = owned.iter().enumerate().filter(|(i, _)| i % 7 != 3).map(|(_, text)| text).collect();
    let groups: Vec<Vec<_>> = rows.chunks(130).map(<[_]>::to_vec).collect();
    for codec in [
        Codec::UNCOMPRESSED,
        Codec::SNAPPY,
        Codec::GZIP(Default::default()),
        Codec::ZSTD(Default::default()),
        Codec::LZ4_RAW,
    ] {
        let one = One::new("a.parquet", &table(TEXT, codec, &groups));
        assert_eq!(one.texts().iter().collect::<Vec<_>>(), expected, "{codec}");
        assert_eq!(one.assert_resumes(), expected.len());
    }
}

/// Written by pyarrow 26 in groups of 25 rows: with data pages of version 2 and zstd, with small pages of version 1 and
/// snappy; every ninth text from the fifth on is null.
#[test]
fn tables_of_another_writer_are_read() {
    for content in [
        &include_bytes!("../../tests/fixtures/pyarrow.parquet")[..],
        include_bytes!("../../tests/fixtures/pyarrow-v1.parquet"),
    ] {
        let one = One::new("a.parquet", content);
        let expected = (0..60).filter(|i| i % 9 != 4);
        let expected = expected.map(|i| format!("story {i}: the cat sat on a mat. ").repeat(1 + i % 3));
        assert_eq!(one.texts(), expected.collect::<Vec<_>>());
        assert_eq!(one.assert_resumes(), 53);
        assert_eq!(One::with("a.parquet", content, "label", false).texts().len(), 60);
        let refusal = One::with("a.parquet", content, "meta", false).refusal();
        assert!(refusal.contains("column `meta` holds a list or structure"), "{refusal}");
    }
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let content = table(TEXT, Codec::SNAPPY, &[vec![Some(b"a")]]);
    let of = |schema: &str, field: &str| {
        let empty = table(schema, Codec::SNAPPY, &[]);
        One::with("a.parquet", &empty, field, false).refusal()
    };
    let schema = "message rows { optional binary a (STRING); required int64 n; repeated binary l (STRING); }";
    assert_eq!(of(schema, "text"), "a.parquet: no column `text`; it has a, n, l: choose one with --field");
    assert_eq!(of(schema, "n"), "a.parquet: column `n` holds INT64, not text; choose another with --field");
    assert!(of(schema, "l").contains("column `l` holds a list, not text"));
    for damaged in
        [&b""[..], b"PAR1", &content[..content.len() / 2], &content[..content.len() - 1], b"not a table at all"]
    {
        let refusal = One::new("a.parquet", damaged).refusal();
        assert!(refusal.starts_with("a.parquet: as a parquet file it is damaged ("), "{refusal}");
    }
}

#[test]
fn the_hash_is_the_files() {
    let one = One::new("a.txt", b"abc");
    let file = &one.corpus.files()[0];
    let path = file.bring(&untangle_schema::Silent).expect("here");
    let found = one.corpus.survey(file, &path, &untangle_schema::Silent).expect("read").expect("not stopped");
    assert_eq!(found.file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((found.file.name.as_str(), found.file.bytes, found.separated), ("a.txt", 3, false));
}

#[test]
fn a_folder_means_its_files_of_text_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "x").expect("written");
    };
    ["b.txt", "a/z.jsonl", "a/b/c.parquet", "a.txt.gz", "README.md", "a/dataset_info.json", ".git/x.txt"]
        .into_iter()
        .for_each(write);
    let names = |corpus: &Corpus| corpus.files().iter().map(|file| file.name().to_owned()).collect::<Vec<_>>();
    let corpus = Corpus::open(&[folder.path()]).expect("found");
    assert_eq!(names(&corpus), ["a.txt.gz", "a/b/c.parquet", "a/z.jsonl", "b.txt"]);
    let mut ignored = corpus.ignored().to_vec();
    ignored.sort();
    assert_eq!(ignored, ["README.md", "a/dataset_info.json"]);
    let mixed = Corpus::open(&[folder.path().join("README.md"), folder.path().join("a")]).expect("found");
    assert_eq!(names(&mixed), ["README.md", "b/c.parquet", "z.jsonl"], "a file that is named is text");
}

#[test]
fn what_is_no_file_of_text_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |path: &Path| Corpus::open(&[path]).expect_err("refused").to_string();
    assert!(refused(&folder.path().join("absent")).ends_with("no such file"));
    assert!(refused(folder.path()).contains("no file of text in this folder"));
    fs::write(folder.path().join("a.zip"), "PK").expect("written");
    assert!(refused(&folder.path().join("a.zip")).contains("an archive; extract its files"));
    fs::write(folder.path().join("a.pdf"), "x").expect("written");
    assert!(refused(&folder.path().join("a.pdf")).contains("no form of text that can be read"));
    assert!(matches!(Corpus::open::<&Path>(&[]), Err(CaptureError::NoText)));
}

proptest! {
    #[test]
    fn reading_from_any_boundary_goes_on_as_before(
        pieces in prop::collection::vec(prop_oneof![
            Just("\n".to_owned()), Just("<|endoftext|>\n".to_owned()), Just("\r\n".to_owned()),
            "[a-zé ]{1,20}", Just("x".repeat(9000)), Just("é y".repeat(12_000)),
        ], 0..25),
    ) {
        One::new("a.txt", pieces.concat().as_bytes()).assert_resumes();
    }

    /// Whatever is done to a file, reading it ends, in documents or in an error.
    #[test]
    fn no_damage_makes_reading_panic(
        which in 0usize..4, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let text: Vec<Option<&[u8]>> = vec![Some(b"some text"), None, Some(b"more of it"), Some(b"some text")];
        let lines = b"{\"text\": \"some text\"}\n{\"text\": \"more\"}\n";
        let (name, mut content) = match which {
            0 => ("a.jsonl", lines.to_vec()),
            1 => ("a.jsonl.gz", gzip(lines)),
            2 => ("a.txt.zst", zstd(b"some text\n<|endoftext|>\nmore\n")),
            _ => ("a.parquet", table(TEXT, Codec::SNAPPY, &[text.clone(), text])),
        };
        let at = at.index(content.len());
        content[at] = byte;
        let _ = One::new(name, &content).try_read(Place::default());
        content.truncate(cut.index(content.len()));
        let _ = One::new(name, &content).try_read(Place::default());
    }
}
