"""The clients: wrk, and two of our own for what wrk does not tell."""

import json
import re
import selectors
import socket
import subprocess
import time

from servers import HERE

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
# From when on an unanswered connection counts as left waiting.
PATIENCE = 1.0


def load(server, path, connections, seconds):
    """Loads with wrk. Beside its own figures: processor time, and how many connections were left waiting."""
    threads = min(2, connections)
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", HERE / "wrk.lua", server.url + path]
    before = server.cpu_seconds()
    wrk = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    waiting = 0
    # While wrk runs, and after the time that each of its connections has for its first answer.
    for pause in [PATIENCE + 0.1] + [1.0] * (seconds - 2):
        time.sleep(pause)
        waiting = max(waiting, connections - answered_lately(server.port))
    output = wrk.communicate()[0]
    result = json.loads(output.splitlines()[-1])
    result["cpu"] = server.cpu_seconds() - before
    result["waiting"] = waiting
    return result


def answered_lately(port):
    """How many connections to a port have received something within the last second, as the kernel says."""
    command = ["ss", "-Htin", "state", "established", f"dport = :{port}"]
    sockets = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    # A figure of 0 is left out.
    return sum(
        "bytes_received:" in line and int(re.search(r"lastrcv:(\d+)", line + "lastrcv:0")[1]) <= PATIENCE * 1000
        for line in sockets.splitlines()
    )


def first_answers(server, connections):
    """Opens so many keep-alive connections at once, asks on each, and keeps them open.

    Returns the seconds from opening to answer of each, infinite where none came within 10 s.
    """
    selector, seconds = selectors.DefaultSelector(), {}
    sockets = [socket.socket() for _ in range(connections)]
    start = {}
    for client in sockets:
        client.setblocking(False)
        start[client] = time.perf_counter()
        client.connect_ex(("127.0.0.1", server.port))
        selector.register(client, selectors.EVENT_WRITE)
    deadline = time.perf_counter() + 10
    while len(seconds) < connections and time.perf_counter() < deadline:
        for key, events in selector.select(timeout=0.1):
            if events & selectors.EVENT_WRITE:
                key.fileobj.send(REQUEST)
                selector.modify(key.fileobj, selectors.EVENT_READ)
            elif key.fileobj.recv(65536).startswith(b"HTTP/1.1 200 "):
                seconds[key.fileobj] = time.perf_counter() - start[key.fileobj]
                selector.unregister(key.fileobj)
    for client in sockets:
        client.close()
    return [seconds.get(client, float("inf")) for client in sockets]
