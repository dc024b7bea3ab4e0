//! What the sensor says: an envelope and a body. Emitters know form only and name no field; the columns are here.

pub mod alert;
pub mod anomaly;
pub mod dcerpc;
pub mod dcom;
pub mod ecs;
pub mod few;
pub mod flow;
pub mod host;
pub mod host_alert;
pub mod login;
pub mod meta;
pub mod ocsf;
mod parties;
pub mod record;
mod reference;
#[cfg(test)]
pub(crate) mod samples;
mod schema;
mod shared;
pub mod stats;

use std::net::IpAddr;

pub use alert::Alert;
pub use anomaly::Anomaly;
pub use dcerpc::Dcerpc;
pub use dcom::Dcom;
pub use flow::Flow;
pub use host_alert::HostAlert;
pub use meta::Meta;
pub use reference::reference;
pub use schema::{ecs_template, eve_schema};
pub use shared::Shared;
pub use stats::Stats;

use alert::Notice;
use anomaly::Weird;
use dcerpc::{Circumstances, NtlmRow, ZeekRow};
use dcom::Kind;
use record::{Column, Columns, Field, Record, Value};
use stats::{CaptureLossRow, StatsRow};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, where, between whom.
    pub meta: Meta,
    /// What.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// An activation, an OXID resolution, an endpoint mapping or an object call.
    Dcom(Shared<Dcom>),
    /// A detection that fired.
    Alert(Box<Alert>),
    /// An RPC exchange.
    Dcerpc(Shared<Dcerpc>),
    /// Something odd on the wire.
    Anomaly(Box<Anomaly>),
    /// A connection that carried RPC, at its end.
    Flow(Box<Flow>),
    /// A login by NTLM: in `ntlm.log` alone.
    Login(Box<NtlmRow>),
    /// Counters.
    Stats(Box<Stats>),
}

/// One of the Zeek logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeekLog {
    /// Its `#path`, and its file's name without the ending.
    pub path: &'static str,
    /// The records that make a row, in order.
    parts: &'static [&'static [Column]],
    /// Which of their columns with a name there it has: to ask that by name costs more than to write the row.
    kept: &'static [bool],
}

/// A Zeek log of some records, without some of their columns.
macro_rules! zeek_log {
    ($path:literal, [$($part:expr),+], $without:expr) => {{
        const PARTS: &[&[Column]] = &[$($part),+];
        const KEPT: [bool; record::count(PARTS)] = record::kept(PARTS, $without);
        Self {
            path: $path,
            parts: PARTS,
            kept: &KEPT,
        }
    }};
}

/// Columns of the envelope that a row about no connection does not have.
const OF_A_CONNECTION: &[&str] = &["uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "rtt"];

impl ZeekLog {
    pub(crate) const DCE_RPC: Self = zeek_log!("dce_rpc", [Meta::COLUMNS, ZeekRow::COLUMNS], &[]);
    pub(crate) const NTLM: Self = zeek_log!("ntlm", [Meta::COLUMNS, NtlmRow::COLUMNS], &["rtt"]);
    pub(crate) const DCOM: Self = zeek_log!(
        "dcom",
        [Meta::COLUMNS, Dcom::COLUMNS],
        &[
            "ipid",
            "object_path",
            "method",
            "dispid",
            "arguments",
            "command_line",
            "decoded_command",
            "result",
            "activation_frame",
            "activation_ts",
            "activation_proof",
        ]
    );
    pub(crate) const DCOM_CALL: Self = zeek_log!(
        "dcom_call",
        [Meta::COLUMNS, Dcom::COLUMNS],
        &[
            "kind",
            "target_name",
            "class_context",
            "file_name",
            "storage",
            "ipid_rem_unknown",
            "authn_hint",
            "bindings",
            "endpoint_h",
            "endpoint_p",
            "learned_from",
            "followed",
            "runs_as",
            "session_id",
        ]
    );
    pub(crate) const NOTICE: Self = zeek_log!("notice", [Meta::COLUMNS, Notice::COLUMNS], &["rtt"]);
    pub(crate) const WEIRD: Self = zeek_log!("weird", [Meta::COLUMNS, Weird::COLUMNS], &["rtt"]);
    pub(crate) const STATS: Self = zeek_log!("stats", [Meta::COLUMNS, StatsRow::COLUMNS], OF_A_CONNECTION);
    pub(crate) const CAPTURE_LOSS: Self = zeek_log!(
        "capture_loss",
        [Meta::COLUMNS, CaptureLossRow::COLUMNS],
        OF_A_CONNECTION
    );

    /// Every Zeek log there can be.
    pub const ALL: &'static [&'static Self] = &[
        &Self::DCE_RPC,
        &Self::NTLM,
        &Self::DCOM,
        &Self::DCOM_CALL,
        &Self::NOTICE,
        &Self::WEIRD,
        &Self::STATS,
        &Self::CAPTURE_LOSS,
    ];

    /// Its columns by name, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &'static Column)> {
        let columns = self.parts.iter().flat_map(|part| part.iter());
        let named = columns.filter_map(|column| Some((column.zeek?, column)));
        named.zip(self.kept).filter(|(_, kept)| **kept).map(|(named, _)| named)
    }
}

