"""Octets of memory for each call and each contact: the slope of a process's resident memory between few and many.

Nothing is compared with a peer. Timer T1 is short here, so that transactions that are over (they rest for 64 T1) are no part
of the slope. What the kernel keeps for sockets is told apart, from its own table of object sizes.
"""

import glob
import os
import re
import resource
import shutil
import statistics
import tempfile

from harness.appliance import table
from harness.process import Failure, Process, fetch, until
from stage.network import SERVICE

from . import machine, pair, relay, rounds

SIP_PORT, HTTP_PORT, CALLER_PORT, CALLEE_PORT = 5060, 8080, 5080, 5070
T1 = "50ms"
ROUNDS = 3
# As many as this process may have descriptors for, at four sockets a call.
SOCKETS_PER_CALL, DESCRIPTORS_BESIDE = 4, 200
CALLS = min(5000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - DESCRIPTORS_BESIDE) // SOCKETS_PER_CALL)
FEW_CALLS, CALLS_PER_SECOND = CALLS // 5, 250
CONTACTS, FEW_CONTACTS, CONTACTS_PER_SECOND = 100_000, 20_000, 1500
# Time for those that were refused or lost in the first turn to come again.
PATIENCE_SECONDS = 240
SETTLE_SECONDS = 5.0
PASSWORD = "eleven"
# What one UDP socket of a process is made of.
SOCKET_OBJECTS = ("UDP", "sock_inode_cache", "dentry", "filp")
# Both parties' pairs of ports of a call, each one row of the program's.
ROW_BYTES, PAIRS_PER_CALL = 128, 2


