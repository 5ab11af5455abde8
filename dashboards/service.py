"""Service, the home page: is the service up, how many requests does it get, how many fail, how
slow is it, and what does it use?"""

from grafana import BLUE, CONNECTIONS, FIRING, GREEN, NOW, ORANGE, RED, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, heatmap, of_host, row, stat

SERVICE = 'job="metrics_service", instance="$instance"'
# Without Alloy's scrapes, which would dominate an idle service.
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
    description="Is the service up, how many requests fail, how slow is it, and what does it use?",
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
            "Does the service respond to Alloy's scrapes? Down: `systemctl status "
            "metrics-service`. Not scraped: no samples arrive, see the Pipeline dashboard.",
            "none",
            f"min(up{{{SERVICE}}})",
            mappings={1: ("Up", GREEN), 0: ("Down", RED)},
            thresholds=[(None, RED), (1, GREEN)],
            no_value="Not scraped",
            width=4,
        ),
        stat(
            "Requests",
            "How many requests does it get? Requests per second over five minutes, without "
            "Alloy's scrapes of /metrics.",
            "reqps",
            RATE,
            width=5,
        ),
        stat(
            "Error ratio",
            "How many requests fail? The share of responses with a 5xx status over five minutes; "
            "0 without requests.",
            "percentunit",
            f"{ERRORS} / ({RATE} > 0) or {RATE}",
            thresholds=[(None, GREEN), (0.01, YELLOW), (0.05, RED)],
            decimals=2,
            width=5,
        ),
        stat(
            "Latency, p95",
            "How slow is it? Over five minutes, 95% of the requests took at most this long, "
            "without the scrapes of /metrics; 0 without requests. /simulate-load takes up to "
            "half a second on purpose, or as long as its client requests.",
            "s",
            f"({quantile(0.95, REQUESTS, window=NOW)} >= 0) or {RATE}",
            thresholds=[(None, GREEN), (1, YELLOW), (2.5, RED)],
            width=5,
        ),
        stat(
            "In flight",
            "How many requests are in flight? 0 for an idle service.",
            "short",
            f"sum(active_connections{{{SERVICE}}})",
            width=5,
        ),
        stat(
            "Uptime",
            "How long has it been running? The youngest process, if there are several; a small "
            "number is a recent restart.",
            "s",
            f"time() - max(process_start_time_seconds{{{SERVICE}}})",
        ),
        stat(
            "Version",
            "Which version of the service is running?",
            "none",
            f"max by (version) (metrics_service_build_info{{{SERVICE}}})",
            legend="{{version}}",
            show="name",
        ),
        firing_alerts(
            "Firing alerts",
            "What is wrong right now? Each alert's description says what to do. A host lists its "
            "own alerts at http://127.0.0.1:9090/alerts; turn on annotations in the settings there.",
            ALERTS,
        ),
        row("Requests"),
        graph(
            "Requests by endpoint",
            "Which routes get requests? Requests per second; Alloy's scrapes are /metrics, one "
            "every 15 s.",
            "reqps",
            {
                "{{endpoint}}": f"sum by (endpoint) (rate(http_requests_total{{{SERVICE}}}[$__rate_interval]))"
            },
        ),
        graph(
            "Requests by status",
            "How does it respond? Requests per second; green is success, orange a client error, "
            "red a server error.",
            "reqps",
            {
                "{{status}}": f"sum by (status) (rate(http_requests_total{{{SERVICE}}}[$__rate_interval]))"
            },
            colors=STATUS_COLORS,
        ),
        row("Latency"),
        graph(
            "Latency",
            "How long do most requests (p50) and the slowest ones (p99) take? Without the "
            "scrapes of /metrics; a gap is a time without requests.",
            "s",
            {f"p{round(q * 100)}": quantile(q, REQUESTS) for q in (0.5, 0.95, 0.99)},
            colors={"^p50$": GREEN, "^p95$": ORANGE, "^p99$": RED},
        ),
        graph(
            "Latency by endpoint, p95",
            "Which route is slow? All except /simulate-load respond within milliseconds.",
            "s",
            {"{{endpoint}}": quantile(0.95, SERVICE, by=", endpoint")},
        ),
        heatmap(
            "Latency distribution",
            "How are durations distributed, and is there a separate group of slow requests? A "
            "stronger color means more requests.",
            "s",
            f"sum by (le) (increase(http_request_duration_seconds_bucket{{{REQUESTS}}}[$__rate_interval]))",
        ),
        row("Errors and connections"),
        graph(
            "Server errors",
            "Which route fails? Responses with a 5xx status per second; 503 means that "
            "/simulate-load is at its limit.",
            "reqps",
            {
                "{{endpoint}} {{status}}": "sum by (endpoint, status) "
                f'(rate(http_requests_total{{{SERVICE}, status=~"5.."}}[$__rate_interval]))'
            },
        ),
        graph(
            "Client errors",
            "Which requests are invalid? Responses with a 4xx status per second.",
            "reqps",
            {
                "{{endpoint}} {{status}}": "sum by (endpoint, status) "
                f'(rate(http_requests_total{{{SERVICE}, status=~"4.."}}[$__rate_interval]))'
            },
        ),
        graph(
            "Requests in flight",
            "Do requests pile up? The number in flight at each scrape; a line that never falls "
            "is a leak.",
            "short",
            {"{{instance}}": f"active_connections{{{SERVICE}}}"},
        ),
        graph(
            "Aborted connections",
            "Do clients misbehave? Connections per minute that the service closed, because the "
            "client sent more than 16 requests ahead, did not read its responses, or declared a "
            "body of more than 16 MB.",
            # Aborts are rare: per second the rate would be all zeros, and an increase would depend on
            # the zoom.
            CONNECTIONS,
            {
                "{{instance}}": f"60 * rate(metrics_service_connections_aborted_total{{{SERVICE}}}[$__rate_interval])"
            },
        ),
        row("Process"),
        graph(
            "CPU",
            "How much CPU does it use? 100% is one core. The service counts whole seconds, so "
            "this is the mean of five minutes: within one minute, a second more or less would be "
            "a step of 2%.",
            "percentunit",
            {
                "{{instance}}": f"avg_over_time(rate(process_cpu_seconds_total{{{SERVICE}}}[5m])[$__rate_interval:])"
            },
            # An idle service uses a second in some minutes, which would look like load on a
            # smaller axis.
            soft_max=0.1,
        ),
        graph(
            "Memory",
            "How much memory does it use (resident set)? It should level off, not climb. The "
            "kernel limits the memory of the unit's control group, which no metric shows: "
            "`systemctl status metrics-service`.",
            "bytes",
            {"{{instance}}": f"process_resident_memory_bytes{{{SERVICE}}}"},
        ),
        graph(
            "File descriptors",
            "How many files and sockets are open? A connection uses two; growth without load is "
            "a leak.",
            "short",
            {"{{instance}}": f"process_open_fds{{{SERVICE}}}"},
        ),
        graph(
            "Threads",
            "How many threads are running? Growth without load is a leak.",
            "short",
            {"{{instance}}": f"process_threads{{{SERVICE}}}"},
        ),
    ],
)
