#!/usr/bin/env python3
"""Checks of the shipped configuration that need only its text: faults that neither the servers' own
validation nor the container tests find. Each function test_… yields its problems.

    tests/config/check.py    prints a line for each check; exits 1 if one has problems
"""

import configparser
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ETC = ROOT / "etc"
CENTRAL = ROOT / "central"
PROVISIONING = ETC / "grafana/provisioning"


def main():
    failed = 0
    checks = {name: value for name, value in globals().items() if name.startswith("test_")}
    for name, check in checks.items():
        problems = list(check())
        failed += bool(problems)
        print("✗" if problems else "✓", name.removeprefix("test_").replace("_", " "))
        for problem in problems:
            print(f"    {problem}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


# Servers


def test_one_scrape_interval_everywhere():
    config = (ETC / "alloy/config.alloy").read_text()
    found = set(re.findall(r'scrape_interval = "(\w+)"', config))
    found.add(
        yaml.safe_load((ETC / "prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    )
    found.add(data_source()["jsonData"]["timeInterval"])
    if found != {"15s"}:
        yield f"not 15s everywhere: {found}"


def test_renovate_finds_each_archive():
    pins = (ETC / "versions.conf").read_text()
    found = [
        match[0]
        for manager in json.loads((ROOT / ".github/renovate.json").read_text())["customManagers"]
        for pattern in manager["matchStrings"]
        for match in re.finditer(pattern.replace("(?<", "(?P<"), pins)
    ]
    for line in pins.splitlines():
        if line[:1].isalpha() and not line.startswith(tuple(found)):
            yield f"not matched by .github/renovate.json: {line}"


def test_grafana_connects_to_no_other_host():
    """Including the plugin updates that remove the Prometheus plugin."""
    for section, keys, wanted in (
        ("server", "http_addr", "127.0.0.1"),
        ("auth.anonymous", "enabled", "false"),
        ("users", "allow_sign_up", "false"),
        ("analytics", "reporting_enabled check_for_updates check_for_plugin_updates", "false"),
        ("news", "news_feed_enabled", "false"),
        ("snapshots", "external_enabled", "false"),
        ("security", "disable_gravatar", "true"),
        ("plugins", "preinstall_disabled public_key_retrieval_disabled", "true"),
        ("plugins", "preinstall_auto_update plugin_admin_enabled", "false"),
    ):
        for key in keys.split():
            found = grafana_ini().get(section, key, fallback=None)
            if found != wanted:
                yield f"[{section}] {key} is {found}, not {wanted}"


def test_grafana_is_provisioned():
    for name in ("alerting", "dashboards", "datasources", "plugins"):
        if not any((PROVISIONING / name).iterdir()):
            yield f"git does not keep the empty directory {name}, and Grafana logs an error"
    providers = [
        provider
        for path in (PROVISIONING / "dashboards").glob("*.yaml")
        for provider in yaml.safe_load(path.read_text())["providers"]
    ]
    for key in ("name", "folder", "folderUid"):
        if len({provider[key] for provider in providers}) != len(providers):
            yield f"two providers of dashboards have the same {key}"
    home = grafana_ini()["dashboards"]["default_home_dashboard_path"]
    if not (ETC / pathlib.Path(home).relative_to("/etc/metrics-stack")).exists():
        yield f"the home page {home} is not shipped"
    own = {"text": data_source()["name"], "value": data_source()["uid"]}
    for name, board in dashboards():
        if board["templating"]["list"][0]["current"] != own:
            yield f"{name}: selects another data source than {own}"


# Dashboards

# Hosts do not forward these, so a panel at a central server would have no data.
NOT_FORWARDED = re.compile(
    r'job=~?"[^"]*(prometheus|grafana)[^"]*"|\b(grafana|prometheus_(tsdb|rule|engine|config))_'
)
# Metrics of the service without a panel: an alert uses the first, and the second says little.
NOT_DRAWN = {"process_max_fds", "process_virtual_memory_bytes"}


def test_metrics_of_the_service_have_a_panel_and_an_example():
    page = (ROOT / "docs/metrics.md").read_text()
    examples = " ".join(re.findall(r"^```promql\n(.*?)^```", page, re.M | re.S))
    drawn = " ".join(target["expr"] for name, _, target in targets() if name == "service")
    # A container test compares this reference with /metrics.
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page.split("## Queries")[0], re.M)
    for metric in {name for cell in cells for name in re.findall(r"\w+", cell) if "_" in name}:
        if metric not in NOT_DRAWN and not re.search(rf"\b{metric}(_bucket)?\b", drawn):
            yield f"no panel has {metric}"
        if not re.search(rf"\b{metric}(_bucket)?\b", examples):
            yield f"docs/metrics.md has no example query for {metric}"


def test_central_dashboards_read_forwarded_series_of_the_chosen_host():
    local = r'\w+\{[^{}]*\} and on \(\) up\{job="alloy", instance="127\.0\.0\.1:12345"\} or '
    chosen = r'\w+\{[^{}]*instance=~?"\$instance[^"]*"[^}]*\}'
    for name, board in dashboards():
        if name == "pipeline":
            continue
        queries = [mark["expr"] for mark in board["annotations"]["list"]]
        queries += [target["expr"] for board_name, _, target in targets() if board_name == name]
        for query in queries:
            if NOT_FORWARDED.search(query):
                yield f"{name}: reads series that no host forwards: {query}"
            rest = re.sub(f"{local}|{chosen}", "", query)
            rest = re.sub(r'"[^"]*"|\[[^]]*\]|\b(by|on) \([^)]*\)', "", rest)
            words = set(re.findall(r"\b[a-z]\w*\b(?! *\()", rest)) - {"and", "or", "bool", "offset"}
            if words and name != "central/fleet":
                yield f"{name}: reads the series of other hosts: {query}"


def test_rows_of_fleet_link_to_their_host():
    linked, fleet = set(), dict(dashboards())["central/fleet"]
    for url in re.findall(r'"url": "(/d/[^"]*)"', json.dumps(fleet)):
        uid = re.match(r"/d/([\w-]+)\?var-instance=\$\{__data\.fields\.Host\}&", url)
        linked.add(uid[1] if uid else url)
    if linked != {"metrics-service", "metrics-host", "metrics-pipeline"}:
        yield f"links lead to {linked}"


def test_queries_fit_any_time_range():
    """The window of a rate is at least the distance of two points, or no point shows some events.
    A fixed window is possible inside a subquery: `avg_over_time(rate(…[5m])[$__rate_interval:])`.
    A tile and a table have one point, and the same window in every time range."""
    rates = r"\b(i?rate|increase)\([^\[\]]*\[([^\]]*)\](\)\[\$__rate_interval:\])?"
    for name, panel, target in targets():
        where, expr = f"{name}: {panel['title']}", re.sub('"[^"]*"', '""', target["expr"])
        wanted = "5m" if panel["type"] in ("table", "stat") else "$__rate_interval"
        for function, window, subquery in re.findall(rates, expr):
            # A subquery has a resolution.
            if window.removesuffix(":15s") != wanted and not subquery:
                yield f"{where}: {function} over {window} instead of {wanted}"


def test_unset_timestamps_are_no_lag():
    """Before the first event, a timestamp is 0 or the highest possible number."""
    queries = [(f"{name}: {panel['title']}", target["expr"]) for name, panel, target in targets()]
    queries += [(alert["alert"], alert["expr"]) for _, alert in alerts()]
    for where, expr in queries:
        bounded = r"-\s*\(?\w*timestamp\w*\{[^}]*\}(\s*(?:>\s*0|<\s*time\(\))\))?"
        if "" in re.findall(bounded, expr):
            yield f"{where}: subtracts a timestamp that might not be set yet"


def test_the_same_interfaces_everywhere():
    config = (ETC / "alloy/config.alloy").read_text()
    exporter = re.findall(r'(?:ignored_devices|device_exclude) = "\^\((.*)\)\$"', config)
    if len(exporter) != 2:
        yield "the host exporter does not exclude interfaces in both its collectors"
    excluded = set(exporter)
    selectors = r'node_network_\w+\{job="node", instance="\$instance"(?:, device!~"([^"]*)")?\}'
    for _, _, target in targets():
        excluded |= set(re.findall(selectors, target["expr"]))
    if len(excluded) != 1:
        yield f"excluded are {excluded}"
    virtual = "lo ifb0 veth1a2b3c4 docker0 br-0123456789ab virbr0 cni0 flannel.1 cali0123456789a"
    real = "eth0 ens3 enp0s3 enx001122334455 wlan0 bond0 br0 br-lan vmbr0 wg0 tun0 ppp0 eth0.10"
    for device in (virtual + " " + real).split():
        matches = any(re.fullmatch(pattern, device) for pattern in excluded)
        if matches != (device in virtual.split()):
            yield f"{device} is {'excluded' if matches else 'included'}"


# Alerts

# Files of rules for one host.
LOCAL = "local", "alertmanager"
# The dashboards that show the alerts of a file of rules, if not the ones named like it.
SHOWN_ON = {
    "local": ["pipeline"],
    "alertmanager": ["pipeline"],
    "fleet": ["central/fleet"],
    "pipeline": ["pipeline", "central/pipeline"],
}


def test_alerts_say_what_to_do():
    for where, alert in alerts():
        if alert.get("labels", {}).get("severity") not in ("critical", "warning"):
            yield f"{alert['alert']}: the severity is neither critical nor warning"
        if not alert["annotations"].get("summary"):
            yield f"{alert['alert']}: no summary"
        if not re.search(r"`[^`]+`$", alert["annotations"].get("description", "")):
            yield f"{alert['alert']}: the description does not end with the command to run next"


def test_alerts_name_their_host():
    """With many hosts, aggregations must keep the label, and `absent` does not notice one host. On
    one host, its servers have the instance 127.0.0.1."""
    for where, alert in alerts():
        if where in LOCAL:
            if "{{ $externalLabels.host }}" not in alert["annotations"]["summary"]:
                yield f"{alert['alert']}: its summary does not name the host"
            continue
        host = r"{{ (reReplaceAll .127.0.0.1. \$externalLabels.host )?\$labels.instance }}"
        if not re.search(host, alert["annotations"]["summary"]):
            yield f"{alert['alert']}: its summary does not name the host"
        if "absent" in alert["expr"]:
            yield f"{alert['alert']}: does not notice that one of many hosts is missing"
        aggregations = r"\b(sum|min|max|avg|count|group|quantile|on|by|ignoring|without)\b\s*(?:by\s*)?(\([^()]*\)?)"
        for kind, labels in re.findall(aggregations, alert["expr"]):
            if "instance" not in labels:
                yield f"{alert['alert']}: {kind} {labels} loses the host"


def test_every_alert_is_visible():
    """As a tile and as a mark; at a central server, every tile is also on Fleet."""
    for name, board in dashboards():
        stats = [panel for panel in board["panels"] if panel["type"] == "stat"]
        tiles = [panel["targets"][0]["expr"] for panel in stats]
        marks = [mark["expr"] for mark in board["annotations"]["list"]]
        for kind, queries in ("tile", tiles), ("mark", marks):
            selector = r'ALERTS\{alertstate="firing", alertname!="Watchdog"(?:, alertname=~"(.*?)")?\}'
            shown = [found[1] or ".*" for query in queries if (found := re.search(selector, query))]
            for where, alert in alerts():
                wanted = name in SHOWN_ON.get(where, [where])
                wanted |= (name, kind) == ("central/fleet", "tile") and where not in LOCAL
                if wanted and not any(re.fullmatch(pattern, alert["alert"]) for pattern in shown):
                    yield f"{name}: no {kind} for {alert['alert']}"


def test_every_alert_is_tested():
    fired, silent = set(), set()
    for path in sorted((ROOT / "tests/rules").glob("*.yml")):
        for case in yaml.safe_load(path.read_text())["tests"]:
            for expected in case["promql_expr_test"]:
                for name in re.findall(r'ALERTS\{alertname="(\w+)"', expected["expr"]):
                    (fired if expected.get("exp_samples") else silent).add(name)
    for name in {alert["alert"] for _, alert in alerts()} - (fired & silent):
        yield f"no tests see {name} both firing and silent"


# Reading


def grafana_ini():
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string((ETC / "grafana/grafana.ini").read_text())
    return ini


def data_source():
    path = PROVISIONING / "datasources/prometheus.yaml"
    return yaml.safe_load(path.read_text())["datasources"][0]


def dashboards():
    """Those that serve a host and a central server once."""
    for prefix, directory in ("", ETC / "grafana/dashboards"), ("central/", CENTRAL / "dashboards"):
        for path in sorted(directory.glob("*.json")):
            if not path.is_symlink():
                yield prefix + path.stem, json.loads(path.read_text())


def targets():
    for name, board in dashboards():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield name, panel, target


def alerts():
    for path in [*sorted((ETC / "prometheus/rules").glob("*.yml")), CENTRAL / "rules/fleet.yml"]:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    yield path.stem, rule


main()
