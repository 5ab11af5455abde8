#!/usr/bin/env python3
"""Checks of the shipped configuration that need only its text.

    tests/config/check.py --list    the names of the checks
    tests/config/check.py NAME      runs one: prints each problem and exits 1 if there is any

Each check is a function below that yields its problems.
"""

import configparser
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ETC = ROOT / "etc"
INSTALLED = "/etc/metrics-stack"
METRICS_PAGE = ROOT / "docs/metrics.md"
CENTRAL_RULES = sorted((ROOT / "central/rules").glob("*.yml"))


# What Alloy would refuse

ALLOY = [ETC / "alloy/config.alloy", ETC / "alloy/outputs.alloy"]


def alloy_blocks_are_balanced():
    text = ALLOY[1].read_text()
    in_use = re.sub(r'^//(?: (?=[a-z_.]+ "|\t|\})|$)', "", text, flags=re.M)
    if in_use.count('prometheus.remote_write "') < 2:
        yield "outputs.alloy: the commented example of a second receiver is gone"
    for path, text in [*alloy_texts(), (ALLOY[1], in_use)]:
        depth = 0
        for number, line in enumerate(code(text).splitlines(), start=1):
            for char in re.sub(r'"(\\.|[^"\\])*"', '""', line):
                depth += {"{": 1, "[": 1, "(": 1, "}": -1, "]": -1, ")": -1}.get(char, 0)
            if depth < 0:
                yield f"{path.name}:{number}: closes more than was opened"
            if re.match(r" +\S", line) or line != line.rstrip():
                yield f"{path.name}:{number}: indented by spaces, or with spaces at the end"
            if len(re.findall(r'(?<!\\)"', line)) % 2:
                yield f"{path.name}:{number}: a string is not closed"
        if depth > 0:
            yield f"{path.name}: {depth} not closed"


def alloy_references_resolve():
    everything = code("\n".join(text for _, text in alloy_texts()))
    labelled = re.findall(r'^([a-z][a-z_.]*) "(\w+)" \{', everything, re.M)
    defined = {f"{kind}.{label}" for kind, label in labelled}
    if len(defined) != len(labelled):
        yield "a component is defined twice"
    exports = {
        "prometheus.relabel": "receiver",
        "prometheus.remote_write": "receiver",
        "prometheus.exporter.unix": "targets",
        "discovery.file": "targets",
        "discovery.relabel": "output",
    }
    values = re.sub(r'"(\\.|[^"\\])*"|^[a-z][a-z_.]* "\w+" \{', '""', everything, flags=re.M)
    used = re.findall(r"\b((?:prometheus|discovery)(?:\.\w+)+)\.(\w+)\b", values)
    if not used:
        yield "no reference found at all"
    for component, export in used:
        kind = component.rpartition(".")[0]
        if component not in defined:
            yield f"{component} is named and defined nowhere"
        elif exports.get(kind) != export:
            yield f"{kind} exports no {export}"
    for component in sorted(defined):
        kind = component.rpartition(".")[0]
        if kind != "prometheus.scrape" and not any(component == name for name, _ in used):
            yield f"{component} is used by nobody"


def alloy_scrapes_what_the_design_says():
    text = code(ALLOY[0].read_text())
    for scrape in re.findall(r'^prometheus\.scrape "(\w+)" \{\n(.*?)^\}', text, re.M | re.S):
        for wanted in ('scrape_interval = "15s"', "[prometheus.relabel.outbound.receiver]"):
            if wanted not in re.sub(r" +", " ", scrape[1]):
                yield f"scrape {scrape[0]} has no {wanted}"
    for job in ("metrics_service", "node", "applications"):
        if f'prometheus.scrape "{job}"' not in text:
            yield f"no scrape {job}"
    if f'files = ["{INSTALLED}/targets.d/*.yml"]' not in text:
        yield "the folder of drop-in targets is another one"


# What the servers would do past each other


