"""A server's host and a generator's, joined by a pair of veth devices: the network of tests/xdp with both parties of a call
on one side. Either host polls its device in a thread of its own (threaded NAPI), the server on core 0, the generator on
core 1: what comes costs the host that it comes to, as behind a network card, and can be told from what processes spend.
"""

import ctypes
import glob
import os
import shutil
import socket
import tempfile
import time

from harness.process import Failure, until
from stage import network
from stage.network import do

from . import bpf, machine

SERVER_CORE, GENERATOR_CORE = 0, 1
SERVER_DEVICE, GENERATOR_DEVICE = network.DEVICES["caller"], "e0"
# Frames on their way at once while the driver's share is measured.
BOUNCING, BOUNCE_SECONDS, FRAME = 8, 1.0, bytes(12) + b"\x08\x00" + bytes(200)
_CLONE_NEWNET = 0x40000000


def need():
    """What the network is made with, and the right to."""
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("ethtool", "ethtool")):
        machine.need(program, package)
    if os.geteuid() != 0:
        raise machine.Missing("root, for network namespaces and BPF")


class Pair:
    """Inside its `with`, this process is on the server's host."""

    def __enter__(self):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.directory = tempfile.mkdtemp(prefix="compare-")
        self.net = network.Network(self.directory)
        self.enter = self.net.enter("caller")
        self.poller = _poller([], SERVER_DEVICE, SERVER_CORE)
        _poller(self.enter, GENERATOR_DEVICE, GENERATOR_CORE)
        return self

    def __exit__(self, *_):
        for holder in self.net.holders.values():
            holder.stop()
        ctypes.CDLL(None).setns(self.home, _CLONE_NEWNET)
        os.close(self.home)
        shutil.rmtree(self.directory, ignore_errors=True)

    def address(self, _party=None, family=4):
        """The generator's, whichever party it plays."""
        return self.net.address("caller", family)

    def polled(self):
        """Nanoseconds so far that the server's host has spent on frames that came, its own programs included."""
        return machine.cpu_seconds([self.poller]) * 1e9


def driver_ns():
    """Nanoseconds that a frame costs in the driver around a program: frames that two bare programs on a pair of devices
    send back and forth, polled on the server's core."""
    devices = ("bounceA", "bounceB")
    do("ip", "link", "add", devices[0], "type", "veth", "peer", "name", devices[1])
    try:
        for device in devices:
            do("ethtool", "-K", device, "gro", "on")
            do("ip", "link", "set", device, "up")
        pollers = [_poller([], device, SERVER_CORE) for device in devices]
        first, second = (socket.if_nametoindex(device) for device in devices)
        with bpf.bare(first), bpf.bare(second), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((devices[0], 0))
            for _ in range(BOUNCING):
                sender.send(FRAME)
            time.sleep(BOUNCE_SECONDS / 4)
            cpu, count = machine.cpu_seconds(pollers), sum(map(_run, devices))
            time.sleep(BOUNCE_SECONDS)
            cpu, count = machine.cpu_seconds(pollers) - cpu, sum(map(_run, devices)) - count
    finally:
        do("ip", "link", "del", devices[0])
    if count < 1000:
        raise Failure(f"only {count} frames went back and forth between two devices")
    return cpu * 1e9 / count


def _run(device):
    """Frames that a program on this device has seen."""
    lines = (line.split(":") for line in do("ethtool", "-S", device).splitlines())
    return sum(int(line[1]) for line in lines if line[0].strip().startswith("rx_queue") and line[0].endswith("xdp_packets"))


def _poller(enter, device, core):
    """Lets a device poll in a thread of its own on this core; the thread's id."""

    def threads():
        found = set()
        for path in glob.glob("/proc/[0-9]*/comm"):
            try:
                with open(path) as file:
                    name = file.read()
            except OSError:
                continue
            if name.startswith(f"napi/{device}-"):
                found.add(int(path.split("/")[2]))
        return found

    before = threads()
    do(*enter, "unshare", "--mount", "sh", "-c", f"mount -t sysfs none /sys && echo 1 > /sys/class/net/{device}/threaded")
    [thread] = until(lambda: threads() - before, 5, f"a thread that polls {device}")
    os.sched_setaffinity(thread, {core})
    # As a card's interrupt would, it takes its core from any process: a device's ring holds 256 frames, 8 ms of 300 calls one way.
    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
    return thread
