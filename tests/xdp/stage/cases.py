"""The cases, each a function of options, network and a directory; it returns what to say, or raises Failure."""

import os
import sys
import time

from harness.process import Failure, Process, until
from harness.sipp import Sipp

from . import wire
from .appliance import CALLEE_PORT, CALLER_PORT, MEDIA_PORTS, NUMBER, SIP_PORT, Appliance
from .load import Load
from .network import DEVICES, SERVICE, attached

# Learning, and the rest before a settled stream moves to the kernel.
SETTLE_SECONDS = 2.0
# What a process's death may take until nothing arrives any more, besides its dead-man time.
SLACK_SECONDS = 1.0
WATCHER = os.path.abspath(wire.__file__)


def _share(appliance, seconds):
    """The share of packets that the kernel relayed meanwhile, and how many there were."""
    before = appliance.packets()
    time.sleep(seconds)
    after = appliance.packets()
    grown = {path: after[path] - before.get(path, 0.0) for path in after}
    total = sum(grown.values())
    if total == 0:
        raise Failure(f"no packet was relayed within {seconds} s: {after}")
    return grown.get("xdp", 0.0) / total, total


def _relayed(options, net, directory, family):
    appliance = Appliance(options, net, directory, family).up()
    modes = {device: attached(device) for device in DEVICES.values()}
    if set(modes.values()) != {"native"}:
        raise Failure(f"the program is not native on every device: {modes}")
    before = {party: net.bad_checksums(party) for party in ("caller", "callee")}
    load = Load(options, net, directory, options.calls, 10, family).all_up()
    time.sleep(SETTLE_SECONDS)
    share, total = _share(appliance, 5.0)
    load.finish()
    bad = {party: net.bad_checksums(party) - before[party] for party in before}
    appliance.stop()
    left = {device: attached(device) for device in DEVICES.values() if attached(device)}
    if share <= 0.999:
        raise Failure(f"{100 * share:.3f} % of {total:.0f} packets by XDP once settled, more than 99.9 % wanted")
    if any(bad.values()):
        raise Failure(f"datagrams with a wrong UDP checksum: {bad}")
    if left:
        raise Failure(f"programs are still attached after the end: {left}")
    return f"{options.calls} calls, {load.received()} packets verified, none lost; {100 * share:.3f} % by XDP once settled"


def relay_v4(options, net, directory):
    """IPv4, two devices: every packet arrives, settled ones by the kernel."""
    return _relayed(options, net, directory, 4)


def relay_v6(options, net, directory):
    """IPv6, two devices."""
    return _relayed(options, net, directory, 6)


def sipp(options, net, directory):
    """SIPp's uac_pcap through the appliance to a SIPp that echoes."""
    appliance = Appliance(options, net, directory).up()
    calls = 5
    uas = Sipp("uas", "uas", directory, (net.address("callee"), CALLEE_PORT), calls, args=["-rtp_echo"], enter=net.enter("callee"))
    uac = Sipp("uac", "uac_pcap", directory, (net.address("caller"), CALLER_PORT), calls, (SERVICE[4], SIP_PORT),
               ["-s", NUMBER, "-r", "5"], enter=net.enter("caller"))
    uac.check()
    uas.check()
    packets = appliance.packets()
    appliance.stop()
    if packets.get("xdp", 0) < 1000:
        raise Failure(f"hardly anything went by XDP: {packets}")
    return f"{calls} calls, packets by path {packets}"


def _watch(net, party, directory, seconds):
    argv = [*net.enter(party), sys.executable, WATCHER, "watch", "e0", 40_000, 49_999, seconds]
    watcher = Process(f"watch-{party}", argv, directory)
    until(lambda: "watching" in watcher.output(), 5, "the watcher")
    return watcher


def _last(watcher, seconds):
    watcher.wait(seconds)
    last, count = watcher.output().splitlines()[-1].split()
    return float(last), int(count)


def _killed(options, net, directory, dead_man, pin):
    appliance = Appliance(options, net, directory, dead_man=f"{dead_man}s", pin=pin).up()
    load = Load(options, net, directory, 20, 60).all_up()
    time.sleep(SETTLE_SECONDS)
    share, _ = _share(appliance, 1.0)
    if share <= 0.99:
        raise Failure(f"only {100 * share:.1f} % by XDP before the kill")
    watcher = _watch(net, "callee", directory, dead_man + 4)
    time.sleep(0.5)
    killed = time.monotonic()
    appliance.kill()
    last, count = _last(watcher, dead_man + 10)
    load.abandon()
    if count < 100:
        raise Failure(f"the watcher saw only {count} packets")
    return last - killed


def kill(options, net, directory):
    """kill -9: the links die with the process, media stops at once."""
    after = _killed(options, net, directory, 3, None)
    if after > SLACK_SECONDS:
        raise Failure(f"media arrived until {after:.2f} s after the kill")
    return f"the last packet arrived {after:.2f} s after the kill"


def kill_pinned(options, net, directory):
    """kill -9 with pinned maps: media stops by itself within the dead-man time, and the next process starts clean."""
    pin = "/sys/fs/bpf/strowger-test"
    dead_man = 3
    after = _killed(options, net, directory, dead_man, pin)
    if after > dead_man + SLACK_SECONDS:
        raise Failure(f"media arrived until {after:.2f} s after the kill, dead-man time {dead_man} s")
    again = Appliance(options, net, directory, name="again", pin=pin).up()
    Load(options, net, directory, 10, 3, name="again").all_up().finish()
    again.stop()
    return f"the last packet arrived {after:.2f} s after the kill (dead-man time {dead_man} s); the next process relayed 10 calls"


def spray(options, net, directory):
    """A stranger's packets to every media port: none is delivered, no stream moves."""
    appliance = Appliance(options, net, directory).up()
    load = Load(options, net, directory, 20, 25).all_up()
    time.sleep(SETTLE_SECONDS)
    share_before, _ = _share(appliance, 1.0)
    argv = [*net.enter("stranger"), sys.executable, WATCHER, "spray", SERVICE[4], *MEDIA_PORTS, options.strangers]
    stranger = Process("stranger", argv, directory)
    stranger.wait(120)
    share_after, _ = _share(appliance, 1.0)
    load.finish()
    dropped = appliance.metric('strowger_drops_total{')
    appliance.stop()
    if min(share_before, share_after) <= 0.99:
        raise Failure(f"streams moved: {100 * share_before:.2f} % by XDP before, {100 * share_after:.2f} % after")
    if dropped < options.strangers * 0.9:
        raise Failure(f"of {options.strangers} foreign packets only {dropped:.0f} were counted as dropped")
    return f"{options.strangers} foreign packets, {dropped:.0f} counted as dropped, none delivered; {load.received()} of the calls' own arrived"


ALL = [relay_v4, relay_v6, sipp, kill, kill_pinned, spray]
