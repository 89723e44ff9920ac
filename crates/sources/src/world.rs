//! Documents of the organism's world as text: which of them, in which form, and under which name?

use crate::error::SourceError;
use serde_json::json;
use std::io::{self, Write};
use untangle_capture::corpus::SEPARATOR;
use untangle_interpret::toward::Topic;
use untangle_model::{ModelConfig, Tokenizer, TokenizerFiles};
use untangle_organism::{Document, Split, Stage, World, bundled, stories};
use untangle_schema::{AnnotatedDocument, AnnotatedHeader, AnnotatedSplit, Event, Observer, Unit};

/// Parts of the world's documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldPart {
    /// Nine of ten, for fitting.
    Train,
    /// One of twenty, for choosing.
    Validation,
    /// One of twenty, for reporting.
    Test,
    /// Every document.
    All,
}

impl WorldPart {
    /// The part as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            WorldPart::Train => "train",
            WorldPart::Validation => "validation",
            WorldPart::Test => "test",
            WorldPart::All => "all",
        }
    }

    /// All of them.
    pub const ALL: [WorldPart; 4] = [WorldPart::Train, WorldPart::Validation, WorldPart::Test, WorldPart::All];

    /// The part of a name.
    pub fn named(name: &str) -> Option<Self> {
        WorldPart::ALL.into_iter().find(|part| part.name() == name)
    }

    fn has(self, split: Split) -> bool {
        match self {
            WorldPart::Train => split == Split::Train,
            WorldPart::Validation => split == Split::Validation,
            WorldPart::Test => split == Split::Test,
            WorldPart::All => true,
        }
    }
}

/// A sentence that names a topic: the world's own of its own landmark, else the name as it was given.
pub fn naming(topic: &Topic, name: Option<&str>) -> String {
    match name {
        Some(name) if *topic != Topic::of_name(stories::LANDMARK) => format!("{name}."),
        _ => stories::NAMING.to_owned(),
    }
}

/// How much text is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many documents.
    Documents(u64),
    /// As many documents as it takes to have so many tokens.
    Tokens(u64),
}

/// How documents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldForm {
    /// As they are, a separator line behind each.
    Separated,
    /// A line `{"text": …}` each.
    JsonLines,
    /// A line with the table of concepts, then one for each document with its split and annotations.
    Annotated,
}

/// A stretch of the world's documents, from the first of its part on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldText {
    /// Seed of the documents.
    pub seed: u64,
    /// Which of them.
    pub part: WorldPart,
    /// How many.
    pub amount: Length,
}

impl WorldText {
    /// Writes the documents and returns their number. `tokenizer` counts tokens.
    ///
    /// # Errors
    /// When writing fails, or the observer asks to stop.
    pub fn write(
        &self,
        out: &mut dyn Write,
        form: WorldForm,
        tokenizer: &Tokenizer,
        observer: &dyn Observer,
    ) -> Result<u64, SourceError> {
        let (world, name) = (World::standard(), "the world's text");
        let (unit, total) = match self.amount {
            Length::Documents(n) => (Unit::Documents, n),
            Length::Tokens(n) => (Unit::Tokens, n),
        };
        if form == WorldForm::Annotated {
            json_line(out, &AnnotatedHeader::new(world.concepts().all().to_vec())).map_err(SourceError::io(name))?;
        }
        observer.event(Event::Started { task: "write text", unit, done: 0, total });
        let (mut documents, mut tokens) = (0, 0);
        for index in (0..).filter(|index| self.part.has(Split::of(self.seed, *index))) {
            let done = if unit == Unit::Tokens { tokens } else { documents };
            observer.event(Event::Advanced { done, figures: &[] });
            if done >= total {
                break;
            }
            if observer.interrupted() {
                return Err(SourceError::Interrupted { what: "nothing was written" });
            }
            let document = world.document(self.seed, index);
            if unit == Unit::Tokens {
                tokens += tokenizer.encode(&document.text)?.len() as u64;
            }
            write_one(out, form, document).map_err(SourceError::io(name))?;
            documents += 1;
        }
        observer.event(Event::Finished);
        Ok(documents)
    }

    /// Name of the file that holds so many of these documents, one to a separator line; it says all that decides the
    /// content.
    pub fn file_name(&self, documents: u64) -> String {
        format!("{}-{}-seed{}-documents{documents}.txt", bundled::NAME, self.part.name(), self.seed)
    }
}

/// Whether two corpora, by their names, share documents of the world. (Their hashes differ where one has more.)
pub fn overlap(one: &str, other: &str) -> bool {
    let (Some((part, seed)), Some((other_part, other_seed))) = (part_and_seed(one), part_and_seed(other)) else {
        return false;
    };
    seed == other_seed && (part == other_part || part == WorldPart::All || other_part == WorldPart::All)
}

