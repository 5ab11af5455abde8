# The checks of verify.sh, a row of its table for each.

PASSED=0 FAILED=0 OK=''
# A scrape interval is 15 s; Alloy reads its write-ahead log for some 10 s after a start before its first scrape.
readonly TIMEOUT=90
VERIFY_START=$(uptime_now)

# check NAME SECONDS HINT CHECK...: whether it holds within that time goes to OK. What the check prints is the reason why it does not.
check() {
  local why end=$(($(uptime_now) + $2))
  OK=1
  until why=$("${@:4}" 2>&1); do
    if (($(uptime_now) >= end)); then
      OK=''
      printf '✗ %s: %s\n    remedy: %s\n' "$1" "$why" "$3" && FAILED=$((FAILED + 1)) && return
    fi
    sleep 0.5
  done
  printf '✓ %s\n' "$1" && PASSED=$((PASSED + 1))
}
# skip NAME WHY
skip() { printf -- '- %s: %s\n' "$1" "$2"; }

is_off() { ! is_active "$1" && ! is_enabled "$1" && [[ -e $UNIT_DIR/$1 ]]; }
journal_hint() { echo "journalctl -u $1 -n 50"; }

# verify_all QUICK LOGIN LOGIN-FILE
verify_all() {
  local unit
  for unit in "${UNITS[@]}"; do
    if is_off "$unit"; then skip "unit $unit" "disabled"; else check "unit $unit" 0 "$(journal_hint "$unit"); sudo systemctl start $unit" is_running "$unit"; fi
  done
  endpoint "service" metrics-service.service 8000 / /health /metrics
  endpoint "Alloy" metrics-alloy.service 12345 /-/ready /metrics
  endpoint "Alloy's UI" metrics-alloy-ui.socket 3000 /
  ! role_has prometheus || endpoint "Prometheus" metrics-prometheus.service 9090 /-/ready /-/healthy
  ! role_has grafana || endpoint "Grafana" metrics-grafana.service 3001 /api/health
  if [[ -z $1 ]]; then
    [[ -z ${ANSWERS[12345]-} ]] || check "Alloy's components are healthy" 15 "$(journal_hint metrics-alloy.service); http://127.0.0.1:12345/ shows each" alloy_is_healthy
    [[ -z ${ANSWERS[12345]-} || -z $(target_files) ]] ||
      check "Alloy reads each file in $ETC/targets.d" 5 "correct it; after a chmod alone Alloy looks again within five minutes; README, \"Your own application\", shows the form" targets_are_read
    if [[ -n ${ANSWERS[9090]-} ]]; then verify_jobs; elif role_has prometheus; then skip "samples" "Prometheus does not answer"; fi
    [[ -z ${ANSWERS[8000]-} || -z ${ANSWERS[12345]-} ]] || verify_end_to_end
    [[ -z ${ANSWERS[3001]-} ]] || verify_grafana "$2" "$3"
  fi
  echo "$PASSED ✓, $FAILED ✗"
  # Where everything is switched off, nothing is proved.
  ((FAILED == 0 && PASSED > 0))
}

# A unit that is on its way is waited for.
is_running() {
  local state tries=20
  until state=$(systemctl is-active "$1"); do
    if [[ $state != *activating ]] || ((--tries == 0)); then echo "it is $state" && return 1; fi
    sleep 0.5
  done
}

declare -A ANSWERS=()
# endpoint NAME UNIT PORT PATH...
endpoint() {
  if is_off "$2"; then skip "$1 on 127.0.0.1:$3" "disabled" && return; fi
  check "$1 on 127.0.0.1:$3 answers" 10 "$(journal_hint "$2")" responds "${@:3}"
  ANSWERS[$3]=$OK
}

# responds PORT PATH...
responds() {
  local path
  for path in "${@:2}"; do get "$1$path" >/dev/null || { echo "at $path" && return 1; }; done
}

