#!/usr/bin/env python3
"""Sends the frames of a capture as fast as an interface takes them, or at a rate: for the live benchmark.

Usage: send.py INTERFACE CAPTURE.pcap [--rate PACKETS_PER_SECOND] [--times N] [--seconds S]

One sendmmsg for a thousand frames, past the queueing discipline. Needs root; meant for one end of a veth pair in a network
namespace of its own. Prints frames, seconds and frames a second.
"""

import argparse
import ctypes
import ctypes.util
import socket
import struct
import time

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
AT_ONCE = 1024


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("iov", ctypes.POINTER(IoVec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class MMsgHdr(ctypes.Structure):
    _fields_ = [("header", MsgHdr), ("length", ctypes.c_uint)]


def frames(path):
    """Offset and length of each frame in a little-endian Ethernet pcap, and the whole file."""
    data = open(path, "rb").read()
    magic, link_type = struct.unpack_from("<I16xI", data)
    if magic not in (0xA1B2C3D4, 0xA1B23C4D) or link_type != 1:
        raise SystemExit(f"{path}: not a little-endian pcap of Ethernet")
    found, at = [], 24
    while at + 16 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        found.append((at + 16, length))
        at += 16 + length
    return data, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("interface")
    parser.add_argument("capture")
    parser.add_argument("--rate", type=float, default=0, help="frames a second; 0: as fast as it goes")
    parser.add_argument("--times", type=int, default=1, help="how often the capture is sent")
    parser.add_argument("--seconds", type=float, default=0, help="end after so long")
    options = parser.parse_args()

    data, found = frames(options.capture)
    buffer = ctypes.create_string_buffer(data, len(data))
    start = ctypes.addressof(buffer)
    vectors = (IoVec * len(found))(*[IoVec(start + at, length) for at, length in found])
    messages = (MMsgHdr * len(found))()
    for number, message in enumerate(messages):
        message.header.iov = ctypes.pointer(vectors[number])
        message.header.iov_length = 1

    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((options.interface, 0))
    sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    at_once = max(1, min(AT_ONCE, int(options.rate / 500) or 1)) if options.rate else AT_ONCE
    size = ctypes.sizeof(MMsgHdr)
    sent, refused, began = 0, 0, time.perf_counter()
    for _ in range(options.times):
        at = 0
        while at < len(found):
            count = min(at_once, len(found) - at)
            done = libc.sendmmsg(sock.fileno(), ctypes.byref(messages, at * size), count, 0)
            if done < 0:
                # No room (105), or a frame longer than the interface takes (90): that one is left out.
                error = ctypes.get_errno()
                if error not in (90, 105, 11):
                    raise OSError(error, "sendmmsg")
                refused += error == 90
                at += error == 90
                continue
            sent += done
            at += done
            if options.rate:
                ahead = sent / options.rate - (time.perf_counter() - began)
                if ahead > 0:
                    time.sleep(ahead)
        if options.seconds and time.perf_counter() - began > options.seconds:
            break
    took = time.perf_counter() - began
    print(f"{sent} frames in {took:.3f} s, {sent / took:.0f} frames/s, {refused} too long to send")


if __name__ == "__main__":
    main()
