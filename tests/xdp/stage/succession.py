"""Cases in which the relay in the kernel changes its process."""

import os
import shutil
import signal
import subprocess
import time

from harness.process import Failure, until

from . import looks
from .appliance import Appliance
from .load import Load
from .network import DEVICES, attached, pins

def take_over(options, net, directory):
    """A new process takes over very many calls, twice, and media stays in the kernel: no call and no packet is lost."""
    appliance = Appliance(options, net, directory).up()
    load = Load(options, net, directory, options.many_calls, 14).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    looks.mostly_below(appliance)
    pauses = []
    for _ in range(2):
        pauses.append(appliance.take_over())
        share = looks.mostly_below(appliance)
        moved = appliance.metric("strowger_fast_path_up_total"), appliance.metric("strowger_fast_path_down_total")
        if moved[0] != 0:
            raise Failure(f"streams came up: {moved}")
    load.finish()
    packets = load.received()
    load = Load(options, net, directory, 20, 60, name="killed").all_up()
    time.sleep(looks.SETTLE_SECONDS)
    after = looks.killed_after(net, directory, appliance, looks.SLACK_SECONDS)
    load.abandon()
    looks.nothing_left()
    return (f"{options.many_calls} calls, {packets} packets verified, none lost; {100 * share:.3f} % by XDP; "
            f"pauses of {', '.join(f'{pause:.0f}' for pause in pauses)} ms; the last packet {after:.2f} s after the kill")


def take_over_pinned(options, net, directory):
    """With pinned links: they change their process, end with the last, and after its death by their deadlines."""
    pin, dead_man = pins(), 3
    appliance = Appliance(options, net, directory, pin=pin, dead_man=f"{dead_man}s").up()
    load = Load(options, net, directory, options.calls, 8).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    appliance.take_over()
    looks.mostly_below(appliance)
    if sorted(os.listdir(pin)) != sorted(DEVICES.values()):
        raise Failure(f"pinned after the take-over: {os.listdir(pin)}")
    elsewhere = pins("-2")
    appliance.configure(pin=elsewhere, dead_man=f"{dead_man}s")
    appliance.take_over()
    looks.mostly_below(appliance)
    if os.listdir(pin) or sorted(os.listdir(elsewhere)) != sorted(DEVICES.values()):
        raise Failure(f"pinned after the folder has changed: {os.listdir(pin)}, {os.listdir(elsewhere)}")
    load.finish()
    packets = load.received()
    load = Load(options, net, directory, 20, 60, name="killed").all_up()
    time.sleep(looks.SETTLE_SECONDS)
    after = looks.killed_after(net, directory, appliance, dead_man + looks.SLACK_SECONDS)
    load.abandon()
    again = Appliance(options, net, directory, name="again", pin=elsewhere).up()
    again.take_over()
    again.stop()
    looks.nothing_left(elsewhere)
    return f"{packets} packets verified, none lost; the last packet {after:.2f} s after the kill (dead-man time {dead_man} s)"


def take_over_fails(options, net, directory):
    """A new process that is gone after the freeze: the old one goes on, and media never leaves the kernel."""
    appliance = Appliance(options, net, directory).up()
    load = Load(options, net, directory, options.calls, 10).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    up = "strowger_fast_path_up_total"
    pauses = [appliance.broken_take_over("adopt", last) for last in (None, {"error": "no"})]
    stayed = appliance.metric(up)
    share = looks.mostly_below(appliance)
    pauses += [appliance.broken_take_over(wish, None) for wish in ("replace", "end")]
    raised = appliance.metric(up)
    time.sleep(looks.SETTLE_SECONDS)
    looks.mostly_below(appliance)
    load.finish()
    appliance.stop()
    looks.nothing_left()
    if stayed != 0 or raised < 2 * options.calls:
        raise Failure(f"{stayed:.0f} directions came up where rules stay, {raised:.0f} where they do not")
    return f"{load.fate()}; {100 * share:.3f} % by XDP; pauses of {', '.join(f'{pause:.0f}' for pause in pauses)} ms"


