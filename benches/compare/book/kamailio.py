"""Calls and registrations beside Kamailio, with one worker process and nothing logged.

Kamailio is a stateful proxy (tm, record-routing) that never looks at a description; ours is a two-leg call with ports for media
given out and every description rewritten. Registrations: usrloc in memory against our registrar, with digest on both; and plain,
where each is one REGISTER and its 200.
"""

import json
import os
import time

from harness.appliance import Appliance
from harness.process import Failure, Process, free_port, is_bound, until

from . import machine, rounds
from .relay import GENERATOR_CORE, pinned

# Ours opens the sockets of all its media ports in the first seconds, two pairs a call.
LEAD_SECONDS, TAIL_SECONDS = 5.0, 1.5
CALLS_PER_SECOND = 1000
REGISTERS_PER_SECOND = 1000
# Each call holds two pairs, which rest for two seconds after it.
MEDIA_PORTS = 12_000
USERS = 1000
PASSWORD = "eleven"

HEAD = """
debug=0
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "textops.so"
"""

CALLS = HEAD + """
request_route {{
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not here");
        exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    t_check_trans();
    record_route();
    $du = "sip:127.0.0.1:{callee}";
    t_relay();
}}
"""

REGISTRATIONS = HEAD + """
loadmodule "auth.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "db_mode", 0)
modparam("auth", "qop", "auth")
request_route {{
    if (!is_method("REGISTER")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    if (!pv_www_authenticate("$td", "{password}", "0")) {{ www_challenge("$td", "1"); exit; }}
    save("location");
}}
"""

PLAIN = HEAD + """
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "db_mode", 0)
request_route {{
    if (!is_method("REGISTER")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    save("location");
}}
"""


class Kamailio:
    """One Kamailio with the configuration given."""

    def __init__(self, text, directory, **words):
        self.port = free_port()
        path = os.path.join(directory, "kamailio.cfg")
        with open(path, "w") as file:
            file.write(text.format(port=self.port, **words))
        argv = [machine.need("kamailio", "kamailio"), "-f", path, "-DD", "-x", "tlsf", "-m", "256", "-M", "16", "-w", directory,
                "-Y", directory, "-P", os.path.join(directory, "pid")]
        self.process = Process("kamailio", pinned(*argv), directory)
        until(lambda: is_bound("127.0.0.1", self.port) or not self.process.running(), 15, "kamailio to listen")
        if not self.process.running():
            raise Failure(f"kamailio ended at start: {self.process.output()[-800:]}")

    def pids(self):
        """All its processes."""
        return machine.children(self.process.child.pid)

    def stop(self):
        """Ends it."""
        self.process.stop(10)


class Ours:
    """One Strowger with one shard."""

    def __init__(self, options, directory, trunks, accounts=(), ports=MEDIA_PORTS, **tables):
        self.appliance = Appliance(
            options.binary, "auto", directory, trunks, accounts, shards=1, prefix=pinned(), squat=False, ports=ports, **tables
        )
        self.port = self.appliance.port

    def pids(self):
        """All its processes: one."""
        return [self.appliance.process.child.pid]

    def stop(self):
        """Ends it."""
        self.appliance.stop()


def domain():
    """The domain that both registrars serve."""
    return Appliance.domain


def load(options, directory, server, rate, argv, wanted, lead=LEAD_SECONDS):
    """Loads `server` at `rate` and returns the cost of one call or registration in microseconds."""
    report = os.path.join(directory, "loadgen.json")
    seconds = lead + options.seconds + TAIL_SECONDS
    argv = [options.loadgen, *argv, "--target", f"127.0.0.1:{server.port}", "--rate", rate, "--duration", f"{seconds:.1f}s", "--pin", GENERATOR_CORE,
            "--json", report, "--quiet"]
    generator = Process("loadgen", argv, directory)
    time.sleep(lead)
    cpu, real, drops = rounds.window(server.pids(), options.seconds)
    status = generator.wait(seconds + 60)
    if status not in (0, 4):
        raise Failure(f"the generator ended with {status}: {generator.output()[-900:]}")
    with open(report) as file:
        counters = json.load(file)["counters"]
    again = counters["retransmitted_invite"] + counters["retransmitted_request"] + counters["retransmitted_success"]
    void = "the generator was late or dropped packets" if status == 4 else None
    if again or drops:
        void = void or f"{again} messages were sent again, {drops} dropped by the kernel"
    return {"cost": cpu * 1e6 / (rate * real), "void": void, "cpu_s": cpu, "window_s": real, "rate": rate, "done": counters[wanted],
            "challenges": counters["challenges_answered"]}


def _calls(options, make):
    def measure(directory):
        caller, callee = free_port(), free_port()
        server = make(directory, caller, callee)
        try:
            argv = ["calls", "--bind", f"127.0.0.1:{caller}", "--uas-listen", f"127.0.0.1:{callee}", "--to", "+15550100", "--rtp", "off", "--hold", "300ms"]
            return load(options, directory, server, CALLS_PER_SECOND, argv, "calls_completed")
        finally:
            server.stop()

    return lambda: rounds.inside(measure)


def calls(options):
    """Processor time per call: INVITE, 180, 200, ACK, BYE, 200."""
    machine.need_peers(options, "kamailio", "kamailio")

    def ours(directory, caller, callee):
        trunks = [
            {"name": "in", "address": f"127.0.0.1:{caller}", "prefixes": [], "allow_from": ["127.0.0.1/32"]},
            {"name": "out", "address": f"127.0.0.1:{callee}", "prefixes": [""], "allow_from": ["127.0.0.1/32"]},
        ]
        return Ours(options, directory, trunks)

    theirs = _calls(options, lambda directory, _, callee: Kamailio(CALLS, directory, callee=callee))
    return rounds.compare("call_vs_kamailio", options, _calls(options, ours), theirs, "us/call")


def _registrations(options, make, also=()):
    def measure(directory):
        server = make(directory)
        try:
            argv = ["register", "--auth", "user{}:" + PASSWORD, "--users", USERS, "--domain", domain(), *also]
            return load(options, directory, server, REGISTERS_PER_SECOND, argv, "registrations_completed")
        finally:
            server.stop()

    return lambda: rounds.inside(measure)


def _registrar(options):
    """Strowger with all users."""

    def ours(directory):
        accounts = [{"name": f"user{number}", "devices": [{"username": f"user{number}", "password": PASSWORD}]} for number in range(USERS)]
        return Ours(options, directory, (), accounts)

    return ours


def registrations(options):
    """Processor time per registration with its challenge: REGISTER, 401, REGISTER, 200."""
    machine.need_peers(options, "kamailio", "kamailio")
    theirs = _registrations(options, lambda directory: Kamailio(REGISTRATIONS, directory, password=PASSWORD))
    return rounds.compare("register_vs_kamailio", options, _registrations(options, _registrar(options)), theirs, "us/registration")


def registrations_plain(options):
    """Processor time per registration that is not challenged: REGISTER, 200. Kamailio asks nobody for a password; ours knows no
    such registrar, so that each of its REGISTERs carries the answer to an old challenge, which is verified."""
    machine.need_peers(options, "kamailio", "kamailio")
    once = _registrations(options, _registrar(options), ["--reuse-nonce"])

    def ours():
        run = once()
        if run["challenges"] > USERS:
            run["void"] = run["void"] or f"{run['challenges']} challenges for {USERS} users: not all were plain"
        return run

    theirs = _registrations(options, lambda directory: Kamailio(PLAIN, directory))
    return rounds.compare("register_vs_kamailio_plain", options, ours, theirs, "us/registration")
