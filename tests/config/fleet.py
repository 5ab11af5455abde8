#!/usr/bin/env python3
"""Evaluates queries of the dashboards with promtool: the table of Fleet, the hosts that the other
dashboards let you choose, and the tiles of a host that is missing.

    tests/config/fleet.py PROMTOOL
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

CENTRAL = pathlib.Path(__file__).resolve().parents[2] / "central/dashboards"

# A sample per minute, for 40 minutes, at a central server. `bad` answers half of its requests with
# an error and all of them slowly, has a full disk, and its last samples are two minutes old. The
# service of `down` does not respond. `missing` sent its last samples after 20 minutes, without a
# stale marker. `other` belongs to another user of the central server.
HOSTS = """
up{job="metrics_service", instance="good"} 1x40
up{job="metrics_service", instance="bad"} 1x38 _x2
up{job="metrics_service", instance="down"} 0x40
up{job="metrics_service", instance="missing"} 1x20
up{job="node", instance="missing"} 1x20
up{job="alloy", instance="missing"} 1x20
metrics_service_build_info{job="metrics_service", instance="good", version="1.1.0"} 1x40
metrics_service_build_info{job="metrics_service", instance="bad", version="1.0.0"} 1x40
metrics_service_build_info{job="metrics_service", instance="missing", version="1.0.0"} 1x20
http_requests_total{job="metrics_service", instance="good", endpoint="/", status="200"} 7x40
http_requests_total{job="metrics_service", instance="bad", endpoint="/", status="200"} 0+60x40
http_requests_total{job="metrics_service", instance="bad", endpoint="/", status="500"} 0+60x40
http_requests_total{job="metrics_service", instance="bad", endpoint="/metrics", status="200"} 0+600x40
http_requests_total{job="metrics_service", instance="missing", endpoint="/", status="200"} 0+60x20
http_request_duration_seconds_bucket{job="metrics_service", instance="good", endpoint="/", le="1"} 7x40
http_request_duration_seconds_bucket{job="metrics_service", instance="good", endpoint="/", le="+Inf"} 7x40
http_request_duration_seconds_bucket{job="metrics_service", instance="bad", endpoint="/", le="1"} 0x40
http_request_duration_seconds_bucket{job="metrics_service", instance="bad", endpoint="/", le="2"} 0+120x40
http_request_duration_seconds_bucket{job="metrics_service", instance="bad", endpoint="/", le="+Inf"} 0+120x40
http_request_duration_seconds_bucket{job="metrics_service", instance="missing", endpoint="/", le="1"} 0+60x20
http_request_duration_seconds_bucket{job="metrics_service", instance="missing", endpoint="/", le="+Inf"} 0+60x20
node_memory_MemAvailable_bytes{job="node", instance="missing"} 50x20
node_memory_MemTotal_bytes{job="node", instance="missing"} 100x20
node_boot_time_seconds{job="node", instance="missing"} 0x20
node_filesystem_avail_bytes{job="node", instance="good", mountpoint="/"} 60x40
node_filesystem_size_bytes{job="node", instance="good", mountpoint="/"} 100x40
node_filesystem_avail_bytes{job="node", instance="bad", mountpoint="/"} 50x40
node_filesystem_size_bytes{job="node", instance="bad", mountpoint="/"} 100x40
node_filesystem_avail_bytes{job="node", instance="bad", mountpoint="/data"} 3x40
node_filesystem_size_bytes{job="node", instance="bad", mountpoint="/data"} 100x40
node_filesystem_avail_bytes{job="node", instance="down", mountpoint="/"} 40x40
node_filesystem_size_bytes{job="node", instance="down", mountpoint="/"} 100x40
node_filesystem_avail_bytes{job="node", instance="other", mountpoint="/"} 1x40
node_filesystem_size_bytes{job="node", instance="other", mountpoint="/"} 100x40
prometheus_remote_storage_samples_pending{job="alloy", instance="missing", remote_name="forward"} 327x20
ALERTS{alertname="HostFilesystemAlmostOutOfSpace", instance="bad", alertstate="firing"} 1x40
ALERTS{alertname="HostMemoryLow", instance="bad", alertstate="pending"} 1x40
ALERTS{alertname="TargetDown", job="shop", instance="bad:9201", alertstate="firing"} 1x40
ALERTS{alertname="TargetDown", job="shop", instance="bad:9202", alertstate="firing"} 1x40
ALERTS{alertname="HostNotReporting", instance="missing", alertstate="firing"} _x25 1x15
ALERTS{alertname="Theirs", instance="other", alertstate="firing"} 1x40
"""

# The cells of each column, by host; all others are empty.
TABLE = {
    "Service": {"good": 1, "bad": 1, "down": 0, "missing": -1},
    "Version": {("good", "1.1.0"): 1, ("bad", "1.0.0"): 1},
    "Error ratio": {"good": 0, "bad": 0.5},
    "Latency, p95": {"good": 0, "bad": 1.95},
    "Fullest disk": {"good": 0.4, "bad": 0.97, "down": 0.6},
    "Sample age": {"good": 0, "bad": 120, "down": 0},
    "Alerts": {"good": 0, "bad": 3, "down": 0, "missing": 1},
}
# The hosts to choose from on each dashboard; only `missing` has samples of a `node`.
ALL = ["good", "bad", "down", "missing"]
CHOICES = {"service": ALL, "pipeline": ALL, "host": ["missing"]}

# A host's own Prometheus. The host was renamed after 20 minutes and its Alloy was down until minute
# 30; one application runs on another machine.
RENAMED = """
up{job="alloy", instance="127.0.0.1:12345"} 1x40
up{job="metrics_service", instance="former"} 1x20
up{job="metrics_service", instance="new"} _x30 1x10
ALERTS{alertname="ServiceAbsent", alertstate="firing"} 1x40
ALERTS{alertname="TargetDown", job="shop", instance="192.0.2.1:9200", alertstate="firing"} 1x40
"""


# A new host: the free space of / grows, that of /data stays the same, and that of /full shrinks.
NEW = """
node_filesystem_avail_bytes{job="node", instance="new", mountpoint="/"} 50+0.1x90
node_filesystem_size_bytes{job="node", instance="new", mountpoint="/"} 100x90
node_filesystem_avail_bytes{job="node", instance="new", mountpoint="/data"} 40x90
node_filesystem_size_bytes{job="node", instance="new", mountpoint="/data"} 100x90
node_filesystem_avail_bytes{job="node", instance="new", mountpoint="/full"} 50-0.1x90
node_filesystem_size_bytes{job="node", instance="new", mountpoint="/full"} 100x90
"""
PREDICTED = {"/": 100, "/data": 40, "/full": 0}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    table = next(panel for panel in board("fleet")["panels"] if panel["type"] == "table")
    names = table["transformations"][1]["options"]["renameByName"]
    at_center, columns = [], []
    for target in table["targets"]:
        columns.append(names.get(f"Value #{target['refId']}", names.get("version")))
        at_center.append(
            case(target["expr"], {labels(row): value for row, value in TABLE[columns[-1]].items()})
        )
    if sorted(columns) != sorted(TABLE):
        sys.exit(f"the columns are {columns}")
    for name, choice in CHOICES.items():
        at_center.append(case(choices(name), {labels(host): 1 for host in choice}))
        for panel in board(name)["panels"]:
            if panel["type"] == "stat":
                shown = {'{alertname="HostNotReporting"}': 1} if "alerts" in panel["title"] else {}
                at_center.append(case(panel["targets"][0]["expr"], shown, host="missing"))
    firing = {'{alertname="ServiceAbsent"}': 1, '{alertname="TargetDown"}': 1}
    on_host = [
        case(choices("service"), {labels("former"): 1}, time="28m"),
        case(choices("service"), {labels("new"): 1}),
        case(query("service", "Firing alerts"), firing, host="new"),
    ]
    free = query("host", "Free space in 24 h")
    predicted = {
        f'{{job="node", instance="new", mountpoint="{mountpoint}"}}': value
        for mountpoint, value in PREDICTED.items()
    }
    disks = [case(free, {}, "new", "55m"), case(free, predicted, "new", "90m")]
    tests = [test(HOSTS, at_center), test(RENAMED, on_host), test(NEW, disks)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        # YAML is a superset of JSON.
        json.dump({"fuzzy_compare": True, "tests": tests}, file)
        file.flush()
        sys.exit(subprocess.run([sys.argv[1], "test", "rules", file.name]).returncode)


def board(name):
    return json.loads((CENTRAL / f"{name}.json").read_text())


def query(name, title):
    panel = next(panel for panel in board(name)["panels"] if panel["title"] == title)
    return panel["targets"][0]["expr"]


def choices(name):
    """The query of the variable `instance`."""
    variables = {variable["name"]: variable for variable in board(name)["templating"]["list"]}
    return re.fullmatch(r"query_result\((.*)\)", variables["instance"]["definition"])[1]


def test(series, cases):
    lines = [line.partition("} ") for line in series.strip().splitlines()]
    series = [{"series": name + "}", "values": values} for name, _, values in lines]
    return {"interval": "1m", "input_series": series, "promql_expr_test": cases}


def case(expr, samples, host="", time="40m"):
    samples = [{"labels": labels, "value": value} for labels, value in samples.items()]
    return {"expr": expr.replace("$instance", host), "eval_time": time, "exp_samples": samples}


def labels(row):
    host, version = row if isinstance(row, tuple) else (row, None)
    return f'{{instance="{host}"' + (f', version="{version}"' if version else "") + "}"


main()
