//! What kind of failure an error is.

/// Kinds of failure; the command line gives each its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request contradicts itself or asks for something that does not exist.
    Usage,
    /// A file or value that was given is wrong.
    BadInput,
    /// Reading or writing failed, or another process holds the output.
    Io,
    /// The user asked to stop; what was done so far is kept.
    Interrupted,
    /// A defect of the program.
    Internal,
}

impl Fault {
    /// What kind of failure it is that a file could not be read or written. A name that leads to no file is a wrong value; everything
    /// else is the system's.
    pub fn of_file(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        match error.kind() {
            E::NotFound | E::IsADirectory | E::NotADirectory | E::InvalidFilename => Fault::BadInput,
            _ => Fault::Io,
        }
    }
}

/// Implemented by the error type of every crate.
pub trait Classify {
    /// The kind of failure.
    fn fault(&self) -> Fault;
}
