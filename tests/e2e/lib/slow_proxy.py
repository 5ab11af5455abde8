#!/usr/bin/env python3
"""A proxy in front of the central server's VictoriaMetrics.

Usage: slow_proxy.py DIRECTORY PORT STORE-PORT

It logs each tenant to DIRECTORY/tenants, and delays responses by ten seconds while
DIRECTORY/slow exists.
"""

import http.server
import pathlib
import sys
import time
import urllib.error
import urllib.request

DIRECTORY, PORT, STORE = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with (DIRECTORY / "tenants").open("a") as log:
            log.write(f"{self.path.partition('?')[0]} {self.headers.get('X-Scope-OrgID')}\n")
        if (DIRECTORY / "slow").exists():
            time.sleep(10)
        headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Content-Length")}
        url = f"http://127.0.0.1:{STORE}{self.path}"
        request = urllib.request.Request(url, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        except OSError as error:
            status, text = 502, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = forward

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
