//! What the sensor counted.

use std::borrow::Cow;

use super::record::{Field, Interval, Value, record};

record! {
    /// Counters, at the end of a run.
    #[derive(Default)]
    pub struct Stats {
        /// Each counter by its dotted name, e.g. `decoder.pkts`; the sensor's own begin with `dcom`.
        counters: Counters => group(EveCounters);
        /// What they were at the record before; empty at the first.
        before: Counters => apart;
        /// Since then, or since the start.
        interval: Interval => apart;
        /// Which worker counted; none when it is all of them. Zeek calls that a peer.
        worker: Option<usize> => apart;
    }
}

record! {
    /// Counters in eve.json: what Suricata counts too stands where it has it, the rest beside it.
    pub struct EveCounters {
        /// What Suricata counts too, each counter by its dotted name, e.g. `decoder.pkts`.
        theirs: Counters => eve "stats";
        /// The sensor's own.
        own: Counters => eve "dcom";
    }
}

impl From<&Counters> for EveCounters {
    fn from(all: &Counters) -> Self {
        let own = |&(name, count): &(&'static str, u64)| Some((name.strip_prefix("dcom.")?, count));
        Self {
            theirs: Counters(all.0.iter().filter(|counter| own(counter).is_none()).copied().collect()),
            own: Counters(all.0.iter().filter_map(own).collect()),
        }
    }
}

record! {
    /// Counters in the columns of Zeek's `stats.log`. Counts are since the row before; what is not counted here is never set.
    pub struct StatsRow {
        /// Who says so: `dcom-sensor` for all of it; live also each worker, `worker-1` and so on.
        peer: Cow<'static, str> => zeek;
        /// Memory in use: never set.
        mem: Option<u64> => zeek;
        /// Frames taken apart: `decoder.pkts`.
        pkts_proc: u64 => zeek;
        /// Bytes in them: `decoder.bytes`.
        bytes_recv: u64 => zeek;
        /// Frames that the kernel or the interface dropped; unset unless live.
        pkts_dropped: Option<u64> => zeek;
        /// Frames that the kernel delivered: `capture.kernel_packets`; unset unless live.
        pkts_link: Option<u64> => zeek;
        /// How far the sensor is behind: never set.
        pkt_lag: Option<Interval> => zeek;
        /// Frames that a filter took out: never set.
        pkts_filtered: Option<u64> => zeek;
        /// Zeek's own events: never set.
        events_proc: Option<u64> => zeek;
        /// Zeek's own events: never set.
        events_queued: Option<u64> => zeek;
        /// TCP connections in memory: never set.
        active_tcp_conns: Option<u64> => zeek;
        /// UDP conversations in memory: never set.
        active_udp_conns: Option<u64> => zeek;
        /// ICMP conversations in memory: never set.
        active_icmp_conns: Option<u64> => zeek;
        /// TCP connections: `flow.tcp`.
        tcp_conns: u64 => zeek;
        /// UDP conversations, which are not counted unless they are RPC: never set.
        udp_conns: Option<u64> => zeek;
        /// ICMP conversations: never set.
        icmp_conns: Option<u64> => zeek;
        /// Zeek's own timers: never set.
        timers: Option<u64> => zeek;
        /// Zeek's own timers: never set.
        active_timers: Option<u64> => zeek;
        /// Files: never set.
        files: Option<u64> => zeek;
        /// Files: never set.
        active_files: Option<u64> => zeek;
        /// DNS requests: never set.
        dns_requests: Option<u64> => zeek;
        /// DNS requests: never set.
        active_dns_requests: Option<u64> => zeek;
        /// Bytes held back: never set.
        reassem_tcp_size: Option<u64> => zeek;
        /// Bytes held back: never set.
        reassem_file_size: Option<u64> => zeek;
        /// Bytes held back: never set.
        reassem_frag_size: Option<u64> => zeek;
        /// Bytes held back: never set.
        reassem_unknown_size: Option<u64> => zeek;
    }
}

record! {
    /// Loss in the columns of Zeek's `capture_loss.log`, told by acknowledgements in the connections that carry RPC: whoever
    /// acknowledges data had it, so that what was not seen of it was lost on the way to the sensor.
    pub struct CaptureLossRow {
        /// Since the row before, or the start: from the first frame to the last in a replay.
        ts_delta: Interval => zeek;
        /// Who says so: `dcom-sensor` for all of it; live also each worker, `worker-1` and so on.
        peer: Cow<'static, str> => zeek;
        /// Acknowledgements of data that was never seen: `dcom.flow.acks_of_unseen`.
        gaps: u64 => zeek;
        /// Acknowledgements of something new: `dcom.flow.acks`.
        acks: u64 => zeek;
        /// `gaps` of a hundred `acks`.
        percent_lost: f64 => zeek;
    }
}

const PEER: &str = "dcom-sensor";

fn peer(stats: &Stats) -> Cow<'static, str> {
    stats
        .worker
        .map_or(PEER.into(), |number| format!("worker-{number}").into())
}

