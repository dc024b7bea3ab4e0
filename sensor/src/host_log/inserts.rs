//! Event data without names, in the order of the event's template.

use std::borrow::Cow;

use super::event::Source;
use super::fields::{Field as F, Fields, Value};
use super::interpret;
use super::labels;

const SUBJECT: [F; 4] = [
    F::SubjectUserSid,
    F::SubjectUserName,
    F::SubjectDomainName,
    F::SubjectLogonId,
];

/// Names, by event, in the order of its latest template. Earlier versions are shorter. None: not of interest.
fn order(source: Source, count: usize) -> Vec<Option<F>> {
    let after_subject = |rest: &[Option<F>]| SUBJECT.map(Some).into_iter().chain(rest.iter().copied()).collect();
    match source {
        Source::Security(4688) => after_subject(&[
            Some(F::NewProcessId),
            Some(F::NewProcessName),
            None,
            Some(F::ProcessId),
            Some(F::CommandLine),
            Some(F::TargetUserSid),
            Some(F::TargetUserName),
            Some(F::TargetDomainName),
            Some(F::TargetLogonId),
            Some(F::ParentProcessName),
            Some(F::MandatoryLabel),
        ]),
        Source::Security(4689) => after_subject(&[Some(F::Status), Some(F::ProcessId), Some(F::ProcessName)]),
        Source::Security(5156) => vec![
            Some(F::ProcessId),
            Some(F::Application),
            Some(F::Direction),
            Some(F::SourceAddress),
            Some(F::SourcePort),
            Some(F::DestAddress),
            Some(F::DestPort),
            Some(F::Protocol),
        ],
        Source::Security(4624) => after_subject(&[
            Some(F::TargetUserSid),
            Some(F::TargetUserName),
            Some(F::TargetDomainName),
            Some(F::TargetLogonId),
            Some(F::LogonType),
            None,
            Some(F::AuthenticationPackageName),
            Some(F::WorkstationName),
            None,
            None,
            None,
            None,
            Some(F::ProcessId),
            Some(F::ProcessName),
            Some(F::IpAddress),
            Some(F::IpPort),
        ]),
        Source::Security(4625) => after_subject(&[
            Some(F::TargetUserSid),
            Some(F::TargetUserName),
            Some(F::TargetDomainName),
            Some(F::Status),
            None,
            Some(F::SubStatus),
            Some(F::LogonType),
            None,
            Some(F::AuthenticationPackageName),
            Some(F::WorkstationName),
            None,
            None,
            None,
            Some(F::ProcessId),
            Some(F::ProcessName),
            Some(F::IpAddress),
            Some(F::IpPort),
        ]),
        Source::Security(4648) => after_subject(&[
            None,
            Some(F::TargetUserName),
            Some(F::TargetDomainName),
            None,
            Some(F::TargetServerName),
            None,
            Some(F::ProcessId),
            Some(F::ProcessName),
            Some(F::IpAddress),
            Some(F::IpPort),
        ]),
        Source::System(_) => [
            F::Param1,
            F::Param2,
            F::Param3,
            F::Param4,
            F::Param5,
            F::Param6,
            F::Param7,
            F::Param8,
            F::Param9,
            F::Param10,
            F::Param11,
        ]
        .map(Some)
        .to_vec(),
        Source::PowerShell(_) => [
            F::MessageNumber,
            F::MessageTotal,
            F::ScriptBlockText,
            F::ScriptBlockId,
            F::Path,
        ]
        .map(Some)
        .to_vec(),
        Source::Sysmon(id) => sysmon(id, count),
        _ => Vec::new(),
    }
}

/// Sysmon's templates begin with `RuleName` since version 10; what comes after it is in the same order before.
fn sysmon(id: u16, count: usize) -> Vec<Option<F>> {
    let process = [
        Some(F::UtcTime),
        Some(F::ProcessGuid),
        Some(F::ProcessId),
        Some(F::Image),
    ];
    let (rest, with_rule): (Vec<Option<F>>, usize) = match id {
        1 => {
            let mut rest = vec![None; if count >= 22 { 5 } else { 4 }];
            rest.extend([
                Some(F::CommandLine),
                None,
                Some(F::User),
                None,
                Some(F::LogonId),
                None,
                Some(F::IntegrityLevel),
                Some(F::Hashes),
                Some(F::ParentProcessGuid),
                Some(F::ParentProcessId),
                Some(F::ParentImage),
                Some(F::ParentCommandLine),
            ]);
            (rest, 21)
        }
        3 => (
            vec![
                Some(F::User),
                Some(F::Protocol),
                Some(F::Initiated),
                None,
                Some(F::SourceIp),
                Some(F::SourceHostname),
                Some(F::SourcePort),
                None,
                None,
                Some(F::DestinationIp),
                Some(F::DestinationHostname),
                Some(F::DestinationPort),
            ],
            18,
        ),
        5 => (vec![], 5),
        11 => (vec![Some(F::TargetFilename)], 7),
        12 | 13 => {
            // The operation comes before the time.
            let mut all = vec![None, Some(F::EventType)];
            all.extend(process);
            all.extend([Some(F::TargetObject), Some(F::Details)]);
            return all;
        }
        _ => return Vec::new(),
    };
    let rule = if count >= with_rule { vec![None] } else { vec![] };
    rule.into_iter().chain(process).chain(rest).collect()
}

/// A process id that stands beside what is the same for all events is that of who logged it, if a thread stands there too, or
/// the event's number as `Get-WinEvent` has it; else it is event data.
fn own_process(fields: &mut Fields<'_>) {
    let by_get_winevent = || fields.has(F::PlainId) && !fields.has(F::EventId) && !fields.has(F::DeviceName);
    if fields.has(F::WriterThread) || by_get_winevent() {
        return;
    }
    if let Some(process) = fields.get(F::PlainProcessId).cloned() {
        fields.put(F::ProcessId, process, false);
    }
}

/// Gives event data its names where the record has none: by its order, or from its text.
pub(super) fn name(fields: &mut Fields<'_>) {
    own_process(fields);
    if fields.inserts.is_empty() && !fields.has(F::Message) {
        return;
    }
    let Ok(source) = interpret::source(fields) else {
        return;
    };
    by_order(source, fields);
    labels::shown(source, fields);
}

/// What PowerShell writes for data that it was not asked to go into.
const NOT_WRITTEN: &str = "System.Diagnostics.Eventing.Reader.EventProperty";

fn by_order(source: Source, fields: &mut Fields<'_>) {
    let mut inserts = std::mem::take(&mut fields.inserts);
    if let ([joined], true) = (&inserts[..], fields.has(F::ChunkNumber)) {
        // `EvtxECmd` joins them.
        inserts = joined.split(", ").map(|insert| Cow::Owned(insert.to_owned())).collect();
    }
    if inserts.first().is_some_and(|insert| insert == NOT_WRITTEN) {
        return;
    }
    for (field, value) in order(source, inserts.len()).into_iter().zip(inserts) {
        if let Some(field) = field {
            fields.put(field, Value::Text(value), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_of_sysmon_s_start_of_a_process_is_known_by_its_length() {
        // Until version 7, with `RuleName` from 8 on, with `OriginalFileName` from 10 on, with `ParentUser` from 13.30 on.
        for (count, time, line) in [(20, 0, 8), (21, 1, 9), (22, 1, 10), (23, 1, 10)] {
            let order = sysmon(1, count);
            let at = |field| order.iter().position(|name| *name == Some(field));
            assert_eq!(
                (at(F::UtcTime), at(F::CommandLine)),
                (Some(time), Some(line)),
                "{count}"
            );
        }
    }
}
