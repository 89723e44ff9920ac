//! What does the user mean by `FILE.h5:/dataset`, `FILE.npy`, `FILE.npz:key`, `FILE.safetensors:key`?

use crate::error::StoreError;
use std::path::{Path, PathBuf};
use untangle_schema::Fault;

/// How a file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hdf5,
    Npy,
    Npz,
    Safetensors,
}

/// A file, and perhaps something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    /// Dataset or key.
    pub(crate) object: Option<String>,
}

impl Place {
    /// Understands what the user wrote. A colon separates a dataset or key only after the name of a container file, so
    /// folders and keys may have colons of their own; a file of exactly this name comes first.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is no such file, [`StoreError::UnknownKind`] where its name says nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        let whole = Path::new(text);
        if whole.is_file() {
            return of_file(whole, None);
        }
        let cuts = text.match_indices(':').map(|(at, _)| (Path::new(&text[..at]), &text[at + 1..]));
        let mut containers = cuts.filter(|(path, object)| kind(path).is_some() && !object.is_empty());
        let first = containers.next();
        let existing = first.into_iter().chain(containers).find(|(path, _)| path.is_file());
        match existing.or(first) {
            Some((path, object)) if path.is_file() && kind(path) == Some(Kind::Npy) => Err(StoreError::Refused {
                path: path.to_owned(),
                problem: format!("is one array without a name: leave `:{object}` out, or give FILE.npz:KEY"),
                fault: Fault::BadInput,
            }),
            Some((path, object)) if path.is_file() => of_file(path, Some(object.to_owned())),
            Some((path, _)) => Err(StoreError::Missing { path: path.to_owned() }),
            None if whole.exists() => Err(StoreError::UnknownKind { path: whole.to_owned() }),
            None => Err(StoreError::Missing { path: whole.to_owned() }),
        }
    }
}

fn of_file(path: &Path, object: Option<String>) -> Result<Place, StoreError> {
    let kind = kind(path).ok_or_else(|| StoreError::UnknownKind { path: path.to_owned() })?;
    Ok(Place { path: path.to_owned(), kind, object })
}

fn kind(path: &Path) -> Option<Kind> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "h5" | "hdf5" | "he5" => Some(Kind::Hdf5),
        "npy" => Some(Kind::Npy),
        "npz" => Some(Kind::Npz),
        "safetensors" => Some(Kind::Safetensors),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_are_taken_as_the_user_means_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let odd = folder.path().join("run:3");
        std::fs::create_dir(&odd).expect("created");
        for name in ["x.h5", "y.safetensors", "z.npy", "n.npz", "w.h5:old.h5", "notes.txt"] {
            std::fs::write(odd.join(name), "").expect("written");
        }
        let at = |name: &str| format!("{}/{name}", odd.display());
        let check = |text: &str, file: &str, kind: Kind, object: Option<&str>| {
            let place = Place::parse(&at(text)).expect("understood");
            assert_eq!(place, Place { path: odd.join(file), kind, object: object.map(str::to_owned) });
        };
        check("x.h5", "x.h5", Kind::Hdf5, None);
        check("x.h5:/a/b", "x.h5", Kind::Hdf5, Some("/a/b"));
        check("y.safetensors:model:layer.1", "y.safetensors", Kind::Safetensors, Some("model:layer.1"));
        check("z.npy", "z.npy", Kind::Npy, None);
        check("w.h5:old.h5", "w.h5:old.h5", Kind::Hdf5, None);
        check("w.h5:old.h5:/a", "w.h5:old.h5", Kind::Hdf5, Some("/a"));
        let missing = |text: &str, path: &str| {
            let error = Place::parse(&at(text)).expect_err("absent");
            assert!(matches!(&error, StoreError::Missing { path: named } if *named == odd.join(path)), "{error}");
        };
        missing("absent.h5", "absent.h5");
        missing("absent.h5:/a", "absent.h5");
        missing("absent.npy:key", "absent.npy");
        let error = Place::parse(&at("z.npy:key")).expect_err("no archive").to_string();
        assert!(error.contains("is one array without a name: leave `:key` out"), "{error}");
        check("n.npz", "n.npz", Kind::Npz, None);
        check("n.npz:acts", "n.npz", Kind::Npz, Some("acts"));
        assert!(matches!(Place::parse(&at("notes.txt")), Err(StoreError::UnknownKind { .. })));
        assert!(matches!(Place::parse(&at("")), Err(StoreError::UnknownKind { .. })));
    }
}
