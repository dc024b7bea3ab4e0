//! Alerts in `ArcSight` Common Event Format 26, for syslog. What stands under which key is one table, by EVE paths.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::event::record::{Column, Value};
use crate::event::{Alert, Body, Event};
use crate::severity::Severity;
use crate::time::Timestamp;

/// Bytes of one value as it is written, by CEF's dictionary: what is longer is cut. A message fits a datagram so, whatever
/// comes off the wire.
const fn longest(key: &str) -> usize {
    match key.as_bytes() {
        [b'c', b's', _] => 4_000,
        _ => 1_023,
    }
}
/// The same of the name in the header.
const LONGEST_NAME: usize = 512;

/// A key of the extension, and what of EVE stands there.
pub(crate) struct Mapping {
    /// The key.
    pub(crate) key: &'static str,
    /// What the value is called, for the keys that CEF leaves to the sender (`cs1Label`).
    pub(crate) label: Option<&'static str>,
    /// Paths in EVE: the first that is set counts.
    pub(crate) eve: &'static [&'static str],
}

const fn plain(key: &'static str, eve: &'static [&'static str]) -> Mapping {
    Mapping { key, label: None, eve }
}

const fn labelled(key: &'static str, label: &'static str, eve: &'static [&'static str]) -> Mapping {
    Mapping {
        key,
        label: Some(label),
        eve,
    }
}

/// Where IPv6 addresses stand, for which `src` and `dst` are not meant.
const IPV6: [(&str, &str, &str); 2] = [
    ("src", "c6a2", "Source IPv6 Address"),
    ("dst", "c6a3", "Destination IPv6 Address"),
];

/// All keys but `msg` and `dvchost`, in the order in which they are written.
pub(crate) const MAPPINGS: &[Mapping] = &[
    plain("rt", &["timestamp"]),
    plain("act", &["alert.action"]),
    plain("cat", &["alert.category"]),
    plain("deviceInboundInterface", &["in_iface"]),
    plain("externalId", &["flow_id"]),
    plain("proto", &["proto"]),
    plain("src", &["src_ip"]),
    plain("spt", &["src_port"]),
    plain("shost", &["dcom.client.workstation"]),
    plain(
        "suser",
        &["dcom.client.user", "dcom.host.logon.user", "host_event.caller.user"],
    ),
    plain("sntdom", &["dcom.client.domain", "host_event.caller.domain"]),
    plain("dst", &["dest_ip"]),
    plain("dpt", &["dest_port"]),
    plain("dhost", &["dcom.server.dns", "dcom.server.netbios", "host_event.host"]),
    plain("duser", &["dcom.server.runs_as", "host_event.user"]),
    plain("dntdom", &["host_event.domain"]),
    plain("outcome", &["dcom.outcome"]),
    plain("requestClientApplication", &["dcom.tool.name"]),
    labelled("cs1", "mitreTechnique", &["alert.metadata.mitre_technique_id"]),
    labelled(
        "cs2",
        "class",
        &["alert.metadata.classes", "dcom.class", "host_event.class"],
    ),
    labelled("cs3", "method", &["dcom.method"]),
    labelled(
        "cs4",
        "commandLine",
        &["dcom.command_line", "host_event.process.command_line"],
    ),
    labelled("cs5", "evidence", &["dcom.evidence"]),
    labelled("cs6", "communityId", &["community_id"]),
    labelled("flexString1", "clsid", &["dcom.clsid", "host_event.clsid"]),
    labelled("flexString2", "hostVerdict", &["dcom.host.verdict"]),
    labelled("cn1", "frame", &["pcap_cnt"]),
];

/// CEF's scale, from 0 to 10: 9 and 10 are very high, 7 and 8 high, 4 to 6 medium, the rest low.
pub(crate) const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 10,
        Severity::High => 8,
        Severity::Medium => 5,
        Severity::Low => 3,
        Severity::Informational => 1,
    }
}

