#!/usr/bin/env bash
# What the dashboards and alerts ask, asked of a host that has been at work for some minutes, and of one with faults.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

# The kernel counts kills for want of memory for all machines together: faults make some, and dashboards shows when there are none.
exec 5>"$WORK/kills" && flock 5
# In so many words, as programs of this host that a test has started may outlive it.
trap '[[ -z $DISK ]] || power_off; flock --unlock 5' EXIT

# Requests of every kind for two minutes, as the shortest rate that a panel draws wants four scrapes.
healthy_host_has_no_empty_panel() {
  # shellcheck disable=SC2016  # for the shell in there
  in_container sh -c 'end=$(($(date +%s) + 120))
    while [ "$(date +%s)" -lt "$end" ]; do
      for path in / /health /nothing "/simulate-load?duration_ms=100" "/simulate-load?error_rate=1&duration_ms=0" "/simulate-load?mode=none"; do
        curl --silent --output /dev/null "http://127.0.0.1:8000$path"
      done
    done'
  keep queries on_network python3 "$ROOT/tests/config/queries.py" http://127.0.0.1:9090 180
  contains "$(tail -n 1 "$SCRATCH/queries")" ", 0 failed"
  measured "$(tail -n 1 "$SCRATCH/queries")"
}

# A second Prometheus with the far end's rules. The host's samples come to it under two names, and there is a third host, whose
# service is down and whose disk is full.
far_end_starts() {
  local host
  {
    cat <<YAML
global: {scrape_interval: 15s, evaluation_interval: 15s}
rule_files: [$CHECKOUT/central/rules/*.yml]
scrape_configs:
  - {job_name: ill, honor_labels: true, metrics_path: /metrics.txt, static_configs: [{targets: ["127.0.0.1:9201"]}]}
YAML
    for host in one two; do
      cat <<YAML
  - job_name: $host
    honor_labels: true
    metrics_path: /federate
    params: {'match[]': ['{job=~"metrics_service|node|alloy"}']}
    static_configs: [{targets: ["127.0.0.1:9090"]}]
    metric_relabel_configs: [{target_label: instance, replacement: $host}]
YAML
    done
  } | in_container tee /etc/far-end.yml
  mkdir "$SCRATCH/ill"
  cat >"$SCRATCH/ill/metrics.txt" <<'METRICS'
up{job="metrics_service",instance="ill"} 0
node_filesystem_avail_bytes{job="node",instance="ill",mountpoint="/",fstype="ext4"} 1
node_filesystem_size_bytes{job="node",instance="ill",mountpoint="/",fstype="ext4"} 100
node_filesystem_readonly{job="node",instance="ill",mountpoint="/",fstype="ext4"} 0
METRICS
  on_network python3 -m http.server --bind 127.0.0.1 --directory "$SCRATCH/ill" 9201 &
  in_container systemd-run --quiet --unit far-end /opt/metrics-stack/prometheus/bin/prometheus --config.file=/etc/far-end.yml \
    --storage.tsdb.path=/var/lib/far-end --web.listen-address=127.0.0.1:9190
  eventually 60 get 9190/-/ready
}

far_end_tells_hosts_apart() {
  keep central on_network python3 "$ROOT/tests/config/queries.py" http://127.0.0.1:9190 --central
  contains "$(tail -n 1 "$SCRATCH/central")" ", 0 failed"
  measured "$(tail -n 1 "$SCRATCH/central")"
  eventually 120 at_far_end 'ALERTS{alertname="ServiceDown",alertstate="firing"}' ill
  # A container may not ask the clock.
  at_far_end 'group by (instance) (ALERTS{alertstate="firing",alertname!~"HostClock.*"})' ill
  # The first column of the table.
  at_far_end "($(python3 -c 'import json, sys
table = next(panel for panel in json.load(sys.stdin)["panels"] if panel["type"] == "table")
print(table["targets"][0]["expr"])' <"$ROOT/central/dashboards/fleet.json")) == 1" "one two"
}
# at_far_end PROMQL HOSTS: the result's hosts are these.
at_far_end() {
  local hosts
  hosts=$(get 9190/api/v1/query --get --data-urlencode "query=$1" | grep -o '"instance":"[^"]*"' | cut -d'"' -f4 | sort | paste -sd' ')
  equal "hosts of $1" "$hosts" "$2"
}

only_real_parts_are_known() {
  equal "root" "$(query 'count(node_filesystem_size_bytes{job="node",mountpoint="/"})')" 1
  local metric
  for metric in node_network_receive_bytes_total node_network_info; do
    equal "$metric of eth0" "$(query "count($metric{job=\"node\",device=\"eth0\"})")" 1
    equal "$metric of others" "$(query "count($metric{job=\"node\",device!=\"eth0\"})")" ""
  done
}

no_alert_fires_on_a_healthy_host() {
  # A container may not ask the clock.
  equal "alerts" "$(get 9090/api/v1/query --get --data-urlencode 'query=ALERTS{alertstate="firing",alertname!~"HostClock.*"}' | grep -o '"alertname":"[^"]*"' || :)" ""
}

# annotation DASHBOARD NAME: the query behind a mark on it, for every instance.
annotation() {
  # shellcheck disable=SC2016  # for Python
  python3 -c 'import json, sys
marks = json.load(open(sys.argv[1]))["annotations"]["list"]
print(next(mark["expr"] for mark in marks if mark["name"] == sys.argv[2]).replace("=\"$instance\"", "=~\".*\""))' "$ROOT/etc/grafana/dashboards/$1.json" "$2"
}
shows() { [[ -n $(query "$(annotation "$@")") ]]; }

restart_is_marked() {
  equal "marks before" "$(query "$(annotation service Restarts)")" ""
  in_container systemctl restart metrics-service
  eventually 90 shows service Restarts
  in_container systemctl restart metrics-alloy
  eventually 90 shows pipeline Restarts
}

dead_service_is_shown() {
  equal "marks before" "$(query "$(annotation service Alerts)")" ""
  in_container systemctl stop metrics-service.socket metrics-service.service
  eventually 150 query_is 'count(ALERTS{alertname="ServiceDown",alertstate="firing"})' 1
  shows service Alerts
  in_container systemctl start metrics-service.socket metrics-service.service
  eventually 60 query_is 'count(ALERTS{alertname="ServiceDown"}) or vector(0)' 0
}

dead_grafana_is_shown() {
  in_container systemctl stop metrics-grafana
  eventually 240 query_is 'count(ALERTS{alertname="GrafanaDown",alertstate="firing"})' 1
  in_container systemctl start metrics-grafana
  eventually 60 query_is 'count(ALERTS{alertname="GrafanaDown"}) or vector(0)' 0
}

# A file that Alloy has been told to watch vanishes, and one of targets is no list.
ill_component_is_shown() {
  in_container touch /etc/watched
  in_container sh -c 'echo "targets: [127.0.0.1:1]" >/etc/metrics-stack/targets.d/no-list.yml'
  in_container sh -c 'printf "local.file \"watched\" {\n\tfilename = \"/etc/watched\"\n}\n" >/etc/metrics-stack/alloy/watched.alloy'
  in_container systemctl reload metrics-alloy
  eventually 30 has_component local.file.watched
  in_container rm /etc/watched
  eventually 90 query_is 'sum(alloy_component_controller_running_components{health_type="unhealthy"})' 1
  # These alerts fire after five minutes and seven; here it is enough that they are about to.
  eventually 60 query_is 'count(ALERTS{alertname="AlloyComponentUnhealthy"})' 1
  contains "$(in_container curl --silent http://127.0.0.1:12345/-/healthy)" "unhealthy components: local.file"
  keep verify verify || :
  contains "$(<"$SCRATCH/verify")" "these are not: local.file.watched"
  eventually 60 query_is 'count(ALERTS{alertname="AlloyTargetFileUnreadable"})' 1
  in_container rm /etc/metrics-stack/alloy/watched.alloy /etc/metrics-stack/targets.d/no-list.yml
  in_container systemctl reload metrics-alloy
  eventually 60 query_is 'count(ALERTS{alertname="AlloyComponentUnhealthy"}) or vector(0)' 0
}
has_component() { [[ $(get 12345/api/v0/web/components) == *"\"localID\":\"$1\""* ]]; }

# A container can't ask the clock, has no start of its own and nothing that the kernel kills for want of memory. An application
# of a person's that calls itself a host has it all, well at first and then not.
ill_host_is_shown() {
  local server
  mkdir "$SCRATCH/host"
  host_says "node_timex_sync_status 1" "node_timex_maxerror_seconds 0.1" "node_vmstat_oom_kill 0"
  on_network python3 -m http.server --bind 127.0.0.1 --directory "$SCRATCH/host" 9200 &
  server=$!
  in_container sh -c 'printf -- "- targets: [127.0.0.1:9200]\n  labels: {job: node, __metrics_path__: /metrics.txt}\n" >/etc/metrics-stack/targets.d/host.yml'
  eventually 60 query_is 'node_timex_sync_status{job="node",instance="127.0.0.1:9200"}' 1
  # Long enough for the rules to have looked at it.
  sleep 20
  equal "alerts of a host that is well" "$(query 'count(ALERTS{instance="127.0.0.1:9200"})')" ""
  host_says "node_timex_sync_status 0" "node_timex_maxerror_seconds 16" "node_vmstat_oom_kill 1" "node_boot_time_seconds $(date +%s)"
  eventually 60 shows host Restarts
  # This one fires after half an hour.
  eventually 60 query_is 'count(ALERTS{alertname="HostClockUnsynchronised",instance="127.0.0.1:9200"})' 1
  eventually 60 query_is 'count(ALERTS{alertname="HostOutOfMemoryKill",alertstate="firing",instance="127.0.0.1:9200"})' 1
  shows host Alerts
  in_container rm /etc/metrics-stack/targets.d/host.yml
  kill "$server"
}
# In one piece, as a scrape may come meanwhile.
host_says() { printf '%s\n' "$@" >"$SCRATCH/host/new" && mv "$SCRATCH/host/new" "$SCRATCH/host/metrics.txt"; }

nothing_stays_empty() {
  keep faults on_network python3 "$ROOT/tests/config/queries.py" http://127.0.0.1:9090 --faults
  contains "$(tail -n 1 "$SCRATCH/faults")" ", 0 failed"
  measured "$(tail -n 1 "$SCRATCH/faults")"
}

OWN_DISK=yes boot trixie
# A real interface and the end of a container.
on_network ip link add eth0 up type veth peer name veth0
test "install" installs_verified
test "a far end of three hosts starts" far_end_starts
test "a host at work leaves no panel and no alert without data" healthy_host_has_no_empty_panel
test "nor do the pages for many hosts, and the far end's alerts are of the host that is ill" far_end_tells_hosts_apart
test "its disk and its real interfaces are known, and no others" only_real_parts_are_known
test "no alert fires on it" no_alert_fires_on_a_healthy_host
test "a restart is marked on the dashboards" restart_is_marked
test "a dead service raises an alert that the dashboard shows, and a living one ends it" dead_service_is_shown
test "so does Grafana" dead_grafana_is_shown
test "so does an ill component of Alloy, which verify.sh names" ill_component_is_shown
test "so does a host whose clock nothing keeps right, and that kills for want of memory" ill_host_is_shown
test "by then nothing has stayed empty that may be so on a healthy host" nothing_stays_empty