alloy_is_healthy() {
  curl_local 12345/-/healthy >/dev/null 2>&1 && return
  # Each component's object has its localID before its health.
  echo "these are not: $(curl_local 12345/api/v0/web/components 2>/dev/null | grep -o '"localID":"[^"]*"\|"health":{"state":"[^"]*"' |
    awk -F'"' '/localID/ { id = $4 } /health/ && $6 != "healthy" { print id }' | paste -sd' ')" && return 1
}

# target_files: those that are meant to list applications.
target_files() { find -L "$ETC/targets.d" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name '*.disabled' 2>/dev/null | sort; }

# targets_are_read: Alloy counts as read what it has parsed, with the time of the change that it has parsed.
targets_are_read() {
  local file why unread='' read
  read=$(curl_local 12345/metrics 2>/dev/null | grep '^prometheus_sd_file_mtime_seconds{') || :
  while IFS= read -r file; do
    why=''
    if [[ $file != *.@(yml|yaml|json) ]]; then
      why="the name ends in none of .yml, .yaml, .json (or .disabled)"
    elif [[ ! -e $file ]]; then
      why="a symlink that leads nowhere"
    elif [[ ! -f $file ]]; then
      why="not a file"
    elif ! alloy_may_read "$file"; then
      why="Alloy may not read it: sudo chmod o+r $(printf %q "$file")"
    elif ! begins_a_list "$file" || ! was_read "$file" <<<"$read"; then
      why="Alloy finds no list of targets in it: journalctl -u metrics-alloy.service -g $(printf %q "${file##*/}")"
    fi
    [[ -z $why ]] || unread+="${unread:+; }${file##*/}: $why"
  done < <(target_files)
  [[ -z $unread ]] || { echo "$unread" && return 1; }
}
# begins_a_list FILE: Alloy's time of a change is in whole seconds. A file that it read while it was still empty would count as
# read after the first bad line.
begins_a_list() { text_of "$1" | awk '!/^[[:space:]]*(#|---|$)/ { bad = !/^[[:space:]]*[-[]/; exit } END { exit bad }'; }
# was_read FILE: by the metric that Alloy has of each file, from standard input.
was_read() {
  local name=${1//\\/\\\\}
  NAME=${name//\"/\\\"} awk -v time="$(stat --dereference --format %Y "$1")" '
    index($0, "filename=\"" ENVIRON["NAME"] "\"}") && $NF + 0 == time { found = 1 } END { exit !found }'
}
# alloy_may_read FILE: as anyone, or by a group of the unit.
alloy_may_read() {
  local mode group pid
  read -r mode group < <(stat --dereference --format '%A %g' "$1")
  [[ ${mode:7:1} == r ]] && return
  pid=$(systemctl show --property MainPID --value metrics-alloy.service)
  [[ ${mode:4:1} == r ]] && grep --quiet --extended-regexp "^(Gid|Groups):.*\b$group\b" "/proc/$pid/status"
}

# query_prometheus QUERY: the value of the first series of an instant query, or nothing.
query_prometheus() {
  curl_local 9090/api/v1/query --get --data-urlencode "query=$1" 2>/dev/null | sample_value
}
sample_value() { sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }

verify_jobs() {
  local job path
  for job in prometheus alloy grafana; do
    if [[ $job != grafana ]] || grafana_is_scraped >/dev/null; then
      job_is_up "$job" "http://127.0.0.1:9090/targets tells why" "metrics-$job.service"
    else
      read -r _ path < <(grafana_public) || :
      check "up{job=\"grafana\"} is 1 in Prometheus" 0 "add metrics_path: $path/metrics to job grafana in $ETC/prometheus/prometheus.yml, then: sudo systemctl reload metrics-prometheus.service" grafana_is_scraped
    fi
  done
  job_is_up metrics_service "$(journal_hint metrics-alloy.service): does it scrape, does it write?" metrics-service.service metrics-alloy.service
}

# The pipeline as a whole: ten requests to the service, and the samples that show them, wherever they go.
verify_end_to_end() {
  local before after lost
  before=$(service_count) || :
  lost=$(queue_metric samples_failed_total) || :
  check "10 requests to /simulate-load are answered" 0 "$(journal_hint metrics-service.service)" ten_requests
  after=$(date +%s)
  [[ -z ${ANSWERS[9090]-} ]] ||
    check "10 requests to /simulate-load arrive as samples" "$TIMEOUT" "$(journal_hint metrics-alloy.service)" samples_arrived query_prometheus '' $((before + 10)) "$after"
  [[ -z ${SETTINGS["url"]-} ]] || verify_central $((before + 10)) "$after" "$lost"
}

# verify_central COUNT TIME LOST: by a query at the far end, where it answers one and we may ask, else by what Alloy counts of its queue there.
verify_central() {
  local log
  log="$(journal_hint metrics-alloy.service)"
  check "outputs.alloy sends to the far end" 0 "add prometheus.remote_write.forward.receiver to forward_to in $ETC/alloy/outputs.alloy" outputs_forward
  [[ -n $OK ]] || return 0
  if may_log_in; then
    check_endpoint
    check "${SETTINGS["url"]} takes samples" 0 "$HINT" is_empty "$ENDPOINT_ERROR"
    [[ -n $OK ]] || return 0
  fi
  check "Alloy sends under the name of this host" 0 "sudo systemctl restart metrics-alloy.service" alloy_has_our_name
  [[ -n $OK ]] || return 0
  if may_log_in && { remote_answers >/dev/null || [[ -n ${SETTINGS["query-url"]-} ]]; }; then
    check "10 requests to /simulate-load arrive at the far end, by a query at $(query_url)" "$TIMEOUT" "$log; or correct --forward-query-url of install.sh" \
      samples_arrived remote_value ",instance=\"$(uname -n)\"" "$1" "$2"
  else
    check "10 requests to /simulate-load arrive at the far end, by what Alloy counts as sent" "$TIMEOUT" "$log; sudo $SCRIPTS/verify.sh asks the receiver itself" samples_sent "$2" "$3"
  fi
}
# Alloy has the host's name from its start on. Its exporter tells that name, because the unit has a UTS namespace of its own.
alloy_has_our_name() {
  local name
  name=$(curl_local 12345/api/v0/component/prometheus.exporter.unix.node/metrics 2>/dev/null | sed -n 's/^node_uname_info{.*nodename="\([^"]*\)".*/\1/p')
  [[ -z $name || $name == "$(uname -n)" ]] || { echo "it started when the host was $name, which is still the instance of its samples" && return 1; }
}
is_empty() { [[ -z $1 ]] || { echo "it $1" && return 1; }; }

# job_is_up JOB HINT UNIT...: within TIMEOUT from the start of this script.
job_is_up() {
  local unit
  for unit in "${@:3}"; do
    if is_off "$unit"; then skip "up{job=\"$1\"}" "disabled" && return; fi
  done
  check "up{job=\"$1\"} is 1 in Prometheus" $((TIMEOUT + VERIFY_START - $(uptime_now))) "$2" is_up "up{job=\"$1\"}"
}

# Prometheus goes on answering with the last sample for five minutes: only one of the last three scrapes counts.
is_up() {
  local value
  value=$(query_prometheus "min($1 and timestamp($1) > time() - 45)")
  [[ $value == 1 ]] || { echo "it is ${value:-not there, or old}" && return 1; }
}

# The service's own count of /simulate-load.
service_count() { curl_local 8000/metrics | awk '/^http_requests_total\{.*endpoint="\/simulate-load"/ { sum += $NF } END { printf "%d", sum }'; }
ten_requests() { for _ in {1..10}; do curl_local 8000/simulate-load --max-time 20 >/dev/null || return 1; done; }

# samples_arrived ASK LABELS COUNT TIME: only a sample scraped after the requests counts, as an older one may be of a counter that has begun anew since.
samples_arrived() {
  local samples='http_requests_total{job="metrics_service",endpoint="/simulate-load"'$2'}'
  [[ $("$1" "sum($samples and timestamp($samples) >= $4) >= bool $3") == 1 ]] || { echo "http_requests_total has not grown by 10 in time" && return 1; }
}

readonly REJECTED_LOGIN=/tmp/metrics-stack-login-$EUID

# verify_grafana LOGIN LOGIN-FILE
verify_grafana() {
  local status start log
  log=$(journal_hint metrics-grafana.service)
  check "Grafana's Prometheus plugin is registered" 20 "sudo systemctl restart metrics-grafana.service; $log" grafana_has_plugin
  check "Each dashboard has a uid and a title of its own" 0 "change it in all of these files but one; until then Grafana takes up no change in these directories" are_dashboards_distinct
  # Wrong logins lock admin out: after one, the usual one is not tried again before Grafana starts anew.
  start=$(systemctl show --property InvocationID --value metrics-grafana.service)
  if [[ -z $2 && -O $REJECTED_LOGIN && ! -L $REJECTED_LOGIN && $(<"$REJECTED_LOGIN") == "$start" ]]; then
    status=401
  else
    status=$(grafana "$1" api/org --output /dev/null --write-out '%{http_code}' 2>/dev/null) || :
  fi
  if [[ $status == 401 && -z $2 ]]; then
    (rm -f "$REJECTED_LOGIN" && set -o noclobber && echo "$start" >"$REJECTED_LOGIN") 2>/dev/null || :
    skip "Grafana's data source and dashboards" "admin's password has been changed: give it with --grafana-login FILE"
  elif [[ $status == 401 ]]; then
    check "Grafana's data source and dashboards" 0 "correct it; after five wrong logins Grafana refuses all for five minutes" login_rejected "$2"
  else
    check "Grafana has its data source" 20 "$log tells what it found in $ETC/grafana/provisioning" grafana_has "$1" api/datasources/uid/prometheus
    # shellcheck disable=SC2046  # uids are words
    check "Grafana has its dashboards" 20 "$log tells what it found in $ETC/grafana/dashboards" grafana_has "$1" $(shipped_dashboards)
    check "Grafana answers a query" 20 "$log" grafana_answers "$1"
  fi
}

login_rejected() { echo "it refuses the login of $1" && false; }
are_dashboards_distinct() {
  local repeated
  repeated=$(repeated_dashboards)
  [[ -z $repeated ]] || { echo "${repeated//$'\n'/; }" && return 1; }
}
# One of the two metrics is there: plugin_build_info of plugins that are not compiled in, plugin_target_info of those with a backend.
grafana_has_plugin() {
  grafana_get metrics | grep -E '^grafana_plugin_(build|target)_info\{(.*,)?plugin_id="prometheus"' >/dev/null || { echo "it is not" && return 1; }
}

# grafana LOGIN PATH [CURL-OPTION...]: the login goes in by a descriptor, as anyone may read a command line.
grafana() {
  local login=${1//\\/\\\\}
  grafana_get "$2" --config <(printf 'user = "%s"\n' "${login//\"/\\\"}") "${@:3}"
}

# grafana_has LOGIN PATH...
grafana_has() {
  local path
  for path in "${@:2}"; do grafana "$1" "$path" >/dev/null 2>&1 || { echo "nothing at $path" && return 1; }; done
}

grafana_answers() {
  local query='{"queries":[{"refId":"A","datasource":{"uid":"prometheus"},"expr":"up{job=\"metrics_service\"}","instant":true}],"from":"now-5m","to":"now"}'
  grafana "$1" api/ds/query --header 'Content-Type: application/json' --data "$query" 2>/dev/null | grep '"values":\[\[[0-9]*\],\[1\]\]' >/dev/null ||
    { echo "no value for up{job=\"metrics_service\"} through its data source" && return 1; }
}
