//! A process created through WMI, when the calls are sealed: by their lengths. Windows seals them whenever it can.

use std::net::IpAddr;

use dcom_parsers::guid::Ipid;
use dcom_parsers::ndr::Encoding;

use super::managed::is_wmi;
use super::remembered::Remembered;
use super::signature::WMI_PROCESS;
use super::{Context, Detection, Found, Seen, Settings, address, alert, as_whom, result};
use crate::dcom::Record;
use crate::event::dcom::{Evidence, Kind};
use crate::event::meta::Place;
use crate::severity::Severity;

/// [MS-WMI] 3.1.4.3.4 `IWbemServices::GetObject` (Opnum 6).
const GET_OBJECT: u16 = 6;
/// [MS-WMI] 3.1.4.3.22 `IWbemServices::ExecMethod` (Opnum 24).
const EXEC_METHOD: u16 = 24;

/// A request of `GetObject` for `Win32_Process`, as Windows sends it, and as impacket does, without a context.
const GET_WIN32_PROCESS: [u32; 2] = [96, 108];
/// Behind the first request of a connection stands what vouches for its bind.
const TRAILERS: [u32; 5] = [0, 52, 60, 72, 80];
/// The answer of Windows to `Win32_Process.Create`: an object with two numbers, `ProcessId` and `ReturnValue`.
const CREATED: u32 = 1160;
/// Less than this holds no method, class and object of parameters.
const LEAST: u32 = 300;

/// An object got that may be the class.
#[derive(Clone)]
struct Got {
    place: Place,
    length: u32,
    /// The connection. Who got it over another one began anew, were the object the same.
    flow: Option<u64>,
    told: bool,
}

/// Waits for a method to be run on what may be `Win32_Process`.
pub(super) struct SealedProcess {
    got: Remembered<(IpAddr, IpAddr, Ipid), Got>,
}

impl SealedProcess {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            got: Remembered::new(settings.remembered, settings.sealed_patience),
        }
    }
}

impl Detection for SealedProcess {
    fn see(&mut self, seen: &Seen<'_>, context: &Context<'_>, found: &mut Vec<Found>) {
        let Seen::Record(record) = seen else { return };
        let Record {
            meta, dcom, encoding, ..
        } = *record;
        // Some clients call it in the context of the login before it, which has no operation of ExecMethod's number.
        let (Kind::Call, true, Some(length)) = (dcom.kind, is_wmi(seen), dcom.sealed_stub_length) else {
            return;
        };
        let (Some(client), Some(server), Some(ipid)) = (meta.client, meta.server, dcom.ipid) else {
            return;
        };
        if *encoding == Some(Encoding::Ndr64) {
            return;
        }
        let key = (client.address, server.address, ipid);
        let place = meta.place();
        match dcom.opnum {
            Some(GET_OBJECT) if fits(length) => {
                let (flow, told) = (meta.flow_id, false);
                let got = Got {
                    place,
                    length,
                    flow,
                    told,
                };
                let earlier = self.got.entry(key, context.when(meta), || got.clone());
                let told = earlier.told && earlier.flow == flow;
                *earlier = Got { told, ..got };
            }
            Some(EXEC_METHOD) if length >= LEAST => {
                let Some(got) = self.got.get(&key, context.when(meta)) else {
                    return;
                };
                if !got.told {
                    got.told = true;
                    found.push(tell(record, got));
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, settings: &Settings) {
        self.got.keep_for(settings.sealed_patience);
    }

    fn forget(&mut self) {
        self.got.clear();
    }

    fn forgotten(&self) -> u64 {
        self.got.forgotten()
    }
}

fn fits(length: u32) -> bool {
    let mut fitting = GET_WIN32_PROCESS.iter();
    fitting.any(|get| TRAILERS.iter().any(|trailer| length == get + trailer))
}

fn tell(record: &Record, got: &Got) -> Found {
    let mut record = record.clone();
    let length = record.dcom.sealed_stub_length.unwrap_or_default();
    let Got {
        place, length: asked, ..
    } = got;
    let mut because = vec![
        format!("{place}: GetObject of {asked} bytes fits `Win32_Process`"),
        format!("ExecMethod of {length} bytes brings an object with parameters"),
    ];
    let created = record.dcom.sealed_reply_length == Some(CREATED);
    if created {
        because.push(format!(
            "its answer of {CREATED} bytes is as long as that to `Win32_Process.Create`"
        ));
    }
    record.dcom.evidence = Evidence::Inferred;
    record.dcom.because.extend(because.into_iter().map(Into::into));
    let message = format!(
        "{} called a WMI method on {}{}, sealed, perhaps Win32_Process.Create: {}",
        address(record.meta.client),
        address(record.meta.server),
        as_whom(&record.dcom.client),
        result(&record.dcom),
    );
    let confidence = if created { "medium" } else { "low" };
    alert(&WMI_PROCESS, Severity::Low, confidence, message, &record)
}

#[cfg(test)]
mod tests {
    use dcom_parsers::names::known;

    use dcom_parsers::wmi::IWBEM_SERVICES;

    use super::super::testing::{Rig, activation, call};
    use super::*;
    use crate::event::dcom::Interface;

    fn sealed(opnum: u16, length: u32, reply: u32) -> Record {
        let mut record = call(&activation("WbemLevel1Login (WMI)").from(9).to(1), "");
        record.dcom.opnum = Some(opnum);
        record.dcom.ipid = Some(Ipid(known::IUNKNOWN));
        record.dcom.interface = Some(Interface {
            uuid: IWBEM_SERVICES,
            name: None,
        });
        (record.dcom.sealed_stub_length, record.dcom.sealed_reply_length) = (Some(length), Some(reply));
        record
    }

    fn told(calls: &[(u16, u32, u32)]) -> Vec<(Severity, String)> {
        let mut rig = Rig::new(SealedProcess::new(&Settings::default()));
        for &(opnum, length, reply) in calls {
            rig.see(sealed(opnum, length, reply));
        }
        let found = rig.found().into_iter();
        let worth = found.map(|found| (found.alert.severity, found.alert.metadata.confidence[0].to_string()));
        worth.collect()
    }

    #[test]
    fn lengths_of_windows_are_told_once_and_surer_than_others() {
        let windows = [(6, 148, 21_776), (6, 96, 21_776), (24, 7076, 1160), (24, 7100, 1160)];
        assert_eq!(told(&windows), [(Severity::Low, "medium".to_owned())]);
        assert_eq!(
            told(&[(6, 108, 988), (24, 572, 300)]),
            [(Severity::Low, "low".to_owned())]
        );
    }

    #[test]
    fn the_same_object_over_another_connection_is_told_again() {
        let mut rig = Rig::new(SealedProcess::new(&Settings::default()));
        for flow in [1, 1, 2] {
            for (opnum, length, reply) in [(6, 96, 21_776), (24, 7076, 1160), (24, 7100, 1160)] {
                let mut record = sealed(opnum, length, reply);
                record.meta.flow_id = Some(flow);
                rig.see(record);
            }
        }
        assert_eq!(rig.found().len(), 2);
    }

    #[test]
    fn other_names_and_methods_without_the_object_are_none() {
        assert!(told(&[(6, 88, 9000), (24, 7076, 1160)]).is_empty(), "StdRegProv");
        assert!(told(&[(24, 7076, 1160)]).is_empty());
        assert!(told(&[(6, 96, 9000), (20, 300, 80)]).is_empty(), "a query");
        assert!(told(&[(6, 96, 9000), (24, 100, 80)]).is_empty(), "too short");
    }
}