/// One kind of line in eve.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EveType {
    /// Its `event_type`.
    pub name: &'static str,
    /// The records that make a line, in order.
    parts: &'static [&'static [Column]],
}

impl EveType {
    const ALERT: Self = Self {
        name: "alert",
        parts: &[Meta::COLUMNS, Alert::COLUMNS],
    };
    const DCOM: Self = Self {
        name: "dcom",
        parts: &[Meta::COLUMNS, Dcom::COLUMNS],
    };
    const DCERPC: Self = Self {
        name: "dcerpc",
        parts: &[Meta::COLUMNS, Dcerpc::COLUMNS, Circumstances::COLUMNS],
    };
    const ANOMALY: Self = Self {
        name: "anomaly",
        parts: &[Meta::COLUMNS, Anomaly::COLUMNS],
    };
    const FLOW: Self = Self {
        name: "flow",
        parts: &[Meta::COLUMNS, Flow::COLUMNS],
    };
    /// Of no line: Suricata has logins in its events of SMB, which there are none of here.
    const NONE: Self = Self {
        name: "",
        parts: &[Meta::COLUMNS],
    };
    const STATS: Self = Self {
        name: "stats",
        parts: &[Meta::COLUMNS, Stats::COLUMNS],
    };

    /// Every kind of line there can be.
    pub const ALL: &'static [&'static Self] = &[
        &Self::ALERT,
        &Self::DCOM,
        &Self::DCERPC,
        &Self::ANOMALY,
        &Self::FLOW,
        &Self::STATS,
    ];

    /// Its columns by path, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &'static Column)> {
        self.parts
            .iter()
            .flat_map(|part| part.iter())
            .filter_map(|column| Some((column.eve?, column)))
    }
}

impl Body {
    /// The kind of line it is in eve.json.
    pub const fn eve_type(&self) -> &'static EveType {
        match self {
            Self::Dcom(_) => &EveType::DCOM,
            Self::Alert(_) => &EveType::ALERT,
            Self::Dcerpc(_) => &EveType::DCERPC,
            Self::Anomaly(_) => &EveType::ANOMALY,
            Self::Flow(_) => &EveType::FLOW,
            Self::Login(_) => &EveType::NONE,
            Self::Stats(_) => &EveType::STATS,
        }
    }

    /// Has it a line in eve.json? What a worker counted stands there in the record of all of them, under `threads`.
    pub fn is_in_eve(&self) -> bool {
        match self {
            Self::Stats(stats) => stats.worker.is_none(),
            Self::Login(_) => false,
            _ => true,
        }
    }

    /// The Zeek logs it has a row in, if any.
    pub fn zeek_logs(&self) -> &'static [&'static ZeekLog] {
        match self {
            // In rows it stands already, as it was when it was told.
            Self::Dcom(dcom) if dcom.update == Some(true) => &[],
            // Nor does what hosts say have columns there.
            Self::Dcom(dcom) if dcom.kind == Kind::HostConfirmation => &[],
            Self::Dcom(dcom) if dcom.is_object_call() => &[&ZeekLog::DCOM_CALL],
            Self::Dcom(_) => &[&ZeekLog::DCOM],
            Self::Alert(_) => &[&ZeekLog::NOTICE],
            // Zeek writes a row at the reply to a request only.
            Self::Dcerpc(dcerpc) if dcerpc.zeek_row.is_some() => &[&ZeekLog::DCE_RPC],
            Self::Anomaly(_) => &[&ZeekLog::WEIRD],
            // Zeek tells all connections in its conn.log, not those of one protocol.
            Self::Dcerpc(_) | Self::Flow(_) => &[],
            Self::Login(_) => &[&ZeekLog::NTLM],
            Self::Stats(_) => &[&ZeekLog::STATS, &ZeekLog::CAPTURE_LOSS],
        }
    }
}

