#!/usr/bin/env python3
"""Stands before the far end's store: notes each tenant in FOLDER/tenants, and while FOLDER/slow is there takes ten seconds for an answer.

    far.py FOLDER PORT STORE-PORT
"""

import http.server
import pathlib
import sys
import time
import urllib.error
import urllib.request

FOLDER, PORT, STORE = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with (FOLDER / "tenants").open("a") as seen:
            seen.write(f"{self.path.partition('?')[0]} {self.headers.get('X-Scope-OrgID')}\n")
        if (FOLDER / "slow").exists():
            time.sleep(10)
        headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Content-Length")}
        request = urllib.request.Request(f"http://127.0.0.1:{STORE}{self.path}", body or None, headers, method=self.command)
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

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
