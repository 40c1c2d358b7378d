"""Comparisons that are benches of the crate: both sides in one process, the `ratio` lines printed by the bench."""

import subprocess

from harness.process import Failure

from . import machine, rounds

_printed = {}


def measure(options, name, bench, *arguments):
    """The line `ratio NAME …` of `cargo bench --bench BENCH`; one run serves all names that it prints."""
    cargo = ["cargo", "bench", "--quiet", "--bench", bench]
    return _line(options, name, bench, [*cargo, "--no-run"], [*cargo, "--", *arguments])


def measure_apart(options, name):
    """The same of `benches/peers`, which is no member of the workspace."""
    package = ["--quiet", "--release", "--manifest-path", "benches/peers/Cargo.toml", "--target-dir", "target/peers"]
    return _line(options, name, "peers", ["cargo", "build", *package], ["cargo", "run", *package])


def _line(options, name, bench, build, command):
    if bench not in _printed:
        machine.need("cargo", "cargo")
        _run(options, build)
        before, steal = machine.fingerprint(), machine.Steal()
        output = _run(options, command)
        stolen = steal.percent()
        print(output, end="", flush=True)
        if stolen > rounds.STEAL_MIN:
            print(f"({rounds.theft(stolen)})", flush=True)
        _printed[bench] = {"output": output.splitlines(), "steal_percent": round(stolen, 2), "machine": before}
    found = _printed[bench]
    lines = [line for line in found["output"] if line.split()[:2] == ["ratio", name]]
    rounds.keep(name, options, found)
    if not lines:
        raise Failure(f"bench {bench} printed no `ratio {name}`")
    return lines


def _run(options, command):
    ran = subprocess.run(command, cwd=options.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ran.returncode != 0:
        raise Failure(f"`{' '.join(command)}` ended with {ran.returncode}: {ran.stdout[-500:]}")
    return ran.stdout
