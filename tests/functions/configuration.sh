# What the check of the configuration makes of units, drop-ins and files that were edited. The programs are stubs that note their options.
# shellcheck disable=SC2034  # lib/ reads what is set here
# shellcheck shell=bash

chmod 0755 "$SCRATCH"
[[ $EUID == 0 ]] || as_nobody() { "$@"; }
PROMETHEUS=$ETC/prometheus
CALLS=$SCRATCH/calls
# In some tests only root's own files can show what others may not read.
needs_root() { [[ $EUID == 0 ]] || { echo "only as root" && exit 0; }; }

# lay: a release as it is shipped, its files on the host, and the programs.
lay() {
  local path program
  rm -rf "$OPT" "$ETC" "$RUN" "$UNIT_DIR" "$CALLS"
  mkdir -p "$STAGED" "$ETC" "$UNIT_DIR" "$RELEASES"
  chmod -R u=rwX,go=rX "$SCRATCH"
  cp -r "$ROOT/etc" "$ROOT/systemd" "$STAGED"
  sed -i -E "s,/(opt|etc)/metrics-stack,$SCRATCH&,g" "$STAGED"/systemd/* "$STAGED"/etc/alloy/*
  cp -r "$STAGED" "$RELEASES/1"
  cp -r "$STAGED"/etc/* "$ETC" && cp -r "$STAGED"/systemd/* "$UNIT_DIR"
  install -m 0666 /dev/null "$CALLS"
  for program in prometheus/promtool prometheus/prometheus alloy/alloy; do
    path=$(store_path "${program%/*}")/bin/${program#*/}
    mkdir -p "${path%/*}"
    cat >"$path" <<END
#!/bin/bash
printf '%s ' "\${0##*/}" "\$@" | sed 's,$SCRATCH,,g' >>"$CALLS"
echo >>"$CALLS"
[[ "\$*" != *'15 d'* ]] || echo 'Error parsing command line arguments: unknown unit " d"'
for path; do [[ \$path != *.yml ]] || ! grep -q 'no rules' "\$path" || exit 1; done
END
    chmod 0755 "$path"
  done
}
check() { rm -rf "$STAGE" && check_configuration; }
calls() { grep "^$1${2:+ $2}" "$CALLS" || :; }
drop_in() { mkdir -p "$UNIT_DIR/$1.d" && printf '%s\n' '[Service]' "${@:2}" >"$UNIT_DIR/$1.d/mine.conf"; }
# The options about retention that Prometheus gets.
retention() { grep -oE -- '--storage\.tsdb\.retention\.[^-]*[^ -]' <<<"$(calls prometheus)" | sed 's/.*retention\.//' | paste -sd, || :; }

