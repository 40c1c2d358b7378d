"""The load generator beside SIPp: the same calls to the same answering side, which is ours (`strowger-loadgen calls --uas`), since
SIPp's own is full before either is.

The answering side runs on core 0, the generator on core 1. Both send INVITE, ACK and BYE and read 180, 200 and 200, without RTP;
SIPp asks for as large a receive buffer as the kernel gives it. A rate is sound if every call was answered and hung up, nothing was sent twice, the
kernel dropped nothing, and all was over when it should be: who begins calls late, or is answered later and later, ends late.
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass

from harness.process import Failure, Process, free_port, is_bound, until

from . import machine, rounds
from .relay import GENERATOR_CORE, SERVER_CORE
from .search import Search

# At which both are far from their limits, and at which SIPp is near its own.
SLOW, FAST = 1000, 4000
# Where the search for either's highest rate begins in the first round.
BEGIN_OURS, BEGIN_THEIRS = 64_000, 16_000
# How much later than planned a run may end: a share of it, and what it takes to begin and to notice the end.
LATE_SHARE, LATE_SECONDS = 0.05, 0.2
# How much later it is not waited for any longer.
GIVE_UP_SECONDS = 1.0
# How often it is asked whether a run has become void already.
LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Course:
    """Seconds of a run: before what is watched, watched, and after it."""

    lead: float
    window: float
    tail: float

    @property
    def whole(self):
        """All of it."""
        return self.lead + self.window + self.tail


TRIAL = Course(0.5, 2.0, 0.5)


def _answered(options, directory, place, seconds):
    """Runs `place(port, pid)` against a fresh answering side."""
    port = free_port()
    argv = [options.loadgen, "calls", "--uas", "--uas-listen", f"127.0.0.1:{port}", "--rtp", "off", "--concurrent", 400_000, "--pin", SERVER_CORE,
            "--duration", f"{seconds + 60}s", "--quiet"]
    server = Process("uas", argv, directory)
    try:
        until(lambda: is_bound("127.0.0.1", port), 10, "the answering side to listen")
        return place(port, server.child.pid)
    finally:
        server.stop(0)  # calls of a run that failed may still be up, and would be waited for


def _pass(seconds, dropped):
    """Lets so much time pass, or less if the kernel drops something: such a run cannot become sound any more."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not dropped():
        time.sleep(min(LOOK_SECONDS, left))


def _watch(name, argv, directory, answering, rate, course):
    """Runs a generator to its end, or until it is void; what it and the answering side spent while it was watched."""
    drops_before, generator = machine.udp_drops(), Process(name, argv, directory)

    def dropped():
        return machine.udp_drops() - drops_before

    time.sleep(course.lead)
    pids = (generator.child.pid, answering)
    before, begin = [machine.cpu_seconds([pid]) for pid in pids], time.monotonic()
    _pass(course.window, dropped)
    cpu, real = [machine.cpu_seconds([pid]) - spent for pid, spent in zip(pids, before)], time.monotonic() - begin
    if not generator.running():
        raise Failure(f"the generator ended early: {generator.output()[-800:]}")
    found = {"cost": cpu[0] * 1e6 / (rate * real), "cpu_s": cpu[0], "answering_cpu_s": cpu[1], "window_s": real, "rate": rate, "void": None}
    if drops := dropped():
        generator.stop(0)
        return {**found, "void": f"the kernel dropped {drops} datagrams"}
    try:
        status = generator.child.wait(course.tail + GIVE_UP_SECONDS)
    except subprocess.TimeoutExpired:
        generator.stop(0)
        return {**found, "void": f"it had not ended {GIVE_UP_SECONDS} s after it should have"}
    if status not in (0, 1, 4):
        raise Failure(f"{name} ended with {status}: {generator.output()[-800:]}")
    if (drops := dropped()) or status == 4:
        found["void"] = f"the kernel dropped {drops} datagrams" if drops else "the generator was late"
    return found


def _judge(found, again, done, calls, elapsed, planned):
    """A run that ended, with why it is not sound, if it is not."""
    late, void = elapsed - planned, None
    if again:
        void = f"{again} messages were sent again"
    elif done < calls:
        void = f"{calls - done} of {calls} calls were not completed"
    elif late > planned * LATE_SHARE + LATE_SECONDS:
        void = f"it ended {late:.2f} s late"
    return {**found, "void": void, "done": done, "elapsed_s": elapsed}


