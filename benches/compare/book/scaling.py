"""What several shards cost: processor time per call and per relayed packet with N shards over that with one.

`scaling` gives each shard a core and a load of its own, from a generator on a further core: the work grows as the shards do.
`sharing` gives the same work on the same core to one shard and to two: all that differs is that it is divided, which is what a
machine without further cores can show.
"""

import json
import os

from harness.appliance import Appliance
from harness.process import Failure, Process, free_port, until

from . import machine, relay, rounds
from .kamailio import LEAD_SECONDS, TAIL_SECONDS

SHARDS = (2, 4, 8)
CALLS_PER_SECOND, STREAMS = 500, 200
# Each generator calls from so many ports: the kernel divides them among the shards.
SOURCES = 32
PORTS_PER_GENERATOR = 4 * 1500
SETTLE_SECONDS = 1.0


class Stage:
    """One Strowger with `shards` shards on `cores`, and for each of the cores in `generators` a pair of trunks of its own."""

    def __init__(self, options, directory, shards, cores, generators):
        self.options, self.directory, self.generators = options, directory, generators
        self.ends = [(f"127.0.1.{2 * at + 1}", f"127.0.1.{2 * at + 2}") for at in range(len(generators))]
        self.ports = [free_port() for _ in generators]
        trunks = []
        for at, (caller, callee) in enumerate(self.ends):
            trunks.append({"name": f"in{at}", "address": f"{caller}:{self.ports[at]}", "prefixes": [], "allow_from": [f"{caller}/32"]})
            trunks.append({"name": f"out{at}", "address": f"{callee}:{self.ports[at]}", "prefixes": [f"+1555{at:02}"], "allow_from": [f"{callee}/32"]})
        prefix = ["taskset", "-c", ",".join(map(str, cores))]
        self.server = Appliance(options.binary, "auto", directory, trunks, shards=shards, pin=len(cores) == shards > 1, prefix=prefix,
                                squat=False, ports=PORTS_PER_GENERATOR * len(generators))
        self.pids = [self.server.process.child.pid]

    def start(self, command):
        """Every generator's process, each with a file for its report."""
        found = []
        for at, core in enumerate(self.generators):
            (caller, callee), port = self.ends[at], self.ports[at]
            report = os.path.join(self.directory, f"report{at}.json")
            argv = [self.options.loadgen, *command, "--target", f"127.0.0.1:{self.server.port}", "--bind", caller, "--sources", SOURCES,
                    "--uas-listen", f"{callee}:{port}", "--to", f"+1555{at:02}0100", "--rtp-ports", "40000-49999", "--silence-max", "60s",
                    "--pin", core, "--json", report, "--quiet"]
            found.append((Process(f"loadgen{at}", argv, self.directory), report))
        return found

    def end(self, processes, seconds):
        """Waits for them; why the run is void, or None."""
        void = None
        for process, report in processes:
            status = process.wait(seconds + 60)
            if status not in (0, 1, 4):
                raise Failure(f"{process.name} ended with {status}: {process.output()[-800:]}")
            with open(report) as file:
                found = json.load(file)
            counters = found["counters"]
            again = counters["retransmitted_invite"] + counters["retransmitted_request"] + counters["retransmitted_success"]
            void = void or (status == 4 and "a generator was late or dropped packets") or (status == 1 and found["sentences"][0])
            void = void or (again and f"{again} messages were sent again") or None
        return void

    def active(self):
        """Calls that are up."""
        return self.server.metrics().get("strowger_calls_active", 0)


def _calls(options, stage):
    seconds = LEAD_SECONDS + options.seconds + TAIL_SECONDS
    processes = stage.start(["calls", "--rtp", "off", "--hold", "300ms", "--rate", CALLS_PER_SECOND, "--duration", f"{seconds:.1f}s"])
    rounds.window(stage.pids, LEAD_SECONDS)
    cpu, real, drops = rounds.window(stage.pids, options.seconds)
    return cpu, real, drops, CALLS_PER_SECOND * len(processes) * real, stage.end(processes, seconds)


def _packets(options, stage):
    seconds = SETTLE_SECONDS + options.seconds + 4
    processes = stage.start(["rtp", "--via", "sip", "--streams", STREAMS, "--rate", relay.SET_UP_RATE, "--duration", f"{seconds:.1f}s"])
    wanted = STREAMS * len(processes)
    until(lambda: stage.active() >= wanted, 60, f"{wanted} calls to be up")
    rounds.window(stage.pids, SETTLE_SECONDS)
    cpu, real, drops = rounds.window(stage.pids, options.seconds)
    return cpu, real, drops, wanted * relay.PACKETS_PER_CALL_SECOND * real, stage.end(processes, seconds + STREAMS / relay.SET_UP_RATE)


WORK = {"calls": (_calls, "us/call"), "packets": (_packets, "us/packet")}


def _side(options, work, shards, cores, generators):
    def measure(directory):
        stage = Stage(options, directory, shards, cores, generators)
        try:
            cpu, real, drops, units, void = work(options, stage)
        finally:
            stage.server.stop()
        void = void or (f"the kernel dropped {drops} datagrams" if drops else None)
        return {"cost": cpu * 1e6 / units, "void": void, "cpu_s": cpu, "window_s": real, "units": units, "shards": shards, "cores": list(cores)}

    return lambda: rounds.inside(measure)


def scaling(options):
    """One shard's processor time per call and per packet over that of N shards with N times the load: 1 is perfect."""
    machine.need_ours(options)
    cores = os.cpu_count() or 1
    possible = [shards for shards in SHARDS if 2 * shards <= cores]
    if not possible:
        raise machine.Missing(f"cores: {2 * SHARDS[0]} for {SHARDS[0]} shards, since each needs one and its generator another, and this "
                              f"machine has {cores}; what dividing the work costs shows on two: sharing")
    lines = []
    for shards in possible:
        for kind, (work, unit) in WORK.items():
            many = _side(options, work, shards, range(shards), range(shards, 2 * shards))
            one = _side(options, work, 1, [0], [shards])
            lines += rounds.compare(f"scaling_{kind}_{shards}_speedup", options, many, one, unit, (f"{shards} shards", "one"))
    return lines


def sharing(options):
    """Processor time per call and per packet of two shards on one core over that of one shard there, for the same load."""
    machine.need_ours(options)
    lines = []
    for kind, (work, unit) in WORK.items():
        sides = [_side(options, work, shards, [int(relay.SERVER_CORE)], [int(relay.GENERATOR_CORE)]) for shards in (2, 1)]
        lines += rounds.compare(f"sharing_{kind}", options, *sides, unit, ("two shards", "one"))
    return lines
