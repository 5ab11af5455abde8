"""Measures the four servers, interleaved, and writes all figures to a file.

Usage: measure.py RESULTS.json ROUNDS SECONDS REQUESTS...

ROUNDS of loads of SECONDS each; /metrics is measured after so many REQUESTS over all label sets.
"""

import contextlib
import json
import sys
import time

import clients
import machine
import same
from servers import COMMANDS, Server

CONNECTIONS = [1, 16, 64, 256]


def main():
    path, rounds, seconds, *requests = sys.argv[1:]
    results = {"machine": machine.describe(), "rounds": int(rounds), "seconds": int(seconds)}
    with started(0) as servers:
        same.check(servers)
    results["rounds_of_loads"] = [one_round(number, int(seconds)) for number in range(int(rounds))]
    results["metrics"] = growing_metrics([int(count) for count in requests], int(rounds))
    with open(path, "w") as file:
        json.dump(results, file, indent=1)


@contextlib.contextmanager
def started(turn):
    """All four, freshly started one after the other; who comes first changes with the turn."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in rotated(list(COMMANDS), turn)]


def rotated(items, turn):
    """The same items, another one first each turn."""
    turn %= len(items)
    return items[turn:] + items[:turn]


def one_round(number, seconds):
    """Start, rest, and every load; only one server is loaded at a time."""
    with started(number) as servers:
        time.sleep(1)
        figures = {
            server.name: {"start": server.seconds_to_first_answer, "idle": server.rss_kilobytes(), "loads": {}}
            for server in servers
        }
        for turn, connections in enumerate(CONNECTIONS):
            for server in rotated(servers, turn):
                first = clients.first_answers(server, connections)
                load = clients.load(server, "/", connections, seconds)
                load |= {"first": max(first), "rss": server.rss_kilobytes()}
                figures[server.name]["loads"][connections] = load
                print(f"round {number + 1}, {connections} connections, {server.name}: "
                      f"{load['requests'] / load['seconds']:.0f} requests/s", flush=True)
    return figures


def growing_metrics(counts, rounds):
    """The latency on one kept connection, and the size, of /metrics after so many requests."""
    figures = {name: {count: [] for count in counts} for name in COMMANDS}
    made = 0
    with started(0) as servers:
        for count in counts:
            for server in servers:
                same.requests_over_all_label_sets(server, count - made)
            made = count
            for turn in range(rounds):
                for server in rotated(servers, turn):
                    load = clients.load(server, "/metrics", 1, 1)
                    size = same.metrics_bytes(server)
                    figures[server.name][count].append({"p50": load["p50"], "errors": load["errors"], "bytes": size})
            print(f"/metrics after {count} requests: done", flush=True)
    return figures


if __name__ == "__main__":
    main()
