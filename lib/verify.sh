# The checks of verify.sh.

# OK: whether the last check passed. OPEN: the ports that respond.
PASSED=0 FAILED=0 OK=''
declare -A OPEN=()
# Seconds until a sample arrives: a scrape interval is 15 s, and Alloy replays its write-ahead log
# for some 10 s after a start.
readonly TIMEOUT=90
VERIFY_START=$(uptime_now)

# check NAME SECONDS HINT COMMAND...: repeats the command until it succeeds or the time is over. Its
# output is the reason of the failure.
check() {
  local reason end=$(($(uptime_now) + $2))
  OK=1
  until reason=$("${@:4}" 2>&1); do
    if (($(uptime_now) >= end)); then
      OK=''
      FAILED=$((FAILED + 1))
      printf '✗ %s: %s\n    hint: %s\n' "$1" "$reason" "$3"
      return
    fi
    sleep 0.5
  done
  PASSED=$((PASSED + 1))
  say "✓ $1"
}
# skip NAME REASON
skip() { say "- $1: $2"; }
# fail REASON: prints the reason for check.
fail() { say "$1" && return 1; }

is_off() { ! is_active "$1" && ! is_enabled "$1" && [[ -e $UNIT_DIR/$1 ]]; }
journal_hint() { echo "sudo journalctl -u metrics-$1.service -n 50"; }

# verify_all QUICK LOGIN LOGIN-FILE
verify_all() {
  local unit
  if [[ -L $OPT/pending ]]; then
    check "the last install or uninstall is complete" 0 \
      "run it again: sudo $SCRIPTS/install.sh or uninstall.sh" \
      fail "it was interrupted, its rollback failed, or it is still running"
  fi
  for unit in "${UNITS[@]}"; do
    if is_off "$unit"; then
      skip "unit $unit" "disabled"
    else
      check "unit $unit" 0 "sudo journalctl -u $unit; sudo systemctl start $unit" is_running "$unit"
    fi
  done
  endpoint "service" metrics-service.service 8000 / /health /metrics
  endpoint "Alloy" metrics-alloy.service 12345 /-/ready /metrics
  endpoint "Alloy's UI" metrics-alloy-ui.socket 3000 /
  if role_has prometheus; then
    endpoint "Prometheus" metrics-prometheus.service 9090 /-/ready /-/healthy
    endpoint "Grafana" metrics-grafana.service 3001 /api/health
  fi
  if role_has alertmanager; then
    endpoint "Alertmanager" metrics-alertmanager.service 9093 /-/ready /-/healthy
  fi
  [[ -n $1 ]] || verify_pipeline "${@:2}"
  if [[ -n $NOTIFY_TEST ]]; then verify_test_message; fi
  say "$PASSED passed, $FAILED failed"
  # If all units are disabled, nothing is verified.
  ((FAILED == 0 && PASSED > 0))
}

# verify_pipeline LOGIN LOGIN-FILE
verify_pipeline() {
  if [[ -n ${OPEN[12345]-} ]]; then
    check "Alloy accepted its configuration" 0 "$(journal_hint alloy)" \
      is_loaded 12345 alloy_config_last_load_successful
    check "Alloy's components are healthy" 15 \
      "$(journal_hint alloy); http://127.0.0.1:12345/ shows each" alloy_is_healthy
    check "Alloy reads each file in $ETC/targets.d" 5 "fix the file; after a chmod alone, or with \
fewer groups than before, wait five minutes; example.yml.disabled shows the format" targets_are_read
  fi
  if [[ -n ${OPEN[9090]-} ]]; then
    check "Prometheus accepted its configuration" 0 "$(journal_hint prometheus)" \
      is_loaded 9090 prometheus_config_last_reload_successful
    verify_jobs
  fi
  if [[ -n ${OPEN[8000]-} && -n ${OPEN[12345]-} ]]; then verify_end_to_end; fi
  if [[ -n ${OPEN[3001]-} ]]; then verify_grafana "$@"; fi
  if [[ -n ${OPEN[9090]-} && -n ${OPEN[9093]-} ]]; then verify_notifications; fi
}

# is_running UNIT: waits for a unit that is starting or stopping.
is_running() {
  local state tries=20
  until state=$(systemctl is-active "$1"); do
    if [[ $state != *activating ]] || ((--tries == 0)); then fail "it is $state" || return; fi
    sleep 0.5
  done
}

# endpoint NAME UNIT PORT PATH...
endpoint() {
  if is_off "$2"; then
    skip "$1 on 127.0.0.1:$3" "disabled"
  else
    check "$1 on 127.0.0.1:$3 responds" 10 "sudo journalctl -u $2 -n 50" responds "${@:3}"
    OPEN[$3]=$OK
  fi
}

