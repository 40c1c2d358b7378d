"""The cases, each a function of options, network and a directory; it returns what to say, or raises Failure."""

import os
import subprocess
import sys
import time

from harness.process import Failure, Process, until
from harness.sipp import Sipp

from . import looks, relay, scan, succession, vlans
from .appliance import CALLEE_PORT, CALLER_PORT, MEDIA_PORTS, NUMBER, SIP_PORT, Appliance
from .load import Load
from .network import DEVICES, SERVICE, do, pins

SCANNER = os.path.abspath(scan.__file__)
# How long a scanner is blocked here, and the datagrams that it goes on with.
BLOCK_SECONDS = 6
FLOOD = 2_000


def relay_v4(options, net, directory):
    """IPv4, two devices: every packet arrives, settled ones by the kernel."""
    return relay.relayed(options, net, directory, 4)


def relay_v6(options, net, directory):
    """IPv6, two devices."""
    return relay.relayed(options, net, directory, 6)


def one_device(options, net, directory):
    """Both parties behind the same veth: frames leave by the device that they came by."""
    own = net.address("caller")
    appliance = Appliance(options, OneSide(net), directory).up()
    seconds, report = 8, os.path.join(directory, "loadgen.json")
    argv = [*net.enter("caller"), options.loadgen, "calls", "--target", f"{SERVICE[4]}:{SIP_PORT}", "--bind", f"{own}:{CALLER_PORT}", "--uas-listen",
            f"{own}:{CALLEE_PORT}", "--to", NUMBER, "--rate", options.rate, "--calls", options.calls, "--concurrent", options.calls + 10,
            "--hold", f"{options.calls / options.rate + seconds:.1f}s", "--rtp-ports", "40000-49999", "--late-max", "2s", "--json", report]
    load = Process("loadgen", argv, directory)
    until(lambda: f" up {options.calls} " in load.output() or not load.running(), options.calls / options.rate + 15, f"{options.calls} calls to be up")
    time.sleep(looks.SETTLE_SECONDS)
    share, total = looks.share(appliance, 3.0)
    status = load.wait(seconds + 60)
    appliance.stop()
    if status != 0:
        raise Failure(f"the generator ended with {status}: {load.output()[-900:]}")
    if share <= 0.999:
        raise Failure(f"{100 * share:.3f} % of {total:.0f} packets by XDP once settled, more than 99.9 % wanted")
    return f"{options.calls} calls, none of their packets lost; {100 * share:.3f} % by XDP once settled"


class OneSide:
    """The network with both parties where the caller is."""

    def __init__(self, net):
        self.address = lambda _, family=4: net.address("caller", family)


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


def _killed(options, net, directory, dead_man, pin):
    appliance = Appliance(options, net, directory, dead_man=f"{dead_man}s", pin=pin).up()
    load = Load(options, net, directory, 20, 60).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    share, _ = looks.share(appliance, 1.0)
    if share <= 0.99:
        raise Failure(f"only {100 * share:.1f} % by XDP before the kill")
    watcher = looks.watch(net, "callee", directory, dead_man + 4)
    time.sleep(0.5)
    killed = time.monotonic()
    appliance.kill()
    last, count = looks.last(watcher, dead_man + 10)
    load.abandon()
    if count < 100:
        raise Failure(f"the watcher saw only {count} packets")
    return last - killed


def kill(options, net, directory):
    """kill -9: the links die with the process, media stops at once."""
    after = _killed(options, net, directory, 3, None)
    if after > looks.SLACK_SECONDS:
        raise Failure(f"media arrived until {after:.2f} s after the kill")
    return f"the last packet arrived {after:.2f} s after the kill"


def kill_pinned(options, net, directory):
    """kill -9 with pinned maps: media stops by itself within the dead-man time, and the next process starts clean."""
    pin = pins()
    dead_man = 3
    after = _killed(options, net, directory, dead_man, pin)
    if after > dead_man + looks.SLACK_SECONDS:
        raise Failure(f"media arrived until {after:.2f} s after the kill, dead-man time {dead_man} s")
    again = Appliance(options, net, directory, name="again", pin=pin).up()
    Load(options, net, directory, 10, 3, name="again").all_up().finish()
    again.stop()
    return f"the last packet arrived {after:.2f} s after the kill (dead-man time {dead_man} s); the next process relayed 10 calls"


def spray(options, net, directory):
    """A stranger's packets to every media port: none is delivered, no stream moves."""
    appliance = Appliance(options, net, directory).up()
    load = Load(options, net, directory, 20, 25).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    share_before, _ = looks.share(appliance, 1.0)
    argv = [*net.enter("stranger"), sys.executable, looks.WATCHER, "spray", SERVICE[4], *MEDIA_PORTS, options.strangers]
    stranger = Process("stranger", argv, directory)
    stranger.wait(120)
    share_after, _ = looks.share(appliance, 1.0)
    load.finish()
    dropped = appliance.metric('strowger_drops_total{')
    appliance.stop()
    if min(share_before, share_after) <= 0.99:
        raise Failure(f"streams moved: {100 * share_before:.2f} % by XDP before, {100 * share_after:.2f} % after")
    if dropped < options.strangers * 0.9:
        raise Failure(f"of {options.strangers} foreign packets only {dropped:.0f} were counted as dropped")
    return f"{options.strangers} foreign packets, {dropped:.0f} counted as dropped, none delivered; {load.received()} of the calls' own arrived"


def _checked(options, appliance, prefix=()):
    """What `strowger check` says of the fast path of this configuration."""
    done = subprocess.run([*prefix, options.binary, "check", appliance.config], capture_output=True, text=True, cwd=appliance.directory)
    said = done.stdout + done.stderr
    lines = [line for line in said.splitlines() if "fast path" in line or "XDP" in line]
    return " ".join(lines) or said


