#!/usr/bin/env bash
# The queries of dashboards and alerts, on a healthy host with requests and on one with faults.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

# The kernel counts out-of-memory kills for all containers together. The scenario
# floods-and-crashes causes some, and this one needs a time without any.
exec 5>"$WORK/kills" && flock 5
# Unlocked explicitly, because programs that a test has started can outlive it.
trap '[[ -z $DISK ]] || power_off; flock --unlock 5' EXIT

# Requests of every kind for two minutes, because the shortest rate of a panel needs four scrapes.
healthy_host_has_no_empty_panel() {
  # shellcheck disable=SC2016  # for the shell in the container
  in_container sh -c 'end=$(($(date +%s) + 120))
    while [ "$(date +%s)" -lt "$end" ]; do
      for path in / /health /nothing "/simulate-load?duration_ms=100" "/simulate-load?mode=none" \
        "/simulate-load?error_rate=1&duration_ms=0"; do
        curl --silent --output /dev/null "http://127.0.0.1:8000$path"
      done
    done'
  keep queries on_network python3 "$ROOT/tests/config/queries.py" http://127.0.0.1:9090 180
  contains "$(tail -n 1 "$SCRATCH/queries")" ", 0 failed"
  measured "$(tail -n 1 "$SCRATCH/queries")"
}

