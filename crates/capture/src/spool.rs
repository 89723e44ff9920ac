//! How many rows will there be? The token ids are made first and spooled beside the unfinished file.
//!
//! The spool holds token, document and offset in the document of every row, three u32. Its state, a small JSON file that
//! is replaced as a whole after the spool is synced, says how far both the spool and the reading of the text are.

use crate::corpus::{Corpus, Document, Documents, Place, Survey, TextFile};
use crate::encode::encode;
use crate::error::CaptureError;
use crate::pack::{Packed, Packer, Token};
use crate::plan::CapturePlan;
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use untangle_model::{ModelError, Tokenizer};
use untangle_schema::{Event, Observer, ShardId, Unit};
use untangle_store::{Partial, StoreError, differences, durable};

/// Bytes of a row.
const ROW: u64 = 12;
/// Text that is encoded at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Rows after which the state is saved: some seconds of tokenizing.
const SAVE_ROWS: u64 = 1 << 21;

/// How far the spool is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    /// What the spool was begun with.
    settings: Value,
    packer: Packer,
    /// The files read so far; the last one up to `place`.
    surveys: Vec<Survey>,
    place: Place,
    /// Byte sequences of the last one that were not UTF-8.
    replaced: u64,
    /// Documents read so far, those of other shards included.
    dealt: u64,
    /// CRC-32 of the token ids.
    crc: u32,
    complete: bool,
}

impl State {
    fn new(settings: Value, packer: Packer) -> Self {
        let (surveys, place) = (Vec::new(), Place::default());
        State { settings, packer, surveys, place, replaced: 0, dealt: 0, crc: 0, complete: false }
    }
}

/// Rows of the spool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spooled {
    /// Token ids.
    pub(crate) tokens: Vec<u32>,
    /// The documents that they are of.
    pub(crate) documents: Vec<u32>,
    /// The bytes of their documents' text at which they begin.
    pub(crate) offsets: Vec<u32>,
}

/// Measures rows per second from a moment on.
struct Speed {
    since: Instant,
    rows: u64,
}

impl Speed {
    fn at(&self, rows: u64) -> f64 {
        (rows - self.rows) as f64 / self.since.elapsed().as_secs_f64().max(1e-9)
    }
}

/// The token ids of a whole capture, on disk.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    path: PathBuf,
    state_path: PathBuf,
    partial: PathBuf,
    shard: Option<ShardId>,
    state: State,
    saved_rows: u64,
}

impl Spool {
    /// Makes the spool of a plan, or what is missing of it.
    ///
    /// # Errors
    /// An unfinished spool of other settings (begun afresh if forced), an interruption, an empty corpus.
    pub(crate) fn make(
        partial: &mut Partial,
        plan: &CapturePlan,
        corpus: &Corpus,
        tokenizer: &Tokenizer,
        observer: &dyn Observer,
    ) -> Result<Self, CaptureError> {
        let mut spool = Self::open(partial, plan, plan.settings(corpus), corpus.files().len())?;
        if !spool.state.complete {
            warn_of_ignored(corpus, observer);
            spool.fill(corpus, tokenizer, observer)?;
            observer.event(Event::Finished);
        }
        if spool.rows() == 0 {
            let names: Vec<&str> = corpus.files().iter().map(TextFile::name).collect();
            let names = names.join(", ");
            let names = plan.shard.map_or(names.clone(), |shard| format!("shard {shard} of {names}"));
            return Err(CaptureError::EmptyCorpus { names });
        }
        Ok(spool)
    }

    /// Takes up what an earlier run left of this plan and a text of so many files, or begins.
    fn open(partial: &mut Partial, plan: &CapturePlan, settings: Value, files: usize) -> Result<Self, CaptureError> {
        let (path, state_path) = (partial.side_file("tokens"), partial.side_file("spool"));
        let state = match fs::read(&state_path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // One that was damaged is worth nothing: the text is cut into token ids again.
            read => unsealed(&read.map_err(CaptureError::io(&state_path))?),
        };
        let state = match state {
            // Without all of its token ids a state is worth nothing: extending the file would invent tokens.
            Some(state) if holds(&path, &state)? => same_settings(partial, state, &settings)?,
            _ => None,
        };
        let packer = Packer::new(plan.context, plan.pad, plan.bos_token, plan.tokens);
        let state = state.filter(|state| state.packer.continues(&packer) && state.surveys.len() <= files);
        if state.is_none() {
            // Before the token ids are touched: a run of the old settings would take the new ones for its own.
            durable::remove(&state_path)?;
            durable::sync_folder(&state_path)?;
        }
        let state = state.unwrap_or_else(|| State::new(settings, packer));
        let file = match state.packer.rows {
            0 => durable::create(&path),
            _ => OpenOptions::new().read(true).write(true).open(&path),
        };
        let file = file.map_err(CaptureError::io(&path))?;
        file.set_len(state.packer.rows * ROW).map_err(CaptureError::io(&path))?;
        let (saved_rows, partial) = (state.packer.rows, partial.data().to_owned());
        Ok(Spool { file, path, state_path, partial, shard: plan.shard, state, saved_rows })
    }

