#!/usr/bin/env python3
"""What forwarding costs the sender: CPU, memory and bytes, for each number of series that is given.

    bench/forward.py 1000 10000 100000

scrapes an exporter of made-up series every 15 s and writes them to a receiver on the loopback. The sender is Alloy from
ALLOY=FILE, with the components that the stack has, or else Prometheus as an agent, from PROMETHEUS=FILE (`prometheus`). The
receiver is VICTORIA=FILE (`victoria-metrics`), or with RECEIVER=prometheus the same Prometheus. WARM=120 and MEASURE=180 are
the seconds before and of a measurement, the latter a multiple of 15. The three tell their CPU time and memory themselves.
"""

import http.server
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PROMETHEUS = os.environ.get("PROMETHEUS", "prometheus")
VICTORIA = os.environ.get("VICTORIA", "victoria-metrics")
WARM, MEASURE = int(os.environ.get("WARM", 120)), int(os.environ.get("MEASURE", 180))
PER_TARGET = 10_000  # a big application's

AGENT = """global: {{scrape_interval: 15s}}
scrape_configs: [{{job_name: bench, static_configs: [{targets}]}}]
remote_write: [{{name: forward, url: "http://{to}/api/v1/write"}}]
"""
AGENT_TARGET = '{{targets: ["{exporter}"], labels: {{__metrics_path__: {path}, instance: "{name}"}}}}'
ALLOY = """prometheus.scrape "bench" {{
	targets         = [{targets}]
	scrape_interval = "15s"
	forward_to      = [prometheus.relabel.outbound.receiver]
}}
prometheus.relabel "outbound" {{
	forward_to = [prometheus.remote_write.forward.receiver]
}}
prometheus.remote_write "forward" {{
	endpoint {{
		name = "forward"
		url  = "http://{to}/api/v1/write"
	}}
}}
"""
ALLOY_TARGET = '{{"__address__" = "{exporter}", "__metrics_path__" = "{path}", "instance" = "{name}"}}'
HEAD = ["series", "samples/s", "sender: CPU, % of a core", "memory, MB", "sent, KB/s", "bytes a sample", "receiver: CPU, %", "memory, MB"]


def main():
    exporter = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    exporter.handle_error = lambda *_: None  # a sender may end in the middle of a scrape
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for series in map(int, sys.argv[1:] or ["1000"]):
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {' | '.join(measure(series, f'127.0.0.1:{exporter.server_port}', pathlib.Path(folder)))} |", flush=True)


class Exporter(http.server.BaseHTTPRequestHandler):
    """`/N/I` is target I, with N series of ten labels: half counters, half gauges, each with a new value at each scrape."""

    counts = {}

    def do_GET(self):
        size, target = map(int, self.path.strip("/").split("/"))
        body = "".join(sorted(self.line(target, i) for i in range(size))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def line(self, target, i):
        method, status = ("GET", "POST", "PUT", "DELETE")[i % 4], (200, 201, 404, 500)[i // 4 % 4]
        labels = (
            f'method="{method}",status="{status}",handler="/api/v1/resource-{i // 16}",shard="{i // 64:04}",team="payments",'
            f'version="1.14.{target}",region="eu-central-1",zone="eu-central-1{"abc"[target % 3]}"'
        )
        if i % 2:
            return f"bench_queue_seconds{{{labels}}} {random.expovariate(2):.4f}\n"
        self.counts[target, i] = self.counts.get((target, i), 0) + random.randrange(1, 200)
        return f"bench_requests_total{{{labels}}} {self.counts[target, i]}\n"

    def log_message(self, *_):
        pass


def measure(series, exporter, folder):
    own, to = free_address(), free_address()
    receiver = receive(to, folder)
    sender = send(own, exporter, series, to, folder)
    try:
        time.sleep(WARM)
        before = reading(own) + reading(to)
        time.sleep(MEASURE)
        after = reading(own) + reading(to)
    finally:
        for program in sender, receiver:
            program.terminate()
            program.wait()
    cpu, _, samples, size, far_cpu = ((b - a) / MEASURE for a, b in zip(before[:5], after[:5]))
    figures = samples, 100 * cpu, after[1] / 1e6, size / 1000, size / samples, 100 * far_cpu, after[5] / 1e6
    return [f"{series:,}", *(f"{figure:,.{0 if figure >= 20 else 1}f}" for figure in figures)]


def receive(address, folder):
    if os.environ.get("RECEIVER") != "prometheus":
        return start(VICTORIA, "-loggerLevel=ERROR", f"-storageDataPath={folder}/far", f"-httpListenAddr={address}")
    (folder / "far.yml").write_text("{}")
    own = [f"--config.file={folder}/far.yml", f"--storage.tsdb.path={folder}/far", f"--web.listen-address={address}"]
    return start(PROMETHEUS, "--log.level=error", "--web.enable-remote-write-receiver", *own)


def send(address, exporter, series, to, folder):
    alloy, size = os.environ.get("ALLOY"), min(series, PER_TARGET)
    form = ALLOY_TARGET if alloy else AGENT_TARGET
    targets = [form.format(exporter=exporter, path=f"/{size}/{i}", name=f"app-{i}:9100") for i in range(series // size)]
    config = folder / ("config.alloy" if alloy else "agent.yml")
    config.write_text((ALLOY if alloy else AGENT).format(targets=", ".join(targets), to=to))
    if alloy:
        return start(alloy, "run", "--disable-reporting", f"--server.http.listen-addr={address}", f"--storage.path={folder}/own", config)
    own = [f"--config.file={config}", f"--storage.agent.path={folder}/own", f"--web.listen-address={address}"]
    return start(PROMETHEUS, "--agent", "--log.level=error", *own)


def start(*command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def reading(address):
    """CPU seconds and resident bytes, then what was sent: samples and bytes."""
    page = urllib.request.urlopen(f"http://{address}/metrics").read().decode()

    def total(name):
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE))

    own = "process_cpu_seconds_total", "process_resident_memory_bytes"
    return [total(name) for name in (*own, "prometheus_remote_storage_samples_total", "prometheus_remote_storage_bytes_total")]


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


if __name__ == "__main__":
    main()