class Server:
    """One Strowger with one shard, on the server's host of a pair."""

    def __init__(self, options, directory, parts, media):
        self.directory = directory
        config = os.path.join(directory, "strowger.toml")
        common = [
            table("node", {"name": "memory", "data_dir": os.path.join(directory, "data")}),
            table("shards", {"count": 1, "pin": False}),
            table("sip", {"domains": ["memory.test"], "t1": T1, "t2": "200ms"}),
            table("sip.listen", {"address": f"{SERVICE[4]}:{SIP_PORT}", "transport": "udp"}, True),
            table("media", {"address": SERVICE[4], "port_min": 20_000, "port_max": 49_999, **media}),
            table("control", {"listen": f"127.0.0.1:{HTTP_PORT}"}),
        ]
        with open(config, "w") as file:
            file.write("\n".join(common + parts))
        self.process = Process("strowger", relay.pinned(options.binary, "run", "--config", config), directory)
        until(self._ready, 60, "strowger to be ready")

    def _ready(self):
        if not self.process.running():
            raise Failure(f"strowger ended at start: {self.process.output()[-1500:]}")
        return fetch(f"http://127.0.0.1:{HTTP_PORT}/readyz")[0] == 200

    def metric(self, name):
        """One metric, summed over its labels."""
        lines = fetch(f"http://127.0.0.1:{HTTP_PORT}/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))

    def read(self):
        """Resident octets, and sockets."""
        pid = self.process.child.pid
        with open(f"/proc/{pid}/smaps_rollup") as file:
            [rss] = [int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:")]
        sockets = 0
        for path in glob.glob(f"/proc/{pid}/fd/*"):
            try:
                sockets += os.readlink(path).startswith("socket:")
            except OSError:
                continue
        return {"rss": rss, "sockets": sockets, "requests": slab()["io_kiocb"]["active"]}


def slab():
    """The kernel's kinds of objects: how many are in use, and the octets of each."""
    found = {}
    with open("/proc/slabinfo") as file:
        for line in list(file)[2:]:
            name, active, _, size = line.split()[:4]
            found[name] = {"active": int(active), "bytes": int(size)}
    return found


def slope(server, generator, metric, few, many, seconds):
    """What each further unit of `metric` takes between `few` and `many` of them."""

    def reached(count):
        now = server.metric(metric)
        if now < count and not generator.running():
            raise Failure(f"the generator ended at {now:.0f}: {generator.output()[-800:]}")
        return now if now >= count else None

    begin = until(lambda: reached(few), seconds, f"{metric} to be {few}")
    first = server.read()
    end = until(lambda: reached(many), seconds, f"{metric} to be {many}")
    rounds.window([], SETTLE_SECONDS)
    last = server.read()
    return {key: (last[key] - first[key]) / (end - begin) for key in last}


def _calls(options, host, media):
    directory = tempfile.mkdtemp(prefix="compare-")
    own = host.address()
    trunks = [table("trunk", {"name": name, "address": f"{own}:{port}", "prefixes": prefixes, "allow_from": [f"{own}/32"]}, True)
              for name, port, prefixes in (("in", CALLER_PORT, []), ("out", CALLEE_PORT, [""]))]
    server = generator = None
    try:
        server = Server(options, directory, trunks, media)
        argv = ["calls", "--target", f"{SERVICE[4]}:{SIP_PORT}", "--bind", f"{own}:{CALLER_PORT}", "--uas-listen", f"{own}:{CALLEE_PORT}",
                "--to", "+15550100", "--rtp", "off", "--rate", CALLS_PER_SECOND, "--calls", CALLS, "--concurrent", CALLS + 10,
                "--hold", f"{CALLS / CALLS_PER_SECOND + SETTLE_SECONDS + 20:.0f}s", "--silence-max", "60s", "--pin", relay.GENERATOR_CORE]
        generator = Process("loadgen", [*host.enter, options.loadgen, *argv], directory)
        return slope(server, generator, "strowger_calls_active", FEW_CALLS, CALLS, CALLS / CALLS_PER_SECOND + 30)
    finally:
        for process in filter(None, (generator, server and server.process)):
            process.stop(2)
        shutil.rmtree(directory, ignore_errors=True)


def calls(options):
    """A call with media ports given out at both ends, on sockets and with the relay in the kernel."""
    sizes = slab()
    of_socket = sum(sizes[name]["bytes"] for name in SOCKET_OBJECTS)

    def figures(found, rows):
        kernel = found["sockets"] * of_socket + found["requests"] * sizes["io_kiocb"]["bytes"]
        return {**found, "process": found["rss"], "kernel": kernel + rows}

    with prepared(options) as host:
        on_sockets = [figures(_calls(options, host, {"fast_path": "off"}), 0) for _ in range(ROUNDS)]
        media = {"fast_path": "xdp", "fast_path_devices": [pair.SERVER_DEVICE]}
        in_kernel = [figures(_calls(options, host, media), ROW_BYTES * PAIRS_PER_CALL) for _ in range(ROUNDS)]
    found = {"socket_bytes": of_socket, "machine": machine.fingerprint()}
    lines = []
    for name, runs in (("bytes_per_call", on_sockets), ("bytes_per_call_xdp", in_kernel)):
        for each, key in ((name, "process"), (f"{name}_kernel", "kernel")):
            rounds.keep(each, options, {**found, "key": key, "rounds": runs})
            lines.append(line(each, [run[key] for run in runs]))
    return lines


def _contacts(options, host):
    directory = tempfile.mkdtemp(prefix="compare-")
    accounts = []
    for number in range(CONTACTS):
        device = table("account.device", {"username": f"user{number}", "password": PASSWORD}, True)
        accounts += [table("account", {"name": f"user{number}"}, True), device]
    server = generator = None
    try:
        server = Server(options, directory, accounts, {"fast_path": "off"})
        argv = ["register", "--target", f"{SERVICE[4]}:{SIP_PORT}", "--auth", "user{}:" + PASSWORD, "--users", CONTACTS, "--domain", "memory.test",
                "--rate", CONTACTS_PER_SECOND, "--duration", f"{PATIENCE_SECONDS}s", "--concurrent", 2000, "--pin", relay.GENERATOR_CORE]
        generator = Process("loadgen", [*host.enter, options.loadgen, *argv], directory)
        return slope(server, generator, "strowger_registrations_active", FEW_CONTACTS, CONTACTS, PATIENCE_SECONDS)
    finally:
        for process in filter(None, (generator, server and server.process)):
            process.stop(2)
        shutil.rmtree(directory, ignore_errors=True)


def contacts(options):
    """A registered contact, beside the account that the configuration names."""
    with prepared(options) as host:
        runs = [_contacts(options, host) for _ in range(ROUNDS)]
    rounds.keep("bytes_per_contact", options, {"key": "rss", "rounds": runs, "machine": machine.fingerprint()})
    return [line("bytes_per_contact", [run["rss"] for run in runs])]


def prepared(options):
    """The hosts, once everything that is needed is there."""
    pair.need()
    machine.need_ours(options)
    return pair.Pair()


def line(name, found):
    """The figure as it is printed."""
    return f"ratio {name} {statistics.median(found):.0f} {min(found):.0f} {max(found):.0f}"
