"""The cases, each a function of options, network and a directory; it returns what to say, or raises Failure."""

import os
import subprocess
import sys
import time

from harness.process import Failure, Process, until
from harness.sipp import Sipp

from . import scan, wire
from .appliance import CALLEE_PORT, CALLER_PORT, MEDIA_PORTS, NUMBER, SIP_PORT, Appliance
from .load import Load
from .network import DEVICES, SERVICE, attached, bpf_folder, do

# Learning, and the rest before a settled stream moves to the kernel.
SETTLE_SECONDS = 2.0
# What a process's death may take until nothing arrives any more, besides its dead-man time.
SLACK_SECONDS = 1.0
TAKEN_OVER = 500
WATCHER = os.path.abspath(wire.__file__)
SCANNER = os.path.abspath(scan.__file__)
# How long a scanner is blocked here, and the datagrams that it goes on with.
BLOCK_SECONDS = 6
FLOOD = 2_000


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
    pin = os.path.join(bpf_folder(), "strowger-test")
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
    appliance = Appliance(options, net, directory, guard={"block_time": f"{BLOCK_SECONDS}s", "forget_after": f"{BLOCK_SECONDS}s"}).up()
    load = Load(options, net, directory, 20, 20).all_up()
    time.sleep(SETTLE_SECONDS)
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
    time.sleep(max(0.0, blocked + BLOCK_SECONDS + SLACK_SECONDS - time.monotonic()))
    if (status := _scan(net, "ask")) != "401":
        raise Failure(f"after its time, the scanner gets {status}")
    load.finish()
    lines = [line for line in appliance.process.output().splitlines() if "source blocked" in line]
    appliance.stop()
    if len(lines) != 1 or f"strowger unblock {stranger}" not in lines[0]:
        raise Failure(f"the log says {lines}")
    return f"{answers} answers, then {FLOOD} requests dropped in the kernel; {load.received()} packets of 20 calls verified, none lost"


def take_over(options, net, directory):
    """A new process takes over 500 calls, twice: no call and no packet is lost."""
    appliance = Appliance(options, net, directory, fast_path="auto").up()
    load = Load(options, net, directory, TAKEN_OVER, 12).all_up()
    time.sleep(SETTLE_SECONDS)
    pauses = []
    for _ in range(2):
        pauses.append(appliance.take_over())
        time.sleep(1.0)
    load.finish()
    appliance.stop()
    return f"{TAKEN_OVER} calls, {load.received()} packets verified, none lost; pauses of {', '.join(f'{pause:.0f}' for pause in pauses)} ms"


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


ALL = [relay_v4, relay_v6, sipp, kill, kill_pinned, spray, scanner, take_over, unprivileged, wrong_device, great_mtu, mute_peer]
