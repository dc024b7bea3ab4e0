"""Reads the sensor's logs with programs of others; called by `check`, which installs what this imports. One line a subject, then
a summary."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import communityid
import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from sigma.collection import SigmaCollection

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/siem"))

import live  # noqa: E402, beside the check
import suricata  # noqa: E402, beside the check
import zeek  # noqa: E402
from report import Report, same  # noqa: E402, in tests/siem
from sigma_conditions import sigma_conditions, sigma_holds  # noqa: E402

SENSOR = os.environ["SENSOR"]
# What a rule finds, by capture: `*` are all that are named like it.
FINDS = {
    "wmi_execution": {"wmi-process.pcap": 1, "wmi-service.pcap": 1},
    "account_listing": {"smb2-write-read.pcap": 1, "smb2-two-sessions.pcap": 1},
    "remote_registry": {"mmc20-remote-registry.pcap": 1, "wmi-remote-registry.pcap": 1},
    "print_driver": {},
}


def corpus():
    place = Path(os.environ.get("DCOM_CORPUS") or ROOT.parent / "shared" / "corpus")
    return place if place.is_dir() else None


def captures():
    yield from sorted(path for path in (ROOT / "pcaps").iterdir() if path.suffix in (".pcap", ".pcapng"))
    if corpus():
        yield from sorted(corpus().glob("*/capture.*cap*"))


def label(capture):
    return f"corpus {capture.parent.name}" if capture.stem == "capture" else capture.name


def run(folder, *arguments):
    """The logs that a run of the sensor leaves, by name."""
    told = subprocess.run([SENSOR, *map(str, arguments), "-q", "-o", str(folder)], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and not told.stderr, told.stderr
    return {path.name: path for path in sorted(folder.iterdir())}


def damaged(folder):
    """A sample in which a request says that it is three bytes long: there is something odd to tell."""
    sample = bytearray((ROOT / "pcaps/mmc20-signed.pcap").read_bytes())
    second = [match.start() for match in re.finditer(rb"\x05\x00\x00[\x03\x83]\x10\x00\x00\x00", sample)][1]
    sample[second + 8:second + 10] = b"\x03\x00"
    path = folder / "damaged.pcap"
    path.write_bytes(sample)
    return path


def runs(report, folder):
    """Each capture in every format, host logs alone, and traffic as it comes."""
    everything = "eve,zeek,zeek-json,ecs,ocsf"
    for number, capture in enumerate([*captures(), damaged(folder)]):
        host = capture.parent / "host.ndjson.gz"
        joined = ["--host-logs", host] if host.exists() else []
        yield label(capture), run(folder / str(number), "replay", capture, "--logs", everything, *joined)
    hosts = [ROOT / "tests/host_logs"] + ([corpus() / "host-only"] if corpus() else [])
    for number, logs in enumerate(hosts):
        told = subprocess.run([SENSOR, "hunt", str(logs), "-q", "-o", str(folder / f"hunt{number}"), "--logs", everything],
                              capture_output=True, text=True, check=False)
        # Some of these are damaged on purpose.
        assert told.returncode in (0, 2), told.stderr
        yield f"hunt {logs.name}", {path.name: path for path in sorted((folder / f"hunt{number}").iterdir())}
    told = {}
    with report.of("live", "an alert, and what its target logs of it"):
        told = live.run(SENSOR, ROOT, folder, everything)
    if told:
        yield "live", told
    elif told is None:
        report.skip("live: it needs root and `ip` with network namespaces")


# eve.json

def check_eve(report, name, events, ours, suricatas):
    with report.of("eve.json by docs/schema/eve.schema.json", name):
        valid(ours, events)
    with report.of("eve.json by Suricata's keys", name):
        valid(suricatas, [suricata.theirs(event) for event in events])
    with report.of("flow_id and community_id", name):
        of_ends = {}
        for event in events:
            if "flow_id" not in event:
                continue
            assert 0 <= event["flow_id"] < 1 << 53, event["flow_id"]
            if "src_port" in event:
                ends = (event["proto"], event["src_ip"], event["src_port"], event["dest_ip"], event["dest_port"])
                assert of_ends.setdefault(event["flow_id"], ends) == ends, f"{event['flow_id']} is two connections"
                same([event["community_id"]], [community_id(*ends, seed=0)])


def community_id(protocol, source, source_port, destination, destination_port, seed):
    make = {"TCP": communityid.FlowTuple.make_tcp, "UDP": communityid.FlowTuple.make_udp}[protocol]
    return communityid.CommunityID(seed=seed).calc(make(source, destination, source_port, destination_port))


def check_closed(report, events, ours):
    """The schema is right where it refuses what is not written."""
    with report.of("docs/schema/eve.schema.json", "is closed"):
        for event in events:
            for where, odd in with_another_key(event):
                if where.startswith("stats") or (where.startswith("dcom") and event["event_type"] == "stats"):
                    continue
                assert not ours.is_valid(odd), f"{event['event_type']}: a key in {where or 'the line'}"
            for key in ("timestamp", "event_type", event["event_type"]):
                assert not ours.is_valid({name: value for name, value in event.items() if name != key}), key


def with_another_key(value, path=""):
    """The same with a key more, once in each of the objects in it."""
    if isinstance(value, dict):
        yield path, value | {"another": 1}
        for key, inner in value.items():
            for where, odd in with_another_key(inner, f"{path}.{key}" if path else key):
                yield where, value | {key: odd}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for where, odd in with_another_key(inner, path):
                yield where, [*value[:index], odd, *value[index + 1:]]


def check_seed(report, folder):
    with report.of("flow_id and community_id", "another seed"):
        settings = folder / "seed.toml"
        settings.write_text("[output]\ncommunity_id_seed = 4711\n")
        seen = Counter()
        for capture in ("ept-map-datagrams.pcap", "mmc20-ipv6.pcap", "mmc20-signed.pcap"):
            logs = run(folder / f"seed {capture}", "replay", ROOT / "pcaps" / capture, "--config", settings, "--logs", "eve")
            for event in zeek.lines(logs["eve.json"]):
                if "community_id" in event:
                    ends = (event["proto"], event["src_ip"], event["src_port"], event["dest_ip"], event["dest_port"])
                    same([event["community_id"]], [community_id(*ends, seed=4711)])
                    seen[capture] += 1
        assert len(seen) == 3, seen


def check_suricata_itself(report, suricatas):
    """The schema is right where it takes all that Suricata writes, and refuses what that does not."""
    if not corpus():
        report.skip("Suricata's own lines: there are none beside the workspace, nor where DCOM_CORPUS says")
        return
    for path in sorted(corpus().glob("*/suricata-9.eve.json")):
        with report.of("Suricata's own lines", path.parent.name):
            lines = zeek.lines(path)
            valid(suricatas, lines)
            for line in lines:
                for what, damaged in suricata.damaged(line):
                    assert not suricatas.is_valid(damaged), what


def valid(validator, lines):
    for number, line in enumerate(lines, 1):
        for error in validator.iter_errors(line):
            deepest = jsonschema.exceptions.best_match([error])
            raise AssertionError(f"line {number}, {deepest.json_path}: {deepest.message[:300]}")


# Zeek's logs

def check_zeek(report, name, logs, rows_of):
    for path, rows in rows_of.items():
        if path not in ("dce_rpc", "ntlm", "dcom", "dcom_call", "notice", "weird", "stats", "capture_loss"):
            continue
        tsv = logs[f"{path}.log"]
        with report.of(f"{path}.log as a data frame", name), contextlib.redirect_stdout(io.StringIO()):
            zeek.frames(tsv, logs[f"{path}.json"], rows)
        with report.of(f"{path}.log by zeek-cut", name):
            fields, _ = zeek.header(tsv)
            cells = list(zeek.cut(tsv, [fields[-1], "ts"]))
            same([ts for _, ts in cells], [f"{row['ts']:.6f}" for row in rows])
        if path in zeek.FILEBEAT:
            with report.of(f"{path}.json by Filebeat's module", name):
                zeek.filebeat(path, rows)


def check_sigma(report, rows_of):
    rules = {path.stem: SigmaCollection.from_yaml(path.read_text()).rules[0]
             for path in sorted((Path(__file__).parent / "sigma").glob("*.yml"))}
    for name, rule in rules.items():
        with report.of("Sigma's rules on dce_rpc.log", name):
            found = Counter()
            for capture, logs in rows_of.items():
                hits = sum(all(sigma_holds(condition, row) for condition in sigma_conditions(rule))
                           for row in logs.get("dce_rpc", []))
                if hits and not capture.startswith("corpus"):
                    found[capture] = hits
            if name == "dcom_activation":
                assert len(found) > 30 and found["mmc20-signed.pcap"] == 1, found
            else:
                same(found.elements(), Counter(FINDS[name]).elements())


# The Elastic Common Schema

ES_VALUES = {
    "keyword": (str,), "wildcard": (str,), "match_only_text": (str,), "constant_keyword": (str,), "ip": (str,), "date": (str,),
    "long": (int,), "float": (int, float), "double": (int, float), "boolean": (bool,),
}
# How each of ECS's types may be mapped by an index template of ours.
SAME_FAMILY = {"constant_keyword": "keyword", "float": "double"}


def leaves(value, path=""):
    """Each value with its path; a list's elements have the list's."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def mapped(properties, path=""):
    """Each field of an index template with its mapping."""
    for name, mapping in properties.items():
        place = f"{path}.{name}" if path else name
        if "properties" in mapping:
            yield from mapped(mapping["properties"], place)
        else:
            yield place, mapping


