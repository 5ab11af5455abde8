# What the check of the configuration makes of flags and of files that were edited. The programs are
# stubs that note their calls; promtool's names the rule files as the real one does.
# shellcheck shell=bash disable=SC2034  # lib/ reads what is set here

chmod 0755 "$SCRATCH"
[[ $EUID == 0 ]] || as_nobody() { "$@"; }
PROMETHEUS=$ETC/prometheus
CALLS=$SCRATCH/calls
# Only root can have files that an unprivileged user can't read.
needs_root() { [[ $EUID == 0 ]] || { echo "only as root" && exit 0; }; }
# What `systemctl show --property PROPERTY --value UNIT` prints.
declare -A SHOWN=()
systemctl() { printf '%s\n' "${SHOWN["$5 $3"]-}"; }

# lay: a release as it is shipped, its files on the host, and the programs.
lay() {
  local path program
  rm -rf "$OPT" "$ETC" "$RUN" "$UNIT_DIR" "$CALLS"
  mkdir -p "$STAGED" "$ETC" "$UNIT_DIR" "$RELEASES"
  chmod -R u=rwX,go=rX "$SCRATCH"
  cp -r "$ROOT/etc" "$ROOT/systemd" "$STAGED"
  cp -r "$STAGED" "$RELEASES/1"
  cp -r "$STAGED"/etc/* "$ETC" && cp -r "$STAGED"/systemd/* "$UNIT_DIR"
  install -m 0666 /dev/null "$CALLS"
  for program in prometheus/promtool prometheus/prometheus alloy/alloy; do
    path=$(store_path "${program%/*}")/bin/${program#*/}
    mkdir -p "${path%/*}"
    cat >"$path" <<END
