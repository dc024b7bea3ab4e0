"""Makes every capture of this project, expect.toml and the table of README.md in one folder.

    generate FOLDER [SLUG...]

With slugs, only these live captures and what derives from them are made; others in the folder stay.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import capture
import report
import tshark_check
from dcom_server.connection import Call
from derive import VARIANTS
from expect import expectation
from packets import Packet, plain
from scenarios import LIVE, Scenario


@dataclass
class Made:
    """One capture, and the run it comes from."""

    name: str
    shows: str
    how: str
    packets: list[Packet]
    data: bytes
    scenario: Scenario
    calls: list[Call]
    keytab: bytes = b""


def captured(wanted):
    """The live captures, by slug."""
    made = {}
    for scenario in LIVE:
        if not wanted or scenario.slug in wanted:
            packets, calls, keytab = capture.run(scenario)
            print(f"{scenario.slug}: {len(packets)} packets", flush=True)
            name, how = f"{scenario.slug}.pcap", f"{scenario.client}: `{scenario.how}`"
            data = plain(packets)
            made[scenario.slug] = Made(
                name, scenario.shows, how, packets, data, scenario, calls, keytab
            )
    return made


def derived(bases):
    """The variants of these captures."""
    for variant in VARIANTS:
        if variant.base in bases:
            base = bases[variant.base]
            packets = variant.reshape(base.packets)
            name, data = variant.slug + variant.suffix, variant.encode(packets)
            yield Made(name, variant.shows, variant.how, packets, data, base.scenario, base.calls)


def main():
    """Make the captures; the exit status is 1 when tshark disagrees with what is expected."""
    folder, wanted = Path(sys.argv[1]), set(sys.argv[2:])
    folder.mkdir(parents=True, exist_ok=True)
    bases = captured(wanted)
    rows, status = [], 0
    for made in [*bases.values(), *derived(bases)]:
        path = folder / made.name
        path.write_bytes(made.data)
        if made.keytab:
            path.with_suffix(".keytab").write_bytes(made.keytab)
        expected = expectation(made.packets, made.calls, made.scenario)
        rows.append((made.name, made.shows, made.how, expected))
        for problem in tshark_check.problems(path, expected):
            status = 1
            print(f"{made.name}: {problem}", file=sys.stderr)
    order = [f"{scenario.slug}.pcap" for scenario in LIVE]
    order += [variant.slug + variant.suffix for variant in VARIANTS]
    report.write(folder, rows, order)
    return status


if __name__ == "__main__":
    sys.exit(main())