def is_value_of(kind, value):
    if isinstance(value, bool) and kind != "boolean":
        return False
    if kind == "date":
        return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value) is not None
    if kind == "ip":
        return re.fullmatch(r"[0-9a-f.:]+", value) is not None
    return isinstance(value, ES_VALUES[kind])


def check_template(report, fields):
    template = json.loads((ROOT / "docs/schema/ecs-index-template.json").read_text())
    mappings = dict(mapped(template["template"]["mappings"]["properties"]))
    with report.of("docs/schema/ecs-index-template.json", "types"):
        same({mapping["type"] for mapping in mappings.values()} - set(ES_VALUES) - {"object"}, [])
    if fields:
        with report.of("docs/schema/ecs-index-template.json", "fields of the schema"):
            for path, mapping in mappings.items():
                if path.startswith("dcom."):
                    continue
                assert path in fields, f"{path} is not in the schema"
                wanted = fields[path]["type"]
                same([(path, mapping["type"])], [(path, SAME_FAMILY.get(wanted, wanted))])
    return mappings


def check_ecs(report, name, lines, events, mappings, fields):
    with report.of("ecs.json by the index template", name):
        same([line["event"]["dataset"] for line in lines], [f"dcom_sensor.{event['event_type']}" for event in events])
        for line in lines:
            for path, value in leaves(line):
                if path.startswith("dcom.stats."):
                    assert isinstance(value, int), path
                    continue
                assert path in mappings, f"{path} is not in the template"
                assert is_value_of(mappings[path]["type"], value), f"{path}: {value!r} is no {mappings[path]['type']}"
    if not fields:
        return
    with report.of("ecs.json by the schema's fields", name):
        for line in lines:
            check_ecs_line(line, fields)


