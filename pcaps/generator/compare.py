"""Tells whether two folders hold equivalent live captures.

    compare.py FOLDER FOLDER

Equivalent: on each connection the same PDUs in the same order, with the same type, flags, opnum,
length, authentication type and level in each direction. Times, client ports, challenges, OXIDs,
IPIDs and signatures are new on every run and not compared.
"""

import struct
import sys
from pathlib import Path

import pdus
from packets import read_loopback
from scenarios import LIVE


def shape(path):
    """What two captures of the same scenario have in common."""
    packets = read_loopback(path)
    shapes = []
    for (_, target), stream in pdus.streams(packets).items():
        port = target[1] if target[1] in pdus.SERVER_PORTS else 0
        shapes.append((port, [_shape_of(pdu) for pdu, _ in pdus.pdus(stream)]))
    return shapes


def _shape_of(pdu):
    kind, flags = pdu[2], pdu[3]
    auth_length = struct.unpack_from("<H", pdu, 10)[0]
    auth = tuple(pdu[-auth_length - 8 : -auth_length - 6]) if auth_length else ()
    opnum = struct.unpack_from("<H", pdu, 22)[0] if kind == pdus.REQUEST else None
    return kind, flags, opnum, len(pdu), auth


def main():
    """Compare; the exit status is 1 when something differs."""
    ours, theirs = (Path(argument) for argument in sys.argv[1:3])
    status = 0
    for scenario in LIVE:
        name = f"{scenario.slug}.pcap"
        same = shape(ours / name) == shape(theirs / name)
        status |= not same
        print(f"{name}: {'equivalent' if same else 'DIFFERENT'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
