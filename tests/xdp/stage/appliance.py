"""The appliance on the middle host: its configuration with a fast path, its process, its figures by path."""

import glob
import json
import os
import re
import signal
import socket
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

    def __init__(self, options, net, directory, family=4, name="strowger", prefix=(), binary=None, **media):
        self.options, self.net, self.family, self.directory = options, net, family, os.path.join(directory, name)
        os.makedirs(self.directory, exist_ok=True)
        self.config = os.path.join(self.directory, "strowger.toml")
        self.takes = 0
        self.configure(**media)
        self.process = Process("strowger", [*prefix, binary or options.binary, "run", "--config", self.config], self.directory)

    def configure(self, dead_man="3s", pin=None, fast_path="xdp", devices=None, guard=None):
        """Writes the configuration that the next process starts with."""
        service = SERVICE[self.family]
        media = {"address": SERVICE[4], "address_v6": SERVICE[6], "port_min": MEDIA_PORTS[0], "port_max": MEDIA_PORTS[1], "silent_timeout": "30s",
                 "fast_path": fast_path, "fast_path_devices": devices or [DEVICES["caller"], DEVICES["callee"], DEVICES["stranger"]],
                 "fast_path_dead_man": dead_man}
        if pin:
            media["fast_path_pin"] = pin
        caller, callee = self.net.address("caller", self.family), self.net.address("callee", self.family)
        parts = [
            table("node", {"name": "xdp", "data_dir": os.path.join(self.directory, "data")}),
            table("shards", {"count": 1, "pin": False, "backend": self.options.backend}),
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

    def waits(self):
        """How often each thread has waited so far."""
        found = {}
        for task in glob.glob(f"/proc/{self.process.child.pid}/task/*"):
            with open(f"{task}/comm") as comm, open(f"{task}/status") as status:
                count = re.search(r"^voluntary_ctxt_switches:\s*([0-9]+)", status.read(), re.M)
                found[f"{comm.read().strip()}-{os.path.basename(task)}"] = int(count.group(1))
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

    def take_over(self, binary=None):
        """Starts a program beside itself, which takes everything; returns the pause in milliseconds as the new one says it."""
        old, self.takes = self.process, self.takes + 1
        argv = [binary or self.options.binary, "run", "--take-over", "--config", self.config]
        self.process = Process(f"strowger-{self.takes}", argv, self.directory)
        until(lambda: not old.running() or not self.process.running(), 30, "the old process to end")
        if not self.process.running():
            raise Failure(f"the new process ended: {self.process.output()[-800:]}")
        status = old.stop()
        if status != 0:
            raise Failure(f"the old process ended with {status}: {old.output()[-800:]}")
        return float(until(lambda: re.search(r"pause_ms=([0-9.]+)", self.process.output()), 10, "the new process to say its pause").group(1))

    def upgrade(self):
        """The signal that does it in place; the new process writes into the old one's log. Its number."""
        os.kill(self.process.child.pid, signal.SIGUSR2)
        until(lambda: not self.process.running(), 30, "the old process to end")
        status = self.process.stop()
        found = re.search(r'new process takes over".* pid=([0-9]+)', self.process.output())
        if status != 0 or not found:
            raise Failure(f"no new process has taken over: {self.process.output()[-1200:]}")
        return int(found.group(1))

    def broken_take_over(self, wish, last):
        """A new process that asks for everything, gets it, says `last` and is gone; how long the old one says it stood still."""
        service = bracketed(SERVICE[self.family])
        ground = {"shards.count": "1", "sip.listen": f"udp {service}:{SIP_PORT}", "media.address": SERVICE[4], "media.address_v6": SERVICE[6],
                  "media.port_min and port_max": "{}-{}".format(*MEDIA_PORTS), "control.listen": f"127.0.0.1:{HTTP_PORT}"}
        asked = {"command": "take_over", "format": 1, "version": "0.0.0", "ground": ground, "below": True}
        before = len(re.findall(r"not handed over: everything", self.process.output()))
        with socket.socket(socket.AF_UNIX) as old:
            old.settimeout(10)
            old.connect(os.path.join(self.directory, "data", "strowger.sock"))
            old.sendall(json.dumps(asked).encode() + b"\n")
            said = json.loads(_line(old))
            if not said.get("ok"):
                raise Failure(f"refused: {said}")
            _descriptors(old, said["descriptors"])
            old.sendall(json.dumps({"freeze": True, "below": wish}).encode() + b"\n")
            head = json.loads(_line(old))
            left = head["bytes"]
            while left > 0:
                left -= len(old.recv(min(left, 1 << 20)))
            _descriptors(old, head["descriptors"])
            if last is not None:
                old.sendall(json.dumps(last).encode() + b"\n")
        words = r"not handed over: everything goes on here.*pause_ms=([0-9]+)"
        return float(until(lambda: re.findall(words, self.process.output())[before:], 10, "the old process to go on")[0])

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


def _line(stream):
    """One line, and nothing beyond."""
    line = b""
    while not line.endswith(b"\n"):
        octet = stream.recv(1)
        if not octet:
            raise Failure("the running process broke off")
        line += octet
    return line


def _descriptors(stream, count):
    """Takes so many descriptors and lets them go."""
    while count > 0:
        octets, given, *_ = socket.recv_fds(stream, 1, 253)
        if not octets:
            raise Failure("descriptors are missing")
        for descriptor in given:
            os.close(descriptor)
        count -= len(given)


def bracketed(address):
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def net_of(address):
    """The host alone, as a network."""
    return address + ("/128" if ":" in address else "/32")
