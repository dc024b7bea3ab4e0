"""Zeek's logs: as data frames, as zeek-cut cuts them, and as Filebeat's Zeek module reads them."""

import json
import re

import pandas
import zeeklog2pandas
from zat.json_log_to_dataframe import JSONLogToDataFrame
from zat.log_to_dataframe import LogToDataFrame

# What Filebeat's module takes out of each log's JSON, with the types that its fields have. Those of stats and
# capture_loss stay where they are, under zeek.
NUMBER, TEXT, ADDRESS, PORT, FLAG, LIST = "number", "text", "address", "port", "flag", "list"
CONNECTION = {"uid": TEXT, "id.orig_h": ADDRESS, "id.orig_p": PORT, "id.resp_h": ADDRESS, "id.resp_p": PORT}
FILEBEAT = {
    "dce_rpc": {"ts": NUMBER, **CONNECTION, "rtt": NUMBER, "named_pipe": TEXT, "endpoint": TEXT, "operation": TEXT},
    "ntlm": {"ts": NUMBER, **CONNECTION, "username": TEXT, "hostname": TEXT, "domainname": TEXT, "server_nb_computer_name": TEXT,
             "server_dns_computer_name": TEXT, "server_tree_name": TEXT, "success": FLAG},
    "notice": {"ts": NUMBER, **CONNECTION, "proto": TEXT, "note": TEXT, "msg": TEXT, "sub": TEXT, "src": ADDRESS, "dst": ADDRESS,
               "p": PORT, "peer_descr": TEXT, "actions": LIST, "suppress_for": NUMBER},
    "weird": {"ts": NUMBER, **CONNECTION, "name": TEXT, "addl": TEXT, "notice": FLAG, "peer": TEXT},
    "capture_loss": {"ts": NUMBER, "ts_delta": NUMBER, "peer": TEXT, "gaps": NUMBER, "acks": NUMBER, "percent_lost": NUMBER},
    "stats": {"ts": NUMBER, "peer": TEXT, "pkts_proc": NUMBER, "bytes_recv": NUMBER, "pkts_dropped": NUMBER,
              "pkts_link": NUMBER, "tcp_conns": NUMBER},
}
# What not every row has: the end that was not seen, the pipe of a bind that was not, what only a live sensor counts.
OPTIONAL = {
    "dce_rpc": {"named_pipe", "rtt"},
    "ntlm": {"username", "hostname", "domainname", "server_nb_computer_name", "server_dns_computer_name", "server_tree_name",
             "success"},
    "notice": set(CONNECTION) | {"proto", "sub", "src", "dst", "p"},
    "weird": set(CONNECTION) | {"addl"},
    "stats": {"pkts_dropped", "pkts_link"},
}


def is_of(kind, value):
    if kind == NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == PORT:
        return isinstance(value, int) and 0 <= value <= 65535
    if kind == ADDRESS:
        return isinstance(value, str) and re.fullmatch(r"[0-9a-f.:]+", value) is not None
    return isinstance(value, {TEXT: str, FLAG: bool, LIST: list}[kind])


def filebeat(path, rows):
    """Has each row what the module reads, and of the type that it has there?"""
    wanted = FILEBEAT.get(path, {})
    for row in rows:
        for name, kind in wanted.items():
            if name in row:
                assert is_of(kind, row[name]), f"{path}: {name} is {row[name]!r}, not a {kind}"
            else:
                assert name in OPTIONAL.get(path, set()), f"{path}: {name} is missing in {row}"
        if path == "notice":
            assert row.get("proto", "tcp") in ("tcp", "udp"), row


def header(path):
    """Fields and types of a TSV log."""
    lines = dict(line[1:].split("\t", 1) for line in path.read_text().splitlines()[1:8])
    return lines["fields"].split("\t"), lines["types"].split("\t")


def cut(path, names):
    """What zeek-cut prints: the columns asked for, whatever order they have in the log."""
    fields, place = [], []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            if line.startswith("#fields\t"):
                fields = line.split("\t")[1:]
                place = [fields.index(name) for name in names]
            continue
        cells = line.split("\t")
        assert len(cells) == len(fields), f"{path.name}: {len(cells)} cells under {len(fields)} names"
        yield [cells[index] for index in place]


# What zat makes of Zeek's types.
DTYPES = {"count": "UInt64", "int": "Int32", "port": "UInt16", "double": "float64", "bool": "category"}


def frames(path, json_path, rows):
    """The same rows by each reader, out of TSV and JSON."""
    names, types = header(path)
    frame = LogToDataFrame().create_dataframe(str(path), ts_index=False)
    assert list(frame.columns) == names, list(frame.columns)
    assert len(frame) == len(rows), f"zat reads {len(frame)} rows of {len(rows)}"
    for name, type_ in zip(names, types):
        found = str(frame[name].dtype)
        if type_ == "time":
            assert found.startswith("datetime64"), f"{name}: {found}"
        elif type_ == "interval":
            assert found.startswith("timedelta64"), f"{name}: {found}"
        elif type_ in DTYPES:
            assert found == DTYPES[type_], f"{name}: {found}"
    other = zeeklog2pandas.read_zeek(str(path))
    assert list(other.columns) == names and len(other) == len(rows), f"zeeklog2pandas reads {len(other)} rows of {len(rows)}"
    assert [float(ts) for ts in other["ts"]] == [row["ts"] for row in rows]
    of_json = JSONLogToDataFrame().create_dataframe(str(json_path), ts_index=False)
    assert len(of_json) == len(rows), f"zat reads {len(of_json)} lines of {len(rows)}"
    assert set(of_json.columns) <= set(names), set(of_json.columns) - set(names)
    # Texts come through as they are, except where the reader takes a mark for one of its own.
    for name in ("id.orig_h", "id.resp_p", "operation", "clsid", "note"):
        if name in of_json.columns and name in names:
            told = [None if pandas.isna(value) else str(value) for value in frame[name]]
            assert told == [None if name not in row else str(row[name]) for row in rows], f"{name}: {told[:3]}"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
