# The checks of verify.sh, a row of its table for each.

PASSED=0 FAILED=0 HELD=''
# A scrape interval is 15 s; Alloy reads its write-ahead log for some 10 s after a start before its first scrape.
readonly PATIENCE=90
VERIFY_START=$(uptime_now)

# row NAME SECONDS REMEDY CHECK...: whether it holds within that time goes to HELD. What the check prints is the reason why it does not.
row() {
  local why end=$(($(uptime_now) + $2))
  HELD=1
  until why=$("${@:4}" 2>&1); do
    if (($(uptime_now) >= end)); then
      HELD=''
      printf '✗ %s: %s\n    remedy: %s\n' "$1" "$why" "$3" && FAILED=$((FAILED + 1)) && return
    fi
    sleep 0.5
  done
  printf '✓ %s\n' "$1" && PASSED=$((PASSED + 1))
}
# skip NAME WHY
skip() { printf -- '- %s: %s\n' "$1" "$2"; }

is_off() { ! is_active "$1" && ! is_enabled "$1" && [[ -e $UNIT_DIR/$1 ]]; }
look_into() { echo "journalctl -u $1 -n 50"; }

# verify_all QUICK LOGIN LOGIN-FILE
verify_all() {
  local unit
  for unit in "${UNITS[@]}"; do
    if is_off "$unit"; then skip "unit $unit" "disabled"; else row "unit $unit" 0 "$(look_into "$unit"); sudo systemctl start $unit" runs "$unit"; fi
  done
  endpoint "service" metrics-service.service 8000 / /health /metrics
  endpoint "Alloy" metrics-alloy.service 12345 /-/ready /metrics
  endpoint "Alloy's UI" metrics-alloy-ui.socket 3000 /
  ! in_role prometheus || endpoint "Prometheus" metrics-prometheus.service 9090 /-/ready /-/healthy
  ! in_role grafana || endpoint "Grafana" metrics-grafana.service 3001 /api/health
  if [[ -z $1 ]]; then
    [[ -z ${ANSWERS[12345]-} ]] || row "Alloy's components are healthy" 15 "$(look_into metrics-alloy.service); http://127.0.0.1:12345/ shows each" alloy_is_healthy
    [[ -z ${ANSWERS[12345]-} || -z $(target_files) ]] ||
      row "Alloy reads each file in $ETC/targets.d" 5 "correct it; after a chmod alone Alloy looks again within five minutes; README, \"Your own application\", shows the form" targets_are_read
    if [[ -n ${ANSWERS[9090]-} ]]; then verify_jobs; elif in_role prometheus; then skip "samples" "Prometheus does not answer"; fi
    [[ -z ${ANSWERS[8000]-} || -z ${ANSWERS[12345]-} ]] || verify_proof
    [[ -z ${ANSWERS[3001]-} ]] || verify_grafana "$2" "$3"
  fi
  echo "$PASSED ✓, $FAILED ✗"
  # Where everything is switched off, nothing is proved.
  ((FAILED == 0 && PASSED > 0))
}

# A unit that is on its way is waited for.
runs() {
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
  row "$1 on 127.0.0.1:$3 answers" 10 "$(look_into "$2")" answers "${@:3}"
  ANSWERS[$3]=$HELD
}

# answers PORT PATH...
answers() {
  local path
  for path in "${@:2}"; do get "$1$path" >/dev/null || { echo "at $path" && return 1; }; done
}

alloy_is_healthy() {
  local_get 12345/-/healthy >/dev/null 2>&1 && return
  # Each component's object has its localID before its health.
  echo "these are not: $(local_get 12345/api/v0/web/components 2>/dev/null | grep -o '"localID":"[^"]*"\|"health":{"state":"[^"]*"' |
    awk -F'"' '/localID/ { id = $4 } /health/ && $6 != "healthy" { print id }' | paste -sd' ')" && return 1
}

# target_files: those that are meant to list applications.
target_files() { find -L "$ETC/targets.d" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name '*.disabled' 2>/dev/null | sort; }

