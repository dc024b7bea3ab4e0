"""Writes expect.toml and the table of README.md."""

import hashlib

HEAD = """\
# What must be found in each capture of this folder. Written by generator/generate: do not edit.
#
# frame, reply_frame: counted from 1; the frame that carries the last byte of the request and of
#   its answer.
# clsid: "sealed" when the activation cannot be read without a key; then outcome is "unreadable".
# reply_frame: left out when there is no answer; then outcome is "unanswered".
# hresult, fault: as the answer carries them; left out when it carries none that can be read.
# port: the object port that the bindings of the answer name; left out when there are none to read.
# followed: packets to that port are in the capture behind the answer.
# oxid_resolutions: ResolveOxid and ResolveOxid2. server_alives: ServerAlive and ServerAlive2.
# endpoint_mappings: ept_map. endpoint_lookups: ept_lookup. All four count calls that can be read.
# mapped_ports: the ports that answers of ept_map name, all of them followed.
# bytes_missing: bytes of the connections that are not in the capture, over all directions.
# alerts: one for each readable activation of a class that the catalogue lists as an attacker's, in
#   order: "remote-activation" when it succeeded, "remote-activation-attempt" when not. What else
#   is alerted stands in the table of docs/detections/README.md.
"""
BLOCK = "\n[[capture]]\n"
TABLE_HEAD = "| file | shows | made by | must be found | SHA-256 |\n|---|---|---|---|---|\n"
BEGIN, END = "<!-- table: written by generator/generate -->\n", "<!-- end of table -->\n"


def write(folder, captures, order):
    """Both files, for (file name, what it shows, how made, expectation) of each capture.

    What they say of other captures in `order`, the names of all there are, stays.
    """
    expectations, readme = folder / "expect.toml", folder / "README.md"
    before, rows, after = "", {}, ""
    if readme.exists():
        before, _, rest = readme.read_text().partition(BEGIN)
        table, _, after = rest.partition(END)
        rows = {line.split("`")[1]: line for line in table.splitlines()[2:]}
    blocks = {}
    if expectations.exists():
        for block in expectations.read_text().split(BLOCK)[1:]:
            blocks[block.split('"')[1]] = BLOCK + block
    for name, shows, how, expected in captures:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        blocks[name] = _toml(name, expected)
        rows[name] = f"| `{name}` | {shows} | {how} | {expected.told()} | `{digest}` |"
    table = TABLE_HEAD + "".join(rows[name] + "\n" for name in order if name in rows)
    expectations.write_text(HEAD + "".join(blocks[name] for name in order if name in blocks))
    readme.write_text(before + BEGIN + table + END + after)


def _toml(name, expected):
    alerts = ", ".join(f'"{alert}"' for alert in expected.alerts)
    lines = [
        f'file = "{name}"',
        f"oxid_resolutions = {expected.oxid_resolutions}",
        f"server_alives = {expected.server_alives}",
        f"endpoint_mappings = {expected.endpoint_mappings}",
        f"mapped_ports = {expected.mapped_ports}",
        f"endpoint_lookups = {expected.endpoint_lookups}",
        f"bytes_missing = {expected.bytes_missing}",
        f"alerts = [{alerts}]",
    ]
    for activation in expected.activations:
        lines += ["", "[[capture.activations]]", *_activation(activation)]
    return BLOCK + "\n".join(lines) + "\n"


def _activation(activation):
    yield f'clsid = "{activation.clsid}"'
    yield f'operation = "{activation.operation}"'
    yield f'outcome = "{activation.outcome}"'
    if activation.hresult is not None:
        yield f'hresult = "{activation.hresult:#010x}"'
    if activation.fault is not None:
        yield f'fault = "{activation.fault:#010x}"'
    yield f"frame = {activation.frame}"
    if activation.reply_frame:
        yield f"reply_frame = {activation.reply_frame}"
    if activation.port is not None:
        yield f"port = {activation.port}"
    yield f"followed = {str(activation.followed).lower()}"
