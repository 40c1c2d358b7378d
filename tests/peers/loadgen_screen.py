#!/usr/bin/env python3
"""The live screen in a real terminal (a pty): keys, what is left behind however it ends, and when there is no screen at all.

    tests/peers/loadgen_screen.py target/release/strowger-loadgen
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
LONGEST = 30.0
PORT_FIRST = 15900
ROWS, COLUMNS = 24, 80


def attributes(look, words):
    """Attributes after a change of them (SGR): "bold", "reversed", and the colour's number of the terminal's sixteen."""
    look, codes = set(look), [int(word or 0) for word in words.split(";")]
    while codes:
        code = codes.pop(0)
        if code == 0:
            look = set()
        elif code in (1, 7):
            look.add({1: "bold", 7: "reversed"}[code])
        elif code in (22, 27):
            look.discard({22: "bold", 27: "reversed"}[code])
        elif code in (38, 39):
            look = {each for each in look if isinstance(each, str)}
            if code == 38 and codes[:1] == [5]:
                look.add(codes[1])
                codes = codes[2:]
    return tuple(sorted(look, key=str))


class Terminal:
    """A program in a terminal of its own, 80 by 24."""

    def __init__(self, argv, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.slave, self.before = slave, termios.tcgetattr(slave)
        self.output = b""

        def own_terminal():
            os.setsid()
            # A runner under nohup ignores it, and so would the program.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal,
                                      env={**os.environ, "TERM": "xterm-256color", **environment})

    def read(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:
                    return

    def cells(self):
        """What stands on the screen by row and column, each letter with its attributes: text put where the cursor was sent."""
        cells, row, column, look = {}, 0, 0, ()
        drawn = self.output.rsplit(ENTER, 1)[-1].decode(errors="replace")
        for words, ending, letter in re.findall(r"\x1b\[([?0-9;]*)([A-Za-z])|([^\x1b])", drawn):
            if ending == "H":
                row, column = (int(word) for word in (words or "1;1").split(";"))
            elif ending == "J":
                cells = {}
            elif ending == "m":
                look = attributes(look, words)
            elif letter:
                cells[row, column] = letter, look
                column += 1
        return cells

    def screen(self):
        """The same as lines of text."""
        cells = self.cells()
        return "\n".join("".join(cells.get((row, column), " ")[0] for column in range(1, COLUMNS + 1)) for row in range(1, ROWS + 1))

    def wait_for(self, words):
        """Reads until `words` stand on the screen."""
        until = time.monotonic() + LONGEST
        while words not in self.screen():
            if time.monotonic() > until or self.child.poll() is not None:
                raise AssertionError(f"{words!r} did not come:\n{self.screen()}\n{self.output[-400:]}")
            self.read(0.1)

    def press(self, keys):
        os.write(self.master, keys)

    def end(self):
        """Waits for the end: exit code, and what was written after the screen was left."""
        until = time.monotonic() + LONGEST
        while self.child.poll() is None:
            self.read(0.1)
            if time.monotonic() > until:
                self.child.kill()
                raise AssertionError(f"it did not end: {self.output[-600:]}")
        self.read(0.3)
        after = termios.tcgetattr(self.slave)
        assert after == self.before, "the terminal's modes are not those of before"
        assert self.output.count(ENTER) == self.output.count(LEAVE), "the screen was not left"
        os.close(self.master)
        os.close(self.slave)
        return self.child.returncode, self.output.rsplit(LEAVE, 1)[-1].decode(errors="replace")


def calls(binary, case, *more):
    to = f"127.0.0.1:{PORT_FIRST + case}"
    return [binary, "calls", "--target", to, "--uas-listen", to, "--rtp", "off", "--hold", "200ms", "--late-max", "30s", "--rate", "20",
            "--concurrent", "500", *(more if "--calls" in more else ("--duration", "60s", *more))]


def keys_change_the_rate(binary, directory):
    report = os.path.join(directory, "keys.json")
    terminal = Terminal(calls(binary, 0, "--json", report, "--rate-scale", "2"))
    terminal.wait_for("overview")
    terminal.wait_for("00:01")
    terminal.press(b"*")
    terminal.wait_for("asked for 40/s")
    terminal.read(1.5)
    terminal.press(b"p")
    terminal.wait_for("PAUSED")
    terminal.read(1.2)
    terminal.press(b"p")
    terminal.press(b"2")
    terminal.wait_for("late_start")
    terminal.press(b"1")
    terminal.press(b"-")
    terminal.wait_for("asked for 38/s")
    terminal.press(b"q")
    code, after = terminal.end()
    assert code == 0 and "calls: ok" in after and "changed by hand 4 times, to 38/s" in after, (code, after)
    with open(report) as file:
        found = json.load(file)
    rates = [change["rate"] for change in found["rate_changes"]]
    assert rates == [40, 0, 40, 38] and all(change["by"] == "hand" for change in found["rate_changes"]), rates
    begun, at, rate = 0.0, 0.0, 20.0
    for change in found["rate_changes"] + [{"at_s": found["series"][-1]["to_s"], "rate": 0}]:
        begun, at, rate = begun + rate * (change["at_s"] - at), change["at_s"], change["rate"]
    counted = found["counters"]["calls_attempted"] + found["counters"]["calls_skipped"]
    # The last stretch ended with the key, some tenths of a second before the run did.
    assert begun - 30 <= counted <= begun + 2, f"{counted} arrivals where the schedule has {begun}"


def every_end_gives_the_terminal_back(binary, _):
    for case, act, wanted in [
        (1, lambda terminal: terminal.press(b"Q"), {0, 1}),
        (2, lambda terminal: terminal.press(b"\x03"), {0}),
        (3, lambda terminal: terminal.child.send_signal(signal.SIGTERM), {0, 1}),
        (4, lambda terminal: terminal.child.send_signal(signal.SIGINT), {0}),
    ]:
        terminal = Terminal(calls(binary, case))
        terminal.wait_for("00:01")
        act(terminal)
        code, after = terminal.end()
        assert code in wanted and "calls:" in after, (case, code, after)
    terminal = Terminal(calls(binary, 11))
    terminal.wait_for("00:01")
    os.close(terminal.master)  # the terminal hangs up
    assert terminal.child.wait(LONGEST) in (0, 1)
    terminal = Terminal([binary, "calls", "--uac", "--rtp", "off", "--target", f"127.0.0.1:{PORT_FIRST + 5}"])
    code, after = terminal.end()
    assert code == 1 and "nothing listens there" in after, (code, after)


def no_screen_where_none_is_wanted(binary, _):
    short = ("--calls", "5")
    for case, more, environment in [(6, ("--screen", "off"), {}), (7, ("--quiet",), {}), (8, (), {"TERM": "dumb"})]:
        terminal = Terminal(calls(binary, case, *short, *more), **environment)
        code, after = terminal.end()
        assert code == 0 and ENTER not in terminal.output and "calls: ok" in after, (more, code, after)
    coloured = re.compile(rb"\x1b\[[0-9;]*38;5;")
    for case, environment, wanted in [(9, {"NO_COLOR": "1"}, False), (10, {}, True)]:
        terminal = Terminal(calls(binary, case, "--calls", "30"), **environment)
        code, _ = terminal.end()
        assert code == 0 and bool(coloured.search(terminal.output)) == wanted, (environment, code)


def main():
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/strowger-loadgen")
    with tempfile.TemporaryDirectory() as directory:
        for case in (keys_change_the_rate, every_end_gives_the_terminal_back, no_screen_where_none_is_wanted):
            case(binary, directory)
            print(f"ok {case.__name__.replace('_', ' ')}", flush=True)


if __name__ == "__main__":
    main()
