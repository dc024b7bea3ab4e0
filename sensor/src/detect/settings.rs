//! How far and how long the detections look.

use crate::config::DetectSettings;
use crate::limits::Limits;
use crate::time::Timestamp;

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
        Self::from(&DetectSettings::default())
    }
}

impl From<&DetectSettings> for Settings {
    fn from(set: &DetectSettings) -> Self {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            fanout_targets: count(set.fanout_targets),
            fanout_window: set.fanout_window.nanoseconds(),
            scan_classes: count(set.scan_classes),
            scan_window: set.scan_window.nanoseconds(),
            sweep_targets: count(set.sweep_targets),
            sweep_window: set.sweep_window.nanoseconds(),
            lookup_towers: count(set.lookup_towers),
            no_call_patience: set.no_call_patience.nanoseconds(),
            pairing_window: set.pairing_window.nanoseconds(),
            sealed_patience: set.sealed_patience.nanoseconds(),
            quiet: set.quiet.nanoseconds(),
            remembered: Limits::default().remembered,
        }
    }
}

/// Is `then` within so much of `now`, before or behind it?
pub(super) fn is_near(then: Timestamp, now: Timestamp, window: i64) -> bool {
    now.since(then).abs() <= window
}
