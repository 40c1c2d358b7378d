"""SIPp on both sides: every case has its own addresses, its own two trunks and its own number.

`Case` says which halves run; `TRUNK_CASES` is the list. Straight mode lets the halves talk to each other without
Strowger, which shows that a scenario is sound before it judges anybody.
"""

import os
import subprocess
import time
from dataclasses import dataclass, field

from . import process
from .process import Failure
from .sipp import PCAP, Sipp

START_SECONDS = 5


@dataclass
class Callee:
    """One callee half. `calls` None: as many as the caller makes; 0: must stay silent; "absent": nobody listens."""

    scenario: str
    calls: object = None
    trunk: dict = field(default_factory=dict)
    args: tuple = ()
    ipv6: bool = False
    tcp: bool = False
    country: str = "1"


@dataclass
class Case:
    """One conversation through two trunks."""

    name: str
    caller: str
    callees: tuple
    why: str
    calls: int = 4
    rate: int = 10
    args: tuple = ()
    ipv6: bool = False
    tcp: bool = False
    straight: bool = True
    seconds: int = 40
    same_address: bool = False
    after: object = None
    retransmissions_max: int = 0


def answering(**options):
    """The callee that rings, answers and waits."""
    return Callee("answer.uas.xml", **options)


@dataclass
class Placed:
    """A case with its addresses: what the configuration and the SIPp processes are made from."""

    case: Case
    number: str
    caller: tuple
    callees: list

    def trunks(self):
        """The trunks this case needs, the caller's first, the callees' in the order of failover."""
        yield {
            "name": f"{self.case.name}-in",
            "address": _joined(self.caller),
            "transport": "tcp" if self.case.tcp else "udp",
            "allow_from": [self.caller[0] + ("/128" if self.case.ipv6 else "/32")],
        }
        for index, (callee, local) in enumerate(zip(self.case.callees, self.callees)):
            yield {
                "name": f"{self.case.name}-out-{index}",
                "address": _joined(local),
                "transport": "tcp" if callee.tcp else "udp",
                "prefixes": [f"+{callee.country}{self.number[2:5]}"],
                "allow_from": [local[0] + ("/128" if callee.ipv6 else "/32")],
                **callee.trunk,
            }


def _joined(local):
    host = f"[{local[0]}]" if ":" in local[0] else local[0]
    return f"{host}:{local[1]}"


def place(cases):
    """Gives every case its addresses: 127.0.1.N calls 127.0.2.N, 127.0.3.N; over IPv6 the ports differ."""

    def local(ipv6, row, index):
        if ipv6:
            return ("::1", process.free_port("::1"))
        return (f"127.0.{row}.{index}", 5060)

    out = []
    for index, case in enumerate(cases, start=1):
        if case.same_address:
            caller = ("127.0.0.1", process.free_port())
            callees = [("127.0.0.1", process.free_port()) for _ in case.callees]
        else:
            caller = local(case.ipv6, 1, index)
            callees = [local(callee.ipv6, 2 + row, index) for row, callee in enumerate(case.callees)]
        out.append(Placed(case, f"+1{index:03d}5550100", caller, callees))
    return out


def run(placed, directory, appliance=None):
    """Runs one case, through `appliance` or straight; raises `Failure` with the reason."""
    case = placed.case
    os.makedirs(directory)
    before = {**appliance.metrics(), "records": len(appliance.records())} if appliance else {}
    callees = []
    try:
        for index, (callee, local) in enumerate(zip(case.callees, placed.callees)):
            if callee.calls == "absent":
                continue
            expected = case.calls if callee.calls is None else callee.calls
            args = ["-t", "t1"] if callee.tcp else []
            args += [word.format(second=_joined(placed.callees[-1]), other="+2" + placed.number[2:]) for word in callee.args]
            half = Sipp(f"uas-{index}", callee.scenario, directory, local, max(expected, 1), None, args, case.seconds)
            callees.append((half, expected))
            process.until(lambda: process.is_bound(*local, callee.tcp), START_SECONDS, f"{half.name} to listen")
        remote = placed.callees[0] if placed.callees else None
        if appliance:
            remote = ("::1" if case.ipv6 else "127.0.0.1", appliance.port)
        args = ["-s", placed.number, "-r", case.rate, "-l", max(case.calls, 1000)]
        args += ["-t", "t1"] if case.tcp else []
        args += list(case.args)
        caller = Sipp("uac", case.caller, directory, placed.caller, case.calls, remote, args, case.seconds)
        caller.check(case.retransmissions_max)
        for half, expected in callees:
            if expected:
                half.check(case.retransmissions_max)
            elif half.number("IncomingCall(C)"):
                raise Failure(f"{half.name} was called {half.number('IncomingCall(C)')} times, and should not be")
        if appliance:
            appliance.check_alive()
            if case.after:
                case.after(case, appliance, before)
    finally:
        for half, _ in callees:
            half.process.stop()
        if "caller" in locals():
            caller.process.stop()


def pcap_packets(name):
    """How many packets SIPp plays from one of its files."""
    count = 0
    with open(os.path.join(PCAP, name), "rb") as file:
        data = file.read()
    at = 24
    while at + 16 <= len(data):
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        count += 1
    return count


def media_went_through(case, appliance, before):
    """What the caller played reached the callee, whose echo came back: both are in the relay's counter."""
    played = case.calls * (pcap_packets("g711a.pcap") + pcap_packets("dtmf_2833_1.pcap"))
    after = appliance.metrics()
    relayed = after.get("strowger_rtp_packets_total", 0) - before.get("strowger_rtp_packets_total", 0)
    if relayed < 2 * played * 0.999:
        raise Failure(f"{relayed:.0f} RTP packets relayed, {2 * played} expected")