def addresses_agree_with_the_units():
    service = unit("metrics-service.socket", r"^ListenStream=(\S+)")
    alloy = unit("metrics-alloy.service", r"--server\.http\.listen-addr=(\S+)")
    prometheus = unit("metrics-prometheus.service", r"--web\.listen-address=(\S+)")
    grafana = "{http_addr}:{http_port}".format(**grafana_ini()["server"])

    if f'"__address__" = "{service}"' not in ALLOY[0].read_text():
        yield f"Alloy does not scrape the service at {service}"
    if f'"http://{prometheus}/api/v1/write"' not in code(ALLOY[1].read_text()):
        yield f"Alloy does not write to Prometheus at {prometheus}"
    unit("metrics-prometheus.service", r"(--web\.enable-remote-write-receiver)")
    if datasource()["url"] != f"http://{prometheus}":
        yield f"Grafana does not ask Prometheus at {prometheus}"
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus_yml()["scrape_configs"]}
    wanted = {"prometheus": [prometheus], "alloy": [alloy], "grafana": [grafana]}
    if jobs != wanted:
        yield f"Prometheus scrapes {jobs} instead of {wanted}"


def paths_agree_with_the_units():
    for name, pattern, path in [
        ("metrics-alloy.service", r"^\s*(/etc/\S*)$", "alloy"),
        ("metrics-prometheus.service", r"--config\.file=(\S+)", "prometheus/prometheus.yml"),
        ("metrics-prometheus.service", r"^EnvironmentFile=(\S+)", "prometheus/retention.env"),
        ("metrics-grafana.service", r"--config=(\S+)", "grafana/grafana.ini"),
    ]:
        if unit(name, pattern) != f"{INSTALLED}/{path}":
            yield f"{name} reads {unit(name, pattern)}"
        if not (ETC / path).exists():
            yield f"etc/{path} is missing"

    state = "/var/lib/" + unit("metrics-grafana.service", r"^StateDirectory=(\S+)")
    paths = grafana_ini()["paths"]
    for key in ("data", "logs", "plugins"):
        if not (paths[key] + "/").startswith(state + "/"):
            yield f"Grafana's {key} are outside of {state}, where it can't write"
    home = grafana_ini()["dashboards"]["default_home_dashboard_path"]
    provider = yaml.safe_load((ETC / "grafana/provisioning/dashboards/metrics-stack.yaml").read_text())["providers"][0]
    for path in (paths["provisioning"], home, provider["options"]["path"]):
        if not path.startswith(INSTALLED + "/") or not (ROOT / path.replace(INSTALLED, "etc", 1)).exists():
            yield f"Grafana reads {path}, which is not shipped"


def retention_is_what_the_unit_reads():
    assigned = dict(re.findall(r"^(\w+)=(\S+)$", (ETC / "prometheus/retention.env").read_text(), re.M))
    read = set(re.findall(r"\$\{(\w+)\}", (ROOT / "systemd/metrics-prometheus.service").read_text()))
    if set(assigned) != read:
        yield f"retention.env sets {sorted(assigned)}, the unit reads {sorted(read)}"
    if not re.fullmatch(r"\d+[hdwy]", assigned.get("RETENTION_TIME", "")):
        yield "RETENTION_TIME is no duration"
    if not re.fullmatch(r"\d+[MGT]B", assigned.get("RETENTION_SIZE", "")):
        yield "RETENTION_SIZE is no size"


def one_scrape_interval_everywhere():
    found = {
        "prometheus.yml": prometheus_yml()["global"]["scrape_interval"],
        "the data source": datasource()["jsonData"]["timeInterval"],
    }
    for value in re.findall(r'scrape_interval = "(\w+)"', ALLOY[0].read_text()):
        found["config.alloy"] = value if found.get("config.alloy", value) == value else "different ones"
    if set(found.values()) != {"15s"}:
        yield f"not 15 s everywhere: {found}"


