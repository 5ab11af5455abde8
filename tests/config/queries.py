#!/usr/bin/env python3
"""Runs every query of the shipped dashboards and rules against a Prometheus that has the stack's samples.

    tests/config/queries.py URL [SECONDS]
    tests/config/queries.py URL --faults
    tests/config/queries.py URL --central

For a healthy host that has had some minutes of requests. A query of a dashboard has to give at least one series, and
every series that an alert looks at has to exist: an alert over a misspelt metric would be silent for ever. What has
nothing to show yet is asked again until SECONDS (default 0) have passed. With --faults, for a host that has been through
some: what is rightly empty on a healthy one has to have shown something within the last hour. With --central, for a far end:
the dashboards are those for many hosts, and each query has to give series for each of the hosts that are up. A query that Prometheus
answers with a notice fails, because Grafana shows it on the panel. Prints each failure, then `N passed, N failed`.
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

# Nothing to show on a healthy host, and rightly so: marks by their name, what rules look at by its metric or selector.
# The fault tests of tests/vm/04-dashboards.sh make each of them show something.
RIGHTLY_EMPTY = {
    "Restarts": "the mark of a restart",
    "Alerts": "the mark of a firing alert",
    # Not there where the host or its container lets nobody ask the clock.
    "node_timex_sync_status": "HostClockUnsynchronised",
    "node_timex_maxerror_seconds": "HostClockUnsynchronised",
    # Only there while a component is ill.
    'alloy_component_controller_running_components{job="alloy", health_type!="healthy"}': "AlloyComponentUnhealthy",
}


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    prometheus, faults, central = sys.argv[1].rstrip("/"), sys.argv[2:] == ["--faults"], sys.argv[2:] == ["--central"]
    patience = 0 if faults or central else float(sys.argv[2] if len(sys.argv) == 3 else 0)
    folder = ROOT / ("central/dashboards" if central else "etc/grafana/dashboards")

    def ask(path, **parameters):
        url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            answered = json.load(answer)
            for notice in answered.get("warnings", []) + answered.get("infos", []):
                print(f"  {notice}")
                raise Notice
            return answered["data"]

    everything = [*dashboard_queries(ask, folder, faults), *rule_queries(ask)]
    for unknown in set(RIGHTLY_EMPTY) - {key for _, _, key in everything}:
        sys.exit(f"RIGHTLY_EMPTY has {unknown}, which nothing asks for")
    queries = [(where, query) for where, query, key in everything if (key in RIGHTLY_EMPTY) == faults]
    gives_series = gave_series if faults else gives_series_now
    deadline = time.monotonic() + patience
    failed = queries
    while True:
        failed = [(where, query) for where, query in failed if not gives_series(ask, query)]
        if not failed or time.monotonic() > deadline:
            break
        time.sleep(5)
    for where, query in failed:
        print(f"✗ {where}: no series, or a notice: {query}")
    print(f"{len(queries) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed or not queries else 0)


def gave_series(ask, query):
    now = time.time()
    return bool(ask("query_range", query=query, start=now - 3600, end=now, step=15)["result"])


def gives_series_now(ask, query):
    try:
        return bool(ask("query", query=query)["result"])
    except urllib.error.HTTPError as error:
        print(f"  {json.load(error)['error']}")
        return False
    except Notice:
        return False


class Notice(Exception):
    """Prometheus has answered with one."""


def dashboard_queries(ask, folder, faults):
    """Where a query stands, the query, and what RIGHTLY_EMPTY would call it; for each host that can be chosen and is up."""
    for path in sorted(folder.glob("*.json")):
        board = json.loads(path.read_text())
        values, hosts = {"__rate_interval": "1m", "__range": "30m"}, [".+"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query" and not faults:
                metric = re.search(r"\bup\{[^}]*\}", variable["definition"])[0]
                hosts = sorted(series["metric"]["instance"] for series in ask("query", query=f"{metric} == 1")["result"])
        if not hosts:
            raise SystemExit(f"{board['title']} has no host to choose")
        asked = [(item["name"], item["expr"]) for item in board["annotations"]["list"]]
        for panel in board["panels"]:
            # Without the bar that a timeline has instead of no series.
            for target in panel.get("targets", []):
                asked.append((panel["title"], target["expr"].split(" or on () label_replace(vector(-1)")[0]))
        for host in hosts:
            values["instance"] = host
            for title, expr in asked:
                if faults:
                    # What has gone wrong may have done so on a host that is gone.
                    expr = expr.replace('="$instance"', '=~"$instance"')
                # A prediction needs an hour of samples.
                expr = expr.replace(" offset 1h", "")
                where = f"{board['title']}, {title}" + (f", {host}" if len(hosts) > 1 else "")
                yield where, re.sub(r"\$([a-zA-Z_]\w*)", lambda match: values[match[1]], expr), title


def rule_queries(ask):
    """What each rule reads, without its comparison, which a healthy host does not meet."""
    for group in ask("rules")["groups"]:
        for rule in group["rules"]:
            if rule["health"] == "err":
                raise SystemExit(f"rule {rule['name']}: {rule['lastError']}")
            selectors = set(re.findall(r"(?:\b[a-zA-Z_]\w*)?\{[^}]*\}", rule["query"]))
            if not selectors:
                raise SystemExit(f"rule {rule['name']} looks at no series that could be found out here")
            for selector in selectors:
                names = [key for key in RIGHTLY_EMPTY if key == selector.split("{")[0] or spaced(key) == spaced(selector)]
                yield f"rule {rule['name']}", selector, names[0] if names else None


def spaced(selector):
    """Prometheus prints selectors its own way: with the matchers sorted, and no space between them."""
    name, _, matchers = selector.partition("{")
    return name, sorted(part.strip() for part in matchers.rstrip("}").split(","))


main()