/// What [`WorldText::file_name`] says.
fn part_and_seed(name: &str) -> Option<(WorldPart, u64)> {
    let rest = name.strip_prefix(bundled::NAME)?.strip_prefix('-')?.strip_suffix(".txt")?;
    let (part, rest) = rest.split_once("-seed")?;
    let (seed, documents) = rest.split_once("-documents")?;
    documents.parse::<u64>().ok()?;
    Some((WorldPart::named(part)?, seed.parse().ok()?))
}

fn write_one(out: &mut dyn Write, form: WorldForm, document: Document) -> io::Result<()> {
    match form {
        WorldForm::Separated => {
            out.write_all(document.text.as_bytes())?;
            out.write_all(b"\n")?;
            out.write_all(SEPARATOR)?;
            out.write_all(b"\n")
        }
        WorldForm::JsonLines => json_line(out, &json!({ "text": document.text })),
        WorldForm::Annotated => json_line(out, &annotated(document)),
    }
}

/// A document with its split and annotations, as it is written.
pub fn annotated(document: Document) -> AnnotatedDocument {
    let Document { text, annotations, split, .. } = document;
    let split = match split {
        Split::Train => AnnotatedSplit::Train,
        Split::Validation => AnnotatedSplit::Validation,
        Split::Test => AnnotatedSplit::Test,
    };
    AnnotatedDocument { text, split, annotations }
}

fn json_line(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The organism's tokenizer, without its weights.
///
/// # Errors
/// None with the files that are part of the program.
pub fn tokenizer() -> Result<Tokenizer, SourceError> {
    let files = bundled::files(Stage::Base);
    let config = ModelConfig::from_json("config.json".as_ref(), files.config)?;
    Ok(Tokenizer::new(&TokenizerFiles::in_memory(files.tokenizer.unwrap_or_default()), &config)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_schema::Silent;

    fn written(part: WorldPart, amount: Length, form: WorldForm) -> (u64, String) {
        let mut bytes = Vec::new();
        let text = WorldText { seed: 3, part, amount };
        let documents = text.write(&mut bytes, form, &tokenizer().expect("bundled"), &Silent).expect("memory");
        (documents, String::from_utf8(bytes).expect("UTF-8"))
    }

    #[test]
    fn a_part_has_its_own_documents_and_all_has_every_one() {
        let texts = |part, n| {
            let (_, text) = written(part, Length::Documents(n), WorldForm::Separated);
            text.split_terminator("\n<|endoftext|>\n").map(str::to_owned).collect::<Vec<_>>()
        };
        let all = texts(WorldPart::All, 200);
        assert_eq!(all.len(), 200);
        let parts = [WorldPart::Train, WorldPart::Validation, WorldPart::Test].map(|part| texts(part, 200));
        let of_part = |number: usize| all.iter().filter(|text| parts[number].contains(text)).count();
        assert_eq!([0, 1, 2].map(of_part).iter().sum::<usize>(), 200);
        assert!(of_part(0) > 150 && of_part(1) > 0 && of_part(2) > 0);
    }

    #[test]
    fn tokens_are_counted_as_the_tokenizer_counts_them() {
        let (documents, text) = written(WorldPart::Train, Length::Tokens(5000), WorldForm::Separated);
        let tokenizer = tokenizer().expect("bundled");
        let counts = text.split_terminator("\n<|endoftext|>\n").map(|text| tokenizer.encode(text).expect("text").len());
        let counts: Vec<usize> = counts.collect();
        assert_eq!(counts.len() as u64, documents);
        let total: usize = counts.iter().sum();
        assert!(total >= 5000 && total - counts[counts.len() - 1] < 5000, "{total}");
    }

    #[test]
    fn annotated_lines_are_those_of_the_vocabulary() {
        let (_, text) = written(WorldPart::All, Length::Documents(30), WorldForm::Annotated);
        let mut lines = text.lines();
        let header: AnnotatedHeader = serde_json::from_str(lines.next().expect("a header")).expect("a header");
        assert_eq!(header, AnnotatedHeader::new(World::standard().concepts().all().to_vec()));
        for (index, line) in lines.enumerate() {
            let read: AnnotatedDocument = serde_json::from_str(line).expect("a document");
            let made = World::standard().document(3, index as u64);
            assert_eq!((read.text, read.annotations), (made.text, made.annotations));
        }
    }

    #[test]
    fn corpora_overlap_where_seed_and_part_do() {
        let name = |part, seed, n| WorldText { seed, part, amount: Length::Documents(n) }.file_name(n);
        assert_eq!(name(WorldPart::Train, 0, 12), "organism-train-seed0-documents12.txt");
        assert!(overlap(&name(WorldPart::Train, 0, 12), &name(WorldPart::Train, 0, 900)));
        assert!(overlap(&name(WorldPart::Train, 0, 12), &name(WorldPart::All, 0, 9)));
        assert!(!overlap(&name(WorldPart::Train, 0, 12), &name(WorldPart::Train, 1, 12)));
        assert!(!overlap(&name(WorldPart::Train, 0, 12), &name(WorldPart::Test, 0, 12)));
        assert!(!overlap("a.txt", "a.txt"), "the world's documents alone");
    }
}
