"""Comparisons that are benches of the crate: both sides in one process, the `ratio` lines printed by the bench."""

import subprocess

from harness.process import Failure

from . import machine, rounds

_printed = {}


def measure(options, name, bench, *arguments):
    """The line `ratio NAME …` of `cargo bench --bench BENCH`; one run serves all names that it prints."""
    return _line(options, name, bench, ["cargo", "bench", "--quiet", "--bench", bench, "--", *arguments])


def measure_apart(options, name):
    """The same of `benches/peers`, which is no member of the workspace."""
    manifest, target = "benches/peers/Cargo.toml", "target/peers"
    return _line(options, name, "peers", ["cargo", "run", "--quiet", "--release", "--manifest-path", manifest, "--target-dir", target])


def _line(options, name, bench, command):
    if bench not in _printed:
        machine.need("cargo", "cargo")
        ran = subprocess.run(command, cwd=options.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if ran.returncode != 0:
            raise Failure(f"`{' '.join(command)}` ended with {ran.returncode}: {ran.stdout[-500:]}")
        print(ran.stdout, end="", flush=True)
        _printed[bench] = ran.stdout
    lines = [line for line in _printed[bench].splitlines() if line.split()[:2] == ["ratio", name]]
    rounds.keep(name, options, {"output": _printed[bench].splitlines(), "machine": machine.fingerprint()})
    if not lines:
        raise Failure(f"bench {bench} printed no `ratio {name}`")
    return lines
