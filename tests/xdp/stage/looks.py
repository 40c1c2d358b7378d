"""What the cases look at: which way packets go, how often the process wakes, and when the last packet of a dead one arrived."""

import os
import sys
import time

from harness.process import Failure, Process, until

from . import wire
from .network import DEVICES, attached, do

# Learning, and the rest before a settled stream moves to the kernel.
SETTLE_SECONDS = 2.0
# What a process's death may take until nothing arrives any more, besides its dead-man time.
SLACK_SECONDS = 1.0
WATCHER = os.path.abspath(wire.__file__)


def share(appliance, seconds):
    """The share of packets that the kernel relayed meanwhile, and how many there were."""
    before = appliance.packets()
    time.sleep(seconds)
    after = appliance.packets()
    grown = {path: after[path] - before.get(path, 0.0) for path in after}
    total = sum(grown.values())
    if total == 0:
        raise Failure(f"no packet was relayed within {seconds} s: {after}")
    return grown.get("xdp", 0.0) / total, total


def wakes(appliance, seconds):
    """How often each thread of the process woke, a second."""
    before = appliance.waits()
    time.sleep(seconds)
    after = appliance.waits()
    return {name: (count - before.get(name, 0)) / seconds for name, count in after.items() if count > before.get(name, 0)}


def watch(net, party, directory, seconds):
    """Counts media that arrives at a party."""
    argv = [*net.enter(party), sys.executable, WATCHER, "watch", "e0", 40_000, 49_999, seconds]
    watcher = Process(f"watch-{party}", argv, directory)
    until(lambda: "watching" in watcher.output(), 5, "the watcher")
    return watcher


def last(watcher, seconds):
    """When the last packet arrived, and how many did."""
    watcher.wait(seconds)
    at, count = watcher.output().splitlines()[-1].split()
    return float(at), int(count)


def tags(net, party, seconds):
    """The VLANs and priorities of media that arrives at a party."""
    argv = [*net.enter(party), sys.executable, WATCHER, "tags", "e0", 40_000, 49_999, seconds]
    rows = do(*argv).splitlines()[1:]
    return {tuple(map(int, row.split()[:2])) for row in rows}


def nothing_left(pin=None):
    """No program is attached and no link pinned."""
    left = {device: attached(device) for device in DEVICES.values() if attached(device)}
    if left:
        raise Failure(f"programs are still attached: {left}")
    if pin and os.listdir(pin):
        raise Failure(f"links are still pinned: {os.listdir(pin)}")


def mostly_below(appliance, seconds=2.0):
    """Settled streams are relayed in the kernel; the share of their packets."""
    below, total = share(appliance, seconds)
    if below <= 0.999:
        raise Failure(f"{100 * below:.3f} % of {total:.0f} packets by XDP once settled, more than 99.9 % wanted")
    return below


def killed_after(net, directory, appliance, seconds):
    """SIGKILL under calls: nothing arrives for longer than so many seconds afterwards."""
    watcher = watch(net, "callee", directory, seconds + 3)
    time.sleep(0.5)
    killed = time.monotonic()
    appliance.kill()
    ended, count = last(watcher, seconds + 10)
    if count < 100 or ended - killed > seconds:
        raise Failure(f"{count} packets arrived until {ended - killed:.2f} s after the kill, {seconds} s allowed")
    return ended - killed
