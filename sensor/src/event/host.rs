//! What host logs say of an activation, a call or an attempt: see docs/JOIN.md for how a verdict comes about.

use std::sync::Arc;

use super::record::{Interval, Port, names, record};
use crate::time::Timestamp;

names! {
    /// What host logs say of that which was seen on the wire.
    #[derive(Default)]
    pub enum Verdict {
        /// They show it.
        Confirmed => "confirmed",
        /// They cover the time and show that it was not so.
        Contradicted => "contradicted",
        /// They do not show it; `coverage` says what there is.
        #[default]
        NotSeen => "not_seen",
    }

    /// Something that the wire and a host's log have in common.
    #[derive(PartialOrd, Ord)]
    pub enum Matched {
        /// A connection, by both addresses and both ports.
        FourTuple => "4-tuple",
        /// The process at the server's end of a dynamic port that a reply named.
        DynamicPortOwner => "dynamic_port_owner",
        /// The start of the process that holds the objects of the class.
        ServerProcess => "server_process",
        /// A command line, in one spelling.
        CommandLine => "command_line",
        /// The program alone.
        Program => "program",
        /// The child's parent is the process at the server's end of the connection, by its id.
        ParentPid => "parent_pid",
        /// The parent's image is one that the catalogue expects.
        ParentImage => "parent_image",
        /// A network logon from the client's address.
        Logon => "logon",
        /// An event of the COM service that names the other end.
        DcomEvent => "dcom_event",
        /// The class, by its CLSID.
        Class => "class",
        /// A library that was loaded.
        ImageLoad => "image_load",
        /// Closeness in time.
        Time => "time",
    }

    /// Whose log it is.
    #[derive(Default)]
    pub enum Role {
        /// That of the host that was called.
        #[default]
        Server => "server",
        /// That of the host that called.
        Client => "client",
    }
}

record! {
    /// What host logs say.
    #[derive(Default)]
    pub struct HostRecord in "dcom.host" {
        /// `confirmed`, `contradicted` or `not_seen`.
        verdict: Verdict => eve;
        /// The computer, as its log spells it.
        name: Option<Arc<str>> => eve;
        /// Whose log that is: the `server`'s or the `client`'s.
        role: Role => eve;
        /// How much speaks for it, from 0 to 100.
        score: u8 => eve;
        /// What the wire and the log have in common, e.g. `4-tuple`, `command_line`, `parent_image`, `logon`.
        matched_on: Vec<Matched> => eve;
        /// The same in sentences, and what was missed.
        because: Vec<String> => eve;
        /// From the activation (of a call: the one that it descends from, where that was seen, else the call itself) to the
        /// event in `source`, by both clocks as they are.
        time_delta: Option<Interval> => eve "time_delta_ms";
        /// The same from the call.
        call_delta: Option<Interval> => eve "call_delta_ms";
        /// How far the host's clock is ahead of the sensor's, as far as connections that both saw tell.
        clock_skew: Option<SkewRecord> => group;
        /// The process that was started by it; of an activation without one, the process that holds the object.
        process: Option<ProcessRecord> => group;
        /// The process that started that one.
        parent: Option<ParentRecord> => group;
        /// The process at the client's end, where the client's log tells.
        client_process: Option<ClientProcessRecord> => group;
        /// The logon on the server.
        logon: Option<LogonRecord> => group;
        /// What the log has around that time, where something was missed.
        coverage: Option<CoverageRecord> => group;
        /// Of a call that loads a library: that which the process loaded after it.
        loaded: Option<Arc<str>> => eve;
        /// The event that `process` is from, or `library` where there is one, e.g. `Sysmon 1`.
        source: Option<String> => eve;
        /// Where that event stands.
        place: Option<PlaceRecord> => group;
        /// In a `host_confirmation`: the alert that it is about, which has the same `timestamp`, `flow_id` and `community_id`.
        alert: Option<AboutAlert> => group;
    }
}

record! {
    /// How far a host's clock is ahead.
    pub struct SkewRecord in "dcom.host.clock_skew" {
        /// The median; behind where negative.
        median: Interval => eve "ms";
        /// Of so many connections.
        connections: u32 => eve;
        /// By the times in these events.
        source: String => eve;
        /// Was it needed, to find what fits? Elsewhere times are compared as they are.
        used: bool => eve;
    }
}

record! {
    /// A process, as the log has it.
    #[derive(Default)]
    pub struct ProcessRecord in "dcom.host.process" {
        /// Its id.
        pid: Option<u32> => eve;
        /// The path of its image.
        image: Option<Arc<str>> => eve;
        /// Its command line.
        command_line: Option<Arc<str>> => eve;
        /// As whom it runs.
        user: Option<String> => eve;
    }
}

record! {
    /// The process that started it.
    #[derive(Default)]
    pub struct ParentRecord in "dcom.host.parent" {
        /// Its id.
        pid: Option<u32> => eve;
        /// The path of its image.
        image: Option<Arc<str>> => eve;
        /// Its command line.
        command_line: Option<Arc<str>> => eve;
    }
}

record! {
    /// The process at the client's end.
    #[derive(Default)]
    pub struct ClientProcessRecord in "dcom.host.client_process" {
        /// Its id.
        pid: Option<u32> => eve;
        /// The path of its image.
        image: Option<Arc<str>> => eve;
        /// As whom it runs.
        user: Option<String> => eve;
    }
}

record! {
    /// A logon.
    #[derive(Default)]
    pub struct LogonRecord in "dcom.host.logon" {
        /// Who.
        user: Option<String> => eve;
        /// Its number on that host.
        id: Option<String> => eve;
        /// How, e.g. `Kerberos`.
        package: Option<Arc<str>> => eve;
        /// The client's port, where the log has it.
        port: Option<Port> => eve;
    }
}

record! {
    /// What a host's log has.
    #[derive(Default)]
    pub struct CoverageRecord in "dcom.host.coverage" {
        /// Its first event of any use here.
        first: Option<Timestamp> => eve;
        /// Its last.
        last: Option<Timestamp> => eve;
        /// Which kinds of them, each with how many.
        kinds: Vec<String> => eve;
    }
}

record! {
    /// Where an event stands.
    #[derive(Default)]
    pub struct PlaceRecord in "dcom.host.place" {
        /// The input.
        input: Option<Arc<str>> => eve;
        /// The number of the record in it.
        record: u64 => eve;
        /// When it happened by the host's clock.
        timestamp: Timestamp => eve;
    }
}

record! {
    /// The alert that a confirmation is about.
    pub struct AboutAlert in "dcom.host.alert" {
        /// Its signature's number.
        signature_id: u32 => eve;
        /// Its severity then.
        severity: &'static str => eve;
        /// The same with what the host says: a step up where it is confirmed.
        severity_now: &'static str => eve;
    }
}
