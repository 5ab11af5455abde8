# What verify.sh finds in files of dashboards and targets, and how it asks Grafana.
# shellcheck shell=bash disable=SC2317  # lib/ calls what tests define in place of its functions

# board FILE TEXT: a file of dashboards.
board() { mkdir -p "$ETC/grafana/$(dirname "$1")" && printf '%s\n' "$2" >"$ETC/grafana/$1"; }
# shipped FILE TEXT: one that the release and the host have.
ship() {
  mkdir -p "$OPT/current/etc/grafana/dashboards"
  board "dashboards/$1" "$2"
  cp "$ETC/grafana/dashboards/$1" "$OPT/current/etc/grafana/dashboards/"
}

test_json_text() {
  local text uid file=$SCRATCH/board.json
  while IFS='~' read -r text uid; do
    printf '%b' "$text" >"$file"
    equal "uid in $text" "$(json_text "$file" uid)" "$uid"
  done <<'END'
{"uid": "a", "title": "b"}~a
{"uid":"a","panels":[{"uid":"b"}]}~a
{"panels":[{"datasource":{"uid":"b"}}],"uid":"a"}~a
{"title":"uid","panels":[{"datasource":{"uid":"b"}}]}~
{\n    "description": "{\\"uid\\": \\"b\\", [}",\n    "uid"\n  : "a"\n}~a
{"uid": ""}~
{"uid": null, "title": "b"}~
[{"uid": "a"}]~
not JSON at all~
~
END
}

test_an_interrupted_install_is_named() {
  UNITS=() PASSED=1 FAILED=0
  endpoint() { :; }
  verify_all quick
  mkdir -p "$OPT"
  ln -s releases/nothing "$OPT/pending"
  fails verify_all quick
  rm "$OPT/pending"
  contains "$OUTPUT" "✗ the last install or uninstall is complete: it was interrupted"
}

test_only_shipped_dashboards_are_required() {
  rm -rf "$ETC" "$OPT"
  ship service.json '{"uid": "metrics-service", "title": "Service"}'
  ship host.json '{"uid": "metrics-host", "title": "Host"}'
  ship pipeline.json '{"uid": "metrics-pipeline", "title": "Pipeline"}'
  board dashboards/host.json '{"title": "Mine", "uid": ""}'
  rm "$ETC/grafana/dashboards/pipeline.json"
  board dashboards/mine.json '{"uid": "mine", "title": "Mine"}'
  board dashboards.d/none.json 'not JSON'
  equal "required" "$(shipped_dashboards)" api/dashboards/uid/metrics-service
}

test_repeated_dashboards_are_named() {
  local own=$ETC/grafana/dashboards.d shipped=$ETC/grafana/dashboards
  rm -rf "$ETC" "$OPT"
  board dashboards/service.json '{"uid": "metrics-service", "title": "Service"}'
  board dashboards.d/other.json '{"uid": "", "title": "Service"}'
  board dashboards.d/none.json 'not JSON'
  board dashboards.d/empty.json '{}'
  board dashboards.d/plain.json.bak '{"uid": "metrics-service"}'
  board dashboards.d/.git/copy.json '{"uid": "metrics-service"}'
  are_dashboards_unique
  board "dashboards.d/in here/copy.json" '{"title":"Copy","uid":"metrics-service"}'
  fails are_dashboards_unique
  contains "$OUTPUT" "uid \"metrics-service\": $own/in here/copy.json, $shipped/service.json"
  rm "$ETC/grafana/dashboards.d/in here/copy.json"
  board dashboards.d/again.json '{"title": "Service"}'
  fails are_dashboards_unique
  equal "repeated" "$OUTPUT" \
    "title in dashboards.d \"Service\": $own/again.json, $own/other.json"
}

test_plugin_is_registered_by_either_metric() {
  local metric
  curl_local() { printf '%s\n' "$metric"; }
  for metric in \
    'grafana_plugin_build_info{plugin_id="prometheus",plugin_type="datasource",version="1"} 1' \
    'grafana_plugin_target_info{plugin_id="prometheus",target="in-memory"} 1' \
    'grafana_plugin_target_info{environment="a",plugin_id="prometheus"} 1'; do
    grafana_has_plugin
  done
  for metric in '# HELP grafana_plugin_build_info of plugin_id="prometheus"' \
    'grafana_plugin_target_info{plugin_id="loki"} 1' \
    'grafana_plugin_request_total{plugin_id="prometheus"} 1' \
    'grafana_plugin_build_info{other_plugin_id="prometheus"} 1'; do
    fails grafana_has_plugin
  done
}

# What Grafana answers with its public address in PUBLIC: it redirects whatever is not below it,
# except /api.
grafana_at() {
  local path=/${1#3001/}
  if [[ -n ${PUBLIC-} && $path != "/api/"* &&
    ($path != "/grafana/"* || $* != *"Host: ${PUBLIC#*//}"*) ]]; then
    case $* in
    *http_code*) printf '301 %s' "$PUBLIC/grafana$path" ;;
    *redirect_url*) printf %s "$PUBLIC/grafana$path" ;;
    *--max-redirs*) return 47 ;;
    esac
    return 0
  fi
  case $* in
  *http_code*) printf '200 ' ;;
  *redirect_url*) return 22 ;;
  *) echo "answer at $path" ;;
  esac
}

test_grafana_is_asked_at_its_public_address() {
  curl_local() { grafana_at "$@"; }
  equal "answer" "$(grafana_get api/health)" "answer at /api/health"
  equal "answer" "$(get 3001/api/health)" "answer at /api/health"
  PUBLIC=https://www.example.org
  equal "answer" "$(grafana_get api/health)" "answer at /grafana/api/health"
  equal "answer of a server that is another" "$(get 9090/-/ready)" ""
  equal "public address" "$(grafana_public)" "www.example.org /grafana"
}

