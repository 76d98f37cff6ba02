//! SIGINT (Ctrl-C) and SIGTERM: the first asks to stop, a second one stops at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::output;

/// Both of them.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// A program was asked to stop by a signal, and left a state from which it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped by signal {0}")]
pub struct Stopped(pub i32);

/// Whether work that can be gone on with should stop.
///
/// Without one, a signal ends the program at once. So it is made where such work begins.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Which signal came, or 0.
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Listens from here to the program's end.
    ///
    /// The first signal only sets a flag. A second one ends the program at once, with status 130
    /// (SIGINT) or 143 (SIGTERM).
    ///
    /// # Errors
    /// Those of the system.
    pub fn listen() -> io::Result<Self> {
        let (came, signal) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for number in SIGNALS {
            // In this order: a signal that finds the flag set ends the program; then it is set.
            flag::register_conditional_shutdown(number, status(number).into(), Arc::clone(&came))?;
            flag::register(number, Arc::clone(&came))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self { signal })
    }

    /// Returns whether a signal asked to stop, or standard output cannot be written to any more.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.signal().is_some() || output::failed()
    }

    /// Returns the signal that asked to stop.
    #[must_use]
    pub fn signal(&self) -> Option<Stopped> {
        let number = self.signal.load(Ordering::SeqCst);
        i32::try_from(number).ok().filter(|&number| number != 0).map(Stopped)
    }
}

/// Returns the exit status of a program that a signal ends, as shells count it.
#[must_use]
pub fn status(signal: i32) -> u8 {
    u8::try_from(signal).map_or(1, |signal| signal.saturating_add(128))
}

/// Ends the program at the first signal, after `clean_up`.
///
/// # Errors
/// Those of the system.
pub fn end_after(clean_up: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new(SIGNALS)?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            clean_up();
            std::process::exit(status(signal).into());
        }
    });
    Ok(())
}
