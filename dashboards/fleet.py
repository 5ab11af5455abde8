"""Fleet, for a central server: which hosts have problems? Rows link to the other dashboards."""

from grafana import FIRING, GREEN, NOW, ORANGE, RED, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, row, stat, table
from host import FILLS_UP

UP = 'up{job="metrics_service"}'
REQUESTS = 'job="metrics_service", endpoint!="/metrics"'
DISKS = f'job="node", {FILLS_UP}'

# A missing host has sent samples within the last day, but sends none now.
STATE = f"min by (instance) ({UP}) or -1 * group by (instance) (max_over_time({UP}[1d:15m]))"
STATES = {1: ("Up", GREEN), 0: ("Service down", RED), -1: ("Missing", RED)}

# The alerts of a host and of its applications, whose instance is HOST:PORT. Two applications of a
# host can have the same alert, so `label_replace` of `instance` alone would make duplicate series.
ALERTS = (
    'sum by (instance) (label_replace(count by (host) (label_replace(ALERTS{alertstate="firing"}, '
    '"host", "$1", "instance", "([^:]+)(:.*)?")), "instance", "$1", "host", "(.+)"))'
)


def requests(window, filters=""):
    return f"sum by (instance) (rate(http_requests_total{{{REQUESTS}{filters}}}[{window}]))"


# 0 without requests.
def error_ratio(window):
    errors, all_of_them = requests(window, ', status=~"5.."'), requests(window)
    return f"{errors} / ({all_of_them} > 0) or 0 * {all_of_them}"


def p95(window):
    buckets = f"sum by (instance, le) (rate(http_request_duration_seconds_bucket{{{REQUESTS}}}[{window}]))"
    return f"(histogram_quantile(0.95, {buckets}) >= 0) or 0 * {requests(window)}"


FULLEST_DISK = (
    f"max by (instance) (1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}})"
    f" and on (instance) {UP}"
)
BUSY = '1 - avg by (instance) (rate(node_cpu_seconds_total{job="node", mode="idle"}[$__rate_interval]))'
USED_MEMORY = (
    '1 - node_memory_MemAvailable_bytes{job="node"} / node_memory_MemTotal_bytes{job="node"}'
)


def highest(expr):
    return {"{{instance}}": f"topk(10, {expr})"}


def link(name):
    chosen = "var-instance=${__data.fields.Host}&var-datasource=${datasource}&${__url_time_range}"
    return {name: f"/d/metrics-{name.lower()}?{chosen}"}


CENTRAL = dashboard(
    uid="metrics-fleet",
    title="Fleet",
    description="Which hosts have problems, and which dashboard has the details?",
    annotations=[
        annotation(
            "Alerts",
            f'ALERTS{{{FIRING}, alertname=~"Host(DuplicateInstance|NotReporting)"}}',
            "{{alertname}} {{instance}}",
            RED,
        ),
    ],
    panels=[
        stat(
            "Hosts",
            "How many hosts are there? All that have sent samples within the last day.",
            "short",
            f"count({STATE})",
            width=4,
        ),
        stat(
            "Missing",
            "How many hosts have stopped sending? The host or its Alloy is down, or Alloy can't "
            "deliver.",
            "short",
            f"count(({STATE}) == -1) or vector(0)",
            thresholds=[(None, GREEN), (1, RED)],
            width=4,
        ),
        stat(
            "Down",
            "On how many hosts does the service not respond?",
            "short",
            f"count(({STATE}) == 0) or vector(0)",
            thresholds=[(None, GREEN), (1, RED)],
            width=4,
        ),
        firing_alerts(
            "Firing alerts",
            "What is wrong on any host? Each alert's description says what to do.",
            # The central server might have alerts of others.
            f"ALERTS{{{FIRING}, alertname=~"
            '"(Alloy|Host|PrometheusUnreachable|RemoteWrite|Service|TargetDown).*"}',
        ),
        table(
            "All hosts",
            "Which hosts have problems? Click a value to open the dashboard with the details.",
            {
                "Host": {"links": link("Service") | link("Host") | link("Pipeline")},
                "Service": {
                    "expr": STATE,
                    "mappings": STATES,
                    "thresholds": [(None, RED), (1, GREEN)],
                    "links": link("Service"),
                },
                "Version": {
                    "expr": 'max by (instance, version) (metrics_service_build_info{job="metrics_service"})',
                    "label": "version",
                    "links": link("Service"),
                },
                "Error ratio": {
                    "expr": error_ratio(NOW),
                    "unit": "percentunit",
                    "decimals": 2,
                    "thresholds": [(None, GREEN), (0.01, YELLOW), (0.05, RED)],
                    "links": link("Service"),
                },
                "Latency, p95": {
                    "expr": p95(NOW),
                    "unit": "s",
                    "thresholds": [(None, GREEN), (1, YELLOW), (2.5, RED)],
                    "links": link("Service"),
                },
                "Fullest disk": {
                    "expr": FULLEST_DISK,
                    "unit": "percentunit",
                    "decimals": 0,
                    "thresholds": [(None, GREEN), (0.8, YELLOW), (0.95, RED)],
                    "links": link("Host"),
                },
                "Sample age": {
                    "expr": f"time() - max by (instance) (timestamp({UP}))",
                    "unit": "s",
                    "decimals": 0,
                    "thresholds": [(None, GREEN), (60, YELLOW), (120, RED)],
                    "links": link("Pipeline"),
                },
                "Alerts": {
                    "expr": f"{ALERTS} and on (instance) ({STATE}) or 0 * ({STATE})",
                    "thresholds": [(None, GREEN), (1, ORANGE)],
                    "links": link("Service"),
                },
            },
            sort="Alerts",
        ),
        row("Top 10"),
        graph(
            "Requests",
            "Which hosts get the most requests? Requests per second.",
            "reqps",
            highest(requests("$__rate_interval")),
        ),
        graph(
            "Latency, p95",
            "Which hosts respond most slowly?",
            "s",
            highest(p95("$__rate_interval")),
        ),
        graph(
            "CPU used",
            "Which hosts are busy? The share of all cores that is not idle.",
            "percentunit",
            highest(BUSY),
            max=1,
        ),
        graph(
            "Memory used",
            "Which hosts are short of memory?",
            "percentunit",
            highest(USED_MEMORY),
            max=1,
        ),
    ],
)