# target NAME MODE: a file of targets.d that Alloy has read, unless READ is empty.
target() {
  mkdir -p "$ETC/targets.d"
  echo '- targets: [a:1]' >"$ETC/targets.d/$1"
  chmod "$2" "$ETC/targets.d/$1"
  [[ -z $READ ]] ||
    printf 'prometheus_sd_file_mtime_seconds{component_id="x",filename="%s"} %se+00\n' \
      "$ETC/targets.d/$1" "$(stat -c %Y "$ETC/targets.d/$1")" >>"$SCRATCH/metrics"
}

test_unread_targets_are_named() {
  rm -rf "$ETC" "$OPT"
  local READ=1 file
  curl_local() { cat "$SCRATCH/metrics"; }
  : >"$SCRATCH/metrics"
  target shop.yml 0644
  target other.yaml 0644
  target third.json 0604
  target with\ blank.yml 0644
  READ='' target example.yml.disabled 0600
  READ='' target .swap 0600
  targets_are_read
  READ='' target private.yml 0600
  for file in map.yml shop.jsonc shop.yml~ README; do READ='' target "$file" 0644; done
  mkdir "$ETC/targets.d/folder.yml"
  ln -s /nowhere "$ETC/targets.d/link.yml"
  fails targets_are_read
  for file in private.yml map.yml shop.jsonc 'shop.yml~' README folder.yml link.yml; do
    contains "$OUTPUT" "$file: "
  done
  contains "$OUTPUT" "chmod o+r $ETC/targets.d/private.yml"
  contains "$OUTPUT" "map.yml: not a readable list"
  contains "$OUTPUT" "shop.jsonc: the name must end"
  for file in shop.yml: other.yaml: third.json: blank.yml: disabled: swap; do
    lacks "$OUTPUT" "$file"
  done
}

test_targets_changed_since_alloy_read_them_are_named() {
  rm -rf "$ETC" "$OPT"
  local READ=1
  curl_local() { cat "$SCRATCH/metrics"; }
  : >"$SCRATCH/metrics"
  target shop.yml 0644
  touch -d '+1 minute' "$ETC/targets.d/shop.yml"
  fails targets_are_read
  contains "$OUTPUT" "shop.yml: not a readable list"
}

test_targets_without_up_are_listed() {
  rm -rf "$ETC" "$OPT"
  local READ=''
  curl_local() {
    printf %s '{"metric":{"__name__":"up","instance":"127.0.0.1:9200"}},' \
      '{"metric":{"instance":"[::1]:9200"}}'
  }
  target shop.yml 0644
  cat >"$ETC/targets.d/shop.yml" <<'END'
- targets: ["127.0.0.1:9200", '127.0.0.1:9201',http://127.0.0.1:9202/metrics]   # 127.0.0.1:9209
  labels: {job: shop}
- targets:
    - shop.example.org:80
    - "[::1]:9200"
    - "[::1]:9203"
END
  printf '[{"targets":["127.0.0.1:9200","127.0.0.1:9204"],"labels":{"job":"x"}}]' \
    >"$ETC/targets.d/json.json"
  equal "listed" "$(targets_without_up)" "json.json: 127.0.0.1:9204
shop.yml: 127.0.0.1:9201
shop.yml: http://127.0.0.1:9202/metrics
shop.yml: shop.example.org:80
shop.yml: [::1]:9203"
}

test_large_target_files_are_lists() {
  { echo '- targets: [a:1]' && head -c 200000 /dev/zero | tr '\0' '#'; } >"$SCRATCH/large.yml"
  begins_a_list "$SCRATCH/large.yml"
}

# A wrong login counts, so it is tried once, until Grafana restarts.
test_a_wrong_login_is_not_repeated() {
  local start=$RANDOM$RANDOM
  mark=$LOGIN_MARK-$EUID
  mkdir -p "${mark%/*}"
  systemctl() { echo "$start"; }
  grafana() { echo "$1" >>"$SCRATCH/logins" && printf 401; }
  trap 'rmdir "$mark"-*' EXIT
  for start in "$start" "$start" "${start}0" "${start}0"; do is_login_rejected admin:admin ''; done
  is_login_rejected admin:other "$SCRATCH/login"
  equal "logins" "$(paste -sd' ' "$SCRATCH/logins")" "admin:admin admin:admin admin:other"
  equal "marks" "$(echo "$mark"-*)" "$mark-$start"
  grafana() { printf 200; }
  ! is_login_rejected admin:admin "$SCRATCH/login"
}

# What Grafana's command reports does not count, only a login.
test_a_password_that_was_not_set_is_an_error() {
  local accepted=$SCRATCH/accepted
  echo fives >"$SCRATCH/password"
  SETTINGS=(["admin-password"]=$SCRATCH/password)
  grafana() { [[ $1 == admin:fives && -e $accepted ]]; }
  systemctl() { [[ $1 != start ]] || echo start >>"$SCRATCH/started"; }
  stop_units() { :; }
  wait_until_ready() { :; }
  systemd-run() { [[ $(cat) == fives ]] && printf 'noise\nit worked\n'; }
  fails password
  contains "$OUTPUT" "Grafana rejects the new password; its command printed: it worked"
  equal "Grafana" "$(<"$SCRATCH/started")" start
  systemd-run() { touch "$accepted" && false; }
  password
  is_active() { false; }
  password
  rm "$accepted"
  fails password
  contains "$OUTPUT" "metrics-grafana.service is not running"
}
