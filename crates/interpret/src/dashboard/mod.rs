//! A dictionary as a folder of pages: every feature with its examples, histograms, effects, neighbours and labels. It opens
//! from disk, in any browser, without a server.
//!
//! | file | holds |
//! |---|---|
//! | `index.html` | the page; it is what people open |
//! | `assets/` | styles and scripts |
//! | `data/run.js` | how the database was made, and what is known of the dictionary as a whole |
//! | `data/index-NNNN.js` | [`INDEX_SHARD`] lines of the list each: label, score, density, largest activation, raised tokens |
//! | `data/features-NNNNN.js` | [`FEATURE_SHARD`] features each, in the form of [`crate::page::compact`], loaded when wanted |
//! | `dashboard.json` | that this is a dashboard, of how many features |
//!
//! Data are scripts that call `untangle.load`: a browser lets a page from disk run scripts beside it, but not read files.

mod files;
mod overview;
mod place;
mod shards;

use crate::database::Database;
use crate::error::InterpretError;
use crate::page::{PARTS, PARTS_STYLE};
use crate::progress::Progress;
pub use files::DASHBOARD;
pub(crate) use files::names;
use files::{ASSETS, Record, is_part};
use overview::Overview;
use place::Place;
pub use place::{FEATURE_SHARD, INDEX_SHARD};
use serde::Serialize;
use shards::Shards;
use std::path::{Path, PathBuf};
use untangle_schema::html::LOOK;
use untangle_schema::{Observer, TOOL_VERSION, Unit};
use untangle_store::PartialFolder;

/// Features that the page begins with.
const BEST: usize = 12;

const PAGE: &str = include_str!("assets/index.html");
const STYLE: &str = include_str!("assets/dashboard.css");
const DATA: &str = include_str!("assets/data.js");
const LIST: &str = include_str!("assets/list.js");
const APP: &str = include_str!("assets/dashboard.js");

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DashboardReport {
    /// The page to open.
    pub page: PathBuf,
    /// Features.
    pub features: usize,
    /// Files of data.
    pub files: usize,
    /// Bytes of the list.
    pub index_bytes: u64,
    /// Bytes of the features.
    pub feature_bytes: u64,
}

/// Writes the dashboard of `database` to the folder `out`; a finished one is replaced where `force` is set.
///
/// # Errors
/// When the database is damaged, `out` holds anything but a finished dashboard, or the disk refuses; nothing is then left.
pub fn dashboard(
    database: &Database,
    out: &Path,
    force: bool,
    observer: &dyn Observer,
) -> Result<DashboardReport, InterpretError> {
    let folder = PartialFolder::claim(out, DASHBOARD, is_part, force)?;
    let place = Place::new(folder.data());
    let n = database.n_features()?;
    let mut progress = Progress::start(observer, "dashboard", Unit::Examples, n as u64);
    let (mut overview, mut shards) = (Overview::default(), Shards::new(&place, n));
    for feature in 0..n {
        let card = database.card(feature)?;
        overview.add(&card);
        shards.add(&card)?;
        if (feature + 1) % FEATURE_SHARD == 0 || feature + 1 == n {
            progress.advance(((feature % FEATURE_SHARD) + 1) as u64)?;
        }
    }
    let written = shards.written();
    let about = overview.describe(&database.run()?, &database.most_interpretable(BEST)?);
    place.write("data/run.js", &format!("untangle.load('run', 0, {about});\n"))?;
    let style = [LOOK, PARTS_STYLE, STYLE].concat();
    for (name, content) in ASSETS.into_iter().zip([&style, PARTS, DATA, LIST, APP]) {
        place.write(name, content)?;
    }
    place.write("index.html", PAGE)?;
    place.write(files::RECORD, &Record::of(n, TOOL_VERSION).text())?;
    progress.finish();
    let out = folder.finish()?;
    Ok(DashboardReport {
        page: out.join("index.html"),
        features: n,
        files: written.files + 1,
        index_bytes: written.index_bytes,
        feature_bytes: written.feature_bytes,
    })
}
