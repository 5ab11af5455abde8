# The checks of verify.sh, a row of its table for each.
# shellcheck shell=bash

PASSED=0 FAILED=0
# A scrape interval is 15 s; Alloy reads its write-ahead log for some 10 s after a start before its first scrape.
readonly PATIENCE=90

pass() { printf '✓ %s\n' "$1" && PASSED=$((PASSED + 1)); }
skip() { printf -- '- %s: %s\n' "$1" "$2"; }
# fail ROW WHY REMEDY
fail() { printf '✗ %s: %s\n    remedy: %s\n' "$1" "$2" "$3" && FAILED=$((FAILED + 1)); }

# eventually COMMAND...: until it succeeds, or for PATIENCE seconds from the start of this script.
eventually() {
  until "$@"; do
    ((SECONDS < PATIENCE)) || return 1
    sleep 0.5
  done
}

# verify_all QUICK LOGIN LOGIN-FILE
verify_all() {
  verify_units
  verify_endpoints
  if [[ -z $1 ]]; then
    verify_alloy
    ! in_role prometheus || verify_samples
    verify_proof
    ! in_role grafana || verify_grafana "$2" "$3"
  fi
  echo "$PASSED ✓, $FAILED ✗"
  # Where everything is switched off, nothing is proved.
  ((FAILED == 0 && PASSED > 0))
}

is_off() { ! systemctl --quiet is-active "$1" && ! systemctl --quiet is-enabled "$1" 2>/dev/null && [[ -e $UNIT_DIR/$1 ]]; }

verify_units() {
  local unit state
  for unit in "${UNITS[@]}"; do
    state=$(systemctl is-active "$unit") || :
    if [[ $state == active ]]; then
      pass "unit $unit"
    elif is_off "$unit"; then
      skip "unit $unit" "disabled"
    else
      fail "unit $unit" "it is $state" "journalctl -u $unit -n 50; sudo systemctl start $unit"
    fi
  done
}

verify_endpoints() {
  endpoint "service" metrics-service.service 8000 / /health /metrics
  endpoint "Alloy" metrics-alloy.service 12345 /-/ready /metrics
  endpoint "Alloy's UI" metrics-alloy-ui.socket 3000 /
  in_role prometheus || return 0
  endpoint "Prometheus" metrics-prometheus.service 9090 /-/ready /-/healthy
  endpoint "Grafana" metrics-grafana.service 3001 /api/health
}

declare -A ANSWERS=()
# endpoint NAME UNIT PORT PATH...
endpoint() {
  local row="$1 on 127.0.0.1:$3" unit=$2 port=$3 path
  if is_off "$unit"; then skip "$row" "disabled" && return; fi
  for path in "${@:4}"; do
    if ! try_for 10 local_get "$port$path"; then
      fail "$row" "$path is not answered: $(local_get "$port$path" 2>&1 >/dev/null | head -n 1)" "journalctl -u $unit -n 50"
      return
    fi
  done
  ANSWERS[$port]=1
  pass "$row answers"
}

# try_for SECONDS COMMAND...
try_for() {
  local end=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.5
  done
}

verify_alloy() {
  [[ -n ${ANSWERS[12345]-} ]] || return 0
  local sick
  if try_for 15 local_get 12345/-/healthy; then
    pass "Alloy's components are healthy"
  else
    # Each component's object begins with its name and has its localID before its health.
    sick=$(local_get 12345/api/v0/web/components 2>/dev/null | grep -o '"localID":"[^"]*"\|"health":{"state":"[^"]*"' |
      awk -F'"' '/localID/ { id = $4 } /health/ && $6 != "healthy" { print id }' | paste -sd' ') || :
    fail "Alloy's components are healthy" "these are not: ${sick:-unknown}" "journalctl -u metrics-alloy.service -n 50; http://127.0.0.1:12345/ shows each"
  fi
}

# prom QUERY: the value of the first series of an instant query, or nothing.
prom() {
  local_get 9090/api/v1/query --get --data-urlencode "query=$1" 2>/dev/null | value
}
prom_is() { [[ $(prom "$1") == "$2" ]]; }
value() { sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }

verify_samples() {
  if [[ -z ${ANSWERS[9090]-} ]]; then skip "samples" "Prometheus does not answer" && return; fi
  local job
  for job in prometheus alloy grafana; do
    row_is_up "$job" "http://127.0.0.1:9090/targets tells why"
  done
  row_is_up metrics_service "journalctl -u metrics-alloy.service -n 50: does it scrape, does it write?"
}

