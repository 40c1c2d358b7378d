"""SIPp as a process: one half of a scenario, and what its statistics say at the end."""

import csv
import glob
import os

from .process import Failure, Process

SCENARIOS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "sipp")
PCAP = "/usr/share/sip-tester"


def bracketed(address):
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


class Sipp:
    """One SIPp with its own directory for its traces."""

    def __init__(self, name, scenario, directory, local, calls, remote=None, args=(), seconds=40, enter=()):
        self.name = name
        self.calls = calls
        self.seconds = seconds
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory)
        if os.path.isdir(PCAP):
            os.symlink(PCAP, os.path.join(self.directory, "pcap"))
        built_in = not scenario.endswith(".xml")
        which = ["-sn", scenario] if built_in else ["-sf", os.path.join(SCENARIOS, scenario)]
        argv = ["sipp"]
        if remote:
            argv.append(f"{bracketed(remote[0])}:{remote[1]}")
        argv += which
        argv += ["-i", local[0], "-p", local[1], "-bind_local", "-mi", local[0], "-m", calls, "-nostdin"]
        argv += ["-trace_err", "-trace_msg", "-trace_stat", "-fd", "1", "-timeout", f"{seconds}s", "-timeout_error"]
        self.process = Process("sipp", [*enter, *argv, *args], self.directory)

    def _tail(self, kind):
        for path in glob.glob(os.path.join(self.directory, f"*_{kind}.log")):
            with open(path, errors="replace") as file:
                return " ".join(file.read().split())[:600]
        return ""

    def stats(self):
        """The last row of its statistics, by column name."""
        for path in glob.glob(os.path.join(self.directory, "*_.csv")):
            with open(path) as file:
                rows = list(csv.DictReader(file, delimiter=";"))
            if rows:
                return rows[-1]
        return {}

    def number(self, column):
        """One cumulative figure; 0 when SIPp does not print it."""
        return int(self.stats().get(column) or 0)

    def check(self, retransmissions_max=0):
        """Waits for the end; fails unless every call succeeded and nothing had to be said twice."""
        status = self.process.wait(self.seconds + 5)
        if status != 0:
            raise Failure(f"{self.name} ended with {status}: {self._tail('errors') or self.process.output()[-300:]}")
        done, failed = self.number("SuccessfulCall(C)"), self.number("FailedCall(C)")
        if failed or done != self.calls:
            raise Failure(f"{self.name}: {done} of {self.calls} calls succeeded, {failed} failed: {self._tail('errors')}")
        again = self.number("Retransmissions(C)")
        if again > retransmissions_max:
            raise Failure(f"{self.name}: {again} retransmissions")