    fn fill(&mut self, corpus: &Corpus, tokenizer: &Tokenizer, observer: &dyn Observer) -> Result<(), CaptureError> {
        let speed = Speed { since: Instant::now(), rows: self.rows() };
        let first = self.state.surveys.len().saturating_sub(1);
        for index in first..corpus.files().len() {
            if self.state.packer.is_full() {
                break;
            }
            let file = &corpus.files()[index];
            let path = file.bring(observer)?;
            if index == first || file.is_elsewhere() {
                // Also behind every download, which is a task of its own.
                let (done, total) = (self.bytes_read(), corpus.bytes());
                observer.event(Event::Started { task: "tokenize", unit: Unit::Bytes, done, total });
            }
            let mut documents = self.begin_file(corpus, index, &path, observer)?;
            while !self.state.packer.is_full() {
                let chunk = match next_chunk(&mut documents) {
                    Err(CaptureError::Model(ModelError::Interrupted)) => return Err(self.interrupted(corpus)?),
                    chunk => chunk?,
                };
                let Some(end) = chunk.last().map(|document| document.end) else { break };
                let chunk = self.own(chunk);
                let replaced: u64 = chunk.iter().map(|document| document.replaced).sum();
                self.state.replaced = self.state.replaced.saturating_add(replaced);
                self.append(&encode(tokenizer, &chunk)?, end)?;
                let figures = [("tokens/s", speed.at(self.rows()))];
                observer.event(Event::Advanced { done: self.bytes_read(), figures: &figures });
                if observer.interrupted() {
                    return Err(self.interrupted(corpus)?);
                }
            }
            self.warn_of_replaced(file, observer);
        }
        self.state.complete = true;
        self.save()
    }

    /// The documents that belong to this shard.
    fn own(&mut self, mut chunk: Vec<Document>) -> Vec<Document> {
        let first = self.state.dealt;
        self.state.dealt = first.saturating_add(chunk.len() as u64);
        let Some(shard) = self.shard else { return chunk };
        let mut numbers = first..;
        chunk.retain(|_| numbers.next().is_some_and(|number| shard.takes(number)));
        chunk
    }

    /// The documents of a file that were not read yet. A file that was begun earlier must still be the same.
    fn begin_file<'a>(
        &mut self,
        corpus: &'a Corpus,
        index: usize,
        path: &'a Path,
        observer: &'a dyn Observer,
    ) -> Result<Documents<'a>, CaptureError> {
        let file = &corpus.files()[index];
        let Some(survey) = corpus.survey(file, path, observer)? else {
            return Err(self.interrupted(corpus)?);
        };
        let separated = survey.separated;
        match self.state.surveys.get(index) {
            Some(before) if *before != survey => {
                let (file, partial) = (file.label().to_owned(), self.partial.clone());
                return Err(CaptureError::CorpusChanged { file, partial });
            }
            Some(_) => {}
            None => {
                self.state.surveys.push(survey);
                (self.state.place, self.state.replaced) = (Place::default(), 0);
            }
        }
        corpus.documents(file, path, separated, self.state.place, observer)
    }

    fn warn_of_replaced(&self, file: &TextFile, observer: &dyn Observer) {
        if self.state.replaced > 0 {
            let (name, n) = (file.name(), self.state.replaced);
            observer.event(Event::Warning(&format!("{name}: {n} byte sequences are not UTF-8; replaced")));
        }
    }

    /// Packs the tokens of consecutive documents that end at `end` of the current file.
    fn append(&mut self, documents: &[Vec<Token>], end: Place) -> Result<(), CaptureError> {
        let first = self.rows();
        let mut packed: Vec<Packed> = Vec::new();
        documents.iter().for_each(|tokens| self.state.packer.add(tokens, &mut packed));
        let words = packed.iter().flat_map(|row| [row.token, row.document, row.offset]);
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        self.file.write_all_at(&bytes, first * ROW).map_err(|source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                CaptureError::NoRoomForTokens { path: self.path.clone() }
            }
            _ => CaptureError::Io { path: self.path.clone(), source },
        })?;
        let mut hasher = Hasher::new_with_initial(self.state.crc);
        hasher.update(&bytes);
        (self.state.place, self.state.crc) = (end, hasher.finalize());
        if self.rows() - self.saved_rows >= SAVE_ROWS { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> Result<(), CaptureError> {
        self.file.sync_data().map_err(CaptureError::io(&self.path))?;
        let json = serde_json::to_vec(&self.state).map_err(|error| CaptureError::io(&self.state_path)(error.into()))?;
        durable::replace(&self.state_path, &sealed(json))?;
        self.saved_rows = self.rows();
        Ok(())
    }

    /// Saves the state and gives the error that says so.
    fn interrupted(&mut self, corpus: &Corpus) -> Result<CaptureError, CaptureError> {
        self.save()?;
        Ok(CaptureError::Interrupted { done: self.bytes_read(), total: corpus.bytes(), unit: "bytes of text" })
    }

    /// Bytes of text that were read.
    fn bytes_read(&self) -> u64 {
        let whole = self.state.surveys.len().saturating_sub(1);
        let read = self.state.surveys[..whole].iter().map(|survey| survey.file.bytes);
        read.fold(self.state.place.read, u64::saturating_add)
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.state.packer.rows
    }

    /// Number of documents.
    pub(crate) fn documents(&self) -> u64 {
        u64::from(self.state.packer.documents)
    }

    /// The files that were read.
    pub(crate) fn surveys(&self) -> &[Survey] {
        &self.state.surveys
    }

    /// `n` rows from `first` on.
    pub(crate) fn read(&self, first: u64, n: usize) -> Result<Spooled, CaptureError> {
        let mut bytes = vec![0; n * ROW as usize];
        self.file.read_exact_at(&mut bytes, first * ROW).map_err(CaptureError::io(&self.path))?;
        let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        let column = |nth: usize| words.clone().skip(nth).step_by(3).collect();
        Ok(Spooled { tokens: column(0), documents: column(1), offsets: column(2) })
    }
}

