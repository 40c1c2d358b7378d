"""The highest rate that is sound, on a scale of steps 5 % apart. It is sought near where it was found last time, so that a round of a
comparison takes as many trials as it needs to be sure, and no more."""

from harness.process import Failure

LOWEST, NEAR = 1000, 1.05
# Of the scale: 1,508,000.
TOP = 150
# How far the first search goes at once; then twice as far with each trial, as long as nothing stops it.
STRIDE = 8


def rate_of(step):
    """Calls a second at this step."""
    return round(LOWEST * NEAR**step)


def step_of(rate):
    """The step that is not above this rate."""
    return max(step for step in range(TOP + 1) if rate_of(step) <= max(rate, LOWEST))


class Search:
    """`trial(rate)` returns {"void": why the rate is not sound, or None, ...}; `rate` is where the first search begins."""

    def __init__(self, trial, rate):
        self.trial, self.begin, self.stride = trial, step_of(rate), STRIDE
        self.steps, self.passed = [], {}

    def _sound(self, step):
        """A failure counts when it comes twice."""
        for _ in range(2):
            found = self.trial(rate_of(step))
            self.steps.append(found)
            if not found["void"]:
                self.passed[step] = self.passed.get(step, 0) + 1
                return True
        return False

    def _confirmed(self, step):
        """Whether it passes twice, those times counted that it has passed before."""
        while self.passed.get(step, 0) < 2:
            if not self._sound(step):
                return False
        return True

    def highest(self):
        """The highest sound rate, 0 if there is none, and all trials. What is found has passed twice, what is above it failed twice."""
        self.steps, self.passed = [], {}
        below, above, step, stride = -1, TOP + 1, self.begin, self.stride
        while above - below > 1:
            if self._sound(step):
                below = step
            else:
                above = step
            if below < 0:
                step = max(0, above - stride)
            elif above > TOP:
                step = min(TOP, below + stride)
            else:
                step = (below + above) // 2
            stride *= 2
        while below >= 0 and not self._confirmed(below):
            below -= 1
        if below == TOP:
            raise Failure(f"{rate_of(TOP):,} a second are sound, and the scale ends there: the highest rate is above it (book/search.py)")
        if below >= 0:
            self.begin, self.stride = below, 1
        return rate_of(below) if below >= 0 else 0, self.steps
