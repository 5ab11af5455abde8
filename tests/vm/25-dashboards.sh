#!/usr/bin/env bash
# What the dashboards and alerts ask, asked of a host that has been at work for some minutes, and of one with faults.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$VM_DIR/lib/stack.sh"

# Requests of every kind for two minutes, as the shortest rate that a panel draws wants four scrapes.
healthy_host_has_no_empty_panel() {
  # shellcheck disable=SC2016  # for the shell in there
  vm sh -c 'end=$(($(date +%s) + 120))
    while [ "$(date +%s)" -lt "$end" ]; do
      for path in / /health /nothing "/simulate-load?duration_ms=100" "/simulate-load?error_rate=1&duration_ms=0" "/simulate-load?mode=none"; do
        curl --silent --output /dev/null "http://127.0.0.1:8000$path"
      done
    done'
  keep queries on_network python3 "$ROOT/tests/config/queries.py" http://127.0.0.1:9090 180
  contains "$(tail -n 1 "$NOTES/queries")" ", 0 failed"
  measured "$(tail -n 1 "$NOTES/queries")"
}

no_alert_fires_on_a_healthy_host() {
  # A container may not ask the clock.
  equal "alerts" "$(get 9090/api/v1/query --get --data-urlencode 'query=ALERTS{alertstate="firing",alertname!~"HostClock.*"}' | grep -o '"alertname":"[^"]*"' || :)" ""
}

# annotation NAME: the query behind a mark on the service's dashboard, for every instance.
annotation() {
  # shellcheck disable=SC2016  # for Python
  python3 -c 'import json, sys
marks = json.load(open(sys.argv[1]))["annotations"]["list"]
print(next(mark["expr"] for mark in marks if mark["name"] == sys.argv[2]).replace("$instance", ".*"))' "$ROOT/etc/grafana/dashboards/service.json" "$1"
}
shows() { [[ -n $(query "$(annotation "$1")") ]]; }

restart_is_marked() {
  equal "marks before" "$(query "$(annotation Restarts)")" ""
  vm systemctl restart metrics-service
  eventually 90 shows Restarts
}

dead_service_is_shown() {
  equal "marks before" "$(query "$(annotation Alerts)")" ""
  vm systemctl stop metrics-service.socket metrics-service.service
  eventually 150 query_is 'count(ALERTS{alertname="ServiceDown",alertstate="firing"})' 1
  shows Alerts
  vm systemctl start metrics-service.socket metrics-service.service
  eventually 60 query_is 'count(ALERTS{alertname="ServiceDown"}) or vector(0)' 0
}

dead_grafana_is_shown() {
  vm systemctl stop metrics-grafana
  eventually 240 query_is 'count(ALERTS{alertname="GrafanaDown",alertstate="firing"})' 1
  vm systemctl start metrics-grafana
  eventually 60 query_is 'count(ALERTS{alertname="GrafanaDown"}) or vector(0)' 0
}

# The container's own disk is an overlay, which the exporter does not take for one: a folder of this host's stands in for a disk.
boot trixie --private-network --bind="$NOTES:/mnt"
test "install" installs_verified
test "a host at work leaves no panel and no alert without data" healthy_host_has_no_empty_panel
test "no alert fires on it" no_alert_fires_on_a_healthy_host
test "a restart is marked on the dashboard" restart_is_marked
test "a dead service raises an alert that the dashboard shows, and a living one ends it" dead_service_is_shown
test "so does Grafana" dead_grafana_is_shown
