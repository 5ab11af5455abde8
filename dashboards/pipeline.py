"""Each hop from the service to the screen: does it work, does it keep up, and how long does the room last?

There are two editions, because hosts send Alloy's metrics to a central server, but not those of
Prometheus and Grafana.
"""

from grafana import BLUE, FIRING, GREEN, NOW, ORANGE, QUERIES, RED, SAMPLES, SERIES, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, of_host, row, stat, timeline

# At a central server, the instance is the host's name.
ALLOY = 'job="alloy", instance=~"$instance|127[.]0[.]0[.]1:12345"'
PROMETHEUS = 'job="prometheus"'
GRAFANA = 'job="grafana"'
SERVERS = 'job=~"alloy|prometheus|grafana"'
ALERTS = of_host("ALERTS", FIRING)

UP_OR_DOWN = {1: ("Up", GREEN), 0: ("Down", RED)}

DISK_USED = (
    f"sum(prometheus_tsdb_storage_blocks_bytes{{{PROMETHEUS}}}"
    f" + prometheus_tsdb_wal_storage_size_bytes{{{PROMETHEUS}}}"
    f" + prometheus_tsdb_head_chunks_storage_size_bytes{{{PROMETHEUS}}})"
)
# 0 is no limit.
DISK_LIMIT = f"sum(prometheus_tsdb_retention_limit_bytes{{{PROMETHEUS}}} > 0)"

# Grafana's units of time turn days into weeks and years; a suffix leaves a number as it is.
DAY, DAYS = 86400, "suffix:days"


def rate(metric, selector, window="$__rate_interval"):
    return f"rate({metric}{{{selector}}}[{window}])"


def ingested(window="$__rate_interval"):
    return f"sum({rate('prometheus_tsdb_head_samples_appended_total', PROMETHEUS, window)})"


# The time sent is 0 until the first send, which is no lag since 1970.
LAG = (
    f"prometheus_remote_storage_queue_highest_timestamp_seconds{{{ALLOY}}}"
    f" - (prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{ALLOY}}} > 0)"
)


# Alloy sends a batch that is not full after five seconds. When Prometheus scrapes Alloy between a scrape of the service and
# that send, it does so each time.
USUAL = "Up to one scrape's samples wait between a scrape and the next send"


HOPS = stat(
    "Hops",
    "Which part is down? Without Alloy, what it scrapes keeps its last state for five minutes and then vanishes.",
    "none",
    f"min by (job) ({of_host('up')})",
    legend="{{job}}",
    no_value="Nothing arrives",
    mappings=UP_OR_DOWN,
    width=18,
)


PROMETHEUS_STATS = [
    stat(
        "Data source",
        "Can Grafana ask Prometheus? Its data source is a plugin, without which every panel fails while Grafana calls "
        "itself healthy: `systemctl restart metrics-grafana`, then `journalctl -u metrics-grafana -g plugin`.",
        "none",
        # Some versions have the one metric, some the other, some both.
        f'group({{__name__=~"grafana_plugin_(build|target)_info", {GRAFANA}, plugin_id="prometheus"}})',
        mappings={1: ("Registered", GREEN)},
        thresholds=[(None, RED), (1, GREEN)],
        no_value="Missing",
    ),
    stat(
        "Samples stored",
        "How much does Prometheus take in? The mean of five minutes, by remote write and by its own scrapes.",
        SAMPLES,
        ingested(NOW),
        decimals=0,
    ),
]


