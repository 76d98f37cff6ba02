//! Progress bars with the time that is left.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` units with a rate and the time left.
#[must_use]
pub fn bar(what: &str, total: u64, unit: &str) -> ProgressBar {
    let template =
        format!("{what:<22} [{{bar:30}}] {{pos}}/{{len}} {unit} {{per_sec}} {{msg}} eta {{eta}}");
    // The template is ours: a mistake in it falls back to the default style.
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(total).with_style(style)
}

/// Shows the stages of the encoder, a bar each.
pub fn encoder_bars() -> impl Fn(fhe_data::Progress) + Sync {
    let state = std::sync::Mutex::new(None::<(&'static str, ProgressBar)>);
    move |p| {
        let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.as_ref().is_none_or(|(stage, _)| *stage != p.stage) {
            *state = Some((p.stage, bar(p.stage, p.total, "")));
        }
        if let Some((_, bar)) = state.as_ref() {
            bar.set_position(p.done);
            if p.done >= p.total {
                bar.finish();
            }
        }
    }
}
