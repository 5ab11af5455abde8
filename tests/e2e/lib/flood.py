"""Floods the service on 127.0.0.1:8000 until it closes a connection, for 20 s at most.

Usage: flood.py KIND CONNECTIONS

Meanwhile a well-behaved client requests /health, each time on a new connection, and tries again
after an error. The counts of its responses and errors go to standard output.
"""

import resource
import socket
import sys
import threading
import time

ADDRESS = ("127.0.0.1", 8000)
# The bytes that each connection sends first, and those that it then repeats.
KINDS = {
    "silent": (b"", b""),
    "bodies": (b"POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n", b""),
    "heads": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10000),
}


def flood(first, then, count, over):
    """Connects, and sends until the service closes one of the connections."""
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
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    over = threading.Event()
    answered = refused = failed = 0
    longest = 0.0
    args = (first, then, int(sys.argv[2]), over)
    threading.Thread(target=flood, args=args, daemon=True).start()
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
            answered, now = answered + 1, time.monotonic()
            longest, start = max(longest, now - start), now
        except ConnectionRefusedError:
            refused += 1
        except OSError:
            failed += 1
        time.sleep(0.01)
    print(
        f"another client: {answered} answered, {refused} refused, {failed} failed, "
        f"longest wait {longest:.2f} s"
    )


main()
