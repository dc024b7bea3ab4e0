//! What the COM service complains about: System 10016, 10028, 10036 to 10038.

use dcom_parsers::guid::{Clsid, Guid};

use super::event::{Account, DcomError, Process};
use super::fields::{Field as F, Fields, said};
use super::interpret::{account, address};
use super::keep::Texts;

/// By its parameters, or by the text that Windows makes of them where only that was exported.
pub(super) fn read(id: u16, fields: &Fields<'_>, texts: &mut Texts) -> DcomError {
    let mut error = if fields.has(F::Param1) {
        by_parameters(id, fields, texts)
    } else {
        fields
            .text(F::Message)
            .map(|message| by_message(id, message, texts))
            .unwrap_or_default()
    };
    if error.account.sid.is_none() {
        // The event is written in the name of who asked.
        let sid = fields.text(F::UserSid).filter(|sid| sid.starts_with("S-1-"));
        error.account.sid = sid.map(|sid| texts.name(sid));
    }
    error
}

fn by_parameters(id: u16, fields: &Fields<'_>, texts: &mut Texts) -> DcomError {
    let text = |field| fields.text(field);
    let clsid = |field| text(field).and_then(Guid::parse).map(Clsid);
    let mut error = DcomError::default();
    match id {
        10016 => {
            error.permission = permission(text(F::Param2), text(F::Param3), texts);
            error.clsid = clsid(F::Param4);
            error.appid = text(F::Param5).and_then(Guid::parse);
            error.account = Account {
                domain: text(F::Param6).map(|domain| texts.name(domain)),
                user: text(F::Param7).map(|user| texts.name(user)),
                sid: text(F::Param8).map(|sid| texts.name(sid)),
                logon_id: None,
            };
            from(&mut error, text(F::Param9));
        }
        10028 => {
            error.target = text(F::Param1).map(|target| texts.name(target));
            error.process = Process {
                // It is written `    1ce8`, in hexadecimal.
                pid: text(F::Param2).and_then(|pid| u32::from_str_radix(pid.trim(), 16).ok()),
                image: text(F::Param3).map(|image| texts.name(image)),
                ..Process::default()
            };
            error.clsid = clsid(F::Param4);
        }
        10036 => {
            error.account = Account {
                domain: text(F::Param1).map(|domain| texts.name(domain)),
                user: text(F::Param2).map(|user| texts.name(user)),
                sid: text(F::Param3).map(|sid| texts.name(sid)),
                logon_id: None,
            };
            from(&mut error, text(F::Param4));
        }
        // 10037 and 10038, which the client writes.
        _ => {
            error.process = Process {
                image: text(F::Param1).map(|image| texts.name(image)),
                pid: fields.small(F::Param2),
                ..Process::default()
            };
            error.clsid = clsid(F::Param3);
            error.target = text(F::Param4).map(|target| texts.name(target));
        }
    }
    error
}

fn permission(from: Option<&str>, to: Option<&str>, texts: &mut Texts) -> Option<std::sync::Arc<str>> {
    Some(texts.name(&format!("{} {}", from?, to?)))
}

fn from(error: &mut DcomError, place: Option<&str>) {
    error.address = place.and_then(address);
    let loopback = error
        .address
        .is_some_and(|address| address.to_canonical().is_loopback());
    error.local = loopback || place.is_some_and(|place| place.starts_with("LocalHost"));
}

fn by_message(id: u16, message: &str, texts: &mut Texts) -> DcomError {
    // Guids stand on lines of their own in some versions.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let after = |start: &str, end: &str| between(&message, start, end);
    let mut error = DcomError {
        clsid: guid(&message, "CLSID").map(Clsid),
        appid: guid(&message, "APPID"),
        ..DcomError::default()
    };
    match id {
        10016 | 10036 => {
            let user = after(" to the user ", " SID (").or_else(|| after(" allow the user ", " SID ("));
            error.account = user.map(|user| account(user, texts)).unwrap_or_default();
            error.account.sid = after(" SID (", ")").and_then(said).map(|sid| texts.name(sid));
            let place = after(" from address ", " running in").or_else(|| after(" from address ", " to activate"));
            from(&mut error, place);
            let asked = after(" do not grant ", " permission");
            error.permission = asked.and_then(said).map(|asked| texts.name(asked));
        }
        10028 => {
            error.target = after("with the computer ", " using").map(|target| texts.name(target));
            error.process = Process {
                pid: after("requested by PID ", " ").and_then(|pid| u32::from_str_radix(pid, 16).ok()),
                image: after(" (", "), while").and_then(said).map(|image| texts.name(image)),
                ..Process::default()
            };
        }
        _ => {
            error.process = Process {
                image: after("Application ", " with PID ").map(|image| texts.name(image)),
                pid: after(" with PID ", " ").and_then(|pid| pid.parse().ok()),
                ..Process::default()
            };
            error.target = after(" on computer ", " with").map(|target| texts.name(target));
        }
    }
    error
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

/// `CLSID {49b2791a-…}`.
fn guid(text: &str, name: &str) -> Option<Guid> {
    Guid::parse(between(text, &format!("{name} {{"), "}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_computer_itself_has_a_name_and_loopback_addresses() {
        for (place, local) in [
            ("LocalHost (Using LRPC)", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.33", false),
        ] {
            let mut error = DcomError::default();
            from(&mut error, Some(place));
            assert_eq!(error.local, local, "{place}");
        }
    }
}
