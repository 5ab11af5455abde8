# Checks the configuration as it will be, edited files and drop-ins included, before anything changes. The units must be able
# to read its files. The programs judge the content, with the options that the units give them.

readonly STAGE=$RUN/stage
# Files on the host that this release writes: their present mode does not count.
declare -A WRITTEN=()

check_configuration() {
  stage
  ! role_has prometheus || check_prometheus
  check_alloy
  ! role_has grafana || check_grafana
  check_live_files
  exit_on_problems
}

# stage: leaves in $STAGE the configuration of Prometheus and Alloy, and the units, as they will be.
stage() {
  local action path
  mkdir -m 0700 "$STAGE"
  stage_folder "$ETC/prometheus" "$STAGE/etc/prometheus"
  stage_folder "$ETC/alloy" "$STAGE/etc/alloy"
  stage_folder "$UNIT_DIR" "$STAGE/systemd" -path './metrics-*'
  while read -r _ action path; do
    case $action:$path in
    write:*)
      WRITTEN[$(installed_path "$path")]=1
      mkdir -p "$STAGE/${path%/*}"
      rm -f "$STAGE/$path"
      cp "$STAGED/$path" "$STAGE/$path"
      ;;
    remove:*) rm -f "$STAGE/$path" ;;
    esac
  done < <(plan "$STAGED")
  chown --no-dereference -R 65534:65534 "$STAGE"
}

# stage_folder FROM TO [CONDITION-OF-FIND...]: copies what symlinks lead to. Those that lead nowhere stay such.
stage_folder() {
  local kind copy
  mkdir -p "$2"
  [[ ! -d $1 ]] || for kind in f:--dereference l:--no-dereference; do
    copy=(xargs --null --no-run-if-empty cp "${kind#*:}" --parents --target-directory="$2")
    # A loop of symlinks is an error of find, and no file.
    (cd "$1" && { find -L . "${@:3}" -type "${kind%:*}" -print0 2>/dev/null || :; } | "${copy[@]}")
  done
}

