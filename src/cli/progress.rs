//! Progress on a terminal; nothing where standard error is not one.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A progress line that vanishes when it is dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A line that counts `unit`s.
    pub fn new(unit: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{spinner} {pos}/{len} {msg} {wide_bar} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(unit);
        Self { bar }
    }

    /// A line that says what is being waited for.
    pub fn waiting() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// `done` of `all`.
    pub fn at(&self, done: usize, all: usize) {
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
    }

    /// What is being waited for.
    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