impl Event {
    /// Shows what stands in its line of eve.json: column and value, in order.
    pub fn eve(&self, visitor: impl Columns) {
        let [source, target] = self.addresses_alone();
        let mut line = EveLine {
            name: self.body.eve_type().name,
            source,
            target,
            visitor,
        };
        self.meta.show(&mut line);
        match &self.body {
            Body::Dcom(body) => body.show(&mut line),
            Body::Alert(body) => body.show(&mut line),
            Body::Dcerpc(body) => {
                body.show(&mut line);
                body.circumstances.show(&mut line);
            }
            Body::Anomaly(body) => body.show(&mut line),
            Body::Flow(body) => body.show(&mut line),
            Body::Login(_) => {}
            Body::Stats(body) => body.show(&mut line),
        }
    }

    /// What a host's log knows of the two ends where it knows of no connection: addresses without ports.
    fn addresses_alone(&self) -> [Option<IpAddr>; 2] {
        match &self.body {
            Body::Alert(alert) => alert.addresses_alone(),
            _ => [None; 2],
        }
    }

    /// Shows what stands in its row of one of its Zeek logs: column and value, in that log's order.
    pub fn zeek(&self, log: &ZeekLog, visitor: impl Columns) {
        let mut row = ZeekCells {
            kept: log.kept,
            visitor,
        };
        self.meta.show(&mut row);
        match &self.body {
            Body::Dcom(body) => body.show(&mut row),
            Body::Alert(body) => Notice::of(&self.meta, body).show(&mut row),
            Body::Dcerpc(body) => body.zeek_row.show(&mut row),
            Body::Anomaly(body) => Weird::of(body).show(&mut row),
            Body::Flow(_) => {}
            Body::Login(body) => body.show(&mut row),
            Body::Stats(body) if log.path == ZeekLog::STATS.path => StatsRow::of(body).show(&mut row),
            Body::Stats(body) => CaptureLossRow::of(body).show(&mut row),
        }
    }
}

/// Shows the columns that are in eve.json, and there what the envelope cannot know.
struct EveLine<V> {
    /// The name of the event's body.
    name: &'static str,
    /// The two ends where there is no connection.
    source: Option<IpAddr>,
    target: Option<IpAddr>,
    visitor: V,
}

impl<V: Columns> Columns for EveLine<V> {
    const UNSET_TOO: bool = V::UNSET_TOO;

    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it stands at each column, of which all but the value is known when the program is built"
    )]
    fn column(&mut self, column: &'static Column, value: Value<'_>) {
        let value = match (column.eve, value) {
            (None, _) => return,
            (Some(_), Value::EventType) => Value::Word(self.name),
            (Some("src_ip"), Value::Unset) => self.source.map_or(value, Value::Addr),
            (Some("dest_ip"), Value::Unset) => self.target.map_or(value, Value::Addr),
            (Some(_), value) => value,
        };
        self.visitor.column(column, value);
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the same")]
    fn list<T: Field>(&mut self, column: &'static Column, list: &Vec<T>) {
        if column.eve.is_some() {
            self.visitor.list(column, list);
        }
    }
}

/// Shows the columns that a Zeek log has.
struct ZeekCells<V> {
    /// Of those to come.
    kept: &'static [bool],
    visitor: V,
}

