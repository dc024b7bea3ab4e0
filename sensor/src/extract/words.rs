//! What a comment says: what the sensor read in the frame, or concluded.

use std::fmt::Write as _;

use dcom_parsers::security::ntlmssp::Message;

use super::notes::Note;
use crate::emit::console::printable;
use crate::event::dcom::{Evidence, Kind, Outcome};
use crate::event::{Alert, Dcerpc, Dcom, Meta};
use crate::time::Timestamp;

/// The comments on the frames of a request and of its reply.
pub(super) fn of_record(meta: &Meta, dcom: &Dcom) -> Vec<Note> {
    let what = subject(dcom);
    let mut request = format!("{what}, request");
    if let Some(who) = caller(dcom) {
        let _ = write!(request, " by {who}");
    }
    if let Some(command) = &dcom.command_line {
        let _ = write!(request, ": {command}");
    } else if dcom.sealed_stub_length.is_some() && dcom.decrypted != Some(true) {
        request.push_str(", sealed");
    }
    if dcom.bind_seen == Some(false) {
        request.push_str(" (the bind was not seen)");
    }
    let reply = format!("{what}, reply: {}", result(dcom));
    both(meta, &request, &reply, dcom.outcome)
}

/// The comments on a bind and its answer. Of calls, their records tell.
pub(super) fn of_exchange(meta: &Meta, dcerpc: &Dcerpc) -> Vec<Note> {
    let circumstances = &dcerpc.circumstances;
    let (asked, answered) = match (dcerpc.request, dcerpc.response) {
        (Some("BIND"), answer) | (_, answer @ Some("BINDACK" | "BINDNAK")) => ("bind", answer),
        (Some("ALTER_CONTEXT"), answer) | (_, answer @ Some("ALTER_CONTEXT_RESP")) => ("alter_context", answer),
        _ => return Vec::new(),
    };
    let named = |accepted: bool| {
        let of_them = dcerpc.interfaces.iter();
        let of_them = of_them.filter(|interface| !accepted || matches!(interface.ack_result, Some(0)));
        let mut names: Vec<String> = of_them
            .map(|interface| match &interface.service {
                Some(name) => name.to_string(),
                None => interface.uuid.to_string(),
            })
            .collect();
        // One is offered with several transfer syntaxes.
        names.dedup();
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        }
    };
    let mut request = format!("{asked}: {}", named(false));
    if let (Some(service), Some(level)) = (&circumstances.auth.service, &circumstances.auth.level) {
        let _ = write!(request, ", login by {service} at {level}");
    }
    let reply = match (answered, &circumstances.refusal) {
        (_, Some(refusal)) => format!("{asked}, answer: refused, {refusal}"),
        _ if circumstances.refused_contexts.is_empty() => format!("{asked}, answer: accepted {}", named(true)),
        _ => {
            let refused = circumstances.refused_contexts.join(", ");
            format!("{asked}, answer: accepted {}; refused {refused}", named(true))
        }
    };
    let outcome = match answered {
        Some("UNREPLIED") | None => Outcome::Unanswered,
        _ => Outcome::Succeeded,
    };
    both(meta, &request, &reply, Some(outcome))
}

/// The comment on the frame that an alert names.
pub(super) fn of_alert(meta: &Meta, alert: &Alert) -> Option<Note> {
    let mut text = format!("alert {} ({}): {}", alert.signature_id, alert.severity, alert.message);
    if let Some(dcom) = &alert.dcom {
        let _ = write!(text, "; evidence: {}", dcom.evidence);
    }
    meta.frame.map(|frame| note(frame, meta.timestamp, &text))
}

/// An alert in a line, for the head of the file.
pub(super) fn title(meta: &Meta, alert: &Alert) -> String {
    let mut text = format!(
        "alert {} ({}) {}: {}",
        alert.signature_id, alert.severity, meta.timestamp, alert.message
    );
    if let (Some(file), Some(frame)) = (&meta.pcap_filename, meta.frame) {
        let _ = write!(text, " [frame {frame} of {file}]");
    } else if let Some(frame) = meta.frame {
        let _ = write!(text, " [frame {frame}]");
    }
    fit(&text)
}

/// Who calls, and who vouches for it.
fn caller(dcom: &Dcom) -> Option<String> {
    let user = user(dcom.client.domain.as_deref(), dcom.client.user.as_deref())?;
    Some(match (&dcom.auth.service, &dcom.auth.level) {
        (Some(service), Some(level)) => format!("{user} ({service}, {level})"),
        _ => user,
    })
}

/// The comment on `rpc_auth_3`, a login's last message, of which the sensor tells no event.
pub(super) fn of_login(pdu: &[u8]) -> String {
    const SIGNATURE: &[u8] = b"NTLMSSP\0";
    let token = memchr::memmem::find(pdu, SIGNATURE).and_then(|at| pdu.get(at..));
    match token.map(Message::parse) {
        Some(Ok(Message::Authenticate(login))) if login.anonymous => "auth3: anonymous, by ntlm".to_owned(),
        Some(Ok(Message::Authenticate(login))) => {
            let name = user(login.domain.as_deref(), login.user.as_deref());
            fit(&format!("auth3: {} by ntlm", name.as_deref().unwrap_or("?")))
        }
        _ => "auth3: the last message of a login".to_owned(),
    }
}

fn user(domain: Option<&str>, user: Option<&str>) -> Option<String> {
    match (domain, user?) {
        (Some(domain), user) if !domain.is_empty() => Some(format!("{domain}\\{user}")),
        (_, user) => Some(user.to_owned()),
    }
}

