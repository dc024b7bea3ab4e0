//! Attempts that nobody answered, and activations that were refused: what the COM service says of them.

use std::net::IpAddr;

use super::super::case::Case;
use super::super::skew::{FARTHEST, Signed};
use super::super::store::Lookup;
use super::super::wire::Seen;
use super::told::{account, precision, process, process_record, tell_skew, tell_source};
use super::verdict::score;
use super::{EARLIER, Known, LOOKED_AT};
use crate::decode::Endpoint;
use crate::event::host::{HostRecord, Matched, Role, Verdict};
use crate::host_log::event::{DcomError, Source};
use crate::host_log::{HostBody, HostEvent};
use crate::time::Timestamp;

/// What a host's log says of an attempt.
pub(in crate::correlate) struct Attempt<'k> {
    pub(in crate::correlate) record: HostRecord,
    /// The event that names what was asked for.
    pub(in crate::correlate) error: Option<(Source, &'k DcomError)>,
}

impl<'k> Known<'k> {
    /// What the log of a host says of its attempt to reach another's activator: the event that names the class, or at least
    /// the connection.
    pub(in crate::correlate) fn attempt(
        &self,
        client: Endpoint,
        server: Endpoint,
        at: Timestamp,
    ) -> Option<Attempt<'k>> {
        let seen = Seen {
            client,
            server,
            at,
            opened: true,
        };
        let mut record = HostRecord {
            role: Role::Client,
            ..HostRecord::default()
        };
        let near = |event: &HostEvent| event.time.since(seen.at).abs() <= FARTHEST;
        let connection = self
            .store
            .of_connection(client, server)
            .filter(|(_, event)| near(event))
            .min_by_key(|(_, event)| (precision(event), event.time.since(at).abs()));
        let host = connection
            .map(|(host, _)| host)
            .or_else(|| self.logged(client.address))?;
        record.name = Some(self.names.name(host));
        if let Some((_, event)) = connection
            && let HostBody::NetworkConnect(connect) = &event.body
        {
            record.matched_on.push(Matched::FourTuple);
            record.because.push(format!(
                "{}: {} opened {}:{} → {}:{}",
                event.source,
                process(&connect.process),
                client.address,
                client.port,
                server.address,
                server.port
            ));
            tell_source(event, at, &mut record);
            record.process = Some(process_record(&connect.process, account(&connect.account)));
        }
        let mut skew = self.skews.of(host);
        let range = Self::around(at, skew.as_ref(), self.window, self.window);
        let named = self.names.of(server.address);
        let named = named.map(|(_, known)| Lookup::unreached(&self.names.name(known)));
        let by_address = Lookup::unreached(&server.address.to_string());
        let (before, after) = (*range.start()..=at, at..=*range.end());
        let errors = named.chain([by_address]).flat_map(|lookup| {
            let before = self.store.found(host, lookup, before.clone()).rev().take(LOOKED_AT);
            before.chain(self.store.found(host, lookup, after.clone()).take(LOOKED_AT))
        });
        let errors = errors.filter_map(|event| match &event.body {
            HostBody::DcomError(error) if self.is_about(error, server.address) => Some((event, &**error)),
            _ => None,
        });
        let error = errors.min_by_key(|(event, _)| event.time.since(at).abs());
        if let Some((event, error)) = error {
            record.matched_on.push(Matched::DcomEvent);
            record.because.push(format!(
                "{}: {} could not reach {}, {} after the attempt{}",
                event.source,
                process(&error.process),
                error.target.as_deref().unwrap_or("?"),
                Signed(event.time.since(at)),
                error
                    .clsid
                    .map(|clsid| format!(", and names the class {clsid}"))
                    .unwrap_or_default(),
            ));
            if event.time.since(at).abs() > self.window {
                tell_skew(&mut skew, &mut record);
            }
            tell_source(event, at, &mut record);
            // Such an event may know the account by its SID alone.
            let user = account(&error.account).or_else(|| error.account.sid.as_deref().map(str::to_owned));
            record.process = Some(process_record(&error.process, user));
            record.verdict = Verdict::Confirmed;
        } else {
            record.coverage = Some(self.coverage(host));
        }
        record.clock_skew = skew;
        record.score = score(&record.matched_on);
        record.matched_on.sort_unstable();
        let error = error.map(|(event, error)| (event.source, error));
        Some(Attempt { record, error })
    }

    fn is_about(&self, error: &DcomError, server: IpAddr) -> bool {
        let Some(target) = error.target.as_deref() else {
            return false;
        };
        match target.parse::<IpAddr>() {
            Ok(address) => address.to_canonical() == server,
            Err(_) => self
                .names
                .find(target)
                .is_some_and(|host| self.names.of(server).any(|(_, known)| known == host)),
        }
    }

    /// What a target's log says of a class that was asked for under seal, and refused.
    pub(in crate::correlate) fn refused_class(&self, case: &Case<'_>) -> Option<(Source, &'k DcomError)> {
        let host = self.logged(case.server.address)?;
        let skew = self.skews.of(host);
        let range = Self::around(case.at, skew.as_ref(), EARLIER, self.window);
        self.store
            .found(host, Lookup::Refused(case.client.address), range)
            .take(LOOKED_AT)
            .find_map(|event| match &event.body {
                HostBody::DcomError(error) if !error.local && error.address == Some(case.client.address) => {
                    error.clsid.map(|_| (event.source, &**error))
                }
                _ => None,
            })
    }
}
