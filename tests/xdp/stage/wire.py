"""What passes on a device, seen from beside: when the last RTP packet came, and a stranger who sends a million of his own.

    wire.py watch DEVICE LOW HIGH SECONDS     prints `LAST_TIME COUNT` of UDP packets to these ports, CLOCK_MONOTONIC
    wire.py tags DEVICE LOW HIGH SECONDS      prints `VLAN PRIORITY COUNT` of such packets for each tag that they have
    wire.py spray ADDRESS LOW HIGH COUNT      sends COUNT RTP packets to these ports from one source after the other
"""

import collections
import random
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_AUXDATA = 263, 8
TP_STATUS_VLAN_VALID = 1 << 4


def seen(device, low, high, seconds):
    """UDP packets of IPv4 that come in meanwhile: VLAN and priority of each, from beside the frame, where the kernel has put its tag."""
    # With a protocol it would hear all devices until it is bound to one: also the VLAN's, where tags are off already.
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sniffer.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sniffer.bind((device, ETH_P_ALL))
    sniffer.settimeout(0.1)
    end = time.monotonic() + seconds
    print("watching", flush=True)
    while time.monotonic() < end:
        try:
            frame, beside, _, origin = sniffer.recvmsg(2048, 256)
        except TimeoutError:
            continue
        if origin[2] == PACKET_OUTGOING or len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
            continue
        if low <= struct.unpack_from("!H", frame, 36)[0] <= high:
            facts = [struct.unpack("=IIIHHHH", data[:20]) for level, kind, data in beside if (level, kind) == (SOL_PACKET, PACKET_AUXDATA)]
            tag = next((fact[5] for fact in facts if fact[0] & TP_STATUS_VLAN_VALID), 0)
            yield tag & 0xFFF, tag >> 13


def watch(*what):
    """Counts packets, and times the last."""
    last, count = 0.0, 0
    for _ in seen(*what):
        last, count = time.monotonic(), count + 1
    print(f"{last:.3f} {count}", flush=True)


def tags(*what):
    """Counts packets by their tags."""
    for (vlan, priority), count in collections.Counter(seen(*what)).items():
        print(vlan, priority, count, flush=True)


def spray(address, low, high, count):
    """Sequence numbers that follow each other, as a learner would like them; sources change every 1,000 packets."""
    source, sequence, sender = random.Random(1), 0, None
    ports = list(range(low, high + 1))
    for number in range(count):
        if number % 1000 == 0:
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ssrc = source.getrandbits(32)
        sequence = (sequence + 1) & 0xFFFF
        packet = struct.pack("!BBHII", 0x80, 0, sequence, number * 160 & 0xFFFFFFFF, ssrc) + b"stranger" * 20
        try:
            sender.sendto(packet, (address, ports[number % len(ports)]))
        except OSError:
            continue
    print(f"sent {count}", flush=True)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what in ("watch", "tags"):
        (watch if what == "watch" else tags)(words[0], int(words[1]), int(words[2]), float(words[3]))
    else:
        spray(words[0], int(words[1]), int(words[2]), int(words[3]))