test_as_shipped() {
  lay
  check
  equal "promtool and prometheus" "$(calls pro)" "$(
    sed 's/$/ /' <<'END'
prometheus --storage.tsdb.path=/var/lib/metrics-stack/prometheus --storage.tsdb.retention.time=15d --storage.tsdb.retention.size=4GB --web.listen-address=127.0.0.1:9090 --web.enable-remote-write-receiver --config.file=/run/metrics-stack/stage/none
promtool check config --syntax-only /run/metrics-stack/stage/etc/prometheus/prometheus.yml
promtool check rules /run/metrics-stack/stage/etc/prometheus/rules/host.yml /run/metrics-stack/stage/etc/prometheus/rules/local.yml /run/metrics-stack/stage/etc/prometheus/rules/pipeline.yml /run/metrics-stack/stage/etc/prometheus/rules/service.yml
END
  )"
  equal "alloy" "$(calls alloy)" "alloy validate /run/metrics-stack/stage/etc/alloy "
  # A first install, where nothing is on the host yet.
  rm -rf "$ETC" "${UNIT_DIR:?}"/*
  check
}

test_retention_is_what_systemd_reads() {
  local content seen
  while IFS='|' read -r content seen; do
    lay
    printf '%b' "$content" >"$PROMETHEUS/retention.env"
    check
    equal "options for $content" "$(retention)" "$seen"
  done <<'END'
RETENTION_TIME=30d\nRETENTION_SIZE=8GB\n|time=30d,size=8GB
RETENTION_TIME=30d\r\nRETENTION_SIZE=8GB\r\n|time=30d,size=8GB
\xEF\xBB\xBF# mine\nRETENTION_TIME=30d|time=30d
  RETENTION_TIME = "30d"  \nRETENTION_SIZE='8GB'|time=30d,size=8GB
# RETENTION_TIME=30d\n;RETENTION_SIZE=8GB\n|
RETENTION_TIME=\nRETENTION_SIZE=""\n|
RETENTION_TIME=1d\nRETENTION_TIME=30d\n|time=30d
|
END
  # A shipped file that was deleted stays away.
  lay
  rm "$PROMETHEUS/retention.env"
  ln -s releases/1 "$OPT/current"
  check
  equal "options without the file" "$(retention)" ""
}

test_retention_is_refused() {
  local content words
  while IFS='|' read -r content words; do
    lay
    printf '%b' "$content" >"$PROMETHEUS/retention.env"
    fails check
    contains "$OUTPUT" "${words//ETC/$ETC}"
    contains "$OUTPUT" "$PROMETHEUS/retention.env"
  done <<'END'
RETENTION_TIME=15 d\n|Prometheus refuses the options of metrics-prometheus.service: unknown unit " d"
RETENTION_TIME="15 d"\n|unknown unit " d"
RETENTION_TIME: 30d\n|systemd ignores line 1 of ETC/prometheus/retention.env: RETENTION_TIME: 30d
\nexport RETENTION_TIME=30d\n|systemd ignores line 2
\xEF\xBB\xBFRETENTION_TIME=30d\n|systemd ignores line 1
END
  # A drop-in that reads none of it is judged by its own options.
  lay
  echo 'RETENTION_TIME=15 d' >"$PROMETHEUS/retention.env"
  drop_in metrics-prometheus.service ExecStart= "ExecStart=$OPT/prometheus/bin/prometheus --config.file=$PROMETHEUS/prometheus.yml --storage.tsdb.retention.size=1GB"
  check
  equal "options" "$(retention)" size=1GB
  drop_in metrics-prometheus.service 'EnvironmentFile=' "Environment=RETENTION_TIME=9d 'RETENTION_SIZE=1GB'"
  check
  equal "options" "$(retention)" size=1GB,time=9d,size=1GB
  lay
  echo 'RETENTION_TIME: 15d' >"$PROMETHEUS/retention.env"
  drop_in metrics-prometheus.service ExecStart= "ExecStart=$OPT/prometheus/bin/prometheus --config.file=$PROMETHEUS/prometheus.yml"
  check
}

test_rules_are_those_of_the_configuration() {
  local list
  for list in $'rule_files:\n  - rules/*.yml  # mine\n  - "more/a.yml"\n' $'rule_files: [rules/*.yml,\n  \'more/a.yml\']\n' $'rule_files:\r\n- rules/*.yml\r\n\r\n- more/a.yml\r\n'; do
    lay
    mkdir -p "$PROMETHEUS"/{rules/tests,more}
    echo "no rules" | tee "$PROMETHEUS/rules/tests/a.yml" "$PROMETHEUS/more/b.yml" >"$PROMETHEUS/rules/old.yml.disabled"
    touch "$PROMETHEUS/more/a.yml" "$PROMETHEUS/rules/.hidden.yml"
    printf 'global: {}\n%sscrape_configs:\n  - job_name: x\n' "$list" >"$PROMETHEUS/prometheus.yml"
    check
    equal "rules" "$(calls promtool 'check rules' | tr ' ' '\n' | sed -n 's,.*/etc/prometheus/,,p' | paste -sd' ')" \
      "rules/.hidden.yml rules/host.yml rules/local.yml rules/pipeline.yml rules/service.yml more/a.yml"
    echo "no rules" >"$PROMETHEUS/more/a.yml"
    fails check
    contains "$OUTPUT" "Prometheus refuses its configuration"
  done
}

test_options_of_drop_ins() {
  lay
  drop_in metrics-prometheus.service 'Environment=MORE="--enable-feature=promql-experimental-functions --web.enable-lifecycle"' ExecStart= \
    "ExecStart=$OPT/prometheus/bin/prometheus --enable-feature a \\" "# a comment" "  --config.file=$PROMETHEUS/other.yml \$MORE --web.page-title=\"My \${MORE}\""
  cp "$PROMETHEUS"/{prometheus,other}.yml
  drop_in metrics-alloy.service ExecStart= "ExecStart=$OPT/alloy/bin/alloy run --stability.level experimental \\" \
    "  --feature.community-components.enabled --config.extra-args='--a b' --storage.path=/x $ETC/alloy"
  check
  contains "$(calls prometheus)" " --enable-feature=promql-experimental-functions --web.enable-lifecycle --web.page-title=My --enable"
  contains "$(calls promtool 'check config')" "--syntax-only /run/metrics-stack/stage/etc/prometheus/other.yml"
  contains "$(calls promtool '--enable')" "promtool --enable-feature=a --enable-feature=promql-experimental-functions check rules /run"
  equal "alloy" "$(calls alloy)" \
    "alloy validate --feature.community-components.enabled --config.extra-args=--a b --stability.level=experimental /run/metrics-stack/stage/etc/alloy "
  # Something else that starts Prometheus is not run here.
  drop_in metrics-prometheus.service ExecStart= "ExecStart=/usr/local/bin/mine --config.file=$PROMETHEUS/prometheus.yml"
  check
  equal "calls of Prometheus" "$(calls prometheus | wc -l)" 1
}

