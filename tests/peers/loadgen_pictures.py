#!/usr/bin/env python3
"""The pictures of docs/loadgen.md, from one real run of the load generator against itself: its screen, and the top of its page.

    tests/peers/loadgen_pictures.py target/release/strowger-loadgen

Writes docs/loadgen-screen.svg and docs/loadgen-report.png. The page is drawn by Chromium (Debian: chromium), which fetches nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from xml.sax.saxutils import escape

import loadgen_screen
from loadgen_screen import COLUMNS, ROWS, Terminal

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "docs")
TARGET = "127.0.0.1:5070"
RUN = ["calls", "--target", TARGET, "--uas-listen", TARGET, "--rate", "40", "--rate-scale", "20", "--hold", "2s", "--duration", "45s",
       "--concurrent", "300", "--assert", "srd_p99<20ms"]
# Seconds until the rate is raised by hand, and until the picture is taken.
RAISED, TAKEN = "00:20", "00:37"
WIDTH, HEIGHT = 8.4, 17
LEFT, TOP = 10, 8
INK, SOFT, PAPER, BAR = "#e6e9ed", "#8b96a2", "#14181c", "#d5dae0"
COLOURS = {1: "#ff8a92", 2: "#5fd08a", 3: "#e8b44c", 6: "#56c8d8", 8: SOFT, 9: "#ff8a92", 10: "#5fd08a", 11: "#e8b44c", 14: "#56c8d8"}
BLOCKS = " ▁▂▃▄▅▆▇█"
PAGE = (1000, 1200)


def runs(cells, row):
    """The words of a row that look alike: where they begin, their text, their attributes."""
    found = []
    for column in range(1, COLUMNS + 1):
        letter, look = cells.get((row, column), (" ", ()))
        if found and found[-1][2] == look and (letter != " " or found[-1][1][-1] != " "):
            found[-1][1] += letter
        else:
            found.append([column, letter, look])
    return [(column, text, look) for column, text, look in found if text.strip() or "reversed" in look]


def drawn(row, column, text, look):
    """One such run as SVG."""
    x, y = LEFT + (column - 1) * WIDTH, TOP + (row - 1) * HEIGHT
    colour = next((COLOURS.get(each, INK) for each in look if isinstance(each, int)), INK)
    out = ""
    if "reversed" in look:
        out += f'<rect x="{x:.1f}" y="{y}" width="{len(text) * WIDTH:.1f}" height="{HEIGHT}" fill="{BAR}"/>'
        colour = PAPER
    if set(text.strip()) and set(text) <= set(BLOCKS):
        bars = [(x + at * WIDTH, BLOCKS.index(letter) / 8 * HEIGHT) for at, letter in enumerate(text) if letter != " "]
        path = "".join(f"M{at:.1f} {y + HEIGHT - high:.1f}h{WIDTH}v{high:.1f}h-{WIDTH}z" for at, high in bars)
        return out + f'<path d="{path}" fill="{colour}"/>'
    kept = text.strip()
    if not kept:
        return out
    x += (len(text) - len(text.lstrip())) * WIDTH
    bold = ' font-weight="bold"' if "bold" in look else ""
    fill = "" if colour == INK else f' fill="{colour}"'
    return out + f'<text x="{x:.1f}" y="{y + 13}" textLength="{len(kept) * WIDTH:.1f}"{bold}{fill}>{escape(kept)}</text>'


def svg(cells):
    """The screen."""
    width, height = round(2 * LEFT + COLUMNS * WIDTH), 2 * TOP + ROWS * HEIGHT
    lines = [drawn(row, *run) for row in range(1, ROWS + 1) for run in runs(cells, row)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
            f'<title>The live screen of strowger-loadgen</title><rect width="{width}" height="{height}" rx="6" fill="{PAPER}"/>'
            f'<g font-family="ui-monospace, Menlo, Consolas, \'Liberation Mono\', monospace" font-size="14" fill="{INK}">\n'
            + "\n".join(line for line in lines if line) + "\n</g></svg>\n")


def main():
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/strowger-loadgen")
    chromium = shutil.which("chromium") or sys.exit("the page cannot be drawn without Chromium: apt-get install chromium")
    loadgen_screen.LONGEST = 90.0
    with tempfile.TemporaryDirectory() as directory:
        page = os.path.join(directory, "page.html")
        terminal = Terminal([binary, *RUN, "--html", page])
        terminal.wait_for(RAISED)
        terminal.press(b"+")
        terminal.wait_for(TAKEN)
        picture = svg(terminal.cells())
        code, after = terminal.end()
        if code != 0:
            sys.exit(f"the run ended with {code}; no picture was changed\n{after}")
        with open(os.path.join(DOCS, "loadgen-screen.svg"), "w") as file:
            file.write(picture)
        shot = os.path.join(directory, "page.png")
        subprocess.run([chromium, "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={directory}/chromium",
                        f"--window-size={PAGE[0]},{PAGE[1]}", f"--screenshot={shot}", f"file://{page}"],
                       check=True, capture_output=True, timeout=120)
        shutil.copyfile(shot, os.path.join(DOCS, "loadgen-report.png"))
        print("docs/loadgen-screen.svg and docs/loadgen-report.png are those of this run")


if __name__ == "__main__":
    main()
