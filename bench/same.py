"""Checks that the four are the same service: their answers, and their series before and after some requests."""

import http.client
import itertools
import json
import re
import threading

# A request for each label set there can be, but for what only a full pool answers: method, path, status.
SIMULATE = "/simulate-load?duration_ms=0"
REQUESTS = [
    *((method, path, 200) for path in ["/", "/health", "/metrics", SIMULATE] for method in ["GET", "HEAD"]),
    *((method, f"{SIMULATE}&error_rate=1", 500) for method in ["GET", "HEAD"]),
    *((method, "/simulate-load?duration_ms=10001", 400) for method in ["GET", "HEAD"]),
    *(("POST", path, 405) for path in ["/", "/health", "/metrics", SIMULATE]),
    *((method, "/nothing", 404) for method in ["GET", "HEAD", "POST"]),
]
FURTHER = [
    ("GET", f"{SIMULATE}&mode=cpu", 200),
    ("GET", "/simulate-load?mode=idle", 400),
    ("GET", "/simulate-load?error_rate=2", 400),
    ("GET", "/simulate-load?sleep=1", 400),
]
FAMILIES = ("http_requests_total", "http_request_duration_seconds", "active_connections", "metrics_service_build_info")


def check(servers):
    """Raises an AssertionError with the difference where one answers other than the first does."""
    ours, *peers = servers
    expected = observe(ours)
    for peer in peers:
        for what, value in observe(peer).items():
            assert value == expected[what], f"{what}: {peer.name} says {value}, {ours.name} {expected[what]}"


def observe(server):
    """What a client sees of a server, by request."""
    seen = {"series at the start": series(server)}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for method, path, status in REQUESTS + FURTHER:
        answer, body = ask(connection, method, path)
        assert answer.status == status, f"{server.name} answers {method} {path} with {answer.status}, not {status}"
        allow = set(re.findall(r"\w+", answer.getheader("Allow", "")))
        is_json = method != "HEAD" and path != "/metrics"
        seen[f"{method} {path}"] = (answer.status, allow, json.loads(body) if is_json else None)
    connection.close()
    seen["a full pool"] = fill_pool(server, "GET"), fill_pool(server, "HEAD")
    seen["series at the end"] = series(server)
    return seen


def ask(connection, method, path):
    """One request on a kept connection."""
    connection.request(method, path)
    answer = connection.getresponse()
    return answer, answer.read()


def fill_pool(server, method):
    """Asks for more simulated load at once than there may be; the statuses that come."""
    statuses = set()

    def one():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        statuses.add(ask(connection, method, "/simulate-load?duration_ms=500")[0].status)
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def series(server):
    """The series of a server by name and labels, and which of them count something."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    answer, body = ask(connection, "GET", "/metrics")
    connection.close()
    assert answer.getheader("Content-Type").startswith("text/plain; version="), server.name
    found = {}
    for line in body.decode().splitlines():
        if line.startswith(FAMILIES):
            name, labels, value = re.fullmatch(r"(\w+)(?:{(.*)})? (\S+)", line).groups()
            labels = sorted(re.findall(r'(\w+)="([^"]*)"', labels or ""))
            # A bound is 1 to some and 1.0 to others. Which buckets count is a matter of speed.
            labels = [(label, float(text) if label == "le" else text) for label, text in labels]
            found[name, *labels] = None if name.endswith("_bucket") else float(value) > 0
    return found


def metrics_bytes(server):
    """The size of /metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    size = len(ask(connection, "GET", "/metrics")[1])
    connection.close()
    return size


def requests_over_all_label_sets(server, count):
    """So many requests, evenly over all label sets; of /metrics, which is long, one in a hundred."""
    for method in ["GET", "HEAD"]:
        fill_pool(server, method)
    short = itertools.cycle(request for request in REQUESTS if request[1] != "/metrics")
    scrapes = itertools.cycle(request for request in REQUESTS if request[1] == "/metrics")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for number in range(count):
        method, path, _ = next(scrapes if number % 100 == 0 else short)
        ask(connection, method, path)
    connection.close()
