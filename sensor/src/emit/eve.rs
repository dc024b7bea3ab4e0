//! eve.json: one JSON object a line. Dotted paths become objects.

use super::{json, number};
use crate::event::Event;
use crate::event::record::{self, Column, Columns, Field, Place, Value, Visit};

/// Writes an event's line, its line feed included, to the end of `out`; nothing of what has no line of its own.
pub fn line(event: &Event, out: &mut Vec<u8>) {
    if !event.body.is_in_eve() {
        return;
    }
    let mut object = Object::begin(out);
    event.eve(&mut object);
    object.end();
    out.push(b'\n');
}

/// An object that is being written.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    /// The object within it that is open, or itself.
    open: &'static Place,
}

impl Columns for &mut Object<'_> {
    const UNSET_TOO: bool = false;

    /// Unset and empty members are left out.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it stands at each column, of which all but the value is known when the program is built"
    )]
    fn column(&mut self, column: &'static Column, value: Value<'_>) {
        if column.eve.is_some() && !value.is_empty() {
            self.stand(column);
            write(self.out, column.eve_key, value);
        }
    }

    /// Its elements are written without asking each of what kind it is.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the same")]
    fn list<T: Field>(&mut self, column: &'static Column, list: &[T]) {
        if column.eve.is_none() || list.is_empty() {
            return;
        }
        self.stand(column);
        json::bare(self.out, column.eve_key, |out| {
            out.push(b'[');
            for element in list {
                if T::RECORD.is_some() {
                    let mut object = Object::begin(out);
                    element.show_columns(&mut &mut object);
                    object.end();
                    out.push(b',');
                } else {
                    write(out, json::NO_KEY, element.value());
                }
            }
            json::close(out, b']');
        });
    }
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            open: &Place::OUTERMOST,
        }
    }

    /// Opens the object that a column stands in.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the column is known where it stands")]
    fn stand(&mut self, column: &'static Column) {
        if self.open.id != column.eve_place.id {
            self.enter(&column.eve_place);
        }
    }

    /// Closes and opens objects until that one is open. Nearly always it is the next one in or out, or beside it.
    fn enter(&mut self, place: &'static Place) {
        if self.open.outer == place.id {
            close(self.out);
        } else if self.open.id == place.outer {
            self.out.extend_from_slice(place.opening);
        } else if self.open.outer == place.outer {
            close(self.out);
            self.out.extend_from_slice(place.opening);
        } else {
            go(self.out, self.open.path, place.path);
        }
        self.open = place;
    }

    fn end(self) {
        for _ in 0..self.open.depth {
            close(self.out);
        }
        json::close(self.out, b'}');
    }
}

/// Closes an object within another.
#[inline]
fn close(out: &mut Vec<u8>) {
    json::close(out, b'}');
    out.push(b',');
}

/// Closes and opens objects until not the one at `open` is open, but that at `path`.
fn go(out: &mut Vec<u8>, mut open: &'static str, path: &'static str) {
    while !lies_within(path, open) {
        open = record::object(open);
        close(out);
    }
    while open.len() < path.len() {
        // Past the dot, unless the object is the first.
        let start = open.len() + usize::from(!open.is_empty());
        let end = memchr::memchr(b'.', &path.as_bytes()[start..]).map_or(path.len(), |length| start + length);
        json::name(out, &path[start..end]);
        out.push(b'{');
        open = &path[..end];
    }
}

