//! What the outside asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::cli::RAN;

/// Flags that signals raise.
pub(super) struct Signals {
    /// Has it not begun to listen? Then nothing is lost if it ends at once.
    starting: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    count: Arc<AtomicBool>,
}

impl Signals {
    pub(super) fn listen() -> Result<Self> {
        let flag = |signals: &[i32]| {
            let flag = Arc::new(AtomicBool::new(false));
            for &signal in signals {
                signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot listen for signals")?;
            }
            anyhow::Ok(flag)
        };
        let starting = Arc::new(AtomicBool::new(true));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, RAN.into(), Arc::clone(&starting))
                .context("cannot listen for signals")?;
        }
        Ok(Self {
            starting,
            stop: flag(&[SIGTERM, SIGINT])?,
            reload: flag(&[SIGHUP])?,
            count: flag(&[SIGUSR1])?,
        })
    }

    /// From now on the loop looks whether it is to end.
    pub(super) fn begun(&self) {
        self.starting.store(false, Ordering::Relaxed);
    }

    /// Is it to end?
    pub(super) fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Was it asked, since the last time, to open logs anew and read its files again?
    pub(super) fn reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    /// Was it asked, since the last time, what it has counted?
    pub(super) fn count(&self) -> bool {
        self.count.swap(false, Ordering::Relaxed)
    }
}
