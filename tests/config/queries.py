#!/usr/bin/env python3
"""Runs every query of the shipped dashboards and rules on a Prometheus with the stack's samples.

    tests/config/queries.py URL [SECONDS]
    tests/config/queries.py URL --faults
    tests/config/queries.py URL --central

Each query of a dashboard must return a series, and so must each series that an alert reads: an
alert on a misspelt metric would never fire. Queries without a result are retried for SECONDS
(default 0). On a healthy host with some minutes of requests, the queries of EMPTY are skipped; with
--faults only they run, and must have returned a series within the last hour. With --central, the
URL is that of a central server, and each query must return a series for each host that is up. A
query also fails if Prometheus adds a notice, because Grafana shows it on the panel. Prints each
failure, then `N passed, N failed`.
"""

import json
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Empty on a healthy host: names of marks, and metrics or selectors that rules read.
# tests/e2e/04-dashboards.sh causes faults that fill each of them.
EMPTY = {
    "Restarts",
    "Alerts",
    # Missing if the host or its container forbids reading the clock.
    "node_timex_sync_status",
    "node_timex_maxerror_seconds",
    'alloy_component_controller_running_components{job="alloy", health_type!="healthy"}',
}


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    url, option = sys.argv[1].rstrip("/"), "".join(sys.argv[2:])
    faults, central = option == "--faults", option == "--central"
    deadline = time.monotonic() + (0 if faults or central else float(option or 0))
    directory = "central/dashboards" if central else "etc/grafana/dashboards"

    def get(path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=30) as response:
            return json.load(response)

    def has_series(query):
        now = time.time()
        path, times = "query", {}
        if faults:
            path, times = "query_range", {"start": now - 3600, "end": now, "step": 15}
        try:
            response = get(path, query=query, **times)
        except urllib.error.HTTPError as error:
            response = {"warnings": [json.load(error)["error"]]}
        notices = response.get("warnings", []) + response.get("infos", [])
        for notice in notices:
            print(f"  {notice}")
        return not notices and bool(response["data"]["result"])

    found = [*dashboard_queries(get, ROOT / directory, faults), *rule_queries(get)]
    for unknown in EMPTY - {key for _, _, key in found}:
        sys.exit(f"EMPTY contains {unknown}, which no query reads")
    queries = [(where, query) for where, query, key in found if (key in EMPTY) == faults]
    failed = queries
    while True:
        failed = [(where, query) for where, query in failed if not has_series(query)]
        if not failed or time.monotonic() > deadline:
            break
        time.sleep(5)
    for where, query in failed:
        print(f"✗ {where}: no series, or a notice: {query}")
    print(f"{len(queries) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed or not queries else 0)


def dashboard_queries(get, directory, faults):
    """Yields where each query is, the query, and its name in EMPTY, for each host that is up."""
    for path in sorted(directory.glob("*.json")):
        board = json.loads(path.read_text())
        hosts = [".+"]
        for variable in board["templating"]["list"]:
            if variable["name"] == "instance" and not faults:
                up = re.search(r"\bup\{[^}]*\}", variable["definition"])[0]
                result = get("query", query=f"{up} == 1")["data"]["result"]
                hosts = sorted(series["metric"]["instance"] for series in result)
        if not hosts:
            sys.exit(f"{board['title']} has no host to choose")
        queries = [(mark["name"], mark["expr"]) for mark in board["annotations"]["list"]]
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                # Without the bar that a timeline shows instead of no series, and without waiting
                # for an hour of samples.
                expr = target["expr"].split(" or on () label_replace(vector(-1)")[0]
                queries.append((panel["title"], expr.replace(" offset 1h", "")))
        for host in hosts:
            for title, expr in queries:
                if faults:
                    # The host with a fault might be gone.
                    expr = expr.replace('="$instance"', '=~"$instance"')
                for variable, value in ("__rate_interval", "1m"), ("instance", host):
                    expr = expr.replace(f"${variable}", value)
                yield f"{board['title']}, {title}, {host}", expr, title


def rule_queries(get):
    """Yields the selectors of each rule: on a healthy host, its comparison has no result."""
    for group in get("rules")["data"]["groups"]:
        for rule in group["rules"]:
            if rule["health"] == "err":
                sys.exit(f"rule {rule['name']}: {rule['lastError']}")
            selectors = set(re.findall(r"(?:\b[a-zA-Z_]\w*)?\{[^}]*\}", rule["query"]))
            if not selectors:
                sys.exit(f"rule {rule['name']} has no selector that this script finds")
            for selector in selectors:
                keys = (selector.split("{")[0], normalized(selector))
                names = [name for name in EMPTY if name == keys[0] or normalized(name) == keys[1]]
                yield f"rule {rule['name']}", selector, names[0] if names else None


def normalized(selector):
    """Prometheus prints selectors with sorted matchers and other spaces."""
    name, _, matchers = selector.partition("{")
    return name, sorted(part.strip() for part in matchers.rstrip("}").split(","))


main()
