//! Pairs of which one manages the other by WMI: what a sealed activation between them was for, most likely.

use std::net::IpAddr;

use dcom_parsers::wmi::{IWBEM_LEVEL1_LOGIN, IWBEM_SERVICES};

use super::Seen;
use super::remembered::Remembered;
use super::settings::Settings;
use crate::event::dcom::Kind;
use crate::time::Timestamp;

/// Calls come by the thousand: the time of a pair is put forward once in so many nanoseconds.
const STEP: i64 = 60_000_000_000;

/// Who called WMI of whom, and when last.
pub(super) struct Managed(Remembered<(IpAddr, IpAddr), Timestamp>);

impl Managed {
    pub(super) fn new(settings: &Settings) -> Self {
        Self(Remembered::new(settings.remembered, settings.quiet))
    }

    /// Something was seen. Had its client called WMI of its server lately?
    pub(super) fn see(&mut self, seen: &Seen<'_>, now: Timestamp) -> bool {
        let is_wmi = is_wmi(seen);
        // Nobody asks that of other calls, of which there are most.
        let is_call = matches!(seen, Seen::Record(record) if record.dcom.kind == Kind::Call);
        let Some(pair) = seen.pair().filter(|_| is_wmi || !is_call) else {
            return false;
        };
        let last = self.0.get(&pair, now).copied();
        if is_wmi && last.is_none_or(|at| now.since(at) > STEP) {
            *self.0.entry(pair, now, || now) = now;
        }
        last.is_some()
    }

    pub(super) fn set(&mut self, settings: &Settings) {
        self.0.keep_for(settings.quiet);
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.0.forgotten()
    }
}

/// Is it a call of WMI? The interface is in clear, whatever is sealed.
pub(super) fn is_wmi(seen: &Seen<'_>) -> bool {
    let Seen::Record(record) = seen else { return false };
    let interface = record.dcom.interface.as_ref();
    interface.is_some_and(|it| [IWBEM_LEVEL1_LOGIN, IWBEM_SERVICES].contains(&it.uuid))
}
