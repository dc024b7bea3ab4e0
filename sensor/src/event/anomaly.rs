//! What was odd on the wire.

use std::borrow::Cow;

use super::record::{names, record};

names! {
    /// The part of the sensor that found something odd, in Suricata's words.
    #[derive(Default)]
    pub enum AnomalyKind {
        /// Below TCP: a header that could not be read, a wrong checksum.
        Decode => "decode",
        /// TCP: bytes lost, overlaps that differ.
        Stream => "stream",
        /// DCE/RPC and above.
        #[default]
        Applayer => "applayer",
    }
}

record! {
    /// Something odd on the wire. `weird.log` tells it in Zeek's columns.
    #[derive(Default)]
    pub struct Anomaly {
        /// The protocol, when it is known: `dcerpc`.
        app_proto: Option<&'static str> => eve "anomaly.app_proto";
        /// Where it was found: `decode`, `stream` or `applayer`.
        kind: AnomalyKind => eve "anomaly.type";
        /// What was odd: a fact, in `snake_case`.
        event: Cow<'static, str> => eve "anomaly.event";
        /// The layer in Suricata's words, e.g. `proto_parser`.
        layer: Option<&'static str> => eve "anomaly.layer";
        /// Structure, offset and cause.
        detail: Option<String> => eve "dcom.detail";
        /// How many of them this line stands for; unset is one.
        count: Option<u64> => eve "dcom.count";
    }
}

record! {
    /// An anomaly in the columns of Zeek's `weird.log`.
    pub struct Weird {
        /// What was odd.
        name: Cow<'static, str> => zeek;
        /// More about it.
        addl: Option<String> => zeek;
        /// Has it become a notice? Never.
        notice: bool => zeek;
        /// Who says so.
        peer: Option<&'static str> => zeek;
        /// Which analyzer says so, e.g. `DCE_RPC`.
        source: Option<&'static str> => zeek;
    }
}

impl Weird {
    /// Tells an anomaly as Zeek would.
    pub fn of(anomaly: &Anomaly) -> Self {
        Self {
            name: anomaly.event.clone(),
            addl: anomaly.detail.clone(),
            notice: false,
            peer: Some("dcom-sensor"),
            source: match anomaly.kind {
                AnomalyKind::Decode => Some("IP"),
                AnomalyKind::Stream => Some("TCP"),
                AnomalyKind::Applayer => Some("DCE_RPC"),
            },
        }
    }
}
