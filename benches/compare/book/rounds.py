"""A/B/B/A, the first round thrown away, the median ratio of the sound ones; the raw rounds are kept."""

import json
import os
import statistics
import time

from harness.process import Failure

from . import machine

SOUND_MIN = 3


def compare(name, options, ours, theirs, unit, sides=("ours", "theirs")):
    """Runs `ours()` and `theirs()`, each of which returns {"cost": per unit, "void": reason or None, ...}, and returns
    the line `ratio NAME FIGURE MIN MAX`. `sides` is what people are told they are."""
    before = machine.fingerprint()
    rounds, ratios = [], []
    for number in range(options.rounds):
        runs = [("ours", ours()), ("theirs", theirs()), ("theirs", theirs()), ("ours", ours())]
        void = next((run["void"] for _, run in runs if run["void"]), None)
        cost = {side: statistics.mean(run["cost"] for at, run in runs if at == side) for side in ("ours", "theirs")}
        note = f"void: {void}" if void else "thrown away" if number == 0 else ""
        print(f"round {number}: {sides[0]} {cost['ours']:.3f} {unit}, {sides[1]} {cost['theirs']:.3f} {unit} {note}", flush=True)
        rounds.append({"runs": runs, "void": void, "warm_up": number == 0})
        if not note:
            ratio = cost["ours"] / cost["theirs"]
            ratios.append(1 / ratio if name.endswith("_speedup") else ratio)
    keep(name, options, {"unit": unit, "ratios": ratios, "rounds": rounds, "machine": before})
    if len(ratios) < min(SOUND_MIN, options.rounds - 1):
        raise Failure(f"{len(ratios)} of {options.rounds} rounds were sound; is the machine busy with something else?")
    return f"ratio {name} {statistics.median(ratios):.3f} {min(ratios):.3f} {max(ratios):.3f}"


def keep(name, options, found):
    """Writes what a figure was made from."""
    found = {"name": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **found}
    with open(os.path.join(options.out, f"{name}.json"), "w") as file:
        json.dump(found, file, indent=1)
        file.write("\n")


def window(pids, seconds):
    """Processor time and real time of a window, and what the kernel dropped meanwhile."""
    drops, begin, cpu = machine.udp_drops(), time.monotonic(), machine.cpu_seconds(pids)
    time.sleep(seconds)
    spent, real = machine.cpu_seconds(pids) - cpu, time.monotonic() - begin
    return spent, real, machine.udp_drops() - drops
