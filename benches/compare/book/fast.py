"""The relay in the kernel beside rtpengine in user space, over the same pair of devices: processor time per relayed packet."""

import shutil
import tempfile

from harness.process import Failure, Process, is_bound, until
from stage.appliance import CALLEE_PORT, CALLER_PORT, NUMBER, SIP_PORT, Appliance
from stage.network import SERVICE

from . import bpf, machine, pair, relay, rounds

CONTROL_PORT = 2223
# Learning, and the rest before a settled stream moves to the kernel.
SETTLE_SECONDS = 2.0
BY_KERNEL_MIN = 0.999


def ours(options, host):
    """One run through Strowger: `cost` is the program's time, the driver's share and what the process spends meanwhile;
    `whole` is all that the server's host spends."""
    directory = tempfile.mkdtemp(prefix="compare-")
    appliance = None
    try:
        driver = pair.driver_ns()
        appliance = Appliance(options, host, directory, fast_path="xdp", devices=[pair.SERVER_DEVICE], prefix=relay.pinned()).up()
        pid, own = appliance.process.child.pid, host.address()
        hold = options.calls / relay.SET_UP_RATE + SETTLE_SECONDS + options.seconds + 4
        argv = ["calls", "--target", f"{SERVICE[4]}:{SIP_PORT}", "--bind", f"{own}:{CALLER_PORT}", "--uas-listen", f"{own}:{CALLEE_PORT}", "--to", NUMBER,
                "--rate", relay.SET_UP_RATE, "--calls", options.calls, "--hold", f"{hold:.1f}s", "--concurrent", options.calls + 10,
                "--rtp-ports", "40000-49999", "--silence-max", "60s"]

        def reading():
            nanoseconds, runs = bpf.ran(pid)
            paths = appliance.packets()
            return {"polled_ns": host.polled(), "program_ns": nanoseconds, "program_runs": runs, "by_kernel": paths.get("xdp", 0), "relayed": sum(paths.values())}

        with bpf.statistics():
            run = relay.steady(options, directory, [pid], argv, host.enter, SETTLE_SECONDS, reading)
    finally:
        if appliance:
            appliance.stop()
        shutil.rmtree(directory, ignore_errors=True)
    if run["by_kernel"] < BY_KERNEL_MIN * run["relayed"]:
        run["void"] = run["void"] or f"only {run['by_kernel']:.0f} of {run['relayed']:.0f} packets were relayed by the kernel"
    if not run["program_runs"]:
        raise Failure("the kernel counts no runs of the relay's program: its time is not known")
    process, program = run["cost"], run["program_ns"] / run["program_runs"] / 1000
    return {**run, "process_us": process, "program_us": program, "driver_us": driver / 1000, "cost": program + driver / 1000 + process,
            "whole": process + run["polled_ns"] / 1000 / run["packets"]}


def theirs(options, host):
    """One run through rtpengine with one thread: `cost` is what its process spends, `whole` all that its host does."""
    directory = tempfile.mkdtemp(prefix="compare-")
    argv = [machine.need("rtpengine", "rtpengine"), "--table=-1", f"--interface={SERVICE[4]}", f"--listen-ng={SERVICE[4]}:{CONTROL_PORT}",
            "--port-min=50000", "--port-max=59999", "--num-threads=1", "--log-level=3", "--log-stderr", "--foreground", f"--pidfile={directory}/pid"]
    server = Process("rtpengine", relay.pinned(*argv), directory)
    try:
        until(lambda: is_bound(SERVICE[4], CONTROL_PORT), 10, "rtpengine to listen")
        hold = SETTLE_SECONDS + options.seconds + 4
        argv = ["rtp", "--target", f"{SERVICE[4]}:{CONTROL_PORT}", "--streams", options.calls, "--duration", f"{hold:.1f}s", "--rtp-ports", "40000-49999"]
        run = relay.steady(options, directory, [server.child.pid], argv, host.enter, SETTLE_SECONDS, lambda: {"polled_ns": host.polled()})
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return {**run, "whole": run["cost"] + run["polled_ns"] / 1000 / run["packets"]}


def vs_rtpengine(options):
    """Processor time per relayed packet in the kernel, over rtpengine's in user space."""
    pair.need()
    machine.need_peers(options, "rtpengine", "rtpengine")
    options.backend = "auto"
    with pair.Pair() as host:
        return rounds.compare("xdp_vs_rtpengine", options, lambda: ours(options, host), lambda: theirs(options, host), "us/packet",
                              also={"xdp_vs_rtpengine_whole": "whole"})
