# Checks whether an install can succeed on this host, before anything changes.

# In MB. The pinned archives have 0.7 GB, and 2.2 GB unpacked. The stack ran in a cgroup of 300 MB,
# the system needs some 100, and MemTotal of a VM of 512 MB is 440 to 470.
NEED_DOWNLOADS=700 NEED_PROGRAMS=2300 NEED_STATE=200 NEED_ETC=5 NEED_MEMORY=400 WANT_MEMORY=900
readonly NEED_SYSTEMD=249

preflight() {
  role_has prometheus || NEED_DOWNLOADS=150 NEED_PROGRAMS=500 NEED_MEMORY=200 WANT_MEMORY=400
  ! role_has alertmanager || ((NEED_DOWNLOADS += 40, NEED_PROGRAMS += 100, NEED_MEMORY += 30))
  check_system
  check_memory
  check_pins
  check_disk
  check_ports
  check_places
  check_data
  exit_on_problems
}

check_system() {
  local version
  version=$(systemctl --version 2>/dev/null | awk 'NR == 1 { print int($2) }') || :
  if [[ ! -d /run/systemd/system ]]; then
    fail_check "this host was not booted with systemd (PID 1 is $(cat /proc/1/comm))" \
      "on WSL, set systemd=true in [boot] of /etc/wsl.conf; in a checkout, try tests/e2e/try.sh"
  elif ((version < NEED_SYSTEMD)); then
    fail_check "systemd $version is too old; $NEED_SYSTEMD or newer is required" \
      "use a newer release, such as Debian 12 or Ubuntu 22.04"
  fi
  check_architecture
  [[ -n $(getconf GNU_LIBC_VERSION 2>/dev/null) ]] ||
    fail_check "glibc is required, but was not found" "use another distribution (Alpine has musl)"
}

check_memory() {
  local memory
  memory=$(total_memory)
  if ((memory < NEED_MEMORY)); then
    fail_check "the host has $memory MB of memory; $NEED_MEMORY MB are required" "add memory"
  elif ((memory < WANT_MEMORY)); then
    warn "the host has $memory MB of memory; $WANT_MEMORY MB are recommended, because large" \
      "queries might get a server killed"
  fi
}
total_memory() { awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo; }

check_architecture() {
  local bits
  bits=$(getconf LONG_BIT 2>/dev/null) || :
  { architecture >/dev/null && [[ ${bits:-64} == 64 ]]; } ||
    fail_check "unsupported architecture: $(uname -m), ${bits:-unknown}-bit" \
      "use a 64-bit system on x86_64 or aarch64"
}
architecture() {
  case $(uname -m) in
  x86_64) echo amd64 ;;
  aarch64) echo arm64 ;;
  *) return 1 ;;
  esac
}

# at_least A B: succeeds if version A is B or newer. sort -V needs ~ before a pre-release.
at_least() { printf '%s\n' "${2#v}" "${1#v}" | sed 's/-/~/' | sort --check=quiet -V; }

# Each archive needs exactly one valid line in versions.conf, and with --from a file.
check_pins() {
  local component architecture file command
  local valid='^[a-z]+ [A-Za-z0-9.+~-]+ [a-z0-9]+ [0-9a-f]{64}( https?://[^ ]+)+$'
  architecture=$(architecture) || return 0
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    file=$(file_name "$component") command='./install.sh --download DIR'
    if [[ $component == alertmanager ]]; then command+=' --notify FILE'; fi
    if [[ ! $(pin "$component" line) =~ $valid ]]; then
      fail_check "$VERSIONS must have one valid line for $component on $architecture" \
        "write it as: component version architecture SHA-256 URL"
    elif [[ -n $FROM && ! -f $FROM/$file ]] && is_missing "$component"; then
      fail_check "$FROM has no archive of $component $(pin "$component" version)" \
        "put $file there, or on a host with network run: $command"
    fi
  done
}

