"""Floods the service on 127.0.0.1:8000, until it has ended a connection or 20 s have gone, with a polite client beside it.

Usage: flood.py KIND CONNECTIONS

The polite client asks for /health, on a connection of its own each time, and tries again when it is cut off. What became of
it goes to standard output.
"""

import resource
import socket
import sys
import threading
import time

ADDRESS = ("127.0.0.1", 8000)
# What each connection sends at first, and then without end.
KINDS = {
    "silent": (b"", b""),
    "bodies": (b"POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n", b""),
    "heads": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10000),
}


def flood(first, then, count, over):
    """Connects, and goes on until the service has ended one of the connections."""
    connections = []
    try:
        for _ in range(count):
            connections.append(socket.create_connection(ADDRESS, timeout=30))
            connections[-1].sendall(first)
        for connection in connections:
            connection.setblocking(False)
        while not over.is_set():
            for connection in connections:
                try:
                    if then:
                        connection.send(then)
                    elif connection.recv(1000) == b"":
                        over.set()
                except BlockingIOError:
                    pass
    except OSError:
        over.set()


def main():
    first, then = KINDS[sys.argv[1]]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    over = threading.Event()
    answered = refused = cut = 0
    longest = 0.0
    threading.Thread(target=flood, args=(first, then, int(sys.argv[2]), over), daemon=True).start()
    end, start = time.monotonic() + 20, time.monotonic()
    while time.monotonic() < end:
        if over.is_set():
            end = min(end, time.monotonic() + 3)
            over.clear()
        try:
            with socket.create_connection(ADDRESS, timeout=30) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if not connection.recv(1000).startswith(b"HTTP/1.1 200 "):
                    raise ConnectionResetError
            answered, longest, start = answered + 1, max(longest, time.monotonic() - start), time.monotonic()
        except ConnectionRefusedError:
            refused += 1
        except OSError:
            cut += 1
        time.sleep(0.01)
    print(f"polite: {answered} answered, {refused} refused, {cut} cut off, longest wait {longest:.2f} s")


main()