impl<V: Columns> Columns for ZeekCells<V> {
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it stands at each column, of which all but the value is known when the program is built"
    )]
    fn column(&mut self, column: &'static Column, value: Value<'_>) {
        if column.zeek.is_some()
            && let Some((kept, rest)) = self.kept.split_first()
        {
            self.kept = rest;
            if *kept {
                self.visitor.column(column, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::event::record::Place;

    fn assert_well_named<'c>(columns: impl Iterator<Item = (&'c str, &'c Column)>) {
        let mut known = HashSet::new();
        for (name, column) in columns {
            assert!(known.insert(name), "{name} stands twice in one line");
            for word in name.split('.') {
                assert!(word.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
                assert!(
                    word.chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                    "{name}"
                );
            }
            assert!(
                column.doc.trim().len() > 3 && column.doc.ends_with(['.', '?']),
                "{name} is not explained"
            );
        }
        assert!(known.len() > 5);
    }

    #[test]
    fn objects_are_told_apart_by_their_numbers() {
        let mut known: HashMap<u32, &str> = HashMap::new();
        for (path, column) in EveType::ALL.iter().flat_map(|kind| kind.columns()) {
            let Place {
                path: object,
                id,
                outer,
                depth,
                opening,
            } = column.eve_place;
            let (expected, name) = path.rsplit_once('.').unwrap_or(("", path));
            assert_eq!(object, expected);
            assert_eq!(*known.entry(id).or_insert(object), object, "{path}");
            assert_eq!(column.eve_key, format!("\"{name}\":\"").as_bytes());
            assert_eq!(depth, path.matches('.').count(), "{path}");
            if !object.is_empty() {
                let (expected, name) = object.rsplit_once('.').unwrap_or(("", object));
                assert_eq!(*known.entry(outer).or_insert(expected), expected, "{path}");
                assert_eq!(opening, format!("\"{name}\":{{").as_bytes());
            }
        }
        assert!(known.len() > 10);
    }

    #[test]
    fn names_are_unique_and_snake_case_and_explained() {
        for kind in EveType::ALL {
            assert_well_named(kind.columns());
        }
        for log in ZeekLog::ALL {
            assert_well_named(log.columns());
        }
    }

    #[test]
    fn an_object_is_opened_once_in_a_line() {
        for kind in EveType::ALL {
            let mut closed: HashSet<&str> = HashSet::new();
            let mut open: Vec<&str> = Vec::new();
            for (path, _) in kind.columns() {
                let parents: Vec<&str> = path
                    .match_indices('.')
                    .map(|(end, _)| path.get(..end).unwrap_or_default())
                    .collect();
                closed.extend(open.iter().copied().filter(|path| !parents.contains(path)));
                assert!(!closed.contains(path), "{path} is a value and an object");
                for parent in &parents {
                    assert!(
                        !closed.contains(parent),
                        "{}: {parent} is opened again for {path}",
                        kind.name
                    );
                }
                open = parents;
            }
        }
    }

    #[test]
    fn what_is_shown_is_what_was_declared() {
        for event in samples::all() {
            let mut shown = Vec::new();
            event.eve(|column: &Column, _: Value<'_>| shown.extend(column.eve));
            assert!(
                shown
                    .iter()
                    .copied()
                    .eq(event.body.eve_type().columns().map(|(path, _)| path)),
                "{shown:?}"
            );
            for log in event.body.zeek_logs() {
                let mut shown = Vec::new();
                event.zeek(log, |column: &Column, _: Value<'_>| shown.extend(column.zeek));
                assert!(
                    shown.iter().copied().eq(log.columns().map(|(name, _)| name)),
                    "{shown:?}"
                );
            }
        }
    }

    #[test]
    fn a_call_that_was_not_answered_has_no_row_in_dce_rpc_log() {
        let unanswered = Body::Dcerpc(Shared::default());
        assert!(unanswered.zeek_logs().is_empty());
        let answered = Body::Dcerpc(Shared::new(Dcerpc {
            zeek_row: Some(ZeekRow::default()),
            ..Dcerpc::default()
        }));
        assert!(answered.zeek_logs().iter().map(|log| log.path).eq(["dce_rpc"]));
    }
}
