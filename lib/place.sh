# Puts programs, configuration and units in place: first beside the live ones, then checked, then swapped.
# shellcheck shell=bash

CHANGED_UNITS=()
place() {
  local component
  for component in "${ARCHIVED[@]}"; do
    [[ -z ${ARCHIVE[$component]-} ]] || unpack "$component" "${ARCHIVE[$component]}"
  done
  place_service
  stage_configuration
  check_configuration
  for component in "${COMPONENTS[@]}"; do
    point_to "$component" "$(live_tree "$component")"
  done
  place_configuration
  place_units
  relabel
}

live_tree() { if [[ $1 == metrics-service ]]; then echo "$SERVICE_TREE"; else tree_of "$1"; fi; }

unpack() {
  local tree
  tree=$(tree_of "$1")
  at_work "unpacking $1"
  new_tree "$tree"
  case $2 in
  *.tar.gz) tar --extract --gzip --no-same-owner --strip-components=1 --directory "$tree" --file "$2" ;;
  *.zip) if has unzip; then unzip -q -o "$2" -d "$tree"; else python3 -m zipfile -e "$2" "$tree"; fi ;;
  *) false ;;
  esac || die "$2 could not be unpacked" "see the lines above; is there room on the disk?"
  done_working
  # Grafana's archive has its programs in bin/ already; SELinux gives what lies there the label that may be executed.
  mkdir -p "$tree/bin"
  case $1 in
  prometheus) mv "$tree/prometheus" "$tree/promtool" "$tree/bin/" ;;
  alloy) mv "$tree/alloy-linux-$(architecture)" "$tree/bin/alloy" && chmod 0755 "$tree/bin/alloy" ;;
  esac || die "$2 has not the files of $1" "is the line of $1 in $VERSIONS right?"
  [[ -x $tree/bin/$1 ]] || die "$2 has no program bin/$1" "is the line of $1 in $VERSIONS right?"
}

# new_tree PATH: an empty folder for a version; what a run that was cut off long ago left there goes.
new_tree() {
  make_dir "$OPT"
  note remove "$1"
  rm -rf "$1"
  mkdir "$1"
}

place_service() {
  [[ ! -d $SERVICE_TREE ]] || ! receipt_has tree "$SERVICE_TREE" || return 0
  new_tree "$SERVICE_TREE"
  install -D -m 0755 "$BINARY" "$SERVICE_TREE/bin/metrics-service"
}

point_to() { [[ $(readlink "$OPT/$1") == "${2##*/}" ]] || point "$OPT/$1" "${2##*/}"; }

# Paths below etc/ of the checkout that are installed.
shipped() { (cd "$ROOT/etc" && find . -type f ! -name versions.conf -printf '%P\n' | sort); }

# is_edited PATH: a person changed the file since it was shipped.
is_edited() { [[ -e $1 && $(sum_of "$1") != "$(receipt_sum "$1")" ]]; }

# Where the shipped file goes: its place, beside it when a person has edited it and it has news, or nowhere.
destination() {
  local live=$ETC/$1 new=$ROOT/etc/$1
  if cmp --silent "$new" "$live"; then
    return
  elif ! is_edited "$live"; then
    echo "$live"
  elif [[ $(receipt_sum "$live") != "$(sum_of "$new")" ]] && ! cmp --silent "$new" "$live.new"; then
    echo "$live.new"
  fi
}

# The configuration as it will be, for the programs to check.
stage_configuration() {
  local path to
  STAGE=$RUN/stage
  rm -rf "$STAGE"
  mkdir -m 0700 "$STAGE"
  [[ ! -d $ETC ]] || cp --recursive --dereference "$ETC/." "$STAGE"
  while read -r path; do
    to=$(destination "$path")
    [[ -z $to ]] || install -D -m 0644 "$ROOT/etc/$path" "$STAGE/${to#"$ETC/"}"
  done < <(shipped)
  chown -R 65534:65534 "$STAGE"
}

# What only checks needs none of root's rights.
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$@"; }

check_configuration() {
  local output promtool rules
  promtool=$(tree_of prometheus)/bin/promtool
  # The syntax only, as a credential that systemd hands over is not there yet.
  output=$(as_nobody "$promtool" check config --syntax-only "$STAGE/prometheus/prometheus.yml" 2>&1) ||
    die "Prometheus refuses its configuration: ${output//"$STAGE"/"$ETC"}" "correct that file"
  mapfile -t rules < <(find "$STAGE/prometheus/rules" -name '*.yml' 2>/dev/null)
  ((${#rules[@]} == 0)) || output=$(as_nobody "$promtool" check rules "${rules[@]}" 2>&1) ||
    die "Prometheus refuses its rules: ${output//"$STAGE"/"$ETC"}" "correct that file"
  output=$(as_nobody "$(tree_of alloy)/bin/alloy" validate "$STAGE/alloy" 2>&1) ||
    die "Alloy refuses its configuration: ${output//"$STAGE"/"$ETC"}" "correct that file"
  rm -rf "$STAGE"
}

place_configuration() {
  local path to
  while read -r path; do
    to=$(destination "$path")
    [[ -n $to ]] || continue
    put_file "$ROOT/etc/$path" "$to"
    [[ $to != *.new ]] || warn "$ETC/$path was edited and stays; what is shipped now lies beside it as ${to##*/}"
  done < <(shipped)
  make_dir "$ETC/targets.d"
}

place_units() {
  local unit
  for unit in "${UNITS[@]}"; do
    if ! cmp --silent "$ROOT/systemd/$unit" "$UNIT_DIR/$unit"; then
      put_file "$ROOT/systemd/$unit" "$UNIT_DIR/$unit"
      CHANGED_UNITS+=("$unit")
    fi
  done
  ((${#CHANGED_UNITS[@]} == 0)) || systemctl daemon-reload
  for unit in "${UNITS[@]}"; do
    # Only what this install brings is enabled: a person's own `systemctl disable` stays.
    if ! receipt_has unit "$UNIT_DIR/$unit"; then
      note enable "$unit"
      systemctl --quiet enable "$unit"
    fi
  done
}

relabel() { ! has restorecon || restorecon -R "$OPT" "$ETC" "$UNIT_DIR"; }
