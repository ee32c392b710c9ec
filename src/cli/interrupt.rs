//! Ctrl-C in work that can stop in between and keep what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Exit, Failure};

/// A flag that the first Ctrl-C sets, for work to look at between two steps; the second ends the program at once.
///
/// # Errors
///
/// The handler cannot be set.
pub(super) fn flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let handler = move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::usage(format!("cannot catch Ctrl-C: {error}")))?;
    Ok(stop)
}
