//! What was not visible, and why: of an incident, and of the whole.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::chain::Step;
use super::text::{Texts, counted, grouped, listed};

/// So many runs of the sensor are told apart, of each the part in each file.
const MAX_RUNS: usize = 4_096;
/// So many sorts of oddity.
const MAX_ODDITIES: usize = 64;

/// The counters that are summed up.
const COUNTERS: &[&str] = &[
    "capture/kernel_drops",
    "capture/kernel_ifdrops",
    "capture/kernel_packets",
    "dcom/activations",
    "dcom/alerts_suppressed",
    "dcom/decode/cut_by_snap_length",
    "dcom/decode/encrypted",
    "dcom/decode/unknown_link_type",
    "dcom/endpoints/expected",
    "dcom/endpoints/realized",
    "dcom/faults",
    "dcom/flow/acks",
    "dcom/flow/acks_of_unseen",
    "dcom/flow/bytes_missing",
    "dcom/flow/evicted_followed",
    "dcom/flow/rpc_connections",
    "dcom/fragments/incomplete",
    "dcom/rpc/damaged",
    "dcom/rpc/sealed",
    "dcom/rpc/unanswered",
    "dcom/sealed/failed",
    "dcom/sealed/opened",
    "dcom/sealed/pdus",
    "dcom/sealed_activations",
    "dcom/smb/compressed",
    "dcom/smb/encrypted",
    "decoder/invalid",
    "decoder/pkts",
    "tcp/midstream_pickups",
    "tcp/reassembly_gap",
];

/// A sentence on what was not seen, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Unseen {
    pub(super) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<&'static str>,
}

/// The counters of all runs, each as it was last.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// By the second in which the run began, as far as its records tell, and by file: two sensors may begin at once.
    runs: BTreeMap<(i64, u64), Run>,
    /// Which file is read.
    file: u64,
    /// Of all runs.
    sums: OnceCell<Counts>,
    oddities: BTreeMap<String, u64>,
}

type Counts = [u64; COUNTERS.len()];

/// What a file has of a run.
#[derive(Debug)]
struct Run {
    /// The shortest and the longest uptime.
    first: u64,
    last: u64,
    /// By the longest.
    counts: Counts,
}

impl Counters {
    /// What comes next is in another file.
    pub(super) fn next_file(&mut self) {
        self.file += 1;
    }

    /// A `stats` event. Counters only grow within a run: of each run the last one stands.
    pub(super) fn add(&mut self, event: &Value, at: i64) {
        // The sensor's own stand beside Suricata's; in older logs among them.
        let own = |place: &str| {
            place
                .starts_with("dcom/")
                .then(|| event.pointer(&format!("/{place}")))?
        };
        let number = |place: &str| {
            own(place)
                .or_else(|| event.pointer(&format!("/stats/{place}")))
                .and_then(Value::as_u64)
        };
        let Some(uptime) = number("uptime") else { return };
        let began = at.div_euclid(1_000_000) - i64::try_from(uptime).unwrap_or_default();
        // Both are whole seconds: the same run may seem to begin in either of two.
        let alike = [began, began - 1, began + 1].map(|began| (began, self.file));
        let known = alike.into_iter().find(|key| self.runs.contains_key(key));
        if known.is_none() && self.runs.len() >= MAX_RUNS {
            return;
        }
        self.sums.take();
        let run = self.runs.entry(known.unwrap_or((began, self.file))).or_insert(Run {
            first: uptime,
            last: uptime,
            counts: [0; COUNTERS.len()],
        });
        run.first = run.first.min(uptime);
        if uptime >= run.last {
            run.last = uptime;
            for (count, place) in run.counts.iter_mut().zip(COUNTERS) {
                *count = number(place).unwrap_or_default();
            }
        }
    }

    /// An `anomaly` event.
    pub(super) fn add_anomaly(&mut self, event: &Value, texts: &mut Texts) {
        let Some(name) = texts.at(event, "/anomaly/event", super::text::NAME) else {
            return;
        };
        let count = event.pointer("/dcom/count").and_then(Value::as_u64).unwrap_or(1);
        if self.oddities.len() < MAX_ODDITIES || self.oddities.contains_key(&name) {
            let known = self.oddities.entry(name).or_default();
            *known = known.saturating_add(count);
        }
    }

