#!/usr/bin/env bash
# A minimal Debian 13, and the tasks of an administrator from install to uninstall.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"

# Checks the pipeline by hand: the service, Alloy's UI, Prometheus, Grafana.
can_be_checked_by_hand() {
  contains "$(get 8000/health)" '{"status":"ok"}'
  contains "$(get 8000/metrics)" 'http_requests_total{'
  contains "$(get 3000/)" Alloy
  equal "states of components" '"state":"healthy"' \
    "$(get 3000/api/v0/web/components | grep -o '"state":"[^"]*"' | sort -u)"
  eventually 30 all_jobs_are_up
  contains "$(get 3001/login)" Grafana
  contains "$(grafana admin:admin api/ds/query --json '{"from":"now-5m","to":"now","queries":[
    {"refId":"A","datasource":{"uid":"prometheus"},"expr":"up","instant":true}]}')" \
    '"job":"metrics_service"'
}

all_jobs_are_up() {
  local jobs
  jobs=$(promql 'up == 1' | labels job | tr ' ' '\n' | sort -u | paste -sd' ')
  [[ $jobs == "alloy grafana metrics_service node prometheus" ]]
}

grafana() { get "3001/$2" --user "$1" "${@:3}"; }

requests_become_samples() {
  local i before
  before=$(counted)
  for i in {1..10}; do get 8000/simulate-load >/dev/null; done
  equal "the service's own count" "$(counted)" $((before + 10))
  eventually 60 query_is \
    'sum(http_requests_total{job="metrics_service",endpoint="/simulate-load"})' $((before + 10))
}
counted() {
  get 8000/metrics |
    awk '/^http_requests_total\{.*"\/simulate-load"/ { sum += $NF } END { print sum }'
}

disabled_units_are_skipped() {
  local units=(metrics-service.socket metrics-service.service)
  in_container systemctl --quiet disable --now "${units[@]}"
  keep verify verify
  contains "$(<"$SCRATCH/verify")" "- unit metrics-service.service: disabled"
  contains "$(<"$SCRATCH/verify")" "✓ Grafana answers a query"
  contains "$(<"$SCRATCH/verify")" ", 0 failed"
  in_container systemctl --quiet enable --now "${units[@]}"
}

rejected_reload_is_reported() {
  local file
  for file in alloy/config.alloy prometheus/prometheus.yml; do
    in_container sh -c "cd /etc/metrics-stack && cp $file /tmp/ && echo '}' >>$file"
  done
  in_container systemctl reload metrics-alloy.service metrics-prometheus.service
  eventually 20 last_reloads_are 0
  ! keep verify verify || return 1
  contains "$(<"$SCRATCH/verify")" "✗ Alloy accepted its configuration: it rejected the last"
  contains "$(<"$SCRATCH/verify")" "✗ Prometheus accepted its configuration: it rejected the last"
  in_container mv /tmp/config.alloy /etc/metrics-stack/alloy/
  in_container mv /tmp/prometheus.yml /etc/metrics-stack/prometheus/
  in_container systemctl reload metrics-alloy.service metrics-prometheus.service
  eventually 20 last_reloads_are 1
  verify
}
# last_reloads_are 0|1: both servers have rejected or accepted the last reload, which systemctl does
# not wait for.
last_reloads_are() {
  get 12345/metrics | grep "^alloy_config_last_load_successful $1" &&
    get 9090/metrics | grep "^prometheus_config_last_reload_successful $1"
}