def _ours(options, rate, course, gather=()):
    def measure(directory):
        def place(port, answering):
            report = os.path.join(directory, "loadgen.json")
            argv = [options.loadgen, "calls", "--uac", "--target", f"127.0.0.1:{port}", "--rate", rate, "--duration", f"{course.whole}s", "--hold", "0s",
                    "--rtp", "off", "--pin", GENERATOR_CORE, "--json", report, "--quiet", *gather]
            found = _watch("loadgen", argv, directory, answering, rate, course)
            if found["void"]:
                return found
            with open(report) as file:
                told = json.load(file)
            counters = told["counters"]
            again = counters["retransmitted_invite"] + counters["retransmitted_request"]
            return _judge(found, again, counters["calls_completed"], int(rate * course.whole), told["elapsed_s"], course.whole)

        return _answered(options, directory, place, course.whole)

    return rounds.inside(measure)


def _theirs(options, rate, course):
    calls = int(rate * course.whole)

    def measure(directory):
        def place(port, answering):
            argv = ["taskset", "-c", GENERATOR_CORE, "sipp", f"127.0.0.1:{port}", "-sn", "uac", "-i", "127.0.0.1", "-p", free_port(), "-r", rate, "-m", calls, "-l", calls, "-d", 0,
                    "-buff_size", machine.receive_buffer_max(), "-nostdin", "-trace_stat", "-stf", "stat.csv", "-fd", 1]
            found = _watch("sipp", argv, directory, answering, rate, course)
            if found["void"]:
                return found
            with open(os.path.join(directory, "stat.csv")) as file:
                lines = [line.rstrip("\n").split(";") for line in file]
            last = dict(zip(lines[0], lines[-1]))
            begun, ended = (float(last[name].split()[-1]) for name in ("StartTime", "CurrentTime"))
            return _judge(found, int(last["Retransmissions(C)"]), int(last["SuccessfulCall(C)"]), calls, ended - begun, calls / rate)

        return _answered(options, directory, place, calls / rate)

    return rounds.inside(measure)


def _searching(name, run, begin):
    """A search that goes on from round to round. `cost` is a core's microseconds a call at the highest sound rate."""
    def trial(rate):
        found = run(rate)
        share, answering = (100 * found[key] / found["window_s"] for key in ("cpu_s", "answering_cpu_s"))
        print(f"{name}: {rate} calls/s {found['void'] or 'sound'}; generator {share:.0f} %, answering side {answering:.0f} % of a core", flush=True)
        return found

    search = Search(trial, begin)

    def highest():
        rate, steps = search.highest()
        void = None if rate else f"not even the lowest rate was sound: {steps[-1]['void']}"
        return {"cost": 1e6 / max(rate, 1), "rate": rate, "void": void, "steps": steps}

    return highest


def _ready(options):
    machine.need("sipp", "sip-tester")
    machine.need("taskset", "util-linux")
    options.loadgen = machine.need_built(os.path.abspath(options.loadgen), "cargo build --release -p strowger-loadgen")
    if (os.cpu_count() or 1) < 2:
        raise machine.Missing("a second core: the generator must not share one with the answering side")


def highest(options):
    """The highest rate of one core, ours over SIPp's."""
    _ready(options)
    ours = _searching("ours", lambda rate: _ours(options, rate, TRIAL), BEGIN_OURS)
    theirs = _searching("sipp", lambda rate: _theirs(options, rate, TRIAL), BEGIN_THEIRS)
    return rounds.compare("loadgen_vs_sipp_speedup", options, ours, theirs, "us of a core")


def _at(options, name, rate, gather=()):
    course = Course(1.0, options.seconds, 1.0)
    return rounds.compare(name, options, lambda: _ours(options, rate, course, gather), lambda: _theirs(options, rate, course), "us/call")


def processor(options):
    """Processor time of a call in the generator at the same rate, SIPp's over ours: at two rates, and with ticks as long as SIPp's."""
    _ready(options)
    return [*_at(options, "loadgen_vs_sipp_cpu_speedup", FAST), *_at(options, "loadgen_vs_sipp_cpu_ticks_speedup", FAST, ("--gather", "10ms")),
            *_at(options, "loadgen_vs_sipp_cpu_slow_speedup", SLOW)]
