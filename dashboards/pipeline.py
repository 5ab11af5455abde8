"""Pipeline: does every hop from the service to Grafana work and keep up, and when is the disk limit
reached?

There are two editions, because hosts send Alloy's metrics to a central server, but not those of
Prometheus and Grafana.
"""

from grafana import BLUE, FIRING, GREEN, NOW, ORANGE, QUERIES, RED, SAMPLES, SERIES, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, of_host, row, stat, timeline

# At a central server, the instance is the host's name.
ALLOY = 'job="alloy", instance=~"$instance|127[.]0[.]0[.]1:12345"'
PROMETHEUS = 'job="prometheus"'
GRAFANA = 'job="grafana"'
SERVERS = 'job=~"alloy|prometheus|grafana|alertmanager"'
ALERTS = of_host("ALERTS", FIRING)

UP_OR_DOWN = {1: ("Up", GREEN), 0: ("Down", RED)}

DISK_USED = (
    f"sum(prometheus_tsdb_storage_blocks_bytes{{{PROMETHEUS}}}"
    f" + prometheus_tsdb_wal_storage_size_bytes{{{PROMETHEUS}}}"
    f" + prometheus_tsdb_head_chunks_storage_size_bytes{{{PROMETHEUS}}})"
)
# 0 means no limit.
DISK_LIMIT = f"sum(prometheus_tsdb_retention_limit_bytes{{{PROMETHEUS}}} > 0)"

# Grafana's own time units turn days into weeks and years; a suffix leaves the number as it is.
DAY, DAYS = 86400, "suffix:days"


def rate(metric, selector, window="$__rate_interval"):
    return f"rate({metric}{{{selector}}}[{window}])"


def ingested(window="$__rate_interval"):
    return f"sum({rate('prometheus_tsdb_head_samples_appended_total', PROMETHEUS, window)})"


# The time sent is 0 before the first send, which is not a lag since 1970.
LAG = (
    f"prometheus_remote_storage_queue_highest_timestamp_seconds{{{ALLOY}}}"
    f" - (prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{ALLOY}}} > 0)"
)

# Alloy sends an incomplete batch after five seconds. If Prometheus scrapes Alloy between a scrape
# of the service and that send, it does so each time.
USUAL = "Between a scrape and the next send, the samples of one scrape are pending"

HOPS = stat(
    "Hops",
    "Which component is down? If Alloy is down, its targets keep their last state for five "
    "minutes and then disappear.",
    "none",
    f"min by (job) ({of_host('up')})",
    legend="{{job}}",
    no_value="No samples",
    mappings=UP_OR_DOWN,
    width=18,
)

PROMETHEUS_STATS = [
    stat(
        "Data source",
        "Can Grafana query Prometheus? Without its plugin every panel fails, although Grafana "
        "reports that it is healthy: `sudo systemctl restart metrics-grafana`, then "
        "`sudo journalctl -u metrics-grafana -g plugin`.",
        "none",
        # Each Grafana version has one of these metrics, or both.
        f'group({{__name__=~"grafana_plugin_(build|target)_info", {GRAFANA}, plugin_id="prometheus"}})',
        mappings={1: ("Registered", GREEN)},
        thresholds=[(None, RED), (1, GREEN)],
        no_value="Missing",
    ),
    stat(
        "Samples stored",
        "How many samples does Prometheus store? The mean of five minutes, from remote write and "
        "from its own scrapes.",
        SAMPLES,
        ingested(NOW),
        decimals=0,
    ),
]

QUEUE_STATS = [
    stat(
        "Lag",
        "How late do samples arrive? The time between the newest scraped sample and the newest "
        f"sent one, for the slowest receiver. {USUAL}, so up to 15 s are normal.",
        "s",
        f"max({LAG})",
        thresholds=[(None, GREEN), (30, YELLOW), (120, RED)],
        no_value="Nothing sent",
    ),
    stat(
        "Pending samples",
        "Does Alloy build up a backlog? Samples scraped but not yet sent, for the receiver with "
        f"the most. {USUAL}, so some hundred are normal.",
        "short",
        f"max(prometheus_remote_storage_samples_pending{{{ALLOY}}})",
        thresholds=[(None, GREEN), (10000, YELLOW), (100000, RED)],
    ),
    stat(
        "Failed samples",
        "Has a receiver rejected samples? Samples lost in the last five minutes.",
        "short",
        f"sum(increase(prometheus_remote_storage_samples_failed_total{{{ALLOY}}}[{NOW}]))",
        thresholds=[(None, GREEN), (1, RED)],
        decimals=0,
    ),
]

