"""Queries over the sensor's own logs: run on what the sensor wrote for its sample captures."""

import datetime
import json
from collections import Counter

import engines
import pipelines
import samples
from report import HERE, ROOT, SCHEMA, SIEM, same
from shipped import ended, kql, splunk, sumo


def sensor_records(capture="*"):
    """What the sensor wrote for its sample captures."""
    for path in sorted((ROOT / "tests/integration/snapshots").glob(f"{capture}@eve.snap")):
        yield from (json.loads(line) for line in path.read_text().splitlines() if line.startswith('{"timestamp"'))


def check_sensor(report):
    alerts = [record for record in sensor_records() if record["event_type"] == "alert"]
    wanted = Counter((record["alert"]["signature_id"], record["alert"]["metadata"]["severity"][0]) for record in alerts
                     if record["alert"]["signature_id"] // 100 == 10213)
    verdicts = [record | {"dcom": record["dcom"] | {"host": {"verdict": verdict, "time_delta_ms": 290, "source": "host.evtx",
                                                             "matched_on": ["command_line"]}}}
                for record, verdict in zip((record for record in alerts if "dcom" in record),
                                           ("confirmed", "contradicted", "not_seen"))]
    with report.of("sensor's records", "there are some"):
        assert len(alerts) > 50, len(alerts)
    with engines.kql_tables(SCHEMA, {"DcomSensor_CL": [sentinel(record) for record in alerts + verdicts]}) as tables:
        with report.of(SIEM / "kql/sensor_alerts.kql", "the sensor's alerts"):
            same([(row["SignatureId"], row["Severity"]) for row in kql(tables, "sensor_alerts")],
                 (wanted + counted(verdicts)).elements())
        with report.of(SIEM / "kql/sensor_verdict.kql", "verdicts"):
            same([row["Verdict"] for row in kql(tables, "sensor_verdict")], ["confirmed", "contradicted"])
    rows = [piped_sensor(record) for record in alerts + verdicts]
    for suffix, run in (("spl", splunk(rows)), ("sumo", sumo(rows))):
        folder = SIEM / {"spl": "splunk", "sumo": "sumo"}[suffix]
        with report.of(folder / f"sensor_alerts.{suffix}", "the sensor's alerts"):
            same([(int(float(row["signature_id"])), row["severity"]) for row in run("sensor_alerts")],
                 (wanted + counted(verdicts)).elements())
        with report.of(folder / f"sensor_verdict.{suffix}", "verdicts"):
            same([row["verdict"] for row in run("sensor_verdict")], ["confirmed", "contradicted"])
    notices = list(zeek_notices("mmc20-signed.pcap"))
    with report.of(SIEM / "splunk/sensor_notices.spl", "the sensor's notices"):
        rows = pipelines.run_splunk((SIEM / "splunk/sensor_notices.spl").read_text(), notices, SIEM / "splunk")
        same([row["note"] for row in rows], ["DCOM::Remote_Activation", "DCOM::Execution"])
        assert all(row["src"] and row["dst"] and row["community_id"] for row in rows), rows
    check_join(report)


def check_join(report):
    """Alerts of a sample capture, and process starts around them."""
    alerts = [record for record in sensor_records("mmc20-signed.pcap") if record["event_type"] == "alert"]
    nameless = [record | {"dcom": {key: value for key, value in record["dcom"].items() if key != "server"}} for record in alerts]
    path = HERE / "sensor_join.ndjson"
    events = samples.together({"": [json.loads(line) for line in path.read_text().splitlines()]})
    wanted = [(event["index"], event["matched"]) for event in events if event.get("matched")]
    rows = samples.device_rows(events)
    rows["DeviceNetworkInfo"] = [
        {"Timestamp": samples.time_of(events[0]), "DeviceName": "dcomsrv01.lab.example",
         "IPAddresses": json.dumps([{"IPAddress": "fe80::1"}, {"IPAddress": "192.0.2.10"}])},
        {"Timestamp": samples.time_of(events[0]), "DeviceName": "other.lab.example",
         "IPAddresses": json.dumps([{"IPAddress": "192.0.2.11"}])},
    ]
    for how, told in (("by name", alerts), ("by address", nameless)):
        with report.of(SIEM / "kql/sensor_join.kql", how):
            with engines.kql_tables(SCHEMA, rows | {"DcomSensor_CL": [sentinel(record) for record in told]}) as tables:
                same(best((by_pid(events, row["ProcessId"]), row["Matched"]) for row in kql(tables, "sensor_join")), wanted)
    piped = [samples.piped(event) for event in events] + [piped_sensor(record) for record in alerts]
    with report.of(SIEM / "splunk/sensor_join.spl", "by name"):
        same(best((row["number"], row["matched"]) for row in splunk(piped)("sensor_join")), wanted)
    with report.of(SIEM / "sumo/sensor_join.sumo", "by name"):
        same(best((ended(row), row["matched"]) for row in sumo(piped)("sensor_join")), wanted)
    with report.of(SIEM / "elastic/sensor_join.eql", "by name"):
        documents = [samples.elastic(event) for event in events] + [elastic_sensor(record) for record in alerts]
        query = engines.eql_query((SIEM / "elastic/sensor_join.eql").read_text())
        # A sequence takes the first process after each alert, and says nothing of command lines.
        same(engines.eql_run(query, documents), [wanted[0][0]])


def best(pairs):
    """Of several matches of a process the closest."""
    found = {}
    for index, matched in pairs:
        if found.get(index) != "command_line":
            found[index] = matched
    return list(found.items())


def by_pid(events, pid):
    return next(event["index"] for event in events if event["ProcessId"] == pid)


def counted(records):
    return Counter((record["alert"]["signature_id"], record["alert"]["metadata"]["severity"][0]) for record in records)


def sentinel(record):
    columns = SCHEMA["DcomSensor_CL"]
    return {name: json.dumps(record[name]) if type_ == "dynamic" and name in record else record.get(name)
            for name, type_ in columns.items()} | {"TimeGenerated": seconds(record).replace(tzinfo=None)}


def seconds(record):
    return datetime.datetime.strptime(record["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z")


def piped_sensor(record):
    at = seconds(record).timestamp()
    return flat(record) | {"index": "dcom", "sourcetype": "dcom:sensor:eve", "_sourceCategory": "dcom/sensor/eve",
                           "_json": record,
                           "_time": at, "_messageTime": at * 1000, "_messageId": id(record)}


def flat(value, prefix=""):
    """Splunk's names for what is in JSON."""
    out = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            out |= flat(inner, f"{prefix}{key}.")
        elif isinstance(inner, list):
            out[f"{prefix}{key}{{}}"] = inner
        else:
            out[f"{prefix}{key}"] = inner
    return out


def elastic_sensor(record):
    at = seconds(record).timestamp() - 946_684_800
    return record | {"timestamp": int(round(at * 10_000_000)), "kind": "generic",
                     "dcom_join": {"host": record["dcom"]["server"]["netbios"].lower()}}


def zeek_notices(capture):
    lines = (ROOT / f"tests/integration/snapshots/{capture}@zeek.snap").read_text().split("==> notice.log <==\n")[1].splitlines()
    fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    for line in lines[:next(i for i, line in enumerate(lines) if line.startswith("#close"))]:
        if not line.startswith("#"):
            yield dict(zip(fields, line.split("\t"))) | {"index": "dcom", "sourcetype": "dcom:sensor:notice"}
