"""Each hop from the service to the screen: does it work, does it keep up, and how long does the room last?"""

from grafana import BLUE, GREEN, ORANGE, RED, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, row, stat, timeline

ALLOY = 'job="alloy"'
PROMETHEUS = 'job="prometheus"'
GRAFANA = 'job="grafana"'
SERVERS = 'job=~"alloy|prometheus|grafana"'

UP_OR_DOWN = {1: ("Up", GREEN), 0: ("Down", RED)}

# The time sent is 0 until the first send, which is no lag since 1970.
LAG = (
    f"prometheus_remote_storage_queue_highest_timestamp_seconds{{{ALLOY}}}"
    f" - (prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{{ALLOY}}} > 0)"
)
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


DASHBOARD = dashboard(
    uid="metrics-pipeline",
    title="Pipeline",
    description="Does every hop from the service to the screen work and keep up, and how long does the room last?",
    annotations=[
        annotation(
            "Restarts",
            f"time() - process_start_time_seconds{{{SERVERS}}} < 60",
            "{{job}} was restarted",
            BLUE,
        ),
        annotation("Alerts", 'ALERTS{alertstate="firing"}', "{{alertname}}", RED),
    ],
    panels=[
        stat(
            "Hops",
            "Which part is down? The service, the host and your applications are scraped by Alloy, the three servers by "
            "Prometheus. Without Alloy the former keep their last state for five minutes and then vanish.",
            "none",
            "min by (job) (up)",
            legend="{{job}}",
            names=UP_OR_DOWN,
            width=18,
        ),
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
        stat(
            "Lag",
            "How late do samples arrive? Seconds between the newest sample that Alloy has scraped and the newest that it has "
            "sent, for the slowest receiver that has been sent any.",
            "s",
            f"max({LAG})",
            steps=[(None, GREEN), (30, YELLOW), (120, RED)],
            missing="Nothing sent",
        ),
        stat(
            "Waiting samples",
            "Does a backlog build up in Alloy? Samples scraped and not yet sent.",
            "short",
            f"sum(prometheus_remote_storage_samples_pending{{{ALLOY}}})",
            steps=[(None, GREEN), (10000, YELLOW), (100000, RED)],
        ),
        stat(
            "Lost samples",
            "Has a receiver refused samples for good? Samples given up in the last minutes.",
            "short",
            f"sum(increase(prometheus_remote_storage_samples_failed_total{{{ALLOY}}}[$__rate_interval]))",
            steps=[(None, GREEN), (1, RED)],
            decimals=0,
        ),
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
        firing_alerts(
            "Firing alerts",
            "What is wrong right now? What to do stands in each alert's description, at http://127.0.0.1:9090/alerts.",
        ),
        row("Scrapes"),
        timeline(
            "Targets",
            "When was a target down? Green while its scrapes succeed, red while they fail, empty while nobody scrapes it.",
            {"{{job}} {{instance}}": "up"},
            names=UP_OR_DOWN,
            width=24,
        ),
        graph(
            "Scrape duration",
            "Which target answers slowly? A scrape is given up after 10 s.",
            "s",
            {"{{job}} {{instance}}": "scrape_duration_seconds"},
        ),
        graph(
            "Samples in a scrape",
            "Which target brings the series? A line that climbs without end is a label with too many values.",
            "short",
            {"{{job}} {{instance}}": "scrape_samples_scraped"},
        ),
        row("Alloy: remote write"),
        graph(
            "Scraped and sent",
            "Does Alloy send as much as it scrapes? The lines lie on each other; sent is higher while it catches up.",
            "cps",
            {
                "scraped": f"sum({rate('prometheus_remote_write_wal_samples_appended_total', ALLOY)})",
                "sent to {{remote_name}}": rate("prometheus_remote_storage_samples_total", ALLOY),
            },
            width=8,
        ),
        graph(
            "Lag",
            "How late do samples arrive? It grows while a receiver is away and falls once it is back. There is none before the "
            "first sample has been sent.",
            "s",
            {"{{remote_name}}": LAG},
            limits=[(120, RED)],
            width=8,
        ),
        graph(
            "Waiting samples",
            "Does a backlog build up? Some hundred for a moment after each scrape are usual.",
            "short",
            {"{{remote_name}}": f"prometheus_remote_storage_samples_pending{{{ALLOY}}}"},
            width=8,
        ),
        graph(
            "Repeated and lost",
            "Does a receiver refuse samples? Repeated ones arrive later; lost ones never do.",
            "cps",
            {
                "repeated to {{remote_name}}": rate("prometheus_remote_storage_samples_retried_total", ALLOY),
                "lost for {{remote_name}}": rate("prometheus_remote_storage_samples_failed_total", ALLOY),
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
            "Do all parts of Alloy's configuration work? All should be healthy; which are not: http://127.0.0.1:3000.",
            "short",
            {"{{health_type}}": f"sum by (health_type) (alloy_component_controller_running_components{{{ALLOY}}})"},
            colors={"^healthy$": GREEN, "^unhealthy$": RED},
            width=8,
        ),
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
        graph(
            "Memory",
            "Which server needs the memory? Resident sets.",
            "bytes",
            {"{{job}}": f"process_resident_memory_bytes{{{SERVERS}}}"},
            width=8,
        ),
        graph(
            "CPU",
            "Which server needs the CPU? 100 % is one core.",
            "percentunit",
            {"{{job}}": rate("process_cpu_seconds_total", SERVERS)},
            width=8,
        ),
    ],
)