DISK_LIMIT_STATS = [
    stat(
        "Disk limit used",
        "How much of RETENTION_SIZE does Prometheus use? At 100% it deletes its oldest samples, "
        "which only shortens the history.",
        "percentunit",
        f"{DISK_USED} / {DISK_LIMIT}",
        thresholds=[(None, GREEN), (0.8, YELLOW), (0.95, ORANGE)],
        no_value="No limit",
        decimals=1,
    ),
    stat(
        "Time to limit",
        "When will RETENTION_SIZE be reached, at the present rate and two bytes per sample? If "
        "that is longer than RETENTION_TIME, samples expire by age and the size does not matter.",
        DAYS,
        f"clamp_min({DISK_LIMIT} - {DISK_USED}, 0) / (2 * {ingested(NOW)}) / {DAY}",
        no_value="No limit",
        decimals=0,
    ),
]

FIRING_ALERTS = firing_alerts(
    "Firing alerts",
    "What is wrong right now? Each alert's description says what to do. A host lists its own "
    "alerts at http://127.0.0.1:9090/alerts; turn on annotations in the settings there.",
    ALERTS,
)

SCRAPES = [
    row("Scrapes"),
    timeline(
        "Targets",
        "When was a target down? Green: scrapes succeed. Red: they fail. Empty: the target is "
        "not scraped.",
        {"{{job}} {{instance}}": of_host("up")},
        mappings=UP_OR_DOWN,
        width=24,
    ),
    graph(
        "Scrape duration",
        "Which target responds slowly? A scrape times out after 10 s.",
        "s",
        {"{{job}} {{instance}}": of_host("scrape_duration_seconds")},
    ),
    graph(
        "Samples per scrape",
        "Which target has the most series? A line that keeps climbing is a label with too many "
        "values.",
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
        "When did a receiver not accept samples? Orange: sends are retried, because it is down "
        "or overloaded; nothing is lost yet. Red: it rejects samples for good, because of a "
        "wrong password or because they are too old.",
        {"{{remote_name}}": RECEIVERS},
        mappings={2: ("Accepts all", GREEN), 1: ("Retried", ORANGE), 0: ("Rejects", RED)},
        width=24,
        height=4,
    ),
    graph(
        "Scraped and delivered",
        "Does each receiver get as many samples as Alloy scrapes? The lines coincide; more are "
        "delivered while Alloy catches up.",
        SAMPLES,
        {
            "scraped": f"max({rate('prometheus_remote_write_wal_samples_appended_total', ALLOY)})",
            "delivered to {{remote_name}}": f"{SENT} - {RETRIED} - {FAILED}",
        },
        width=8,
    ),
    graph(
        "Lag",
        "How late do samples arrive? The lag grows while a receiver is down and falls once it is "
        "back; up to 15 s are normal. There is none before the first send.",
        "s",
        {"{{remote_name}}": LAG},
        limits=[(120, RED)],
        width=8,
    ),
    graph(
        "Pending samples",
        f"Does a backlog build up? {USUAL}, so some hundred are normal, also as a flat line.",
        "short",
        {"{{remote_name}}": f"prometheus_remote_storage_samples_pending{{{ALLOY}}}"},
        width=8,
    ),
    graph(
        "Retried and failed",
        "Does a receiver reject samples? Retried samples arrive later; failed samples are lost.",
        SAMPLES,
        {
            "retried to {{remote_name}}": RETRIED,
            "failed to {{remote_name}}": FAILED,
        },
        colors={"^retried": ORANGE, "^failed": RED},
        width=8,
    ),
    graph(
        "Send duration, p95",
        "How long does a receiver take to accept a batch? From about one second on it is "
        "overloaded.",
        "s",
        {
            "{{remote_name}}": "histogram_quantile(0.95, sum by (le, remote_name) "
            f"({rate('prometheus_remote_storage_sent_batch_duration_seconds_bucket', ALLOY)}))"
        },
        width=8,
    ),
    graph(
        "Components by health",
        "Do all components of Alloy's configuration work? All should be healthy. "
        "http://127.0.0.1:3000 on the host shows those that are not.",
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
        "How many samples are stored, and are some rejected? Late ones are the backlog of an "
        "outage; rejected ones were too old or out of bounds.",
        SAMPLES,
        {
            "stored": ingested(),
            "stored late": f"sum({rate('prometheus_tsdb_head_out_of_order_samples_appended_total', PROMETHEUS)})",
            "rejected": f"sum({rate('prometheus_tsdb_too_old_samples_total', PROMETHEUS)})"
            f" + sum({rate('prometheus_tsdb_out_of_bound_samples_total', PROMETHEUS)})",
        },
        colors={"^stored$": GREEN, "^stored late$": BLUE, "^rejected$": RED},
        width=8,
    ),
    graph(
        "Series",
        "Does the number of series stay level? Steps come from new targets, a slope from labels "
        "that keep changing. Each series needs about 4 KB of memory.",
        SERIES,
        {"in memory": f"prometheus_tsdb_head_series{{{PROMETHEUS}}}"},
        width=8,
    ),
    graph(
        "Rules",
        "How long does the evaluation of each rule group take? It must stay well below 15 s.",
        "s",
        {
            "{{group}}": f"label_replace(prometheus_rule_group_last_duration_seconds{{{PROMETHEUS}}}, "
            '"group", "$1", "rule_group", ".*;(.*)")'
        },
        width=8,
    ),
    graph(
        "Disk",
        "How close is the limit? Blocks, write-ahead log and chunks together, next to "
        "RETENTION_SIZE.",
        "bytes",
        {"used": DISK_USED, "limit": DISK_LIMIT},
        colors={"^limit$": RED},
        width=8,
    ),
    graph(
        "History",
        "How old is the oldest sample? It grows up to RETENTION_TIME, or until the disk limit is "
        "reached.",
        DAYS,
        {
            # Before the first sample, the lowest timestamp is the highest possible number.
            "oldest sample": f"(time() - (prometheus_tsdb_lowest_timestamp_seconds{{{PROMETHEUS}}} < time())) / {DAY}",
            "limit": f"(prometheus_tsdb_retention_limit_seconds{{{PROMETHEUS}}} > 0) / {DAY}",
        },
        colors={"^limit$": RED},
        decimals=0,
        width=8,
    ),
    graph(
        "Write-ahead logs",
        "How large are the logs of Prometheus and Alloy? Both are truncated every two hours; "
        "Alloy's log grows during an outage.",
        "bytes",
        {"{{job}}": "sum by (job) (prometheus_tsdb_wal_storage_size_bytes)"},
        width=8,
    ),
    graph(
        "Compactions",
        "Does Prometheus compact its blocks? Some compactions every two hours are normal; a "
        "failed one means a full or broken disk.",
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
        "How many queries does Prometheus answer? Those of dashboards and rules together.",
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
        "Query duration",
        "Are queries slow? Seconds in the query engine, for the median and the slowest.",
        "s",
        {
            "p{{quantile}}": "prometheus_engine_query_duration_seconds"
            f'{{{PROMETHEUS}, slice="inner_eval", quantile=~"0.5|0.99"}}'
        },
        width=8,
    ),
]