/// Whether the file has all token ids that the state speaks of, and as they were written.
fn holds(path: &Path, state: &State) -> Result<bool, CaptureError> {
    let Ok(file) = File::open(path) else { return Ok(false) };
    let Some(mut left) = state.packer.rows.checked_mul(ROW) else { return Ok(false) };
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; 1 << 20]);
    if file.metadata().map_err(CaptureError::io(path))?.len() < left {
        return Ok(false);
    }
    let mut at = 0;
    while left > 0 {
        let piece = &mut piece[..left.min(1 << 20) as usize];
        file.read_exact_at(piece, at).map_err(CaptureError::io(path))?;
        hasher.update(piece);
        (at, left) = (at + piece.len() as u64, left - piece.len() as u64);
    }
    Ok(hasher.finalize() == state.crc)
}

/// A state with the checksum that it is believed by, on a line of its own.
pub(crate) fn sealed(json: Vec<u8>) -> Vec<u8> {
    let seal = format!("\n{:08x}\n", crc32fast::hash(&json));
    [json, seal.into_bytes()].concat()
}

/// What [`sealed`] was given; none where anything was changed since.
fn unsealed(bytes: &[u8]) -> Option<State> {
    let (json, _) = bytes.split_at_checked(bytes.len().checked_sub("\n01234567\n".len())?)?;
    if sealed(json.to_vec()) == bytes { serde_json::from_slice(json).ok() } else { None }
}

/// The state, if it belongs to these settings; none if others may be discarded.
fn same_settings(partial: &Partial, state: State, settings: &Value) -> Result<Option<State>, CaptureError> {
    let differences = differences(&state.settings, settings);
    match (differences.is_empty(), partial.force()) {
        (true, _) => Ok(Some(state)),
        (false, true) => Ok(None),
        (false, false) => Err(StoreError::OtherSettings { partial: partial.data().to_owned(), differences }.into()),
    }
}

/// The next documents, up to about [`CHUNK_BYTES`].
fn next_chunk(documents: &mut Documents) -> Result<Vec<Document>, CaptureError> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while bytes < CHUNK_BYTES
        && let Some(document) = documents.next()?
    {
        bytes += document.text.len();
        chunk.push(document);
    }
    Ok(chunk)
}

/// Files that one warning names.
const NAMED: usize = 5;

fn warn_of_ignored(corpus: &Corpus, observer: &dyn Observer) {
    let ignored = corpus.ignored();
    let more = match ignored.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if !ignored.is_empty() {
        let names = ignored[..ignored.len().min(NAMED)].join(", ");
        observer
            .event(Event::Warning(&format!("passed over, because their endings are not those of text: {names}{more}")));
    }
}