def one_way_is_said(case, appliance, before):
    """The callee never sends: the record names its leg."""
    for record in appliance.records_since(before["records"], "trunk_in", [f"{case.name}-in"], case.calls):
        if record["one_way"] != "callee":
            raise Failure(f"the record says one_way {record['one_way']!r}")


BUSY = Callee("busy.uas.xml")
UNAVAILABLE = Callee("unavailable.uas.xml")
# A trunk that has failed is asked first again with the next call.
AGAIN = {"retry_after": "0s"}
# Nothing may take as long as a trunk's timeout of 4 s.
AT_ONCE = ("-recv_timeout", "3500")

TRUNK_CASES = (
    Case("basic", "uac", (Callee("uas"),), "200 calls/s between SIPp's own halves, the port tells the trunks apart",
         calls=3000, rate=200, same_address=True, seconds=45),
    Case("pcap", "uac_pcap", (Callee("uas", args=("-rtp_echo",)),), "audio and a DTMF digit of uac_pcap, echoed back",
         calls=5, rate=5, after=media_went_through),
    Case("one-way", "uac_pcap", (Callee("uas"),), "a callee that never sends audio is named in the record",
         calls=1, after=one_way_is_said),
    Case("call", "call.uac.xml", (answering(),), "an ordinary call"),
    Case("hangup", "hangup.uac.xml", (Callee("hangup.uas.xml"),), "the callee hangs up"),
    Case("hold", "hold.uac.xml", (Callee("hold.uas.xml"),), "re-INVITE, hold and resume, from both sides"),
    Case("cancel", "cancel.uac.xml", (Callee("cancel.uas.xml"),), "CANCEL while ringing"),
    Case("cancel-race", "cancel_race.uac.xml", (Callee("cancel_race.uas.xml"),), "200 crosses CANCEL", straight=False),
    Case("fork", "call.uac.xml", (Callee("fork.uas.xml"),), "two 180s and two 200s from behind a trunk", straight=False),
    Case("early", "early.uac.xml", (Callee("early.uas.xml"),), "early media"),
    Case("late-offer", "late_offer.uac.xml", (Callee("late_offer.uas.xml"),), "INVITE without SDP"),
    Case("slow-ack", "slow_ack.uac.xml", (answering(),), "ACK after 1.2 s", retransmissions_max=8),
    Case("headers", "headers.uac.xml", (Callee("headers.uas.xml"),), "unknown headers pass"),
    Case("topology", "topology.uac.xml", (Callee("topology.uas.xml"),), "nothing of one side is seen on the other",
         args=("-cid_str", "hidden-%u-%p@%s"), straight=False),
    Case("busy", "busy.uac.xml", (BUSY, answering(calls=0)), "486 is passed on and not tried elsewhere"),
    Case("unavailable", "unavailable.uac.xml", (UNAVAILABLE,), "503 with no other trunk is told as 500",
         straight=False),
    Case("failover-503", "call.uac.xml", (Callee("unavailable.uas.xml", trunk=AGAIN), answering()),
         "503, then the next trunk", straight=False),
    Case("failover-down", "call.uac.xml", (Callee("", calls="absent", trunk=AGAIN), answering()),
         "nobody there, which the ICMP error says at once", straight=False, args=AT_ONCE),
    Case("failover-tcp", "call.uac.xml", (Callee("", calls="absent", tcp=True, trunk=AGAIN), answering(tcp=True)),
         "no TCP connection, which is known at once", straight=False, args=AT_ONCE),
    Case("redirect", "call.uac.xml", (Callee("redirect.uas.xml", args=("-key", "moved", "{second}", "-key", "other", "{other}")),
                                         answering(country="2")), "302 is followed", straight=False),
    Case("challenge", "call.uac.xml",
         (Callee("challenge.uas.xml", trunk={"username": "strowger", "password": "trunk secret"}),),
         "digest towards a trunk", straight=False),
    Case("tcp", "call.uac.xml", (answering(tcp=True),), "TCP on both sides", tcp=True),
    Case("tcp-udp", "call.uac.xml", (answering(),), "TCP to UDP", tcp=True, straight=False),
    Case("udp-tcp", "call.uac.xml", (answering(tcp=True),), "UDP to TCP", straight=False),
    Case("tcp-hangup", "hangup.uac.xml", (Callee("hangup.uas.xml", tcp=True),), "BYE back over TCP", tcp=True),
    Case("ipv6", "call.uac.xml", (answering(ipv6=True),), "IPv6 on both sides", ipv6=True),
    Case("ipv6-ipv4", "call.uac.xml", (answering(),), "IPv6 to IPv4", ipv6=True, straight=False),
    Case("ipv4-ipv6", "call.uac.xml", (answering(ipv6=True),), "IPv4 to IPv6", straight=False),
    Case("ipv6-tcp", "call.uac.xml", (answering(ipv6=True, tcp=True),), "IPv6 over TCP", ipv6=True, tcp=True),
    Case("options", "options.uac.xml", (), "OPTIONS is answered", straight=False),
    Case("max-forwards", "max_forwards.uac.xml", (answering(calls=0),), "483", straight=False),
    Case("require", "require.uac.xml", (answering(calls=0),), "420 with Unsupported", straight=False),
)
