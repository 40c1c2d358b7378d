"""Calls between two parties: does every packet arrive, and which way did it go?"""

import time

from harness.process import Failure

from . import looks
from .appliance import Appliance
from .load import Load
from .network import DEVICES, attached

# How often the process may wake where nothing but media in the kernel goes on: two sweeps a second, the supervisor's rounds, and
# the kernel's news of neighbours.
WAKES_MAX = 20


def relayed(options, net, directory, family, below=True, devices=None, meanwhile=lambda: None):
    """Fails unless every packet arrives and, once settled, all of them (`below`) or none went by the kernel; either way will do where
    that is None. `meanwhile` is called then."""
    appliance = Appliance(options, net, directory, family, devices=devices).up()
    modes = {device: attached(device) for device in devices or DEVICES.values()}
    if set(modes.values()) != {net.mode}:
        raise Failure(f"the program is not {net.mode} on every device: {modes}")
    before = {party: net.bad_checksums(party) for party in ("caller", "callee")}
    load = Load(options, net, directory, options.calls, options.seconds, family).all_up()
    time.sleep(looks.SETTLE_SECONDS)
    share, total = looks.share(appliance, 3.0)
    wakes = looks.wakes(appliance, 3.0)
    meanwhile()
    load.finish()
    bad = {party: net.bad_checksums(party) - before[party] for party in before}
    appliance.stop()
    left = {device: attached(device) for device in DEVICES.values() if attached(device)}
    if below and share <= 0.999:
        raise Failure(f"{100 * share:.3f} % of {total:.0f} packets by XDP once settled, more than 99.9 % wanted")
    if below is False and share > 0:
        raise Failure(f"{100 * share:.3f} % of {total:.0f} packets by XDP, none wanted")
    if any(bad.values()):
        raise Failure(f"datagrams with a wrong UDP checksum: {bad}")
    if left:
        raise Failure(f"programs are still attached after the end: {left}")
    if below and sum(wakes.values()) > WAKES_MAX:
        raise Failure(f"the process woke {sum(wakes.values()):.1f} times a second, at most {WAKES_MAX} wanted: {wakes}")
    return (f"{options.calls} calls, {load.fate()}; {100 * share:.3f} % by XDP ({net.mode}) once settled; "
            f"{sum(wakes.values()):.1f} wake-ups a second")
