//! SIGINT and SIGTERM ask a run to stop after the batches under way; a second one ends the program at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Makes a write beyond a file-size limit an error that names the file; by default SIGXFSZ would end the program
/// without a word.
pub(crate) fn survive_file_size_limits() -> std::io::Result<()> {
    #[cfg(unix)]
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    Ok(())
}

/// The flag that the library watches, and which signal raised it.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    raised: Arc<AtomicBool>,
    at_once: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

/// A signal ended the work; the user has been told.
#[derive(Debug, thiserror::Error)]
#[error("stopped by signal {0}")]
pub(crate) struct Stopped(pub i32);

/// The handlers of this program: who asks again, after a model was made on the way, gets the same ones.
static INSTALLED: Mutex<Option<Stop>> = Mutex::new(None);

impl Stop {
    /// Installs the handlers.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = &*installed {
            stop.at_once.store(false, Ordering::Relaxed);
            return Ok(stop.clone());
        }
        let stop = Self::install()?;
        *installed = Some(stop.clone());
        Ok(stop)
    }

    fn install() -> std::io::Result<Self> {
        let stop = Self { raised: Arc::default(), at_once: Arc::default(), signal: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag raised by the first.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop.at_once))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.at_once))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&stop.signal), signal as usize)?;
            signal_hook::flag::register(signal, Arc::clone(&stop.raised))?;
        }
        Ok(stop)
    }

    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.raised
    }

    /// The next signal ends the program without asking anybody.
    pub(crate) fn end_at_once(&self) {
        self.at_once.store(true, Ordering::Relaxed);
    }

    /// The signal that asked for the stop, if one did.
    pub(crate) fn signal(&self) -> Option<i32> {
        let signal = self.signal.load(Ordering::Relaxed);
        self.raised.load(Ordering::Relaxed).then_some(i32::try_from(signal).unwrap_or(SIGINT))
    }
}
