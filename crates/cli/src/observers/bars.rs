//! Progress as bars on a terminal.

use super::front;
use super::rate::{Rate, figures_text};
use crate::terminal::{say, visible};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use untangle_schema::Event;

const TEMPLATE: &str = "{prefix:>9} {bar:32} {percent:>3}%  {msg}";

/// The plot of a grid is drawn anew at most this often.
const PLOTTED_EVERY: Duration = Duration::from_millis(500);

/// One bar for the running task; notes and warnings are printed above it, the plot of a grid below.
#[derive(Debug, Default)]
pub(super) struct Bars {
    running: Mutex<Option<(ProgressBar, Rate)>>,
    plotted: Mutex<Option<Instant>>,
}

impl Bars {
    pub(super) fn event(&self, event: Event<'_>) {
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match event {
            Event::Started { task, unit, done, total } => {
                let bar = ProgressBar::new(total)
                    .with_style(style())
                    .with_prefix(visible(task).into_owned())
                    .with_position(done);
                *running = Some((bar, Rate::new(unit, done, total)));
            }
            Event::Advanced { done, figures } => {
                if let Some((bar, rate)) = running.as_ref() {
                    bar.set_position(done);
                    bar.set_message(format!("{}  {}", rate.describe(done), figures_text(figures)));
                }
            }
            Event::Compared { done, points } => {
                let mut plotted = self.plotted.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let due = plotted.is_none_or(|at| at.elapsed() >= PLOTTED_EVERY);
                if let Some((bar, rate)) = running.as_ref() {
                    bar.set_position(done);
                    if due {
                        bar.set_message(format!("{}{}", rate.describe(done), front::plot(points)));
                        *plotted = Some(Instant::now());
                    }
                }
            }
            Event::Finished => {
                if let Some((bar, rate)) = running.take() {
                    let message = rate.conclude(bar.position());
                    bar.finish_with_message(message);
                }
            }
            Event::Note(text) => above(running.as_ref(), text),
            Event::Warning(text) => above(running.as_ref(), &format!("warning: {text}")),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn above(running: Option<&(ProgressBar, Rate)>, text: &str) {
    match running {
        Some((bar, _)) => bar.suspend(|| say(text)),
        None => say(text),
    }
}
