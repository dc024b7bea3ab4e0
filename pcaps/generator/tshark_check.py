"""A second opinion on the captures by tshark, where it is installed."""

import shutil
import subprocess

FIELDS = (
    "frame.number",
    "dcerpc.pkt_type",
    "dcerpc.opnum",
    "isystemactivator.properties.instninfo.clsid",
    "_ws.malformed",
)
REQUEST, RESPONSE, FAULT = "0", "2", "3"
NDR64_UNKNOWN = "mmc20-ndr64"
"""tshark 4.0 does not read activation in NDR64."""
NO_BIND = "mmc20-midstream"
"""Without a bind tshark does not know the interface, and reads no CLSID."""


def problems(path, expected):
    """What tshark sees otherwise than expected."""
    if shutil.which("tshark") is None:
        return
    rows = _rows(path)
    for activation in expected.activations:
        asked, answered = rows.get(activation.frame), rows.get(activation.reply_frame)
        if asked is None or REQUEST not in asked[1]:
            yield f"no request ends in frame {activation.frame}"
        if activation.reply_frame and not (answered and {RESPONSE, FAULT} & set(answered[1])):
            yield f"no answer ends in frame {activation.reply_frame}"
    if path.stem in (NDR64_UNKNOWN, NO_BIND):
        return
    seen = [clsid for row in rows.values() for clsid in row[3]]
    wanted = [a.clsid for a in expected.activations if a.clsid != "sealed"]
    if seen != wanted:
        yield f"tshark reads the CLSIDs {seen}"
    if any(row[4] for row in rows.values()):
        yield "tshark calls a frame malformed"


def _rows(path):
    argv = ["tshark", "-r", path, "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", "dcerpc"]
    # Of RPC over HTTP it takes what stands behind the heads for their body.
    argv += ["--disable-protocol", "http"]
    argv += ["-T", "fields", "-E", "separator=|"]
    for name in FIELDS:
        argv += ["-e", name]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    rows = {}
    for line in text.splitlines():
        fields = [field.split(",") if field else [] for field in line.split("|")]
        rows[int(fields[0][0])] = fields
    return rows
