"""What can be compared, and with which goal. `../shared/design/benchmarks.md` of the plan, as far as it is built."""

from dataclasses import dataclass
from typing import Callable

from . import cargo, fast, growth, kamailio, latency, memory, relay, scaling, sipp


@dataclass(frozen=True)
class Entry:
    """One comparison. `measure(options)` returns its `ratio` lines."""

    name: str
    goal: str
    what: str
    measure: Callable


def _cargo(name, goal, what, bench, *arguments):
    return Entry(name, goal, what, lambda options: cargo.measure(options, name, bench, *arguments))


def _several(name, goal, what, bench, names, *arguments):
    return Entry(name, goal, what, lambda options: [line for each in names for line in cargo.measure(options, each, bench, *arguments)])


ADMISSIONS = ("admit_ns", "admit_two_threads_one_account_ns", "admit_two_threads_two_accounts_ns")
FLOORED = ("relay_vs_floor", "relay_at_once_vs_floor")
IN_KERNEL = ("xdp_vs_tx_hot", "xdp_vs_tx_ordered", "xdp_vs_tx_cold", "xdp_cold_vs_touch")


ENTRIES = [
    _cargo("parse_vs_httparse", "<= 1.0", "an INVITE as a proxy reads it, httparse on HTTP of the same size", "parse", "--ratio"),
    _cargo("parse_vs_rsip_speedup", ">= 25", "the same octets and fields with rsip", "parse", "--ratio"),
    Entry("parse_vs_rsipstack_speedup", ">= 6", "the same octets and fields with rsipstack",
          lambda options: cargo.measure_apart(options, "parse_vs_rsipstack_speedup")),
    _cargo("parse_vs_sipx_speedup", ">= 6", "the same octets and fields with sipx-sip", "parse", "--ratio"),
    _cargo("timer_vs_heap_recent", "<= 0.2", "schedule and cancel at 1,000,000 timers, BinaryHeap", "wheel", "--ratio"),
    _several("admit_ns", "<= 20 admit_ns", "nanoseconds to take and give back a call's right; two threads: of one account, of two", "limits", ADMISSIONS,
             "--admit"),
    _several("relay_vs_floor", "<= 0.90 relay_vs_floor", "CPU per packet on sockets, a bare epoll, recv, send loop", "relay_floor", FLOORED),
    _several("xdp_vs_tx", "<= 1.5 hot, <= 2.5 cold", "a packet in the kernel (BPF test run), a program that swaps addresses", "xdp", IN_KERNEL),
    Entry("relay_vs_rtpengine", "<= 0.55", "CPU per packet on sockets, rtpengine in user space", relay.vs_rtpengine),
    Entry("relay_at_once_vs_rtpengine", "", "the same with `media.gather = \"0s\"`: a wake for each packet", relay.at_once_vs_rtpengine),
    Entry("added_latency", "<= 0.3", "p99.9 that a relay adds at half of its highest loss-free load, rtpengine at half of its own", latency.added),
    Entry("added_latency_at_once", "", "the same with `media.gather = \"0s\"`: a wake for each packet", latency.added_at_once),
    Entry("xdp_vs_rtpengine", "<= 0.04 rtpengine", "CPU per packet in the kernel, rtpengine in user space, over veth", fast.vs_rtpengine),
    Entry("call_vs_kamailio", "<= 0.35", "CPU per call, Kamailio as stateful proxy", kamailio.calls),
    Entry("register_vs_kamailio", "<= 0.5", "CPU per registration with digest, Kamailio with usrloc in memory", kamailio.registrations),
    Entry("register_vs_kamailio_plain", "<= 0.5", "CPU per registration that is not challenged, Kamailio without passwords", kamailio.registrations_plain),
    Entry("scaling", ">= 0.9", "CPU per call and packet of one shard, of 2, 4, 8 shards with as many times the load", scaling.scaling),
    Entry("sharing", "<= 1.11", "CPU per call and packet of two shards on one core, of one shard there", scaling.sharing),
    Entry("growth_calls", "<= 1.15", "CPU per call with 5,000 calls up, with 100", growth.calls),
    Entry("growth_contacts", "<= 1.3", "CPU per registration with 1,000,000 contacts, with 1,000", growth.contacts),
    Entry("loadgen_vs_sipp_speedup", ">= 8", "highest call rate of the load generator on one core, SIPp's", sipp.highest),
    Entry("loadgen_vs_sipp_cpu_speedup", "", "CPU of the load generator per call at the same rate, SIPp's", sipp.processor),
    Entry("bytes_per_call", "<= 6000 call", "resident octets a call, 5,000 up; what the kernel keeps apart", memory.calls),
    Entry("bytes_per_contact", "<= 400", "resident octets a registered contact, 100,000 of them", memory.contacts),
]


def find(name):
    """The entry of that name, or None."""
    return next((entry for entry in ENTRIES if entry.name == name), None)