row_is_up() {
  case $1 in
  alloy) ! is_off metrics-alloy.service ;;
  grafana) ! is_off metrics-grafana.service ;;
  metrics_service) ! is_off metrics-service.service && ! is_off metrics-alloy.service ;;
  esac || { skip "up{job=\"$1\"}" "disabled" && return; }
  # Prometheus goes on answering with the last sample for five minutes: only one of the last three scrapes counts.
  local up="up{job=\"$1\"}"
  local fresh="min($up and timestamp($up) > time() - 45)"
  if eventually prom_is "$fresh" 1; then
    pass "$up is 1 in Prometheus"
  else
    fail "$up is 1 in Prometheus" "it is $(prom "$fresh" | grep . || echo "not there, or old")" "$2"
  fi
}

# The pipeline as a whole: ten requests to the service, and the samples that show them, wherever they go.
verify_proof() {
  [[ -n ${ANSWERS[8000]-} && -n ${ANSWERS[12345]-} ]] || return 0
  local row="10 requests to /simulate-load arrive as samples" before after i failed selector
  selector="http_requests_total{job=\"metrics_service\",instance=\"$(uname -n)\",endpoint=\"/simulate-load\"}"
  before=$(service_count) failed=$(queue samples_failed_total)
  for ((i = 0; i < 10; i++)); do
    local_get 8000/simulate-load --max-time 20 >/dev/null 2>&1 || { fail "$row" "request $((i + 1)) was not answered" "journalctl -u metrics-service.service -n 50" && return; }
  done
  after=$(date +%s)
  # Only a sample scraped after the requests counts: an older one may be of a counter that has begun anew since.
  local arrived="sum($selector and timestamp($selector) >= $after) >= bool $((before + 10))"
  SECONDS=0
  if [[ -z ${ANSWERS[9090]-} ]]; then
    :
  elif eventually prom_is "$arrived" 1; then
    pass "$row (after $SECONDS s)"
  else
    fail "$row" "http_requests_total has not grown by 10 within $PATIENCE s" "journalctl -u metrics-alloy.service -n 50"
  fi
  [[ -z ${FORWARD[url]-} ]] || verify_far "$arrived" "$after" "$failed"
}