scrapes_another_application() {
  local labels
  in_container systemd-run --quiet --unit=application "$SERVICE" --listen 127.0.0.1:8100
  # Next to a file that Alloy can't parse, because it contains no list.
  in_container sh -c 'echo "targets: [127.0.0.1:1]" >/etc/metrics-stack/targets.d/wrong.yaml'
  in_container sh -c 'cat >/etc/metrics-stack/targets.d/application.json' <<'JSON'
[{"targets": ["127.0.0.1:8100"],
  "labels": {"job": "application", "app.kubernetes.io/name": "shop"}}]
JSON
  eventually 60 query_is 'up{job="application"}' 1
  labels='job="application",instance="127.0.0.1:8100","app.kubernetes.io/name"="shop"'
  equal "instance" "$(query "count(up{$labels})")" 1
  get 12345/metrics | grep '^prometheus_sd_file_read_errors_total{.*} [1-9]' |
    grep 'component_id="discovery.file.applications"'
  contains "$(get 12345/-/healthy)" "components are healthy"
  in_container rm /etc/metrics-stack/targets.d/application.json \
    /etc/metrics-stack/targets.d/wrong.yaml
  eventually 60 query_is 'count(up{job="application"}) or vector(0)' 0
  in_container systemctl stop application
}

target_stops_and_starts_all() {
  local port
  in_container systemctl stop metrics-stack.target
  # systemctl waits for the target only.
  eventually 30 is_all_off
  for port in "${PORTS[@]}"; do lacks "$(listening)" "127.0.0.1:$port"; done
  in_container systemctl start metrics-stack.target
  eventually 60 verify --quick
}

target_restarts_all() {
  local before i sockets=(metrics-service.socket metrics-alloy-ui.socket)
  before=$(invocations)
  # systemd starts several units at once, so each restart tests their order.
  for i in {1..10}; do
    in_container systemctl restart metrics-stack.target
    equal "sockets after restart $i" \
      "$(in_container systemctl is-active "${sockets[@]}" | sort -u)" active
    contains "$(get 8000/health)" '{"status":"ok"}'
  done
  eventually 60 verify --quick
  equal "units that were not restarted" "$(comm -12 <(echo "$before") <(invocations))" ""
}

is_all_off() {
  [[ -z $(in_container systemctl list-units --no-legend \
    --state=active,activating,deactivating 'metrics-*') ]]
}

keeps_edits() {
  local before drop_in=/etc/systemd/system/metrics-grafana.service.d/mine.conf
  in_container mkdir -p "${drop_in%/*}"
  in_container sh -c "printf '[Service]\nNice=5\n' >$drop_in"
  in_container sed -i 's/15d$/6d/; s/=4GB/=/' /etc/metrics-stack/prometheus/retention.env
  in_container systemctl daemon-reload
  in_container systemctl restart metrics-prometheus metrics-grafana
  eventually 30 verify --quick
  before=$(invocations)
  install
  equal "invocations" "$(invocations)" "$before"
  contains "$(in_container cat "$drop_in")" Nice=5
  contains "$(get 9090/api/v1/status/flags)" '"storage.tsdb.retention.time":"6d"'
  contains "$(get 9090/api/v1/status/flags)" '"storage.tsdb.retention.size":"0B"'
}

lists_edited_files() {
  local edited=/etc/metrics-stack/prometheus/retention.env difference
  in_container sh -c "echo '# news' >>$CHECKOUT/etc/prometheus/retention.env"
  run_until_verify "${INSTALL[@]}"
  contains "$(in_container cat "$edited")" 6d
  difference=$(sed -n "s,.*keeping your changes to $edited.*: \(diff .*\),\1,p" "$SCRATCH/run")
  contains "$(in_container sh -c "$difference" || :)" '> # news'
}

deleted_file_is_not_restored() {
  local deleted=/etc/metrics-stack/targets.d/example.yml.disabled before
  before=$(invocations)
  in_container rm "$deleted"
  keep install install
  in_container test ! -e "$deleted"
  equal "invocations" "$(invocations)" "$before"
  in_container sh -c "$(sed -n "s,.*not restoring $deleted.*: sudo,,p" "$SCRATCH/install")"
  in_container test -e "$deleted"
  keep install install
  lacks "$(<"$SCRATCH/install")" "not restoring"
}