def _without(options, net, directory, words, prefix=(), devices=None):
    """The appliance runs on sockets (or generically) and says why, once, in the log; `check` says the same beforehand."""
    appliance = Appliance(options, net, directory, fast_path="auto", prefix=prefix, devices=devices).up()
    Load(options, net, directory, 10, 3).all_up().finish()
    packets, log = appliance.packets(), appliance.process.output()
    checked = _checked(options, appliance, prefix)
    appliance.stop()
    for what, text in (("the log", log), ("`strowger check`", checked)):
        absent = [word for word in words if word not in text]
        if absent:
            raise Failure(f"{what} does not say {absent}: {text[-1200:]}")
    lines = [line for line in log.splitlines() if words[0] in line]
    if len(lines) != 1:
        raise Failure(f"the reason is said {len(lines)} times, not once: {lines}")
    return packets, lines[0]


def _scan(net, *words):
    argv = [*net.enter("stranger"), sys.executable, SCANNER, words[0], SERVICE[4], SIP_PORT, *words[1:]]
    return do(*argv).strip()


def _datagrams():
    """That any socket of this host has been given."""
    with open("/proc/net/snmp") as file:
        rows = [line.split() for line in file if line.startswith("Udp:")]
    return int(rows[1][rows[0].index("InDatagrams")])


def scanner(options, net, directory):
    """Who guesses passwords is dropped in the kernel and counted there, calls go on, and it is heard again in the end."""
    appliance = Appliance(options, net, directory, guard={"block_time": f"{BLOCK_SECONDS}s", "forget_after": "10s"}).up()
    load = Load(options, net, directory, 20, 20).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    answers = int(_scan(net, "guess"))
    blocked = time.monotonic()
    rows = appliance.show("blocked")
    stranger = net.address("stranger")
    if not 10 <= answers <= 40:
        raise Failure(f"the scanner got {answers} answers")
    if [(row["source"], row["state"], row["reason"]) for row in rows] != [(stranger, "blocked", "wrong_digest")]:
        raise Failure(f"`show blocked` says {rows}")
    drops = 'strowger_drops_total{reason="source_blocked"}'
    before, heard = appliance.metric(drops), _datagrams()
    _scan(net, "flood", FLOOD)
    until(lambda: appliance.metric(drops) - before >= FLOOD, 3, f"{FLOOD} drops to be counted")
    heard = _datagrams() - heard
    if heard > FLOOD / 2:
        raise Failure(f"sockets heard {heard} datagrams meanwhile: it was not the kernel that dropped {FLOOD}")
    time.sleep(max(0.0, blocked + BLOCK_SECONDS + looks.SLACK_SECONDS - time.monotonic()))
    if (status := _scan(net, "ask")) != "401":
        raise Failure(f"after its time, the scanner gets {status}")
    load.finish()
    lines = [line for line in appliance.process.output().splitlines() if "source blocked" in line]
    appliance.stop()
    if len(lines) != 1 or f"strowger unblock {stranger}" not in lines[0]:
        raise Failure(f"the log says {lines}")
    return f"{answers} answers, then {FLOOD} requests dropped in the kernel; {load.received()} packets of 20 calls verified, none lost"


def unprivileged(options, net, directory):
    """No capability for BPF: sockets, one line with the remedy."""
    prefix = ["setpriv", "--bounding-set", "-bpf,-net_admin,-sys_admin,-perfmon"]
    packets, line = _without(options, net, directory, ["CAP_BPF", "CAP_NET_ADMIN"], prefix)
    if packets.get("xdp"):
        raise Failure(f"packets went by XDP all the same: {packets}")
    return line.split("msg=")[-1][:150]


def wrong_device(options, net, directory):
    """A device that is not there: sockets, its name in the line."""
    packets, line = _without(options, net, directory, ["dZ"], devices=["dZ"])
    if packets.get("xdp"):
        raise Failure(f"packets went by XDP all the same: {packets}")
    return line.split("msg=")[-1][:150]


def great_mtu(options, net, directory):
    """An MTU that the driver's XDP does not take: generic XDP with a warning that names it."""
    for enter, device in ((net.enter("caller"), "e0"), ([], DEVICES["caller"])):
        do(*enter, "ip", "link", "set", device, "mtu", "9000")
    try:
        packets, line = _without(options, net, directory, ["MTU"])
    finally:
        for enter, device in (([], DEVICES["caller"]), (net.enter("caller"), "e0")):
            do(*enter, "ip", "link", "set", device, "mtu", "1500")
    return f"{line.split('msg=')[-1][:150]}; packets by path {packets}"


def mute_peer(options, net, directory):
    """A veth whose peer has neither a program nor GRO, as in most containers: generic XDP, and no packet is lost."""
    enter, device = net.enter("caller"), DEVICES["caller"]
    do(*enter, "ethtool", "-K", "e0", "gro", "off")
    try:
        packets, line = _without(options, net, directory, [f"{device} takes no frames"])
    finally:
        do(*enter, "ethtool", "-K", "e0", "gro", "on")
    if not packets.get("xdp"):
        raise Failure(f"nothing went by XDP: {packets}")
    return f"{line.split('msg=')[-1][:150]}; packets by path {packets}"


ALL = [relay_v4, relay_v6, *vlans.ALL, one_device, sipp, kill, kill_pinned, spray, scanner, *succession.ALL, unprivileged, wrong_device,
       great_mtu, mute_peer]
# What some need of the network: VLAN devices in the kernel; veth pairs, not cards.
NEED_VLANS, NEED_VETHS = vlans.ALL, [vlans.vlan_hidden, mute_peer]