    /// Were there any?
    pub(super) fn are_known(&self) -> bool {
        !self.runs.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> u64 {
        let Some(index) = COUNTERS.iter().position(|counter| *counter == name) else {
            return 0;
        };
        self.sums.get_or_init(|| self.sum())[index]
    }

    /// A run goes on in another file where its log was put away: with longer uptimes only. Where two files have the same ones, two
    /// sensors began at once.
    fn sum(&self) -> Counts {
        let mut parts: Vec<(i64, &Run)> = self.runs.iter().map(|(&(began, _), run)| (began, run)).collect();
        parts.sort_by_key(|(_, run)| run.first);
        let mut runs: Vec<(i64, &Run)> = Vec::new();
        for (began, part) in parts {
            let goes_on = |(other, run): &&mut (i64, &Run)| other.abs_diff(began) <= 1 && run.last < part.first;
            match runs.iter_mut().find(goes_on) {
                Some((_, run)) => *run = part,
                None => runs.push((began, part)),
            }
        }
        let mut sums = [0_u64; COUNTERS.len()];
        for (_, run) in runs {
            for (sum, count) in sums.iter_mut().zip(run.counts) {
                *sum = sum.saturating_add(count);
            }
        }
        sums
    }

    /// The most frequent first.
    pub(super) fn oddities(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = self
            .oddities
            .iter()
            .map(|(name, &count)| (name.clone(), count))
            .collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }

    /// What was lost on the way to the sensor.
    pub(super) fn loss(&self) -> Vec<Unseen> {
        let mut all = Vec::new();
        let mut say = |count: u64, what: String, advice| {
            if count > 0 {
                all.push(Unseen { what, advice });
            }
        };
        let (drops, packets) = (self.get("capture/kernel_drops"), self.get("capture/kernel_packets"));
        // It counts what it dropped among what it received.
        let of = if packets >= drops {
            format!(" of {}", grouped(packets))
        } else {
            String::new()
        };
        say(
            drops,
            format!(
                "The kernel dropped {} packets{of} before the sensor saw them.",
                grouped(drops)
            ),
            Some("Give the sensor a larger ring or more cores."),
        );
        let drops = self.get("capture/kernel_ifdrops");
        say(
            drops,
            format!("Interfaces dropped {}.", counted(drops, "packet", "packets")),
            None,
        );
        let (unseen, acks) = (self.get("dcom/flow/acks_of_unseen"), self.get("dcom/flow/acks"));
        let share = unseen.saturating_mul(10_000) / acks.max(1);
        say(
            unseen,
            format!(
                "{} of {} acknowledgements were of data that never reached the sensor ({}.{:02} %).",
                grouped(unseen),
                grouped(acks),
                share / 100,
                share % 100
            ),
            Some("The mirror port or the capture host loses packets."),
        );
        let missing = self.get("dcom/flow/bytes_missing");
        let gaps = self.get("tcp/reassembly_gap");
        say(
            missing,
            format!(
                "{} of followed connections are missing, in {}.",
                counted(missing, "byte", "bytes"),
                counted(gaps, "place", "places")
            ),
            Some("An activation or a call may have stood there."),
        );
        let count = self.get("dcom/rpc/damaged");
        say(
            count,
            format!("{} could not be read for missing bytes.", counted(count, "PDU", "PDUs")),
            None,
        );
        let count = self.get("dcom/decode/cut_by_snap_length");
        say(
            count,
            format!(
                "{} captured only in part.",
                counted(count, "packet was", "packets were")
            ),
            Some("Capture with the full length (tcpdump -s 0)."),
        );
        let count = self.get("dcom/fragments/incomplete");
        say(
            count,
            format!(
                "{} never came whole.",
                counted(count, "fragmented IP packet", "fragmented IP packets")
            ),
            None,
        );
        let count = self.get("decoder/invalid");
        say(
            count,
            format!(
                "{} had headers that contradict themselves.",
                counted(count, "frame", "frames")
            ),
            None,
        );
        let count = self.get("dcom/flow/evicted_followed");
        say(
            count,
            format!(
                "{} forgotten because there were too many.",
                counted(count, "followed connection was", "followed connections were")
            ),
            None,
        );
        let count = self.get("dcom/faults");
        say(
            count,
            format!(
                "{} given up after a fault of the sensor.",
                counted(count, "connection was", "connections were")
            ),
            None,
        );
        all
    }

    /// What was there and could not be read.
    pub(super) fn hidden(&self) -> Vec<Unseen> {
        let mut all = Vec::new();
        let mut say = |count: u64, what: String, advice| {
            if count > 0 {
                all.push(Unseen { what, advice });
            }
        };
        let (pdus, opened) = (self.get("dcom/sealed/pdus"), self.get("dcom/sealed/opened"));
        let sealed = self.get("dcom/rpc/sealed").max(pdus);
        let with_keys = if opened > 0 {
            format!(" {} of them were opened with keys.", grouped(opened))
        } else {
            String::new()
        };
        say(
            sealed,
            format!(
                "{} sealed: who spoke to whom is known, what was said is not.{with_keys}",
                counted(sealed, "RPC PDU was", "RPC PDUs were")
            ),
            Some("Keys of the accounts open them (--keys)."),
        );
        let count = self.get("dcom/sealed_activations");
        say(
            count,
            format!(
                "Of {}, the class was sealed.",
                counted(count, "activation", "activations")
            ),
            None,
        );
        let (expected, realized) = (self.get("dcom/endpoints/expected"), self.get("dcom/endpoints/realized"));
        say(
            expected.saturating_sub(realized),
            format!(
                "Replies named {}; to {} of them a connection was seen.",
                counted(expected, "dynamic port", "dynamic ports"),
                grouped(realized)
            ),
            Some("Where clients did connect, the mirror does not carry the servers' port range."),
        );
        let count = self.get("tcp/midstream_pickups");
        say(
            count,
            format!(
                "{} already open when the capture began.",
                counted(count, "connection was", "connections were")
            ),
            Some("Of these, what was agreed on before (binds, logins) is not known."),
        );
        let count = self.get("dcom/rpc/unanswered");
        say(
            count,
            format!(
                "{} without an answer.",
                counted(count, "request stayed", "requests stayed")
            ),
            None,
        );
        let count = self.get("dcom/smb/encrypted");
        say(
            count,
            format!(
                "{} encrypted: RPC in their pipes is not seen.",
                counted(count, "SMB message was", "SMB messages were")
            ),
            None,
        );
        let count = self.get("dcom/smb/compressed");
        say(
            count,
            format!(
                "{} compressed and not read.",
                counted(count, "SMB message was", "SMB messages were")
            ),
            None,
        );
        let count = self.get("dcom/decode/encrypted");
        say(
            count,
            format!(
                "{} encrypted below TCP (ESP, MACsec, protected Wi-Fi).",
                counted(count, "packet was", "packets were")
            ),
            Some("Mirror where they are in clear."),
        );
        let count = self.get("dcom/decode/unknown_link_type");
        say(
            count,
            format!(
                "{} of a link type that is not known.",
                counted(count, "packet was", "packets were")
            ),
            None,
        );
        let count = self.get("dcom/alerts_suppressed");
        say(
            count,
            format!(
                "{} kept back by allow-lists, suppressions and thresholds.",
                counted(count, "alert was", "alerts were")
            ),
            Some("They are in no log; replay --show-suppressed lists them."),
        );
        all
    }
}

/// What was not visible of an incident.
pub(super) fn of_steps(steps: &[Step]) -> Vec<String> {
    let mut all = Vec::new();
    let sealed: Vec<u64> = steps.iter().filter_map(|step| step.sealed_bytes).collect();
    if !sealed.is_empty() {
        let bytes: u64 = sealed.iter().sum();
        all.push(format!(
            "{} sealed ({} of stub data): that {} is known, not with which arguments.",
            counted(sealed.len() as u64, "exchange was", "exchanges were"),
            counted(bytes, "byte", "bytes"),
            if sealed.len() == 1 {
                "it took place"
            } else {
                "they took place"
            }
        ));
    }
    let keys: BTreeSet<&str> = steps.iter().filter_map(|step| step.key.as_deref()).collect();
    if !keys.is_empty() {
        let keys: Vec<String> = keys.into_iter().map(ToOwned::to_owned).collect();
        all.push(format!(
            "Sealed exchanges were opened with the key of {}.",
            listed(&keys)
        ));
    }
    let flows = |is: &dyn Fn(&Step) -> bool| -> u64 {
        let flows: BTreeSet<u64> = steps.iter().filter(|step| is(step)).map(|step| step.flow).collect();
        flows.len() as u64
    };
    let unbound = flows(&|step| step.bind_seen == Some(false));
    if unbound > 0 {
        all.push(format!(
            "The bind of {} was not seen: it began before the capture, or the bytes were lost.",
            counted(unbound, "connection", "connections")
        ));
    }
    let mut missing: BTreeMap<u64, u64> = BTreeMap::new();
    for step in steps {
        if let Some(bytes) = step.bytes_missing {
            let most = missing.entry(step.flow).or_default();
            *most = bytes.max(*most);
        }
    }
    if !missing.is_empty() {
        all.push(format!(
            "{} are missing on {}: a call may have stood there.",
            counted(missing.values().sum(), "byte", "bytes"),
            counted(missing.len() as u64, "connection", "connections")
        ));
    }
    let ports: BTreeSet<u64> = steps
        .iter()
        .filter_map(|step| step.endpoint)
        .filter(|end| !end.1)
        .map(|end| end.0)
        .collect();
    let followed: BTreeSet<u64> = steps
        .iter()
        .filter_map(|step| step.endpoint)
        .filter(|end| end.1)
        .map(|end| end.0)
        .collect();
    let ports: Vec<String> = ports.difference(&followed).take(8).map(u64::to_string).collect();
    if !ports.is_empty() {
        all.push(format!(
            "A reply named port {}; no connection to it was seen, so what was done with the object is not known.",
            listed(&ports)
        ));
    }
    let unanswered = steps
        .iter()
        .filter(|step| step.outcome.as_deref() == Some("unanswered"))
        .count() as u64;
    if unanswered > 0 {
        all.push(format!(
            "{} not answered within the capture: how {} ended is not known.",
            counted(unanswered, "request was", "requests were"),
            if unanswered == 1 { "it" } else { "they" }
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_each_run_the_last_record_counts() {
        let stats =
            |uptime: u64, sealed: u64| json!({"stats": {"uptime": uptime}, "dcom": {"rpc": {"sealed": sealed}}});
        let older =
            |uptime: u64, sealed: u64| json!({"stats": {"uptime": uptime, "dcom": {"rpc": {"sealed": sealed}}}});
        let mut counters = Counters::default();
        assert!(!counters.are_known());
        // One run, told in whatever order, its beginning rounded; then another.
        counters.add(&stats(60, 5), 1_060_900_000);
        counters.add(&stats(120, 7), 1_121_100_000);
        counters.add(&stats(30, 1), 1_030_100_000);
        counters.add(&older(10, 2), 5_010_000_000);
        assert_eq!(counters.get("dcom/rpc/sealed"), 9);
        let hidden = counters.hidden();
        assert_eq!(hidden.len(), 1);
        assert!(hidden[0].what.starts_with("9 RPC PDUs were sealed"), "{hidden:?}");
        assert!(counters.loss().is_empty());
    }

    #[test]
    fn a_run_goes_on_in_other_files_and_two_may_begin_at_once() {
        let record = |uptime: u64, missing: u64| json!({"stats": {"uptime": uptime}, "dcom": {"flow": {"bytes_missing": missing}}});
        let missing = |files: &[&[(u64, u64)]]| {
            let mut counters = Counters::default();
            for (number, file) in files.iter().enumerate() {
                counters.next_file();
                for &(uptime, missing) in *file {
                    // Rounded one way or the other.
                    let at = (1_000 + uptime + number as u64 % 2) * 1_000_000;
                    counters.add(&record(uptime, missing), i64::try_from(at).unwrap());
                }
            }
            counters.get("dcom/flow/bytes_missing")
        };
        // A log that was put away twice, whichever is read first.
        assert_eq!(missing(&[&[(180, 9), (240, 9)], &[(60, 3)], &[(120, 5)]]), 9);
        // Two sensors, of which one has put its log away.
        assert_eq!(missing(&[&[(60, 3), (120, 7)], &[(60, 1)], &[(120, 2)]]), 9);
        // Two captures of one time.
        assert_eq!(missing(&[&[(0, 120)], &[(0, 120)]]), 240);
    }

    #[test]
    fn every_counter_that_is_asked_for_is_read() {
        let event = COUNTERS
            .iter()
            .fold(json!({"stats": {"uptime": 1}}), |mut event, counter| {
                let mut place = if counter.starts_with("dcom/") {
                    &mut event
                } else {
                    &mut event["stats"]
                };
                for part in counter.split('/') {
                    place = &mut place[part];
                }
                *place = json!(3);
                event
            });
        let mut counters = Counters::default();
        counters.add(&event, 1_000_000);
        assert!(COUNTERS.iter().all(|counter| counters.get(counter) == 3));
        // Two of the dynamic ports' two counters are equal, so nothing is said of them.
        assert_eq!((counters.loss().len(), counters.hidden().len()), (10, 9));
    }

    #[test]
    fn an_incident_says_what_is_not_known_of_it() {
        let step = Step {
            flow: 1,
            sealed_bytes: Some(464),
            bind_seen: Some(false),
            bytes_missing: Some(888),
            endpoint: Some((49_670, false)),
            outcome: Some("unanswered".to_owned()),
            ..Step::default()
        };
        assert_eq!(of_steps(&[step.clone(), step]).len(), 5);
        assert!(of_steps(&[Step::default()]).is_empty());
    }
}