/// Writes an object of counters, whose names are paths.
fn counters(out: &mut Vec<u8>, counters: &[(&'static str, u64)]) {
    let mut open = "";
    out.push(b'{');
    for &(path, count) in counters {
        go(out, open, record::object(path));
        open = record::object(path);
        json::name(out, record::name(path));
        number::whole(out, count);
        out.push(b',');
    }
    go(out, open, "");
    json::close(out, b'}');
}

/// Is `path` the object at `outer`, or one within it?
fn lies_within(path: &str, outer: &str) -> bool {
    // Most that are not are told by one byte.
    match path.as_bytes().get(outer.len()) {
        _ if outer.is_empty() => true,
        None => path == outer,
        Some(&next) => next == b'.' && path.starts_with(outer),
    }
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "of which kind the value of a column is, is known where it stands"
)]
fn write(out: &mut Vec<u8>, key: &[u8], value: Value<'_>) {
    match value {
        Value::Time(time) => json::quoted(out, key, |out| number::time(out, time)),
        // Milliseconds with three decimals, cut as Zeek's are.
        Value::Interval(interval) => json::bare(out, key, |out| number::thousandths(out, interval.0 / 1_000)),
        Value::List(elements) => json::bare(out, key, |out| json::list(out, elements, write)),
        Value::Object(record) => json::bare(out, key, |out| nested(out, record)),
        Value::Counters(all) => json::bare(out, key, |out| counters(out, all)),
        value => json::plain(out, key, value),
    }
}

fn nested(out: &mut Vec<u8>, record: &dyn Visit) {
    let mut object = Object::begin(out);
    let mut columns = &mut object;
    record.visit(&mut |column: &'static Column, value: Value<'_>| columns.column(column, value));
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;
    use crate::event::{Body, Dcom, Meta, Shared};

    fn text(event: &Event) -> String {
        let mut out = Vec::new();
        line(event, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_body_has_its_line() {
        let lines: String = samples::all().iter().map(text).collect();
        assert_eq!(
            lines,
            concat!(
                r#"{"timestamp":"2020-07-18T23:10:02.061141+0000","flow_id":908054309376390,"pcap_cnt":1,"#,
                r#""pcap_filename":"mmc20.pcapng","event_type":"dcom","src_ip":"172.16.66.25","src_port":49744,"#,
                r#""dest_ip":"172.16.66.36","dest_port":135,"proto":"TCP","community_id":"1:4yGOw7A+UdQfp33AK3WL3nNiH0Y=","#,
                r#""reply_pcap_cnt":2,"rtt_ms":72.954,"dcom":{"kind":"activation","operation":"RemoteCreateInstance","opnum":4,"#,
                r#""interface":{"uuid":"000001a0-0000-0000-c000-000000000046","name":"IRemoteSCMActivator"},"#,
                r#""clsid":"49b2791a-b1ae-4c90-9b8e-e860ba07f889","class":"MMC20.Application","#,
                r#""iids":[{"uuid":"00000000-0000-0000-c000-000000000046","name":"IUnknown"},"#,
                r#"{"uuid":"00020400-0000-0000-c000-000000000046"}],"hresult":"0x00000000","hresult_name":"S_OK","#,
                r#""outcome":"succeeded","oxid":"0xbed05b18ecb13abf","ipids":["0000b400-0f20-ffff-a9a5-0b3f0f6f8b3a"],"#,
                r#""bindings":["0156s-win16-ir[60283]","172.16.66.36[60283]"],"security_bindings":[{"authn_service":"ntlm","#,
                r#""principal":"LAB\\runner"}],"endpoint":{"ip":"172.16.66.36","port":60283,"learned_from":"oxid_binding","#,
                r#""followed":true},"auth":{"service":"ntlm","level":"pkt_integrity"},"client":{"user":"alice","domain":"LAB","#,
                r#""workstation":"WS5"},"server":{"runs_as":"LAB\\runner"},"evidence":"class","bind_seen":false,"#,
                r#""bytes_missing":0}}"#,
                "\n",
                r#"{"timestamp":"2020-07-18T23:10:02.061141+0000","flow_id":908054309376390,"pcap_cnt":1,"#,
                r#""pcap_filename":"mmc20.pcapng","event_type":"alert","src_ip":"172.16.66.25","src_port":49744,"#,
                r#""dest_ip":"172.16.66.36","dest_port":135,"proto":"TCP","community_id":"1:4yGOw7A+UdQfp33AK3WL3nNiH0Y=","#,
                r#""reply_pcap_cnt":2,"rtt_ms":72.954,"alert":{"action":"allowed","gid":1,"signature_id":1021301,"rev":1,"#,
                r#""signature":"DCOM remote activation of MMC20.Application","category":"Lateral Movement","severity":1,"#,
                r#""metadata":{"severity":["critical"],"confidence":["high"],"mitre_tactic_id":["TA0008"],"#,
                r#""mitre_technique_id":["T1021.003"]}},"dcom":{"kind":"activation","operation":"RemoteCreateInstance","#,
                r#""opnum":4,"interface":{"uuid":"000001a0-0000-0000-c000-000000000046","name":"IRemoteSCMActivator"},"#,
                r#""clsid":"49b2791a-b1ae-4c90-9b8e-e860ba07f889","class":"MMC20.Application","#,
                r#""iids":[{"uuid":"00000000-0000-0000-c000-000000000046","name":"IUnknown"},"#,
                r#"{"uuid":"00020400-0000-0000-c000-000000000046"}],"hresult":"0x00000000","hresult_name":"S_OK","#,
                r#""outcome":"succeeded","oxid":"0xbed05b18ecb13abf","ipids":["0000b400-0f20-ffff-a9a5-0b3f0f6f8b3a"],"#,
                r#""bindings":["0156s-win16-ir[60283]","172.16.66.36[60283]"],"security_bindings":[{"authn_service":"ntlm","#,
                r#""principal":"LAB\\runner"}],"endpoint":{"ip":"172.16.66.36","port":60283,"learned_from":"oxid_binding","#,
                r#""followed":true},"auth":{"service":"ntlm","level":"pkt_integrity"},"client":{"user":"alice","domain":"LAB","#,
                r#""workstation":"WS5"},"server":{"runs_as":"LAB\\runner"},"evidence":"class","bind_seen":false,"#,
                r#""bytes_missing":0},"dcerpc":{"request":"REQUEST","req":{"opnum":4,"frag_cnt":1,"stub_data_size":788},"#,
                r#""interfaces":[{"uuid":"000001a0-0000-0000-c000-000000000046","version":"0.0","ack_result":0,"#,
                r#""service":"IRemoteSCMActivator","procedure":"RemoteCreateInstance"}],"response":"RESPONSE","#,
                r#""res":{"frag_cnt":1,"stub_data_size":848},"call_id":3,"rpc_version":"5.0"}}"#,
                "\n",
                r#"{"timestamp":"2020-07-18T23:10:02.061141+0000","flow_id":908054309376390,"pcap_cnt":1,"#,
                r#""pcap_filename":"mmc20.pcapng","event_type":"dcerpc","src_ip":"172.16.66.25","src_port":49744,"#,
                r#""dest_ip":"172.16.66.36","dest_port":135,"proto":"TCP","community_id":"1:4yGOw7A+UdQfp33AK3WL3nNiH0Y=","#,
                r#""reply_pcap_cnt":2,"rtt_ms":72.954,"dcerpc":{"request":"REQUEST","req":{"opnum":4,"frag_cnt":1,"#,
                r#""stub_data_size":788},"interfaces":[{"uuid":"000001a0-0000-0000-c000-000000000046","version":"0.0","#,
                r#""ack_result":0,"service":"IRemoteSCMActivator","procedure":"RemoteCreateInstance"}],"response":"RESPONSE","#,
                r#""res":{"frag_cnt":1,"stub_data_size":848},"call_id":3,"rpc_version":"5.0"},"#,
                r#""dcom":{"protocol_sequence":"ncacn_ip_tcp"}}"#,
                "\n",
                r#"{"timestamp":"2020-07-18T23:10:02.061141+0000","flow_id":908054309376390,"pcap_cnt":1,"#,
                r#""pcap_filename":"mmc20.pcapng","event_type":"anomaly","src_ip":"172.16.66.25","src_port":49744,"#,
                r#""dest_ip":"172.16.66.36","dest_port":135,"proto":"TCP","community_id":"1:4yGOw7A+UdQfp33AK3WL3nNiH0Y=","#,
                r#""reply_pcap_cnt":2,"rtt_ms":72.954,"anomaly":{"app_proto":"dcerpc","type":"applayer","#,
                r#""event":"fragment_out_of_place","layer":"proto_parser"},"#,
                r#""dcom":{"detail":"common_header: `frag_length` is 3 (offset 8)","count":2}}"#,
                "\n",
                r#"{"timestamp":"2020-07-18T23:10:02.061141+0000","flow_id":908054309376390,"pcap_cnt":1,"#,
                r#""pcap_filename":"mmc20.pcapng","event_type":"flow","src_ip":"172.16.66.25","src_port":49744,"#,
                r#""dest_ip":"172.16.66.36","dest_port":135,"proto":"TCP","community_id":"1:4yGOw7A+UdQfp33AK3WL3nNiH0Y=","#,
                r#""app_proto":"dcerpc","flow":{"pkts_toserver":7,"pkts_toclient":5,"bytes_toserver":3242,"bytes_toclient":1783,"#,
                r#""start":"2020-07-18T23:10:01.999999+0000","end":"2020-07-18T23:10:02.061141+0000","age":1,"state":"closed","#,
                r#""reason":"timeout","alerted":false},"tcp":{"tcp_flags":"1a","tcp_flags_ts":"1a","tcp_flags_tc":"1a","syn":true,"#,
                r#""state":"established"},"dcom":{"protocol_sequence":"ncacn_ip_tcp","rpc":{"pdus":6,"calls":2},"activations":1}}"#,
                "\n",
                r#"{"timestamp":"2020-07-18T23:10:02.061141+0000","event_type":"stats","stats":{"decoder":{"pkts":324,"#,
                r#""bytes":40960}},"dcom":{"endpoints":{"expected":1,"realized":1}}}"#,
                "\n",
            )
        );
    }

    #[test]
    fn nothing_known_is_still_a_line() {
        let event = Event {
            meta: Meta::default(),
            body: Body::Dcom(Shared::default()),
        };
        assert_eq!(
            text(&event),
            concat!(
                r#"{"timestamp":"1970-01-01T00:00:00.000000+0000","event_type":"dcom","dcom":{"kind":"call","operation":"","#,
                r#""evidence":"header","bytes_missing":0}}"#,
                "\n",
            )
        );
    }

    #[test]
    fn vlan_and_interface_are_there_when_known() {
        let mut event = samples::all().remove(0);
        event.meta.vlan = vec![7, 4_094];
        event.meta.in_iface = Some("eth0".into());
        let value: serde_json::Value = serde_json::from_str(&text(&event)).unwrap();
        assert_eq!(value["vlan"], serde_json::json!([7, 4_094]));
        assert_eq!(value["in_iface"], "eth0");
    }

    #[test]
    fn hostile_text_stays_in_its_string() {
        let hostile = "a\"},{\n\r\t\\\0\x1b[31m\x7f\u{9b}31m\u{2028}\u{fffd}é☃";
        let mut event = samples::all().remove(0);
        event.body = Body::Dcom(Shared::new(Dcom {
            class: Some(hostile.to_owned()),
            bindings: vec![hostile.to_owned(), String::new()],
            ..Dcom::default()
        }));
        let line = text(&event);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.trim_end().contains(char::is_control), "{line:?}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["dcom"]["class"], hostile);
        assert_eq!(value["dcom"]["bindings"], serde_json::json!([hostile, ""]));
    }

    #[test]
    fn a_round_trip_is_milliseconds_and_may_be_negative() {
        let mut event = samples::all().remove(0);
        for (nanoseconds, written) in [(72_954_999, "72.954"), (-1_500_000, "-1.500"), (999, "0.000")] {
            event.meta.rtt = Some(record::Interval(nanoseconds));
            assert!(
                text(&event).contains(&format!("\"rtt_ms\":{written},")),
                "{nanoseconds}"
            );
        }
    }
}
