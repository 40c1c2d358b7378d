"""A scanner: guesses passwords as svcrack does, until nobody answers any more; and what it does once it is blocked.

    scan.py guess ADDRESS PORT      asks and guesses in turn; prints how many answers came before a second of silence
    scan.py flood ADDRESS PORT N    sends N requests without looking whether anybody answers
    scan.py ask ADDRESS PORT        one request; prints its status, or `silence`
"""

import hashlib
import re
import socket
import sys
import time

GUESSES_MAX = 100
REALM = "xdp.test"


def request(number, here, more=""):
    """A REGISTER of its own transaction and call."""
    return (f"REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {here[0]}:{here[1]};branch=z9hG4bKscan{number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{number}@{REALM}>;tag={number}\r\nTo: <sip:{number}@{REALM}>\r\n"
            f"Call-ID: scan{number}@{here[0]}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{number}@{here[0]}:{here[1]}>\r\n"
            f"{more}Content-Length: 0\r\n\r\n").encode()


def credentials(number, nonce):
    """A wrong answer to a challenge (RFC 7616, MD5)."""
    md5 = lambda text: hashlib.md5(text.encode()).hexdigest()  # noqa: E731
    uri = f"sip:{REALM}"
    response = md5(f"{md5(f'{number}:{REALM}:guess')}:{nonce}:00000001:cafe:auth:{md5(f'REGISTER:{uri}')}")
    return (f'Authorization: Digest username="{number}", realm="{REALM}", nonce="{nonce}", uri="{uri}", response="{response}", '
            f'algorithm=MD5, cnonce="cafe", qop=auth, nc=00000001\r\n')


def ask(link, message):
    """The answer, or none within a second."""
    link.send(message)
    try:
        return link.recv(65_536).decode()
    except (TimeoutError, ConnectionRefusedError):
        return None


def md5_nonce(answer):
    """The nonce of the challenge for MD5."""
    challenges = [line for line in answer.splitlines() if line.lower().startswith("www-authenticate") and "algorithm=MD5" in line]
    return re.search(r'nonce="([^"]*)"', challenges[0]).group(1)


def main(what, address, port, *rest):
    """Does what the command line says."""
    link = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    link.connect((address, int(port)))
    link.settimeout(1.0)
    here, base = link.getsockname(), int(time.monotonic() * 1000) % 10**8 * 1000
    if what == "flood":
        for number in range(int(rest[0])):
            link.send(request(base + number, here))
        print(f"sent {rest[0]}", flush=True)
        return
    answers = 0
    for number in range(base, base + (2 * GUESSES_MAX if what == "guess" else 2), 2):
        answer = ask(link, request(number, here))
        if what == "ask":
            print(answer.split()[1] if answer else "silence", flush=True)
            return
        answers += answer is not None
        answer = answer and ask(link, request(number + 1, here, credentials(number, md5_nonce(answer))))
        if not answer:
            break
        answers += 1
    print(answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