# verify_far QUERY AFTER FAILED: at the far end by the query, where it answers one, else by what Alloy counts of its queue there.
verify_far() {
  local row="they reach ${FORWARD[url]}" problem='' remedy="journalctl -u metrics-alloy.service -n 50"
  if may_log_in; then
    refusal
    problem=${REFUSAL%%|*} problem=${problem#later:}
    [[ $REFUSAL != *\|* ]] || remedy="${REFUSAL#*|} of sudo ./install.sh"
  fi
  if [[ -n $problem ]]; then
    fail "$row" "it $problem" "$remedy"
  elif may_log_in && far_answers; then
    if eventually far_is "$1" 1; then
      pass "$row (after $SECONDS s, by a query at $(query_url))"
    else
      fail "$row" "a query at $(query_url) does not show them within $PATIENCE s" "$remedy; is --forward-query-url right?"
    fi
  elif [[ -n ${FORWARD[query-url]-} ]] && may_log_in; then
    fail "$row" "$(query_url) answers no query: $(far_query 1 2>&1 | head -n 1)" "correct --forward-query-url of sudo ./install.sh"
  elif eventually sent_since "$2" && [[ $(queue samples_failed_total) == "$3" ]]; then
    pass "$row (after $SECONDS s, by what Alloy counts as sent; $(may_log_in && echo "the receiver answers no query here" || echo "as root also by a query, where it answers one"))"
  else
    fail "$row" "Alloy has sent nothing since, or was refused: $(queue samples_failed_total) samples lost, $(queue samples_pending) waiting" "$remedy; as root this says more"
  fi
}

# queue METRIC: the value for the queue to the far end, a whole number.
queue() { local_get 12345/metrics 2>/dev/null | awk -v name="prometheus_remote_storage_$1{" 'index($0, name) == 1 && /remote_name="forward"/ { printf "%d", $NF }'; }
# A refused sample counts as sent here, too, hence the look at those that failed.
sent_since() { local last && last=$(queue queue_highest_sent_timestamp_seconds) && ((${last:-0} >= $1)); }

may_log_in() { [[ -z ${FORWARD[credentials]-} || -r ${FORWARD[credentials]} ]]; }
# The base of the query API: beside the receiver's path in VictoriaMetrics, Prometheus, Grafana Cloud and Thanos, below /prometheus in Mimir.
query_url() {
  local url=${FORWARD[url]%%\?*}
  case ${FORWARD[query-url]-$url} in
  "${FORWARD[query-url]-}") echo "${FORWARD[query-url]%/}" ;;
  */api/prom/push) echo "${url%/push}" ;;
  */api/v1/push) echo "${url%/api/v1/push}/prometheus" ;;
  */insert/*/prometheus/*) url=${url%/api/v1/write} && echo "${url/\/insert\//\/select\/}" ;;
  *) echo "${url%/api/v1/*}" ;;
  esac
}
far_query() { far --fail --get --data-urlencode "query=$1" "$(query_url)/api/v1/query"; }
far_answers() { far_query 1 2>/dev/null | grep '"status":"success"' >/dev/null; }
far_is() { [[ $(far_query "$1" 2>/dev/null | value) == "$2" ]]; }

# The service's own count of /simulate-load.
service_count() { local_get 8000/metrics | awk '/^http_requests_total\{.*endpoint="\/simulate-load"/ { sum += $NF } END { printf "%d", sum }'; }

readonly REFUSED=/tmp/metrics-stack-login-$EUID

# verify_grafana LOGIN LOGIN-FILE
verify_grafana() {
  [[ -n ${ANSWERS[3001]-} ]] || return 0
  if try_for 20 grafana_has_plugin; then
    pass "Grafana's Prometheus plugin is registered"
  else
    fail "Grafana's Prometheus plugin is registered" "it is not" "sudo systemctl restart metrics-grafana.service; journalctl -u metrics-grafana.service -n 50"
  fi

  local status start
  # Wrong logins lock admin out: after one, the usual one is not tried again before Grafana starts anew.
  start=$(systemctl show --property InvocationID --value metrics-grafana.service)
  if [[ -z $2 && -O $REFUSED && ! -L $REFUSED && $(<"$REFUSED") == "$start" ]]; then
    status=401
  else
    status=$(grafana "$1" api/org --output /dev/null --write-out '%{http_code}' 2>/dev/null) || :
  fi
  if [[ $status == 401 && -z $2 ]]; then
    (rm -f "$REFUSED" && set -o noclobber && echo "$start" >"$REFUSED") 2>/dev/null || :
    skip "Grafana's data source and dashboards" "admin's password has been changed: give it with --grafana-login FILE"
    return
  elif [[ $status == 401 ]]; then
    fail "Grafana's data source and dashboards" "it refuses the login of $2" "correct it; after five wrong logins Grafana refuses all for five minutes"
    return
  fi
  verify_grafana_content "$1"
}

grafana_has_plugin() { local_get 3001/metrics | grep '^grafana_plugin_build_info{.*plugin_id="prometheus"' >/dev/null; }

# grafana LOGIN PATH [CURL-OPTION...]: the login goes in by a descriptor, as anyone may read a command line.
grafana() {
  local login=${1//\\/\\\\}
  local_get "3001/$2" --config <(printf 'user = "%s"\n' "${login//\"/\\\"}") "${@:3}"
}

verify_grafana_content() {
  local missing='' uid query
  if try_for 20 grafana "$1" api/datasources/uid/prometheus; then
    pass "Grafana has its data source"
  else
    fail "Grafana has its data source" "there is none with the uid prometheus" "journalctl -u metrics-grafana.service -n 50 tells what it found in $ETC/grafana/provisioning"
  fi
  for uid in $(dashboard_uids); do
    try_for 20 grafana "$1" "api/dashboards/uid/$uid" || missing+=" $uid"
  done
  if [[ -z $missing ]]; then
    pass "Grafana has its dashboards"
  else
    fail "Grafana has its dashboards" "missing:$missing" "journalctl -u metrics-grafana.service -n 50 tells what it found in $ETC/grafana/dashboards"
  fi
  query='{"queries":[{"refId":"A","datasource":{"uid":"prometheus"},"expr":"up{job=\"metrics_service\"}","instant":true}],"from":"now-5m","to":"now"}'
  if try_for 20 grafana_answers "$1" "$query"; then
    pass "Grafana answers a query"
  else
    fail "Grafana answers a query" "no value for up{job=\"metrics_service\"} through its data source" "journalctl -u metrics-grafana.service -n 50"
  fi
}

dashboard_uids() { sed -n 's/^  "uid": *"\([^"]*\)".*/\1/p' "$ETC"/grafana/dashboards/*.json; }

grafana_answers() { grafana "$1" api/ds/query --header 'Content-Type: application/json' --data "$2" | grep '"values":\[\[[0-9]*\],\[1\]\]' >/dev/null; }
