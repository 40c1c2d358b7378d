"""Phones that register and talk: what one says into its microphone must be what the other one hears.

The same conversation runs with every pair of phones, through Strowger or straight from phone to phone.
"""

import os
import shutil
import time
from dataclasses import dataclass

from . import audio
from .baresip import Baresip, modules
from .linphone import Linphone
from .process import Failure, until

ALIKE_SHARE = 0.75
HEARD_SECONDS = 1.2
PASSWORD = "correct-horse-7"
DOMAIN = "127.0.0.1"


@dataclass
class Pair:
    """Who calls whom."""

    name: str
    caller: type
    callee: type
    why: str
    transport: str = "udp"

    def users(self):
        """The accounts of the two, from the name of the pair."""
        return (f"{self.name}-a", f"{self.name}-b")

    def missing(self):
        """What is not installed here."""
        for kind in (self.caller, self.callee):
            if kind is Baresip and not (shutil.which("baresip") and modules()):
                return "baresip (Debian packages baresip-core and baresip)"
            if kind is Linphone and not shutil.which("linphonec"):
                return "linphonec (Debian package linphone-cli)"
        return None


PAIRS = (
    Pair("bb", Baresip, Baresip, "baresip calls baresip"),
    Pair("bl", Baresip, Linphone, "baresip calls linphonec"),
    Pair("lb", Linphone, Baresip, "linphonec calls baresip"),
    Pair("bt", Baresip, Baresip, "baresip calls baresip over TCP", transport="tcp"),
)


def accounts(pairs):
    """The configuration's accounts for these pairs."""
    return [
        {"name": user, "devices": [{"username": user, "password": PASSWORD}]} for pair in pairs for user in pair.users()
    ]


def judge(listener, speaker, heard, when):
    """Fails unless `heard` is what the speaker's microphone was given."""
    share, length = audio.compare(speaker.voice, heard)
    if share < ALIKE_SHARE or length < HEARD_SECONDS:
        recorded = len(heard) / audio.RATE
        raise Failure(f"{listener.name} heard {length:.1f} s of {speaker.name} {when}, {share:.0%} of {recorded:.1f} s recorded")


def talk(one, other, seconds=3.0):
    """Both speak; each must hear the other and not itself."""
    for phone in (one, other):
        phone.listen()
    time.sleep(seconds)
    for listener, speaker, heard in ((one, other, one.listened()), (other, one, other.listened())):
        judge(listener, speaker, heard, "while talking")
        if audio.compare(listener.voice, heard[: 4 * audio.SEGMENT])[0] > 0.3:
            raise Failure(f"{listener.name} hears itself")


def talk_after_hold(one, other, seconds=3.0):
    """As `talk`; of baresip 1.0, which stops recording at the first hold, the received packets are counted instead."""
    phones = ((one, other), (other, one))
    before = {}
    for listener, _ in phones:
        listener.listen()
        before[listener] = listener.received()
    time.sleep(seconds)
    for listener, speaker in phones:
        if listener.kind == "baresip":
            packets = listener.received() - before[listener]
            if packets < seconds * 50 * 0.8:
                raise Failure(f"{listener.name} received {packets} packets in {seconds:.0f} s after resume")
        else:
            judge(listener, speaker, listener.listened(), "after resume")


def silent_while_held(holder):
    """The one who holds hears nothing of the held one."""
    time.sleep(0.5)
    holder.listen()
    before = holder.received()
    time.sleep(1.5)
    if holder.kind == "baresip":
        packets = holder.received() - before
        if packets > 10:
            raise Failure(f"{holder.name} receives {packets} packets from the one it holds")
        return
    heard = holder.listened()
    if len(heard) > audio.RATE // 2 and audio.loudness(heard) > 300:
        raise Failure(f"{holder.name} hears the one it holds")


def press(presser, listener, digits):
    """The digits arrive once each, in order."""
    presser.press(digits)
    until(lambda: len(listener.pressed()) >= len(digits), 4, f"{digits} at {listener.name} (got {listener.pressed()!r})")
    time.sleep(0.3)
    if listener.pressed() != digits:
        raise Failure(f"{presser.name} pressed {digits}, {listener.name} got {listener.pressed()}")


def call(caller, callee):
    """A call until both talk."""
    caller.fresh()
    callee.fresh()
    caller.dial(callee.address)
    callee.await_ringing()
    time.sleep(0.3)
    callee.answer()
    caller.await_talking()
    callee.await_talking()
    time.sleep(0.5)


def converse(one, other):
    """The whole conversation; `one` calls first."""
    steps = "talk"
    try:
        call(one, other)
        talk(one, other)
        steps = "DTMF"
        press(one, other, "159")
        press(other, one, "370")
        steps = "hold"
        one.hold()
        silent_while_held(one)
        steps = "resume"
        one.resume()
        time.sleep(1)
        talk_after_hold(one, other)
        steps = "the callee hangs up"
        other.hang_up()
        one.await_closed()
        other.await_closed()
        steps = "call in the other direction"
        time.sleep(0.5)
        call(other, one)
        talk(other, one)
        steps = "the caller hangs up"
        other.hang_up()
        one.await_closed()
        steps = "the caller gives up"
        time.sleep(0.5)
        for phone in (one, other):
            phone.fresh()
        one.dial(other.address)
        other.await_ringing()
        time.sleep(0.5)
        one.hang_up()
        other.await_closed()
        steps = "the callee declines"
        time.sleep(0.5)
        for phone in (one, other):
            phone.fresh()
        one.dial(other.address)
        other.await_ringing()
        time.sleep(0.5)
        other.hang_up()
        one.await_closed()
    except Failure as failure:
        raise Failure(f"{steps}: {failure}") from failure


def check_records(pair, appliance, first, since):
    """Four calls were made; the first had every digit, and nothing was lost or one-way. A call of an attempt before may end,
    and be recorded, only now."""
    records = appliance.records_since(first, "account", pair.users(), 4, since=since)
    results = sorted(record["result"] for record in records)
    if results[:2] != ["answered", "answered"] or results[2:] not in (["busy", "cancelled"], ["cancelled", "rejected"]):
        raise Failure(f"call records say {results}")
    for record in records:
        if record["result"] != "answered":
            continue
        media = [stream for side in ("caller", "callee") for stream in record[side]["media"]]
        if record["one_way"] or any(stream["lost"] or stream["one_way"] or not stream["packets"] for stream in media):
            raise Failure(f"a call record says {record}")
    digits = {stream["dtmf_digits"] for side in ("caller", "callee") for stream in records[0][side]["media"]}
    if digits != {3}:
        raise Failure(f"call records count {digits} digits, three were pressed on each side")


def run(pair, directory, appliance=None):
    """Runs one pair; raises `Failure` with the reason."""
    os.makedirs(directory)
    first = len(appliance.records()) if appliance else 0
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    phones = []
    try:
        for kind, user, seed in zip((pair.caller, pair.callee), pair.users(), (11, 22)):
            registrar = (DOMAIN, appliance.port) if appliance else None
            phones.append(kind(user, directory, seed, registrar, user, PASSWORD, pair.transport))
        if appliance:
            for phone in phones:
                phone.await_registered()
        converse(*phones)
        if appliance:
            appliance.check_alive()
            check_records(pair, appliance, first, since)
    finally:
        for phone in phones:
            phone.stop()


def refused(kind, directory, appliance):
    """A wrong password does not register."""
    os.makedirs(directory)
    phone = kind("thief", directory, 3, (DOMAIN, appliance.port), PAIRS[0].users()[0], "wrong-horse-7")
    try:
        phone.await_refused()
    finally:
        phone.stop()