# Grafana below a subpath redirects all other paths to another host.
serve_grafana_below_a_path() {
  in_container sed -i -e 's,^http_port.*,&\nroot_url = https://www.example.org/grafana/,' \
    -e 's,^http_port.*,&\nserve_from_sub_path = true,' /etc/metrics-stack/grafana/grafana.ini
  in_container sed -i 's,job_name: grafana,&\n    metrics_path: /grafana/metrics,' \
    /etc/metrics-stack/prometheus/prometheus.yml
  in_container systemctl reload metrics-prometheus
}

# Dashboards and targets of the administrator, some of them invalid.
add_files() {
  local dir
  for dir in dashboards dashboards.d; do
    in_container sh -c "echo '{\"uid\": \"\", \"title\": \"Mine\", \"panels\": []}' \
      >/etc/metrics-stack/grafana/$dir/mine.json"
    in_container sh -c "echo 'not JSON' >/etc/metrics-stack/grafana/$dir/none.json"
  done
  in_container sh -c "cd /etc/metrics-stack/targets.d &&
    printf 'targets: [127.0.0.1:8000]\n' | tee .map .shop .private && chmod 0600 .private &&
    mv .map map.yml && mv .shop shop.jsonc && mv .private private.yml && echo '[]' >shop.yml"
}

verify_accepts_a_new_grafana_password() {
  local targets=/etc/metrics-stack/targets.d
  grafana admin:admin api/user/password --request PUT \
    --json '{"oldPassword":"admin","newPassword":"a long one","confirmNew":"a long one"}'
  serve_grafana_below_a_path
  add_files
  in_container systemctl restart metrics-grafana
  keep verify verify || :
  contains "$(<"$SCRATCH/verify")" ", 1 failed"
  contains "$(<"$SCRATCH/verify")" \
    "✗ Alloy reads each file in $targets: map.yml: not a readable list of targets"
  contains "$(<"$SCRATCH/verify")" "private.yml: not a readable list"
  contains "$(<"$SCRATCH/verify")" "shop.jsonc: the name must end in"
  lacks "$(<"$SCRATCH/verify")" "shop.yml:"
  contains "$(<"$SCRATCH/verify")" "- Grafana's data source and dashboards"
  contains "$(<"$SCRATCH/verify")" "password has been changed"
  in_container rm "$targets"/{map.yml,private.yml,shop.jsonc}
  # As an editor of Windows saves it.
  in_container sh -c 'umask 077 && printf "\357\273\277admin:a long one\r\n" >/root/login'
  keep verify verify --grafana-login /root/login
  contains "$(<"$SCRATCH/verify")" "✓ Grafana answers a query"
  contains "$(<"$SCRATCH/verify")" "✓ Alloy reads each file"
  # The account is not locked.
  grafana "admin:a long one" grafana/api/org >/dev/null
}

# The database exists, with a password that the installer does not know.
password_file_sets_the_password() {
  copy_in <(echo 'fleet-9f3 "pass\word"') /root/grafana-password
  in_container chmod 0600 /root/grafana-password
  installs_in_secret --grafana-password-file /root/grafana-password
  contains "$(<"$SCRATCH/install")" "setting Grafana's password"
  contains "$(<"$SCRATCH/install")" "✓ Grafana answers a query"
  contains "$(<"$SCRATCH/install")" "login admin, with your password"
  keep install install --grafana-password-file /root/grafana-password
  contains "$(<"$SCRATCH/install")" "nothing had to be changed"
  keep verify as_nobody "$CHECKOUT/verify.sh"
  contains "$(<"$SCRATCH/verify")" "- Grafana's data source and dashboards: only root can read"
  verify --quick --report /root/report
  lacks "$(in_container cat /root/report)" fleet-9f3
  in_container rm /root/report /root/grafana-password
}