GRAFANA_PANELS = [
    row("Grafana and process resources"),
    graph(
        "Requests to Grafana",
        "Is Grafana used, and does it fail? Requests per second by status.",
        "reqps",
        {
            "{{status_code}}": "sum by (status_code) "
            f"({rate('grafana_http_request_duration_seconds_count', GRAFANA)})"
        },
        colors={"^2": GREEN, "^4": ORANGE, "^5": RED},
        width=8,
    ),
]


def process_panels(processes, width):
    return [
        graph(
            "Memory",
            "How much memory is in use? Resident sets, including programs mapped from disk. The "
            "kernel limits the memory of a unit's control group, which no metric shows: "
            "`systemctl status 'metrics-*'` on the host.",
            "bytes",
            {"{{job}}": f"process_resident_memory_bytes{{{processes}}}"},
            width=width,
        ),
        graph(
            "CPU",
            "How much CPU is in use? 100% is one core.",
            "percentunit",
            {"{{job}}": rate("process_cpu_seconds_total", processes)},
            width=width,
        ),
    ]


def board(processes, panels):
    return dashboard(
        uid="metrics-pipeline",
        title="Pipeline",
        description="Does every hop from the service to Grafana work and keep up, "
        "and when is the disk limit reached?",
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
        *process_panels(SERVERS, 8),
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
        row("Alloy process"),
        *process_panels(ALLOY, 12),
    ],
)