QUEUE_STATS = [
    stat(
        "Lag",
        "How late do samples arrive? The time between the newest sample that Alloy has scraped and the newest that it has "
        f"sent, for the slowest receiver that has been sent any. {USUAL}, so up to 15 s are normal.",
        "s",
        f"max({LAG})",
        thresholds=[(None, GREEN), (30, YELLOW), (120, RED)],
        no_value="Nothing sent",
    ),
    stat(
        "Waiting samples",
        "Does a backlog build up in Alloy? Samples scraped and not yet sent, for the receiver with most. "
        f"{USUAL}: some hundred, always the same, are normal.",
        "short",
        f"max(prometheus_remote_storage_samples_pending{{{ALLOY}}})",
        thresholds=[(None, GREEN), (10000, YELLOW), (100000, RED)],
    ),
    stat(
        "Lost samples",
        "Has a receiver refused samples for good? Samples given up in the last five minutes.",
        "short",
        f"sum(increase(prometheus_remote_storage_samples_failed_total{{{ALLOY}}}[{NOW}]))",
        thresholds=[(None, GREEN), (1, RED)],
        decimals=0,
    ),
]


DISK_LIMIT_STATS = [
    stat(
        "Disk limit used",
        "How much of RETENTION_SIZE does Prometheus use? At 100 % it removes its oldest samples, which does no harm "
        "unless you want to look further back.",
        "percentunit",
        f"{DISK_USED} / {DISK_LIMIT}",
        thresholds=[(None, GREEN), (0.8, YELLOW), (0.95, ORANGE)],
        no_value="No limit",
        decimals=1,
    ),
    stat(
        "Disk limit lasts",
        "When would RETENTION_SIZE be reached at this rate, at two bytes a sample? Longer than RETENTION_TIME means "
        "that samples go by age, and the size never matters.",
        DAYS,
        f"clamp_min({DISK_LIMIT} - {DISK_USED}, 0) / (2 * {ingested(NOW)}) / {DAY}",
        no_value="No limit",
        decimals=0,
    ),
]


FIRING_ALERTS = firing_alerts(
    "Firing alerts",
    "What is wrong right now? Each alert's description says what to do. "
    "A host lists its own alerts at http://127.0.0.1:9090/alerts.",
    ALERTS,
)


SCRAPES = [
    row("Scrapes"),
    timeline(
        "Targets",
        "When was a target down? Green while its scrapes succeed, red while they fail, empty while nobody scrapes it.",
        {"{{job}} {{instance}}": of_host("up")},
        mappings=UP_OR_DOWN,
        width=24,
    ),
    graph(
        "Scrape duration",
        "Which target answers slowly? A scrape is given up after 10 s.",
        "s",
        {"{{job}} {{instance}}": of_host("scrape_duration_seconds")},
    ),
    graph(
        "Samples in a scrape",
        "Which target brings the series? A line that climbs without end is a label with too many values.",
        "short",
        {"{{job}} {{instance}}": of_host("scrape_samples_scraped")},
    ),
]


# Alloy counts every attempt as sent, including retries and rejected samples.
SENT, RETRIED, FAILED = (
    rate(f"prometheus_remote_storage_samples_{kind}total", ALLOY)
    for kind in ("", "retried_", "failed_")
)
RECEIVERS = f"clamp_min(2 - ({RETRIED} > bool 0) - 2 * ({FAILED} > bool 0), 0)"


