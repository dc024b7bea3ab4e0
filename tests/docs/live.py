"""Stands in for commands of the program that listen, in commands of the documentation. `live` is run, a sample capture goes by
on the first of its interfaces, and when the alert is in its log it is ended as Ctrl-C would; while anything else listens, the
sample goes by again and again. Usage: live.py PROGRAM CAPTURE COMMAND ARGUMENT..."""

import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

# What a sample raises when it went by: execution through MMC20.Application.
EXPECTED = '"signature_id":1021303'


def frames(capture):
    """The frames of a little-endian pcap."""
    data, at = Path(capture).read_bytes(), 24
    while at + 16 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        yield data[at + 16 : at + 16 + length]
        at += 16 + length


def values(arguments, *names):
    """The values that options were given."""
    found = []
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            found.append(value if equals else arguments[at + 1])
    return found


def until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def forward(source, lines):
    """Passes on what the program says, and keeps it."""
    for line in source:
        sys.stderr.write(line)
        lines.append(line)


def send(capture, interface):
    """Lets a capture go by on an interface: it is sent on the other end of its cable."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((f"far-{interface}", 0))
        for frame in frames(capture):
            wire.send(frame)


def main():
    program, capture, *arguments = sys.argv[1:]
    interfaces = values(arguments, "-i", "--interface")
    if {"-h", "--help", "--print-config"} & set(arguments) or not interfaces:
        sys.exit(subprocess.call([program, *arguments]))
    if arguments[0] != "live":
        child = subprocess.Popen([program, *arguments])
        while not until(lambda: child.poll() is not None, 0.5):
            send(capture, interfaces[0])
        sys.exit(child.returncode)
    printed = subprocess.run([program, *arguments, "--print-config"], stdout=subprocess.PIPE, text=True)
    if printed.returncode:
        sys.exit(printed.returncode)
    folder = values(arguments, "-o", "--log-dir") or [tomllib.loads(printed.stdout)["output"]["log_dir"]]
    log = Path(folder[0], "eve.json")

    # A log of an earlier command is no sign of this one.
    before = log.stat().st_size if log.exists() else 0

    def told():
        if not log.exists():
            return False
        with log.open("rb") as lines:
            lines.seek(min(before, log.stat().st_size))
            return EXPECTED.encode() in lines.read().replace(b": ", b":")

    child = subprocess.Popen([program, *arguments], stderr=subprocess.PIPE, text=True)
    said = []
    reader = threading.Thread(target=forward, args=(child.stderr, said))
    reader.start()
    until(lambda: child.poll() is not None or any("listening on" in line for line in said), 20)
    if child.poll() is None:
        send(capture, interfaces[0])
        until(lambda: child.poll() is not None or told(), 20)
    child.send_signal(signal.SIGINT)
    status = child.wait(20)
    reader.join()
    if status == 0 and not told():
        sys.exit(f"live.py: no alert in {log} of what went by on {interfaces[0]}")
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
