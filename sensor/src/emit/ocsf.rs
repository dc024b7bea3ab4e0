//! ocsf.json: alerts as Detection Findings of the Open Cybersecurity Schema Framework, one JSON object a line.

use super::nested::Nested;
use crate::event::Event;

/// Writes an event's line, its line feed included, to the end of `out`; nothing of what is no finding.
pub fn line(event: &Event, out: &mut Vec<u8>) {
    let start = out.len();
    let mut object = Nested::begin(out);
    let told = event.ocsf(|prefix, column, value| object.column(prefix, column, value));
    object.end();
    out.push(b'\n');
    if !told {
        out.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::dcom::Kind;
    use crate::event::host::{AboutAlert, HostRecord, Verdict};
    use crate::event::{Body, Shared, samples};

    fn told(event: &Event) -> Option<Value> {
        let mut out = Vec::new();
        line(event, &mut out);
        (!out.is_empty()).then(|| serde_json::from_slice(&out).expect("a line is JSON"))
    }

    #[test]
    fn alerts_alone_are_findings() {
        let told: Vec<Value> = samples::all().iter().filter_map(told).collect();
        assert_eq!(told.len(), 1);
        let finding = &told[0];
        assert_eq!(
            [
                &finding["class_uid"],
                &finding["type_uid"],
                &finding["severity_id"],
                &finding["time"]
            ],
            [&json!(2004), &json!(200_401), &json!(5), &json!(1_595_113_802_061_i64)]
        );
        assert_eq!(finding["attacks"], finding["finding_info"]["attacks"]);
        assert_eq!(finding["attacks"][0]["sub_technique"]["uid"], "T1021.003");
        assert_eq!(finding["unmapped"]["dcom"]["class"], "MMC20.Application");
    }

    #[test]
    fn what_a_host_says_later_is_an_update_of_the_same_finding() {
        let alert = told(&samples::event(Body::Alert(Box::new(samples::alert())))).expect("a finding");
        let mut dcom = samples::dcom();
        dcom.kind = Kind::HostConfirmation;
        dcom.host = Some(Shared::new(HostRecord {
            verdict: Verdict::Confirmed,
            alert: Some(AboutAlert {
                signature_id: samples::alert().signature_id,
                severity: "medium",
                severity_now: "high",
            }),
            ..HostRecord::default()
        }));
        let update = told(&samples::event(Body::Dcom(Shared::new(dcom)))).expect("an update");
        assert_eq!(update["finding_info"]["uid"], alert["finding_info"]["uid"]);
        assert_eq!(
            [
                &update["activity_id"],
                &update["type_uid"],
                &update["severity"],
                &update["message"]
            ],
            [
                &json!(2),
                &json!(200_402),
                &json!("High"),
                &json!("host logs: confirmed")
            ]
        );
    }
}
