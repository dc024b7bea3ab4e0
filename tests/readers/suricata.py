"""What Suricata's EVE may consist of, as far as our lines have to do with it: its keys and their types. Written from its
output and its user guide. Objects are closed, as they are in its own schema."""

STRING, INTEGER, BOOLEAN, NUMBER = ({"type": name} for name in ("string", "integer", "boolean", "number"))


def closed(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def all_of(kind, names):
    return dict.fromkeys(names.split(), kind)


def array(items):
    return {"type": "array", "items": items}


TIMESTAMP = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+\-]\d+$"}

DCERPC = closed(
    ("request", "response", "call_id", "rpc_version"),
    **all_of(STRING, "activityuuid request response rpc_version"),
    **all_of(INTEGER, "call_id seqnum"),
    interfaces=array(closed(("uuid", "version"), **all_of(STRING, "uuid version service procedure"), ack_result=INTEGER)),
    req=closed(**all_of(INTEGER, "frag_cnt opnum stub_data_size")),
    res=closed(**all_of(INTEGER, "frag_cnt stub_data_size")),
)

ALERT = closed(
    ("action", "gid", "signature_id", "rev", "signature", "category", "severity"),
    **all_of(STRING, "action category signature rule xff"),
    **all_of(INTEGER, "gid rev severity signature_id"),
    # Whatever a rule's `metadata` says: lists of texts.
    metadata={"type": "object", "additionalProperties": array(STRING)},
    references=array(STRING),
    source=closed(ip=STRING, port=INTEGER),
    target=closed(ip=STRING, port=INTEGER),
)

FLOW = closed(
    **all_of(INTEGER, "pkts_toserver pkts_toclient bytes_toserver bytes_toclient age tx_cnt src_port dest_port"),
    **all_of(TIMESTAMP, "start end"),
    **all_of(STRING, "state reason src_ip dest_ip"),
    alerted=BOOLEAN,
    exception_policy=array(closed(target=STRING, policy=STRING)),
)

TCP = closed(
    **all_of(BOOLEAN, "ack cwr ecn fin psh rst syn urg tc_gap ts_gap"),
    **all_of(INTEGER, "tc_max_regions ts_max_regions"),
    **all_of(STRING, "state tcp_flags tcp_flags_tc tcp_flags_ts"),
)

STATS = closed(
    ("uptime",),
    uptime=INTEGER,
    capture=closed(**all_of(INTEGER, "kernel_packets kernel_drops kernel_ifdrops")),
    decoder=closed(**all_of(
        INTEGER,
        "avg_pkt_size bytes chdlc erspan esp ethernet arp unknown_ethertype geneve gre icmpv4 icmpv6 ieee8021ah invalid ipv4 "
        "ipv4_in_ipv6 ipv6 ipv6_in_ipv6 max_mac_addrs_dst max_mac_addrs_src max_pkt_size mpls nsh null pkts ppp pppoe raw "
        "sctp sll tcp teredo too_many_layers udp vlan vlan_qinq vlan_qinqinq vntag vxlan")),
    defrag=closed(**dict.fromkeys(("ipv4", "ipv6"), closed(**all_of(INTEGER, "fragments reassembled timeouts")))),
    flow=closed(**all_of(INTEGER, "memcap tcp udp icmpv4 icmpv6 total tcp_reuse get_used spare memuse")),
    # With `threads: yes`: the same counters of each thread, whatever it is called.
    threads={"type": "object", "additionalProperties": {"type": "object"}},
    tcp=closed(**all_of(
        INTEGER,
        "ack_unseen_data active_sessions invalid_checksum memuse midstream_pickups no_flow overlap overlap_diff_data pseudo "
        "pseudo_failed reassembly_gap reassembly_memuse rst segment_memcap_drop sessions ssn_memcap_drop "
        "stream_depth_reached syn synack")),
)

LINE = closed(
    ("timestamp", "event_type"),
    timestamp=TIMESTAMP,
    **all_of(STRING, "app_proto app_proto_expected app_proto_orig app_proto_tc app_proto_ts capture_file community_id dest_ip "
                     "direction event_type host in_iface log_level packet payload payload_printable pcap_filename pkt_src proto "
                     "src_ip"),
    **all_of(INTEGER, "dest_port flow_id icmp_code icmp_type ip_v parent_id payload_length pcap_cnt spi src_port stream tx_id"),
    vlan=array(NUMBER),
    alert=ALERT,
    anomaly=closed(("type", "event"), **all_of(STRING, "app_proto event layer type")),
    dcerpc=DCERPC,
    flow=FLOW,
    stats=STATS,
    tcp=TCP,
    tunnel=closed(**all_of(INTEGER, "depth dest_port pcap_cnt src_port"), **all_of(STRING, "dest_ip pkt_src proto src_ip")),
)

# What is ours stands at the top of a line, under names that Suricata does not use.
OURS = {"dcom", "host_event", "reply_pcap_cnt", "rtt_ms"}


def theirs(line):
    """A line as Suricata could have written it."""
    return {key: value for key, value in line.items() if key not in OURS}


def damaged(line):
    """Lines like this one that Suricata would not write, each with what is wrong."""
    yield "no timestamp", {key: value for key, value in line.items() if key != "timestamp"}
    yield "no zone", line | {"timestamp": line["timestamp"][:-5]}
    yield "a key at the top", line | {"rtt_ms": 1.5}
    yield "an address as a number", line | {"src_ip": 1}
    for name in ("alert", "dcerpc", "flow", "stats", "anomaly"):
        if isinstance(line.get(name), dict):
            yield f"a key in {name}", line | {name: line[name] | {"dcom": {}}}
    if "dcerpc" in line:
        yield "a call id as text", line | {"dcerpc": line["dcerpc"] | {"call_id": "1"}}
        if "interfaces" in line["dcerpc"]:
            interface = line["dcerpc"]["interfaces"][0] | {"uuid": 1}
            yield "a UUID as a number", line | {"dcerpc": line["dcerpc"] | {"interfaces": [interface]}}
