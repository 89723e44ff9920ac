//! A hub's answers, one after the other, cut apart by lines `---`: what it lists, in how many pages, and what it says of a
//! file. An answer that does not begin with `HTTP/` is the body of a good one.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;
use untangle_fuzz::{Folder, pieces};
use untangle_model::hub::{DatasetSpec, HubOptions, Retry, fetch_config, fetch_dataset_file, list_dataset};
use untangle_schema::Silent;

/// What the hub answers next, the next one last.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
/// A proxy, so that no redirection leads out of this machine.
static PROXY: LazyLock<String> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(&stream))));
    format!("http://127.0.0.1:{port}")
});
/// Files that are fetched of a listing.
const FETCHED: usize = 2;

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let answer = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    if !answer.starts_with(b"HTTP/") {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nETag: \"0\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.len()
        )?;
    }
    stream.write_all(&answer)
}

fn says(data: &[u8]) {
    let mut answers: Vec<Vec<u8>> = pieces(data).map(<[u8]>::to_vec).collect();
    answers.reverse();
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner) = answers;
}

fuzz_target!(|data: &[u8]| {
    let patience = Duration::from_secs(5);
    let retry = Retry {
        attempts: 1,
        first_wait: Duration::ZERO,
        longest_wait: Duration::ZERO,
        silence: patience,
        answer: patience,
    };
    let cache = FOLDER.path().join("cache");
    let (endpoint, proxy) = ("http://hub.example".to_owned(), Some(PROXY.clone()));
    let options = HubOptions { endpoint, proxy, retry, ..HubOptions::with_cache(cache.clone()) };
    says(data);
    let spec = DatasetSpec::parse("dataset:o/n").expect("a data set").expect("a name");
    for file in list_dataset(&spec, &options, &Silent).iter().flatten().take(FETCHED) {
        let _ = fetch_dataset_file(file, &options, &Silent);
    }
    says(data);
    let _ = fetch_config("o/n", None, &options, &Silent);
    let _ = fs::remove_dir_all(cache);
});