/// The operation or the method, and on what.
fn subject(dcom: &Dcom) -> String {
    let class = || {
        let name = dcom.class_name()?;
        // What was concluded is not to read as if it had been read.
        Some(if dcom.evidence == Evidence::Inferred {
            format!("what is concluded to be {name}")
        } else {
            name.into_owned()
        })
    };
    let path = dcom
        .object_path
        .as_ref()
        .filter(|_| dcom.evidence != Evidence::Inferred);
    match (&dcom.method, path, dcom.kind) {
        (Some(method), Some(path), _) => format!("{}: {path}.{method}", dcom.operation),
        (Some(method), None, _) => match class() {
            Some(class) => format!("{}: {method} of {class}", dcom.operation),
            None => format!("{}: {method}", dcom.operation),
        },
        (None, Some(path), Kind::Call) => format!("{} on {path}", dcom.operation),
        _ => match class() {
            Some(class) => format!("{} of {class}", dcom.operation),
            None => dcom.operation.to_string(),
        },
    }
}

fn result(dcom: &Dcom) -> String {
    let mut text = match dcom.outcome {
        Some(outcome) => outcome.to_string(),
        None if dcom.sealed_reply_length.is_some() && dcom.decrypted != Some(true) => "sealed".to_owned(),
        None => "of unknown outcome".to_owned(),
    };
    let failed = dcom.hresult.is_some_and(|hresult| hresult.0 != 0);
    match (&dcom.fault, &dcom.hresult_name, dcom.hresult) {
        (Some(fault), _, _) => {
            let _ = write!(text, ", {fault}");
        }
        (None, Some(name), _) if failed => {
            let _ = write!(text, ", {name}");
        }
        (None, None, Some(hresult)) if failed => {
            let _ = write!(text, ", {hresult}");
        }
        _ => {}
    }
    if let Some(port) = dcom.endpoint.as_ref().and_then(|endpoint| endpoint.port) {
        let _ = write!(text, ", port {}", port.0);
    }
    text
}

/// Request and reply. A frame that is told alone, of an exchange that was answered, is the answer's.
fn both(meta: &Meta, request: &str, reply: &str, outcome: Option<Outcome>) -> Vec<Note> {
    let Some(frame) = meta.frame else { return Vec::new() };
    let answered = outcome.is_some_and(|outcome| outcome != Outcome::Unanswered);
    match (meta.reply_frame, meta.rtt) {
        (Some(reply_frame), Some(rtt)) => {
            let time = Timestamp(meta.timestamp.0.saturating_add(rtt.0));
            vec![note(frame, meta.timestamp, request), note(reply_frame, time, reply)]
        }
        _ if answered => vec![note(frame, meta.timestamp, reply)],
        _ => vec![note(frame, meta.timestamp, request)],
    }
}

/// The number is that of the capture read, since the copy has its own.
fn note(frame: u64, time: Timestamp, text: &str) -> Note {
    Note {
        frame,
        time,
        text: fit(&format!("frame {frame}: {text}")),
    }
}

/// As a list of packets may show it: one line, not long, and nothing in it that commands a terminal.
fn fit(text: &str) -> String {
    /// Characters of a comment.
    const LONGEST: usize = 600;
    let cut: String = text.chars().take(LONGEST).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", printable(&cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn texts(notes: &[Note]) -> Vec<(u64, &str)> {
        notes.iter().map(|note| (note.frame, note.text.as_str())).collect()
    }

    #[test]
    fn request_and_reply_are_told_on_their_own_frames() {
        let notes = of_record(&samples::meta(), &samples::dcom());
        assert_eq!(
            texts(&notes),
            [
                (
                    1,
                    "frame 1: RemoteCreateInstance of MMC20.Application, request by LAB\\alice (ntlm, pkt_integrity) \
                     (the bind was not seen)"
                ),
                (
                    2,
                    "frame 2: RemoteCreateInstance of MMC20.Application, reply: succeeded, port 60283"
                )
            ]
        );
        assert_eq!(notes[1].time.0, samples::time().0 + 72_954_999);
    }

    #[test]
    fn a_call_is_told_with_its_command_line_and_none_of_it_commands_a_terminal() {
        let mut dcom = samples::dcom();
        dcom.kind = Kind::Call;
        dcom.operation = "Invoke".into();
        dcom.object_path = Some("MMC20.Application.Document.ActiveView".to_owned());
        dcom.method = Some("ExecuteShellCommand".into());
        dcom.command_line = Some(format!("cmd.exe \x1b[2J\n{}", "a".repeat(5_000)));
        let notes = of_record(&samples::meta(), &dcom);
        let text = &notes[0].text;
        assert!(
            text.starts_with("frame 1: Invoke: MMC20.Application.Document.ActiveView.ExecuteShellCommand, request by"),
            "{text}"
        );
        assert!(
            text.contains(": cmd.exe \\u{1b}[2J\\u{0a}aaa") && text.ends_with("a…"),
            "{text}"
        );
        assert!(text.chars().count() < 700 && !text.contains(char::is_control));
    }

    #[test]
    fn only_the_answer_seen_is_told_as_the_answer() {
        let mut meta = samples::meta();
        (meta.reply_frame, meta.rtt) = (None, None);
        let mut dcom = samples::dcom();
        assert!(of_record(&meta, &dcom)[0].text.contains(", reply: succeeded"));
        dcom.outcome = Some(Outcome::Unanswered);
        assert!(of_record(&meta, &dcom)[0].text.contains(", request by"));
    }
}