# In Grafana, and then by another file. Ctrl-C does not leave Grafana stopped.
stored_password_can_be_changed() {
  grafana 'admin:fleet-9f3 "pass\word"' grafana/api/user/password --request PUT \
    --json '{"oldPassword":"fleet-9f3 \"pass\\word\"","newPassword":"a long one"}'
  install
  keep verify verify
  contains "$(<"$SCRATCH/verify")" "dashboards: admin's password has been changed"
  grafana "admin:a long one" grafana/api/org >/dev/null
  copy_in <(echo 'another one') /root/grafana-password
  start_run "${INSTALL[@]}" --grafana-password-file /root/grafana-password
  wait_until "    setting Grafana's password"
  send_signal INT all
  eventually 30 has_printed "==> verify"
  send_signal TERM all
  wait "$JOB" || :
  cat "$SCRATCH/run"
  eventually 30 grafana "admin:another one" grafana/api/org
  equal "stored passwords" "another one" \
    "$(in_container sh -c 'cat /var/lib/metrics-stack/install/credentials/*')"
}

coexists_with_debians_prometheus() {
  local before
  before=$(invocations)
  # Debian's Prometheus can't start, because its port is in use.
  in_container sh -c 'DEBIAN_FRONTEND=noninteractive dpkg --install /usr/src/debs/*.deb'
  equal "Debian's unit" \
    "$(in_container systemctl show --property LoadState --value prometheus.service)" loaded
  verify --quick
  in_container dpkg --purge prometheus
  verify --quick
  equal "invocations" "$(invocations)" "$before"
}

uninstall_keeps_data() {
  local port
  samples_of 'up{job="metrics_service"}[1h]' | sed -n 1p >"$SCRATCH/first-sample"
  keep uninstall uninstall
  contains "$(<"$SCRATCH/uninstall")" "kept: data in /var/lib/metrics-stack"
  contains "$(<"$SCRATCH/uninstall")" \
    "kept: configuration you edited or added in /etc/metrics-stack"
  for port in "${PORTS[@]}"; do lacks "$(listening)" "127.0.0.1:$port"; done
  equal "programs and unit files" "$(in_container find /opt/metrics-stack/store \
    /etc/systemd/system -name '*metrics-*' ! -name '*.d' 2>/dev/null || :)" ""
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
}

reinstall_keeps_data() {
  contains "$(uninstall)" "not installed"
  run_until_verify "${INSTALL[@]}"
  verify --quick
  equal "the first sample" "$(samples_of 'up{job="metrics_service"}[1h]' | sed -n 1p)" \
    "$(<"$SCRATCH/first-sample")"
  contains "$(get 9090/api/v1/status/flags)" '"storage.tsdb.retention.time":"6d"'
}

boot trixie
test "a minimal Debian 13 gets a verified stack" installs_verified
test "every port listens, on the loopback only" listens_as_designed
test "every unit is active and enabled" units_are_up
test "the units are sandboxed" is_hardened
test "a second install changes nothing" second_install_changes_nothing
test "service, Alloy's UI, Prometheus and Grafana respond" can_be_checked_by_hand
test "ten requests become samples" requests_become_samples
test "verify.sh skips disabled units" disabled_units_are_skipped
test "verify.sh reports a rejected reload" rejected_reload_is_reported
test "a target file adds an application" scrapes_another_application
test "the target stops and starts all units" target_stops_and_starts_all
test "the target restarts all units, ten times" target_restarts_all
test "an install keeps drop-ins and edited configuration" keeps_edits
test "an install names new shipped versions of edited files" lists_edited_files
test "a deleted shipped file is not restored" deleted_file_is_not_restored
test "verify.sh works with a Grafana subpath, a changed password and added files" \
  verify_accepts_a_new_grafana_password
test "a password file sets the password of an existing database" password_file_sets_the_password
test "a password changed in Grafana stays, until another file" stored_password_can_be_changed
test "Debian's own Prometheus can be installed and removed" coexists_with_debians_prometheus
test "uninstall keeps data and edited configuration" uninstall_keeps_data
test "a later install reuses them" reinstall_keeps_data
