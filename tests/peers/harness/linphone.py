"""linphonec as a phone: driven over its keyboard, WAV files instead of a sound card."""

import os
import re
import time

from . import audio
from .process import Process, free_port, until

CONFIG = """\
[net]
mtu=1300
firewall_policy=0

[sip]
sip_port={sip}
sip_tcp_port={sip}
sip_tls_port=0
bind_address=127.0.0.1
use_ipv6=0
guess_hostname=0
contact="{name}" <sip:{user}@127.0.0.1:{sip}>
default_proxy={default}
register_only_when_network_is_up=0
use_info=0
use_rfc2833=1
keepalive_period=30000
inc_timeout=30

[rtp]
bind_address=127.0.0.1
audio_rtp_port={rtp}
audio_adaptive_jitt_comp_enabled=0
nortp_timeout=30

[sound]
echocancellation=0
echolimiter=0
local_ring=
remote_ring=

[misc]
log_collection=0

[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1

"""

# Codecs that liblinphone would switch on by itself.
SILENCED = [("opus", 48000, 2), ("speex", 16000, 1), ("speex", 8000, 1), ("PCMA", 8000, 1), ("G729", 8000, 1), ("GSM", 8000, 1)]

PROXY = """\
[proxy_0]
reg_proxy=<sip:{domain}:{port};transport={transport}>
reg_identity=sip:{user}@{domain}
reg_expires=60
reg_sendregister=1
publish=0

[auth_info_0]
username={user}
userid={user}
passwd={password}

"""


class Linphone:
    """One phone. `registrar` None: it calls and is called by address."""

    kind = "linphonec"

    def __init__(self, name, directory, seed, registrar=None, user=None, password=None, transport="udp", seconds=45):
        self.name = name
        self.directory = os.path.join(directory, name)
        os.makedirs(os.path.join(self.directory, ".local", "share", "linphone"))
        self.sip, rtp = free_port(), free_port(span=40)
        microphone = os.path.join(self.directory, "microphone.wav")
        self.voice = audio.speak(microphone, seed, seconds)
        user = user or name
        domain, port = registrar or ("127.0.0.1", self.sip)
        self.address = f"sip:{user}@{domain}:{port}"
        path = os.path.join(self.directory, "linphonerc")
        with open(path, "w") as file:
            file.write(CONFIG.format(sip=self.sip, name=name, user=user, rtp=rtp, default=0 if registrar else -1))
            for index, (codec, rate, channels) in enumerate(SILENCED, start=1):
                file.write(f"[audio_codec_{index}]\nmime={codec}\nrate={rate}\nchannels={channels}\nenabled=0\n\n")
            if registrar:
                file.write(PROXY.format(domain=domain, port=port, transport=transport, user=user, password=password))
        self.trace = os.path.join(self.directory, "trace.log")
        argv = ["linphonec", "-c", path, "-d", "6", "-l", self.trace]
        self.process = Process("linphonec", argv, self.directory, keyboard=True, env={"HOME": self.directory})
        self._mark = 0
        self._files = 0
        until(lambda: "linphonec>" in self.process.output(), 15, f"{name}'s prompt")
        self.process.type("ipv6 disable")
        self.process.type("soundcard use files")
        self.process.type(f"play {microphone}")
        self.listen()
        time.sleep(0.3)

    def fresh(self):
        """What was said before no longer counts: a new call begins."""
        self._mark = len(self.process.output())

    def since(self):
        """What it has printed since."""
        return self.process.output()[self._mark :]

    def expect(self, pattern, seconds):
        """Waits for something it prints."""
        until(lambda: re.search(pattern, self.since()), seconds, f"{pattern!r} at {self.name}")

    def await_registered(self, seconds=10):
        """Until the registrar has said yes."""
        until(lambda: "[LinphoneRegistrationOk]" in self._traced(), seconds, f"the registration of {self.name}")

    def await_refused(self, seconds=10):
        """Until the registrar has said no."""
        self.expect("Password for", seconds)

    def _traced(self):
        with open(self.trace, errors="replace") as file:
            return file.read()

    def dial(self, address):
        """Calls."""
        self.process.type(f"call {address}")

    def await_ringing(self, seconds=10):
        """Until somebody calls."""
        self.expect(r"Receiving new incoming call|is contacting you", seconds)

    def answer(self):
        """Picks up."""
        self.process.type("answer")

    def await_talking(self, seconds=10):
        """Until the call stands."""
        self.expect(r"Call \d+ with .* connected|Call answered", seconds)

    def await_closed(self, seconds=10):
        """Until the call is over."""
        self.expect(r"Call \d+ with .* ended|Call terminated|Call declined|Call \d+ with .* error", seconds)

    def hang_up(self):
        """Ends or declines the call."""
        self.process.type("terminate")

    def hold(self):
        """Puts the other side on hold."""
        self.process.type("pause")

    def resume(self):
        """Takes it back."""
        self.process.type("resume " + re.findall(r"[Cc]all (?:id )?(\d+)", self.since())[-1])

    def press(self, digits):
        """DTMF."""
        for digit in digits:
            self.process.type(digit)
            time.sleep(0.5)

    def pressed(self):
        """The digits the other side has pressed, in order."""
        return "".join(re.findall(r"Receiving tone (.)", self.since()))

    def listen(self):
        """From here on counts what is heard: a new file, since the old one is complete only when it is closed."""
        self._files += 1
        self.process.type("record " + self._file())

    def _file(self):
        return os.path.join(self.directory, f"heard-{self._files}.wav")

    def listened(self):
        """What it has recorded since."""
        path = self._file()
        self.listen()
        time.sleep(0.3)
        return audio.hear(path)

    def received(self):
        """Not asked of linphonec: its recordings say it better."""
        return 0

    def stop(self):
        """Ends it; it unregisters first."""
        try:
            self.process.type("quit")
            self.process.child.wait(4)
        except Exception:  # pylint: disable=broad-except
            pass
        self.process.stop()
