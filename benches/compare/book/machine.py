"""What a figure depends on, and how processor time is read: of every thread of a process, in nanoseconds."""

import ctypes
import glob
import os
import platform
import shutil
import subprocess
import sys
import time


# Says that it is ready, waits for a line, and counts its rounds of 0.3 s.
LOOP = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
sys.stdin.readline()
end, rounds, words = time.monotonic() + 0.3, 0, {}
while time.monotonic() < end:
    for number in range(100):
        words[number] = str(number * rounds)
    rounds += 1
print(rounds)
"""


class Missing(Exception):
    """Something this machine lacks; the sentence says what to install or allow."""


def need(program, package):
    """The path of `program`, installed from Debian's `package` where that is allowed."""
    found = shutil.which(program)
    allowed = os.geteuid() == 0 and shutil.which("apt-get") and not os.environ.get("STROWGER_NO_INSTALL")
    if not found and allowed:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], env=environment, **quiet)
        found = shutil.which(program)
    if not found:
        raise Missing(f"{program} (Debian: apt-get install {package})")
    return found


def need_built(path, how):
    """A program of ours."""
    if not os.access(path, os.X_OK):
        raise Missing(f"{path}: build it with `{how}`")
    return path


def need_peers(options, program, package):
    """What every comparison with another server needs before its first round."""
    need(program, package)
    need_ours(options)


def need_ours(options):
    """What every measurement of the appliance needs: the programs as absolute paths, and a core for each side."""
    options.binary, options.loadgen = os.path.abspath(options.binary), os.path.abspath(options.loadgen)
    need("taskset", "util-linux")
    need_built(options.binary, "cargo build --release")
    need_built(options.loadgen, "cargo build --release -p strowger-loadgen")
    if (os.cpu_count() or 1) < 2:
        raise Missing("a second core: the generator must not share one with what is measured")


def cpu_seconds(pids):
    """Processor time so far, user and system, of all threads of these processes. Threads that ended are not counted, so
    that a window must not see any end."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path) as file:
                total += int(file.read().split()[0])
    return total / 1e9


class Steal:
    """How much of the time that this machine wanted its hypervisor gave to others, since this was made."""

    def __init__(self):
        self.begin = self._ticks()

    @staticmethod
    def _ticks():
        with open("/proc/stat") as file:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
        return steal, user + nice + system + irq + softirq + steal

    def percent(self):
        """Of all that was wanted."""
        (stolen_before, wanted_before), (stolen, wanted) = self.begin, self._ticks()
        return 100 * (stolen - stolen_before) / max(1, wanted - wanted_before)


def children(pid):
    """A process and all below it."""
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path) as file:
                below = [int(word) for word in file.read().split()]
        except OSError:
            continue
        for child in below:
            found += children(child)
    return found


def udp_drops():
    """Datagrams that the kernel dropped from full receive buffers, of both families, since boot."""
    total = 0
    with open("/proc/net/snmp") as file:
        rows = [line.split() for line in file if line.startswith("Udp:")]
    total += int(rows[1][rows[0].index("RcvbufErrors")])
    if os.path.exists("/proc/net/snmp6"):
        with open("/proc/net/snmp6") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Udp6RcvbufErrors"))
    return total


def receive_buffer_max():
    """What a program without rights of its own may ask for."""
    with open("/proc/sys/net/core/rmem_max") as file:
        return int(file.read())


def getppid_nanoseconds():
    """The price of the cheapest system call, less that of the call through ctypes: virtual machines inflate it."""
    libc = ctypes.CDLL(None)
    count = 100_000

    def loop(call):
        begin = time.perf_counter_ns()
        for _ in range(count):
            call()
        return (time.perf_counter_ns() - begin) / count

    return max(0.0, loop(lambda: libc.syscall(110)) - loop(lambda: libc.abs(110)))


def side_by_side():
    """How fast two cores run the same loop at once, each compared with itself alone: 1 where they share nothing, 0.5 to 0.7 where
    they are two threads of one core, which a virtual machine may not say. None with one core."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return None

    def loops(at_once):
        argv = [[sys.executable, "-c", LOOP, str(core)] for core in at_once]
        running = [subprocess.Popen(each, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in argv]
        for each in running:
            each.stdout.readline()
        for each in running:
            each.stdin.write("\n")
            each.stdin.flush()
        return [int(each.communicate()[0]) for each in running]

    alone = [loops([core])[0] for core in cores]
    return round(sum(both / one for both, one in zip(loops(cores), alone)) / len(cores), 2)


def fingerprint():
    """The machine beside the figures."""
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "getppid_ns": round(getppid_nanoseconds(), 1),
        "side_by_side": side_by_side(),
    }
