#!/usr/bin/env python3
"""Evaluates the table of the dashboard Fleet, as it is shipped, for hosts of which all but one are ill, by promtool.

    tests/config/fleet.py PROMTOOL
"""

import json
import pathlib
import subprocess
import sys
import tempfile

FLEET = pathlib.Path(__file__).resolve().parents[2] / "central/dashboards/fleet.json"

# A sample a minute for 40 minutes. The ill host answers half of its requests with an error, all of them slowly, is nearly full,
# and its last samples are two minutes old; on another the service is down; the silent one was there until the 20th minute.
SERIES = {
    'up{job="metrics_service", instance="well"}': "1x40",
    'up{job="metrics_service", instance="ill"}': "1x38 _x2",
    'up{job="metrics_service", instance="down"}': "0x40",
    'up{job="metrics_service", instance="silent"}': "1x20 stale",
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
    'ALERTS{alertname="HostDiskFull", instance="ill", alertstate="firing"}': "1x40",
    'ALERTS{alertname="HostMemoryLow", instance="ill", alertstate="pending"}': "1x40",
    'ALERTS{alertname="HostSilent", instance="silent", alertstate="firing"}': "_x25 1x15",
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
    "Alerts": {"well": 0, "ill": 1, "down": 0, "silent": 1},
}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    panel = next(panel for panel in json.loads(FLEET.read_text())["panels"] if panel["type"] == "table")
    names = next(step["options"]["renameByName"] for step in panel["transformations"] if step["id"] == "organize")
    cases, columns = [], []
    for target in panel["targets"]:
        column = names.get(f"Value #{target['refId']}", names.get("version"))
        columns.append(column)
        samples = [{"labels": labels(row), "value": value} for row, value in TABLE[column].items()]
        cases.append({"expr": target["expr"], "eval_time": "40m", "exp_samples": samples})
    if sorted(columns) != sorted(TABLE):
        sys.exit(f"the columns are {columns}")
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": cases}
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        # YAML is a superset of JSON.
        json.dump({"fuzzy_compare": True, "tests": [test]}, file)
        file.flush()
        sys.exit(subprocess.run([sys.argv[1], "test", "rules", file.name]).returncode)


def labels(row):
    host, version = row if isinstance(row, tuple) else (row, None)
    return f'{{instance="{host}"' + (f', version="{version}"' if version else "") + "}"


main()
