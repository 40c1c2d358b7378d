"""How the price of one call or one registration grows with what is there already: ours with much against ours with little.

Nothing but the tables differs: the same binary, the same rate, the same messages. A figure of 1 says that what is up costs
nothing.
"""

import os
import resource
import shutil
import tempfile

from harness.process import Failure, Process, free_port

from . import machine, rounds
from .kamailio import PASSWORD, Ours, domain, load
from .relay import GENERATOR_CORE

CALLS_PER_SECOND = 500
# A call has two pairs of ports, a socket each, and so have those that rest for two seconds after it.
SOCKETS_PER_CALL, RESTING = 4, 3 * CALLS_PER_SECOND
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
CALLS_FEW, CALLS_MANY = 100, min(5000, (DESCRIPTORS - 200) // SOCKETS_PER_CALL - RESTING)
CONTACTS_FEW, CONTACTS_MANY = 1000, 1_000_000
REGISTERS_PER_SECOND = 1000
# Each run registers another part of the users again, none of which the processor's caches remember.
GROUP = 10_000
# A registration's transaction is kept for 32 s (RFC 3261, Timer J), and a shard has room for 100,000.
FILL_PER_SECOND = 2000
SIDES = ("many", "few")


def _needs(options):
    machine.need("taskset", "util-linux")
    machine.need_built(options.binary, "cargo build --release")
    machine.need_built(options.loadgen, "cargo build --release -p strowger-loadgen")


def calls(options):
    """Processor time per call with 5,000 calls up, or as many as descriptors allow, and with 100, without media."""
    _needs(options)
    many = int(CALLS_MANY * options.scale)
    if many < 10 * CALLS_FEW:
        raise Failure(f"{many} calls up are too few to compare with {CALLS_FEW}; `--scale` is {options.scale:g}, and `ulimit -Hn`, "
                      f"{DESCRIPTORS}, has to be 26200 for 5,000")
    ports = SOCKETS_PER_CALL * (many + RESTING)

    def side(up):
        def measure(directory):
            caller, callee = free_port(), free_port()
            trunks = [
                {"name": "in", "address": f"127.0.0.1:{caller}", "prefixes": [], "allow_from": ["127.0.0.1/32"]},
                {"name": "out", "address": f"127.0.0.1:{callee}", "prefixes": [""], "allow_from": ["127.0.0.1/32"]},
            ]
            server = Ours(options, directory, trunks, ports=ports)
            try:
                hold = up / CALLS_PER_SECOND
                argv = ["calls", "--bind", f"127.0.0.1:{caller}", "--uas-listen", f"127.0.0.1:{callee}", "--to", "+15550100", "--rtp", "off"]
                argv += ["--hold", f"{hold * 1000:.0f}ms"]
                # Both sides have opened as many sockets before they are measured, and are as old.
                lead = many / CALLS_PER_SECOND + 4
                return {**load(options, directory, server, CALLS_PER_SECOND, argv, "calls_completed", lead), "up": up}
            finally:
                server.stop()

        return lambda: rounds.inside(measure)

    return rounds.compare("growth_calls", options, side(many), side(CALLS_FEW), "us/call", SIDES)


class Registered:
    """One Strowger with this many users, all registered."""

    def __init__(self, options, directory, count):
        self.options, self.directory = options, directory
        self.group = min(GROUP, count)
        self.groups = count // self.group
        self.turn = 0
        self.phones = free_port()
        names = [f"g{group}u{user}" for group in range(self.groups) for user in range(self.group)]
        accounts = [{"name": name, "devices": [{"username": name, "password": PASSWORD}]} for name in names]
        self.server = Ours(options, directory, (), accounts, ports=200, contacts_max=2 * count)
        for group in range(self.groups):
            self._fill(group)

    def _argv(self, group):
        return ["register", "--auth", f"g{group}u{{}}:{PASSWORD}", "--users", self.group, "--domain", domain(), "--bind", f"127.0.0.1:{self.phones}"]

    def _fill(self, group):
        argv = [self.options.loadgen, *self._argv(group), "--target", f"127.0.0.1:{self.server.port}", "--rate", FILL_PER_SECOND]
        generator = Process("loadgen", [*argv, "--count", self.group, "--pin", GENERATOR_CORE, "--quiet"], self.directory)
        status = generator.wait(self.group / FILL_PER_SECOND + 60)
        if status not in (0, 4):
            raise Failure(f"registering group {group} ended with {status}: {generator.output()[-900:]}")

    def measure(self):
        """The cost of one registration, of users that none of the last runs has touched."""
        group, self.turn = self.turn % self.groups, self.turn + 1
        return load(self.options, self.directory, self.server, REGISTERS_PER_SECOND, self._argv(group), "registrations_completed", 1.0)

    def stop(self):
        """Ends it."""
        self.server.stop()


def contacts(options):
    """Processor time per registration with its challenge, with 1,000,000 contacts and with 1,000."""
    _needs(options)
    directory = tempfile.mkdtemp(prefix="compare-")
    sides = []
    try:
        for count in (int(CONTACTS_MANY * options.scale), CONTACTS_FEW):
            place = os.path.join(directory, str(count))
            os.mkdir(place)
            sides.append(Registered(options, place, max(count, CONTACTS_FEW)))
        many, few = sides
        return rounds.compare("growth_contacts", options, many.measure, few.measure, "us/registration", SIDES)
    finally:
        for side in sides:
            side.stop()
        shutil.rmtree(directory, ignore_errors=True)
