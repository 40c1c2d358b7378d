"""The load generator beside SIPp: the same calls at the same rate to the same answering side, which is SIPp's own.

The answering side runs on core 0, the generator on core 1. What is measured is the processor time of the generator: it says how
many calls a second a core could place at most. Both send INVITE, ACK and BYE and read 180, 200 and 200, without RTP.
"""

import json
import os
import time

from harness.process import Failure, Process, free_port, is_bound, until

from . import machine, rounds
from .relay import GENERATOR_CORE, pinned

CALLS_PER_SECOND = 1000
LEAD_SECONDS, TAIL_SECONDS = 1.0, 1.0


def _answered(directory, place):
    """Runs `place(port, seconds)` against a fresh `sipp -sn uas`."""
    port = free_port()
    argv = [machine.need("sipp", "sip-tester"), "-sn", "uas", "-i", "127.0.0.1", "-p", port, "-nostdin"]
    server = Process("uas", pinned(*argv), directory)
    try:
        until(lambda: is_bound("127.0.0.1", port), 10, "sipp to listen")
        return place(port)
    finally:
        server.stop()


def _window(options, generator, seconds):
    time.sleep(LEAD_SECONDS)
    cpu, real, drops = rounds.window([generator.child.pid], options.seconds)
    if not generator.running():
        raise Failure(f"the generator ended early: {generator.output()[-800:]}")
    status = generator.wait(seconds + 60)
    void = f"{drops} datagrams dropped by the kernel" if drops else None
    return status, void, {"cost": cpu * 1e6 / (CALLS_PER_SECOND * real), "cpu_s": cpu, "window_s": real}


def _ours(options):
    def measure(directory):
        def place(port):
            seconds = LEAD_SECONDS + options.seconds + TAIL_SECONDS
            report = os.path.join(directory, "loadgen.json")
            argv = [options.loadgen, "calls", "--uac", "--target", f"127.0.0.1:{port}", "--rate", CALLS_PER_SECOND, "--duration", f"{seconds}s",
                    "--hold", "0s", "--rtp", "off", "--pin", GENERATOR_CORE, "--json", report, "--quiet"]
            generator = Process("loadgen", argv, directory)
            status, void, found = _window(options, generator, seconds)
            if status not in (0, 4):
                raise Failure(f"the generator ended with {status}: {generator.output()[-800:]}")
            with open(report) as file:
                counters = json.load(file)["counters"]
            again = counters["retransmitted_invite"] + counters["retransmitted_request"]
            void = void or ("the generator was late" if status == 4 else None) or (f"{again} messages were sent again" if again else None)
            return {**found, "void": void, "done": counters["calls_completed"]}

        return _answered(directory, place)

    return rounds.inside(measure)


def _theirs(options):
    def measure(directory):
        def place(port):
            seconds = LEAD_SECONDS + options.seconds + TAIL_SECONDS
            calls = int(CALLS_PER_SECOND * seconds)
            argv = ["taskset", "-c", GENERATOR_CORE, "sipp", f"127.0.0.1:{port}", "-sn", "uac", "-i", "127.0.0.1", "-p", free_port(), "-r", CALLS_PER_SECOND,
                    "-m", calls, "-l", calls, "-d", 0, "-nostdin", "-trace_stat", "-stf", "stat.csv", "-fd", 1]
            generator = Process("sipp", argv, directory)
            status, void, found = _window(options, generator, seconds)
            if status != 0:
                raise Failure(f"sipp ended with {status}: {generator.output()[-800:]}")
            with open(os.path.join(directory, "stat.csv")) as file:
                lines = [line.rstrip("\n").split(";") for line in file]
            last = dict(zip(lines[0], lines[-1]))
            again = int(last["Retransmissions(C)"])
            return {**found, "void": void or (f"{again} messages were sent again" if again else None), "done": int(last["SuccessfulCall(C)"])}

        return _answered(directory, place)

    return rounds.inside(measure)


def calls(options):
    """Processor time of a call in the generator, SIPp's over ours."""
    machine.need("sipp", "sip-tester")
    machine.need("taskset", "util-linux")
    machine.need_built(options.loadgen, "cargo build --release -p strowger-loadgen")
    if (os.cpu_count() or 1) < 2:
        raise machine.Missing("a second core: the generator must not share one with the answering side")
    return rounds.compare("loadgen_vs_sipp_speedup", options, lambda: _ours(options), lambda: _theirs(options), "us/call")
