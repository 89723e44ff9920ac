//! What is a file of text: where does it lie, and what is it called?

use super::form::FileForm;
use crate::error::CaptureError;
use std::fs;
use std::path::{Path, PathBuf};
use untangle_model::hub::{DatasetFile, HubOptions, fetch_dataset_file};
use untangle_model::{HubError, ModelError};
use untangle_schema::Observer;

/// Where a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Location {
    Here(PathBuf),
    /// On a hub, or in its cache; fetched when reading comes to it.
    Hub(Box<(DatasetFile, HubOptions)>),
}

/// A file of text that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    location: Location,
    /// What artefacts call it; never a path of a machine.
    name: String,
    /// What messages call it.
    label: String,
    bytes: u64,
    form: FileForm,
}

impl TextFile {
    /// The file at `path`, called by its own name, whose ending says its form.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] where none is there or no text can be in it.
    pub fn at(path: &Path) -> Result<Self, CaptureError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let form = FileForm::of(&name).map_err(|problem| CaptureError::NotAFile { path: path.to_owned(), problem })?;
        Self::named(path, name, form)
    }

    /// The file at `path`, called `name` in artefacts.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] where none is there.
    pub fn named(path: &Path, name: String, form: FileForm) -> Result<Self, CaptureError> {
        let refuse = |problem| CaptureError::NotAFile { path: path.to_owned(), problem };
        let bytes = match fs::metadata(path) {
            Ok(about) if about.is_file() => about.len(),
            Ok(about) if about.is_dir() => return Err(refuse("this is a folder")),
            Ok(_) => return Err(refuse("not a regular file; save the text to a file first, or pipe it in as `-`")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(refuse("no such file")),
            Err(source) => return Err(CaptureError::io(path)(source)),
        };
        let label = path.display().to_string();
        Ok(TextFile { location: Location::Here(path.to_owned()), name, label, bytes, form })
    }

    /// A file of a hub's data set, which is fetched when reading comes to it.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] where its name is that of no text.
    pub fn of_hub(file: DatasetFile, options: HubOptions) -> Result<Self, CaptureError> {
        let name = file.name();
        let refuse = |problem| CaptureError::NotAFile { path: PathBuf::from(&name), problem };
        let (form, bytes, label) = (FileForm::of(&file.path).map_err(refuse)?, file.bytes, name.clone());
        Ok(TextFile { location: Location::Hub(Box::new((file, options))), name, label, bytes, form })
    }

    /// The same file, called otherwise in messages.
    pub fn labelled(self, label: &str) -> Self {
        TextFile { label: label.to_owned(), ..self }
    }

    /// What artefacts call it: its name, behind that of its folder where a folder was given, or its place on a hub.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its size when it was opened.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The form of its content.
    pub fn form(&self) -> FileForm {
        self.form
    }

    /// Whether it has to be fetched from somewhere.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self.location, Location::Hub(_))
    }

    /// Where it lies on this machine; one of a hub, once it is fetched.
    pub(crate) fn bring(&self, observer: &dyn Observer) -> Result<PathBuf, CaptureError> {
        match &self.location {
            Location::Here(path) => Ok(path.clone()),
            Location::Hub(at) => {
                let fetched = fetch_dataset_file(&at.0, &at.1, observer);
                fetched.map_err(|error: HubError| CaptureError::Model(ModelError::Hub(error)))
            }
        }
    }
}