# staged PATH: where a path of the host, or a pattern, is to be looked up.
staged() { if [[ $1 == "$ETC"/@(alloy|prometheus)?(/*) ]]; then echo "$STAGE/etc${1#"$ETC"}"; else echo "$1"; fi; }

check_prometheus() {
  local unit=metrics-prometheus.service bin config pattern path reason rules=() checked=() options=() features=()
  bin=$(store_path prometheus)/bin
  command_of "$unit"
  config=$(option config.file)
  config=${config:-$ETC/prometheus/prometheus.yml}
  # Only the rules that Prometheus reads: there might be unit tests of rules next to them.
  while IFS= read -r pattern; do
    [[ $pattern == /* ]] || pattern=${config%/*}/$pattern
    mapfile -t -O "${#checked[@]}" checked < <(files_of "$(staged "$pattern")")
    rules+=("${pattern%/*}/.")
  done < <(rule_patterns "$(staged "$config")")
  for path in "${checked[@]}"; do rules+=("${path/#"$STAGE/etc"/"$ETC"}"); done
  may_read "$unit" "$config" "${rules[@]}"
  check_retention
  if [[ ${COMMAND[0]-} == "$OPT/prometheus/bin/prometheus" ]]; then
    for path in "${COMMAND[@]:1}"; do [[ $path == --config.file* || $path == "$config" ]] || options+=("$path"); done
    # promtool checks no options. Prometheus refuses wrong ones before it misses this configuration.
    reason=$(as_nobody timeout 20 "$bin/prometheus" "${options[@]}" --config.file="$STAGE/none" 2>&1 | sed -n 's/^Error parsing[^:]*: //p') || :
    [[ -z $reason ]] || die "Prometheus refuses the options of $unit: $reason" \
      "correct $ETC/prometheus/retention.env (such as RETENTION_TIME=15d, RETENTION_SIZE=4GB), or the drop-in that has it"
  fi
  # Only the syntax, because a credential that systemd passes does not exist yet. That leaves out the rules.
  validate_with Prometheus "$bin/promtool" check config --syntax-only "$(staged "$config")"
  mapfile -t features < <(option enable-feature | sed 's/^/--enable-feature=/')
  ((${#checked[@]} == 0)) || validate_with Prometheus "$bin/promtool" "${features[@]}" check rules "${checked[@]}"
}

# files_of PATTERN: prints the files that exist, in order. As in Go, an asterisk also matches a dot at the beginning.
files_of() (
  shopt -s dotglob nullglob
  IFS=''
  for path in $1; do ! exists "$path" || echo "$path"; done
)

# rule_patterns FILE: prints the list rule_files of Prometheus' configuration, in either of YAML's forms.
rule_patterns() {
  [[ ! -f $1 ]] || text_of "$1" | awk -v key="^[\"']?rule_files[\"']?[ \t]*:" '
    $0 ~ key { inside = 1; sub(key, "") }
    inside && /^[^] \t#-]/ { exit }
    inside { sub(/(^|[ \t])#.*/, ""); print }' |
    sed -E -e 's/^[ \t]*(-[ \t]+)?//' -e '/^\[/,/\][ \t]*$/{s/^\[//; s/\][ \t]*$//; s/,/\n/g}' |
    sed -E -e 's/^[ \t]+//; s/[ \t]+$//' -e "s/^\"(.*)\"$/\1/; s/^'(.*)'$/\1/" | grep . || :
}

# For a value in a line that systemd ignores, Prometheus takes its default, and might delete samples that should stay.
check_retention() {
  local file=$ETC/prometheus/retention.env line
  [[ -f $(staged "$file") && $(setting metrics-prometheus.service ExecStart | tail -n 1) == *RETENTION_* ]] || return 0
  line=$(tr '\r' '\n' <"$(staged "$file")" | sed -E $'1s/^\xEF\xBB\xBF([#;]|$)/\\1/' |
    grep -anvE '^[[:space:]]*([#;].*|[A-Za-z_][A-Za-z0-9_]*[[:space:]]*=.*)?$' | head -n 1) || :
  [[ -z $line ]] || fail_check "systemd ignores line ${line%%:*} of $file: ${line#*:}" "write it as NAME=VALUE, with no byte order mark before it"
}

check_alloy() {
  local unit=metrics-alloy.service folder=$ETC/alloy word options=()
  command_of "$unit"
  for word in "${COMMAND[@]:1}"; do
    case $word in
    --feature.community-components.enabled* | --config.bypass-conversion-errors*) options+=("$word") ;;
    /*) folder=$word ;;
    esac
  done
  for word in config.format config.extra-args stability.level; do
    [[ -z $(option "$word") ]] || options+=("--$word=$(option "$word")")
  done
  may_read "$unit" "$folder" "$folder"/{,.}*.alloy
  validate_with Alloy "$(store_path alloy)/bin/alloy" validate "${options[@]}" "$(staged "$folder")"
}

check_grafana() {
  local files ini=$ETC/grafana/grafana.ini
  [[ ! -f $ini || $(head -c 2 "$ini") != @($'\xFF\xFE'|$'\xFE\xFF') ]] || fail_check "$ini is in UTF-16, which Grafana does not read" "save it in UTF-8"
  mapfile -t -d '' files < <(find -L "$ETC/grafana" \( -type d -o -name '*.ini' -o -name '*.json' -o -name '*.y*ml' \) -print0 2>/dev/null)
  may_read metrics-grafana.service "${files[@]}"
}

# Files without which the programs run, and which they read again when they change.
check_live_files() {
  local path barrier
  while IFS= read -r path; do
    warn "$path begins with a byte order mark, which JSON does not allow, so it is not used; run: sudo sed -i '1s/^\xEF\xBB\xBF//' $(printf %q "$path")"
  done < <(grep --no-messages --recursive --files-with-matches --text --include='*.json' $'^\xEF\xBB\xBF' "$ETC/targets.d" "$ETC/grafana")
  while IFS=$'\t' read -r path barrier; do
    warn "Alloy can't read $path, so it scrapes nothing of it; run: $(readable "$barrier")"
  done < <(unreadable "$ETC/targets.d" "$ETC"/targets.d/*.{yml,yaml,json})
}

# may_read UNIT PATH...: refuses what the unit can't read, for its unprivileged user or for its own view of the host.
may_read() {
  local unit=$1 path barrier hidden=^$
  shift
  # A drop-in can give the unit another user or group, which might read more.
  [[ $(setting "$unit" DynamicUser | tail -n 1)$(setting "$unit" '(User|Group|SupplementaryGroups)') == yes ]] || return 0
  while IFS=$'\t' read -r path barrier; do
    fail_check "$unit can't read $path: the mode of $barrier is $(stat --format %a "$barrier")" "run: $(readable "$barrier")"
  done < <(unreadable "$@")
  [[ $(setting "$unit" PrivateTmp | tail -n 1) != yes ]] || hidden+='|^/tmp/|^/var/tmp/'
  [[ $(setting "$unit" ProtectHome | tail -n 1) != yes ]] || hidden+='|^/home/|^/root/|^/run/user/'
  for path in "${@%/.}"; do
    [[ -L $path && -e $path && $(realpath "$path") =~ $hidden ]] || continue
    fail_check "$unit can't read $path: the link leads to $(realpath "$path"), which is hidden from the unit" "put a copy in place of the link"
  done
}
readable() { printf 'sudo chmod %s %q' "$([[ -d $1 ]] && echo o+rx || echo o+r)" "$1"; }

# unreadable PATH...: prints of each that an unprivileged user can't read the path, a tab, and the file or folder that is in the way.
unreadable() {
  local path paths=()
  for path; do
    # A file that is still to be written gets the right mode. Its folder might have another.
    if [[ -n ${WRITTEN[$path]-} ]]; then
      until [[ -d $path ]]; do path=${path%/*}; done
      path=$path/
    elif [[ -d $path ]]; then
      path=${path%/.}/.
    fi
    # The programs judge paths that do not exist and symlinks that lead nowhere.
    [[ ! -e $path ]] || paths+=("$path")
  done
  # shellcheck disable=SC2016  # for the shell in there
  as_nobody sh -c 'for path; do case $path in */) [ -x "$path" ] ;; *) [ -r "$path" ] ;; esac || printf "%s\n" "$path"; done' sh "${paths[@]}" |
    while IFS= read -r path; do printf '%s\t%s\n' "$(realpath --no-symlinks "$path")" "$(barrier "$path")"; done
}

