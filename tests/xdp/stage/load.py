"""Calls from the caller's network to the called party's, each end a generator that verifies every packet."""

import json
import os
import re

from harness.process import Failure, Process, until

from .appliance import CALLEE_PORT, CALLER_PORT, NUMBER, SIP_PORT, bracketed
from .network import SERVICE

class Load:
    """`calls` calls, all up together for `seconds`."""

    def __init__(self, options, net, directory, calls, seconds, family=4, name="load"):
        self.calls, self.seconds, self.rate, self.net = calls, seconds, options.rate, net
        hold = calls / self.rate + seconds
        service, caller, callee = bracketed(SERVICE[family]), bracketed(net.address("caller", family)), bracketed(net.address("callee", family))
        common = ["--calls", calls, "--hold", f"{hold:.1f}s", "--silence-max", "60s", "--late-max", "2s", "--concurrent", calls + 10, "--rtp-loss-max", f"{options.loss_max}%"]
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory, exist_ok=True)
        self.reports = {side: os.path.join(self.directory, f"{side}.json") for side in ("uac", "uas")}
        self.uas = self._start("callee", "uas", options, ["--uas", "--uas-listen", f"{callee}:{CALLEE_PORT}", "--duration", f"{hold + 20:.0f}s",
                                                          "--rtp-ports", "40000-49999", *common])
        until(lambda: "answering on" in self.uas.output(), 10, "the answering side to listen")
        self.uac = self._start("caller", "uac", options, ["--uac", "--target", f"{service}:{SIP_PORT}", "--bind", f"{caller}:{CALLER_PORT}", "--to", NUMBER,
                                                          "--rate", self.rate, "--rtp-ports", "40000-49999", *common])

    def _start(self, party, side, options, argv):
        command = [*self.net.enter(party), options.loadgen, "calls", *argv, "--json", self.reports[side]]
        return Process(f"loadgen-{side}", command, self.directory)

    def all_up(self):
        """Waits until all calls are up."""

        def up():
            for end in (self.uac, self.uas):
                if not end.running():
                    raise Failure(f"{end.name} ended early: {end.output()[-800:]}")
            return re.search(rf" up {self.calls} ", self.uac.output())

        until(up, self.calls / self.rate + 15, f"{self.calls} calls to be up")
        return self

    def finish(self):
        """Both ends' counters, once all calls are over; fails when a call failed or a packet was doubled or damaged, or more were lost than
        may be: with any more than that the generator ends with 1."""
        counters = {}
        for side, end in (("uac", self.uac), ("uas", self.uas)):
            status = end.wait(self.seconds + self.calls / self.rate + 60)
            if status != 0:
                raise Failure(f"{end.name} ended with {status}: {end.output()[-900:]}")
            with open(self.reports[side]) as file:
                counters[side] = json.load(file)["counters"]
            odd = {name: counters[side][name] for name in ("rtp_duplicates", "rtp_corrupted", "rtp_misdirected", "rtp_strays", "rtp_silent")
                   if counters[side][name]}
            if odd:
                raise Failure(f"{end.name}: {odd}")
        return counters

    def received(self):
        """RTP packets verified at both ends; only after `finish`."""
        total = 0
        for path in self.reports.values():
            with open(path) as file:
                counters = json.load(file)["counters"]
            total += counters["rtp_received_uac"] + counters["rtp_received_uas"]
        return total

    def fate(self):
        """The same in words, with what was lost."""
        lost = 0
        for path in self.reports.values():
            with open(path) as file:
                lost += json.load(file)["counters"]["rtp_lost"]
        return f"{self.received()} packets verified, {lost or 'none'} lost"

    def abandon(self):
        """Ends both ends; what they say of it does not count."""
        for end in (self.uac, self.uas):
            end.stop(3)
