"""One site: its configuration, its process, what it says of its rights."""

import json
import os
import signal
import subprocess

from harness.appliance import table
from harness.process import Failure, Process, fetch, until

SIP_PORT = 5060
LINK_PORT = 7420
HTTP_PORT = 8080
CALLER_PORT = 5060
PHONE_PORT = 5070
MEDIA_PORTS = (30_000, 39_999)
DOMAIN = "sites.test"
ACCOUNT = "shared"
PASSWORD = "eleven"
NUMBER = "+15550100"


class Site:
    """Number `number` of `count` at `network`."""

    def __init__(self, options, network, directory, number, names):
        self.options, self.network, self.number, self.name = options, network, number, names[number - 1]
        self.directory = os.path.join(directory, self.name)
        self.address = network.address(number)
        self.starts = 0
        self.paused = False
        self.process = self.heir = None
        os.makedirs(self.directory, exist_ok=True)
        self.config = os.path.join(self.directory, "strowger.toml")
        with open(self.config, "w") as file:
            file.write(self._config(names, os.path.join(directory, "link")))

    def _config(self, names, link):
        peers = [(at + 1, name) for at, name in enumerate(names) if name != self.name]
        limits = {
            "policy": self.options.policy,
            "lease": f"{self.options.lease}s",
            "max_call_duration": f"{self.options.longest}s",
        }
        if not self.options.unlinked:
            limits["home"] = names[0]
        parts = [
            table("node", {"name": self.name, "data_dir": os.path.join(self.directory, "data")}),
            table("shards", {"count": 2, "pin": False, "backend": self.options.backend}),
            table("sip", {"domains": [DOMAIN]}),
            table("sip.listen", {"address": f"{self.address}:{SIP_PORT}", "transport": "udp"}, True),
            # These count rights, and their boot would wait for the dead-man time.
            table("media", {"address": self.address, "port_min": MEDIA_PORTS[0], "port_max": MEDIA_PORTS[1],
                            "silent_timeout": "5s", "fast_path": "off"}),
            table("trunk", {"name": "pstn", "address": f"{self.network.middle(self.number)}:{CALLER_PORT}"}, True),
            table("account", {"name": ACCOUNT, "numbers": [NUMBER], "max_calls": self.options.limit}, True),
            table("account.device", {"username": ACCOUNT, "password": PASSWORD}, True),
            table("limits", limits),
            table("control", {"listen": f"{self.address}:{HTTP_PORT}"}),
        ]
        return "\n".join(parts + ([] if self.options.unlinked else self._link(peers, link)))

    def _link(self, peers, link):
        return [
            table("link", {
                "listen": f"{self.address}:{LINK_PORT}",
                "certificate_file": os.path.join(link, f"{self.name}.pem"),
                "key_file": os.path.join(link, f"{self.name}.key"),
                "ca_file": os.path.join(link, "ca.pem"),
            }),
            *(table("link.peer", {"name": name, "address": f"{self.network.address(number)}:{LINK_PORT}"}, True)
              for number, name in peers),
        ]

    def start(self, wait=True):
        """Starts it, for the first time or again."""
        self.process = self._run()
        if wait:
            until(self.ready, 20, f"{self.name} to be ready")

    def _run(self, *words):
        self.starts += 1
        argv = [*self.network.enter(self.number), self.options.binary, "run", "--config", self.config, *words]
        return Process(f"strowger-{self.starts}", argv, self.directory)

    def take_over(self):
        """Another process begins to take its place; `settle` says when it has."""
        self.heir = self._run("--take-over")

    def settle(self):
        """True when no other process is taking its place, or has done so by now."""
        if self.heir is None:
            return True
        if not self.heir.running():
            raise Failure(f"{self.name} was not taken over: {self.heir.output()[-800:]}")
        if self.process.running():
            return False
        if self.process.child.returncode != 0:
            raise Failure(f"{self.name} was taken over and ended with {self.process.child.returncode}: {self.process.output()[-800:]}")
        if "panicked" in self.process.output():
            raise Failure(f"{self.name} panicked: {self.process.output()[-800:]}")
        self.process, self.heir = self.heir, None
        return True

    def ready(self):
        """Whether it takes calls."""
        if not self.process.running():
            raise Failure(f"{self.name} ended: {self.process.output()[-1500:]}")
        return fetch(f"http://{self.address}:{HTTP_PORT}/readyz")[0] == 200

    def running(self):
        """Whether its process is there."""
        return self.process is not None and self.process.running()

    def pause(self):
        """It stands still."""
        self.paused = True
        self.process.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        """It goes on, if it stood still."""
        if self.paused and self.process.running():
            self.process.child.send_signal(signal.SIGCONT)
        self.paused = False

    def kill(self):
        """Ends it without a word."""
        self.go_on()
        for process in filter(None, (self.heir, self.process)):
            process.child.send_signal(signal.SIGKILL)
            process.wait(5)
            process.stop()
        self.heir = None

    def check_alive(self):
        """Fails when it has ended by itself or has panicked."""
        if not self.process.running():
            raise Failure(f"{self.name} ended with {self.process.child.returncode}: {self.process.output()[-800:]}")
        if "panicked" in self.process.output():
            raise Failure(f"{self.name} panicked: {self.process.output()[-800:]}")

    def show(self, *words):
        """What `strowger show` says, as JSON; none when it does not answer."""
        argv = [self.options.binary, "show", *words, "--json", "--config", self.config]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=5)
            return json.loads(done.stdout) if done.returncode == 0 else None
        except (subprocess.TimeoutExpired, ValueError):
            return None

    def refused(self):
        """Refusals by reason."""
        out = {}
        for line in fetch(f"http://{self.address}:{HTTP_PORT}/metrics")[1].splitlines():
            if line.startswith("strowger_limit_rejections_total{"):
                name, value = line.rsplit(" ", 1)
                if float(value) > 0:
                    out[name.split('"')[1]] = int(float(value))
        return out