# targets_are_read: Alloy counts as read what it has parsed, with the time of the change that it has parsed.
targets_are_read() {
  local file why unread='' read
  read=$(local_get 12345/metrics 2>/dev/null | grep '^prometheus_sd_file_mtime_seconds{') || :
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
    elif ! was_read "$file" <<<"$read"; then
      why="Alloy finds no list of targets in it: journalctl -u metrics-alloy.service -g $(printf %q "${file##*/}")"
    fi
    [[ -z $why ]] || unread+="${unread:+; }${file##*/}: $why"
  done < <(target_files)
  [[ -z $unread ]] || { echo "$unread" && return 1; }
}
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

# prom QUERY: the value of the first series of an instant query, or nothing.
prom() {
  local_get 9090/api/v1/query --get --data-urlencode "query=$1" 2>/dev/null | value
}
value() { sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }

verify_jobs() {
  local job path
  for job in prometheus alloy grafana; do
    if [[ $job != grafana ]] || grafana_is_scraped >/dev/null; then
      job_is_up "$job" "http://127.0.0.1:9090/targets tells why" "metrics-$job.service"
    else
      read -r _ path < <(grafana_public) || :
      row "up{job=\"grafana\"} is 1 in Prometheus" 0 "add metrics_path: $path/metrics to job grafana in $ETC/prometheus/prometheus.yml, then: sudo systemctl reload metrics-prometheus.service" grafana_is_scraped
    fi
  done
  job_is_up metrics_service "$(look_into metrics-alloy.service): does it scrape, does it write?" metrics-service.service metrics-alloy.service
}

# The pipeline as a whole: ten requests to the service, and the samples that show them, wherever they go.
verify_proof() {
  local before after lost
  before=$(service_count) || :
  lost=$(queue samples_failed_total) || :
  row "10 requests to /simulate-load are answered" 0 "$(look_into metrics-service.service)" ten_requests
  after=$(date +%s)
  [[ -z ${ANSWERS[9090]-} ]] ||
    row "10 requests to /simulate-load arrive as samples" "$PATIENCE" "$(look_into metrics-alloy.service)" have_arrived prom '' $((before + 10)) "$after"
  [[ -z ${FORWARD["url"]-} ]] || verify_far $((before + 10)) "$after" "$lost"
}

# verify_far COUNT TIME LOST: by a query at the far end, where it answers one and we may ask, else by what Alloy counts of its queue there.
verify_far() {
  local log
  log="$(look_into metrics-alloy.service)"
  row "outputs.alloy sends to the far end" 0 "add prometheus.remote_write.forward.receiver to forward_to in $ETC/alloy/outputs.alloy" hub_forwards
  [[ -n $HELD ]] || return 0
  if may_log_in; then
    refusal
    row "${FORWARD["url"]} takes samples" 0 "$REMEDY" is_nothing "$REFUSAL"
    [[ -n $HELD ]] || return 0
  fi
  row "Alloy sends under the name of this host" 0 "sudo systemctl restart metrics-alloy.service" alloy_has_our_name
  [[ -n $HELD ]] || return 0
  if may_log_in && { far_answers >/dev/null || [[ -n ${FORWARD["query-url"]-} ]]; }; then
    row "10 requests to /simulate-load arrive at the far end, by a query at $(query_url)" "$PATIENCE" "$log; or correct --forward-query-url of install.sh" \
      have_arrived far_value ",instance=\"$(uname -n)\"" "$1" "$2"
  else
    row "10 requests to /simulate-load arrive at the far end, by what Alloy counts as sent" "$PATIENCE" "$log; sudo $SCRIPTS/verify.sh asks the receiver itself" were_sent "$2" "$3"
  fi
}
# Alloy has the host's name from its start on. Its exporter tells that name, because the unit has a UTS namespace of its own.
alloy_has_our_name() {
  local name
  name=$(local_get 12345/api/v0/component/prometheus.exporter.unix.node/metrics 2>/dev/null | sed -n 's/^node_uname_info{.*nodename="\([^"]*\)".*/\1/p')
  [[ -z $name || $name == "$(uname -n)" ]] || { echo "it started when the host was $name, which is still the instance of its samples" && return 1; }
}
is_nothing() { [[ -z $1 ]] || { echo "it $1" && return 1; }; }

# job_is_up JOB REMEDY UNIT...: within PATIENCE from the start of this script.
job_is_up() {
  local unit
  for unit in "${@:3}"; do
    if is_off "$unit"; then skip "up{job=\"$1\"}" "disabled" && return; fi
  done
  row "up{job=\"$1\"} is 1 in Prometheus" $((PATIENCE + VERIFY_START - $(uptime_now))) "$2" is_up "up{job=\"$1\"}"
}

# Prometheus goes on answering with the last sample for five minutes: only one of the last three scrapes counts.
is_up() {
  local value
  value=$(prom "min($1 and timestamp($1) > time() - 45)")
  [[ $value == 1 ]] || { echo "it is ${value:-not there, or old}" && return 1; }
}

# The service's own count of /simulate-load.
service_count() { local_get 8000/metrics | awk '/^http_requests_total\{.*endpoint="\/simulate-load"/ { sum += $NF } END { printf "%d", sum }'; }
ten_requests() { for _ in {1..10}; do local_get 8000/simulate-load --max-time 20 >/dev/null || return 1; done; }

# have_arrived ASK LABELS COUNT TIME: only a sample scraped after the requests counts, as an older one may be of a counter that has begun anew since.
have_arrived() {
  local samples='http_requests_total{job="metrics_service",endpoint="/simulate-load"'$2'}'
  [[ $("$1" "sum($samples and timestamp($samples) >= $4) >= bool $3") == 1 ]] || { echo "http_requests_total has not grown by 10 in time" && return 1; }
}

readonly REFUSED=/tmp/metrics-stack-login-$EUID

# verify_grafana LOGIN LOGIN-FILE
verify_grafana() {
  local status start log
  log=$(look_into metrics-grafana.service)
  row "Grafana's Prometheus plugin is registered" 20 "sudo systemctl restart metrics-grafana.service; $log" grafana_has_plugin
  row "Each dashboard has a uid and a title of its own" 0 "change it in all of these files but one; until then Grafana takes up no change in these directories" are_dashboards_distinct
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
  elif [[ $status == 401 ]]; then
    row "Grafana's data source and dashboards" 0 "correct it; after five wrong logins Grafana refuses all for five minutes" refused "$2"
  else
    row "Grafana has its data source" 20 "$log tells what it found in $ETC/grafana/provisioning" grafana_has "$1" api/datasources/uid/prometheus
    # shellcheck disable=SC2046  # uids are words
    row "Grafana has its dashboards" 20 "$log tells what it found in $ETC/grafana/dashboards" grafana_has "$1" $(shipped_dashboards)
    row "Grafana answers a query" 20 "$log" grafana_answers "$1"
  fi
}

refused() { echo "it refuses the login of $1" && false; }
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
