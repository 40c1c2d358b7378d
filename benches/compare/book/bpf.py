"""bpf(2), as much of it as a comparison needs: run-time statistics while a descriptor is open, and the bare program that
transmits every frame it sees. What is opened here ends with this process, whatever becomes of it."""

import ctypes
import glob
import os
import platform
import struct

from . import machine

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_GET_FD_BY_ID, _LINK_CREATE, _ENABLE_STATS = 5, 13, 28, 32
_TYPE_XDP, _ATTACH_XDP, _NATIVE = 6, 37, 1 << 2
_XDP_TX = 3
# mov r0, XDP_TX; exit
_BARE = struct.pack("<BBhi", 0xB7, 0, 0, _XDP_TX) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def _bpf(command, attributes):
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise machine.Missing(f"the number of bpf(2) on {platform.machine()}")
    found = libc.syscall(number, command, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes))
    if found < 0:
        raise machine.Missing(f"permission for BPF ({os.strerror(ctypes.get_errno())}): run as root")
    return found


class Opened:
    """A descriptor that is closed at the end of its `with`."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)


def statistics():
    """The kernel times every run of every program until this is closed, as with the sysctl kernel.bpf_stats_enabled = 1."""
    return Opened(_bpf(_ENABLE_STATS, struct.pack("<I", 0)))


def bare(ifindex):
    """A program that transmits each frame as it is, in the driver of this device until it is closed."""
    code, licence = ctypes.create_string_buffer(_BARE, len(_BARE)), ctypes.create_string_buffer(b"GPL")
    instructions = len(_BARE) // 8
    load = struct.pack("<IIQQIIQII16sII", _TYPE_XDP, instructions, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0, b"bare", 0, _ATTACH_XDP)
    with Opened(_bpf(_PROG_LOAD, load)) as program:
        return Opened(_bpf(_LINK_CREATE, struct.pack("<IIII", program.descriptor, ifindex, _ATTACH_XDP, _NATIVE)))


def ran(pid):
    """Nanoseconds and runs so far of the programs in the links that a process holds, as far as statistics were on."""
    programs = {fields["prog_id"] for path in glob.glob(f"/proc/{pid}/fdinfo/*") if (fields := _fields(path)) and "prog_id" in fields}
    nanoseconds = runs = 0
    for program in programs:
        with Opened(_bpf(_PROG_GET_FD_BY_ID, struct.pack("<III", int(program), 0, 0))) as found:
            fields = _fields(f"/proc/self/fdinfo/{found.descriptor}")
        nanoseconds, runs = nanoseconds + int(fields["run_time_ns"]), runs + int(fields["run_cnt"])
    return nanoseconds, runs


def _fields(path):
    """What the kernel says of a descriptor."""
    try:
        with open(path) as file:
            return dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    except OSError:
        return {}
