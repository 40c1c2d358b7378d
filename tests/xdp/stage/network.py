"""Three namespaces around this process's own, which is the appliance's host: a caller's network, a called party's, a stranger's.

```
 caller 10.77.1.2 ── dA ┐                        ┌ dB ── callee 10.77.2.2
 fd77:1::2              ├ appliance 10.77.0.1 ───┤       fd77:2::2
                        │ fd77:77::1 (on lo)     └ dC ── stranger 10.77.3.2
```

A sender on a veth leaves the checksum and the VLAN tag to a device that does not exist: both are turned off, so that frames look
as they do on a wire. Receiving by NAPI (`gro on`) is what lets a veth take frames that a program sends.
"""

import os
import re
import subprocess

from harness.process import Failure, Process, own_network, until

PARTIES = {"caller": 1, "callee": 2, "stranger": 3}
DEVICES = {"caller": "dA", "callee": "dB", "stranger": "dC"}
SERVICE = {4: "10.77.0.1", 6: "fd77:77::1"}


def do(*argv):
    """Runs a short command that must succeed; its output."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout


def missing():
    """What this machine lacks to make the network; none when it will do."""
    if os.geteuid() != 0:
        return "root, for network namespaces and BPF"
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("ethtool", "ethtool"), ("sipp", "sip-tester")):
        if subprocess.run(["which", program], capture_output=True).returncode != 0:
            return f"{program} (Debian package {package})"
    return None


class Network:
    """Made once, in a namespace that this process moves into."""

    def __init__(self, directory, cards=False):
        if not own_network():
            raise Failure("this process may not make a network namespace")
        self.holders, self.cards = {}, cards
        # Since then the kernel says whether a veth takes frames from a program; before, the appliance takes it that it does not.
        self.mode = "native" if cards or release() >= (6, 3) else "generic"
        for family in SERVICE.values():
            do("ip", "addr", "add", family, "dev", "lo")
        with open("/proc/sys/net/ipv6/conf/all/accept_dad", "w") as file:
            file.write("0")
        for party, number in PARTIES.items():
            self._party(party, number, directory)
        self._warm()

    def _party(self, party, number, directory):
        holder = Process(f"namespace-{party}", ["unshare", "--net", "sleep", "infinity"], directory)
        self.holders[party] = holder
        own = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{holder.child.pid}/ns/net") != own, 5, "a network namespace")
        inside, device = self.enter(party), DEVICES[party]
        self._join(number, (os.getpid(), device), (holder.child.pid, "e0"))
        # The far end first: a veth asks its peer whether it can take frames when it is itself put up.
        for enter, name, host in ((inside, "e0", 2), ([], device, 1)):
            do(*enter, "ethtool", "-K", name, "tx", "off", "txvlan", "off", "gro", "on")
            do(*enter, "ip", "addr", "add", f"10.77.{number}.{host}/24", "dev", name)
            do(*enter, "ip", "addr", "add", f"fd77:{number}::{host}/64", "dev", name, "nodad")
            do(*enter, "ip", "link", "set", name, "up")
        do(*inside, "ip", "link", "set", "lo", "up")
        do(*inside, "ip", "route", "add", "default", "via", f"10.77.{number}.1")
        do(*inside, "ip", "-6", "route", "add", "default", "via", f"fd77:{number}::1")

    def _join(self, number, *ends):
        """Two devices, each in a process's namespace under a name: a veth pair, or cards with a wire between them."""
        if not self.cards:
            (_, near), (process, far) = ends
            do("ip", "link", "add", "name", near, "type", "veth", "peer", "name", far, "netns", process)
            return
        for card, (process, name) in enumerate(ends, 2 * number - 2):
            do("nsenter", "--net=/proc/1/ns/net", "ip", "link", "set", f"eth{card}", "netns", process, "name", name)

    def _warm(self):
        """Until every party answers, over both families."""
        for party in PARTIES:
            for family in (4, 6):
                where = self.address(party, family)
                until(lambda where=where: subprocess.run(["ping", "-c1", "-W1", where], capture_output=True).returncode == 0
                      if _has_ping() else True, 5, f"{party} to answer at {where}")

    @staticmethod
    def address(party, family=4):
        """Where a party is."""
        return f"10.77.{PARTIES[party]}.2" if family == 4 else f"fd77:{PARTIES[party]}::2"

    def enter(self, party):
        """What to put before a command that is to run there."""
        return ["nsenter", f"--net=/proc/{self.holders[party].child.pid}/ns/net"]

    def bad_checksums(self, party):
        """UDP datagrams that arrived there with a wrong checksum, of both families."""
        enter, total = self.enter(party), 0
        rows = [line.split() for line in do(*enter, "cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
        total += int(rows[1][rows[0].index("InCsumErrors")])
        total += sum(int(line.split()[1]) for line in do(*enter, "cat", "/proc/net/snmp6").splitlines() if line.startswith("Udp6InCsumErrors"))
        return total


def release():
    """The kernel's version, its first two numbers."""
    return tuple(int(number) for number in re.findall(r"[0-9]+", os.uname().release)[:2])


def lacks_vlans():
    """Whether this kernel has no VLAN devices: CONFIG_VLAN_8021Q is not set, or its module is not there."""
    made = subprocess.run(["ip", "link", "add", "link", DEVICES["caller"], "name", "vlan-try", "type", "vlan", "id", "1"], capture_output=True, text=True)
    if made.returncode == 0:
        do("ip", "link", "del", "vlan-try")
    elif "Unknown device type" not in made.stderr:
        raise Failure(f"a VLAN device cannot be made: {made.stderr.strip()}")
    return made.returncode != 0


def _has_ping():
    return subprocess.run(["which", "ping"], capture_output=True).returncode == 0


def attached(device):
    """The mode in which a program is on this device: `native`, `generic` or none."""
    text = do("ip", "-d", "link", "show", "dev", device)
    return "generic" if "xdpgeneric" in text else "native" if "prog/xdp" in text else None


def pins(suffix=""):
    """A folder for links under a BPF file system, which is mounted if it is not; an init system would have done that."""
    folder = "/sys/fs/bpf"
    with open("/proc/mounts") as file:
        if not any(line.split()[1:3] == [folder, "bpf"] for line in file):
            do("mount", "-t", "bpf", "bpf", folder)
    return os.path.join(folder, "strowger-test" + suffix)


def unpin():
    """Ends what a case that failed has left pinned."""
    for folder in (pins(), pins("-2")):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            os.remove(os.path.join(folder, name))
