//! Progress as plain lines, for logs and pipes.

use super::front;
use super::rate::{Rate, figures_text};
use crate::terminal::say;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use untangle_schema::Event;

/// A line at most this often; warnings, notes, starts and ends are always shown.
const EVERY: Duration = Duration::from_secs(5);

/// Writes lines such as `train: 412 of 488 steps, 94.1 steps/s, 0.8 s left, fvu 0.0616`.
#[derive(Debug, Default)]
pub(super) struct Lines {
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    task: String,
    rate: Rate,
    done: u64,
    last_line: Instant,
}

impl Lines {
    pub(super) fn event(&self, event: Event<'_>) {
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match event {
            Event::Started { task, unit, done, total } => {
                let rate = Rate::new(unit, done, total);
                let how = if done > 0 { "continues at" } else { "begins" };
                let counts = if done > 0 { format!(" {}", rate.counts(done)) } else { format!(", {}", rate.counts(0)) };
                say(&format!("{task}: {how}{counts}"));
                *running = Some(Running { task: task.to_owned(), rate, done, last_line: Instant::now() });
            }
            Event::Advanced { done, figures } => {
                let Some(running) = running.as_mut() else { return };
                running.done = done;
                if running.last_line.elapsed() >= EVERY {
                    running.last_line = Instant::now();
                    say(&running.line(done, figures));
                }
            }
            Event::Compared { done, points } => {
                let Some(running) = running.as_mut() else { return };
                running.done = done;
                if running.last_line.elapsed() >= EVERY {
                    running.last_line = Instant::now();
                    say(&running.line(done, &[]));
                    say(&format!("{}: {}", running.task, front::line(points)));
                }
            }
            Event::Finished => {
                if let Some(running) = running.take() {
                    say(&format!("{}: done in {}", running.task, running.rate.conclude(running.done)));
                }
            }
            Event::Note(text) => say(&format!("note: {text}")),
            Event::Warning(text) => say(&format!("warning: {text}")),
        }
    }
}

impl Running {
    fn line(&self, done: u64, figures: &[(&str, f64)]) -> String {
        let parts = [self.rate.counts(done), self.rate.describe(done), figures_text(figures)];
        let shown: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{}: {}", self.task, shown.join(", "))
    }
}