test_files_that_units_cannot_read() {
  local path mode words
  needs_root
  while read -r path mode words; do
    lay
    mkdir -p "$ETC/more" && touch "$ETC/alloy/mine.alloy" "$PROMETHEUS/rules/mine.yml" "$ETC/more/linked.yml" "$ETC/grafana/dashboards/mine.json"
    ln -s "$ETC/more/linked.yml" "$PROMETHEUS/rules/linked.yml"
    chmod "$mode" "$ETC/$path"
    fails check
    contains "$OUTPUT" "$words can't read $ETC/"
    contains "$OUTPUT" "chmod $([[ -d $ETC/$path ]] && echo o+rx || echo o+r) $ETC/$path"
  done <<'END'
prometheus/rules/mine.yml 0640 metrics-prometheus.service
prometheus/prometheus.yml 0600 metrics-prometheus.service
prometheus/rules 0750 metrics-prometheus.service
prometheus 0700 metrics-prometheus.service
more/linked.yml 0640 metrics-prometheus.service
more 0700 metrics-prometheus.service
alloy/mine.alloy 0640 metrics-alloy.service
alloy 0700 metrics-alloy.service
grafana/grafana.ini 0640 metrics-grafana.service
grafana/provisioning/datasources/prometheus.yaml 0640 metrics-grafana.service
grafana/dashboards/mine.json 0600 metrics-grafana.service
grafana/dashboards 0700 metrics-grafana.service
END
}

test_files_that_need_not_be_readable() {
  needs_root
  lay
  mkdir "$PROMETHEUS/rules/tests"
  echo "- targets: [a]" >"$ETC/targets.d/shop.yaml"
  touch "$PROMETHEUS/rules/tests/a.yml" "$PROMETHEUS/rules/old.bak" "$ETC/alloy/config.alloy.orig" "$ETC/targets.d/shop.txt"
  chmod 0600 "$PROMETHEUS"/{retention.env,rules/tests/a.yml,rules/old.bak} "$ETC/alloy/config.alloy.orig" "$ETC/targets.d"/*
  # What this release writes gets its own mode.
  echo '# news' >>"$STAGED/etc/prometheus/rules/host.yml"
  chmod 0600 "$PROMETHEUS/rules/host.yml"
  ln -s loop "$PROMETHEUS/loop" && ln -s . "$PROMETHEUS/rules/again" && ln -s /nowhere "$ETC/targets.d/mine.yml"
  OUTPUT=$(check 2>&1)
  contains "$OUTPUT" "warning: Alloy can't read $ETC/targets.d/shop.yaml"
  contains "$OUTPUT" "sudo chmod o+r $ETC/targets.d/shop.yaml"
  lacks "$OUTPUT" shop.txt
  # A unit of another user.
  lay
  chmod 0640 "$PROMETHEUS/prometheus.yml"
  drop_in metrics-prometheus.service SupplementaryGroups=monitoring
  check
}

test_links_that_lead_where_units_do_not_look() {
  local unit file
  while read -r unit file; do
    lay
    sed -i '/PrivateTmp/d' "$UNIT_DIR/$unit" "$STAGED/systemd/$unit"
    cp "$ETC/$file" "$SCRATCH/elsewhere"
    ln -sf "$SCRATCH/elsewhere" "$ETC/$file"
    check
    drop_in "$unit" PrivateTmp=yes
    fails check
    contains "$OUTPUT" "$unit can't read $ETC/$file: the link leads to $SCRATCH/elsewhere, which is hidden from the unit"
  done <<'END'
metrics-prometheus.service prometheus/rules/host.yml
metrics-alloy.service alloy/config.alloy
metrics-grafana.service grafana/grafana.ini
END
}

test_carriage_returns_and_byte_order_marks_count_for_nothing() {
  local path bom=$'\xEF\xBB\xBF'
  VERSIONS=$SCRATCH/versions.conf
  { printf '%s' "$bom" && sed '/^#/d; /^$/d; s/$/\r/' "$ROOT/etc/versions.conf"; } >"$VERSIONS"
  equal "URL" "$(pin prometheus urls)" "$(VERSIONS=$ROOT/etc/versions.conf pin prometheus urls)"
  PROBLEMS=0
  check_pins
  equal "problems" "$PROBLEMS" 0

  mkdir -p "$ETC/grafana"
  { printf '%s' "$bom" && sed 's/$/\r/' "$ROOT/etc/grafana/grafana.ini"; } >"$ETC/grafana/grafana.ini"
  check_data
  equal "problems" "$PROBLEMS" 0

  lay
  for path in targets.d/shop grafana/dashboards/mine; do printf '%s[]' "$bom" >"$ETC/$path.json"; done
  OUTPUT=$(check 2>&1)
  contains "$OUTPUT" "$ETC/targets.d/shop.json begins with a byte order mark"
  contains "$OUTPUT" "$ETC/grafana/dashboards/mine.json begins with a byte order mark"
  printf '\xFF\xFE[\0s\0' >"$ETC/grafana/grafana.ini"
  fails check
  contains "$OUTPUT" "$ETC/grafana/grafana.ini is in UTF-16"

  printf '%ssecret\r\n\r\n' "$bom" >"$SCRATCH/token"
  OPTIONS=(["url"]=https://a.example/api/v1/write ["token"]=$SCRATCH/token)
  merge_settings
  equal "token" "$(text_of "$SCRATCH/token" | tr '\n' .)" secret..
  printf '\xFF\xFEs\0e\0c\0r\0e\0t\0' >"$SCRATCH/token"
  fails merge_settings
  contains "$OUTPUT" "$SCRATCH/token is not one line with the token, in UTF-8"
}
