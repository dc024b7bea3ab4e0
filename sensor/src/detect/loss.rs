//! Too much was lost for silence to mean anything.

use crate::event::Alert;
use crate::event::alert::{Action, Metadata};
use crate::severity::Severity;

/// The alert's number: it is about the sensor, and none of a detection's.
pub(super) const FRAMES_LOST_ID: u32 = 1_021_390;

/// So many frames were lost, of so many that there were.
pub(crate) fn doubtful(lost: u64, all: u64) -> Alert {
    let thousandths = lost.saturating_mul(1_000) / all.max(1);
    Alert {
        action: Action::Allowed,
        gid: 1,
        signature_id: FRAMES_LOST_ID,
        rev: 1,
        signature: "Sensor lost frames: what was not seen may have happened".into(),
        category: "Sensor Health".into(),
        severity: Severity::Medium,
        metadata: Metadata {
            confidence: vec!["high".into()],
            ..Metadata::default()
        },
        note: "DCOM::Frames_Lost".into(),
        message: format!(
            "{lost} of {all} frames were lost ({}.{} %) since the counters were last logged: activations and calls may have been missed",
            thousandths / 10,
            thousandths % 10
        ),
        dcom: None,
        dcerpc: None,
        host_event: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_much() {
        let alert = doubtful(25, 1_000);
        assert!(
            alert.message.starts_with("25 of 1000 frames were lost (2.5 %)"),
            "{}",
            alert.message
        );
        assert_eq!((alert.signature_id, alert.dcom), (1_021_390, None));
    }
}
