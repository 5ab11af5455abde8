"""Each hop from the service to the screen: does it work, does it keep up, and how long does the room last?

There are two of it. A host's own Prometheus has that host alone, so nothing has to be selected there. To the far end go Alloy's
metrics, with the host's name as their instance; those of Prometheus and Grafana do not.
"""

from grafana import BLUE, GREEN, OF_HOST, ORANGE, RED, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, instances, row, stat, timeline

ALLOY = 'job="alloy"'
PROMETHEUS = 'job="prometheus"'
GRAFANA = 'job="grafana"'
SERVERS = 'job=~"alloy|prometheus|grafana"'
ALLOY_OF_HOST = f'{ALLOY}, instance="$instance"'

UP_OR_DOWN = {1: ("Up", GREEN), 0: ("Down", RED)}

INGESTED = f"sum(rate(prometheus_tsdb_head_samples_appended_total{{{PROMETHEUS}}}[$__rate_interval]))"
DISK_USED = (
    f"sum(prometheus_tsdb_storage_blocks_bytes{{{PROMETHEUS}}}"
    f" + prometheus_tsdb_wal_storage_size_bytes{{{PROMETHEUS}}}"
    f" + prometheus_tsdb_head_chunks_storage_size_bytes{{{PROMETHEUS}}})"
)
DISK_LIMIT = f"sum(prometheus_tsdb_retention_limit_bytes{{{PROMETHEUS}}})"

# Grafana's units of time turn days into weeks and years; a suffix leaves a number as it is.
DAY, DAYS = 86400, "suffix:days"


def rate(metric, selector):
    return f"rate({metric}{{{selector}}}[$__rate_interval])"


# The time sent is 0 until the first send, which is no lag since 1970.
def lag(alloy):
    return (
        f"prometheus_remote_storage_queue_highest_timestamp_seconds{{{alloy}}}"
        f" - (prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{alloy}}} > 0)"
    )


def hops(which=""):
    return [
        stat(
            "Hops",
            "Which part is down? The service, the host and your applications are scraped by Alloy, the three servers by "
            "Prometheus. Without Alloy the former keep their last state for five minutes and then vanish.",
            "none",
            f"min by (job) (up{which})",
            legend="{{job}}",
            missing="Nothing arrives",
            names=UP_OR_DOWN,
            width=18,
        ),
    ]


def prometheus_stats():
    return [
        stat(
            "Data source",
            "Can Grafana ask Prometheus? Its data source is a plugin, without which every panel fails while Grafana calls "
            "itself healthy: `systemctl restart metrics-grafana`, then `journalctl -u metrics-grafana -g plugin`.",
            "none",
            f'count(grafana_plugin_build_info{{{GRAFANA}, plugin_id="prometheus"}})',
            names={1: ("Registered", GREEN)},
            steps=[(None, RED), (1, GREEN)],
            missing="Missing",
        ),
        stat(
            "Samples stored",
            "How much does Prometheus take in? Samples a second, by remote write and by its own scrapes.",
            "cps",
            INGESTED,
        ),
    ]


def queue_stats(alloy):
    return [
        stat(
            "Lag",
            "How late do samples arrive? Seconds between the newest sample that Alloy has scraped and the newest that it has "
            "sent, for the slowest receiver that has been sent any.",
            "s",
            f"max({lag(alloy)})",
            steps=[(None, GREEN), (30, YELLOW), (120, RED)],
            missing="Nothing sent",
        ),
        stat(
            "Waiting samples",
            "Does a backlog build up in Alloy? Samples scraped and not yet sent, for the receiver with most.",
            "short",
            f"max(prometheus_remote_storage_samples_pending{{{alloy}}})",
            steps=[(None, GREEN), (10000, YELLOW), (100000, RED)],
        ),
        stat(
            "Lost samples",
            "Has a receiver refused samples for good? Samples given up in the last minutes.",
            "short",
            f"sum(increase(prometheus_remote_storage_samples_failed_total{{{alloy}}}[$__rate_interval]))",
            steps=[(None, GREEN), (1, RED)],
            decimals=0,
        ),
    ]


def room_stats():
    return [
        stat(
            "Disk limit used",
            "How much of RETENTION_SIZE does Prometheus use? At 100 % it removes its oldest samples, which does no harm "
            "unless you want to look further back.",
            "percentunit",
            f"{DISK_USED} / {DISK_LIMIT}",
            steps=[(None, GREEN), (0.8, YELLOW), (0.95, ORANGE)],
            decimals=1,
        ),
        stat(
            "Disk limit lasts",
            "When would RETENTION_SIZE be reached at this rate, at two bytes a sample? Longer than RETENTION_TIME means "
            "that samples go by age, and the size never matters.",
            DAYS,
            f"clamp_min({DISK_LIMIT} - {DISK_USED}, 0) / (2 * {INGESTED}) / {DAY}",
            decimals=0,
        ),
    ]


def alerts():
    return [
        firing_alerts(
            "Firing alerts",
            "What is wrong right now? What to do stands in each alert's description, at http://127.0.0.1:9090/alerts.",
        ),
    ]


def scrapes(which=""):
    return [
        row("Scrapes"),
        timeline(
            "Targets",
            "When was a target down? Green while its scrapes succeed, red while they fail, empty while nobody scrapes it.",
            {"{{job}} {{instance}}": f"up{which}"},
            names=UP_OR_DOWN,
            width=24,
        ),
        graph(
            "Scrape duration",
            "Which target answers slowly? A scrape is given up after 10 s.",
            "s",
            {"{{job}} {{instance}}": f"scrape_duration_seconds{which}"},
        ),
        graph(
            "Samples in a scrape",
            "Which target brings the series? A line that climbs without end is a label with too many values.",
            "short",
            {"{{job}} {{instance}}": f"scrape_samples_scraped{which}"},
        ),
    ]


