//! Progress with the time that is left: a bar on a terminal; elsewhere, such as in a log, a line at
//! the start, about every 30 seconds and at the end. All of it goes to stderr.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, ProgressBar, ProgressStyle};

/// Time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// The progress of one job.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    /// Without a terminal: what to print instead.
    lines: Option<Lines>,
}

/// A bar over `total` units with a rate and the time left.
#[must_use]
pub fn bar(what: &str, total: u64, unit: &str) -> Bar {
    bar_from(what, 0, total, unit)
}

/// A bar of a job that goes on at `first`.
#[must_use]
pub fn bar_from(what: &str, first: u64, total: u64, unit: &str) -> Bar {
    let template =
        format!("{what:<22} [{{bar:30}}] {{pos}}/{{len}} {unit} {{per_sec}} {{msg}} eta {{eta}}");
    // The template is ours: a mistake in it falls back to the default style.
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let bar = ProgressBar::new(total).with_style(style).with_position(first);
    bar.reset_eta();
    let lines = (!std::io::stderr().is_terminal()).then(|| Lines::start(what, first, total, unit));
    Bar { bar, lines }
}

impl Bar {
    /// Moves to `position`.
    pub fn set_position(&self, position: u64) {
        self.bar.set_position(position);
        if let Some(lines) = &self.lines {
            lines.show_if_due(position, &self.bar.message());
        }
    }

    /// Moves on by `units`.
    pub fn inc(&self, units: u64) {
        self.set_position(self.bar.position() + units);
    }

    /// Shows the bar as it stands.
    pub fn tick(&self) {
        self.bar.tick();
    }

    /// Shows a text of the job's own beside the rate.
    pub fn set_message(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Ends where the job stands.
    pub fn finish(&self) {
        if !self.bar.is_finished() {
            self.bar.abandon();
            if let Some(lines) = &self.lines {
                lines.show(self.bar.position(), &self.bar.message());
            }
        }
    }
}

/// Lines of text in place of a bar.
#[derive(Debug)]
struct Lines {
    what: String,
    first: u64,
    total: u64,
    unit: String,
    started: Instant,
    due: Mutex<Instant>,
}

impl Lines {
    fn start(what: &str, first: u64, total: u64, unit: &str) -> Self {
        eprintln!("{what}: {first}/{total} {unit}");
        let (what, unit, started) = (what.into(), unit.into(), Instant::now());
        Self { what, first, total, unit, started, due: Mutex::new(started + BETWEEN_LINES) }
    }

    fn show_if_due(&self, position: u64, message: &str) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= *due {
            *due = now + BETWEEN_LINES;
            self.show(position, message);
        }
    }

    fn show(&self, position: u64, message: &str) {
        let Self { what, total, unit, .. } = self;
        let elapsed = self.started.elapsed();
        let rate = position.saturating_sub(self.first) as f64 / elapsed.as_secs_f64().max(1e-9);
        let left = (total.saturating_sub(position) as f64 / rate.max(1e-9)).min(1e9);
        let (took, eta) =
            (FormattedDuration(elapsed), FormattedDuration(Duration::from_secs_f64(left)));
        eprintln!("{what}: {position}/{total} {unit} {rate:.2}/s {message} in {took}, eta {eta}");
    }
}

/// Shows stages one after another, a bar each.
pub fn stages(unit: &'static str) -> impl Fn(fhe_data::Progress) + Sync {
    let state = Mutex::new(None::<(&'static str, Bar)>);
    move |p| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.as_ref().is_none_or(|(stage, _)| *stage != p.stage) {
            *state = Some((p.stage, bar(p.stage, p.total, unit)));
        }
        if let Some((_, bar)) = state.as_ref() {
            bar.set_position(p.done);
            if p.total > 0 && p.done >= p.total {
                bar.finish();
            }
        }
    }
}
