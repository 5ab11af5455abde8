"""The home page: is the service up, how much does it do, how bad, how slow, and what does it use?"""

from grafana import BLUE, CONNECTIONS, FIRING, GREEN, NOW, ORANGE, RED, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, heatmap, of_host, row, stat

SERVICE = 'job="metrics_service", instance="$instance"'
# Alloy's own scrapes would drown the numbers of a quiet service.
REQUESTS = f'{SERVICE}, endpoint!="/metrics"'

ALERTS = of_host("ALERTS", FIRING)

RATE = f"sum(rate(http_requests_total{{{REQUESTS}}}[{NOW}]))"
ERRORS = f'sum(rate(http_requests_total{{{REQUESTS}, status=~"5.."}}[{NOW}]))'


def quantile(q, selector, by="", window="$__rate_interval"):
    buckets = f"rate(http_request_duration_seconds_bucket{{{selector}}}[{window}])"
    return f"histogram_quantile({q}, sum by (le{by}) ({buckets}))"


STATUS_COLORS = {"^2": GREEN, "^4": ORANGE, "^5": RED}

DASHBOARD = dashboard(
    uid="metrics-service",
    title="Service",
    description="Is the service up, how much does it do, how bad and how slow is it, and what does it use?",
    up='up{job="metrics_service"}',
    annotations=[
        annotation(
            "Restarts",
            f"time() - process_start_time_seconds{{{SERVICE}}} < 60",
            "The service was restarted",
            BLUE,
        ),
        annotation("Alerts", ALERTS, "{{alertname}}", RED),
    ],
    panels=[
        stat(
            "Up",
            "Does the service answer Alloy's scrapes? Down: `systemctl status metrics-service`. "
            "Not scraped: no sample arrives at all, look at the Pipeline dashboard.",
            "none",
            f"min(up{{{SERVICE}}})",
            mappings={1: ("Up", GREEN), 0: ("Down", RED)},
            thresholds=[(None, RED), (1, GREEN)],
            no_value="Not scraped",
            width=4,
        ),
        stat(
            "Requests",
            "How much is asked of it? Requests per second over five minutes, without Alloy's scrapes of /metrics.",
            "reqps",
            RATE,
            width=5,
        ),
        stat(
            "Error ratio",
            "How bad is it? The share of five minutes' requests that were answered with a 5xx status; 0 without requests.",
            "percentunit",
            f"{ERRORS} / ({RATE} > 0) or {RATE}",
            thresholds=[(None, GREEN), (0.01, YELLOW), (0.05, RED)],
            decimals=2,
            width=5,
        ),
        stat(
            "Latency, p95",
            "How slow is it? 95 of 100 requests of five minutes took at most this long, without the scrapes of /metrics; "
            "0 without requests. /simulate-load takes up to half a second on purpose, or as long as it was asked to.",
            "s",
            f"({quantile(0.95, REQUESTS, window=NOW)} >= 0) or {RATE}",
            thresholds=[(None, GREEN), (1, YELLOW), (2.5, RED)],
            width=5,
        ),
        stat(
            "In flight",
            "How many requests is it working on at this moment? An idle service reads 0.",
            "short",
            f"sum(active_connections{{{SERVICE}}})",
            width=5,
        ),
        stat(
            "Uptime",
            "Since when does it run? The youngest process, where there are several; a small number is a recent restart.",
            "s",
            f"time() - max(process_start_time_seconds{{{SERVICE}}})",
        ),
        stat(
            "Version",
            "Which version of the service runs?",
            "none",
            f"max by (version) (metrics_service_build_info{{{SERVICE}}})",
            legend="{{version}}",
            show="name",
        ),
        firing_alerts(
            "Firing alerts",
            "What is wrong right now? Each alert's description says what to do. "
            "A host lists its own alerts at http://127.0.0.1:9090/alerts.",
            ALERTS,
        ),
        row("Requests"),
        graph(
            "Requests by endpoint",
            "What is asked for? Requests a second for each route; Alloy's scrapes show as /metrics, one each 15 s.",
            "reqps",
            {
                "{{endpoint}}": f"sum by (endpoint) (rate(http_requests_total{{{SERVICE}}}[$__rate_interval]))"
            },
        ),
        graph(
            "Requests by status",
            "How are they answered? Requests a second for each status: green is well, orange the client's mistake, red ours.",
            "reqps",
            {
                "{{status}}": f"sum by (status) (rate(http_requests_total{{{SERVICE}}}[$__rate_interval]))"
            },
            colors=STATUS_COLORS,
        ),
        row("Latency"),
        graph(
            "Latency",
            "How long do requests take, for most (p50) and for the unlucky (p99)? Without the scrapes of /metrics; "
            "a gap is a time without requests.",
            "s",
            {f"p{round(q * 100)}": quantile(q, REQUESTS) for q in (0.5, 0.95, 0.99)},
            colors={"^p50$": GREEN, "^p95$": ORANGE, "^p99$": RED},
        ),
        graph(
            "Latency by endpoint, p95",
            "Which route is slow? All but /simulate-load should answer within milliseconds.",
            "s",
            {"{{endpoint}}": quantile(0.95, SERVICE, by=", endpoint")},
        ),
        heatmap(
            "Latency, spread",
            "How do durations spread, and does a slow group stand apart from a fast one? "
            "The more a cell stands out from the page, the more requests took that long.",
            "s",
            f"sum by (le) (increase(http_request_duration_seconds_bucket{{{REQUESTS}}}[$__rate_interval]))",
        ),
        row("Errors and connections"),
        graph(
            "Server errors",
            "Which route fails? Answers with a 5xx status a second; 503 means that the pool of /simulate-load was full.",
            "reqps",
            {
                "{{endpoint}} {{status}}": "sum by (endpoint, status) "
                f'(rate(http_requests_total{{{SERVICE}, status=~"5.."}}[$__rate_interval]))'
            },
        ),
        graph(
            "Refused requests",
            "What do clients ask for that does not exist or is not allowed? Answers with a 4xx status a second.",
            "reqps",
            {
                "{{endpoint}} {{status}}": "sum by (endpoint, status) "
                f'(rate(http_requests_total{{{SERVICE}, status=~"4.."}}[$__rate_interval]))'
            },
        ),
        graph(
            "Active connections",
            "Do requests pile up? In flight at each scrape; a line that never comes down is a leak.",
            "short",
            {"{{instance}}": f"active_connections{{{SERVICE}}}"},
        ),
        graph(
            "Connections cut",
            "Do clients misbehave? Connections a minute that the service ended: their clients sent more than 16 requests ahead, "
            "did not read their answers, or declared a body of more than 16 MB.",
            # A cut is rare enough that a rate in seconds is all zeros, and an increase would mean something else at each zoom.
            CONNECTIONS,
            {
                "{{instance}}": f"60 * rate(metrics_service_connections_cut_total{{{SERVICE}}}[$__rate_interval])"
            },
        ),
        row("Process"),
        graph(
            "CPU",
            "How much of a core does it use? 100 % is one core. The service counts whole seconds, so this is the mean of the last "
            "five minutes: within one minute, a second more or less would be a step of 2 %.",
            "percentunit",
            {
                "{{instance}}": f"avg_over_time(rate(process_cpu_seconds_total{{{SERVICE}}}[5m])[$__rate_interval:])"
            },
            # An idle service uses a second in some minutes; with an axis of its own, that would look like load.
            soft_max=0.1,
        ),
        graph(
            "Memory",
            "How much memory does it hold (resident set)? It should level off, not climb. The kernel limits the memory of the "
            "unit's control group instead, which no metric here shows: `systemctl status metrics-service`.",
            "bytes",
            {"{{instance}}": f"process_resident_memory_bytes{{{SERVICE}}}"},
        ),
        graph(
            "File descriptors",
            "How many files and sockets are open? A connection takes two; growth without load is a leak.",
            "short",
            {"{{instance}}": f"process_open_fds{{{SERVICE}}}"},
        ),
        graph(
            "Threads",
            "How many threads run? Growth without load is a leak.",
            "short",
            {"{{instance}}": f"process_threads{{{SERVICE}}}"},
        ),
    ],
)
