//! A text on standard input, which can be read once only.

use crate::error::SourceError;
use crate::surroundings::Surroundings;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use untangle_capture::corpus::{self, Layout, TextFile};

/// What standard input is called.
const STANDARD_INPUT: &str = "standard input";
/// Bytes of standard input that are read at a time.
const CHUNK: usize = 1 << 20;
/// How often a signal is looked for while standard input is silent.
const LOOK: Duration = Duration::from_millis(100);

/// Keeps standard input, which can be read once only: a capture that goes on reads its text from the begin. The same
/// text piped into the same command therefore continues it.
pub(crate) fn standard_input(folder: &Path, surroundings: &Surroundings<'_>) -> Result<TextFile, SourceError> {
    let path = folder.join("standard-input");
    let failed = || SourceError::io(path.display());
    let mut kept = File::create(&path).map_err(failed())?;
    let chunks = chunks_of_input();
    loop {
        if surroundings.observer.interrupted() {
            return Err(SourceError::Interrupted { what: "standard input was not read to its end" });
        }
        match chunks.recv_timeout(LOOK) {
            Ok(chunk) => kept.write_all(&chunk.map_err(SourceError::io(STANDARD_INPUT))?).map_err(failed())?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let form = corpus::FileForm::of_content(&path)?;
    let file = TextFile::named(&path, STANDARD_INPUT.to_owned(), form)?.labelled(STANDARD_INPUT);
    let kind = match form.layout {
        Layout::Plain => "text",
        Layout::JsonLines => "JSON lines",
        Layout::Parquet => "a parquet table",
    };
    surroundings.note(&format!("{STANDARD_INPUT}: {} bytes, read as {kind}", file.bytes()));
    Ok(file)
}

/// Chunks of standard input as they come, from a thread of its own: a signal is heard while a pipe is silent. The thread
/// ends with the input or with the process.
fn chunks_of_input() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(4);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match input.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => break,
                read => read.map(|n| {
                    chunk.truncate(n);
                    chunk
                }),
            };
            let failed = read.is_err();
            if sender.send(read).is_err() || failed {
                break;
            }
        }
    });
    receiver
}
