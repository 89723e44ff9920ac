//! What every command gets: progress, results, threads and the device.

use crate::args::GlobalArgs;
use crate::device::{self, DeviceChoice};
use crate::observers::{Interrupt, Progress};
use crate::output::Output;
use anyhow::Context as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;
use untangle_interpret::{Database, InterpretError};
use untangle_model::threads::give_this_thread;
use untangle_model::{HubError, HubOptions};
use untangle_sources::Surroundings;

/// The surroundings of a command.
pub(crate) struct Context {
    /// Shows progress on stderr and says when to stop.
    pub(crate) progress: Progress,
    /// Prints results on stdout.
    pub(crate) output: Output,
    /// Threads to compute with.
    pub(crate) threads: usize,
    /// Whether no hub is asked.
    offline: bool,
}

impl Context {
    /// Catches signals, starts the threads that work on rows and features, and sets up the display.
    pub(crate) fn new(global: &GlobalArgs) -> anyhow::Result<Self> {
        let interrupt = Interrupt::install().context("while setting up signal handlers")?;
        let available = || available_parallelism().map_or(1, |n| n.get());
        let (asked, most) = (global.threads.map(NonZeroUsize::get), available());
        let threads = asked.unwrap_or(most).min(most);
        give_this_thread(threads);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("while starting threads")?;
        let progress = Progress::new(global.quiet, interrupt);
        if let Some(asked) = asked.filter(|asked| *asked > most) {
            progress.warning(&format!(
                "--threads {asked}: this machine offers {most}, more would wait for each other; {most} compute"
            ));
        }
        Ok(Context { progress, output: Output::new(global.json), threads, offline: global.offline })
    }

    /// What finding models, texts and dictionaries needs.
    pub(crate) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings { offline: self.offline, observer: &self.progress }
    }

    /// Whether no hub is asked.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline
    }

    /// How the hub is reached.
    pub(crate) fn hub(&self) -> Result<HubOptions, HubError> {
        self.surroundings().hub()
    }

    /// A feature database; reading it ends where a signal arrives.
    pub(crate) fn database(&self, path: &Path) -> Result<Database, InterpretError> {
        Database::open_until(path, self.progress.stop())
    }

    /// The device that `choice` names. To be called before the first tensor call.
    pub(crate) fn device(&self, choice: DeviceChoice) -> tch::Device {
        device::resolve(choice, &self.progress)
    }
}
