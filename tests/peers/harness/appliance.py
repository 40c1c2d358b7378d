"""The release binary under test: its configuration, its start and end, what it says about itself."""

import errno
import glob
import json
import os
import re
import socket

from .process import Failure, Process, fetch, free_port, give_back, until


def toml(value):
    """A value as TOML writes it (JSON's strings, numbers, booleans and lists are TOML's)."""
    return json.dumps(value)


def table(name, entries, array=False):
    """One table, `[name]` or `[[name]]`."""
    head = f"[[{name}]]" if array else f"[{name}]"
    return "\n".join([head] + [f"{key} = {toml(value)}" for key, value in entries.items()]) + "\n"


MEDIA_PORTS = 6000
SQUATTED_EVERY = 150


class Appliance:
    """One running Strowger on free loopback ports, with the trunks and accounts given."""

    domain = "strowger.test"

    def __init__(self, binary, backend, directory, trunks=(), accounts=(), ipv6=False, shards=2, prefix=(), squat=True, ports=MEDIA_PORTS, contacts_max=200_000, pin=False, media=()):
        self.directory = directory
        self.backend = backend
        self.port = free_port()
        self.control = free_port()
        self.data = os.path.join(directory, "data")
        self.ports = ports
        self.media = free_port(span=ports)
        self.squatters = self._squat() if squat else []
        listens = [("127.0.0.1", "udp"), ("127.0.0.1", "tcp")]
        media_table = {"address": "127.0.0.1", "port_min": self.media, "port_max": self.media + ports - 1, "silent_timeout": "30s", **dict(media)}
        if ipv6:
            listens += [("[::1]", "udp"), ("[::1]", "tcp")]
            media_table["address_v6"] = "::1"
        parts = [
            table("node", {"name": "peers", "data_dir": self.data}),
            table("shards", {"count": shards, "pin": pin, "backend": backend, "contacts_max": contacts_max}),
            table("sip", {"domains": [self.domain, "127.0.0.1"]}),
            *(table("sip.listen", {"address": f"{a}:{self.port}", "transport": t}, True) for a, t in listens),
            table("media", media_table),
            *(table("trunk", trunk, True) for trunk in trunks),
        ]
        accounts = list(accounts)
        for account in accounts:
            devices = account.pop("devices", [])
            parts.append(table("account", account, True))
            parts.extend(table("account.device", device, True) for device in devices)
        parts.append(table("control", {"listen": f"127.0.0.1:{self.control}"}))
        self.config = os.path.join(directory, "strowger.toml")
        with open(self.config, "w") as file:
            file.write("\n".join(parts))
        self.process = Process("strowger", [*prefix, binary, "run", "--config", self.config], directory)
        # A million accounts are read in 20 s.
        until(self._ready, 15 + len(accounts) / 10_000, "strowger to be ready")

    def _squat(self):
        """Holds a few media ports, as a stranger on the same host would: no call may suffer from it."""
        squatters = []
        for port in range(self.media, self.media + self.ports, SQUATTED_EVERY):
            squatter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                squatter.bind(("127.0.0.1", port))
            except OSError as error:
                # Somebody else is the stranger there: as good.
                squatter.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            squatters.append(squatter)
        return squatters

    def _ready(self):
        if not self.process.running():
            raise Failure(f"strowger ended at start: {self.process.output()[-1500:]}")
        return fetch(f"http://127.0.0.1:{self.control}/readyz")[0] == 200

    def metrics(self):
        """Sums over labels, by metric name; and each line by its full name with labels."""
        out = {}
        for line in fetch(f"http://127.0.0.1:{self.control}/metrics")[1].splitlines():
            match = re.match(r"([a-z0-9_]+)(\{[^}]*\})? ([-+0-9.eE]+)$", line)
            if match:
                name, labels, value = match.groups()
                out[name] = out.get(name, 0.0) + float(value)
                if labels:
                    out[name + labels] = float(value)
        return out

    def records(self):
        """All call records written so far."""
        out = []
        for path in sorted(glob.glob(os.path.join(self.data, "**", "*.ndjson"), recursive=True)):
            with open(path) as file:
                out.extend(json.loads(line) for line in file if line.strip())
        return out

    def records_since(self, first, key, values, count, seconds=5, since=""):
        """From the `first` record on, those whose `key` is one of `values` and that started at `since` (UTC) or later, once
        there are `count`."""

        def found():
            records = [record for record in self.records()[first:] if record.get(key) in values and record["started"] >= since]
            return records if len(records) >= count else None

        return until(found, seconds, f"{count} call records with {key} in {values}")

    def check_alive(self):
        """Fails when the process is gone or has panicked."""
        if not self.process.running():
            raise Failure(f"strowger ended with {self.process.child.returncode}")
        if "panicked" in self.process.output():
            raise Failure("strowger panicked")

    def check_idle(self, seconds=8):
        """Fails unless the last call is over within `seconds`."""
        until(lambda: self.metrics().get("strowger_calls_active", -1) == 0, seconds, "strowger_calls_active to be 0")

    def stop(self):
        """Ends it as an init system would; fails on another exit status than 0."""
        for squatter in self.squatters:
            squatter.close()
        give_back(self.media, self.ports)
        self.check_alive()
        status = self.process.stop(15)
        if status != 0:
            raise Failure(f"strowger ended with {status} after SIGTERM")