def files_laid_beside_are_not_read():
    """An upgrade lays the new version of an edited file beside it as NAME.new."""
    globs = [*prometheus_yml()["rule_files"], *re.findall(r'files\s*= \["(.*?)"\]', code(ALLOY[0].read_text()))]
    for glob in globs:
        if not re.search(r"/\*\.yml$", glob):
            yield f"{glob} may match *.new"
    examples = [path for path in (ETC / "targets.d").iterdir() if path.match("*.yml")]
    if examples:
        yield f"would be scraped on every host: {examples}"


# Grafana

GRAFANA_SETTINGS = {
    "server": {"http_addr": "127.0.0.1", "http_port": "3001"},
    "log": {"mode": "console"},
    "security": {"admin_user": "admin", "admin_password": "admin", "disable_gravatar": "true"},
    "users": {"allow_sign_up": "false"},
    "auth.anonymous": {"enabled": "false"},
    "analytics": {
        "reporting_enabled": "false",
        "check_for_updates": "false",
        "check_for_plugin_updates": "false",
        "feedback_links_enabled": "false",
    },
    "news": {"news_feed_enabled": "false"},
    "snapshots": {"external_enabled": "false"},
    "plugins": {
        "preinstall_disabled": "true",
        "preinstall_auto_update": "false",
        "plugin_admin_enabled": "false",
        "public_key_retrieval_disabled": "true",
    },
}


def grafana_keeps_to_itself():
    ini = grafana_ini()
    for section, wanted in GRAFANA_SETTINGS.items():
        for key, value in wanted.items():
            found = ini.get(section, key, fallback=None)
            if found != value:
                yield f"[{section}] {key} is {found}, not {value}"


def grafana_is_provisioned():
    folder = ETC / "grafana/provisioning"
    for name in ("alerting", "dashboards", "datasources", "notifiers", "plugins"):
        if not any((folder / name).glob("*")) and not (folder / name / ".keep").exists():
            yield f"provisioning/{name} would be missing on the host, and Grafana log an error"
    for path in sorted(folder.rglob("*.yaml")):
        if yaml.safe_load(path.read_text()).get("apiVersion") != 1:
            yield f"{path.name}: apiVersion is not 1"
    if datasource()["uid"] != "prometheus" or not datasource()["isDefault"]:
        yield "the data source has another uid, or is not the default"


def dashboards_are_sound():
    uids, titles = set(), set()
    for name, board in dashboards():
        place, _, stem = name.rpartition("/")
        if board.get("uid") != f"metrics-{stem}" or (place, board["title"]) in titles:
            yield f"{name}: uid is not metrics-{stem}, or the title is taken"
        uids.add((place, board["uid"])), titles.add((place, board["title"]))
        if not 36 <= board["schemaVersion"] <= 42 or board.get("id") or "elements" in board:
            yield f"{name}: not classic JSON of a schema version that 9.3 and 13 read"
        if "metrics-stack" not in board["tags"] or not board["links"]:
            yield f"{name}: no tag or no links, by which the dashboards find each other"
        # Of many hosts one or another restarts all the time.
        if stem != "fleet" and "Restarts" not in {mark["name"] for mark in board["annotations"]["list"]}:
            yield f"{name}: no marks of restarts"
        panels = board["panels"]
        if len({panel["id"] for panel in panels}) != len(panels):
            yield f"{name}: panel ids are not unique"
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            if taken & cells or place["x"] + place["w"] > 24:
                yield f"{name}: {panel['title']} overlaps another panel or the edge"
            taken |= cells
        for panel in panels:
            if sum(y == panel["gridPos"]["y"] for _, y in taken) != 24:
                yield f"{name}: the line of {panel['title']} is not full"


