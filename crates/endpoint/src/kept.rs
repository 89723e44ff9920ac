//! Which answers are there already, from this run and from earlier ones?
//!
//! ```text
//! {"untangle_answers":1}
//! {"key":"SHA-256 of the request","sum":"of key and reply","reply":{…}}
//! ```
//!
//! Every answer is a line that is written when it comes, so that a run that is killed keeps all that it has paid for. A
//! line that was not finished is cut off; one that does not fit its sum is passed over and counted.

use crate::error::EndpointError;
use crate::reply::Reply;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// The first line of the file.
const HEAD: &str = "{\"untangle_answers\":1}\n";
/// Letters of a sum.
const SUM: usize = 16;

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    sum: String,
    reply: Reply,
}

/// The answers that there are.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    path: PathBuf,
    state: Mutex<State>,
    damaged: usize,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Reply>,
    file: Option<File>,
}

impl Kept {
    /// Answers of this run alone.
    pub(crate) fn nowhere() -> Self {
        Kept::default()
    }

    /// Those in a file, which is made where there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, EndpointError> {
        let not_ours = || EndpointError::NotAnswers { path: path.to_owned() };
        if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return Err(not_ours());
        }
        let io = EndpointError::io(path);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(&io)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => EndpointError::Taken { path: path.to_owned() },
            TryLockError::Error(error) => io(error),
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(&io)?;
        // A head that was not finished is one of ours, too.
        if HEAD.as_bytes().starts_with(&bytes) {
            bytes = HEAD.as_bytes().to_vec();
            file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&bytes)).map_err(&io)?;
        }
        if !bytes.starts_with(HEAD.as_bytes()) {
            return Err(not_ours());
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(&io)?;
        let (mut answers, mut damaged) = (HashMap::new(), 0);
        for line in bytes[HEAD.len()..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Line>(line) {
                Ok(line) if line.sum == sum(&line.key, &line.reply) => drop(answers.insert(line.key, line.reply)),
                _ => damaged += 1,
            }
        }
        Ok(Kept { path: path.to_owned(), state: Mutex::new(State { answers, file: Some(file) }), damaged })
    }

    /// Lines that could not be believed.
    pub(crate) fn damaged(&self) -> usize {
        self.damaged
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A map and a file that is only added to: what a thread that panicked left is whole.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The answer to a request, unless it ended at a lower limit of tokens than there is now.
    pub(crate) fn find(&self, key: &str, limit: u32) -> Option<Reply> {
        self.state().answers.get(key).filter(|reply| reply.cut_at.is_none_or(|cut| cut >= limit)).cloned()
    }

    /// Keeps no answer to a request any more.
    pub(crate) fn forget(&self, key: String) -> Result<(), EndpointError> {
        // One that ended before its first token answers nobody.
        self.put(key, Reply { cut_at: Some(0), ..Reply::default() })
    }

    /// Keeps an answer.
    pub(crate) fn put(&self, key: String, reply: Reply) -> Result<(), EndpointError> {
        let mut state = self.state();
        if let Some(file) = &mut state.file {
            let line = Line { sum: sum(&key, &reply), key: key.clone(), reply: reply.clone() };
            let text = serde_json::to_string(&line).map_err(|error| EndpointError::io(&self.path)(error.into()))?;
            // In one piece, so that a kill leaves at most the beginning of a line.
            file.write_all(format!("{text}\n").as_bytes()).map_err(EndpointError::io(&self.path))?;
        }
        state.answers.insert(key, reply);
        Ok(())
    }
}

fn sum(key: &str, reply: &Reply) -> String {
    let whole = serde_json::json!([key, reply]).to_string();
    let digest: String = Sha256::digest(whole).iter().map(|byte| format!("{byte:02x}")).collect();
    digest[..SUM].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn reply(text: &str) -> Reply {
        Reply { text: text.to_owned(), ..Reply::default() }
    }

    #[test]
    fn answers_outlive_a_kill_in_the_middle_of_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("answers");
        let text = |key: &str| Kept::open(&path).expect("a file").find(key, 9).map(|reply| reply.text);
        {
            let kept = Kept::open(&path).expect("a new file");
            kept.put("c".to_owned(), reply("sorry")).expect("written");
            kept.forget("c".to_owned()).expect("written");
            assert_eq!(kept.find("c", 9), None, "forgotten");
        }
        {
            let kept = Kept::open(&path).expect("a new file");
            kept.put("a".to_owned(), reply("first\nline\u{1b}")).expect("written");
            kept.put("b".to_owned(), reply("second")).expect("written");
            assert!(matches!(Kept::open(&path), Err(EndpointError::Taken { .. })));
        }
        assert_eq!(
            (text("a"), text("b"), text("c")),
            (Some("first\nline\u{1b}".to_owned()), Some("second".into()), None)
        );
        let whole = fs::read(&path).expect("read");
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).expect("cut");
            let kept = Kept::open(&path).unwrap_or_else(|error| panic!("{end}: {error}"));
            assert_eq!(kept.damaged(), 0, "{end}");
            kept.put("c".to_owned(), reply("third")).expect("written");
            drop(kept);
            assert_eq!(text("c"), Some("third".to_owned()), "{end}");
        }
    }

    #[test]
    fn what_was_changed_is_not_believed_and_what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("answers");
        Kept::open(&path).expect("new").put("a".to_owned(), reply("dog")).expect("written");
        let changed = fs::read_to_string(&path).expect("read").replace("dog", "cat") + "no JSON\n";
        fs::write(&path, changed).expect("written");
        let kept = Kept::open(&path).expect("a file");
        assert_eq!((kept.damaged(), kept.find("a", 9)), (2, None));
        let other = folder.path().join("notes.txt");
        fs::write(&other, "my notes\n").expect("written");
        assert!(matches!(Kept::open(&other), Err(EndpointError::NotAnswers { .. })));
        assert_eq!(fs::read_to_string(&other).expect("read"), "my notes\n");
        assert!(matches!(Kept::open(folder.path()), Err(EndpointError::NotAnswers { .. })));
    }

    #[test]
    fn an_answer_that_was_cut_counts_as_long_as_the_limit_is_no_higher() {
        let kept = Kept::nowhere();
        kept.put("a".to_owned(), Reply { cut_at: Some(100), ..reply("half") }).expect("kept");
        assert!(kept.find("a", 100).is_some() && kept.find("a", 101).is_none());
    }
}
