"""Which of the hosts is ill? For a Grafana that has many; the pages that each row leads to are about one of them."""

from grafana import FIRING, GREEN, NOW, ORANGE, RED, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, row, stat, table
from host import FILLS_UP

UP = 'up{job="metrics_service"}'
REQUESTS = 'job="metrics_service", endpoint!="/metrics"'
DISKS = f'job="node", {FILLS_UP}'

# A host that has fallen silent is told from one that never was by having been there within the last day.
STATE = f"min by (instance) ({UP}) or -1 * group by (instance) (max_over_time({UP}[1d:15m]))"
STATES = {1: ("Up", GREEN), 0: ("Service down", RED), -1: ("Silent", RED)}

# The alerts of a host and of its applications, whose instance is HOST:PORT. Two of a host's applications can have the same
# alert, which one `label_replace` of `instance` would take for one series twice.
ALERTS = (
    'sum by (instance) (label_replace(count by (host) (label_replace(ALERTS{alertstate="firing"}, '
    '"host", "$1", "instance", "([^:]+)(:.*)?")), "instance", "$1", "host", "(.+)"))'
)


def requests(window, filters=""):
    return f"sum by (instance) (rate(http_requests_total{{{REQUESTS}{filters}}}[{window}]))"


# 0 rather than nothing while nobody asks anything.
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
    description="Which of the hosts is ill, and which page says more about it?",
    annotations=[
        annotation(
            "Alerts",
            'ALERTS{alertstate="firing", alertname=~"Host(DuplicateInstance|NotReporting)"}',
            "{{alertname}} {{instance}}",
            RED,
        ),
    ],
    panels=[
        stat(
            "Hosts",
            "How many are there? All that have sent samples within the last day.",
            "short",
            f"count({STATE})",
            width=4,
        ),
        stat(
            "Silent",
            "How many have stopped sending? The host is down, or its Alloy is, or it can't deliver.",
            "short",
            f"count(({STATE}) == -1) or vector(0)",
            thresholds=[(None, GREEN), (1, RED)],
            width=4,
        ),
        stat(
            "Down",
            "On how many does the service not answer?",
            "short",
            f"count(({STATE}) == 0) or vector(0)",
            thresholds=[(None, GREEN), (1, RED)],
            width=4,
        ),
        firing_alerts(
            "Firing alerts",
            "What is wrong on any of them? Each alert's description says what to do.",
            # Others may use the far end as well, with alerts of their own.
            f'ALERTS{{{FIRING}, alertname=~"(Alloy|Host|PrometheusUnreachable|RemoteWrite|TargetDown|Service).*"}}',
        ),
        table(
            "Hosts, one by one",
            "Which host is ill, and in what? A click on a value opens the page that says more.",
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
                "Age of samples": {
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
        row("The ten highest"),
        graph(
            "Requests",
            "Which hosts have the most to do? Requests a second.",
            "reqps",
            highest(requests("$__rate_interval")),
        ),
        graph(
            "Latency, p95",
            "Which hosts are slowest to answer?",
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
