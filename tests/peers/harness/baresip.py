"""baresip as a phone: driven over its control port, a WAV file as microphone, what it hears dumped by its sndfile filter."""

import glob
import json
import os
import re
import socket
import threading
import time

from . import audio
from .process import Failure, Process, free_port, until

CONFIG = """\
poll_method epoll
sip_listen {address}:{sip}
call_local_timeout 120
call_max_calls 4
audio_path {directory}/none
audio_player aubridge,{name}
audio_source aufile,{microphone}
audio_alert aubridge,{name}-alert
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
audio_buffer 20-160
rtp_ports {rtp}-{rtp_last}
jitter_buffer_delay 1-5
net_interface 127.0.0.1
module_path {modules}
module g711.so
module sndfile.so
module aufile.so
module aubridge.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
ringback_disabled yes
snd_path {heard}
"""


def modules():
    """The folder of baresip's modules, if the ones needed are there."""
    for folder in glob.glob("/usr/lib/baresip/modules") + glob.glob("/usr/lib/*/baresip/modules"):
        if all(os.path.exists(os.path.join(folder, f"{name}.so")) for name in ("aufile", "sndfile", "ctrl_tcp", "g711")):
            return folder
    return None


class Baresip:
    """One phone. `registrar` None: it calls and is called by address."""

    kind = "baresip"

    def __init__(self, name, directory, seed, registrar=None, user=None, password=None, transport="udp", seconds=45):
        self.name = name
        self.directory = os.path.join(directory, name)
        self.heard = os.path.join(self.directory, "heard")
        os.makedirs(self.heard)
        self.events = []
        self.answers = {}
        self.mark = 0
        self.listening = 0
        self.sip, control, rtp = free_port(), free_port(), free_port(span=40)
        microphone = os.path.join(self.directory, "microphone.wav")
        self.voice = audio.speak(microphone, seed, seconds)
        user = user or name
        domain, port = registrar or ("127.0.0.1", self.sip)
        self.address = f"sip:{user}@{domain}:{port}"
        with open(os.path.join(self.directory, "config"), "w") as file:
            file.write(CONFIG.format(address="127.0.0.1", sip=self.sip, name=name, directory=self.directory, control=control,
                                     microphone=microphone, rtp=rtp, rtp_last=rtp + 39, modules=modules(), heard=self.heard))
        with open(os.path.join(self.directory, "accounts"), "w") as file:
            register = f"auth_user={user};auth_pass={password};regint=60" if registrar else "regint=0"
            file.write(f"<{self.address};transport={transport}>;{register};answermode=manual;audio_codecs=PCMU/8000/1\n")
        self.process = Process("baresip", ["baresip", "-f", self.directory, "-v", "-s"], self.directory, keyboard=True)
        self.link = until(lambda: self._connect(control), 10, f"{name}'s control port")
        threading.Thread(target=self._listen, daemon=True).start()

    def _connect(self, port):
        if not self.process.running():
            raise Failure(f"{self.name} ended at start: {self.process.output()[-500:]}")
        try:
            link = socket.create_connection(("127.0.0.1", port), 1)
        except OSError:
            return None
        link.settimeout(None)
        return link

    def _listen(self):
        waiting = b""
        while True:
            try:
                got = self.link.recv(65536)
            except OSError:
                return
            if not got:
                return
            waiting += got
            while b":" in waiting:
                length, rest = waiting.split(b":", 1)
                if len(rest) < int(length) + 1:
                    break
                message = json.loads(rest[: int(length)].decode(errors="replace"))
                waiting = rest[int(length) + 1 :]
                if message.get("event"):
                    self.events.append(message)
                else:
                    self.answers[message.get("token", "")] = message

    def command(self, command, params=""):
        """Gives one command and waits until it is taken."""
        token = f"{command}{len(self.answers)}"
        text = json.dumps({"command": command, "params": params, "token": token}).encode()
        self.link.sendall(b"%d:%s," % (len(text), text))
        answer = until(lambda: self.answers.get(token), 5, f"{self.name}'s answer to {command}")
        if not answer.get("ok"):
            raise Failure(f"{self.name}: {command} {params}: {answer}")
        return answer

    def fresh(self):
        """What was said before no longer counts: a new call begins."""
        self.mark = len(self.events)

    def since(self):
        """The kinds of events of this call."""
        return [event.get("type") for event in self.events[self.mark :]]

    def expect(self, kind, seconds):
        """Waits for an event."""
        until(lambda: kind in self.since(), seconds, f"{kind} at {self.name}")

    def await_registered(self, seconds=10):
        """Until the registrar has said yes, which may be before the control port is up."""
        until(lambda: re.search(r"200 OK .*binding", self.process.output()), seconds, f"the registration of {self.name}")

    def await_refused(self, seconds=10):
        """Until the registrar has said no."""
        until(lambda: "401 Unauthorized (" in self.process.output(), seconds, f"the refusal of {self.name}")

    def dial(self, address):
        """Calls."""
        self.command("dial", address)

    def await_ringing(self, seconds=10):
        """Until somebody calls."""
        self.expect("CALL_INCOMING", seconds)

    def answer(self):
        """Picks up."""
        self.command("accept")

    def await_talking(self, seconds=10):
        """Until the call stands."""
        self.expect("CALL_ESTABLISHED", seconds)

    def await_closed(self, seconds=10):
        """Until the call is over."""
        self.expect("CALL_CLOSED", seconds)

    def hang_up(self):
        """Ends or declines the call."""
        self.command("hangup")

    def hold(self):
        """Puts the other side on hold."""
        self.command("hold")

    def resume(self):
        """Takes it back."""
        self.command("resume")

    def press(self, digits):
        """DTMF."""
        for digit in digits:
            self.command("sndcode", digit)
            time.sleep(0.3)

    def pressed(self):
        """The digits the other side has pressed, in order."""
        digits = [e.get("param", "") for e in self.events[self.mark :] if e.get("type") == "CALL_DTMF_START"]
        return "".join(digits)

    def _decoded(self):
        out = audio.hear("")
        for path in sorted(glob.glob(os.path.join(self.heard, "*-dec.wav")), key=os.path.getmtime):
            out.extend(audio.hear(path))
        return out

    def listen(self):
        """From here on counts what is heard."""
        self.listening = len(self._decoded())

    def listened(self):
        """What it has decoded since; baresip 1.0 drops its filter at the first hold of a call and says nothing then."""
        return self._decoded()[self.listening :]

    def received(self):
        """RTP packets received in the call that stands."""
        counts = re.findall(r"rcvd=(\d+)", self.command("audio_debug").get("data", ""))
        return sum(map(int, counts))

    def stop(self):
        """Ends it; it unregisters first."""
        try:
            self.link.close()
        except (OSError, AttributeError):
            pass
        self.process.stop()
