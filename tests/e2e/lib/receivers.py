#!/usr/bin/env python3
"""A mail server with STARTTLS and a login on port 2525, and a webhook on port 2580.

    receivers.py DIRECTORY CERTIFICATE KEY USER PASSWORD

Each mail and each request to /hook becomes a file in the directory; other paths get a 404.
"""

import http.server
import pathlib
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

DIRECTORY = pathlib.Path(sys.argv[1])
CERTIFICATE, KEY, *LOGIN = sys.argv[2:]


def keep(kind, content):
    name = f"{kind}-{time.time_ns()}"
    part = DIRECTORY / f".{name}"
    part.write_bytes(content)
    part.rename(DIRECTORY / name)


class Mail:
    async def handle_DATA(self, server, session, envelope):
        keep("mail", envelope.original_content)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    accepted = [data.login.decode(), data.password.decode()] == LOGIN
    return AuthResult(success=accepted, handled=accepted)


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/hook":
            keep("webhook", content)
        self.send_response(200 if self.path == "/hook" else 404)
        self.end_headers()


tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(CERTIFICATE, KEY)
Controller(
    Mail(),
    hostname="127.0.0.1",
    port=2525,
    tls_context=tls,
    require_starttls=True,
    auth_required=True,
    # Its prompts are not those that Alertmanager expects.
    auth_exclude_mechanism=["LOGIN"],
    authenticator=authenticate,
).start()
http.server.ThreadingHTTPServer(("127.0.0.1", 2580), Webhook).serve_forever()
