//! How far and how long the detections look.

use crate::time::Timestamp;

const SECOND: i64 = 1_000_000_000;

/// Windows and counts of the detections that look at several records. Times are in nanoseconds of the traffic's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Targets on which one source activates classes, from which on it is told.
    pub fanout_targets: usize,
    /// Within this time.
    pub fanout_window: i64,
    /// Classes that one source activates on one target, from which on it is told.
    pub scan_classes: usize,
    /// Within this time.
    pub scan_window: i64,
    /// Targets whose OXID resolver one source asks for its names, from which on it is told.
    pub sweep_targets: usize,
    /// Within this time.
    pub sweep_window: i64,
    /// Entries of the endpoint mapper given to one source, from which on it is told.
    pub lookup_towers: usize,
    /// How long after an activation a call on its object may come.
    pub no_call_patience: i64,
    /// How far apart an activation and what goes with it may be: a share, the registry, a connection back.
    pub pairing_window: i64,
    /// How long after a sealed activation its object may be called, and between two calls.
    pub sealed_patience: i64,
    /// How long the same observation about the same pair is not told again.
    pub quiet: i64,
    /// Sources, targets or pairs remembered by each detection.
    pub remembered: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fanout_targets: 5,
            fanout_window: 300 * SECOND,
            scan_classes: 5,
            scan_window: 60 * SECOND,
            sweep_targets: 10,
            sweep_window: 60 * SECOND,
            lookup_towers: 5,
            no_call_patience: 30 * SECOND,
            pairing_window: 60 * SECOND,
            sealed_patience: 600 * SECOND,
            quiet: 3600 * SECOND,
            remembered: 16_384,
        }
    }
}

/// Is `then` within so much of `now`, before or behind it?
pub(super) fn is_near(then: Timestamp, now: Timestamp, window: i64) -> bool {
    now.since(then).abs() <= window
}
