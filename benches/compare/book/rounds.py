"""A/B/B/A, the first round thrown away, the median ratio of the sound ones; the raw rounds are kept."""

import json
import os
import statistics
import tempfile
import time

from harness.process import Failure

from . import machine

SOUND_MIN = 3
# What a hypervisor may take without being named, in percent.
STEAL_MIN = 2.0


def compare(name, options, ours, theirs, unit, sides=("ours", "theirs"), also=None):
    """Runs `ours()` and `theirs()`, each of which returns {"cost": per unit, "void": reason or None, ...}, and returns
    the lines `ratio NAME FIGURE MIN MAX`: of `cost`, and for each NAME: KEY in `also`, of what the runs have under KEY.
    `sides` is what people are told they are."""
    before = machine.fingerprint()
    keys = {name: "cost", **(also or {})}
    rounds, ratios, worst = [], {each: [] for each in keys}, 0.0
    for number in range(options.rounds):
        steal = machine.Steal()
        runs = [("ours", ours()), ("theirs", theirs()), ("theirs", theirs()), ("ours", ours())]
        stolen = steal.percent()
        worst = max(worst, stolen)
        void = next((run["void"] for _, run in runs if run["void"]), None)
        note = f"void: {void}" if void else "thrown away" if number == 0 else ""
        if stolen > STEAL_MIN:
            note += f" ({theft(stolen)})"
        for each, key in keys.items():
            ours_mean, theirs_mean = (statistics.mean(run[key] for at, run in runs if at == side) for side in ("ours", "theirs"))
            print(f"round {number}: {key} of {sides[0]} {ours_mean:.3f} {unit}, {sides[1]} {theirs_mean:.3f} {unit} {note}", flush=True)
            if not void and number > 0:
                ratio = ours_mean / theirs_mean
                ratios[each].append(1 / ratio if each.endswith("_speedup") else ratio)
        rounds.append({"runs": runs, "void": void, "warm_up": number == 0, "steal_percent": round(stolen, 2)})
    for each, key in keys.items():
        keep(each, options, {"unit": unit, "key": key, "ratios": ratios[each], "rounds": rounds, "machine": before})
    sound = len(ratios[name])
    if sound < min(SOUND_MIN, options.rounds - 1):
        why = f"{theft(worst)}: try when its host is quieter" if worst > STEAL_MIN else "is the machine busy with something else?"
        raise Failure(f"{sound} of {options.rounds} rounds were sound; {why}")
    return [f"ratio {each} {statistics.median(found):.3f} {min(found):.3f} {max(found):.3f}" for each, found in ratios.items()]


def theft(percent):
    """In words."""
    return f"the hypervisor took {percent:.0f} % of the processor time"


def keep(name, options, found):
    """Writes what a figure was made from."""
    found = {"name": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **found}
    with open(os.path.join(options.out, f"{name}.json"), "w") as file:
        json.dump(found, file, indent=1)
        file.write("\n")


def inside(measure):
    """Runs `measure(directory)` with a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="compare-", ignore_cleanup_errors=True) as directory:
        return measure(directory)


def window(pids, seconds):
    """Processor time and real time of a window, and what the kernel dropped meanwhile."""
    drops, begin, cpu = machine.udp_drops(), time.monotonic(), machine.cpu_seconds(pids)
    time.sleep(seconds)
    spent, real = machine.cpu_seconds(pids) - cpu, time.monotonic() - begin
    return spent, real, machine.udp_drops() - drops
