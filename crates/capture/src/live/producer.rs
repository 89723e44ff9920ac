//! How are windows computed while others are served?

use crate::error::CaptureError;
use crate::live::deal::{Epoch, WindowId};
use crate::live::text::LiveText;
use crate::live::window::{Signals, Window};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use untangle_model::LanguageModel;

struct Request {
    id: WindowId,
    epoch: Epoch,
    into: Window,
}

/// How often one who waits looks up.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A thread that has the model read, at most one window ahead. At most two windows exist: the one in use and the one on
/// its way.
#[derive(Debug)]
pub(crate) struct Producer {
    requests: Option<SyncSender<Request>>,
    answers: Receiver<Result<Window, CaptureError>>,
    pending: Option<WindowId>,
    spare: Window,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

impl Producer {
    pub(crate) fn start(text: Arc<LiveText>, model: LanguageModel) -> Self {
        let (requests, incoming) = sync_channel::<Request>(1);
        let (outgoing, answers) = sync_channel(1);
        let signals = Arc::new(Signals::default());
        let own = signals.clone();
        let thread = std::thread::spawn(move || {
            for Request { id, epoch, into } in incoming {
                let mut window = into;
                let computed = window.compute(&text, &model, &epoch, id, &own).map(|()| window);
                if outgoing.send(computed).is_err() {
                    break;
                }
            }
        });
        let (requests, thread) = (Some(requests), Some(thread));
        Producer { requests, answers, pending: None, spare: Window::default(), signals, thread }
    }

    /// Begins to compute a window, unless it is on its way already; gives back whether one of another number is, which
    /// has to be waited for first.
    pub(crate) fn request(&mut self, id: WindowId, epoch: Epoch) -> bool {
        if let Some(pending) = self.pending {
            return pending != id;
        }
        let into = std::mem::take(&mut self.spare);
        let sent = self.requests.as_ref().is_some_and(|requests| requests.send(Request { id, epoch, into }).is_ok());
        // Where the thread is gone, waiting for the window says so.
        self.pending = Some(id);
        debug_assert!(sent || self.thread.is_some());
        false
    }

    /// Waits for the window on its way. `look_up` is called from time to time with the rows that have passed and those
    /// that will have; where it returns true the wait ends without a window, which stays on its way.
    pub(crate) fn wait(&mut self, mut look_up: impl FnMut(u64, u64) -> bool) -> Waited {
        loop {
            match self.answers.recv_timeout(LOOK_UP) {
                Ok(answer) => {
                    self.pending = None;
                    return Waited::Window(Box::new(answer));
                }
                Err(RecvTimeoutError::Disconnected) => return Waited::Gone,
                Err(RecvTimeoutError::Timeout) => {
                    let [passed, wanted] = [&self.signals.passed, &self.signals.wanted];
                    if look_up(passed.load(Ordering::Relaxed), wanted.load(Ordering::Relaxed)) {
                        return Waited::GaveUp;
                    }
                }
            }
        }
    }

    /// Takes the memory of a window that is no longer needed.
    pub(crate) fn recycle(&mut self, window: Window) {
        self.spare = window;
    }
}

/// How a wait ended.
pub(crate) enum Waited {
    /// With a window, or with what went wrong.
    Window(Box<Result<Window, CaptureError>>),
    /// The one who waited gave up.
    GaveUp,
    /// The thread ended without an answer: it has panicked.
    Gone,
}

impl Drop for Producer {
    fn drop(&mut self) {
        // The thread ends after the pass at hand, when no request can come any more and nobody waits for its answer.
        self.signals.stop.store(true, Ordering::Relaxed);
        self.requests = None;
        while self.answers.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its absence.
            let _ = thread.join();
        }
    }
}
