# Checks the configuration, edited files included, before an install changes anything: the programs
# must accept its content, and the units must be able to read its files.

# A copy of Prometheus' and Alloy's configuration as the install leaves it.
readonly STAGE=$RUN/stage
# The files on the host that this release writes or removes: their present modes do not matter.
declare -A WRITTEN=()

check_configuration() {
  stage
  ! role_has prometheus || check_prometheus
  check_alloy
  ! role_has grafana || check_grafana
  ! role_has alertmanager || check_alertmanager
  exit_on_problems
}

stage() {
  local action path copy=("$ETC/prometheus" "$ETC/alloy" "$STAGE/etc")
  mkdir -m 0700 "$STAGE" "$STAGE/etc"
  # The first cp fails for symlinks that loop or lead nowhere. The second one keeps them.
  cp -r --dereference "${copy[@]}" 2>/dev/null || :
  cp -r --no-dereference --no-clobber "${copy[@]}" 2>/dev/null || :
  while read -r _ action path; do
    [[ $action:$path == @(write|remove):etc/* ]] || continue
    WRITTEN[$(installed_path "$path")]=1
    mkdir -p "$STAGE/${path%/*}"
    rm -f "$STAGE/$path"
    [[ $action == remove ]] || cp "$STAGED/$path" "$STAGE/$path"
  done < <(plan "$STAGED")
  chown --no-dereference -R 65534:65534 "$STAGE"
}

check_prometheus() {
  local unit=metrics-prometheus.service promtool config staged features files=()
  promtool=$(store_path prometheus)/bin/promtool
  check_retention
  config=$(flags "$unit" config.file | sed -n '$s/^[^=]*=//p')
  config=${config:-$ETC/prometheus/prometheus.yml}
  staged=${config/#"$ETC/prometheus/"/"$STAGE/etc/prometheus/"}
  # The syntax of the whole file only: a full check would miss the credentials that systemd passes.
  if validate_with Prometheus "$promtool" check config --syntax-only "$staged" &&
    [[ $staged != "$config" ]]; then
    # Then the rules alone. promtool refuses a.yml if it does not exist, unlike Prometheus. It does
    # not refuse the pattern a.ym[*l].
    text_of "$staged" | awk '/^[^] \t#-]/ { inside = /^rule_files:/ } inside' |
      sed -E -e '/\*/!s/^([ \t]*-[ \t]+[^#]*[[:alnum:]._-])([[:alnum:]])/\1[*\2]/' \
        -e "s,$ETC/prometheus/,$STAGE/etc/prometheus/," >"$staged.rules"
    mv --force "$staged.rules" "$staged"
    mapfile -t features < <(flags "$unit" enable-feature)
    validate_with Prometheus "$promtool" "${features[@]}" check config "$staged" || :
    mapfile -t files < <(sed -n 's/.*Checking //p' <<<"$OUTPUT")
  fi
  may_read "$unit" "$config" "${files[@]}"
}

# check_retention: lets Prometheus judge the values that systemd reads from retention.env.
check_retention() {
  local env=prometheus/retention.env line name value options=(--config.file="$STAGE/none")
  [[ -f $STAGE/etc/$env ]] || return 0
  line=$(grep -anvE $'^(\xEF\xBB\xBF)?\\s*([#;]|$)|^\\s*[A-Za-z_]\\w*\\s*=' "$STAGE/etc/$env") || :
  [[ -z $line ]] || fail_check "systemd ignores line ${line%%:*} of $ETC/$env: ${line#*:}" \
    "write it as NAME=VALUE, with no byte order mark before it"
  for name in TIME SIZE; do
    value=$(text_of "$STAGE/etc/$env" | sed -nE "s/^\s*RETENTION_$name\s*=\s*//; T; s/\s+$//;
      s/^([\"'])(.*)\1$/\2/; p" | tail -n 1)
    [[ -z $value ]] || options+=("--storage.tsdb.retention.${name,,}=$value")
  done
  # Prometheus refuses a wrong option before it misses its configuration.
  line=$(as_nobody timeout 20 "$(store_path prometheus)/bin/prometheus" "${options[@]}" 2>&1 |
    sed -n 's/^Error parsing[^:]*: //p') || :
  [[ -z $line ]] || fail_check "Prometheus refuses $ETC/$env: $line" \
    "correct it, such as RETENTION_TIME=15d and RETENTION_SIZE=4GB"
}

check_alloy() {
  local options names='stability.level|config.(extra|format|bypass).*|feature.community.*'
  mapfile -t options < <(flags metrics-alloy.service "$names")
  validate_with Alloy "$(store_path alloy)/bin/alloy" \
    validate "${options[@]}" "$STAGE/etc/alloy" || :
  may_read metrics-alloy.service "$ETC/alloy"/{,.}*.alloy
}

check_grafana() {
  local path files
  # find fails for a loop of symlinks, and for a directory that does not exist yet.
  mapfile -t files < <(find -L "$ETC/grafana" -type f -regex '.*\.\(json\|ya?ml\)' 2>/dev/null || :)
  for path in "${files[@]}"; do
    [[ $path != *.json || $(head -c 3 "$path") != $'\xEF\xBB\xBF' ]] ||
      warn "$path begins with a byte order mark, so Grafana ignores it: save it without one"
  done
  may_read metrics-grafana.service "$ETC/grafana/grafana.ini" "${files[@]}"
}

# flags UNIT NAMES: prints the flags --NAME=VALUE that systemd gives its program, drop-ins included.
# A flag might be written with a blank before its value.
flags() {
  systemctl show --property ExecStart --value "$1" 2>/dev/null | tr -d "\"'" |
    sed -E 's/(--(stability\.level|config\.(extra-args|file|format)|enable-feature)) /\1=/g' |
    tr ' ' '\n' | grep -E "^--($2)(=|$)" || :
}

# may_read UNIT PATH...: refuses files and directories on the way there that the unit can't read.
may_read() {
  local unit=$1 user path real way hidden='^/(home|root|run/user|tmp|var/tmp)/'
  local -A ways=()
  # Alloy's unit has ProtectHome=read-only.
  if [[ $unit == metrics-alloy.service ]]; then hidden='^/(tmp|var/tmp)/'; fi
  # A user or group that a drop-in names might read more.
  user=$(systemctl show --property User,SupplementaryGroups --value "$unit" 2>/dev/null) || :
  [[ ${user//$'\n'/} == ?("${unit%.service}") ]] || return 0
  for path in "${@:2}"; do
    real=$(realpath --canonicalize-missing "$path" 2>/dev/null) || continue
    [[ $real == "$path" || ! $real =~ $hidden ]] ||
      fail_check "$unit can't read $path: it leads to $real, which the unit does not see" \
        "replace the symlink by a copy"
    for way in "$path" "$real"; do
      while [[ $way == */* ]]; do ways["$way"]=1 && way=${way%/*}; done
    done
  done
  while IFS= read -r path; do
    [[ -n ${WRITTEN[$path]-} ]] ||
      fail_check "$unit can't read $path: its mode is $(stat --dereference --format %a "$path")" \
        "run: sudo chmod o+r$([[ ! -d $path ]] || echo x) $(printf %q "$path")"
  done < <(as_nobody find -L "${!ways[@]}" -maxdepth 0 \
    \( -type d ! -executable -o -type f ! -readable \) 2>/dev/null | sort -u || :)
}

# validate_with NAME COMMAND...: refuses what the command refuses; leaves its output in OUTPUT.
validate_with() {
  local status=0
  OUTPUT=$(as_nobody "${@:2}" 2>&1) || status=$?
  OUTPUT=${OUTPUT//"$STAGE/etc"/"$ETC"}
  # `alloy validate` also fails for mere warnings, such as of a deprecated function.
  if grep --quiet '^Warning: /' <<<"$OUTPUT" && ! grep --quiet '^Error: /' <<<"$OUTPUT"; then
    return
  fi
  ((status == 0)) || fail_check "$1 refuses its configuration: $OUTPUT" \
    "correct that file; the shipped files are in $ROOT/etc"
  return "$status"
}
