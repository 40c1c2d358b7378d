"""Callers and phones of all sites in one loop: each site is called all the time, whatever it answers.

The callers are a trunk of each site, the phones are its one account's. The caller of a call sends RTP towards its phone;
who counts is the phone, by the packets that arrive there.
"""

import heapq
import random
import re
import select
import socket
import struct
import time

from . import count, sip
from .site import ACCOUNT, CALLER_PORT, DOMAIN, NUMBER, PASSWORD, PHONE_PORT, SIP_PORT

CALLER_MEDIA, PHONE_MEDIA = 20_000, 20_002
PACKET_SECONDS = 0.04
# Between the last packet and the BYE: what is in flight arrives before the call ends.
PAUSE = 0.15
PATIENCE = 3.0
REGISTER_EVERY = 20.0
SO_TIMESTAMPNS = 35
MAGIC = b"strowger-sites!!"


class Call:
    """One call of a caller."""

    __slots__ = ("number", "site", "state", "branch", "began", "media", "sequence", "final", "invite", "offered", "presence")

    def __init__(self, number, site, branch, began):
        self.number, self.site, self.branch, self.began = number, site, branch, began
        self.state = "calling"
        self.media = self.final = self.invite = self.offered = self.presence = None
        self.sequence = 0


class Load:
    """Everybody who calls and is called."""

    def __init__(self, options, sites, seed):
        self.options, self.sites = options, sites
        self.random = random.Random(seed)
        self.calls = {}
        self.timers = []
        self.order = 0
        self.sockets = {}
        self.counts = {"placed": 0, "answered": 0, "refused": 0, "failed": 0, "silent": 0, "strays": 0, "waited": 0}
        self.statuses = {}
        self.calling = False
        self.resting = set()
        self.registrations = {}
        for site in sites:
            middle = site.network.middle(site.number)
            for port, handler in ((CALLER_PORT, self._on_caller), (PHONE_PORT, self._on_phone), (CALLER_MEDIA, None),
                                  (PHONE_MEDIA, self._on_media)):
                udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                if port == PHONE_MEDIA:
                    udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                udp.bind((middle, port))
                udp.setblocking(False)
                self.sockets[site.number, port] = udp
                if handler:
                    self.sockets[udp.fileno()] = (udp, site, handler)

    def _at(self, seconds, work, *arguments):
        self.order += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.order, work, arguments))

    def run(self, seconds, each=None):
        """Lets everybody live for so long; `each` is done ten times a second."""
        end = time.monotonic() + seconds
        due = time.monotonic()
        files = [key for key in self.sockets if isinstance(key, int)]
        poll = select.poll()
        for file in files:
            poll.register(file, select.POLLIN)
        while (now := time.monotonic()) < end:
            if each and now >= due:
                due = now + 0.1
                each()
            while self.timers and self.timers[0][0] <= now:
                _, _, work, arguments = heapq.heappop(self.timers)
                work(*arguments)
            wait = min(self.timers[0][0] if self.timers else end, end, due if each else end) - time.monotonic()
            for file, _ in poll.poll(max(0, int(wait * 1000) + (wait > 0))):
                self._receive(*self.sockets[file])

    def _receive(self, udp, site, handler):
        for _ in range(200):
            try:
                data, extra, _, source = udp.recvmsg(4096, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            if handler == self._on_media:
                stamp = next((struct.unpack("qq", part[2][:16]) for part in extra if part[0] == socket.SOL_SOCKET), None)
                at = stamp[0] + stamp[1] / 1e9 if stamp else time.time()
                self._on_media(site, data, source, at)
            elif data.strip():
                handler(site, sip.Message(data), source)

    def _send(self, site, port, data):
        try:
            self.sockets[site.number, port].sendto(data, (site.address, SIP_PORT))
        except OSError:
            pass

    # --- phones

    def register(self, site, challenge=None, sequence=1):
        """Registers the site's phone, and again before long."""
        middle = site.network.middle(site.number)
        uri = f"sip:{DOMAIN}"
        tag = f"{site.number}{sequence}{self.random.getrandbits(32):x}"
        headers = [("Via", f"SIP/2.0/UDP {middle}:{PHONE_PORT};branch=z9hG4bKr{tag};rport"), ("Max-Forwards", "70"),
                   ("From", f"<sip:{ACCOUNT}@{DOMAIN}>;tag=r{tag}"), ("To", f"<sip:{ACCOUNT}@{DOMAIN}>"),
                   ("Call-ID", f"r{site.number}-{tag}"), ("CSeq", f"{sequence} REGISTER"),
                   ("Contact", f"<sip:{ACCOUNT}@{middle}:{PHONE_PORT}>"), ("Expires", "3600")]
        if challenge:
            headers.append(("Authorization", sip.authorization(challenge, ACCOUNT, PASSWORD, "REGISTER", uri)))
        self._send(site, PHONE_PORT, sip.write(f"REGISTER {uri} SIP/2.0", headers))
        if not challenge:
            self.registrations[site.number] = False
            self._at(1.0, self._register_again, site)

    def _register_again(self, site):
        if not self.registrations.get(site.number):
            self.register(site)

    def _on_phone(self, site, message, _):
        if message.status:
            if message.method == "REGISTER" and message.status == 401:
                self.register(site, message.get("www-authenticate"), 2)
            elif message.method == "REGISTER" and message.status == 200:
                self.registrations[site.number] = True
            return
        if message.method == "INVITE":
            self._offer(site, message)
        elif message.method in ("BYE", "CANCEL", "OPTIONS"):
            self._send(site, PHONE_PORT, sip.answer(message, 200, "OK", "p"))

    def _offer(self, site, message):
        middle = site.network.middle(site.number)
        number = re.fullmatch(r"c(\d+)", message.user())
        call = self.calls.get(int(number.group(1))) if number else None
        if call:
            call.offered = message.media()
        contact = f"<sip:{ACCOUNT}@{middle}:{PHONE_PORT}>"
        tag = "p" + message.get("call-id")[:24]
        self._send(site, PHONE_PORT, sip.answer(message, 200, "OK", tag, contact, sip.sdp(middle, PHONE_MEDIA)))

    def _on_media(self, site, data, source, at):
        if len(data) < 36 or data[12:28] != MAGIC:
            return
        call = self.calls.get(struct.unpack("!I", data[28:32])[0])
        # What belongs to another call than the one that this port was offered for says nothing about how many there are.
        if call is None or call.site is not site or call.offered != source:
            self.counts["strays"] += 1
        elif call.presence is None:
            call.presence = count.Presence(at)
        else:
            call.presence.packet(at)

    # --- callers

    def start(self, per_second):
        """Begins to call each site so often."""
        self.calling = True
        for site in self.sites:
            self.register(site)
            self._at(1.5 + self.random.random() / per_second, self._arrive, site, per_second)

    def stop(self):
        """No further calls."""
        self.calling = False

    def _arrive(self, site, per_second):
        if not self.calling:
            return
        self._at(self.random.expovariate(per_second), self._arrive, site, per_second)
        if site.running() and site not in self.resting:
            self._place(site)

    def _place(self, site):
        number = len(self.calls) + 1
        call = self.calls[number] = Call(number, site, f"z9hG4bKc{number}x{self.random.getrandbits(32):x}", time.monotonic())
        self.counts["placed"] += 1
        middle = site.network.middle(site.number)
        call.invite = self._request(call, "INVITE", f"sip:{NUMBER}@{site.address}", f"<sip:{NUMBER}@{site.address}>", 1,
                                    call.branch, sip.sdp(middle, CALLER_MEDIA))
        self._send(site, CALLER_PORT, call.invite)
        self._at(0.5, self._again, call)
        self._at(PATIENCE, self._give_up, call)

    def _request(self, call, method, uri, to, sequence, branch, body=""):
        middle = call.site.network.middle(call.site.number)
        return sip.write(f"{method} {uri} SIP/2.0", [
            ("Via", f"SIP/2.0/UDP {middle}:{CALLER_PORT};branch={branch};rport"), ("Max-Forwards", "70"),
            ("From", f"<sip:c{call.number}@{middle}>;tag=c{call.number}"), ("To", to),
            ("Call-ID", f"c{call.number}@{middle}"), ("CSeq", f"{sequence} {method}"),
            ("Contact", f"<sip:c@{middle}:{CALLER_PORT}>")], body)

    def _again(self, call):
        if call.state == "calling":
            self._send(call.site, CALLER_PORT, call.invite)
            self._at(1.0, self._again, call)

    def _give_up(self, call):
        if call.state in ("calling", "proceeding"):
            call.state = "abandoned"
            self.counts["silent"] += 1
            cancel = self._request(call, "CANCEL", f"sip:{NUMBER}@{call.site.address}",
                                   f"<sip:{NUMBER}@{call.site.address}>", 1, call.branch)
            self._send(call.site, CALLER_PORT, cancel)

    def _on_caller(self, site, message, _):
        found = re.match(r"c(\d+)@", message.get("call-id"))
        if not message.status:
            self._on_caller_request(site, message)
            return
        call = self.calls.get(int(found.group(1))) if found else None
        if call is None or message.method != "INVITE":
            return
        if message.status < 200:
            if call.state == "calling":
                call.state = "proceeding"
        elif message.status < 300:
            self._answered(call, message)
        else:
            self._send(site, CALLER_PORT, self._request(call, "ACK", f"sip:{NUMBER}@{site.address}", message.get("to"), 1, call.branch))
            if call.state in ("calling", "proceeding"):
                call.state = "over"
                self.statuses[message.status] = self.statuses.get(message.status, 0) + 1
                self.counts["refused" if message.status == 403 else "failed"] += 1
                self.counts["waited"] += time.monotonic() - call.began > 0.1

    def _on_caller_request(self, site, message):
        if message.method == "BYE":
            self._send(site, CALLER_PORT, sip.answer(message, 200, "OK", "c"))
            number = re.search(r"sip:c(\d+)@", message.get("to"))
            call = self.calls.get(int(number.group(1))) if number else None
            if call and call.state == "up":
                call.state = "over"
        elif message.method != "ACK":
            self._send(site, CALLER_PORT, sip.answer(message, 200, "OK", "c"))

    def _answered(self, call, message):
        call.final = (message.target(), message.get("to"))
        self._send(call.site, CALLER_PORT, self._request(call, "ACK", call.final[0], call.final[1], 1, f"{call.branch}a"))
        if call.state in ("calling", "proceeding"):
            call.state, call.media = "up", message.media()
            self.counts["answered"] += 1
            self._at(0, self._talk, call)
            self._at(self.random.uniform(0.5, 1.5) * self.options.hold, self._finish, call)
        elif call.state == "abandoned":
            self._bye(call, 2)

    def _talk(self, call):
        if call.state != "up":
            return
        call.sequence += 1
        packet = struct.pack("!BBHII", 0x80, 0, call.sequence & 0xFFFF, call.sequence * 320, call.number) + MAGIC
        packet += struct.pack("!II", call.number, call.sequence) + b"\xff" * 136
        try:
            self.sockets[call.site.number, CALLER_MEDIA].sendto(packet, call.media)
        except OSError:
            pass
        self._at(PACKET_SECONDS, self._talk, call)

    def _finish(self, call):
        if call.state == "up":
            call.state = "finishing"
            self._at(PAUSE, self._bye, call, 2)

    def _bye(self, call, attempts):
        call.state = "over"
        self._send(call.site, CALLER_PORT, self._request(call, "BYE", call.final[0], call.final[1], 2, f"{call.branch}b"))
        if attempts > 1:
            self._at(0.6, self._bye, call, attempts - 1)

    def site_died(self, site):
        """A process ended: its calls are over, and their callers notice."""
        for call in self.calls.values():
            if call.site is site and call.state in ("up", "finishing", "calling", "proceeding"):
                call.state = "over"

    def hang_up(self):
        """Everybody who is in a call ends it."""
        for call in list(self.calls.values()):
            if call.state == "up":
                self._finish(call)

    def media(self):
        """What arrived, by call."""
        return [call.presence for call in self.calls.values() if call.presence]
