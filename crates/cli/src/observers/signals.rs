//! How SIGINT and SIGTERM reach the engine.

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of the second signal, which does not wait for the engine.
const INTERRUPTED: i32 = 130;

/// Set by the first signal; engines look at it between batches and save what they have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    requested: Arc<AtomicBool>,
    /// Whether a signal ends the process at once, because there is nothing yet that could be saved.
    at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// Catches SIGINT and SIGTERM from now on: the first asks, the second exits at once.
    pub(crate) fn install() -> io::Result<Self> {
        let (requested, at_once) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag unset here and sets it in the second handler.
            flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&at_once))?;
            flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&requested))?;
            flag::register(signal, Arc::clone(&requested))?;
        }
        // A file beyond the limit of the shell (`ulimit -f`) is then an error of writing, told and kept as any other,
        // instead of the end of the process.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(Interrupt { requested, at_once })
    }

    /// Whether a signal has arrived.
    pub(crate) fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Does work that no output depends on yet and that cannot be asked to stop, such as the reading of a tokenizer: a
    /// signal ends the process at once meanwhile. None where one has arrived before.
    pub(crate) fn with_nothing_to_save<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.at_once.store(true, Ordering::SeqCst);
        // Whoever was interrupted just before it does not wait for it either.
        let done = (!self.requested.load(Ordering::SeqCst)).then(work);
        self.at_once.store(false, Ordering::SeqCst);
        done
    }
}
