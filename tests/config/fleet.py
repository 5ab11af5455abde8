#!/usr/bin/env python3
"""Evaluates the table of the Fleet dashboard, as it is shipped, for hosts of which all but one are ill, by promtool; and of the
pages that its rows lead to, which hosts can be chosen and what the tiles say of a silent one.

    tests/config/fleet.py PROMTOOL
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

CENTRAL = pathlib.Path(__file__).resolve().parents[2] / "central/dashboards"

# A sample a minute for 40 minutes. The ill host answers half of its requests with an error, all of them slowly, is nearly full,
# and its last samples are two minutes old; on another the service is down; the silent one was there until the 20th minute, when
# nobody had time to say that its series end.
SERIES = {
    'up{job="metrics_service", instance="well"}': "1x40",
    'up{job="metrics_service", instance="ill"}': "1x38 _x2",
    'up{job="metrics_service", instance="down"}': "0x40",
    'up{job="metrics_service", instance="silent"}': "1x20",
    'up{job="node", instance="silent"}': "1x20",
    'up{job="alloy", instance="silent"}': "1x20",
    'metrics_service_build_info{job="metrics_service", instance="silent", version="1.0.0"}': "1x20",
    'http_requests_total{job="metrics_service", instance="silent", endpoint="/", status="200"}': "0+60x20",
    'http_request_duration_seconds_bucket{job="metrics_service", instance="silent", endpoint="/", le="1"}': "0+60x20",
    'http_request_duration_seconds_bucket{job="metrics_service", instance="silent", endpoint="/", le="+Inf"}': "0+60x20",
    'node_memory_MemAvailable_bytes{job="node", instance="silent"}': "50x20",
    'node_memory_MemTotal_bytes{job="node", instance="silent"}': "100x20",
    'node_boot_time_seconds{job="node", instance="silent"}': "0x20",
    'prometheus_remote_storage_samples_pending{job="alloy", instance="silent", remote_name="forward"}': "327x20",
    'metrics_service_build_info{job="metrics_service", instance="well", version="1.1.0"}': "1x40",
    'metrics_service_build_info{job="metrics_service", instance="ill", version="1.0.0"}': "1x40",
    'http_requests_total{job="metrics_service", instance="well", endpoint="/", status="200"}': "7x40",
    'http_requests_total{job="metrics_service", instance="ill", endpoint="/", status="200"}': "0+60x40",
    'http_requests_total{job="metrics_service", instance="ill", endpoint="/", status="500"}': "0+60x40",
    'http_requests_total{job="metrics_service", instance="ill", endpoint="/metrics", status="200"}': "0+600x40",
    'http_request_duration_seconds_bucket{job="metrics_service", instance="well", endpoint="/", le="1"}': "7x40",
    'http_request_duration_seconds_bucket{job="metrics_service", instance="well", endpoint="/", le="+Inf"}': "7x40",
    'http_request_duration_seconds_bucket{job="metrics_service", instance="ill", endpoint="/", le="1"}': "0x40",
    'http_request_duration_seconds_bucket{job="metrics_service", instance="ill", endpoint="/", le="2"}': "0+120x40",
    'http_request_duration_seconds_bucket{job="metrics_service", instance="ill", endpoint="/", le="+Inf"}': "0+120x40",
    'ALERTS{alertname="HostFilesystemAlmostOutOfSpace", instance="ill", alertstate="firing"}': "1x40",
    'ALERTS{alertname="HostMemoryLow", instance="ill", alertstate="pending"}': "1x40",
    # Of its applications.
    'ALERTS{alertname="TargetDown", job="shop", instance="ill:9201", alertstate="firing"}': "1x40",
    'ALERTS{alertname="TargetDown", job="shop", instance="ill:9202", alertstate="firing"}': "1x40",
    'ALERTS{alertname="HostNotReporting", instance="silent", alertstate="firing"}': "_x25 1x15",
    # Of others who use the same far end.
    'ALERTS{alertname="Theirs", instance="other", alertstate="firing"}': "1x40",
}
for host, mountpoint, available in ("well", "/", 60), ("ill", "/", 50), ("ill", "/data", 3), ("down", "/", 40), ("other", "/", 1):
    labels = f'job="node", instance="{host}", mountpoint="{mountpoint}", fstype="ext4"'
    SERIES[f"node_filesystem_avail_bytes{{{labels}}}"] = f"{available}x40"
    SERIES[f"node_filesystem_size_bytes{{{labels}}}"] = "100x40"

# What stands in each column, by host; a cell that is not here is empty.
TABLE = {
    "Service": {"well": 1, "ill": 1, "down": 0, "silent": -1},
    "Version": {("well", "1.1.0"): 1, ("ill", "1.0.0"): 1},
    "Error ratio": {"well": 0, "ill": 0.5},
    "Latency, p95": {"well": 0, "ill": 1.95},
    "Fullest disk": {"well": 0.4, "ill": 0.97, "down": 0.6},
    "Age of samples": {"well": 0, "ill": 120, "down": 0},
    "Alerts": {"well": 0, "ill": 3, "down": 0, "silent": 1},
}

# Which hosts can be chosen on the pages about one of them. No sample of a `node` comes from the others here.
CHOICE = {"service": ["well", "ill", "down", "silent"], "pipeline": ["well", "ill", "down", "silent"], "host": ["silent"]}
# The tiles that say something of a silent host.
SAID_OF_SILENT = {"Firing alerts": '{alertname="HostNotReporting"}', "Firing alerts of the host": '{alertname="HostNotReporting"}'}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    panel = next(panel for panel in board("fleet")["panels"] if panel["type"] == "table")
    names = next(step["options"]["renameByName"] for step in panel["transformations"] if step["id"] == "organize")
    cases, columns = [], []
    for target in panel["targets"]:
        column = names.get(f"Value #{target['refId']}", names.get("version"))
        columns.append(column)
        samples = [{"labels": labels(row), "value": value} for row, value in TABLE[column].items()]
        cases.append({"expr": target["expr"], "eval_time": "40m", "exp_samples": samples})
    if sorted(columns) != sorted(TABLE):
        sys.exit(f"the columns are {columns}")
    for name, hosts in CHOICE.items():
        variable = next(one for one in board(name)["templating"]["list"] if one["name"] == "instance")
        query = re.fullmatch(r"query_result\((.*)\)", variable["query"]["query"])[1]
        samples = [{"labels": labels(host), "value": 1} for host in hosts]
        cases.append({"expr": query, "eval_time": "40m", "exp_samples": samples})
        for tile in (one for one in board(name)["panels"] if one["type"] == "stat"):
            said = SAID_OF_SILENT.get(tile["title"])
            samples = [{"labels": said, "value": 1}] if said else []
            expr = tile["targets"][0]["expr"].replace("$instance", "silent")
            cases.append({"expr": expr, "eval_time": "40m", "exp_samples": samples})
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": cases}
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        # YAML is a superset of JSON.
        json.dump({"fuzzy_compare": True, "tests": [test]}, file)
        file.flush()
        sys.exit(subprocess.run([sys.argv[1], "test", "rules", file.name]).returncode)


def board(name):
    return json.loads((CENTRAL / f"{name}.json").read_text())


def labels(row):
    host, version = row if isinstance(row, tuple) else (row, None)
    return f'{{instance="{host}"' + (f', version="{version}"' if version else "") + "}"


main()
