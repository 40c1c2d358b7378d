"""The load generator beside SIPp: the same calls to the same answering side, which is ours (`strowger-loadgen calls --uas`), since
SIPp's own is full before either is.

The answering side runs on core 0, the generator on core 1. Both send INVITE, ACK and BYE and read 180, 200 and 200, without RTP;
both ask for the same receive buffer. A rate is sound if every call was answered and hung up, nothing was sent twice, the
kernel dropped nothing, and what was asked for was placed.
"""

import json
import os
import time

from harness.process import Failure, Process, free_port, is_bound, until

from . import machine, rounds
from .relay import GENERATOR_CORE, SERVER_CORE

LEAD_SECONDS, TAIL_SECONDS = 1.0, 1.0
BUFFER_OCTETS = 4 << 20
# At which both are far from their limits, and at which SIPp is near its own.
SLOW, FAST = 1000, 4000
# The search for the highest rate: where it begins, how near it comes, and for how long each step is watched.
LOWEST, HIGHEST, NEAR, STEP_SECONDS = 1000, 256_000, 0.05, 1.0


def _answered(options, directory, place, seconds):
    """Runs `place(port)` against a fresh answering side."""
    port = free_port()
    argv = [options.loadgen, "calls", "--uas", "--uas-listen", f"127.0.0.1:{port}", "--rtp", "off", "--concurrent", 400_000, "--pin", SERVER_CORE,
            "--duration", f"{seconds + 60}s", "--quiet"]
    server = Process("uas", argv, directory)
    try:
        until(lambda: is_bound("127.0.0.1", port), 10, "the answering side to listen")
        return place(port)
    finally:
        server.stop()


def _window(generator, rate, seconds):
    time.sleep(LEAD_SECONDS)
    cpu, real, drops = rounds.window([generator.child.pid], seconds)
    if not generator.running():
        raise Failure(f"the generator ended early: {generator.output()[-800:]}")
    status = generator.wait(seconds + 60)
    void = f"{drops} datagrams dropped by the kernel" if drops else None
    return status, void, {"cost": cpu * 1e6 / (rate * real), "cpu_s": cpu, "window_s": real, "rate": rate}


def _judge(void, again, done, calls):
    """Why a run is not sound; None if it is."""
    if again:
        return f"{again} messages were sent again"
    return void or (f"{calls - done} of {calls} calls were not completed" if done < calls else None)


def _ours(options, rate, seconds, gather):
    whole = LEAD_SECONDS + seconds + TAIL_SECONDS

    def measure(directory):
        def place(port):
            report = os.path.join(directory, "loadgen.json")
            argv = [options.loadgen, "calls", "--uac", "--target", f"127.0.0.1:{port}", "--rate", rate, "--duration", f"{whole}s", "--hold", "0s",
                    "--rtp", "off", "--pin", GENERATOR_CORE, "--json", report, "--quiet", *gather]
            generator = Process("loadgen", argv, directory)
            status, void, found = _window(generator, rate, seconds)
            if status not in (0, 1, 4):
                raise Failure(f"the generator ended with {status}: {generator.output()[-800:]}")
            with open(report) as file:
                counters = json.load(file)["counters"]
            again = counters["retransmitted_invite"] + counters["retransmitted_request"]
            void = void or ("the generator was late" if status == 4 else None)
            return {**found, "void": _judge(void, again, counters["calls_completed"], int(rate * whole)), "done": counters["calls_completed"]}

        return _answered(options, directory, place, whole)

    return rounds.inside(measure)


def _theirs(options, rate, seconds):
    calls = int(rate * (LEAD_SECONDS + seconds + TAIL_SECONDS))

    def measure(directory):
        def place(port):
            argv = ["taskset", "-c", GENERATOR_CORE, "sipp", f"127.0.0.1:{port}", "-sn", "uac", "-i", "127.0.0.1", "-p", free_port(), "-r", rate, "-m", calls, "-l", calls, "-d", 0,
                    "-buff_size", BUFFER_OCTETS, "-nostdin", "-trace_stat", "-stf", "stat.csv", "-fd", 1]
            begun = time.monotonic()
            generator = Process("sipp", argv, directory)
            status, void, found = _window(generator, rate, seconds)
            took = time.monotonic() - begun
            if status not in (0, 1):
                raise Failure(f"sipp ended with {status}: {generator.output()[-800:]}")
            with open(os.path.join(directory, "stat.csv")) as file:
                lines = [line.rstrip("\n").split(";") for line in file]
            last = dict(zip(lines[0], lines[-1]))
            # SIPp begins what it did not get to later, and so takes longer.
            void = void or ("the generator was late" if took > calls / rate + 1 else None)
            done = int(last["SuccessfulCall(C)"])
            return {**found, "void": _judge(void, int(last["Retransmissions(C)"]), done, calls), "done": done}

        return _answered(options, directory, place, calls / rate)

    return rounds.inside(measure)


def _highest(run):
    """The highest sound rate: doubled until one fails twice, then the gap is halved. `cost` is a core's microseconds a call at it."""
    def sound(rate):
        tried = [run(int(rate), STEP_SECONDS)]
        if tried[0]["void"]:
            tried.append(run(int(rate), STEP_SECONDS))
        steps.extend({key: step[key] for key in ("rate", "void", "cost", "done")} for step in tried)
        return not tried[-1]["void"]

    steps = []
    low, high = 0, LOWEST
    while high <= HIGHEST and sound(high):
        low, high = high, high * 2
    while low and high - low > low * NEAR:
        middle = (low + high) / 2
        low, high = (middle, high) if sound(middle) else (low, middle)
    void = None if low else f"not even {LOWEST} calls a second were sound: {steps[-1]['void']}"
    return {"cost": 1e6 / max(low, 1), "rate": low, "void": void, "steps": steps}


def _ready(options):
    machine.need("sipp", "sip-tester")
    machine.need("taskset", "util-linux")
    options.loadgen = machine.need_built(os.path.abspath(options.loadgen), "cargo build --release -p strowger-loadgen")
    if (os.cpu_count() or 1) < 2:
        raise machine.Missing("a second core: the generator must not share one with the answering side")


def highest(options):
    """The highest rate of one core, ours over SIPp's."""
    _ready(options)
    ours = lambda: _highest(lambda rate, seconds: _ours(options, rate, seconds, ()))
    theirs = lambda: _highest(lambda rate, seconds: _theirs(options, rate, seconds))
    return rounds.compare("loadgen_vs_sipp_speedup", options, ours, theirs, "us of a core")


def _at(options, name, rate, gather=()):
    return rounds.compare(name, options, lambda: _ours(options, rate, options.seconds, gather), lambda: _theirs(options, rate, options.seconds), "us/call")


def processor(options):
    """Processor time of a call in the generator at the same rate, SIPp's over ours: at two rates, and with ticks as long as SIPp's."""
    _ready(options)
    return [*_at(options, "loadgen_vs_sipp_cpu_speedup", FAST), *_at(options, "loadgen_vs_sipp_cpu_ticks_speedup", FAST, ("--gather", "10ms")),
            *_at(options, "loadgen_vs_sipp_cpu_slow_speedup", SLOW)]
