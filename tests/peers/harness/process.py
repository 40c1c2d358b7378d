"""Child processes that always end, waits that always end, ports that are free.

Every process started here is stopped by its own id when the run is over, also when the run is interrupted.
"""

import atexit
import ctypes
import fcntl
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

_alive = []
_given_ports = set()
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def _end_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Failure(Exception):
    """A test's verdict with its reason."""


class Process:
    """A child with its output in a file and, if asked for, a pipe to its keyboard."""

    def __init__(self, name, argv, directory, keyboard=False, env=None):
        self.name = name
        self.log = os.path.join(directory, name + ".log")
        with open(self.log, "wb") as out:
            out.write((" ".join(map(str, argv)) + "\n").encode())
            out.flush()
            self.child = subprocess.Popen(
                [str(word) for word in argv],
                cwd=directory,
                stdin=subprocess.PIPE if keyboard else subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TERM": "xterm", **(env or {})},
                preexec_fn=_end_with_parent,
            )
        _alive.append(self)

    def type(self, line):
        """Types one line."""
        try:
            self.child.stdin.write((line + "\n").encode())
            self.child.stdin.flush()
        except OSError as error:
            raise Failure(f"{self.name} does not listen to its keyboard: {error}") from error

    def output(self):
        """What it has printed so far."""
        with open(self.log, "r", errors="replace") as file:
            return file.read()

    def running(self):
        """Whether it has not ended."""
        return self.child.poll() is None

    def wait(self, seconds):
        """The exit status; a failure when it takes longer."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} has not ended after {seconds:.0f} s") from None

    def stop(self, seconds=5):
        """Asks it to end, then insists. Returns the exit status."""
        if self.running():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(5)
        if self.child.stdin:
            try:
                self.child.stdin.close()
            except OSError:
                pass
        if self in _alive:
            _alive.remove(self)
        return self.child.returncode


@atexit.register
def stop_all():
    """Ends what is still running."""
    for process in list(_alive):
        process.stop(1)


def stop_some(kept):
    """Ends what is still running but for these."""
    for process in [process for process in _alive if process not in list(kept)]:
        process.stop(1)


def on_signals():
    """Lets an interrupt end the children too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))


class Stillness:
    """How long this machine has let us wait at worst: what fails while it stands still says nothing about Strowger."""

    STEP = 0.02

    def __init__(self):
        self.worst = 0.0
        self._over = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._over.set()

    def _watch(self):
        while not self._over.is_set():
            before = time.monotonic()
            time.sleep(self.STEP)
            self.worst = max(self.worst, time.monotonic() - before - self.STEP)


def until(condition, seconds, what):
    """Waits for `condition` to give something true and returns it; `what` names it in the failure."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def _free(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def is_bound(address, port, tcp=False):
    """Whether somebody holds this port, asked without touching it."""
    name = ("tcp" if tcp else "udp") + ("6" if ":" in address else "")
    with open(f"/proc/net/{name}") as table:
        return any(row.split()[1].endswith(f":{port:04X}") and _is(row.split()[1], address) for row in list(table)[1:])


def _is(entry, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    raw = bytes.fromhex(entry.split(":")[0])
    words = [raw[at : at + 4][::-1] if sys.byteorder == "little" else raw[at : at + 4] for at in range(0, len(raw), 4)]
    return b"".join(words) == socket.inet_pton(family, address)


def free_port(address="127.0.0.1", span=1):
    """The first of `span` ports free for UDP and TCP, below the ephemeral range, never given twice. Wide spans and single
    ports come from different ranges, so that the latter never crowd out the former."""
    low, high = (16_000, 32_000) if span > 1000 else (10_000, 16_000)
    if span >= high - low:
        # Some may be taken by others' ephemeral ports; whoever asks for so many can do without a few.
        high = 65_000
    for _ in range(500):
        first = random.randrange(low, high - span)
        first += first % 2
        ports = range(first, first + span)
        if _given_ports.isdisjoint(ports) and all(_free(address, port) for port in (ports[0], ports[-1])):
            _given_ports.update(ports)
            return first
    raise Failure(f"no {span} free ports on {address}")


def give_back(first, span):
    """These ports may be given again."""
    _given_ports.difference_update(range(first, first + span))


def own_network():
    """Moves this process and its children into a network of their own, where every port is free; False where it may not."""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", _IFF_UP)
        fcntl.ioctl(control, _SIOCSIFFLAGS, request)
    return True


def fetch(url, seconds=2):
    """The status and text behind a local URL; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""
