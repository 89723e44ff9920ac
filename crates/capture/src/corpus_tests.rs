//! Documents are where a user sees them, and reading from any boundary on gives the same ones.

use super::*;
use proptest::prelude::*;

fn file(content: &[u8]) -> (tempfile::TempDir, TextFile) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.txt");
    fs::write(&path, content).expect("written");
    let file = TextFile { path, bytes: content.len() as u64 };
    (folder, file)
}

fn read(file: &TextFile, at: u64) -> Vec<Document> {
    let survey = survey(file, &|| false).expect("read").expect("not stopped");
    let mut documents = Documents::open(&file.path, survey.separated, at).expect("opened");
    std::iter::from_fn(|| documents.next().expect("read")).collect()
}

fn texts(content: &[u8]) -> Vec<String> {
    let (_folder, file) = file(content);
    read(&file, 0).into_iter().map(|document| document.text).collect()
}

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
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_and_counted() {
    let (_folder, file) = file(b"a\xff\xfeb\xe2\x82");
    let documents = read(&file, 0);
    assert_eq!((documents[0].text.as_str(), documents[0].replaced), ("a\u{fffd}\u{fffd}b\u{fffd}", 3));
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
fn the_hash_is_the_files() {
    let (_folder, file) = file(b"abc");
    let found = survey(&file, &|| false).expect("read").expect("not stopped");
    assert_eq!(found.file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((found.file.name.as_str(), found.file.bytes, found.separated), ("a.txt", 3, false));
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |path: &Path| Corpus::open(&[path]).expect_err("refused").to_string();
    assert!(refused(&folder.path().join("absent")).ends_with("no such file"));
    assert!(refused(folder.path()).contains("this is a folder"));
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
        let (_folder, file) = file(pieces.concat().as_bytes());
        let documents = read(&file, 0);
        for (index, document) in documents.iter().enumerate() {
            prop_assert_eq!(&read(&file, document.end), &documents[index + 1..]);
        }
    }
}