def receivers(alloy):
    repeated, failed = (rate(f"prometheus_remote_storage_samples_{what}_total", alloy) for what in ("retried", "failed"))
    return f"clamp_min(2 - ({repeated} > bool 0) - 2 * ({failed} > bool 0), 0)"


# What Alloy counts as sent is every attempt, the repeated and the refused ones too.
def taken(alloy):
    sent, repeated, failed = (
        rate(f"prometheus_remote_storage_samples_{what}total", alloy) for what in ("", "retried_", "failed_")
    )
    return f"{sent} - {repeated} - {failed}"


def remote_write(alloy):
    return [
        row("Alloy: remote write"),
        timeline(
            "Receivers",
            "When did a receiver not take its samples? Orange while sends are repeated, which loses nothing yet: it is away or "
            "overloaded. Red while it refuses some for good: a wrong password, or samples that are too old.",
            {"{{remote_name}}": receivers(alloy)},
            names={2: ("Takes all", GREEN), 1: ("Away", ORANGE), 0: ("Refuses", RED)},
            width=24,
            height=4,
        ),
        graph(
            "Scraped and taken",
            "Does each receiver take as much as Alloy scrapes? The lines lie on each other; what is taken is higher while Alloy "
            "catches up.",
            "cps",
            {
                "scraped": f"max({rate('prometheus_remote_write_wal_samples_appended_total', alloy)})",
                "taken by {{remote_name}}": taken(alloy),
            },
            width=8,
        ),
        graph(
            "Lag",
            "How late do samples arrive? It grows while a receiver is away and falls once it is back. There is none before the "
            "first sample has been sent.",
            "s",
            {"{{remote_name}}": lag(alloy)},
            limits=[(120, RED)],
            width=8,
        ),
        graph(
            "Waiting samples",
            "Does a backlog build up? Some hundred for a moment after each scrape are usual.",
            "short",
            {"{{remote_name}}": f"prometheus_remote_storage_samples_pending{{{alloy}}}"},
            width=8,
        ),
        graph(
            "Repeated and lost",
            "Does a receiver refuse samples? Repeated ones arrive later; lost ones never do.",
            "cps",
            {
                "repeated to {{remote_name}}": rate("prometheus_remote_storage_samples_retried_total", alloy),
                "lost for {{remote_name}}": rate("prometheus_remote_storage_samples_failed_total", alloy),
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
                f"({rate('prometheus_remote_storage_sent_batch_duration_seconds_bucket', alloy)}))"
            },
            width=8,
        ),
        graph(
            "Components by health",
            "Do all parts of Alloy's configuration work? All should be healthy; which are not, its page on the host says: "
            "http://127.0.0.1:3000.",
            "short",
            {"{{health_type}}": f"sum by (health_type) (alloy_component_controller_running_components{{{alloy}}})"},
            colors={"^healthy$": GREEN, "^unhealthy$": RED},
            width=8,
        ),
    ]


def prometheus():
    return [
        row("Prometheus"),
        graph(
            "Samples stored",
            "How much is stored, and is anything refused? Late ones are an outage's backlog; refused ones were too old or "
            "out of bounds.",
            "cps",
            {
                "stored": INGESTED,
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
            "short",
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
                "limit": f"prometheus_tsdb_retention_limit_seconds{{{PROMETHEUS}}} / {DAY}",
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
            "reqps",
            {"queries": rate("prometheus_engine_query_duration_seconds_count", f'{PROMETHEUS}, slice="inner_eval"')},
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


def grafana():
    return [
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


def servers(which):
    return [
        graph(
            "Memory",
            "Which server needs the memory? Resident sets.",
            "bytes",
            {"{{job}}": f"process_resident_memory_bytes{{{which}}}"},
            width=8,
        ),
        graph(
            "CPU",
            "Which server needs the CPU? 100 % is one core.",
            "percentunit",
            {"{{job}}": rate("process_cpu_seconds_total", which)},
            width=8,
        ),
    ]


def board(variables, servers_of, *panels):
    return dashboard(
        uid="metrics-pipeline",
        title="Pipeline",
        description="Does every hop from the service to the screen work and keep up, and how long does the room last?",
        variables=variables,
        annotations=[
            annotation(
                "Restarts",
                f"time() - process_start_time_seconds{{{servers_of}}} < 60",
                "{{job}} was restarted",
                BLUE,
            ),
            annotation("Alerts", 'ALERTS{alertstate="firing"}', "{{alertname}}", RED),
        ],
        panels=[panel for some in panels for panel in some],
    )


DASHBOARD = board(
    [],
    SERVERS,
    hops(),
    prometheus_stats(),
    queue_stats(ALLOY),
    room_stats(),
    alerts(),
    scrapes(),
    remote_write(ALLOY),
    prometheus(),
    grafana(),
    servers(SERVERS),
)

CENTRAL = board(
    [instances('up{job="metrics_service"}')],
    ALLOY_OF_HOST,
    hops(f"{{{OF_HOST}}}"),
    queue_stats(ALLOY_OF_HOST),
    alerts(),
    scrapes(f"{{{OF_HOST}}}"),
    remote_write(ALLOY_OF_HOST),
    [row("Alloy: the server")],
    servers(ALLOY_OF_HOST),
)
