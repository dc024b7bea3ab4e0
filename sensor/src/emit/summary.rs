//! The line at the end.

use std::fmt;
use std::time::Duration;

use crate::event::record::Interval;
use crate::extract::Extracted;
use crate::keys::KeyCounters;
use crate::severity::BySeverity;

/// What a run came to. Prints as one line that can be read aloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Frames read.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// From the first frame to the last.
    pub capture: Interval,
    /// How long it took to read them.
    pub elapsed: Duration,
    /// TCP connections.
    pub connections: u64,
    /// Those that spoke DCE/RPC.
    pub rpc_connections: u64,
    /// Pairs of UDP ends that spoke DCE/RPC.
    pub conversations: u64,
    /// Remote activations.
    pub activations: u64,
    /// Alerts by severity.
    pub alerts: BySeverity,
    /// Those that are milder than the table shows.
    pub not_shown: u64,
    /// Alerts that allow-lists, suppressions and thresholds kept back.
    pub suppressed: u64,
    /// Bytes that RPC connections carried and the capture lacks.
    pub bytes_missing: u64,
    /// Dynamic ports that replies named.
    pub endpoints_expected: u64,
    /// Those to which a connection was seen.
    pub endpoints_realized: u64,
    /// What keys opened, if there were any.
    pub keys: Option<KeyCounters>,
    /// How many alerts host logs confirm, contradict and do not show, if there were any logs.
    pub hosts: Option<[u64; 3]>,
    /// Inputs that could not be read, or not to their end.
    pub unreadable_inputs: u64,
    /// Host logs of another time than the captures.
    pub refused_logs: u64,
    /// What packets were written of alerts, if that was asked for.
    pub extracted: Option<Extracted>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {} of capture, read in {} ({}): {} of {}, {}, {}{}{}",
            counted(self.packets, "packet", "packets"),
            length(self.capture),
            brief(self.elapsed),
            rate(self.bytes, self.elapsed),
            counted(self.rpc_connections, "RPC connection", "RPC connections"),
            self.connections,
            counted(self.activations, "activation", "activations"),
            counted(self.alerts.total(), "alert", "alerts"),
            self.alerts,
            NotShown(self.not_shown),
        )?;
        if self.suppressed > 0 {
            write!(f, ", {} suppressed", counted(self.suppressed, "alert", "alerts"))?;
        }
        if self.endpoints_expected > 0 {
            let expected = counted(self.endpoints_expected, "dynamic port", "dynamic ports");
            write!(f, ", {} of {expected} followed", self.endpoints_realized)?;
        }
        if self.conversations > 0 {
            let pairs = counted(self.conversations, "RPC conversation", "RPC conversations");
            write!(f, ", {pairs} over UDP")?;
        }
        match self.bytes_missing {
            0 => write!(f, ", no bytes missing")?,
            missing => write!(f, ", {} missing", counted(missing, "byte", "bytes"))?,
        }
        if let Some(keys) = self.keys {
            let sealed = counted(keys.sealed, "sealed PDU", "sealed PDUs");
            let signed = counted(keys.signed, "signed PDU", "signed PDUs");
            write!(
                f,
                ", {} of {sealed} opened, {} of {signed} verified",
                keys.opened, keys.verified
            )?;
            if keys.bad > 0 {
                write!(f, " ({} bad)", keys.bad)?;
            }
            if keys.mismatches > 0 {
                let logins = counted(keys.mismatches, "login", "logins");
                write!(f, ", {logins} not by the key given")?;
            }
        }
        if let Some([confirmed, contradicted, not_seen]) = self.hosts {
            write!(
                f,
                ", host logs: {confirmed} confirmed, {contradicted} contradicted, {not_seen} not seen"
            )?;
        }
        if self.unreadable_inputs > 0 {
            let inputs = counted(self.unreadable_inputs, "input", "inputs");
            write!(f, ", {inputs} unreadable")?;
        }
        if self.refused_logs > 0 {
            let logs = counted(self.refused_logs, "host log", "host logs");
            write!(f, ", {logs} refused")?;
        }
        match &self.extracted {
            Some(extracted) => write!(f, ", {extracted}"),
            None => Ok(()),
        }
    }
}

/// How many of those that are counted are milder than was asked for.
pub(crate) struct NotShown(pub(crate) u64);

impl fmt::Display for NotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            some => write!(f, ", {some} of them milder and not shown"),
        }
    }
}

/// A number with its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Whole seconds from ten on: nobody reads more.
fn length(interval: Interval) -> String {
    let milliseconds = (interval.0 / 1_000_000).unsigned_abs();
    match milliseconds {
        10_000.. => format!("{} s", (milliseconds + 500) / 1_000),
        _ => format!("{}.{:02} s", milliseconds / 1_000, milliseconds % 1_000 / 10),
    }
}

fn brief(elapsed: Duration) -> String {
    length(Interval(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)))
}

pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    // A run shorter than a microsecond is not measured by this clock.
    let microseconds = elapsed.as_micros().max(1);
    let kilobits = u128::from(bytes) * 8_000 / microseconds;
    match kilobits {
        10_000_000.. => format!("{} Gbit/s", kilobits / 1_000_000),
        1_000_000.. => format!("{}.{} Gbit/s", kilobits / 1_000_000, kilobits % 1_000_000 / 100_000),
        1_000.. => format!("{} Mbit/s", kilobits / 1_000),
        _ => format!("{kilobits} kbit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::severity::Severity;

    #[test]
    fn the_summary_can_be_read_aloud() {
        let mut summary = Summary {
            packets: 324,
            bytes: 38_750,
            capture: Interval(115_990_000_000),
            elapsed: Duration::from_millis(10),
            connections: 12,
            rpc_connections: 3,
            activations: 1,
            ..Summary::default()
        };
        assert_eq!(
            summary.to_string(),
            "324 packets in 116 s of capture, read in 0.01 s (31 Mbit/s): 3 RPC connections of 12, 1 activation, \
             0 alerts, no bytes missing"
        );
        summary.alerts.count(Severity::High);
        summary.alerts.count(Severity::Critical);
        summary.alerts.count(Severity::High);
        summary.not_shown = 2;
        summary.suppressed = 2;
        summary.endpoints_expected = 1;
        summary.endpoints_realized = 1;
        summary.bytes_missing = 1;
        summary.unreadable_inputs = 2;
        summary.refused_logs = 1;
        assert!(summary.to_string().ends_with(
            "3 alerts (1 critical, 2 high), 2 of them milder and not shown, 2 alerts suppressed, 1 of 1 dynamic port followed, \
             1 byte missing, 2 inputs unreadable, 1 host log refused"
        ));
    }

    #[test]
    fn a_run_too_short_to_measure_still_has_a_summary() {
        assert!(
            Summary {
                bytes: u64::MAX,
                ..Summary::default()
            }
            .to_string()
            .contains("read in 0.00 s")
        );
    }
}
