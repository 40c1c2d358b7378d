"""Something to say, and a way to tell whether it was heard: 8 kHz mono, standard library only.

A voice is band-limited noise in bursts, different for each seed: its envelope finds the delay coarsely, its wave form
finds it to the sample, and two voices do not resemble each other.
"""

import array
import functools
import math
import operator
import random
import struct
import wave

RATE = 8000
ENVELOPE_STEP = 40
SEGMENT = 3200
SEARCH = 200
ALIKE = 0.75


def speak(path, seed, seconds):
    """Writes a voice into a WAV file and returns its samples."""
    out = _voice(seed, seconds)
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(out.tobytes())
    return out


@functools.lru_cache(maxsize=4)
def _voice(seed, seconds):
    dice = random.Random(seed)
    out = array.array("h")
    low = slow = 0.0
    while len(out) < seconds * RATE:
        loud = dice.choice((0.0, 0.5, 0.8, 1.0, 1.0))
        burst = dice.randrange(600, 2400)
        for at in range(burst):
            noise = dice.uniform(-1, 1)
            low += 0.55 * (noise - low)
            slow += 0.12 * (low - slow)
            shape = min(1.0, at / 80, (burst - at) / 80)
            out.append(int(12_000 * loud * shape * (low - slow)))
    return out[: int(seconds * RATE)]


def hear(path):
    """The samples of a 16 bit recording as 8 kHz mono, also while it is being written; none when there is no such file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return array.array("h")
    form, body = data.find(b"fmt "), data.find(b"data")
    if not data.startswith(b"RIFF") or form < 0 or body < 0 or len(data) < body + 8:
        return array.array("h")
    channels, rate = struct.unpack_from("<HI", data, form + 10)
    samples = array.array("h", data[body + 8 : body + 8 + (len(data) - body - 8) // 2 * 2])[::channels]
    if rate == RATE:
        return samples
    ratio = rate / RATE
    return array.array("h", (samples[int(at * ratio)] for at in range(int(len(samples) / ratio))))


def _dot(a, b):
    return sum(map(operator.mul, a, b))


def _envelope(samples):
    levels = [math.sqrt(sum(abs(s) for s in samples[at : at + ENVELOPE_STEP])) for at in range(0, len(samples), ENVELOPE_STEP)]
    mean = sum(levels) / max(1, len(levels))
    return [level - mean for level in levels]


def _coarse_lag(sent, heard):
    """How many samples later than in `sent` things stand in `heard`, to `ENVELOPE_STEP`."""
    a, b = _envelope(sent), _envelope(heard)
    overlap_min = min(len(a), len(b), RATE // ENVELOPE_STEP)
    best = (0.0, 0)
    for lag in range(overlap_min - len(a), len(b) - overlap_min + 1):
        x = a[max(0, -lag) : len(b) - lag]
        y = b[max(0, lag) : max(0, lag) + len(x)]
        best = max(best, (_dot(x, y), lag))
    return best[1] * ENVELOPE_STEP


def _alike(a, b):
    return _dot(a, b) / math.sqrt((_dot(a, a) or 1) * (_dot(b, b) or 1))


def compare(sent, heard):
    """(share of what was heard that is what was sent, seconds of it). Silence in `heard` counts for neither."""
    lag = _coarse_lag(sent, heard)
    loud_min = 100 * 100 * SEGMENT
    matched = spoken = 0
    for at in range(0, len(heard) - SEGMENT + 1, SEGMENT):
        piece = heard[at : at + SEGMENT]
        if _dot(piece, piece) < loud_min:
            continue
        spoken += 1
        best = (0.0, lag)
        for near in sorted(range(lag - SEARCH, lag + SEARCH + 1), key=lambda near: abs(near - lag)):
            if 0 <= at - near <= len(sent) - SEGMENT:
                best = max(best, (_alike(sent[at - near : at - near + SEGMENT], piece), near))
                if best[0] > 0.97:
                    break
        if best[0] >= ALIKE:
            matched += 1
            lag = best[1]
    return (matched / spoken if spoken else 0.0), matched * SEGMENT / RATE


def loudness(samples):
    """Root mean square."""
    return math.sqrt(_dot(samples, samples) / max(1, len(samples)))


def _prove():
    """Shows on made recordings that `compare` says yes and no where it should."""
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        one = speak(os.path.join(folder, "one.wav"), 1, 12)
        two = speak(os.path.join(folder, "two.wav"), 2, 12)
        assert hear(os.path.join(folder, "one.wav")) == one
        dice = random.Random(3)
        late = array.array("h", [0] * 4321) + array.array("h", (s // 2 + dice.randrange(-60, 60) for s in one[1000:60_000]))
        assert compare(one, late)[0] > 0.9, compare(one, late)
        assert compare(one, late)[1] > 4
        assert compare(two, late)[0] < 0.1, compare(two, late)
        assert compare(one, late[-24_000:])[0] > 0.9
        assert compare(one, array.array("h", [0] * 40_000)) == (0.0, 0.0)
        assert compare(one, array.array("h")) == (0.0, 0.0)
        gap = one[8000:30_000] + one[30_160:60_000]
        assert compare(one, gap)[0] > 0.9, compare(one, gap)
    print("audio: ok")


if __name__ == "__main__":
    _prove()
