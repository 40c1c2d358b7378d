"""Media relays at a fixed load: the same generator sends G.711 both ways through either and verifies what arrives.

The relay under test runs on core 0 alone, the generator on core 1. Only the steady state is measured: all streams up, none
ending. Ours is set up by SIP calls, rtpengine by its ng protocol; packets, pacing and verification are the same code.
"""

import json
import os
import re
import shutil
import tempfile

from harness.appliance import Appliance
from harness.process import Failure, Process, free_port, is_bound, until

from . import machine, rounds

PACKETS_PER_CALL_SECOND = 100
SETTLE_SECONDS = 1.0
SET_UP_RATE = 200
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


def ours(options, backend="auto"):
    """One run through Strowger: calls from one trunk to another."""
    directory = tempfile.mkdtemp(prefix="compare-")
    caller, callee = free_port(), free_port()
    trunks = [
        {"name": "in", "address": f"127.0.0.1:{caller}", "prefixes": [], "allow_from": ["127.0.0.1/32"]},
        {"name": "out", "address": f"127.0.0.1:{callee}", "prefixes": [""], "allow_from": ["127.0.0.1/32"]},
    ]
    appliance = Appliance(options.binary, backend, directory, trunks, shards=1, prefix=pinned(), squat=False)
    try:
        ramp = options.calls / SET_UP_RATE
        hold = ramp + SETTLE_SECONDS + options.seconds + 4
        argv = ["calls", "--target", f"127.0.0.1:{appliance.port}", "--bind", f"127.0.0.1:{caller}", "--uas-listen", f"127.0.0.1:{callee}",
                "--to", "+15550100", "--rate", SET_UP_RATE, "--calls", options.calls, "--hold", f"{hold:.1f}s", "--concurrent", options.calls + 10,
                "--rtp-ports", "40000-49999", "--silence-max", "60s"]
        return steady(options, directory, [appliance.process.child.pid], argv)
    finally:
        appliance.stop()
        shutil.rmtree(directory, ignore_errors=True)


def rtpengine(options):
    """One run through rtpengine in user space with one thread."""
    directory = tempfile.mkdtemp(prefix="compare-")
    control = free_port()
    argv = [machine.need("rtpengine", "rtpengine"), "--table=-1", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{control}", "--port-min=50000",
            "--port-max=59999", "--num-threads=1", "--log-level=3", "--log-stderr", "--foreground", f"--pidfile={directory}/pid"]
    relay = Process("rtpengine", pinned(*argv), directory)
    try:
        until(lambda: is_bound("127.0.0.1", control), 10, "rtpengine to listen")
        hold = SETTLE_SECONDS + options.seconds + 4
        argv = ["rtp", "--target", f"127.0.0.1:{control}", "--streams", options.calls, "--duration", f"{hold:.1f}s", "--rtp-ports", "40000-49999"]
        return steady(options, directory, [relay.child.pid], argv)
    finally:
        relay.stop()
        shutil.rmtree(directory, ignore_errors=True)


def vs_rtpengine(options):
    """Processor time per relayed packet, ours over rtpengine's."""
    machine.need_peers(options, "rtpengine", "rtpengine")
    return rounds.compare("relay_vs_rtpengine", options, lambda: ours(options), lambda: rtpengine(options), "us/packet")