/// Writes an alert, without line feed. `host` is the computer that the sensor runs on.
pub(crate) fn message(event: &Event, alert: &Alert, host: &str, out: &mut String) {
    out.push_str("CEF:0|dcom-sensor|dcom-sensor|");
    header(out, env!("CARGO_PKG_VERSION"));
    // Writing to memory cannot fail.
    let _ = write!(out, "{}|", alert.signature_id);
    header(out, &alert.signature);
    let _ = write!(out, "{}|", severity(alert.severity));
    let mut values: Vec<Vec<Option<String>>> = MAPPINGS.iter().map(|it| vec![None; it.eve.len()]).collect();
    event.eve(|column: &'static Column, value: Value<'_>| {
        for (mapping, values) in MAPPINGS.iter().zip(&mut values) {
            let place = mapping.eve.iter().position(|&path| column.eve == Some(path));
            if let Some(slot) = place.and_then(|place| values.get_mut(place)) {
                *slot = text(value);
            }
        }
    });
    for (mapping, values) in MAPPINGS.iter().zip(values) {
        let Some(value) = values.into_iter().flatten().find(|text| !text.is_empty()) else {
            continue;
        };
        let (mut key, mut label) = (mapping.key, mapping.label);
        if let Some((_, other, called)) = IPV6.iter().find(|(key, ..)| *key == mapping.key)
            && value.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6())
        {
            (key, label) = (*other, Some(*called));
        }
        if let Some(label) = label {
            let _ = write!(out, "{key}Label={label} ");
        }
        extension(out, key, &value);
    }
    extension(out, "dvchost", host);
    extension(out, "msg", &alert.message);
    out.truncate(out.trim_end().len());
}

/// The alert that an event is, if it is one.
pub(crate) fn alert(event: &Event) -> Option<&Alert> {
    match &event.body {
        Body::Alert(alert) => Some(alert),
        _ => None,
    }
}

/// RFC 3164 4.1.2 HEADER: time and host, as remote syslogs expect them. The time is the traffic's, in UTC.
pub(crate) fn rfc3164(time: Timestamp, host: &str, out: &mut String) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = time.to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().unwrap_or(1);
    let day = part(8..10).trim_start_matches('0');
    let name = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"Jan");
    let _ = write!(out, "{name} {day:>2} {} {host} ", part(11..19));
}

/// A field of the header: what ends it is escaped, and it is one line.
fn header(out: &mut String, text: &str) {
    let escaped = |character: char| match character {
        '|' => Written::Text("\\|"),
        '\\' => Written::Text("\\\\"),
        control if control.is_control() => Written::Text(" "),
        other => Written::Character(other),
    };
    write(out, text.chars().map(escaped), LONGEST_NAME);
    out.push('|');
}

/// A key and its value: what would begin another key is escaped, and the message stays one line.
fn extension(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    out.push('=');
    let escaped = |character: char| match character {
        '=' => Written::Text("\\="),
        '\\' => Written::Text("\\\\"),
        '\n' => Written::Text("\\n"),
        '\r' => Written::Text("\\r"),
        // Whoever splits lines by Unicode's rules would split here.
        '\u{2028}' | '\u{2029}' => Written::Text(" "),
        control if control.is_control() => Written::Text(" "),
        other => Written::Character(other),
    };
    write(out, value.chars().map(escaped), longest(key));
    out.push(' ');
}

