"""The appliance on the middle host: its configuration with a fast path, its process, its figures by path."""

import json
import os
import re
import signal
import subprocess

from harness.appliance import table, toml  # noqa: F401
from harness.process import Failure, Process, fetch, until

from .network import DEVICES, SERVICE

SIP_PORT, HTTP_PORT = 5060, 8080
CALLER_PORT, CALLEE_PORT = 5080, 5070
MEDIA_PORTS = (30_000, 31_999)
NUMBER = "+15550100"


class Appliance:
    """One Strowger with a trunk to the caller and one to the callee, in one family."""

    def __init__(self, options, net, directory, family=4, name="strowger", dead_man="3s", pin=None, fast_path="xdp", devices=None, prefix=(), guard=None):
        self.options, self.net, self.family, self.directory = options, net, family, os.path.join(directory, name)
        os.makedirs(self.directory, exist_ok=True)
        self.config = os.path.join(self.directory, "strowger.toml")
        service = SERVICE[family]
        media = {"address": SERVICE[4], "address_v6": SERVICE[6], "port_min": MEDIA_PORTS[0], "port_max": MEDIA_PORTS[1], "silent_timeout": "30s",
                 "fast_path": fast_path, "fast_path_devices": devices or [DEVICES["caller"], DEVICES["callee"], DEVICES["stranger"]],
                 "fast_path_dead_man": dead_man}
        if pin:
            media["fast_path_pin"] = pin
        caller, callee = net.address("caller", family), net.address("callee", family)
        parts = [
            table("node", {"name": "xdp", "data_dir": os.path.join(self.directory, "data")}),
            table("shards", {"count": 1, "pin": False, "backend": options.backend}),
            table("sip", {"domains": ["xdp.test"]}),
            table("sip.listen", {"address": f"{bracketed(service)}:{SIP_PORT}", "transport": "udp"}, True),
            table("media", media),
            table("trunk", {"name": "caller", "address": f"{bracketed(caller)}:{CALLER_PORT}", "prefixes": [], "allow_from": [net_of(caller)]}, True),
            table("trunk", {"name": "callee", "address": f"{bracketed(callee)}:{CALLEE_PORT}", "prefixes": [""], "allow_from": [net_of(callee)]}, True),
            table("guard", guard or {}),
            table("control", {"listen": f"127.0.0.1:{HTTP_PORT}"}),
        ]
        with open(self.config, "w") as file:
            file.write("\n".join(parts))
        self.takes = 0
        self.process = Process("strowger", [*prefix, options.binary, "run", "--config", self.config], self.directory)

    def up(self):
        """Itself, once it is ready."""
        until(self._ready, 20, "strowger to be ready")
        return self

    def _ready(self):
        if not self.process.running():
            raise Failure(f"strowger ended at start: {self.process.output()[-1500:]}")
        return fetch(f"http://127.0.0.1:{HTTP_PORT}/readyz")[0] == 200

    def packets(self):
        """Relayed RTP packets by path."""
        found = {}
        for line in fetch(f"http://127.0.0.1:{HTTP_PORT}/metrics")[1].splitlines():
            if line.startswith("strowger_rtp_packets_total{"):
                found[line.split('path="')[1].split('"')[0]] = float(line.split()[-1])
        return found

    def metric(self, name):
        """The sum of one metric over its labels that hold `name`."""
        lines = fetch(f"http://127.0.0.1:{HTTP_PORT}/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def show(self, *what):
        """What `strowger show … --json` prints."""
        argv = [self.options.binary, "show", *what, "--json", "--config", self.config]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=self.directory)
        if done.returncode != 0:
            raise Failure(f"show {' '.join(what)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def take_over(self):
        """Starts the same program beside itself, which takes everything; returns the pause in milliseconds as the new one says it."""
        old, self.takes = self.process, self.takes + 1
        argv = [self.options.binary, "run", "--take-over", "--config", self.config]
        self.process = Process(f"strowger-{self.takes}", argv, self.directory)
        until(lambda: not old.running(), 20, "the old process to end")
        status = old.stop()
        if status != 0:
            raise Failure(f"the old process ended with {status}: {old.output()[-800:]}")
        return float(until(lambda: re.search(r"pause_ms=([0-9.]+)", self.process.output()), 10, "the new process to say its pause").group(1))

    def kill(self):
        """SIGKILL."""
        self.process.child.send_signal(signal.SIGKILL)
        self.process.wait(5)
        self.process.stop()

    def stop(self):
        """As an init system would; fails on another exit status than 0, or a panic."""
        if "panicked" in self.process.output():
            raise Failure("strowger panicked")
        status = self.process.stop(20)
        if status != 0:
            raise Failure(f"strowger ended with {status} after SIGTERM: {self.process.output()[-800:]}")


def bracketed(address):
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def net_of(address):
    """The host alone, as a network."""
    return address + ("/128" if ":" in address else "/32")
