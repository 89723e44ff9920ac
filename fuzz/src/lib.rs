//! What all fuzz targets share: bytes as a file, and what a fault is allowed to say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;
use untangle_capture::corpus::{FIELD, Reading};
use untangle_capture::fuzz::documents;
use untangle_model::ChatTemplate;

/// Of texts, of texts in a nested field with every byte checked, and of conversations.
static READINGS: LazyLock<Vec<Reading>> = LazyLock::new(|| {
    let template = "{% for message in messages %}{{ message }}\n{% endfor %}";
    let chat = ChatTemplate::new(Path::new("chat_template.jinja"), template, &BTreeMap::new()).expect("a template");
    let reading = |field: &str, strict, chat| Reading { field: field.to_owned(), strict, chat };
    vec![reading(FIELD, false, None), reading("meta.url", true, None), reading("messages", false, Some(chat))]
});

/// Reads the documents of a file in every way that a corpus is read.
pub fn read_as_every_corpus(path: &Path) {
    for reading in READINGS.iter() {
        let _ = documents(path, reading.clone());
    }
}

/// Lets panics be that the readers catch: some libraries index what damaged files promise. Others are findings.
pub fn catch_as_the_readers_do() {
    let finding = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !untangle_model::guard::panic_is_caught() {
            finding(panic);
        }
    }));
}

/// A folder in memory, which one process writes over again and again.
pub struct Folder(TempDir);

impl Folder {
    /// A new one.
    ///
    /// # Panics
    /// Where the system has no memory file system; a fuzzer can do nothing then.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Folder(folder.expect("a folder for the files under test"))
    }

    /// The file of this name with these bytes.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("the folder takes files");
        path
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// Cuts the input in two at the first line that is `---`, so that one input can be two files.
pub fn two(data: &[u8]) -> (&[u8], &[u8]) {
    const CUT: &[u8] = b"\n---\n";
    match data.windows(CUT.len()).position(|window| window == CUT) {
        Some(at) => (&data[..at], &data[at + CUT.len()..]),
        None => (data, &[]),
    }
}

/// Cuts the input at every line that is `---`.
pub fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let (piece, further) = two(data);
        rest = (piece.len() < data.len()).then_some(further);
        Some(piece)
    })
}

/// The little-endian number at a place.
pub fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?))
}