def pages_of_a_host_select_it():
    """At a central server, a page about one host reads no series of the others."""
    local = r'\w+\{[^{}]*\} and on \(\) up\{job="alloy", instance="127\.0\.0\.1:12345"\} or '
    chosen = r'\w+\{[^{}]*instance=~?"\$instance[^"]*"[^}]*\}'
    for name, board in dashboards():
        if not name.startswith("central/") or "instance" not in variables(name):
            continue
        queries = [mark["expr"] for mark in board["annotations"]["list"]]
        queries += [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        for query in queries:
            rest = re.sub(f"{local}|{chosen}", "", query)
            rest = re.sub(r'"[^"]*"|\[[^]]*\]|\b(by|on) \([^)]*\)', "", rest)
            if set(re.findall(r"\b[a-z]\w*\b(?! *\()", rest)) - {"and", "or", "bool", "offset"}:
                yield f"{name}: reads the series of other hosts: {query}"


def rows_lead_to_their_hosts():
    boards = {board["uid"]: name for name, board in dashboards() if name.startswith("central/")}
    led_to = set()
    for path, links in walk(dict(dashboards())["central/fleet"]["panels"], "properties"):
        for link in (link for item in links if item["id"] == "links" for link in item["value"]):
            uid = re.match(r"/d/([\w-]+)\?var-instance=\$\{__data\.fields\.Host\}&", link["url"])
            if not uid or uid[1] not in boards:
                yield f"{path}: {link['title']} leads nowhere, or loses the host"
            else:
                led_to.add(uid[1])
    if led_to != {"metrics-service", "metrics-host", "metrics-pipeline"}:
        yield f"rows lead to {led_to}"


# What the dashboards are for, by the metrics and predictions that have to be on them; the service's metrics are those of
# its reference.
DRAWN = {
    "pipeline": """
        up scrape_duration_seconds scrape_samples_scraped
        prometheus_remote_storage_samples_total prometheus_remote_storage_samples_pending
        prometheus_remote_storage_samples_failed_total prometheus_remote_storage_samples_retried_total
        prometheus_remote_storage_queue_highest_sent_timestamp_seconds alloy_component_controller_running_components
        prometheus_tsdb_head_samples_appended_total prometheus_tsdb_head_series prometheus_tsdb_compactions_total
        prometheus_tsdb_wal_storage_size_bytes prometheus_tsdb_storage_blocks_bytes prometheus_tsdb_retention_limit_bytes
        prometheus_tsdb_retention_limit_seconds clamp_min
        prometheus_engine_query_duration_seconds prometheus_engine_query_duration_seconds_count
        plugin_id grafana_http_request_duration_seconds_count""",
    "host": """
        node_cpu_seconds_total node_load5 node_memory_MemAvailable_bytes
        node_pressure_cpu_waiting_seconds_total node_pressure_io_waiting_seconds_total
        node_pressure_memory_waiting_seconds_total node_filesystem_size_bytes predict_linear node_filesystem_files_free
        node_disk_read_bytes_total node_disk_written_bytes_total node_disk_io_time_seconds_total
        node_network_receive_bytes_total node_network_transmit_bytes_total""",
    "central/pipeline": """
        up scrape_duration_seconds scrape_samples_scraped
        prometheus_remote_storage_samples_total prometheus_remote_storage_samples_pending
        prometheus_remote_storage_samples_failed_total prometheus_remote_storage_samples_retried_total
        prometheus_remote_storage_queue_highest_sent_timestamp_seconds alloy_component_controller_running_components
        process_resident_memory_bytes process_cpu_seconds_total""",
    "central/fleet": """
        up metrics_service_build_info http_requests_total http_request_duration_seconds_bucket
        node_filesystem_avail_bytes timestamp ALERTS""",
}
# What a far end has not: there it would be a panel without data.
NOT_FORWARDED = re.compile(r'job=~?"[^"]*(prometheus|grafana)[^"]*"|\b(grafana|prometheus_(tsdb|rule|engine|config))_')
# Of the service's metrics those that would only squeeze or say little: an alert compares the first, nobody the second.
NOT_DRAWN = {"process_max_fds", "process_virtual_memory_bytes"}


def dashboards_answer_what_they_are_for():
    drawn = {name: set() for name, _ in dashboards()}
    for name, panel in panels():
        drawn[name] |= set(re.findall(r"\w+", " ".join(target["expr"] for target in panel["targets"])))
    drawn["service"] |= {word.removesuffix("_bucket") for word in drawn["service"]}
    for name, metrics in [*DRAWN.items(), ("service", " ".join(reference() - NOT_DRAWN))]:
        for metric in set(metrics.split()) - drawn[name]:
            yield f"{name}: no panel has {metric}"
    for name, panel in panels():
        for target in panel["targets"]:
            if name.startswith("central/") and NOT_FORWARDED.search(target["expr"]):
                yield f"{name}: {panel['title']} asks for what no host forwards"


def metrics_have_an_example():
    examples = " ".join(re.findall(r"^```promql\n(.*?)^```", METRICS_PAGE.read_text(), re.M | re.S))
    for metric in reference():
        if not re.search(rf"\b{metric}(_bucket)?\b", examples):
            yield f"docs/metrics.md has no example query for {metric}"


def panels_explain_themselves():
    for name, panel in panels():
        where = f"{name}: {panel['title']}"
        if not panel["title"] or not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
            yield f"{where}: no title or no unit"
        if "?" not in panel.get("description", ""):
            yield f"{where}: no description that names the question which the panel answers"
        if not panel["targets"]:
            yield f"{where}: no query"
        # What Grafana's own units of a rate look like says nothing: c/s, p/s, c/m.
        if panel["fieldConfig"]["defaults"]["unit"] in "cps cpm ops opm pps rps rpm wps wpm mps mpm iops".split():
            yield f"{where}: its unit is an abbreviation"


def tiles_say_how_it_is_now():
    """Over a range, a tile would show the last value of a host that is silent as the present one. A table has one point of time
    as well."""
    for name, panel in panels():
        for target in panel["targets"]:
            instant = panel["type"] in ("stat", "table")
            if (target.get("instant", False), target["range"]) != (instant, not instant):
                yield f"{name}: {panel['title']} is {'no' if instant else 'an'} instant query"


def timelines_say_that_nothing_arrived():
    """Without any series Grafana says "Data does not have a time field"."""
    for name, panel in panels():
        for target in panel["targets"] if panel["type"] == "state-timeline" else ():
            nothing = re.search(r' or on \(\) label_replace\(vector\(-1\), "(\w+)", "none", "", ""\)$', target["expr"])
            if not nothing or f"{{{{{nothing[1]}}}}}" not in target["legendFormat"]:
                yield f"{name}: {panel['title']} may have no series, or one without a name"


def empty_cells_have_no_colour():
    for name, panel in panels():
        if panel["type"] == "table":
            for path, mappings in walk(panel["fieldConfig"], "mappings"):
                yield from without_empty_cell(f"{name}: {path}", mappings)
            for override in panel["fieldConfig"]["overrides"]:
                for item in override["properties"]:
                    if item["id"] == "mappings":
                        yield from without_empty_cell(f"{name}: {override['matcher']['options']}", item["value"])


def without_empty_cell(where, mappings):
    empty = [one["options"] for one in mappings if one["type"] == "special"]
    if [(one["match"], one["result"]["color"]) for one in empty] != [("null+nan", "transparent")]:
        yield f"{where}: an empty cell has a colour"


def queries_fit_any_time_range():
    """A window is as wide as the time between two points at least, or else something may happen that no point shows. One of a
    fixed width is fine where every one between two points counts: `avg_over_time(rate(…[5m])[$__rate_interval:])`. What says
    how it is now has one point, and the same window in each time range."""
    for name, panel in panels():
        for target in panel["targets"]:
            where, expr = f"{name}: {panel['title']}", target["expr"]
            rates = r"\b(i?rate|increase)\([^\[\]]*\[([^\]]*)\](\)\[\$__rate_interval:\])?"
            for function, window, around in re.findall(rates, re.sub('"[^"]*"', '""', expr)):
                wanted = "5m" if panel["type"] in ("table", "stat") else "$__rate_interval"
                # A subquery needs a resolution.
                if window.removesuffix(":15s") != wanted and not around:
                    yield f"{where}: {function} over {window} instead of {wanted}"
                if 'process_cpu_seconds_total{job="metrics_service"' in expr and not around:
                    yield f"{where}: the service counts whole seconds, which within a minute are steps of 2 %"
            for variable in set(re.findall(r"\$\{?([a-zA-Z_]\w*)", expr)) - {"__rate_interval", "__range"}:
                if variable not in variables(name):
                    yield f"{where}: ${variable} is no variable of the dashboard"


def a_time_not_set_is_no_lag():
    """Grafana draws what a server says before anything has happened: 0, or the highest number there is."""
    queries = [(f"{name}: {panel['title']}", target["expr"]) for name, panel in panels() for target in panel["targets"]]
    queries += [(f"{path.name}: {alert['alert']}", alert["expr"]) for path, alert in alerts()]
    found = 0
    for where, expr in queries:
        for guarded in re.findall(r"-\s*\(?\w*timestamp\w*\{[^}]*\}(\s*(?:>\s*0|<\s*time\(\))\))?", expr):
            found += 1
            if not guarded:
                yield f"{where}: takes off a time that may not be set yet"
    if not found:
        yield "no lag found at all"


# The schemes of Grafana's heatmap that run from faint to strong on a light page and that it turns round on a dark one.
FAINT_TO_STRONG = {"Blues", "Greens", "Greys", "Oranges", "OrRd", "Purples", "Reds", "YlGnBu", "YlOrBr", "YlOrRd"}


def colours_say_what_they_should():
    for name, panel in panels():
        where, defaults, options = f"{name}: {panel['title']}", panel["fieldConfig"]["defaults"], panel["options"]
        if panel["type"] == "state-timeline":
            steps = [(step["value"], step["color"]) for step in defaults["thresholds"]["steps"]]
            names = {value: state["color"] for mapping in defaults["mappings"] for value, state in mapping["options"].items()}
            # From the worst state on.
            colours = ["#808080", *(["red", "orange", "green"] if panel["title"] == "Receivers" else ["red", "green"])]
            if defaults["color"]["mode"] != "thresholds" or steps != list(zip([None, 0, 1, 2], colours)):
                yield f"{where}: its thresholds don't make down red and up green"
            if names != dict(zip(["-1", "0", "1", "2"], colours)) or options["mergeValues"]:
                yield f"{where}: a state has another colour than its threshold, or loses its name"
        if panel["type"] == "heatmap":
            color = options["color"]
            if color["mode"] != "scheme" or color["scheme"] not in FAINT_TO_STRONG or color["reverse"]:
                yield f"{where}: few are not faint and many not strong on a light and on a dark page"


def days_stay_days():
    spans = {("pipeline", "History"), ("pipeline", "Time to limit")}
    for name, panel in panels():
        defaults, where = panel["fieldConfig"]["defaults"], (name, panel["title"])
        if where in spans and (defaults["unit"], defaults.get("decimals")) != ("suffix:days", 0):
            yield f"{name}: {panel['title']} is not in whole days"
        if (where in spans) != all(target["expr"].endswith("/ 86400") for target in panel["targets"]):
            yield f"{name}: {panel['title']} has seconds for days, or days that it is not known for"
        if defaults["unit"] in ("d", "h", "m"):
            yield f"{name}: {panel['title']} has a unit that Grafana turns into weeks and years"


def the_same_interfaces_everywhere():
    exporter = re.findall(r'(?:ignored_devices|device_exclude) = "\^\((.*)\)\$"', ALLOY[0].read_text())
    if len(exporter) != 2:
        yield "the exporter does not leave interfaces out in both its collectors"
    left_out = set(exporter)
    for _, panel in panels():
        for target in panel["targets"]:
            selectors = r'node_network_\w+\{job="node", instance="\$instance"(?:, device!~"([^"]*)")?\}'
            left_out |= set(re.findall(selectors, target["expr"]))
    if len(left_out) != 1:
        yield f"left out are {left_out}"
    for device in "lo ifb0 veth1a2b3c4 docker0 br-0123456789ab virbr0 cni0 flannel.1 cali0123456789a".split():
        if not any(re.fullmatch(pattern, device) for pattern in left_out):
            yield f"{device} counts as real"
    for device in "eth0 ens3 enp0s3 enx001122334455 wlan0 bond0 br0 br-lan vmbr0 wg0 tun0 ppp0 eth0.10".split():
        if any(re.fullmatch(pattern, device) for pattern in left_out):
            yield f"{device} does not count as real"


# Of a page 800 pixels wide; below 769 Grafana puts one panel under the other. What a heatmap has above and below its cells and
# the height of a label are taken from docs/images/service.png; what a panel has beside its title and a letter's width are estimates.
COLUMN, GAP, BESIDE_TITLE, LETTER = 30, 8, 48, 7.5
ROW, BESIDE_CELLS, LABEL, BUCKETS = 38, 127, 14, 17


def panels_can_be_read():
    for name, panel in panels():
        where, place = f"{name}: {panel['title']}", panel["gridPos"]
        if panel["type"] != "stat" and place["w"] < 24 / 3:
            yield f"{where}: narrower than a third of the page"
        if len(panel["title"]) * LETTER > place["w"] * COLUMN - GAP - BESIDE_TITLE:
            yield f"{where}: the title is cut on a page of 800 pixels"
        if panel["type"] == "heatmap" and place["h"] * ROW - GAP - BESIDE_CELLS < BUCKETS * LABEL:
            yield f"{where}: the labels of {BUCKETS} buckets overlap"


# Alerts


def alerts_say_what_to_do():
    for path, alert in alerts():
        where = f"{path.name}: {alert['alert']}"
        annotations = alert.get("annotations", {})
        if "for" not in alert:
            yield f"{where}: no for"
        if alert.get("labels", {}).get("severity") not in ("critical", "warning"):
            yield f"{where}: severity is neither critical nor warning"
        if not annotations.get("summary"):
            yield f"{where}: no summary"
        if not re.search(r"`[^`]+`", annotations.get("description", "")):
            yield f"{where}: the description names no command to run next"


def alerts_of_many_hosts_say_which():
    """All but those that only a Prometheus of the same host has. An aggregation has to keep the host, and nothing may be asked of
    all hosts together, as `absent` does."""
    for path, alert in alerts():
        where = f"{path.name}: {alert['alert']}"
        if path.name == "local.yml":
            continue
        if "{{ $labels.instance }}" not in alert["annotations"]["summary"]:
            yield f"{where}: its summary does not name the host"
        if "absent" in alert["expr"]:
            yield f"{where}: of many hosts one may be silent"
        aggregations = r"\b(sum|min|max|avg|count|group|quantile|on|by|ignoring|without)\b\s*(?:by\s*)?(\([^()]*\)?)"
        for kind, labels in re.findall(aggregations, alert["expr"]):
            if "instance" not in labels:
                yield f"{where}: {kind} {labels} loses the host"


# Where an alert shows that has no dashboard called like its file of rules.
SHOWN_ON = {"local": ["pipeline"], "fleet": ["central/fleet"]}


def every_alert_is_visible():
    """On the dashboards that are called like its file of rules, as a tile and as a mark."""
    for name, board in dashboards():
        tiles = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        marks = [mark["expr"] for mark in board["annotations"]["list"]]
        for what, queries in ("tile", tiles), ("mark", marks):
            selects = r'ALERTS\{alertstate="firing"(?:, alertname=~"(.*?)")?\}'
            firing = [re.search(selects, query) for query in queries]
            shown = [found[1] or ".*" for found in firing if found]
            for path, alert in alerts():
                seen = any(re.fullmatch(pattern, alert["alert"]) for pattern in shown)
                if name in SHOWN_ON.get(path.stem, [path.stem, f"central/{path.stem}"]) and not seen:
                    yield f"{name}: no {what} for {alert['alert']}"


def every_alert_is_tested():
    fired, silent = set(), set()
    for path in sorted((ROOT / "tests/rules").glob("*.yml")):
        for case in yaml.safe_load(path.read_text())["tests"]:
            for expected in case["promql_expr_test"]:
                for name in re.findall(r'ALERTS\{alertname="(\w+)"', expected["expr"]):
                    (fired if expected.get("exp_samples") else silent).add(name)
    names = [alert["alert"] for _, alert in alerts()]
    if not names or len(set(names)) != len(names):
        yield "no alerts, or two of one name"
    for name in names:
        if name not in fired:
            yield f"no test sees {name} fire"
        if name not in silent:
            yield f"no test sees {name} silent"


# Reading


def alloy_texts():
    for path in ALLOY:
        yield path, path.read_text()


def code(text):
    return re.sub(r"^[ \t]*//.*$", "", text, flags=re.M)


def unit(name, pattern):
    found = re.search(pattern, (ROOT / "systemd" / name).read_text(), re.M)
    if not found:
        raise SystemExit(f"{name} has nothing like {pattern}")
    return found.group(1)


def grafana_ini():
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string((ETC / "grafana/grafana.ini").read_text())
    return ini


def datasource():
    return yaml.safe_load((ETC / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]


def prometheus_yml():
    return yaml.safe_load((ETC / "prometheus/prometheus.yml").read_text())


def dashboards():
    for prefix, folder in ("", ETC / "grafana/dashboards"), ("central/", ROOT / "central/dashboards"):
        for path in sorted(folder.glob("*.json")):
            yield prefix + path.stem, json.loads(path.read_text())


def panels():
    for name, board in dashboards():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield name, panel


def reference():
    """The metrics of the service, as docs/metrics.md has them; a test in the containers compares it with /metrics."""
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", METRICS_PAGE.read_text().split("## Queries")[0], re.M)
    return {name for cell in cells for name in re.findall(r"\w+", cell) if "_" in name}


def variables(name):
    return {variable["name"] for variable in dict(dashboards())[name]["templating"]["list"]}


def alerts():
    for path in [*sorted((ETC / "prometheus/rules").glob("*.yml")), ROOT / "central/rules/fleet.yml"]:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    yield path, rule


def walk(tree, key, path=""):
    """Every value of `key` in nested lists and objects, with the way there."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield f"{path}.{name}", value
            yield from walk(value, key, f"{path}.{name}")
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from walk(value, key, f"{path}[{index}]")


CHECKS = {
    function.__name__: function
    for function in (
        alloy_blocks_are_balanced,
        alloy_references_resolve,
        alloy_scrapes_what_the_design_says,
        addresses_agree_with_the_units,
        paths_agree_with_the_units,
        retention_is_what_the_unit_reads,
        one_scrape_interval_everywhere,
        files_laid_beside_are_not_read,
        grafana_keeps_to_itself,
        grafana_is_provisioned,
        dashboards_are_sound,
        pages_of_a_host_select_it,
        rows_lead_to_their_hosts,
        dashboards_answer_what_they_are_for,
        metrics_have_an_example,
        panels_explain_themselves,
        tiles_say_how_it_is_now,
        timelines_say_that_nothing_arrived,
        empty_cells_have_no_colour,
        queries_fit_any_time_range,
        a_time_not_set_is_no_lag,
        colours_say_what_they_should,
        days_stay_days,
        the_same_interfaces_everywhere,
        panels_can_be_read,
        alerts_say_what_to_do,
        alerts_of_many_hosts_say_which,
        every_alert_is_visible,
        every_alert_is_tested,
    )
}

if sys.argv[1:] == ["--list"]:
    print("\n".join(CHECKS))
elif len(sys.argv) == 2 and sys.argv[1] in CHECKS:
    problems = list(CHECKS[sys.argv[1]]())
    print("\n".join(problems))
    sys.exit(1 if problems else 0)
else:
    sys.exit(__doc__)
