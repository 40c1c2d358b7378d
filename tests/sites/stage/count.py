"""How many calls were up at once, counted from the packets that reached the phones.

A call counts from its first packet to its last, by the kernel's own time stamps of their arrival. Its caller stops
sending before it hangs up, so that what is counted is never longer than the call; where no packet came for `GAP` it is
taken as silent in between.
"""

GAP = 0.5


class Presence:
    """One call's media."""

    __slots__ = ("spans",)

    def __init__(self, at):
        self.spans = [[at, at]]

    def packet(self, at):
        """One more arrived."""
        last = self.spans[-1]
        if at - last[1] > GAP:
            self.spans.append([at, at])
        else:
            last[1] = max(last[1], at)


def worst(calls):
    """The most calls at once, when that was first, and all their seconds together."""
    edges = []
    seconds = 0.0
    for call in calls:
        for begin, end in call.spans:
            edges += [(begin, 1), (end, -1)]
            seconds += end - begin
    edges.sort(key=lambda edge: (edge[0], edge[1]))
    most, since, now = 0, None, 0
    for at, step in edges:
        now += step
        if now > most:
            most, since = now, at
    return most, since, seconds


def self_test():
    """The counter itself can be wrong."""

    def call(*spans):
        made = None
        for begin, end in spans:
            step = begin
            while step <= end + 1e-9:
                if made is None:
                    made = Presence(step)
                made.packet(step)
                step += 0.02
        return made

    one, two, three = call((0.0, 2.0)), call((1.0, 3.0)), call((2.5, 4.0))
    assert worst([one, two, three])[0] == 2, "overlaps"
    assert worst([call((0.0, 1.0), (3.0, 4.0)), call((1.6, 2.9))])[0] == 1, "a gap is no call"
    assert worst([one, one, one])[0] == 3, "the same time thrice"
    assert abs(worst([one])[2] - 2.0) < 0.1, "seconds"