# responds PORT PATH...
responds() {
  local path reason
  for path in "${@:2}"; do
    reason=$(get "$1$path" 2>&1 >/dev/null) || fail "$path: $reason" || return
  done
}

# is_loaded PORT METRIC: systemctl reload succeeds even if the server rejects the file.
is_loaded() {
  ! curl_local "$1/metrics" | grep "^$2 0" >/dev/null ||
    fail "it rejected the last reload, and runs an older configuration"
}

# Alloy lists a component's localID before its health.
alloy_is_healthy() {
  curl_local 12345/-/healthy >/dev/null 2>&1 && return
  fail "unhealthy: $(curl_local 12345/api/v0/web/components 2>/dev/null |
    grep -o '"localID":"[^"]*"\|"health":{"state":"[^"]*"' |
    awk -F'"' '/localID/ { id = $4 } /health/ && $6 != "healthy" { print id }' | paste -sd' ')"
}

# target_files: prints the files meant to list applications.
target_files() {
  find -L "$ETC/targets.d" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name '*.disabled' | sort
} 2>/dev/null

# targets_are_read: compares the files' modification times with those that Alloy has parsed.
targets_are_read() {
  local file name reason unread='' metrics
  metrics=$(curl_local 12345/metrics 2>/dev/null | grep '^prometheus_sd_file_mtime_seconds{') || :
  while IFS= read -r file; do
    name=${file//\\/\\\\} reason=''
    if [[ $file != *.@(yml|yaml|json) ]]; then
      reason="the name must end in .yml, .yaml, .json or .disabled"
    elif ! begins_a_list "$file" ||
      ! NAME=${name//\"/\\\"} awk -v time="$(stat --dereference --format %Y "$file")" '
      index($0, "filename=\"" ENVIRON["NAME"] "\"}") && $NF + 0 == time { found = 1 }
      END { exit !found }' <<<"$metrics"; then
      reason="not a readable list of targets: sudo chmod o+r $(printf %q "$file"); sudo journalctl \
-u metrics-alloy -g $(printf %q "${file##*/}")"
    fi
    if [[ -n $reason ]]; then unread+="${unread:+; }${file##*/}: $reason"; fi
  done < <(target_files)
  [[ -z $unread ]] || fail "$unread"
}

# begins_a_list FILE: Alloy counts whole seconds, so a file that was empty when Alloy read it, and
# got its first line within that second, would count as parsed.
begins_a_list() {
  text_of "$1" 2>/dev/null |
    awk '!seen && !/^[[:space:]]*(#|---|$)/ { seen = 1; bad = !/^[[:space:]]*[-[]/ }
      END { exit bad }'
}

# query_prometheus QUERY: prints the value of one series of an instant query, or nothing.
query_prometheus() {
  curl_local 9090/api/v1/query --get --data-urlencode "query=$1" 2>/dev/null | sample_value
}
sample_value() { sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }

verify_jobs() {
  local hint="see http://127.0.0.1:9090/targets" path=''
  job_is_up prometheus "$hint" metrics-prometheus.service
  job_is_up alloy "$hint" metrics-alloy.service
  read -r _ path < <(grafana_public) || :
  if [[ -n $path ]]; then
    hint="job grafana in $ETC/prometheus/prometheus.yml needs metrics_path: $path/metrics"
  fi
  job_is_up grafana "$hint" metrics-grafana.service
  job_is_up metrics_service "$(journal_hint alloy)" metrics-service.service metrics-alloy.service
}

# job_is_up JOB HINT UNIT...: waits until TIMEOUT after the start of verify.sh.
job_is_up() {
  local unit
  for unit in "${@:3}"; do
    if is_off "$unit"; then
      skip "up{job=\"$1\"}" "disabled"
      return
    fi
  done
  check "up{job=\"$1\"} is 1" $((TIMEOUT + VERIFY_START - $(uptime_now))) "$2" is_up "$1"
}
# Prometheus returns the last sample for five minutes, so accept only the last three scrapes.
is_up() {
  local value
  value=$(query_prometheus "min(up{job=\"$1\"} and timestamp(up{job=\"$1\"}) > time() - 45)")
  [[ $value == 1 ]] || fail "${value:+it is }${value:-no recent sample}"
}

# verify_end_to_end: sends ten requests to the service and waits for the samples that count them.
verify_end_to_end() {
  local count time failed
  count=$(service_count) || :
  failed=$(queue_metric samples_failed_total) || :
  check "10 test requests to the service succeed" 0 "$(journal_hint metrics-service)" ten_requests
  time=$(date +%s)
  count=$((count + 10))
  if [[ -n ${OPEN[9090]-} ]]; then
    check "10 test requests reach Prometheus" "$TIMEOUT" "$(journal_hint alloy)" \
      samples_arrived query_prometheus '' "$count" "$time"
  fi
  if [[ -n ${SETTINGS["url"]-} ]]; then verify_central "$count" "$time" "$failed"; fi
}

# verify_central COUNT TIME FAILED: by a query at the central server if it answers one and the
# credentials are readable, otherwise by Alloy's send counters.
verify_central() {
  local url=${SETTINGS["url"]} name="10 test requests reach the central server"
  check "outputs.alloy forwards to the central server" 0 \
    "add prometheus.remote_write.forward.receiver to forward_to in $ETC/alloy/outputs.alloy" \
    outputs_forward
  [[ -n $OK ]] || return 0
  if can_authenticate; then
    check_endpoint
    check "$url accepts remote write" 0 "$HINT" is_empty "$ENDPOINT_ERROR"
    [[ -n $OK ]] || return 0
  fi
  check "Alloy uses this host's name" 0 "sudo systemctl restart metrics-alloy.service" \
    alloy_has_hostname
  [[ -n $OK ]] || return 0
  if can_authenticate && { remote_answers >/dev/null || [[ -n ${SETTINGS["query-url"]-} ]]; }; then
    check "$name (query at $(query_url))" "$TIMEOUT" \
      "$(journal_hint alloy); or correct install.sh's --forward-query-url" \
      samples_arrived remote_value ",instance=\"$(uname -n)\"" "$1" "$2"
  else
    check "$name (Alloy's send counters)" "$TIMEOUT" \
      "$(journal_hint alloy); sudo $SCRIPTS/verify.sh queries the central server" \
      samples_sent "$2" "$3"
  fi
}
is_empty() { [[ -z $1 ]] || fail "$1"; }

# Alloy reads the hostname at its start. Its exporter reports that name, because the unit has a UTS
# namespace of its own.
alloy_has_hostname() {
  local name
  name=$(curl_local 12345/api/v0/component/prometheus.exporter.unix.node/metrics 2>/dev/null |
    sed -n 's/^node_uname_info{.*nodename="\([^"]*\)".*/\1/p')
  [[ -z $name || $name == "$(uname -n)" ]] || fail "its samples still have the instance $name"
}

service_count() {
  curl_local 8000/metrics | awk '
    /^http_requests_total\{.*endpoint="\/simulate-load"/ { sum += $NF } END { printf "%d", sum }'
}
ten_requests() {
  for _ in {1..10}; do curl_local 8000/simulate-load --max-time 20 >/dev/null || return 1; done
}

# samples_arrived QUERY-FUNCTION LABELS COUNT TIME: ignores samples from before the requests, which
# can be of a counter that was reset since.
samples_arrived() {
  local series="http_requests_total{job=\"metrics_service\",endpoint=\"/simulate-load\"$2}"
  [[ $("$1" "sum($series and timestamp($series) >= $4) >= bool $3") == 1 ]] ||
    fail "http_requests_total did not increase by 10 in time"
}

# verify_grafana LOGIN LOGIN-FILE
verify_grafana() {
  local log stored=${SETTINGS["admin-password"]-} name="Grafana's data source and dashboards"
  local job=metrics_service
  log=$(journal_hint grafana)
  check "Grafana's Prometheus plugin is registered" 20 \
    "sudo systemctl restart metrics-grafana.service; $log" grafana_has_plugin
  check "each dashboard has a unique uid and title" 0 \
    "change all of these files except one; until then Grafana ignores changes next to them" \
    are_dashboards_unique
  if [[ -z $2 && -n $stored && ! -r $stored ]]; then
    skip "$name" "only root can read the stored password: use sudo, or --grafana-login FILE"
    return
  fi
  if is_login_rejected "$@"; then
    if [[ -z $2 ]]; then
      skip "$name" "admin's password has been changed: pass it with --grafana-login FILE"
    else
      check "$name" 0 \
        "correct it; five wrong logins lock the account for five minutes" \
        fail "Grafana rejected the login in $2"
    fi
    return
  fi
  check "Grafana has its data source" 20 "$log" grafana_has "$1" api/datasources/uid/prometheus
  # shellcheck disable=SC2046  # uids are words
  check "Grafana has its dashboards" 20 "$log" grafana_has "$1" $(shipped_dashboards)
  if is_off metrics-service.service || is_off metrics-alloy.service; then job=prometheus; fi
  if [[ -n ${OPEN[9090]-} ]]; then
    check "Grafana answers a query" 20 "$log" grafana_answers "$1" "$job"
  fi
}
