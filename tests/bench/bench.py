#!/usr/bin/env python3
"""Loads the service and two programs that do the same, and prints what docs/benchmark.md shows.

    tests/bench/bench.py [--rounds 10] [--seconds 4]

The two are service.go (net/http) and service.py (FastAPI), for GET / and /metrics. Everything is
built in target/ and listens on 127.0.0.1. Missing programs are installed from the packages of
Debian 13 or newer, which needs root. Run it on a machine that does nothing else.
"""

import argparse
import asyncio
import datetime
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "target/bench"
SERVERS = {
    "metrics-service": [ROOT / "target/release/metrics-service", "--listen"],
    "Go": [BUILT / "service"],
    "FastAPI": [BUILT / "venv/bin/python", HERE / "service.py"],
}
PACKAGES = {"cargo": "cargo", "go": "golang-go", "wrk": "wrk"}
COLUMNS = (
    "load", "server", "requests/s", "p50, ms", "p99, ms", "first response, ms",
    "new client, ms", "CPU per request, µs", "RSS, MB",
)
LOADS = {  # name: path and number of connections
    "1 connection": ("/", 1),
    "16 connections": ("/", 16),
    "64 connections": ("/", 64),
    "256 connections": ("/", 256),
    "/metrics, 1 connection": ("/metrics", 1),
}
TIMEOUT = 10


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=4, help="of each load")
    options = parser.parse_args()
    build()
    machine = describe_machine()
    results, errors = measure(options.rounds, options.seconds)
    print(f"{machine} Rounds: {options.rounds}, seconds for each load: {options.seconds}.\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for load in ["idle", *LOADS]:
        for name in SERVERS:
            cells = [spread(column) for column in zip(*results[load, name])]
            print(f"| {load} | {name} | {' | '.join(cells)} |")
    for (load, name), count in errors.items():
        print(f"\n{name}, {load}, failed requests: {count}.")


def build():
    packages = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if subprocess.run(["python3", "-c", "import ensurepip"], capture_output=True).returncode:
        packages.append("python3-venv")
    install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *packages]
    for command in (
        *([["apt-get", "-qq", "update"], install] if packages else []),
        ["cargo", "build", "--quiet", "--release", "--locked", "--target-dir", "target"],
        ["go", "build", "-C", HERE, "-o", BUILT / "service", "service.go"],
        ["python3", "-m", "venv", BUILT / "venv"],
        [BUILT / "venv/bin/pip", "install", "--quiet", "--requirement", HERE / "requirements.txt"],
    ):
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)


def describe_machine():
    """A sentence each for the machine and for the versions."""
    cpu = re.search(r"Model name:\s*(.*)", output("lscpu"))[1]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    system = re.search('PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())[1]
    requirements = (HERE / "requirements.txt").read_text().split()
    return (
        f"Measured on {datetime.date.today()}: {cpu}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{system}, Linux {os.uname().release}, load average {os.getloadavg()[0]:.2f} at the "
        f"start. Commit {output('git', '-c', 'safe.directory=*', 'log', '-1', '--format=%h')}, "
        f"{' '.join(output('rustc', '--version').split()[:2])}, "
        f"{output('go', 'env', 'GOVERSION')}, {output(BUILT / 'venv/bin/python', '--version')} "
        f"with {', '.join(requirements)}."
    )


def output(*command):
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()


def measure(rounds, seconds):
    """Returns by load and server a row of figures for each round, and the requests that failed."""
    results, errors = {}, {}
    for number in range(rounds):
        # Each round begins with another server, so none always has the same neighbors.
        first = number % len(SERVERS)
        for name in [*SERVERS][first:] + [*SERVERS][:first]:
            with Server(SERVERS[name]) as server:
                time.sleep(1)
                results.setdefault(("idle", name), []).append([None] * 6 + [server.rss()])
                for load, (path, connections) in LOADS.items():
                    row, failed = run_load(server, path, connections, seconds)
                    results.setdefault((load, name), []).append(row)
                    if failed:
                        errors[load, name] = errors.get((load, name), 0) + failed
    return results, errors


def run_load(server, path, connections, seconds):
    first = asyncio.run(slowest_response(server.address, path, connections))
    cpu, new_client = server.cpu(), 0
    command = ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s"]
    command += ["-s", HERE / "wrk.lua", "http://%s:%d%s" % (*server.address, path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        while wrk.poll() is None:
            new_client = max(new_client, asyncio.run(slowest_response(server.address, path, 1)))
            time.sleep(0.1)
        report = json.loads(wrk.stdout.read().splitlines()[-1])
    cpu = 1e6 * (server.cpu() - cpu) / report["requests"]
    rate = report["requests"] / report["seconds"]
    times = report["p50"] / 1e3, report["p99"] / 1e3, first * 1e3, new_client * 1e3
    return [rate, *times, cpu, server.rss()], report["errors"]


async def slowest_response(address, path, connections):
    """Opens connections at once, sends a request on each, returns the longest wait in seconds."""

    async def one():
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status = await reader.readline()
        seconds = time.perf_counter() - start
        writer.close()
        if b" 200 " not in status:
            raise RuntimeError(f"expected status 200, received {status!r}")
        return seconds

    async def bounded():
        try:
            return await asyncio.wait_for(one(), TIMEOUT)
        except asyncio.TimeoutError:
            return TIMEOUT

    return max(await asyncio.gather(*(bounded() for _ in range(connections))))


def spread(values):
    """Formats the median, and the least and the most in parentheses."""
    if values[0] is None:
        return ""
    middle, low, high = (
        f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
        for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low}–{high})" if len(values) > 1 else middle


class Server:
    """A server on a free port of 127.0.0.1, stopped at the end of its `with`."""

    def __init__(self, command):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        self.process = subprocess.Popen(
            [*command, "%s:%d" % self.address], stderr=subprocess.DEVNULL
        )

    def __enter__(self):
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                socket.create_connection(self.address).close()
                return self
            except ConnectionRefusedError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.process.kill()
                    raise
                time.sleep(0.01)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def rss(self):
        """Resident memory in MB."""
        pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu(self):
        """User and system time in seconds. The second field, the name, may contain spaces."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