impl Stats {
    /// How much a counter grew since the record before; none where it is not counted.
    fn grown(&self, name: &str) -> Option<u64> {
        let now = self.counters.get(name)?;
        Some(now.saturating_sub(self.before.get(name).unwrap_or_default()))
    }
}

impl StatsRow {
    /// Tells counters as Zeek would.
    pub fn of(stats: &Stats) -> Self {
        let dropped = ["capture.kernel_drops", "capture.kernel_ifdrops"].map(|name| stats.grown(name));
        Self {
            peer: peer(stats),
            mem: None,
            pkts_proc: stats.grown("decoder.pkts").unwrap_or_default(),
            bytes_recv: stats.grown("decoder.bytes").unwrap_or_default(),
            pkts_dropped: dropped
                .into_iter()
                .flatten()
                .reduce(|kernel, interface| kernel + interface),
            pkts_link: stats.grown("capture.kernel_packets"),
            pkt_lag: None,
            pkts_filtered: None,
            events_proc: None,
            events_queued: None,
            active_tcp_conns: None,
            active_udp_conns: None,
            active_icmp_conns: None,
            tcp_conns: stats.grown("flow.tcp").unwrap_or_default(),
            udp_conns: None,
            icmp_conns: None,
            timers: None,
            active_timers: None,
            files: None,
            active_files: None,
            dns_requests: None,
            active_dns_requests: None,
            reassem_tcp_size: None,
            reassem_file_size: None,
            reassem_frag_size: None,
            reassem_unknown_size: None,
        }
    }
}

impl CaptureLossRow {
    /// Tells what was lost as Zeek would.
    pub fn of(stats: &Stats) -> Self {
        let gaps = stats.grown("dcom.flow.acks_of_unseen").unwrap_or_default();
        let acks = stats.grown("dcom.flow.acks").unwrap_or_default();
        let millionths = (gaps * 1_000_000).checked_div(acks).unwrap_or_default();
        Self {
            ts_delta: stats.interval,
            peer: peer(stats),
            gaps,
            acks,
            percent_lost: f64::from(u32::try_from(millionths).unwrap_or(u32::MAX)) / 10_000.0,
        }
    }
}

/// Counters by dotted name. Names that share a parent stand together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub Vec<(&'static str, u64)>);

impl Counters {
    /// What it would be in a Zeek log, if one had it.
    pub(super) const ZEEK_TYPE: &'static str = "table[string] of count";

    fn get(&self, wanted: &str) -> Option<u64> {
        let found = self.0.iter().find(|(name, _)| *name == wanted);
        found.map(|&(_, count)| count)
    }
}

impl Field for Counters {
    const ZEEK_TYPE: &'static str = Self::ZEEK_TYPE;

    fn value(&self) -> Value<'_> {
        Value::Counters(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_tell_what_came_since_the_row_before() {
        let mut stats = Stats {
            counters: Counters(vec![
                ("capture.kernel_packets", 130),
                ("capture.kernel_drops", 9),
                ("capture.kernel_ifdrops", 3),
                ("decoder.pkts", 120),
                ("dcom.flow.acks", 19),
                ("dcom.flow.acks_of_unseen", 3),
            ]),
            before: Counters(vec![
                ("capture.kernel_drops", 4),
                ("decoder.pkts", 100),
                ("dcom.flow.acks", 12),
                ("dcom.flow.acks_of_unseen", 2),
            ]),
            interval: Interval(5),
            worker: None,
        };
        let row = StatsRow::of(&stats);
        assert_eq!(
            (row.pkts_proc, row.pkts_dropped, row.pkts_link),
            (20, Some(8), Some(130))
        );
        let loss = CaptureLossRow::of(&stats);
        assert_eq!((loss.ts_delta, loss.gaps, loss.acks), (Interval(5), 1, 7));
        assert_eq!((&*row.peer, &*loss.peer), ("dcom-sensor", "dcom-sensor"));
        let of_a_worker = Stats {
            worker: Some(2),
            ..stats.clone()
        };
        assert_eq!(StatsRow::of(&of_a_worker).peer, "worker-2");
        assert!((loss.percent_lost - 14.2857).abs() < 1e-9, "{loss:?}");
        // A capture has no kernel, and nothing acknowledged is nothing lost.
        stats.counters = Counters(vec![("decoder.pkts", 120)]);
        let row = StatsRow::of(&stats);
        assert_eq!((row.pkts_proc, row.pkts_dropped, row.pkts_link), (20, None, None));
        assert_eq!(CaptureLossRow::of(&stats).percent_lost.to_bits(), 0);
    }
}
