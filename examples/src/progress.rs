//! Progress with the time that is left.
//!
//! On a terminal it is a bar. Elsewhere, such as in a log, it is a line on standard error at the
//! start, about every 30 seconds and at the end. With `--json` it is an event at the start, at most
//! once a second and at the end. With `--quiet` there is none.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{self, Progress};

/// Time between two lines for people.
const BETWEEN_LINES: Duration = Duration::from_secs(30);
/// Time between two events for programs.
const BETWEEN_EVENTS: Duration = Duration::from_secs(1);

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
    let (manner, terminal) = (output::manner(), std::io::stderr().is_terminal());
    let bar = ProgressBar::with_draw_target(
        Some(total),
        if manner.json || manner.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        },
    );
    let bar = bar.with_style(style).with_position(first);
    bar.reset_eta();
    let in_lines = !manner.quiet && (manner.json || !terminal);
    let lines = in_lines.then(|| Lines::start(what, first, total, unit));
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
        let (what, unit, started) = (what.into(), unit.into(), Instant::now());
        let due = Mutex::new(started + between());
        let lines = Self { what, first, total, unit, started, due };
        if output::manner().json {
            lines.show(first, "");
        } else {
            let Self { what, unit, .. } = &lines;
            output::to_stderr(format_args!("{what}: {first}/{total} {unit}"));
        }
        lines
    }

    fn show_if_due(&self, position: u64, message: &str) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= *due {
            *due = now + between();
            self.show(position, message);
        }
    }

    fn show(&self, position: u64, message: &str) {
        let Self { what, total, unit, .. } = self;
        let elapsed = self.started.elapsed();
        let per_second =
            position.saturating_sub(self.first) as f64 / elapsed.as_secs_f64().max(1e-9);
        let seconds_left = (total.saturating_sub(position) as f64 / per_second.max(1e-9)).min(1e9);
        if output::manner().json {
            let (done, total) = (position, *total);
            let progress = Progress { what, done, total, unit, per_second, seconds_left, message };
            output::progress(&progress);
            return;
        }
        let took = FormattedDuration(elapsed);
        let left = FormattedDuration(Duration::from_secs_f64(seconds_left));
        output::to_stderr(format_args!(
            "{what}: {position}/{total} {unit} {per_second:.2}/s {message} in {took}, eta {left}"
        ));
    }
}

/// Returns the time between two lines.
fn between() -> Duration {
    if output::manner().json { BETWEEN_EVENTS } else { BETWEEN_LINES }
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
