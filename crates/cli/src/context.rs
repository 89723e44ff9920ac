//! What every command gets: progress, results, threads and the device.

use crate::args::GlobalArgs;
use crate::device::{self, DeviceChoice};
use crate::observers::{Interrupt, Progress};
use crate::output::Output;
use anyhow::Context as _;
use std::thread::available_parallelism;
use untangle_model::{HubError, HubOptions};

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
        let threads = global.threads.map_or_else(available, |n| n.get());
        give_this_thread(threads);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("while starting threads")?;
        Ok(Context {
            progress: Progress::new(global.quiet, interrupt),
            output: Output::new(global.json),
            threads,
            offline: global.offline,
        })
    }

    /// How the hub is reached: what the environment says, as for Python's tools.
    pub(crate) fn hub(&self) -> Result<HubOptions, HubError> {
        let options = HubOptions::from_environment(|name| std::env::var_os(name))?;
        Ok(HubOptions { offline: options.offline || self.offline, ..options })
    }

    /// The device that `choice` names. To be called before the first tensor call.
    pub(crate) fn device(&self, choice: DeviceChoice) -> tch::Device {
        device::resolve(choice, &self.progress)
    }
}

/// Sets how many threads libtorch uses for a product on the calling thread, and makes the setting this thread's own.
///
/// Workers of the pool set theirs to one, which also becomes the process' default; a thread takes the default over at
/// its first use of libtorch's threads, whatever it has set before. Asking for the number is such a use.
fn give_this_thread(threads: usize) {
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    let _ = tch::get_num_threads();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_worker_that_asks_for_one_thread_leaves_this_one_its_own() {
        let seen = thread::spawn(|| {
            give_this_thread(2);
            thread::spawn(|| tch::set_num_threads(1)).join().expect("no panic");
            tch::get_num_threads()
        });
        assert_eq!(seen.join().expect("no panic"), 2);
    }
}
