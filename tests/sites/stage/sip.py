"""As much SIP as a caller and a phone of a load need: messages are read by lines and written from templates.

RFC 3261, RFC 7616 for REGISTER. Shares nothing with what it tests.
"""

import hashlib
import re


class Message:
    """One message: first line, headers by lower-case name, body."""

    def __init__(self, data):
        head, _, self.body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        lines = head.split("\r\n")
        self.first = lines[0]
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact"}.get(name.strip().lower(), name.strip().lower())
            self.headers.setdefault(name, []).append(value.strip())

    @property
    def status(self):
        """Of a response; 0 for a request."""
        return int(self.first.split(" ")[1]) if self.first.startswith("SIP/2.0 ") else 0

    @property
    def method(self):
        """Of a request, or of what a response answers."""
        return self.get("cseq").split()[-1] if self.status else self.first.split(" ")[0]

    def get(self, name):
        """The first value of a header, or nothing."""
        return self.headers.get(name, [""])[0]

    def media(self):
        """Address and port of the audio."""
        address = re.search(r"^c=IN IP4 (\S+)", self.body, re.M)
        port = re.search(r"^m=audio (\d+)", self.body, re.M)
        return (address.group(1), int(port.group(1))) if address and port else None

    def user(self, name="from"):
        """The user part of a From or To."""
        found = re.search(r"sips?:([^@>;]*)@", self.get(name))
        return found.group(1) if found else ""

    def target(self):
        """The URI of the Contact."""
        found = re.search(r"<([^>]*)>", self.get("contact"))
        return found.group(1) if found else self.get("contact")


def sdp(address, port):
    """One audio stream."""
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n")


def write(first, headers, body=""):
    """A message as octets."""
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def answer(request, status, reason, tag, contact=None, body=""):
    """A response: what RFC 3261 §8.2.6.2 copies, and our tag."""
    to = request.get("to")
    headers = [("Via", value) for value in request.headers.get("via", [])]
    headers += [("Record-Route", value) for value in request.headers.get("record-route", [])]
    headers += [("From", request.get("from")), ("To", to if ";tag=" in to else f"{to};tag={tag}"),
                ("Call-ID", request.get("call-id")), ("CSeq", request.get("cseq"))]
    if contact:
        headers.append(("Contact", contact))
    return write(f"SIP/2.0 {status} {reason}", headers, body)


def authorization(challenge, username, password, method, uri):
    """The Authorization for a challenge, SHA-256 or MD5 with qop=auth."""
    values = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge))
    make = hashlib.sha256 if values.get("algorithm", "MD5").upper() == "SHA-256" else hashlib.md5
    digest = lambda text: make(text.encode()).hexdigest()  # noqa: E731
    ha1 = digest(f"{username}:{values['realm']}:{password}")
    response = digest(f"{ha1}:{values['nonce']}:00000001:0a4f113b:auth:{digest(f'{method}:{uri}')}")
    return (f'Digest username="{username}", realm="{values["realm"]}", nonce="{values["nonce"]}", uri="{uri}", '
            f'response="{response}", algorithm={values.get("algorithm", "MD5")}, qop=auth, nc=00000001, cnonce="0a4f113b"')