def take_over_program(options, net, directory):
    """Another program in the new process: links get it in place of the old one, and nothing is lost."""
    other = os.path.join(directory, "strowger-other")
    with open(options.binary, "rb") as file:
        image = file.read()
    # The object's licence: another object to a hash, the same to the kernel.
    if b"Dual MIT/GPL\0" not in image:
        raise Failure("the program's licence is not in the binary")
    with open(other, "wb") as file:
        file.write(image.replace(b"Dual MIT/GPL\0", b"Dual BSD/GPL\0"))
    os.chmod(other, 0o755)
    pin = pins()
    appliance = Appliance(options, net, directory, binary=other, pin=pin).up()
    load = Load(options, net, directory, options.calls, 10).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    appliance.configure(fast_path="auto")
    appliance.take_over()
    if "another program" not in appliance.process.output():
        raise Failure(f"the new process does not say that its program is another: {appliance.process.output()[-800:]}")
    time.sleep(looks.SETTLE_SECONDS)
    share = looks.mostly_below(appliance)
    if os.listdir(pin) or {attached(device) for device in DEVICES.values()} != {net.mode}:
        raise Failure(f"pinned {os.listdir(pin)}, attached {[attached(device) for device in DEVICES.values()]}")
    appliance.configure()
    appliance.take_over(other)
    time.sleep(looks.SETTLE_SECONDS)
    looks.mostly_below(appliance)
    load.finish()
    appliance.stop()
    looks.nothing_left(pin)
    return f"{load.fate()}; {100 * share:.3f} % by XDP once settled"


def take_over_signal(options, net, directory):
    """An ordinary user's process with the unit's capabilities upgrades itself in place, and the next one has them, too."""
    binary, user = os.path.join(directory, "strowger"), 65_534
    shutil.copy(options.binary, binary)
    os.makedirs(os.path.join(directory, "service"))
    for path in (os.path.dirname(directory), directory):
        os.chmod(path, 0o755)
    os.chown(os.path.join(directory, "service"), user, user)
    capabilities = "+bpf,+net_admin,+perfmon"
    prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", f"--inh-caps={capabilities}",
              f"--ambient-caps={capabilities}"]
    appliance = Appliance(options, net, directory, name="service", prefix=prefix, binary=binary).up()
    load = Load(options, net, directory, options.calls, 10).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    next_one = appliance.upgrade()
    try:
        until(lambda: "taken over from the process before" in appliance.process.output(), 10, "the new process to say so")
        share = looks.mostly_below(appliance)
        log = appliance.process.output()
        load.finish()
    finally:
        os.kill(next_one, signal.SIGTERM)
    until(lambda: not any(attached(device) for device in DEVICES.values()), 10, "the new process to end")
    if "CAP_NET_ADMIN" in log or "level=warn" in log:
        raise Failure(f"the new process lacks something: {log[-1200:]}")
    return f"{load.fate()}; {100 * share:.3f} % by XDP"


def take_over_settings(options, net, directory):
    """The fast path is switched on, then off, by the configuration of the new process; other devices are refused."""
    appliance = Appliance(options, net, directory, fast_path="off").up()
    load = Load(options, net, directory, options.calls, 10).all_up()
    appliance.configure(fast_path="xdp")
    appliance.take_over()
    time.sleep(looks.SETTLE_SECONDS)
    share = looks.mostly_below(appliance)
    appliance.configure(devices=[DEVICES["caller"], DEVICES["callee"]])
    argv = [options.binary, "run", "--take-over", "--config", appliance.config]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=appliance.directory)
    if done.returncode != 1 or "the new one would on dA, dB" not in done.stderr or not appliance.process.running():
        raise Failure(f"other devices: status {done.returncode}: {done.stderr[-500:]}")
    appliance.configure(fast_path="off")
    appliance.take_over()
    looks.nothing_left()
    load.finish()
    appliance.stop()
    return f"{load.fate()}; {100 * share:.3f} % by XDP while it was on"


ALL = [take_over, take_over_pinned, take_over_fails, take_over_program, take_over_signal, take_over_settings]