#!/bin/bash
printf '%s ' "\${0##*/}" "\$@" | sed 's,$STAGE,,g' >>"$CALLS"
echo >>"$CALLS"
[[ "\$*" != *'15 d'* ]] || echo 'Error parsing command line arguments: unknown unit " d"'
[[ \$0 == */promtool ]] || exit 0
echo "Checking \${!#}"
[[ "\$*" != *syntax* ]] || exit 0
cp "\${!#}" "\${!#}.given"
cd "\$(dirname "\${!#}")"
shopt -s nullglob
for path in \$(sed -nE 's/^ *- *([^ #]*).*/\1/p' "\${!#}" | tr -d "\"'"); do
  [[ \$path == /* ]] || path=\$PWD/\$path
  for path in \$path; do echo "Checking \$path" && ! grep 'no rules' "\$path" || exit 1; done
done
END
    chmod 0755 "$path"
  done
}
check() { rm -rf "$STAGE" && check_configuration; }
calls() { grep "^$1${2:+ $2}" "$CALLS" || :; }
# The options about retention that Prometheus gets.
retention() {
  grep -oE -- '--storage\.tsdb\.retention\.[^-]*[^ -]' <<<"$(calls prometheus)" |
    sed 's/.*retention\.//' | paste -sd, || :
}

test_as_shipped() {
  lay
  check
  equal "promtool and prometheus" "$(calls pro)" "$(
    sed 's/$/ /' <<'END'
prometheus --config.file=/none --storage.tsdb.retention.time=15d --storage.tsdb.retention.size=4GB
promtool check config --syntax-only /etc/prometheus/prometheus.yml
promtool check config /etc/prometheus/prometheus.yml
END
  )"
  equal "alloy" "$(calls alloy)" "alloy validate /etc/alloy "
  # A first install, where nothing is on the host yet.
  rm -rf "$ETC" "${UNIT_DIR:?}"/*
  check
  equal "calls" "$(wc -l <"$CALLS")" 8
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
# RETENTION_TIME=30d\n;RETENTION_SIZE=8GB\n \r\n|
RETENTION_TIME=\nRETENTION_SIZE=""\nOTHER=1\n|
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
  done <<'END'
RETENTION_TIME=15 d\n|Prometheus refuses ETC/prometheus/retention.env: unknown unit " d"
RETENTION_TIME="15 d"\r\n|unknown unit " d"
RETENTION_TIME: 30d\n|systemd ignores line 1 of ETC/prometheus/retention.env: RETENTION_TIME: 30d
\nexport RETENTION_TIME=30d\n|systemd ignores line 2
\xEF\xBB\xBFRETENTION_TIME=30d\n|systemd ignores line 1
R\0E\0=\0|systemd ignores line 1
END
}

test_rules_are_those_of_the_configuration() {
  local section given
  while IFS='|' read -r section given; do
    lay
    printf 'global: {}\n%bscrape_configs:\n  - job_name: x\n' "${section//ETC/$PROMETHEUS}" \
      >"$PROMETHEUS/prometheus.yml"
    check
    equal "section" "$(<"$STAGE/etc/prometheus/prometheus.yml.given")" \
      "$(printf '%b' "${given//STAGE/$STAGE/etc/prometheus}")"
  done <<'END'
|
rule_files:\n- rules/*.yml # mine\n|rule_files:\n- rules/*.yml # mine
rule_files:\n  - a/*.yml\n\n# b\n  - "b/a.yml"\n|rule_files:\n  - a/*.yml\n\n# b\n  - "b/a.ym[*l]"
rule_files: [rules/*.yml,\n  'more/a.yml'\n]\n|rule_files: [rules/*.yml,\n  'more/a.yml'\n]
rule_files:\r\n- rules/*.yml\r\n\r\n- ETC/a.yml\r\n|rule_files:\n- rules/*.yml\n\n- STAGE/a.ym[*l]
rule_files:\n- /srv/*.yml\n|rule_files:\n- /srv/*.yml
END
  # Unit tests of rules are no rules.
  lay
  mkdir "$PROMETHEUS/rules/tests"
  echo "no rules" | tee "$PROMETHEUS/rules/tests/a.yml" >"$PROMETHEUS/rules/old.yml.disabled"
  check
  echo "no rules" >"$PROMETHEUS/rules/mine.yml"
  fails check
  contains "$OUTPUT" "Prometheus refuses its configuration: Checking $PROMETHEUS/prometheus.yml"
}

# The argv as systemd prints it, also of a script.
test_flags_of_drop_ins() {
  lay
  cp "$PROMETHEUS"/{prometheus,other}.yml
  SHOWN["metrics-prometheus.service ExecStart"]="{ path=/bin/sh ; argv[]=/bin/sh -c exec /opt/x \
   --config.file=$PROMETHEUS/other.yml --web.enable-lifecycle \${A:+--b=\"\$A\"} \
   --enable-feature='promql-experimental-functions' --enable-feature=a,b ; ignore_errors=no ; }"
  SHOWN["metrics-alloy.service ExecStart"]="{ path=/opt/x ; argv[]=/opt/x run \
--stability.level=experimental --feature.community-components.enabled --config.format=alloy \
--storage.path=/x --config.extra-args=-a --config.bypass-conversion-errors=true /y ; pid=0 }"
  check
  equal "promtool" "$(calls promtool)" "$(
    sed 's/$/ /' <<END
promtool check config --syntax-only /etc/prometheus/other.yml
promtool --enable-feature=promql-experimental-functions --enable-feature=a,b check config \
/etc/prometheus/other.yml
END
  )"
  equal "alloy" "$(calls alloy | tr ' ' '\n' | sort | paste -sd' ')" \
    " --config.bypass-conversion-errors=true --config.extra-args=-a --config.format=alloy\
 --feature.community-components.enabled --stability.level=experimental /etc/alloy alloy validate"
  # A blank before the value.
  SHOWN["metrics-alloy.service ExecStart"]="{ argv[]=/opt/x run --stability.level experimental /y }"
  check
  equal "alloy" "$(calls alloy | tail -n 1)" \
    "alloy validate --stability.level=experimental /etc/alloy "
  # A configuration elsewhere.
  SHOWN["metrics-prometheus.service ExecStart"]="argv[]=/opt/x --config.file=$ETC/mine.yml"
  echo "mine" >"$ETC/mine.yml"
  check
  equal "last call" "$(calls promtool | tail -n 1)" \
    "promtool check config --syntax-only $ETC/mine.yml "
  equal "the file" "$(<"$ETC/mine.yml")" mine
}

# As Alloy reports a deprecated function, with the exit status of an error.
test_warnings_of_alloy_are_no_errors() {
  local program words
  lay
  program=$(store_path alloy)/bin/alloy
  printf '#!/bin/sh\ncat %q; exit 1\n' "$SCRATCH/words" >"$program"
  words="Warning: $STAGE/etc/alloy/mine.alloy:15:13: this stdlib function is deprecated"
  echo "$words" >"$SCRATCH/words"
  check
  printf '%s\n' "$words" "Error: $STAGE/etc/alloy/mine.alloy:2:1: x" >"$SCRATCH/words"
  fails check
  contains "$OUTPUT" "Error: $ETC/alloy/mine.alloy:2:1: x"
  echo "Error: validation failed" >"$SCRATCH/words"
  fails check
}

test_files_that_units_cannot_read() {
  local path mode words
  needs_root
  while read -r path mode words; do
    lay
    mkdir -p "$ETC/more" && touch "$ETC/alloy/mine.alloy" "$PROMETHEUS/rules/mine.yml" \
      "$ETC/more/linked.yml" "$ETC/grafana/dashboards/mine.json"
    ln -s "$ETC/more/linked.yml" "$PROMETHEUS/rules/linked.yml"
    chmod "$mode" "$ETC/$path"
    fails check
    contains "$OUTPUT" "$words can't read $ETC/$path: its mode is ${mode#0}"
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
  # Also before a first install.
  rm -rf "$ETC" && mkdir -m 0700 "$ETC"
  fails check
  contains "$OUTPUT" "chmod o+rx $ETC"
}

test_files_that_need_not_be_readable() {
  needs_root
  lay
  mkdir "$PROMETHEUS/rules/tests"
  touch "$PROMETHEUS/rules/tests/a.yml" "$PROMETHEUS/rules/old.bak" "$ETC/alloy/config.alloy.orig"
  chmod 0600 "$PROMETHEUS"/{retention.env,rules/tests/a.yml,rules/old.bak} \
    "$ETC/alloy/config.alloy.orig" "$ETC/targets.d"/*
  # What this release writes gets its own mode.
  echo '# news' >>"$STAGED/etc/prometheus/rules/host.yml"
  chmod 0600 "$PROMETHEUS/rules/host.yml"
  ln -s loop "$PROMETHEUS/loop" && ln -s . "$PROMETHEUS/rules/again"
  ln -s loop "$ETC/alloy/loop" && ln -s loop "$ETC/grafana/loop"
  check
  # A unit of another user or group.
  chmod 0640 "$PROMETHEUS/prometheus.yml"
  SHOWN["metrics-prometheus.service User,SupplementaryGroups"]=$'metrics-prometheus\n'
  fails check
  for user in $'mine\n' $'metrics-prometheus\nmine'; do
    SHOWN["metrics-prometheus.service User,SupplementaryGroups"]=$user
    check
  done
}

test_symlinks() {
  local unit file hidden
  hidden=$(mktemp --tmpdir=/var/tmp)
  chmod 0644 "$hidden"
  while read -r unit file; do
    lay
    ln -sf /etc/passwd "$ETC/$file"
    check
    ln -sf "$hidden" "$ETC/$file"
    fails check
    contains "$OUTPUT" \
      "$unit can't read $ETC/$file: it leads to $hidden, which the unit does not see"
  done <<'END'
metrics-prometheus.service prometheus/rules/host.yml
metrics-alloy.service alloy/config.alloy
metrics-grafana.service grafana/grafana.ini
metrics-grafana.service grafana/dashboards/host.json
END
  rm "$hidden"
  # Alloy's unit can read home directories.
  if [[ $EUID == 0 ]]; then
    hidden=$(mktemp --tmpdir=/home) && chmod 0644 "$hidden"
    lay
    ln -sf "$hidden" "$ETC/alloy/config.alloy"
    check
    rm "$hidden"
  fi
  # The programs judge symlinks that lead nowhere.
  lay
  ln -s /nowhere "$ETC/alloy/mine.alloy"
  check
  equal "staged" "$(readlink "$STAGE/etc/alloy/mine.alloy")" /nowhere
}

test_carriage_returns_and_byte_order_marks_count_for_nothing() {
  local bom=$'\xEF\xBB\xBF'
  VERSIONS=$SCRATCH/versions.conf
  { printf '%s' "$bom" && sed '/^#/d; /^$/d; s/$/\r/' "$ROOT/etc/versions.conf"; } >"$VERSIONS"
  equal "URL" "$(pin prometheus urls)" "$(VERSIONS=$ROOT/etc/versions.conf pin prometheus urls)"
  PROBLEMS=0
  check_pins
  equal "problems" "$PROBLEMS" 0

  mkdir -p "$ETC/grafana"
  {
    printf '%s' "$bom"
    sed 's/$/\r/' "$ROOT/etc/grafana/grafana.ini"
  } >"$ETC/grafana/grafana.ini"
  check_data
  equal "problems" "$PROBLEMS" 0

  lay
  printf '%s{}' "$bom" >"$ETC/grafana/dashboards/mine.json"
  contains "$(check 2>&1)" "$ETC/grafana/dashboards/mine.json begins with a byte order mark"

  printf '%ssecret\r\n\r\n' "$bom" >"$SCRATCH/token"
  OPTIONS=(["url"]=https://a.example/api/v1/write ["token"]=$SCRATCH/token)
  merge_settings
  equal "token" "$(text_of "$SCRATCH/token" | tr '\n' .)" secret..
  printf '\xFF\xFEs\0e\0c\0r\0e\0t\0' >"$SCRATCH/token"
  fails merge_settings
  contains "$OUTPUT" "$SCRATCH/token is not one line with the token, in UTF-8"
}
