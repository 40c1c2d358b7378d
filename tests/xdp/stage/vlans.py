"""Cases in which a party is reached through a VLAN upon its device.

Generic XDP does not show a tag that the driver has taken off the frame, and the kernel would put it on again after the program: there such
parties' media stays on the sockets, and that nothing of it is lost is what is asked.
"""

import os
import socket

from harness.process import Failure, Process, until

from . import looks, relay
from .network import DEVICES, PARTIES, SERVICE, do


class Tagged:
    """Inside its `with`, a network in which some parties are reached through a VLAN of their number upon their device."""

    def __init__(self, net, vlans):
        self.net, self.vlans, self.mode = net, vlans, net.mode
        self.enter, self.bad_checksums = net.enter, net.bad_checksums

    def __enter__(self):
        for party, vlan in self.vlans.items():
            for enter, parent, host in ((self.enter(party), "e0", 2), ([], DEVICES[party], 1)):
                name = f"{parent}.{vlan}"
                do(*enter, "ip", "link", "add", "link", parent, "name", name, "type", "vlan", "id", vlan)
                addresses(enter, name, vlan, host)
            self._route(party, f"10.78.{vlan}.1", f"fd78:{vlan}::1")
        return self

    def __exit__(self, *_):
        for party, vlan in self.vlans.items():
            do("ip", "link", "del", f"{DEVICES[party]}.{vlan}")
            do(*self.enter(party), "ip", "link", "del", f"e0.{vlan}")
            self._route(party, f"10.77.{PARTIES[party]}.1", f"fd77:{PARTIES[party]}::1")

    def _route(self, party, *gateways):
        for family, gateway in zip(("-4", "-6"), gateways):
            do(*self.enter(party), "ip", family, "route", "replace", "default", "via", gateway)

    def address(self, party, family=4):
        """Where a party is."""
        vlan = self.vlans.get(party)
        if vlan is None:
            return self.net.address(party, family)
        return f"10.78.{vlan}.2" if family == 4 else f"fd78:{vlan}::2"


def addresses(enter, device, vlan, host):
    """Gives a device its addresses in a VLAN, and puts it up."""
    do(*enter, "ip", "addr", "add", f"10.78.{vlan}.{host}/24", "dev", device)
    do(*enter, "ip", "addr", "add", f"fd78:{vlan}::{host}/64", "dev", device, "nodad")
    do(*enter, "ip", "link", "set", device, "up")


def _tagged(options, net, directory, family, vlans, devices=None):
    with Tagged(net, vlans) as tagged:
        return relay.relayed(options, tagged, directory, family, net.mode == "native", devices)


def vlan_v4(options, net, directory):
    """IPv4 between a tagged and an untagged party: a tag is taken off one way and put on the other."""
    return _tagged(options, net, directory, 4, {"caller": 7})


def vlan_v6(options, net, directory):
    """IPv6 between parties in two VLANs: the tag is changed."""
    return _tagged(options, net, directory, 6, {"caller": 7, "callee": 9})


def vlan_hidden(options, net, directory):
    """Tags that are not in the frame, as with a card that takes them off: none comes along to where it does not belong."""
    both = ((net.enter("caller"), "e0"), ([], DEVICES["caller"]))
    for enter, device in both:
        do(*enter, "ethtool", "-K", device, "txvlan", "on")
    try:
        return _tagged(options, net, directory, 4, {"caller": 7})
    finally:
        for enter, device in both:
            do(*enter, "ethtool", "-K", device, "txvlan", "off")


class Beside:
    """The network with both parties where the caller is, the service's address upon its VLAN."""

    def __init__(self, tagged):
        self.mode, self.enter, self.bad_checksums = tagged.mode, lambda _: tagged.enter("caller"), tagged.bad_checksums
        self.address = lambda _, family=4: tagged.address("caller", family)


def vlan_chosen(options, net, directory):
    """The media address is a VLAN's and no device is named: the program goes to the device below it, and frames keep their tag."""
    vlan = 7
    own, other = f"{DEVICES['caller']}.{vlan}", "lo"
    with Tagged(net, {"caller": vlan}) as tagged:
        for service in SERVICE.values():
            do("ip", "addr", "del", service, "dev", other)
            do("ip", "addr", "add", service, "dev", own, *(["nodad"] if ":" in service else []))
        try:
            return relay.relayed(options, Beside(tagged), directory, 4, net.mode == "native", [])
        finally:
            for service in SERVICE.values():
                do("ip", "addr", "del", service, "dev", own)
                do("ip", "addr", "add", service, "dev", other)


def vlan_priority(options, net, directory):
    """A VLAN that marks its frames by the kernel's priority (802.1p): media has the mark, whichever way it goes."""
    vlan, mark = 9, 5

    def marked():
        tags = looks.tags(tagged, "callee", 2)
        if tags != {(vlan, mark)}:
            raise Failure(f"VLAN and priority of media at the callee: {tags}, wanted {vlan} and {mark}")

    with Tagged(net, {"callee": vlan}) as tagged:
        # EF, the DSCP of audio, is the kernel's priority 4.
        do("ip", "link", "set", f"{DEVICES['callee']}.{vlan}", "type", "vlan", "egress", f"4:{mark}")
        return relay.relayed(options, tagged, directory, 4, net.mode == "native", meanwhile=marked)


def vlan_elsewhere(options, net, directory):
    """A VLAN upon a device of another namespace, which has the number of one of ours: no frame goes there."""
    vlan, number = 7, socket.if_nametoindex(DEVICES["caller"])
    holder = Process("namespace-trunk", ["unshare", "--net", "sleep", "infinity"], directory)
    own = os.readlink("/proc/self/ns/net")
    until(lambda: os.readlink(f"/proc/{holder.child.pid}/ns/net") != own, 5, "a network namespace")
    trunk, callee = ["nsenter", f"--net=/proc/{holder.child.pid}/ns/net"], net.enter("callee")
    do(*trunk, "ip", "link", "add", "name", "trunk", "index", number, "type", "veth", "peer", "name", "e1", "netns", net.holders["callee"].child.pid)
    try:
        do(*trunk, "ip", "link", "set", "trunk", "up")
        do(*callee, "ip", "link", "set", "e1", "up")
        do(*trunk, "ip", "link", "add", "link", "trunk", "name", "far", "type", "vlan", "id", vlan)
        do(*trunk, "ip", "link", "set", "far", "netns", os.getpid())
        do(*callee, "ip", "link", "add", "link", "e1", "name", "e1.7", "type", "vlan", "id", vlan)
        addresses([], "far", vlan, 1)
        addresses(callee, "e1.7", vlan, 2)
        return relay.relayed(options, Far(net, vlan), directory, 4, below=None)
    finally:
        do(*trunk, "ip", "link", "del", "trunk")


class Far:
    """The network with the callee behind a VLAN from another namespace."""

    def __init__(self, net, vlan):
        self.net, self.vlan, self.mode = net, vlan, net.mode
        self.enter, self.bad_checksums = net.enter, net.bad_checksums

    def address(self, party, family=4):
        """Where a party is."""
        if party != "callee":
            return self.net.address(party, family)
        return f"10.78.{self.vlan}.2" if family == 4 else f"fd78:{self.vlan}::2"


ALL = [vlan_v4, vlan_v6, vlan_hidden, vlan_chosen, vlan_priority, vlan_elsewhere]
