"""Names of fields and counters in the text: each stands in docs/EVENTS.md, or is a counter that the program tells."""

import json
import re
import subprocess

NAME = re.compile(r"(?:alert|capture|dcerpc|dcom|decoder|defrag|host_event|tcp)(?:\.[a-z0-9_]+)+")
# Counters of a sensor that listens; a replay has none of them.
LIVE = ("capture.", "dcom.emit.", "dcom.host.feed")
# What looks like a name and is a file's, or another program's.
OTHERS = {"dcom.log", "dcom.json", "dcom.vt.bstr"}


def counters(program, place):
    """Those of a replay with keys and host logs, and what they stand in."""
    command = [program, "replay", "-q", "--json", "--keys", "keys.toml", "--host-logs", "host-logs", "capture.pcap"]
    printed = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True).stdout
    known = set()

    def walk(value, path):
        known.add(path)
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, f"{path}.{key}")

    last = json.loads(printed.splitlines()[-1])
    for key, value in {**last["stats"], "dcom": last["dcom"]}.items():
        walk(value, key)
    return known


def fields(events_page):
    """All names in docs/EVENTS.md, and what they stand in."""
    known = set()
    for name in re.findall(r"`([a-z0-9_.\[\]]+)`", events_page):
        parts = name.replace("[]", "").split(".")
        known.update(".".join(parts[:stop]) for stop in range(1, len(parts) + 1))
    return known


def unknown(spans, known):
    """(line, name) of names that are not known. One that begins with a dot takes its beginning from the one before."""
    before, at = "", 0
    for line, span in spans:
        name = span.replace("[]", "")
        if re.fullmatch(r"(?:\.[a-z0-9_]+)+", name) and before.count(".") >= name.count(".") and line <= at + 1:
            name = before.rsplit(".", name.count("."))[0] + name
        elif NAME.fullmatch(name):
            before, at = name, line
        else:
            continue
        if name not in known | OTHERS and not name.startswith(LIVE):
            yield line, name
