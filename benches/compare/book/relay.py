"""Media relays at a fixed load: the same generator sends G.711 both ways through either and verifies what arrives.

The relay under test runs on core 0 alone, the generator on core 1. Only the steady state is measured: all streams up, none
ending. Ours is set up by SIP calls (`rtp --via sip`), rtpengine by its ng protocol; packets, pacing and verification are the same code.
"""

import json
import os
import re

from harness.appliance import MEDIA_PORTS, Appliance
from harness.process import Failure, Process, free_port, is_bound, until

from . import machine, rounds

PACKETS_PER_CALL_SECOND = 100
SETTLE_SECONDS = 1.0
# No part of 50 packets a second: calls set up at 200 would all send in four bursts of each 20 ms, while those of the ng protocol
# begin spread over it, as independent callers do.
SET_UP_RATE = 203
SERVER_CORE, GENERATOR_CORE = "0", "1"


def pinned(*argv):
    """A command on the core of whatever is measured."""
    return ["taskset", "-c", SERVER_CORE, *argv]


def judge(generator, options):
    """Waits for the generator's own verdict; why the run is void, or None."""
    status = generator.wait(options.seconds + 60)
    text = generator.output()
    if status == 4:
        return "the generator was late or dropped packets"
    if status == 1 and re.search(r"RTP packets were lost", text):
        return "packets were lost"
    if status != 0:
        raise Failure(f"the generator ended with {status}: {text[-800:]}")
    return None


def steady(options, directory, pids, argv, enter=(), settle=SETTLE_SECONDS, reading=dict):
    """Runs the generator, behind `enter`, and measures `pids` once all streams are up: the cost of a packet in microseconds.
    `reading()` gives further numbers that only grow; the result has what they grew by meanwhile."""
    report = os.path.join(directory, "loadgen.json")
    generator = Process("loadgen", [*enter, options.loadgen, *argv, "--pin", GENERATOR_CORE, "--json", report], directory)

    def all_up():
        if not generator.running():
            raise Failure(f"the generator ended early: {generator.output()[-800:]}")
        return re.search(rf" up {options.calls} ", generator.output())

    until(all_up, 60, f"{options.calls} streams to be up")
    rounds.window(pids, settle)
    before = reading()
    cpu, seconds, drops = rounds.window(pids, options.seconds)
    grown = {key: value - before[key] for key, value in reading().items()}
    void = judge(generator, options)
    with open(report) as file:
        counters = json.load(file)["counters"]
    packets = options.calls * PACKETS_PER_CALL_SECOND * seconds
    if drops:
        void = void or f"the kernel dropped {drops} datagrams"
    return {"cost": cpu * 1e6 / packets, "void": void, "cpu_s": cpu, "window_s": seconds, "packets": packets, "kernel_dropped": drops,
            "rtp_lost": counters["rtp_lost"], "rtp_corrupted": counters["rtp_corrupted"], **grown}


class Ours:
    """A Strowger with one shard; streams are calls from one trunk to another."""

    name = "Strowger"
    media = ()

    def __init__(self, options, directory, streams):
        self.caller, self.callee = free_port(), free_port()
        trunks = [
            {"name": "in", "address": f"127.0.0.1:{self.caller}", "prefixes": [], "allow_from": ["127.0.0.1/32"]},
            {"name": "out", "address": f"127.0.0.1:{self.callee}", "prefixes": [""], "allow_from": ["127.0.0.1/32"]},
        ]
        # Two pairs a call, also for those of a run before that still rest.
        ports = min(max(MEDIA_PORTS, 8 * streams), 14_000)
        self.appliance = Appliance(options.binary, "auto", directory, trunks, shards=1, prefix=pinned(), squat=False, ports=ports, media=self.media)
        self.pid = self.appliance.process.child.pid

    def argv(self, streams):
        """What the generator is told to put so many streams through."""
        return ["rtp", "--via", "sip", "--target", f"127.0.0.1:{self.appliance.port}", "--bind", f"127.0.0.1:{self.caller}", "--uas-listen",
                f"127.0.0.1:{self.callee}", "--to", "+15550100", "--rate", SET_UP_RATE, "--silence-max", "60s", *common(streams)]

    def stop(self):
        """Ends it."""
        self.appliance.stop()


class OursAtOnce(Ours):
    """One that wakes for each packet."""

    media = (("gather", "0s"),)


class Rtpengine:
    """An rtpengine in user space with one thread; streams are offers and answers of its ng protocol."""

    name = "rtpengine"

    def __init__(self, _options, directory, _streams):
        self.control = free_port()
        argv = [machine.need("rtpengine", "rtpengine"), "--table=-1", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{self.control}", "--port-min=50000",
                "--port-max=59999", "--num-threads=1", "--log-level=3", "--log-stderr", "--foreground", f"--pidfile={directory}/pid"]
        self.process = Process("rtpengine", pinned(*argv), directory)
        self.pid = self.process.child.pid
        until(lambda: is_bound("127.0.0.1", self.control), 10, "rtpengine to listen")

    def argv(self, streams):
        """What the generator is told to put so many streams through."""
        return ["rtp", "--via", "ng", "--target", f"127.0.0.1:{self.control}", *common(streams)]

    def stop(self):
        """Ends it."""
        self.process.stop()


def nothing(streams):
    """What the generator is told to join the two ends of so many streams directly."""
    return ["rtp", "--via", "nothing", *common(streams)]


def common(streams):
    """The options of all that."""
    return ["--streams", streams, "--rtp-ports", "40000-49999"]


def _through(options, make):
    def measure(directory):
        server = make(options, directory, options.calls)
        try:
            seconds = SETTLE_SECONDS + options.seconds + 4
            return steady(options, directory, [server.pid], [*server.argv(options.calls), "--duration", f"{seconds:.1f}s"])
        finally:
            server.stop()

    return lambda: rounds.inside(measure)


def vs_rtpengine(options):
    """Processor time per relayed packet, ours over rtpengine's."""
    return _vs_rtpengine("relay_vs_rtpengine", options, Ours)


def at_once_vs_rtpengine(options):
    """The same with packets that wait for no others."""
    return _vs_rtpengine("relay_at_once_vs_rtpengine", options, OursAtOnce)


def _vs_rtpengine(name, options, make):
    machine.need_peers(options, "rtpengine", "rtpengine")
    return rounds.compare(name, options, _through(options, make), _through(options, Rtpengine), "us/packet")