REMOTE_WRITE = [
    row("Alloy: remote write"),
    timeline(
        "Receivers",
        "When did a receiver not take its samples? Orange while sends are repeated, which loses nothing yet: it is away or "
        "overloaded. Red while it refuses some for good: a wrong password, or samples that are too old.",
        {"{{remote_name}}": RECEIVERS},
        mappings={2: ("Takes all", GREEN), 1: ("Away", ORANGE), 0: ("Refuses", RED)},
        width=24,
        height=4,
    ),
    graph(
        "Scraped and taken",
        "Does each receiver take as much as Alloy scrapes? The lines lie on each other; what is taken is higher while Alloy "
        "catches up.",
        SAMPLES,
        {
            "scraped": f"max({rate('prometheus_remote_write_wal_samples_appended_total', ALLOY)})",
            "taken by {{remote_name}}": f"{SENT} - {RETRIED} - {FAILED}",
        },
        width=8,
    ),
    graph(
        "Lag",
        "How late do samples arrive? It grows while a receiver is down and falls once it is back; up to 15 s are normal. "
        "There is none before the first sample has been sent.",
        "s",
        {"{{remote_name}}": LAG},
        limits=[(120, RED)],
        width=8,
    ),
    graph(
        "Waiting samples",
        f"Does a backlog build up? {USUAL}: some hundred are normal, also as a level line.",
        "short",
        {"{{remote_name}}": f"prometheus_remote_storage_samples_pending{{{ALLOY}}}"},
        width=8,
    ),
    graph(
        "Repeated and lost",
        "Does a receiver refuse samples? Repeated ones arrive later; lost ones never do.",
        SAMPLES,
        {
            "repeated to {{remote_name}}": RETRIED,
            "lost for {{remote_name}}": FAILED,
        },
        colors={"^repeated": ORANGE, "^lost": RED},
        width=8,
    ),
    graph(
        "Duration of a send, p95",
        "How long does a receiver take to accept a batch? Near one second and above it is overloaded.",
        "s",
        {
            "{{remote_name}}": "histogram_quantile(0.95, sum by (le, remote_name) "
            f"({rate('prometheus_remote_storage_sent_batch_duration_seconds_bucket', ALLOY)}))"
        },
        width=8,
    ),
    graph(
        "Components by health",
        "Do all parts of Alloy's configuration work? All should be healthy; which are not, its page on the host says: "
        "http://127.0.0.1:3000.",
        "short",
        {
            "{{health_type}}": f"sum by (health_type) (alloy_component_controller_running_components{{{ALLOY}}})"
        },
        colors={"^healthy$": GREEN, "^unhealthy$": RED},
        width=8,
    ),
]


PROMETHEUS_PANELS = [
    row("Prometheus"),
    graph(
        "Samples stored",
        "How much is stored, and is anything refused? Late ones are an outage's backlog; refused ones were too old or "
        "out of bounds.",
        SAMPLES,
        {
            "stored": ingested(),
            "stored late": f"sum({rate('prometheus_tsdb_head_out_of_order_samples_appended_total', PROMETHEUS)})",
            "refused": f"sum({rate('prometheus_tsdb_too_old_samples_total', PROMETHEUS)})"
            f" + sum({rate('prometheus_tsdb_out_of_bound_samples_total', PROMETHEUS)})",
        },
        colors={"^stored$": GREEN, "^stored late$": BLUE, "^refused$": RED},
        width=8,
    ),
    graph(
        "Series",
        "Does the number of series stay level? Steps come from new targets, a slope from labels that keep changing. Memory "
        "grows with them, about 4 KB each.",
        SERIES,
        {"in memory": f"prometheus_tsdb_head_series{{{PROMETHEUS}}}"},
        width=8,
    ),
    graph(
        "Rules",
        "How long does a pass over each group of rules take? It has to stay well below 15 s.",
        "s",
        {
            "{{group}}": f"label_replace(prometheus_rule_group_last_duration_seconds{{{PROMETHEUS}}}, "
            '"group", "$1", "rule_group", ".*;(.*)")'
        },
        width=8,
    ),
    graph(
        "Disk",
        "How near is the limit? Blocks, write-ahead log and chunks together, beside RETENTION_SIZE.",
        "bytes",
        {"used": DISK_USED, "limit": DISK_LIMIT},
        colors={"^limit$": RED},
        width=8,
    ),
    graph(
        "History",
        "How far back can one look? It grows until RETENTION_TIME, or until the disk limit cuts it.",
        DAYS,
        {
            # Without a sample yet, the lowest time is the highest number there is.
            "oldest sample": f"(time() - (prometheus_tsdb_lowest_timestamp_seconds{{{PROMETHEUS}}} < time())) / {DAY}",
            "limit": f"(prometheus_tsdb_retention_limit_seconds{{{PROMETHEUS}}} > 0) / {DAY}",
        },
        colors={"^limit$": RED},
        decimals=0,
        width=8,
    ),
    graph(
        "Write-ahead logs",
        "How much lies in the logs of Prometheus and Alloy? Both are cut every two hours; Alloy's grows in an outage.",
        "bytes",
        {"{{job}}": "sum by (job) (prometheus_tsdb_wal_storage_size_bytes)"},
        width=8,
    ),
    graph(
        "Compactions",
        "Does Prometheus tidy its blocks? Some every two hours are usual; a failed one is a full or broken disk.",
        "short",
        {
            "done": f"increase(prometheus_tsdb_compactions_total{{{PROMETHEUS}}}[$__rate_interval])",
            "failed": f"increase(prometheus_tsdb_compactions_failed_total{{{PROMETHEUS}}}[$__rate_interval])",
        },
        colors={"^failed$": RED},
        width=8,
    ),
    graph(
        "Queries",
        "How much is asked of Prometheus? Dashboards and rules together.",
        QUERIES,
        {
            "queries": rate(
                "prometheus_engine_query_duration_seconds_count",
                f'{PROMETHEUS}, slice="inner_eval"',
            )
        },
        width=8,
    ),
    graph(
        "Duration of a query",
        "Are queries slow? Seconds in the engine, for most and for the slowest.",
        "s",
        {
            "p{{quantile}}": "prometheus_engine_query_duration_seconds"
            f'{{{PROMETHEUS}, slice="inner_eval", quantile=~"0.5|0.99"}}'
        },
        width=8,
    ),
]