# A second Prometheus with the central server's rules. It reads the host's samples under two names,
# and those of a third host, whose service is down and whose disk is full.
central_server_starts() {
  local host
  {
    cat <<YAML
global: {scrape_interval: 15s, evaluation_interval: 15s}
rule_files: [$CHECKOUT/central/rules/*.yml]
scrape_configs:
  - job_name: bad
    honor_labels: true
    metrics_path: /metrics.txt
    static_configs: [{targets: ["127.0.0.1:9201"]}]
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
  } | in_container tee /etc/central-server.yml
  mkdir "$SCRATCH/bad"
  cat >"$SCRATCH/bad/metrics.txt" <<'METRICS'
up{job="metrics_service",instance="bad"} 0
node_filesystem_avail_bytes{job="node",instance="bad",mountpoint="/",fstype="ext4"} 1
node_filesystem_size_bytes{job="node",instance="bad",mountpoint="/",fstype="ext4"} 100
node_filesystem_readonly{job="node",instance="bad",mountpoint="/",fstype="ext4"} 0
METRICS
  on_network python3 -m http.server --bind 127.0.0.1 --directory "$SCRATCH/bad" 9201 &
  in_container systemd-run --quiet --unit central-server \
    /opt/metrics-stack/prometheus/bin/prometheus --config.file=/etc/central-server.yml \
    --storage.tsdb.path=/var/lib/central-server --web.listen-address=127.0.0.1:9190
  eventually 60 get 9190/-/ready
}

central_server_separates_hosts() {
  keep central on_network python3 "$ROOT/tests/config/queries.py" http://127.0.0.1:9190 --central
  contains "$(tail -n 1 "$SCRATCH/central")" ", 0 failed"
  measured "$(tail -n 1 "$SCRATCH/central")"
  eventually 120 at_center 'ALERTS{alertname="ServiceDown",alertstate="firing"}' bad
  # A container is not allowed to read the clock.
  at_center 'group by (instance) (ALERTS{alertstate="firing",alertname!~"HostClock.*"})' bad
  # The first column of the table.
  at_center "($(python3 -c 'import json, sys
table = next(panel for panel in json.load(sys.stdin)["panels"] if panel["type"] == "table")
print(table["targets"][0]["expr"])' <"$ROOT/central/dashboards/fleet.json")) == 1" "one two"
}
# at_center PROMQL HOSTS: checks the hosts of the result.
at_center() {
  equal "hosts of $1" "$(promql "$1" 9190 | labels instance)" "$2"
}

only_real_parts_are_known() {
  equal "root" "$(query 'count(node_filesystem_size_bytes{job="node",mountpoint="/"})')" 1
  local metric
  for metric in node_network_receive_bytes_total node_network_info; do
    equal "$metric of eth0" "$(query "count($metric{job=\"node\",device=\"eth0\"})")" 1
    equal "$metric of others" \
      "$(query "count($metric{job=\"node\",device!=\"eth0\"}) or vector(0)")" 0
  done
}

no_alert_fires_on_a_healthy_host() {
  # A container is not allowed to read the clock.
  local firing='ALERTS{alertstate="firing",alertname!~"HostClock.*"}'
  contains "$(promql "$firing")" '"result":[]'
}

# annotation DASHBOARD NAME: prints the query of a mark, for every instance.
annotation() {
  # shellcheck disable=SC2016  # for Python
  python3 -c 'import json, sys
marks = json.load(open(sys.argv[1]))["annotations"]["list"]
expr = next(mark["expr"] for mark in marks if mark["name"] == sys.argv[2])
print(expr.replace("=\"$instance\"", "=~\".*\""))' "$ROOT/etc/grafana/dashboards/$1.json" "$2"
}
shows() { [[ -n $(query "$(annotation "$@")") ]]; }

restart_is_marked() {
  equal "marks before" "$(query "$(annotation service Restarts)")" ""
  in_container systemctl restart metrics-service
  eventually 90 shows service Restarts
  in_container systemctl restart metrics-alloy
  eventually 90 shows pipeline Restarts
}

# Stops both at once, because each alert takes more than a minute.
stopped_services_are_shown() {
  local units=(metrics-service.socket metrics-service.service metrics-grafana.service)
  equal "marks before" "$(query "$(annotation service Alerts)")" ""
  in_container systemctl stop "${units[@]}"
  eventually 150 query_is 'count(ALERTS{alertname="ServiceDown",alertstate="firing"})' 1
  shows service Alerts
  eventually 240 query_is 'count(ALERTS{alertname="GrafanaDown",alertstate="firing"})' 1
  in_container systemctl start "${units[@]}"
  eventually 60 query_is 'count(ALERTS{alertname=~"ServiceDown|GrafanaDown"}) or vector(0)' 0
}

# A file that Alloy watches is removed, and a target file is not a list.
unhealthy_component_is_shown() {
  in_container touch /etc/watched
  in_container sh -c 'echo "targets: [127.0.0.1:1]" >/etc/metrics-stack/targets.d/no-list.yml'
  in_container sh -c 'printf "local.file \"watched\" {\n\tfilename = \"/etc/watched\"\n}\n" \
    >/etc/metrics-stack/alloy/watched.alloy'
  in_container systemctl reload metrics-alloy
  eventually 30 has_component local.file.watched
  in_container rm /etc/watched
  local unhealthy='alloy_component_controller_running_components{health_type="unhealthy"}'
  eventually 90 query_is "sum($unhealthy)" 1
  # These alerts fire after five and seven minutes; pending is enough here.
  eventually 60 query_is 'count(ALERTS{alertname="AlloyComponentUnhealthy"})' 1
  contains "$(in_container curl --silent http://127.0.0.1:12345/-/healthy)" \
    "unhealthy components: local.file"
  keep verify verify || :
  contains "$(<"$SCRATCH/verify")" "unhealthy: local.file.watched"
  eventually 60 query_is 'count(ALERTS{alertname="AlloyTargetFileUnreadable"})' 1
  in_container rm /etc/metrics-stack/alloy/watched.alloy /etc/metrics-stack/targets.d/no-list.yml
  in_container systemctl reload metrics-alloy
  eventually 60 query_is 'count(ALERTS{alertname="AlloyComponentUnhealthy"}) or vector(0)' 0
}
has_component() { [[ $(get 12345/api/v0/web/components) == *"\"localID\":\"$1\""* ]]; }

# A container can't read the clock, has no boot time and no out-of-memory kills. An application with
# the job of a host has them, first healthy and then not.
host_with_problems_is_shown() {
  local server
  mkdir "$SCRATCH/host"
  set_host_metrics "node_timex_sync_status 1" "node_timex_maxerror_seconds 0.1" \
    "node_vmstat_oom_kill 0"
  on_network python3 -m http.server --bind 127.0.0.1 --directory "$SCRATCH/host" 9200 &
  server=$!
  in_container tee /etc/metrics-stack/targets.d/host.yml <<'YAML'
- targets: [127.0.0.1:9200]
  labels: {job: node, __metrics_path__: /metrics.txt}
YAML
  eventually 60 query_is 'node_timex_sync_status{job="node",instance="127.0.0.1:9200"}' 1
  # Long enough for an evaluation of the rules.
  sleep 20
  equal "alerts of a healthy host" \
    "$(query 'count(ALERTS{instance="127.0.0.1:9200"}) or vector(0)')" 0
  set_host_metrics "node_timex_sync_status 0" "node_timex_maxerror_seconds 16" \
    "node_vmstat_oom_kill 1" "node_boot_time_seconds $(date +%s)"
  eventually 60 shows host Restarts
  # This one fires after half an hour; pending is enough here.
  local is_host='instance="127.0.0.1:9200"'
  eventually 60 query_is "count(ALERTS{alertname=\"HostClockUnsynchronised\",$is_host})" 1
  eventually 60 query_is \
    "count(ALERTS{alertname=\"HostOutOfMemoryKill\",alertstate=\"firing\",$is_host})" 1
  shows host Alerts
  in_container rm /etc/metrics-stack/targets.d/host.yml
  kill "$server"
}
# Atomic, because a scrape can come at any time.
set_host_metrics() {
  printf '%s\n' "$@" >"$SCRATCH/host/new"
  mv "$SCRATCH/host/new" "$SCRATCH/host/metrics.txt"
}

nothing_stays_empty() {
  keep faults on_network python3 "$ROOT/tests/config/queries.py" http://127.0.0.1:9090 --faults
  contains "$(tail -n 1 "$SCRATCH/faults")" ", 0 failed"
  measured "$(tail -n 1 "$SCRATCH/faults")"
}

OWN_DISK=yes boot trixie
# A real interface, and one of a container.
on_network ip link add eth0 up type veth peer name veth0
test "install" installs_verified
test "a central server with three hosts starts" central_server_starts
test "on a healthy host, every panel and alert has data" healthy_host_has_no_empty_panel
test "central dashboards have data, and only the host with problems has alerts" \
  central_server_separates_hosts
test "host metrics cover the disk and real interfaces only" only_real_parts_are_known
test "no alert fires on a healthy host" no_alert_fires_on_a_healthy_host
test "a restart is marked on the dashboards" restart_is_marked
test "a stopped service and a stopped Grafana raise alerts until they start again" \
  stopped_services_are_shown
test "an unhealthy Alloy component raises an alert, and verify.sh names it" \
  unhealthy_component_is_shown
test "an unsynchronized clock and an out-of-memory kill raise alerts" host_with_problems_is_shown
test "queries that are empty on a healthy host had data during the faults" nothing_stays_empty
