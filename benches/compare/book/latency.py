"""What a relay adds to the delay of a packet, each at half of the highest load that it carries without loss.

That load is found first, by doubling and halving the number of streams. Added is the 99.9th percentile of the delay through the
relay, less that of the same generator with as many streams and nothing between its two ends, measured just before. Relay and generator
run in real time (SCHED_FIFO), each alone on its core: otherwise the delay that is measured is that of waiting for the core while
something else of this machine has it, 2 to 6 ms at a time, the same for each relay.
"""

import json
import os
import resource

from harness.process import Failure, Process

from . import machine, relay, rounds

TRIAL_SECONDS, SETTLE_SECONDS = 4.0, 1.0
LOWEST, PRECISION = 100, 0.1
# A packet that comes later than the next one is sent is as good as lost to a phone.
DELAY_MAX_MS = 20.0
# Four sockets of the relay for each, as many as this process may have descriptors for.
HIGHEST = min(2000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // 4)
REAL_TIME = ["chrt", "--fifo", "1"]
VERDICTS = {0: None, 1: "packets were lost", 4: "the generator was late or dropped packets"}


def highest(passes, low=LOWEST, high=HIGHEST, precision=PRECISION):
    """The highest number that passes: doubled until one fails, then halved between. A failure counts when it comes twice."""
    best, failed, value = 0, None, low
    while True:
        if passes(value) or passes(value):
            best = value
        elif value == low:
            raise Failure(f"not even {low} streams pass")
        else:
            failed = value
        if failed is None and best >= high or failed is not None and failed - best <= max(1, precision * best):
            return best
        value = min(2 * best, high) if failed is None else (best + failed) // 2


def trial(options, directory, argv, seconds):
    """One run of the generator: the larger of both directions' 99.9th percentiles in milliseconds, and why it is void or None."""
    report = os.path.join(directory, "loadgen.json")
    argv = [*argv, "--settle", f"{SETTLE_SECONDS}s", "--duration", f"{SETTLE_SECONDS + seconds:.1f}s", "--pin", relay.GENERATOR_CORE]
    drops = machine.udp_drops()
    generator = Process("loadgen", [*REAL_TIME, options.loadgen, *argv, "--json", report, "--quiet"], directory)
    status = generator.wait(seconds + 120)
    if status not in VERDICTS:
        raise Failure(f"the generator ended with {status}: {generator.output()[-800:]}")
    with open(report) as file:
        found = json.load(file)
    drops = machine.udp_drops() - drops
    void = VERDICTS[status] or (f"the kernel dropped {drops} datagrams" if drops else None)
    if not found["latency_ms"].get("rtp_delay_uas"):
        raise Failure(f"no packet arrived: {generator.output()[-800:]}")
    both = [found["latency_ms"][f"rtp_delay_{side}"] for side in ("uas", "uac")]
    return {"p99_9": max(each["p99_9"] for each in both), "p50": max(each["p50"] for each in both), "void": void}


def _start(options, make, directory, streams):
    """The relay, with every thread of it in real time."""
    server = make(options, directory, streams)
    try:
        for thread in os.listdir(f"/proc/{server.pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))
    except OSError as error:
        server.stop()
        raise Failure(f"no real time for {server.name}: {error.strerror}; run it as root") from error
    return server


def _load(options, make):
    """The highest number of streams that this relay carries, and what stopped it above."""
    limits = {}

    def measure(directory):
        server = _start(options, make, directory, HIGHEST)
        try:

            def passes(streams):
                found = trial(options, directory, server.argv(streams), TRIAL_SECONDS)
                late = found["p99_9"] > DELAY_MAX_MS and f"99.9 % took up to {found['p99_9']:.1f} ms"
                limits[streams] = found["void"] or late or None
                print(f"{make.name}: {streams} streams, p99.9 {found['p99_9'] * 1000:.0f} us {limits[streams] or 'pass'}", flush=True)
                return limits[streams] is None

            return highest(passes)
        finally:
            server.stop()

    best = rounds.inside(measure)
    above = [streams for streams, limit in limits.items() if limit and streams > best]
    return best, limits[min(above)] if above else "nothing failed"


def _added(options, make, most, limit):
    """The delay that the relay adds at half of that load, in microseconds."""
    streams = max(1, most // 2)

    def measure(directory):
        floor = trial(options, directory, relay.nothing(streams), options.seconds)
        server = _start(options, make, directory, streams)
        try:
            through = trial(options, directory, server.argv(streams), options.seconds)
        finally:
            server.stop()
        added = (through["p99_9"] - floor["p99_9"]) * 1000
        void = floor["void"] or through["void"]
        if added <= 0:
            void = void or "the machine's own pauses were longer than what the relay adds"
        return {"cost": added, "void": void, "streams": streams, "highest": most, "limit": limit, "through_ms": through, "floor_ms": floor}

    return lambda: rounds.inside(measure)


def added(options):
    """The 99.9th percentile that the relay adds at half of its highest loss-free load, ours over rtpengine's."""
    return _vs_rtpengine("added_latency", options, relay.Ours)


def added_at_once(options):
    """The same with packets that wait for no others."""
    return _vs_rtpengine("added_latency_at_once", options, relay.OursAtOnce)


def _vs_rtpengine(name, options, make):
    machine.need("chrt", "util-linux")
    machine.need_peers(options, "rtpengine", "rtpengine")
    sides = [_added(options, each, *_load(options, each)) for each in (make, relay.Rtpengine)]
    return rounds.compare(name, options, *sides, "us")
