//! ecs.json: one JSON object a line in the Elastic Common Schema, for Elasticsearch and `OpenSearch`.

use super::nested::Nested;
use crate::event::Event;

/// Writes an event's line, its line feed included, to the end of `out`; nothing of what has no line of its own.
pub fn line(event: &Event, out: &mut Vec<u8>) {
    if !event.body.is_in_eve() {
        return;
    }
    let mut object = Nested::begin(out);
    event.ecs(|prefix, column, value| object.column(prefix, column, value));
    object.end();
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Body, Dcom, Meta, Shared, samples};

    fn told(event: &Event) -> Value {
        let mut out = Vec::new();
        line(event, &mut out);
        let text = String::from_utf8(out).expect("a line is text");
        assert_eq!(text.matches('\n').count(), 1);
        serde_json::from_str(&text).expect("a line is JSON")
    }

    #[test]
    fn each_body_has_its_line() {
        let told: Vec<Value> = samples::all().iter().map(told).collect();
        let of = |pointer: &str| {
            told.iter()
                .map(|line| line.pointer(pointer).cloned())
                .collect::<Vec<_>>()
        };
        let some = |texts: [&str; 6]| texts.map(|text| Some(json!(text))).to_vec();
        assert_eq!(
            of("/event/kind"),
            some(["event", "alert", "event", "event", "event", "metric"])
        );
        assert_eq!(
            of("/event/action"),
            [
                Some(json!("RemoteCreateInstance")),
                Some(json!("RemoteCreateInstance")),
                Some(json!("RemoteCreateInstance")),
                Some(json!("fragment_out_of_place")),
                Some(json!("flow_ended")),
                None
            ]
        );
        assert_eq!(of("/@timestamp"), some(["2020-07-18T23:10:02.061141Z"; 6]));
        assert_eq!(
            told[1]["threat"]["technique"]["subtechnique"]["id"],
            json!(["T1021.003"])
        );
        assert_eq!(told[1]["dcom"]["dcerpc"]["call_id"], 3);
        assert_eq!(told[3]["dcom"]["anomaly"]["layer"], "proto_parser");
        assert_eq!(told[4]["event"]["type"], json!(["connection", "end"]));
        assert_eq!(told[4]["event"]["start"], "2020-07-18T23:10:01.999999Z");
        assert_eq!(told[4]["event"]["duration"], 61_142_999);
        assert_eq!(
            [
                &told[4]["source"]["bytes"],
                &told[4]["destination"]["packets"],
                &told[4]["network"]["bytes"]
            ],
            [&json!(3_242), &json!(5), &json!(5_025)]
        );
        assert_eq!(told[4]["dcom"]["flow"]["state"], "closed");
        assert_eq!(told[4]["dcom"]["rpc"]["pdus"], 6);
        assert_eq!(told[5]["dcom"]["stats"]["dcom"]["endpoints"]["expected"], 1);
    }

    #[test]
    fn hostile_text_stays_in_its_string() {
        let hostile = "a\"},{\n\r\t\\\0\x1b[31m\x7f\u{9b}31m\u{2028}\u{fffd}é☃";
        let mut event = samples::event(Body::Dcom(Shared::new(Dcom {
            class: Some(hostile.to_owned()),
            command_line: Some(hostile.to_owned()),
            arguments: vec![hostile.to_owned()],
            ..samples::dcom()
        })));
        event.meta.pcap_filename = Some(hostile.into());
        let line = told(&event);
        assert_eq!(line["process"]["command_line"], hostile);
        assert_eq!(line["dcom"]["arguments"], json!([hostile]));
        assert_eq!(line["dcom"]["pcap_filename"], hostile);
    }

    #[test]
    fn nothing_known_is_still_a_line() {
        let line = told(&Event {
            meta: Meta::default(),
            body: Body::Dcom(Shared::default()),
        });
        assert_eq!(line["dcom"]["evidence"], "header");
        for unknown in ["source", "user", "process", "related", "message", "rule"] {
            assert!(line[unknown].is_null(), "{unknown}");
        }
    }
}
