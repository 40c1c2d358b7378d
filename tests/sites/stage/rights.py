"""Where the sites say that the rights are."""

import time

from .site import ACCOUNT

# (1 + rho) / (1 - rho) for the default clock_drift, and the lenders' slop with a second to spare.
DRIFT, SLOP = 1.002, 3.0


def views(sites):
    """What each site says of the account's rights; none for one that does not answer."""
    out = {}
    for site in sites:
        shown = site.show("limits", ACCOUNT)
        if isinstance(shown, list):
            shown = next((one for one in shown if one.get("name", one.get("account")) == ACCOUNT), None)
        out[site.name] = shown
    return out


def made(sites, limit):
    """Whether all rights exist."""
    home = views(sites)[sites[0].name]
    return bool(home) and home.get("issued") == limit


def patience(options):
    """How long a lost loan is away at most."""
    kept = options.longest if options.policy == "keep" else 0
    return (options.lease + kept) * DRIFT + SLOP + 5


def away(sites, limit):
    """What is not as it should be when nobody calls: base rights of all sites together are the limit, none is lent."""
    seen = views(sites)
    silent = [name for name, view in seen.items() if not view]
    if silent:
        return f"{', '.join(silent)} say nothing"
    base = sum(view.get("base", 0) for view in seen.values())
    lent = {name: view.get("lent", 0) for name, view in seen.items() if view.get("lent", 0)}
    live = {name: view.get("live", 0) for name, view in seen.items() if view.get("live", 0)}
    if base != limit or lent or live:
        return f"base {base} of {limit}, lent {lent}, calls {live}"
    return None


def wait_until_home(sites, limit, seconds):
    """Nothing once every right is home; else what is missing when the time is over."""
    end = time.monotonic() + seconds
    while (missing := away(sites, limit)) and time.monotonic() < end:
        time.sleep(0.5)
    return missing
