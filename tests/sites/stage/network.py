"""Sites in network namespaces of their own around this process's, which routes between them and can stop doing so.

Callers and phones live in the middle: a cut between sites never touches them. What is cut disappears silently, one way or
both ways, by a routing rule.
"""

import os
import subprocess

from harness.process import Failure, Process, own_network, until


def _do(*argv):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, argv))}: {done.stderr.strip()}")


def missing():
    """What this machine lacks to make the network; none when it will do."""
    if os.geteuid() != 0:
        return "root, for network namespaces"
    for program in ("ip", "nsenter", "unshare"):
        if subprocess.run(["which", program], capture_output=True).returncode != 0:
            return f"{program} (Debian packages iproute2, util-linux)"
    return None


class Network:
    """`count` sites; site 1 is 10.88.1.1, the middle is 10.88.1.254 to it."""

    def __init__(self, count, directory):
        if not own_network():
            raise Failure("this process may not make a network namespace")
        self.cuts = set()
        self.holders = []
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        for site in range(1, count + 1):
            holder = Process(f"namespace-{site}", ["unshare", "--net", "sleep", "infinity"], directory)
            self.holders.append(holder)
            own = os.readlink("/proc/self/ns/net")
            until(lambda pid=holder.child.pid: os.readlink(f"/proc/{pid}/ns/net") != own, 5, "a network namespace")
            inside = self.enter(site)
            _do("ip", "link", "add", f"w{site}", "type", "veth", "peer", "name", "e0", "netns", holder.child.pid)
            _do("ip", "addr", "add", f"{self.middle(site)}/24", "dev", f"w{site}")
            _do("ip", "link", "set", f"w{site}", "up")
            _do(*inside, "ip", "addr", "add", f"{self.address(site)}/24", "dev", "e0")
            _do(*inside, "ip", "link", "set", "lo", "up")
            _do(*inside, "ip", "link", "set", "e0", "up")
            _do(*inside, "ip", "route", "add", "default", "via", self.middle(site))

    @staticmethod
    def address(site):
        """Where the site is."""
        return f"10.88.{site}.1"

    @staticmethod
    def middle(site):
        """Where its callers and phones are."""
        return f"10.88.{site}.254"

    def enter(self, site):
        """What to put before a command that is to run at the site."""
        return ["nsenter", f"--net=/proc/{self.holders[site - 1].child.pid}/ns/net"]

    def _rule(self, verb, way):
        _do("ip", "rule", verb, "blackhole", "from", self.address(way[0]), "to", self.address(way[1]))

    def cut(self, one, other, both=True):
        """Nothing of `one` reaches `other` any more."""
        for way in [(one, other), (other, one)][: 2 if both else 1]:
            if way not in self.cuts:
                self._rule("add", way)
                self.cuts.add(way)

    def heal(self, one=None):
        """Everything, or everything of one site, passes again."""
        for way in [way for way in self.cuts if one is None or one in way]:
            self._rule("del", way)
            self.cuts.discard(way)