/// A character as it is written.
enum Written {
    Character(char),
    Text(&'static str),
}

/// Writes so many bytes at most; an ellipsis stands for what is cut.
fn write(out: &mut String, text: impl Iterator<Item = Written>, most: usize) {
    let end = out.len() + most;
    for written in text {
        let length = match written {
            Written::Character(character) => character.len_utf8(),
            Written::Text(text) => text.len(),
        };
        if out.len() + length > end {
            out.push('…');
            return;
        }
        match written {
            Written::Character(character) => out.push(character),
            Written::Text(text) => out.push_str(text),
        }
    }
}

fn text(value: Value<'_>) -> Option<String> {
    Some(match value {
        Value::Text(text) | Value::Word(text) => text.to_owned(),
        Value::Name(name) => String::from_utf8_lossy(name).into_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Guid(guid) => guid.to_string(),
        Value::Addr(address) => address.to_string(),
        Value::Port(port) => port.to_string(),
        Value::Hexadecimal(number, digits) => format!("{number:#0width$x}", width = digits + 2),
        Value::Time(time) => (time.microseconds().div_euclid(1_000)).to_string(),
        Value::List(elements) => {
            let mut all = Vec::new();
            elements.each(&mut |element| all.extend(text(element)));
            all.join(",")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::event::{EveType, samples};

    fn sample() -> Event {
        let is_alert = |event: &Event| matches!(event.body, Body::Alert(_));
        samples::all().into_iter().find(is_alert).unwrap()
    }

    fn told(event: &Event) -> String {
        let mut out = String::new();
        message(event, alert(event).unwrap(), "sensor1", &mut out);
        out
    }

    #[test]
    fn what_is_mapped_is_there() {
        let known: HashSet<&str> = EveType::ALL
            .iter()
            .find(|kind| kind.name == "alert")
            .unwrap()
            .columns()
            .map(|(path, _)| path)
            .collect();
        for mapping in MAPPINGS {
            for path in mapping.eve {
                assert!(known.contains(path), "an alert has no {path}");
            }
        }
    }

    #[test]
    fn the_page_says_what_is_mapped() {
        let page = include_str!("../../../docs/OUTPUTS.md");
        let mut told = page.lines();
        for mapping in MAPPINGS {
            let key = match (mapping.label, IPV6.iter().find(|(key, ..)| *key == mapping.key)) {
                (Some(label), _) => format!("| `{}` (`{label}`) |", mapping.key),
                (None, Some((key, other, _))) => format!("| `{key}` (IPv6: `{other}`) |"),
                (None, None) => format!("| `{}` |", mapping.key),
            };
            let row = told.find(|line| line.starts_with(&key));
            let row = row.unwrap_or_else(|| panic!("no row {key} in its place"));
            let paths: Vec<String> = mapping.eve.iter().map(|path| format!("`{path}`")).collect();
            assert!(row.contains(&paths.join(", else ")), "{row}");
        }
        for severity in Severity::ALL {
            let row = format!("| {severity} | {} |", super::severity(severity));
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn an_alert_is_one_line_of_header_and_extension() {
        let line = told(&sample());
        assert!(line.starts_with("CEF:0|dcom-sensor|dcom-sensor|"), "{line}");
        assert!(!line.contains('\n') && !line.ends_with(' '), "{line}");
        for part in [
            " src=",
            " dst=",
            "cs1Label=mitreTechnique cs1=",
            " dvchost=sensor1 msg=",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    #[test]
    fn what_comes_off_the_wire_forges_no_field() {
        let mut event = sample();
        let Body::Alert(alert) = &mut event.body else {
            unreachable!()
        };
        alert.signature = "a|b\\c\nd".into();
        alert.message = "cmd /c x=1 suser=admin\r\nCEF:0|x|\\ \u{2028}\u{1b}[31m".to_owned();
        let line = told(&event);
        assert!(line.contains("|a\\|b\\\\c d|"), "{line}");
        assert!(
            line.ends_with("msg=cmd /c x\\=1 suser\\=admin\\r\\nCEF:0|x|\\\\   [31m"),
            "{line}"
        );
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let mut out = String::new();
        extension(&mut out, "cs4", &"é".repeat(5_000));
        assert_eq!(out, format!("cs4={}… ", "é".repeat(2_000)));
        out.clear();
        extension(&mut out, "msg", &"=".repeat(5_000));
        assert_eq!(out, format!("msg={}… ", "\\=".repeat(511)));
    }

    #[test]
    fn nothing_makes_a_message_too_long_for_a_datagram() {
        let of = |mapping: &Mapping| {
            let label = mapping.label.map_or(0, |label| mapping.key.len() + label.len() + 10);
            longest(mapping.key) + mapping.key.len() + label + 5
        };
        let values: usize = MAPPINGS.iter().map(of).sum();
        let others = LONGEST_NAME + 2 * longest("msg") + 500;
        assert!(values + others < 60_000, "{}", values + others);
    }

    #[test]
    fn ipv6_has_keys_of_its_own() {
        let mut event = sample();
        let end = event.meta.client.as_mut().unwrap();
        end.address = "2001:db8::1".parse().unwrap();
        let line = told(&event);
        assert!(
            line.contains(" c6a2Label=Source IPv6 Address c6a2=2001:db8::1 "),
            "{line}"
        );
        assert!(!line.contains(" src="), "{line}");
    }

    #[test]
    fn the_head_for_remote_syslogs_is_rfc_3164s() {
        let mut out = String::new();
        rfc3164(Timestamp::new(1_595_113_802, 0), "h", &mut out);
        rfc3164(Timestamp::new(1_593_561_600, 0), "h", &mut out);
        assert_eq!(out, "Jul 18 23:10:02 h Jul  1 00:00:00 h ");
    }
}