# barrier PATH: the first folder on the way there that may not be entered, or else the file.
barrier() {
  local whole way part parts
  for whole in "$1" "$(realpath "$1")"; do
    way=''
    IFS=/ read -ra parts <<<"${whole#/}"
    for part in "${parts[@]::${#parts[@]}-1}"; do
      way+=/$part
      as_nobody test -x "$way" || { echo "$way" && return; }
    done
  done
  echo "$whole"
}

# setting UNIT KEY: prints the values that the unit and its drop-ins give a key. An empty value takes those before it away.
setting() {
  local files
  mapfile -t files < <(files_of "$STAGE/systemd/$1" && files_of "$STAGE/systemd/$1.d/*.conf")
  ((${#files[@]} == 0)) || awk -v key="^[ \t]*$2[ \t]*=[ \t]*" '
    { sub(/[ \t\r]+$/, "") }
    /^[ \t]*[#;]/ { next }
    { line = line $0 }
    /\\$/ { sub(/\\$/, " ", line); next }
    match(line, key) { value = substr(line, RLENGTH + 1); if (value == "") n = 0; else values[++n] = value }
    { line = "" }
    END { for (i = 1; i <= n; i++) print values[i] }' "${files[@]}"
}

# environment UNIT: leaves in ENVIRONMENT what its settings and files assign.
declare -A ENVIRONMENT=()
environment() {
  local line file
  ENVIRONMENT=()
  while IFS= read -r line; do
    [[ $line != ?*=* ]] || ENVIRONMENT[${line%%=*}]=${line#*=}
  done < <(
    setting "$1" Environment | words
    setting "$1" EnvironmentFile | while IFS= read -r file; do assignments "$(staged "${file#-}")"; done
  )
}

# assignments FILE: prints NAME=VALUE as systemd reads them: a CR ends a line as well, and quotes around a value are not part of it.
assignments() {
  [[ ! -f $1 ]] || { tr '\r' '\n' <"$1" && echo; } | sed -nE -e 's/[[:space:]]+$//' \
    -e 's/^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=[[:space:]]*/\1=/; T' \
    -e "s/=\"([^\"]*)\"$/=\1/; t p; s/='([^']*)'$/=\1/; :p; p"
}

# words: prints each word of the input on a line, without quotes.
words() { xargs --no-run-if-empty printf '%s\n' 2>/dev/null || :; }

# command_of UNIT: leaves in COMMAND the words of its command, with the environment's values in them.
COMMAND=()
command_of() {
  local line word plain='' rest name more variables=()
  COMMAND=()
  environment "$1"
  line=$(setting "$1" ExecStart | tail -n 1)
  [[ $line =~ ^([-@:+!|]*)(.*) ]]
  [[ ${BASH_REMATCH[1]} != *:* ]] || plain=1
  while IFS= read -r word; do
    if [[ -z $plain && $word =~ ^\$([A-Za-z_][A-Za-z0-9_]*)$ ]]; then
      # Alone, it becomes as many words as it has.
      read -ra more <<<"${ENVIRONMENT[${BASH_REMATCH[1]}]-}"
      COMMAND+=("${more[@]}")
      continue
    fi
    rest=''
    while [[ -z $plain && $word =~ (.*)\$\{([A-Za-z_][A-Za-z0-9_]*)\}(.*) ]]; do
      word=${BASH_REMATCH[1]} rest=${ENVIRONMENT[${BASH_REMATCH[2]}]-}${BASH_REMATCH[3]}$rest
    done
    COMMAND+=("$word$rest")
  done < <(words <<<"${BASH_REMATCH[2]}")
  # A script that only adds options, as that of Prometheus: the shell tells which.
  [[ ${COMMAND[0]-} == */sh && ${COMMAND[1]-} == -c && ${COMMAND[2]-} == 'exec '* && ${COMMAND[2]} != *[\;\&\|\<\>\`\(]* ]] || return 0
  for name in "${!ENVIRONMENT[@]}"; do variables+=("$name=${ENVIRONMENT[$name]}"); done
  mapfile -t COMMAND < <(as_nobody env -i "${variables[@]}" sh -f -c "printf '%s\n' ${COMMAND[2]#exec }" 2>/dev/null)
}

# option NAME: prints each value that COMMAND gives --NAME, in one word or two.
option() {
  local i
  for ((i = 1; i < ${#COMMAND[@]}; i++)); do
    case ${COMMAND[i]} in
    "--$1="*) echo "${COMMAND[i]#*=}" ;;
    "--$1") echo "${COMMAND[i + 1]-}" ;;
    esac
  done
}

# validate_with NAME COMMAND...
validate_with() {
  local output
  output=$(as_nobody "${@:2}" 2>&1) ||
    die "$1 refuses its configuration: ${output//"$STAGE/etc"/"$ETC"}" "correct that file; what is shipped is in $ROOT/etc"
}