def check_ecs_line(line, fields):
    for path in ("@timestamp", "ecs.version", "event.kind"):
        assert path in dict(leaves(line)), f"{path} is missing"
    for path, value in leaves(line):
        if path.startswith("dcom."):
            continue
        field = fields[path]
        assert is_value_of(field["type"], value), f"{path}: {value!r} is no {field['type']}"
        allowed = [value["name"] for value in field.get("allowed_values") or []]
        assert not allowed or value in allowed, f"{path}: {value!r} is none of {allowed}"
    for path, field in fields.items():
        place = line
        for part in path.split("."):
            place = place.get(part) if isinstance(place, dict) else None
        if place is not None and not isinstance(place, dict):
            assert isinstance(place, list) == ("array" in field["normalize"]), f"{path}: {place!r}"
    types = {value["name"]: value.get("expected_event_types", []) for value in fields["event.category"]["allowed_values"]}
    expected = {type_ for category in line["event"].get("category", []) for type_ in types[category]}
    same(set(line["event"].get("type", [])) - expected, [])


# The Open Cybersecurity Schema Framework

OCSF_VERSIONS = ("1.5.0", "1.8.0")


def ocsf_validators():
    for version in OCSF_VERSIONS:
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version)).get_class_schema("detection_finding", ["security_control"])
        yield version, jsonschema.Draft202012Validator(schema)