GRAFANA_PANELS = [
    row("Grafana and the servers"),
    graph(
        "Requests to Grafana",
        "Is it used, and does it fail? Requests a second for each status.",
        "reqps",
        {
            "{{status_code}}": "sum by (status_code) "
            f"({rate('grafana_http_request_duration_seconds_count', GRAFANA)})"
        },
        colors={"^2": GREEN, "^4": ORANGE, "^5": RED},
        width=8,
    ),
]


def servers(who, processes, width):
    return [
        graph(
            "Memory",
            f"{who} the memory? Resident sets, with programs mapped from disk. The kernel limits the memory of a unit's control "
            "group instead, which no metric here shows: `systemctl status 'metrics-*'` on the host.",
            "bytes",
            {"{{job}}": f"process_resident_memory_bytes{{{processes}}}"},
            width=width,
        ),
        graph(
            "CPU",
            f"{who} the CPU? 100% is one core.",
            "percentunit",
            {"{{job}}": rate("process_cpu_seconds_total", processes)},
            width=width,
        ),
    ]


def board(processes, panels):
    return dashboard(
        uid="metrics-pipeline",
        title="Pipeline",
        description="Does every hop from the service to the screen work and keep up, and how long does the room last?",
        up='up{job="metrics_service"}',
        annotations=[
            annotation(
                "Restarts",
                f"time() - process_start_time_seconds{{{processes}}} < 60",
                "{{job}} was restarted",
                BLUE,
            ),
            annotation("Alerts", ALERTS, "{{alertname}}", RED),
        ],
        panels=panels,
    )


DASHBOARD = board(
    SERVERS,
    [
        HOPS,
        *PROMETHEUS_STATS,
        *QUEUE_STATS,
        *DISK_LIMIT_STATS,
        FIRING_ALERTS,
        *SCRAPES,
        *REMOTE_WRITE,
        *PROMETHEUS_PANELS,
        *GRAFANA_PANELS,
        *servers("Which server needs", SERVERS, 8),
    ],
)

CENTRAL = board(
    ALLOY,
    [
        HOPS,
        *QUEUE_STATS,
        FIRING_ALERTS,
        *SCRAPES,
        *REMOTE_WRITE,
        row("Alloy: the server"),
        *servers("Does Alloy need", ALLOY, 12),
    ],
)
