"""Results that are kept: one file a figure under docs/benchmarks/DATE-MACHINE/, with its raw rounds, the machine's fingerprint,
the commit and the command; and docs/benchmarks/README.md, a page made of these files alone."""

import json
import os
import re
import shlex
import subprocess

from harness.process import Failure

# Raw rounds are small; what is larger was not meant to be kept in a repository.
BYTES_MAX = 256 * 1024
CLAUSE = re.compile(r"^(<=|>=)\s*([0-9][0-9.,]*)(?:\s+(\w+))?$")
HEAD = """# Kept results

Made by `benches/compare/run --page` from the files in the folders beside this page; written by `benches/compare/run --keep NAME`.
Do not edit it. [What each compares, by which method, and what to attack](../benchmarks.md). Smaller is better, unless a name ends
in `_speedup`. A figure is a ratio within one run on one machine: the median of its rounds, and the lowest and the highest of them.
"""


def folder(options, found):
    """Where results of this machine and day go."""
    machine = found["machine"]
    words = re.sub(r"\((r|tm)\)|@.*|\b(cpu|processor)\b", " ", machine["processor"].lower())
    slug = "-".join(re.findall(r"[a-z0-9.]+", words)) or "unknown"
    return os.path.join(options.shelf, f"{found['at'][:10]}-{slug}-{machine['cores']}-cores")


def commit(root):
    """The commit measured; `+` where the tree has changes besides kept results."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, text=True, capture_output=True, check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/benchmarks")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")


def keep(options, entry, lines, argv):
    """Puts the figures of these `ratio` lines on the shelf, each with the raw rounds that the run has just written."""
    for line in lines:
        _, name, figure, least, most = line.split()
        with open(os.path.join(options.out, f"{name}.json")) as file:
            found = json.load(file)
        found.update(figure=float(figure), min=float(least), max=float(most), goal=entry.goal, what=entry.what,
                     commit=commit(options.root), command=command(argv))
        text = json.dumps(found, separators=(",", ":")) + "\n"
        if len(text) > BYTES_MAX:
            raise Failure(f"{name}: its raw rounds take {len(text)} octets, more than {BYTES_MAX}; not kept")
        place = folder(options, found)
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, f"{name}.json"), "w") as file:
            file.write(text)
        print(f"kept: {os.path.relpath(os.path.join(place, name), options.root)}.json", flush=True)


def command(argv):
    """What to type to measure it again; where it was kept is no part of that."""
    return shlex.join(["benches/compare/run", *(word for word in argv if word != "--keep")])


def clause_of(name, goal):
    """The part of a goal that judges this name, as sign and bound; None where it says nothing about it."""
    clauses = [CLAUSE.match(clause.strip()) for clause in re.split(r",\s+", goal)]
    clauses = [clause.groups() for clause in clauses if clause]
    named = [clause for clause in clauses if clause[2] and f"_{name}".endswith(f"_{clause[2]}")]
    for sign, bound, _ in named or [clause for clause in clauses if not clause[2]]:
        return sign, bound
    return None


def meets(name, goal, figure):
    """Whether a figure meets its goal; None where the goal says nothing about that name."""
    clause = clause_of(name, goal)
    if clause is None:
        return None
    bound = float(clause[1].replace(",", ""))
    return figure <= bound if clause[0] == "<=" else figure >= bound


def number(value):
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:.0f}"


def row(found):
    met = {True: "yes", False: "**no**", None: ""}[meets(found["name"], found["goal"], found["figure"])]
    cells = [f"[`{found['name']}`]({found['file']})", number(found["figure"]), f"{number(found['min'])}–{number(found['max'])}",
             " ".join(clause_of(found["name"], found["goal"]) or ("none",)), met, f"`{found['commit']}`", f"`{found['command']}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def read(shelf):
    """All kept results, by folder, newest folder first."""
    out = {}
    for place in sorted(os.listdir(shelf), reverse=True):
        if not os.path.isdir(os.path.join(shelf, place)):
            continue
        for file_name in sorted(os.listdir(os.path.join(shelf, place))):
            if file_name.endswith(".json"):
                path = os.path.join(shelf, place, file_name)
                try:
                    with open(path) as file:
                        found = json.load(file)
                    found["file"] = f"{place}/{file_name}"
                    found["name"], found["figure"], found["machine"]["getppid_ns"]
                except (ValueError, KeyError, TypeError) as error:
                    raise Failure(f"{path}: no kept result ({error!r}); measure it again with --keep") from error
                out.setdefault(place, []).append(found)
    return out


def _together(all_found):
    """What two cores cost each other: results of before it was measured do not say it."""
    said = [found["machine"]["side_by_side"] for found in all_found if found["machine"].get("side_by_side")]
    if not said:
        return ""
    lowest, highest = (f"{100 * each:.0f}" for each in (min(said), max(said)))
    return f"; two cores that are both busy run at {lowest if lowest == highest else f'{lowest}–{highest}'} % of their speed alone"


def page(shelf):
    """The page of all kept results."""
    lines = [HEAD]
    results = read(shelf)
    if not results:
        lines.append("Nothing is kept yet.\n")
    for place, all_found in results.items():
        machine = all_found[0]["machine"]
        lines += [
            f"## {place}", "",
            f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}; "
            f"`getppid()` takes {min(found['machine']['getppid_ns'] for found in all_found):.0f} ns{_together(all_found)}.", "",
            "| name | figure | lowest–highest | goal | met | commit | command |", "|---|---:|---:|---|---|---|---|",
            *map(row, all_found), "",
        ]
    return "\n".join(lines).rstrip("\n") + "\n"