# Adds up per file system, because each directory can be a mount point or a symlink.
check_disk() {
  local need free place
  while read -r need free place; do
    ((free >= need)) ||
      fail_check "$place has $free MB of free disk space; $need MB are required" "make room there"
  done < <(disk_needs | while read -r need place; do
    df --block-size=1M --output=avail,target "$(existing "$place")" | sed "1d; s/^/$need /"
  done | awk '
    { size = $1; room = $2; sub(/^[^ ]+ +[^ ]+ +/, ""); need[$0] += size; free[$0] = room }
    END { for (i in need) print need[i], free[i], i }')
}
# Prints MB and directory of what must still be written.
disk_needs() {
  local component path missing='' cached
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    path=$VAR/$component
    exists "$path" || path=$PRIVATE/metrics-stack/$component
    echo "$((NEED_STATE / ${#ARCHIVE_COMPONENTS[@]})) $path"
    if is_missing "$component"; then missing=1; fi
  done
  printf '%s\n' "1 $STATE" "1 $LOGS" "$NEED_ETC $ETC"
  if [[ -n $missing ]]; then
    cached=$(du --summarize --block-size=1K "$CACHE/" 2>/dev/null | cut -f1) || :
    printf '%s\n' "$NEED_PROGRAMS $STORE" "$((NEED_DOWNLOADS - ${cached:-0} / 1024)) $CACHE"
  fi
}
# Prints the nearest existing parent of a path.
existing() {
  local path=$1
  while [[ ! -e ${path:=/} ]]; do path=${path%/*}; done
  echo "$path"
}

# Without ss, the server reports the conflict itself.
check_ports() {
  local entry name port line user tries=120
  { has ss && [[ -d /run/systemd/system ]]; } || return 0
  # systemd might still have jobs of an interrupted run.
  while [[ -n $(systemctl list-jobs --no-legend 'metrics-*' 2>/dev/null) ]] && ((--tries)); do
    sleep 0.5
  done
  for entry in service:8000 alloy-ui:3000 alloy:12345 prometheus:9090 grafana:3001 \
    alertmanager:9093; do
    name=metrics-${entry%:*} port=${entry#*:}
    if ! role_has "$name" || is_active "$name.service" || is_active "$name.socket"; then
      continue
    fi
    line=$(ss --no-header --listening --tcp --numeric --processes "sport = :$port" |
      grep -E ' (127\.0\.0\.1|0\.0\.0\.0|\*|\[::ffff:127\.0\.0\.1\]):[0-9]+ ') || continue
    user=$(sed -n '1s/.*(("\([^"]*\)",pid=\([0-9]*\).*/\1 (PID \2)/p' <<<"$line")
    if [[ $user == *"(PID 1)" ]]; then
      user=$(systemctl list-sockets --full --no-legend |
        awk -v port=":$port" '":" $1 ~ port "$" && !found++ { print $2 }')
    fi
    fail_check "port $port is in use by ${user:-another container}" \
      "free it: sudo systemctl disable --now UNIT; to find the unit of a PID: systemctl status PID"
  done
}

# is_known UNIT: succeeds if a release ships it.
is_known() { compgen -G "$RELEASES/*/systemd/$1" >/dev/null; }

# is_foreign UNIT: whether another program has a unit of that name. Each shipped one names the
# stack, also an edited one that stays after --no-notify or --role agent, when no release ships it.
is_foreign() {
  local path
  path=$(systemctl show --property FragmentPath --value "$1" 2>/dev/null) || :
  [[ -e $path ]] && { [[ $path != "$UNIT_DIR/$1" ]] ||
    ! { is_known "$1" || grep --quiet metrics-stack "$path"; }; }
}

# Symlinks to directories are allowed.
check_places() {
  local unit path
  for unit in "${UNITS[@]}"; do
    ! is_foreign "$unit" ||
      fail_check "$unit already exists and was not installed by metrics-stack" \
        "rename that unit, or remove it"
  done
  for path in "${COMPONENTS[@]/#/$OPT/}" "$OPT/current" "$OPT/pending"; do
    [[ -L $path || ! -e $path ]] || fail_check "$path is not a symlink" "rename it"
  done
  while read -r path; do
    ! exists "$path" || [[ -d $path ]] || fail_check "$path is not a directory" "rename it"
  done < <(
    printf '%s\n' "${OPT%/*}" "$OPT" "$STORE" "$RELEASES" "$VAR" "$STATE" "$LOGS" "$CACHE" "$ETC"
    find "$ROOT/etc" -mindepth 1 -type d -printf "$ETC/%P\n"
  )
  for path in "$OPT" "$VAR" "$ETC" "$UNIT_DIR"; do
    [[ -w $(existing "$path") ]] ||
      fail_check "$path is on a read-only file system" "mount it writable, or move it to another"
  done
  # The configuration check follows symlinks, and fails on a loop.
  if [[ -d $ETC ]]; then
    while read -r path; do
      fail_check "the configuration can't be read: ${path#find: }" "remove or correct that symlink"
    done < <(find -L "$ETC" -false 2>&1 || :)
  fi
}

# version_in STORE-PATH COMPONENT
version_in() {
  local version=${1##*/"$2"-}
  echo "${version%-*}"
}
# version_that_ran COMPONENT: prints the last version that has run on the data.
version_that_ran() {
  local path
  path=$(readlink "$OPT/$1" || cat "$STATE/last-version-$1" 2>/dev/null) && version_in "$path" "$1"
}

check_data() {
  local component old new ports
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    old=$(version_that_ran "$component") || continue
    new=$(pin "$component" version)
    [[ -n $ALLOW_DOWNGRADE ]] || at_least "$new" "$old" ||
      fail_check "refusing to downgrade $component from $old to $new: it might not read its data" \
        "install a release with $component $old or newer, or accept the risk: --allow-downgrade"
  done
  [[ -n ${SETTINGS["url"]-} || ! -e $ETC/alloy/forward.alloy ]] ||
    is_unmodified etc/alloy/forward.alloy ||
    fail_check "$ETC/alloy/forward.alloy was edited and would keep forwarding" "remove it"
  ports=$(changed_ports | paste -sd' ')
  [[ -z $ports ]] || fail_check \
    "ports were changed by an edit or a drop-in, but must stay at their defaults: $ports" \
    "use 9090 (Prometheus), 9093 (Alertmanager), 12345 (Alloy) and 3001 (Grafana)"
}

changed_ports() {
  {
    systemctl show --property ExecStart --value metrics-{prometheus,alertmanager,alloy}.service
    text_of "$ETC/grafana/grafana.ini" | sed 's/^\(http_port\) *= */\1=:/'
  } 2>/dev/null | grep -oE '(listen-addr[a-z]*|^http_port)=[^ ]+' |
    grep -vE ':(9090|9093|12345|3001)$' || :
}