def check_ocsf(report, name, findings, events, validators):
    alerts = [event for event in events if event["event_type"] == "alert"]
    confirmations = [event for event in events if event.get("dcom", {}).get("kind") == "host_confirmation"]
    made, updates = ([finding for finding in findings if finding["activity_id"] == activity] for activity in (1, 2))
    with report.of("ocsf.json", f"{name}: one finding for each alert"):
        same([finding["metadata"]["event_code"] for finding in made],
             [str(alert["alert"]["signature_id"]) for alert in alerts])
        ids = [finding["finding_info"]["uid"] for finding in made]
        same(ids, set(ids))
        same([len(updates)], [len(confirmations)])
        same({finding["finding_info"]["uid"] for finding in updates} - set(ids), [])
        for finding, alert in zip(made, alerts):
            same([finding["severity"].lower()], alert["alert"]["metadata"]["severity"])
            same([attack.get("sub_technique", attack["technique"])["uid"] for attack in finding["attacks"]],
                 alert["alert"]["metadata"]["mitre_technique_id"])
    for version, validator in validators:
        with report.of(f"ocsf.json by the schema, version {version}", name):
            valid(validator, findings)
    with report.of("ocsf.json by py-ocsf-models", name):
        for finding in findings:
            # These models do not know command lines (13) as observables, as the schema does.
            # They want a title and a name in updates, which the schema does not.
            if finding["activity_id"] == 2:
                continue
            known = [observable for observable in finding["observables"] if observable["type_id"] != 13]
            model = DetectionFinding(**finding | {"observables": known})
            assert (model.class_uid, model.type_uid.value) == (2004, 200400 + finding["activity_id"]), model


def main():
    fields = json.loads(Path(sys.argv[1]).read_text()) if sys.argv[1] else {}
    report = Report("readers of the logs")
    if not fields:
        report.skip("the fields of the Elastic Common Schema")
    formats = jsonschema.FormatChecker()
    schema = json.loads((ROOT / "docs/schema/eve.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    ours = jsonschema.Draft202012Validator(schema, format_checker=formats)
    suricatas = jsonschema.Draft202012Validator(suricata.LINE)
    validators = list(ocsf_validators())
    mappings = check_template(report, fields)
    check_suricata_itself(report, suricatas)
    rows_of, told = defaultdict(dict), Counter()
    with tempfile.TemporaryDirectory(dir=ROOT / "target/readers") as folder:
        # A sensor that listens is not root for long.
        os.chmod(folder, 0o755)
        check_seed(report, Path(folder))
        for name, logs in runs(report, Path(folder)):
            events = zeek.lines(logs["eve.json"])
            told.update(event["event_type"] for event in events)
            told.update(event["dcom"]["kind"] for event in events if event["event_type"] == "dcom")
            told.update("process" for event in events if "process" in event.get("host_event", {}))
            if name in ("mmc20-powershell.pcap", "damaged.pcap", "hunt host_logs"):
                check_closed(report, events, ours)
            check_eve(report, name, events, ours, suricatas)
            rows_of[name] = {Path(file).stem: zeek.lines(path) for file, path in logs.items()
                             if file.endswith(".json") and file not in ("eve.json", "ecs.json", "ocsf.json")}
            check_zeek(report, name, logs, rows_of[name])
            check_ecs(report, name, zeek.lines(logs["ecs.json"]), events, mappings, fields)
            check_ocsf(report, name, zeek.lines(logs["ocsf.json"]), events, validators)
    with report.of("the captures", "something of every kind is told"):
        assert told["alert"] > 100 and told["dcom"] > 300 and told["dcerpc"] > 600, told
        assert told["flow"] > 140, told
        assert told["anomaly"] and told["stats"] > 70 and told["process"], told
    check_sigma(report, rows_of)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
