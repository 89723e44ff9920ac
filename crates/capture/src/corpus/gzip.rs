//! How are the members of a gzip file read, and what may stand behind the last one?
//!
//! A file may hold several members (RFC 1952, section 2.2). Zeros behind the last are the padding of tapes, block
//! devices and some object stores. Anything else there is an error, as it is to Python: a member with a damaged header
//! would look the same, and leaving it out would lose text without a word.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

/// How every member begins.
const MAGIC: u8 = 0x1f;

/// The text of all members.
pub(super) struct Members<R: BufRead> {
    /// None for a moment between two members, and behind the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(file: R) -> Self {
        Members { member: Some(GzDecoder::new(file)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let file = self.member.take().map(GzDecoder::into_inner);
            self.member = file.map(further).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// The member that follows, behind any padding; none at the end of the file.
fn further<R: BufRead>(mut file: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let ahead = file.fill_buf()?;
        if ahead.is_empty() {
            return Ok(None);
        }
        match ahead.iter().position(|byte| *byte != 0) {
            Some(zeros) if ahead[zeros] == MAGIC => {
                file.consume(zeros);
                return Ok(Some(GzDecoder::new(file)));
            }
            Some(_) => return Err(io::Error::other("something that is not gzip follows it")),
            None => {
                let zeros = ahead.len();
                file.consume(zeros);
            }
        }
    }
}
